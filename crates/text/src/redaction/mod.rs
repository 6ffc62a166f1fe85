//! Redaction of texts for logs and recordings: bounded in length, with secrets masked.
//!
//! Secrets that are known (the user's headers, the token, the session) are masked wherever they stand. What
//! else is in a message belongs to the server and the app, so what is named like a secret, or looks like one,
//! is masked as well.

mod candidates;
mod names;
mod secrets;

use std::borrow::Cow;
use std::ops::Range;

use secrets::secret_ranges;

/// Length beyond it that is searched, so that a secret across the limit is found, in bytes.
const LONGEST_SECRET_BYTES: usize = 8 * 1024;

/// A shorter text is not masked by its value alone: it may be any word.
const SHORTEST_SECRET_BYTES: usize = 8;

/// The text in the place of a secret.
pub const MASK: &str = "[masked]";

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
