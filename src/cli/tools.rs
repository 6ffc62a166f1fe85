//! The flags about which tools the app may see and call.

use super::choices::ListPagesFlag;
use mcp_bridge_core::bridge::{Access, Glob, ListPages, ToolFilter};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Tools")]
pub(super) struct ToolFlags {
    /// Hide the tools with this name, in which * stands for any text (repeatable)
    #[arg(long, value_name = "GLOB")]
    ignore_tool: Vec<Glob>,

    /// Hide all tools but those with this name, likewise (repeatable)
    #[arg(long, value_name = "GLOB")]
    allow_tool: Vec<Glob>,

    /// Hide all tools but those that change nothing, as the server says (readOnlyHint)
    #[arg(long)]
    read_only: bool,

    /// Merge the pages of a list into one answer, for apps that read only the first, or pass each page
    #[arg(
        long,
        value_enum,
        default_value = "merge",
        hide_possible_values = true,
        value_name = "merge|pass"
    )]
    list_pages: ListPagesFlag,
}

impl ToolFlags {
    pub(super) fn list_pages(&self) -> ListPages {
        self.list_pages.into()
    }

    /// What they hide; `None` if that is nothing.
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
