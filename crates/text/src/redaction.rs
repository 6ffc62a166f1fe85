//! Redaction of texts for logs and recordings: bounded in length, with secrets masked.
//!
//! Secrets that are known (the user's headers, the token, the session) are masked wherever they stand. What
//! else is in a message belongs to the server and the app, so what is named like a secret, or looks like one,
//! is masked as well.

use std::ops::Range;

/// Length beyond it that is searched, so that a secret across the limit is found, in bytes.
const LONGEST_SECRET_BYTES: usize = 8 * 1024;

/// A shorter text is not masked by its value alone: it may be any word.
const SHORTEST_SECRET_BYTES: usize = 8;

/// The text in the place of a secret.
pub const MASK: &str = "[masked]";

/// Ends of the names of members, headers and parameters whose values are secret, without `_` and `-`.
const SECRET_NAMES: [&str; 18] = [
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "apikey",
    "accesskey",
    "privatekey",
    "secretkey",
    "authorization",
    "cookie",
    "credential",
    "credentials",
    "assertion",
    "codeverifier",
    "sessionid",
    "devicecode",
    "usercode",
];

/// Names that end so and tell nothing.
const PUBLIC_NAMES: [&str; 1] = ["progresstoken"];

/// Parameters of a query that are secret there and are ordinary words elsewhere.
const SECRET_PARAMETERS: [&str; 6] = ["code", "state", "key", "sig", "signature", "token"];

/// Beginnings of keys and tokens of well-known issuers.
const TOKEN_PREFIXES: [&str; 13] = [
    "eyJ",
    "sk-",
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "AKIA",
    "AIza",
    "ya29.",
];

/// The shortest word that is taken for such a token, in bytes.
const SHORTEST_TOKEN_BYTES: usize = 16;

/// The first `limit` bytes of a text as they may be shown. `secrets` are masked wherever they stand.
pub fn redacted<'a>(
    body: &[u8],
    secrets: impl IntoIterator<Item = &'a String>,
    limit: usize,
) -> String {
    let searched = &body[..body.len().min(limit + LONGEST_SECRET_BYTES)];
    // As long as the text it replaces, or longer, so nothing behind the limit comes before it.
    let text = String::from_utf8_lossy(searched);
    let mut shown = String::new();
    let mut at = 0;
    for secret in secret_ranges(&text, secrets) {
        if secret.start >= limit {
            break;
        }
        if secret.end <= at {
            continue;
        }
        if let Some(between) = text.get(at..secret.start) {
            shown.push_str(between);
        }
        shown.push_str(MASK);
        at = secret.end;
    }
    let end = text.floor_boundary(limit);
    shown.push_str(text.get(at..end).unwrap_or_default());
    if text.len() > end || body.len() > searched.len() {
        shown.push('…');
    }
    shown
}

