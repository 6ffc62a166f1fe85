//! Text for the terminal: width, wrapping and shortening.

use terminal_size::terminal_size_of;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use mcp_bridge_text::printable;

/// Width of the terminal on stderr, in columns; `None` if that is no terminal.
pub(super) fn stderr_width() -> Option<usize> {
    let (width, _) = terminal_size_of(std::io::stderr())?;
    Some(width.0.into())
}

/// The first line that says something, cut to so many columns.
pub(super) fn first_line(text: &str, columns: Option<usize>) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    let line = printable::line(line.unwrap_or_default());
    match columns {
        Some(columns) => cut(&line, columns),
        None => line,
    }
}

/// The URL without its query, which may be a secret.
pub(super) fn without_query(url: &str) -> String {
    match url.split_once('?') {
        Some((before, _)) => format!("{before}?…"),
        None => url.to_owned(),
    }
}

/// A number with the word for one or for several.
pub(super) fn counted(count: usize, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

/// The text, cut to so many columns.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut room = columns.saturating_sub(1);
    let fits = |letter: &char| {
        let width = letter.width().unwrap_or(0);
        let fits = width <= room;
        room = room.saturating_sub(width);
        fits
    };
    let mut short: String = text.chars().take_while(fits).collect();
    short.truncate(short.trim_end().len());
    short.push('…');
    short
}

/// The text with blanks behind it, so many columns in all.
pub(super) fn padded(text: &str, columns: usize) -> String {
    let missing = columns.saturating_sub(text.width());
    format!("{text}{}", " ".repeat(missing))
}

/// Width of a text, in columns.
pub(super) fn columns(text: &str) -> usize {
    text.width()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_to_the_columns_there_are() {
        for (text, columns, expected) in [
            ("abcdef", 6, "abcdef"),
            ("abcdef", 5, "abcd…"),
            ("abc def", 5, "abc…"),
            ("日本語日本語", 6, "日本…"),
            ("日本", 4, "日本"),
            ("a", 0, "…"),
        ] {
            assert_eq!(cut(text, columns), expected);
        }
    }

    #[test]
    fn a_terminal_is_not_told_what_to_do() {
        assert_eq!(
            first_line("\n\n  a\u{1b}[2Jb\tc\nd", None),
            "a\u{fffd}[2Jb c"
        );
    }
}
