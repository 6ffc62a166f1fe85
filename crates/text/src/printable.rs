//! Text of strangers made printable: no character that a terminal obeys, and none that is invisible or
//! changes the direction of what stands beside it.
//!
//! Servers, apps and authorization servers choose the text of errors, names and descriptions, and it ends on
//! the terminal or in the log of a person. Everything of theirs that is shown goes through this module.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Stands for a character that is not shown.
const REPLACEMENT: char = '\u{fffd}';

/// Ranges of characters that are invisible or change the direction of text: all of the Unicode categories Cf,
/// Zl and Zp, and the fillers and selectors of other categories that have no glyph of their own.
const UNSEEN: [(char, char); 25] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0e}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// Returns whether a character is shown as itself: neither a control character (Cc) nor an unseen one.
#[must_use]
pub fn is_printable(letter: char) -> bool {
    if letter.is_ascii() {
        return !letter.is_ascii_control();
    }
    let is_unseen = |(first, last): &(char, char)| (*first..=*last).contains(&letter);
    !letter.is_control() && !UNSEEN.iter().any(is_unseen)
}

/// Returns whether a text may be an identifier: neither empty nor with white space or characters that are not shown.
/// A person who compares two identifiers must see each difference, so invisible characters are refused.
#[must_use]
pub fn is_identifier(text: &str) -> bool {
    let stands = |letter: char| is_printable(letter) && !letter.is_whitespace();
    !text.is_empty() && text.chars().all(stands)
}

/// The reason for refusing a text that [`is_identifier`] does not accept.
pub const NO_IDENTIFIER: &str = "an identifier has neither white space nor invisible characters";

/// The text on one line. Line breaks and tabs become spaces.
pub fn line(text: &str) -> String {
    text.chars().map(in_line).collect()
}

/// The first `limit` characters of the text on one line, with an ellipsis if there are more.
pub fn short_line(text: &str, limit: usize) -> String {
    let mut letters = text.chars().map(in_line);
    let mut short: String = letters.by_ref().take(limit).collect();
    if letters.next().is_some() {
        short.push('…');
    }
    short
}

/// The beginning of the text of at most `limit` bytes, with an ellipsis if there is more.
#[must_use]
pub fn shortened(text: &str, limit: usize) -> Cow<'_, str> {
    if text.len() <= limit {
        return Cow::Borrowed(text);
    }
    let mut end = limit;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Cow::Owned(format!("{}…", &text[..end]))
}

/// JSON that says the same, with the characters escaped that are not printable.
#[must_use]
pub fn json(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_printable(letter) || matches!(letter, '\n' | '\t' | '\r') {
            escaped.push(letter);
            continue;
        }
        for unit in letter.encode_utf16(&mut [0; 2]) {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "\\u{unit:04x}");
        }
    }
    escaped
}

/// The text with its line breaks and tabs. Joiners, which emoji and some scripts have between letters, are
/// left out instead of replaced.
#[must_use]
pub fn block(text: &str) -> String {
    text.replace("\r\n", "\n")
        .chars()
        .filter(|letter| !matches!(letter, '\u{200c}' | '\u{200d}'))
        .map(|letter| match letter {
            '\n' | '\t' => letter,
            letter if is_printable(letter) => letter,
            _ => REPLACEMENT,
        })
        .collect()
}

fn in_line(letter: char) -> char {
    match letter {
        '\t' | '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => ' ',
        letter if is_printable(letter) => letter,
        _ => REPLACEMENT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_invisible_and_nothing_that_a_terminal_obeys_is_printable() {
        for letter in "aé日😀 \u{a0}\u{301}\u{fe0f}\u{fffd}".chars() {
            assert!(is_printable(letter), "{letter:?}");
        }
        let unseen = "\0\u{7}\u{1b}\u{7f}\u{85}\u{9b}\u{ad}\u{200b}\u{200e}\u{2028}\u{2029}\u{202e}\
                      \u{2066}\u{2069}\u{206a}\u{feff}\u{fff9}\u{e0041}\u{e0100}\u{61c}\u{180e}\u{3164}";
        for letter in unseen.chars() {
            assert!(!is_printable(letter), "{letter:?}");
        }
    }

    #[test]
    fn a_line_is_one_line_and_a_block_keeps_its_lines() {
        let text = "a\r\nb\tc\u{1b}[31m\u{202e}d";
        assert_eq!(line(text), "a  b c\u{fffd}[31m\u{fffd}d");
        assert_eq!(block(text), "a\nb\tc\u{fffd}[31m\u{fffd}d");
        assert_eq!(block("👩\u{200d}💻"), "👩💻");
        assert_eq!(short_line("abcd", 3), "abc…");
        assert_eq!(short_line("abc", 3), "abc");
    }

    #[test]
    fn json_says_the_same_in_printable_characters() {
        let text = "{\"a\":\"\u{9b}é\u{202e}\u{e0041}\\u001b\"}";
        let escaped = json(text);
        assert_eq!(escaped, r#"{"a":"\u009bé\u202e\udb40\udc41\u001b"}"#);
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(&escaped), read(text));
    }

    #[test]
    fn an_identifier_has_nothing_that_cannot_be_seen() {
        for text in ["https://a.example/ä?b", "client-id", "😀"] {
            assert!(is_identifier(text), "{text:?}");
        }
        for text in [
            "",
            " ",
            "a b",
            "a\n",
            "a\u{a0}b",
            "a\u{200b}",
            "\u{feff}a",
            "a\u{1b}[1m",
            "a\u{202e}",
        ] {
            assert!(!is_identifier(text), "{text:?}");
        }
    }
}