/// Places of secrets, by their beginnings.
fn secret_ranges<'a>(
    text: &str,
    secrets: impl IntoIterator<Item = &'a String>,
) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    for secret in secrets {
        if (SHORTEST_SECRET_BYTES..=text.len()).contains(&secret.len()) {
            let found = text.match_indices(secret.as_str());
            ranges.extend(found.map(|(at, found)| at..at + found.len()));
        }
    }
    let mut rest = 0;
    while let Some(word) = next_word(text, rest) {
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

/// The next run of letters, digits, `_` and `-`.
fn next_word(text: &str, from: usize) -> Option<Range<usize>> {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let bytes = text.as_bytes();
    let start = from + bytes.get(from..)?.iter().position(is_word)?;
    let length = bytes[start..].iter().position(|byte| !is_word(byte));
    Some(start..length.map_or(bytes.len(), |length| start + length))
}

/// The value behind a name: `"name": "value"`, also in a JSON text within a string, `name=value`,
/// `Name: value`; or the word behind `Bearer` and `Basic`.
fn value_of_secret(text: &str, name: &Range<usize>) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let word_end = name.end;
    let after_quote = word_end + quotation(&bytes[word_end..]);
    let separator = skip(bytes, after_quote, |byte| byte.is_ascii_whitespace());
    let name = &text[name.clone()];
    let is_scheme = ["bearer", "basic"]
        .iter()
        .any(|it| it.eq_ignore_ascii_case(name));
    if is_scheme && separator > word_end {
        let end = skip(bytes, separator, |byte| !ends_value(byte));
        return (end - separator >= SHORTEST_SECRET_BYTES).then_some(separator..end);
    }
    let sign = bytes.get(separator).filter(|sign| b":=".contains(sign))?;
    // Only now, as most words are no names.
    let plain = plain_name(name);
    let is_secret = match sign {
        b':' | b'=' if PUBLIC_NAMES.contains(&plain.as_str()) => false,
        b'=' if SECRET_PARAMETERS.contains(&plain.as_str()) => true,
        b':' | b'=' => SECRET_NAMES.iter().any(|end| plain.ends_with(end)),
        _ => false,
    };
    if !is_secret {
        return None;
    }
    let start = skip(bytes, separator + 1, |byte| byte == b' ');
    let quotes = quotation(&bytes[start..]);
    let value = start + quotes;
    let end = match quotes {
        0 if matches!(bytes.get(value), Some(b'{' | b'[')) => return None,
        0 if plain.ends_with("authorization") || plain.ends_with("cookie") => {
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
    let begins = TOKEN_PREFIXES
        .iter()
        .any(|prefix| text[word.start..].starts_with(prefix));
    if !begins {
        return None;
    }
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.~+/=".contains(&byte);
    let end = skip(text.as_bytes(), word.start, is_part);
    (end - word.start >= SHORTEST_TOKEN_BYTES).then_some(word.start..end)
}

fn plain_name(name: &str) -> String {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|letter| letter.to_ascii_lowercase()).collect()
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

trait FloorBoundary {
    /// The largest index up to `limit` at which the text may be cut.
    fn floor_boundary(&self, limit: usize) -> usize;
}

impl FloorBoundary for str {
    fn floor_boundary(&self, limit: usize) -> usize {
        if limit >= self.len() {
            return self.len();
        }
        (0..=limit)
            .rev()
            .find(|at| self.is_char_boundary(*at))
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 4 * 1024;

    fn with(text: &str, secrets: &[&str]) -> String {
        let secrets: Vec<_> = secrets.iter().map(ToString::to_string).collect();
        redacted(text.as_bytes(), &secrets, LIMIT)
    }

    #[test]
    fn what_is_named_like_a_secret_is_masked() {
        for (text, expected) in [
            (
                r#"{"access_token":"abc","expires_in":1}"#,
                r#"{"access_token":"[masked]","expires_in":1}"#,
            ),
            (
                r#"{"text":"{\"refreshToken\": \"a\\\"bc\", \"x\":1}"}"#,
                r#"{"text":"{\"refreshToken\": \"[masked]\", \"x\":1}"}"#,
            ),
            (
                r#"{"password" : "a\"b", "b":2}"#,
                r#"{"password" : "[masked]", "b":2}"#,
            ),
            (r#"{"api-key":12345}"#, r#"{"api-key":[masked]}"#),
            (
                "https://x/cb?code=abc&state=d&page=2",
                "https://x/cb?code=[masked]&state=[masked]&page=2",
            ),
            (
                r#""Authorization: Bearer abcdefgh and more""#,
                r#""Authorization: [masked]""#,
            ),
            ("curl -H 'bearer abcdefghij'", "curl -H 'bearer [masked]'"),
            ("take eyJhbGciOi.J9abcdefgh.sig now", "take [masked] now"),
            (
                r#"{"client_secret":"unclosed"#,
                r#"{"client_secret":"[masked]"#,
            ),
        ] {
            assert_eq!(with(text, &[]), expected);
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            r#"{"progressToken":"p-1","code":-32602,"state":"open"}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"tokenize"}]}}"#,
            r#"{"authorization":{"type":"none"},"tokens":[1,2]}"#,
            "a bearer of news, sk-ill and eyJa",
        ] {
            assert_eq!(with(text, &[]), text);
        }
    }

    #[test]
    fn a_known_secret_is_masked_wherever_it_stands_and_short_ones_are_words() {
        assert_eq!(
            with("say hunter2hunter2!", &["hunter2hunter2"]),
            "say [masked]!"
        );
        assert_eq!(with("invalid_grant", &["grant"]), "invalid_grant");
        // Across the limit, too.
        let body = format!("{}{}", "x".repeat(LIMIT - 4), "hunter2hunter2");
        assert!(with(&body, &["hunter2hunter2"]).ends_with("x[masked]…"));
        assert!(!with(&"é".repeat(LIMIT), &[]).contains('\u{fffd}'));
    }
}
