//! Flags about tool filters.

use clap::builder::FalseyValueParser;

use super::choices::ListPagesFlag;
use mcp_bridge_core::bridge::{Access, Glob, ListPages, ToolFilter};

#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Tools")]
pub(super) struct ToolFlags {
    /// Hide tools with this name; * matches any text (repeatable)
    #[arg(long, value_name = "GLOB")]
    ignore_tool: Vec<Glob>,

    /// Hide all tools except those with this name; * matches any text (repeatable)
    #[arg(long, value_name = "GLOB")]
    allow_tool: Vec<Glob>,

    /// Hide all tools except those that the server declares as read-only (readOnlyHint)
    #[arg(long, env = "MCP_BRIDGE_READ_ONLY", hide_env = true, value_parser = FalseyValueParser::new())]
    read_only: bool,

    /// Merge the pages of a list into one answer, for apps that read only the first, or pass each page
    #[arg(
        long,
        value_enum,
        default_value_t,
        hide_possible_values = true,
        value_name = "merge|pass"
    )]
    list_pages: ListPagesFlag,
}

impl ToolFlags {
    pub(super) fn list_pages(&self) -> ListPages {
        self.list_pages.into()
    }

    /// The filter that they define; `None` if nothing is hidden.
    pub(super) fn filter(self) -> Option<ToolFilter> {
        let hides = self.read_only || !self.ignore_tool.is_empty() || !self.allow_tool.is_empty();
        hides.then_some(ToolFilter {
            ignored: self.ignore_tool,
            allowed: self.allow_tool,
            access: if self.read_only {
                Access::ReadOnly
            } else {
                Access::Any
            },
        })
    }
}
