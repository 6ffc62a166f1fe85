//! The cookie that binds a consent page to the browser that it was made for.

use axum::http::{HeaderMap, header};

use super::super::App;
use super::super::token::{Digest, Token};

/// Longest time that the browser keeps it, in seconds; as long as the page may wait for its answer.
const MAX_AGE: u64 = 10 * 60;

/// Length of the part of the form token's hash that stands in the name, in characters: each page has a
/// cookie of its own, so that two of them can be open.
const NAME_CHARS: usize = 8;

/// A `Set-Cookie` header for the page with this form token. With `https` it is `Secure`, and its name has a prefix with
/// which browsers take it from this host alone (RFC 6265bis §4.1.3).
pub(crate) fn set(app: &App, form_token: &str, browser_token: Token) -> String {
    let (name, value) = (name(app, form_token), browser_token.into_inner());
    let secure = if app.is_https() { "; Secure" } else { "" };
    format!("{name}={value}; Path=/; Max-Age={MAX_AGE}; HttpOnly; SameSite=Strict{secure}")
}

/// The value that the browser sends for the page with this form token.
pub(crate) fn get<'a>(app: &App, headers: &'a HeaderMap, form_token: &str) -> Option<&'a str> {
    let name = name(app, form_token);
    let lines = headers.get_all(header::COOKIE).iter();
    let mut pairs = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    pairs
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}

fn name(app: &App, form_token: &str) -> String {
    let digest: String = Digest::of(form_token)
        .as_str()
        .chars()
        .take(NAME_CHARS)
        .collect();
    let prefix = if app.is_https() { "__Host-" } else { "" };
    format!("{prefix}consent_{digest}")
}
