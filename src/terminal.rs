//! Colours on a terminal.

use std::io::IsTerminal;

/// Returns whether `output` is a terminal that shows colours.
pub(crate) fn has_colours(output: &impl IsTerminal) -> bool {
    output.is_terminal() && system::takes_codes()
}

#[cfg(not(windows))]
mod system {
    /// Every terminal takes the codes.
    pub(super) const fn takes_codes() -> bool {
        true
    }
}

#[cfg(windows)]
mod system {
    /// A console shows the codes as text until it is told to interpret them; one before Windows 10 cannot.
    pub(super) fn takes_codes() -> bool {
        anstyle_query::windows::enable_ansi_colors().unwrap_or(false)
    }
}
