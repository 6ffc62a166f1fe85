//! Redaction of texts for logs and recordings: bounded in length, with secrets masked.
//!
//! Secrets that are known (the user's headers, the token, the session) are masked wherever they stand. What
//! else is in a message belongs to the server and the app, so what is named like a secret, or looks like one,
//! is masked as well.

use std::borrow::Cow;
use std::ops::Range;

use memchr::{memchr2_iter, memchr3_iter};

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

/// Beginnings of keys and tokens of well-known issuers, each with the place of a byte in it that is rare elsewhere: one
/// of those that `candidates` looks for.
const TOKEN_PREFIXES: [(&str, usize); 13] = [
    ("eyJ", 2),
    ("sk-", 2),
    ("ghp_", 3),
    ("gho_", 3),
    ("ghs_", 3),
    ("ghu_", 3),
    ("github_pat_", 6),
    ("glpat-", 5),
    ("xoxb-", 4),
    ("xoxp-", 4),
    ("AKIA", 1),
    ("AIza", 1),
    ("ya29.", 3),
];

/// Schemes of credentials.
const SCHEMES: [&[u8]; 2] = [b"bearer", b"basic"];

/// The shortest word that is taken for such a token, in bytes.
const SHORTEST_TOKEN_BYTES: usize = 16;

/// The first `limit` bytes of a text as they may be shown. `secrets` are masked wherever they stand.
pub fn redacted<'a>(
    body: &[u8],
    secrets: impl IntoIterator<Item = &'a String>,
    limit: usize,
) -> String {
    let mut shown = String::new();
    let known = |text: &str, found: &mut Vec<Range<usize>>| {
        for secret in secrets {
            if (SHORTEST_SECRET_BYTES..=text.len()).contains(&secret.len()) {
                let places = text.match_indices(secret.as_str());
                found.extend(places.map(|(at, place)| at..at + place.len()));
            }
        }
    };
    redact(body, known, limit, |piece| shown.push_str(piece));
    shown
}

/// The same, piece by piece. `known` adds the places of the secrets that are known.
pub fn redact(
    body: &[u8],
    known: impl FnOnce(&str, &mut Vec<Range<usize>>),
    limit: usize,
    mut show: impl FnMut(&str),
) {
    let searched = &body[..body.len().min(limit + LONGEST_SECRET_BYTES)];
    // As long as the text it replaces, or longer, so nothing behind the limit comes before it.
    let text = match std::str::from_utf8(searched) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(searched),
    };
    let mut at = 0;
    for secret in secret_ranges(&text, known) {
        if secret.start >= limit {
            break;
        }
        if secret.end <= at {
            continue;
        }
        if let Some(between) = text.get(at..secret.start) {
            show(between);
        }
        show(MASK);
        at = secret.end;
    }
    let end = text.floor_boundary(limit);
    show(text.get(at..end).unwrap_or_default());
    if text.len() > end || body.len() > searched.len() {
        show("…");
    }
}

