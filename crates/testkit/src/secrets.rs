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

/// The secret that a text shows, where the query of the server's URL is the user's own to see: a hint repeats what was
/// typed.
pub fn shown_to_user(text: &str) -> Option<&'static str> {
    let all = [HEADER_MARKER, SESSION_MARKER]
        .into_iter()
        .chain(CREDENTIALS);
    all.into_iter().find(|secret| text.contains(secret))
}

/// The secret that a text shows.
pub fn shown_in(text: &str) -> Option<&'static str> {
    shown_to_user(text).or_else(|| text.contains(QUERY_MARKER).then_some(QUERY_MARKER))
}
