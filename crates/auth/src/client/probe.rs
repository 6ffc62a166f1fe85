//! Probe of the authorization endpoint: whether the authorization server still knows a client.
//!
//! A server that was set up anew has forgotten its clients. It then shows the person an error page, and no
//! answer ever comes back. So the endpoint is looked at before the person does. Some servers ask the person to
//! log in before they look at the client; they are recognized by doing the same for a client that does not exist.

use reqwest::StatusCode;
use url::Url;

use crate::transport::Transport;

/// Limit for redirects that are followed. Authorization endpoints have few before their first page.
const MOST_REDIRECTS: usize = 3;

/// The id of a client that no server knows.
const UNKNOWN_CLIENT: &str = "mcp-bridge-unknown-client";

/// Outcome of a look at the authorization endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    /// An error that is about the client.
    TurnedAway,
    /// A page, for example to log in.
    Page,
    /// An answer for the client.
    Answer,
    /// Nothing that says anything about the client.
    Unclear,
}

/// Looks at the authorization request `url`.
///
/// Only the status and the redirects are looked at: what a page says is between the person and the server.
/// Redirects are followed within the server's origin, and never to `redirect_uri`.
pub(crate) async fn probe(transport: &Transport, url: &Url, redirect_uri: &Url) -> Finding {
    let mut target = url.clone();
    for _ in 0..=MOST_REDIRECTS {
        let Ok(head) = transport.fetch_head(&target).await else {
            return Finding::Unclear;
        };
        let Some(next) = head.location else {
            return judge_status(head.status);
        };
        match judge_redirect(&target, &next, redirect_uri) {
            RedirectStep::End(finding) => return finding,
            RedirectStep::Further => target = next,
        }
    }
    Finding::Unclear
}

/// True if the server shows a page without looking at the client, so that a page for ours says nothing.
pub(crate) async fn shows_page_to_anybody(
    transport: &Transport,
    url: &Url,
    redirect_uri: &Url,
) -> bool {
    let unknown = with_unknown_client(url);
    probe(transport, &unknown, redirect_uri).await == Finding::Page
}

fn with_unknown_client(url: &Url) -> Url {
    let pairs: Vec<_> = url
        .query_pairs()
        .filter(|(name, _)| name != "client_id")
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    let mut unknown = url.clone();
    unknown
        .query_pairs_mut()
        .clear()
        .extend_pairs(pairs)
        .append_pair("client_id", UNKNOWN_CLIENT);
    unknown
}

/// 403 and 429 are about who looks, 405 about how.
fn judge_status(status: StatusCode) -> Finding {
    match status.as_u16() {
        403 | 405 | 429 => Finding::Unclear,
        400..=499 => Finding::TurnedAway,
        200..=299 => Finding::Page,
        _ => Finding::Unclear,
    }
}

/// Meaning of one redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RedirectStep {
    End(Finding),
    /// Nothing yet.
    Further,
}

fn judge_redirect(from: &Url, to: &Url, redirect_uri: &Url) -> RedirectStep {
    let error = to
        .query_pairs()
        .find(|(name, _)| name == "error")
        .map(|(_, value)| value.to_ascii_lowercase());
    let names_the_client = error
        .as_deref()
        .is_some_and(|error| error.contains("client") || error.contains("redirect"));
    if names_the_client {
        return RedirectStep::End(Finding::TurnedAway);
    }
    let is_answer = to.origin() == redirect_uri.origin() && to.path() == redirect_uri.path();
    if is_answer {
        return RedirectStep::End(Finding::Answer);
    }
    if is_error_page(to) {
        return RedirectStep::End(Finding::TurnedAway);
    }
    if to.origin() == from.origin() {
        RedirectStep::Further
    } else {
        RedirectStep::End(Finding::Page)
    }
}

/// True if one of the path's segments is `error`, as in `/error` and `/oauth/error.html`.
fn is_error_page(url: &Url) -> bool {
    let segments = url.path_segments().into_iter().flatten();
    segments
        .map(|segment| segment.split('.').next().unwrap_or_default())
        .any(|name| name.eq_ignore_ascii_case("error") || name.eq_ignore_ascii_case("errors"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_to_error_pages_are_told_from_those_to_login_pages_and_answers() {
        let url = |text: &str| Url::parse(text).expect("a URL");
        let from = url("https://as.example/authorize?client_id=x");
        let redirect_uri = url("http://localhost:3334/oauth/callback");
        let check = |to: &str, expected| {
            assert_eq!(
                judge_redirect(&from, &url(to), &redirect_uri),
                expected,
                "{to}"
            );
        };
        check(
            "https://as.example/api/auth/error?error=invalid_client",
            RedirectStep::End(Finding::TurnedAway),
        );
        check(
            "https://ui.example/oauth?error=unauthorized_client",
            RedirectStep::End(Finding::TurnedAway),
        );
        check(
            "https://as.example/?error=invalid_redirect_uri",
            RedirectStep::End(Finding::TurnedAway),
        );
        check(
            "https://as.example/error",
            RedirectStep::End(Finding::TurnedAway),
        );
        check(
            "https://ui.example/oauth/error.html?code=17",
            RedirectStep::End(Finding::TurnedAway),
        );
        check(
            "http://localhost:3334/oauth/callback?error=unauthorized_client",
            RedirectStep::End(Finding::TurnedAway),
        );
        check(
            "http://localhost:3334/oauth/callback?error=access_denied&state=s",
            RedirectStep::End(Finding::Answer),
        );
        check(
            "http://localhost:3334/oauth/callback?code=c&state=s",
            RedirectStep::End(Finding::Answer),
        );
        check(
            "https://as.example/login?next=/authorize",
            RedirectStep::Further,
        );
        check(
            "https://as.example/signin?error=SessionRequired",
            RedirectStep::Further,
        );
        check(
            "https://as.example/errors-and-returns",
            RedirectStep::Further,
        );
        check(
            "https://idp.example/login",
            RedirectStep::End(Finding::Page),
        );
    }

    #[test]
    fn statuses_about_the_visitor_are_not_about_the_client() {
        let check = |status: u16, expected| {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(judge_status(status), expected, "{status}");
        };
        for status in [400, 401, 404, 422] {
            check(status, Finding::TurnedAway);
        }
        for status in [403, 405, 429, 500, 503] {
            check(status, Finding::Unclear);
        }
        check(200, Finding::Page);
    }

    #[test]
    fn the_request_of_an_unknown_client_differs_in_nothing_else() {
        let url = Url::parse("https://as.example/authorize?tenant=a%20b&client_id=ours&state=s");
        let unknown = with_unknown_client(&url.expect("a URL"));
        assert_eq!(
            unknown.as_str(),
            "https://as.example/authorize?tenant=a+b&state=s&client_id=mcp-bridge-unknown-client"
        );
    }
}
