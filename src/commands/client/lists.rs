//! Lists of a server that the commands show: tools, resources, resource templates, prompts.

/// A list of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) enum Listing {
    Tools,
    Resources,
    ResourceTemplates,
    Prompts,
}

impl Listing {
    /// The request for it.
    pub(super) const fn method(self) -> &'static str {
        match self {
            Self::Tools => "tools/list",
            Self::Resources => "resources/list",
            Self::ResourceTemplates => "resources/templates/list",
            Self::Prompts => "prompts/list",
        }
    }

    /// The member of the result that has it.
    pub(in crate::commands) const fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Resources => "resources",
            Self::ResourceTemplates => "resourceTemplates",
            Self::Prompts => "prompts",
        }
    }

    /// Its elements in words.
    pub(super) const fn noun(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Resources => "resources",
            Self::ResourceTemplates => "resource templates",
            Self::Prompts => "prompts",
        }
    }

    /// Returns whether a server that does not know the method has none, as many that have only tools.
    pub(super) const fn may_be_missing(self) -> bool {
        match self {
            Self::Tools => false,
            Self::Resources | Self::ResourceTemplates | Self::Prompts => true,
        }
    }
}