/// Places of secrets, by their beginnings.
fn secret_ranges(
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

/// Beginnings of the words that may name a secret or be one, in their order. They are looked for by what is rare in a text,
/// as to look at each word would cost a recording more than all the rest.
fn candidates(bytes: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    // A name stands before one of these.
    for sign in memchr2_iter(b':', b'=', bytes) {
        let before = &bytes[..sign];
        let before = before.trim_ascii_end();
        let end = before.iter().rposition(|byte| !is_quotation(*byte));
        let name = &before[..end.map_or(0, |last| last + 1)];
        if may_name_secret(name) {
            found.push(word_start(bytes, name.len()));
        }
    }
    // A scheme stands before a blank.
    for at in memchr2_iter(b'b', b'B', bytes) {
        let rest = &bytes[at..];
        let is_scheme = |scheme: &&[u8]| {
            let word = rest.get(..scheme.len()).unwrap_or_default();
            word.eq_ignore_ascii_case(scheme)
        };
        if begins_word(bytes, at) && SCHEMES.iter().any(is_scheme) {
            found.push(at);
        }
    }
    // A token has a rare letter near its beginning.
    let rare = memchr3_iter(b'J', b'K', b'I', bytes).chain(memchr3_iter(b'-', b'_', b'9', bytes));
    for at in rare {
        for (prefix, rare_at) in TOKEN_PREFIXES {
            if prefix.as_bytes()[rare_at] != bytes[at] || rare_at > at {
                continue;
            }
            let start = at - rare_at;
            if begins_word(bytes, start) && bytes[start..].starts_with(prefix.as_bytes()) {
                found.push(start);
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn is_quotation(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'\\')
}

/// Beginning of the word that ends at a place.
fn word_start(bytes: &[u8], end: usize) -> usize {
    let before = bytes[..end].iter().rposition(|byte| !is_word(*byte));
    before.map_or(0, |last| last + 1)
}

fn begins_word(bytes: &[u8], at: usize) -> bool {
    at.checked_sub(1)
        .is_none_or(|before| !is_word(bytes[before]))
}

fn word_end(bytes: &[u8], start: usize) -> usize {
    skip(bytes, start, is_word)
}

/// Returns whether a byte is a letter, a digit, `_` or `-`.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// The last letters of all names of [`SECRET_NAMES`] and [`SECRET_PARAMETERS`].
const LAST_LETTERS: [&[u8; 2]; 16] = [
    b"en", b"et", b"ey", b"er", b"rd", b"re", b"wd", b"se", b"on", b"ie", b"id", b"ig", b"al",
    b"ls", b"de", b"te",
];

/// Returns whether a text may end in a name of [`SECRET_NAMES`] or [`SECRET_PARAMETERS`]. By its last letters, as most
/// words are none of these.
fn may_name_secret(word: &[u8]) -> bool {
    let [.., before, last] = word else {
        return false;
    };
    let is_split = [before, last].iter().any(|it| matches!(it, b'_' | b'-'));
    let letters = [before.to_ascii_lowercase(), last.to_ascii_lowercase()];
    is_split || LAST_LETTERS.iter().any(|known| **known == letters)
}

/// The value behind a name: `"name": "value"`, also in a JSON text within a string, `name=value`,
/// `Name: value`; or the word behind `Bearer` and `Basic`.
fn value_of_secret(text: &str, name: &Range<usize>) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let word_end = name.end;
    let after_quote = word_end + quotation(&bytes[word_end..]);
    let separator = skip(bytes, after_quote, |byte| byte.is_ascii_whitespace());
    let name = &text[name.clone()];
    let is_scheme = SCHEMES
        .iter()
        .any(|it| it.eq_ignore_ascii_case(name.as_bytes()));
    if is_scheme && separator > word_end {
        let end = skip(bytes, separator, |byte| !ends_value(byte));
        return (end - separator >= SHORTEST_SECRET_BYTES).then_some(separator..end);
    }
    let sign = bytes.get(separator).filter(|sign| b":=".contains(sign))?;
    let is_in = |names: &[&str]| names.iter().any(|it| is_plain_name(name, it));
    let is_secret = match sign {
        b'=' if is_in(&SECRET_PARAMETERS) => true,
        b':' | b'=' => {
            let is_named = SECRET_NAMES.iter().any(|end| ends_plainly(name, end));
            is_named && !is_in(&PUBLIC_NAMES)
        }
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

/// The letters and digits of a name in lower case, from the last one on.
fn plain_letters(name: &str) -> impl Iterator<Item = u8> {
    let letters = name.bytes().rev().filter(u8::is_ascii_alphanumeric);
    letters.map(|letter| letter.to_ascii_lowercase())
}

/// Returns whether a name without `_` and `-` ends so, in either case.
fn ends_plainly(name: &str, end: &str) -> bool {
    let mut letters = plain_letters(name);
    end.bytes().rev().all(|byte| letters.next() == Some(byte))
}

/// Returns whether a name without `_` and `-` is this one, in either case.
fn is_plain_name(name: &str, plain: &str) -> bool {
    plain_letters(name).eq(plain.bytes().rev())
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

    #[test]
    fn the_quick_looks_at_words_pass_all_that_is_secret() {
        let names = SECRET_NAMES.iter().chain(&SECRET_PARAMETERS);
        for name in names {
            for name in [(*name).to_owned(), name.to_uppercase(), format!("a-{name}")] {
                assert!(may_name_secret(name.as_bytes()), "{name}");
            }
        }
        for name in ["SESSION_ID", "session-i_d", "tok_e_n-", "Device-Code"] {
            let text = format!(r#"{{"{name}":"abc"}}"#);
            assert_eq!(with(&text, &[]), format!(r#"{{"{name}":"[masked]"}}"#));
        }
        for (prefix, _) in TOKEN_PREFIXES {
            let text = format!("{prefix}0123456789abcdef");
            assert_eq!(with(&text, &[]), MASK);
        }
    }

    /// All words, which [`candidates`] saves looking at.
    fn words(text: &str) -> Vec<usize> {
        let bytes = text.as_bytes();
        let starts = (0..bytes.len()).filter(|at| is_word(bytes[*at]) && begins_word(bytes, *at));
        starts.collect()
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
