//! Places of secrets in a text.

use std::ops::Range;

use super::SHORTEST_SECRET_BYTES;
use super::candidates::{SCHEMES, SHORTEST_TOKEN_BYTES, TOKEN_PREFIXES, candidates};
use super::names::{ends_plainly, is_secret_name, is_word};

/// Places of secrets, by their beginnings.
pub(super) fn secret_ranges(
    text: &str,
    known: impl FnOnce(&str, &mut Vec<Range<usize>>),
) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    known(text, &mut ranges);
    let mut rest = 0;
    for start in candidates(text.as_bytes()) {
        // Not what is within a secret.
        if start < rest {
            continue;
        }
        let word = start..word_end(text.as_bytes(), start);
        rest = word.end;
        let range = value_of_secret(text, &word).or_else(|| token(text, &word));
        if let Some(range) = range {
            rest = rest.max(range.end);
            ranges.push(range);
        }
    }
    ranges.sort_by_key(|range| (range.start, range.end));
    ranges
}

/// The value behind a name: `"name": "value"`, also in a JSON text within a string, `name=value`,
/// `Name: value`; or the word behind `Bearer` and `Basic`.
fn value_of_secret(text: &str, name: &Range<usize>) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let word_end = name.end;
    let after_quote = word_end + quotation(&bytes[word_end..]);
    let separator = skip(bytes, after_quote, |byte| byte.is_ascii_whitespace());
    let name = &bytes[name.clone()];
    let is_scheme = SCHEMES.iter().any(|it| it.eq_ignore_ascii_case(name));
    if is_scheme && separator > word_end {
        let end = skip(bytes, separator, |byte| !ends_value(byte));
        return (end - separator >= SHORTEST_SECRET_BYTES).then_some(separator..end);
    }
    let sign = bytes.get(separator).filter(|sign| b":=".contains(sign))?;
    if !is_secret_name(name, *sign) {
        return None;
    }
    let start = skip(bytes, separator + 1, |byte| byte == b' ');
    let quotes = quotation(&bytes[start..]);
    let value = start + quotes;
    let end = match quotes {
        0 if matches!(bytes.get(value), Some(b'{' | b'[')) => return None,
        0 if ends_plainly(name, "authorization") || ends_plainly(name, "cookie") => {
            skip(bytes, value, |byte| {
                !matches!(byte, b'"' | b'\\' | b'\r' | b'\n')
            })
        }
        0 => skip(bytes, value, |byte| !ends_value(byte)),
        quotes => closing_quote(bytes, value, quotes),
    };
    (end > value).then_some(value..end)
}

/// A word that begins as the tokens of a well-known issuer do.
fn token(text: &str, word: &Range<usize>) -> Option<Range<usize>> {
    let rest = &text.as_bytes()[word.start..];
    let begins = |(prefix, _): &(&str, usize)| rest.starts_with(prefix.as_bytes());
    if !TOKEN_PREFIXES.iter().any(begins) {
        return None;
    }
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.~+/=".contains(&byte);
    let end = skip(text.as_bytes(), word.start, is_part);
    (end - word.start >= SHORTEST_TOKEN_BYTES).then_some(word.start..end)
}

fn word_end(bytes: &[u8], start: usize) -> usize {
    skip(bytes, start, is_word)
}

fn ends_value(byte: u8) -> bool {
    byte.is_ascii_whitespace() || b"\"'\\&,;}])<>".contains(&byte)
}

fn skip(bytes: &[u8], from: usize, passes: impl Fn(u8) -> bool) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    let stop = rest.iter().position(|byte| !passes(*byte));
    stop.map_or(bytes.len(), |stop| from + stop)
}

/// The length of a quotation mark with the backslashes before it; 0 if there is none.
fn quotation(bytes: &[u8]) -> usize {
    let backslashes = bytes.iter().take_while(|byte| **byte == b'\\').count();
    match bytes.get(backslashes) {
        Some(b'"' | b'\'') => backslashes + 1,
        _ => 0,
    }
}

/// End of the value that begins with a quotation mark of that length: at one with as many backslashes.
fn closing_quote(bytes: &[u8], from: usize, opening: usize) -> usize {
    let mut at = from;
    while at < bytes.len() {
        let length = quotation(&bytes[at..]);
        if length != 0 && length <= opening {
            return at;
        }
        // Beyond all backslashes, so that a part of them is not taken for a shorter mark.
        let backslashes = bytes[at..]
            .iter()
            .take_while(|byte| **byte == b'\\')
            .count();
        at += backslashes.max(length).max(1);
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_separators_and_tokens_of_all_issuers_are_found() {
        for name in ["SESSION_ID", "session-i_d", "tok_e_n-", "Device-Code"] {
            let text = format!(r#"{{"{name}":"abc"}}"#);
            assert_eq!(shown(&text), ["abc"], "{text}");
        }
        for (prefix, _) in TOKEN_PREFIXES {
            let text = format!("{prefix}0123456789abcdef");
            assert_eq!(shown(&text), [text.as_str()]);
        }
    }

    /// Secrets that are found.
    fn shown(text: &str) -> Vec<&str> {
        let ranges = secret_ranges(text, |_, _| {});
        ranges.into_iter().map(|range| &text[range]).collect()
    }

    /// All words, which [`candidates`] saves looking at.
    fn words(text: &str) -> Vec<usize> {
        let bytes = text.as_bytes();
        let begins = |at: usize| is_word(bytes[at]) && (at == 0 || !is_word(bytes[at - 1]));
        (0..bytes.len()).filter(|at| begins(*at)).collect()
    }

    #[test]
    fn no_word_that_is_secret_or_names_a_secret_is_passed_over() {
        const PARTS: [&str; 30] = [
            "token",
            "secret",
            "api_key",
            "Authorization",
            "sessionId",
            "code",
            "state",
            "bearer",
            "Basic",
            "eyJhbGciOiJIUzI1NiJ9",
            "sk-0123456789abcdef",
            "github_pat_0123456789",
            "ya29.0123456789abcdef",
            "AIza0123456789abcdef",
            "xoxb-0123456789abcd",
            "word",
            "id",
            "\"",
            "\\\"",
            "'",
            ":",
            "=",
            " ",
            "\n",
            ",",
            "{",
            "-",
            "_",
            "9",
            "é",
        ];
        let mut state = 7_u64;
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            usize::try_from(state >> 33).unwrap()
        };
        let mut secret = 0;
        for _ in 0..20_000 {
            let text: String = (0..random() % 12)
                .map(|_| PARTS[random() % PARTS.len()])
                .collect();
            let found = candidates(text.as_bytes());
            for start in words(&text) {
                let word = start..word_end(text.as_bytes(), start);
                if value_of_secret(&text, &word).is_some() || token(&text, &word).is_some() {
                    assert!(found.contains(&start), "{word:?} of {text}");
                    secret += 1;
                }
            }
        }
        assert!(secret > 10_000, "{secret}");
    }
}
