//! The lists of a server, each with its method, its capability and its result.

use mcp_bridge_protocol::era::Era;

/// A list that a server may send in pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum List {
    Tools,
    Prompts,
    Resources,
    ResourceTemplates,
}

impl List {
    pub(super) const ALL: [Self; 4] = [
        Self::Tools,
        Self::Prompts,
        Self::Resources,
        Self::ResourceTemplates,
    ];

    pub(super) fn of_method(method: &str) -> Option<Self> {
        match method {
            "tools/list" => Some(Self::Tools),
            "prompts/list" => Some(Self::Prompts),
            "resources/list" => Some(Self::Resources),
            "resources/templates/list" => Some(Self::ResourceTemplates),
            _ => None,
        }
    }

    /// The capability by which a server says that it has the list.
    pub(super) const fn capability(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources | Self::ResourceTemplates => "resources",
        }
    }

    /// The result of a list without elements, for an app of this era.
    pub(super) fn empty_result(self, era: Era) -> String {
        self.result("", era)
    }

    /// The result of a list with these elements, for an app of this era.
    pub(super) fn result(self, elements: &str, era: Era) -> String {
        let member = self.member();
        match era {
            Era::Legacy => format!(r#"{{"{member}":[{elements}]}}"#),
            // MCP 2026-07-28, "Caching": nothing of this may be kept.
            Era::Modern => format!(
                r#"{{"resultType":"complete","{member}":[{elements}],"ttlMs":0,"cacheScope":"private"}}"#
            ),
        }
    }

    /// The member of the result that holds it.
    pub(super) const fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::ResourceTemplates => "resourceTemplates",
        }
    }
}
