//! Secrets of the tests, each recognizable, and the check that no output shows one.

/// Secrets that no output of the bridge may show.
pub const MARKERS: [&str; 3] = [HEADER_MARKER, SESSION_MARKER, QUERY_MARKER];
/// The value of a header that the user configures.
pub const HEADER_MARKER: &str = "marker-of-a-header-value";
/// A part of every session id.
pub const SESSION_MARKER: &str = "marker-of-a-session-id";
/// A value in the query of the server's URL.
pub const QUERY_MARKER: &str = "marker-of-a-query-value";

/// Beginnings of the tokens, codes and client secrets of the authorization server.
const CREDENTIALS: [&str; 4] = [
    "access-MARKER",
    "refresh-MARKER",
    "code-MARKER",
    "secret-MARKER",
];

/// Parts of them, of which each secret has one: a long text is searched for few words.
const PARTS: [&str; 2] = ["marker-of-a-", "-MARKER"];

/// The secret that a text shows, where the query of the server's URL is the user's own to see: a hint repeats what was
/// typed.
pub fn shown_to_user(text: &str) -> Option<&'static str> {
    let all = [HEADER_MARKER, SESSION_MARKER]
        .into_iter()
        .chain(CREDENTIALS);
    first_of(all, text)
}

/// The secret that a text shows.
pub fn shown_in(text: &str) -> Option<&'static str> {
    first_of(MARKERS.into_iter().chain(CREDENTIALS), text)
}

fn first_of(mut secrets: impl Iterator<Item = &'static str>, text: &str) -> Option<&'static str> {
    let has = |part: &str| memchr::memmem::find(text.as_bytes(), part.as_bytes()).is_some();
    if !PARTS.into_iter().any(has) {
        return None;
    }
    secrets.find(|secret| text.contains(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_secret_has_a_part_that_is_searched_for() {
        for secret in MARKERS.into_iter().chain(CREDENTIALS) {
            let text = format!("before {secret}-17 behind");
            assert_eq!(shown_in(&text), Some(secret));
        }
        assert_eq!(shown_in("a marker and a MARKER"), None);
        assert_eq!(shown_to_user(QUERY_MARKER), None);
    }
}
