//! Probe of the authorization endpoint: whether the authorization server still knows a client.
//!
//! A server that was set up anew has forgotten its clients. It then shows the person an error page, and no
//! answer ever comes back. So the endpoint is looked at before the person does. Not all servers can be found
//! out in this way: some ask the person to log in first.

use reqwest::StatusCode;
use url::Url;

use super::transport::Transport;

/// How many redirects are followed. Authorization endpoints have few before their first page.
const MOST_REDIRECTS: usize = 3;

/// Whether the authorization endpoint turns the client of the request `url` away.
///
/// Only the status and the redirects are looked at: what a page says is between the person and the server.
/// Redirects are followed within the server's origin, and never to `redirect_uri`.
pub(super) async fn is_turned_away(transport: &Transport, url: &Url, redirect_uri: &Url) -> bool {
    let mut target = url.clone();
    for _ in 0..=MOST_REDIRECTS {
        let Ok(glimpse) = transport.glimpse(&target).await else {
            return false;
        };
        let Some(next) = glimpse.location else {
            return turns_away(glimpse.status);
        };
        match step(&target, &next, redirect_uri) {
            Step::TurnedAway => return true,
            Step::Welcome => return false,
            Step::Further => target = next,
        }
    }
    false
}

/// 403 and 429 are about who looks, 405 about how.
fn turns_away(status: StatusCode) -> bool {
    status.is_client_error() && !matches!(status.as_u16(), 403 | 405 | 429)
}

/// What a redirect says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    TurnedAway,
    Welcome,
    /// Nothing yet.
    Further,
}

fn step(from: &Url, to: &Url, redirect_uri: &Url) -> Step {
    let error = to
        .query_pairs()
        .find(|(name, _)| name == "error")
        .map(|(_, value)| value.to_ascii_lowercase());
    let names_the_client = error
        .as_deref()
        .is_some_and(|error| error.contains("client") || error.contains("redirect"));
    if names_the_client {
        return Step::TurnedAway;
    }
    let is_answer = to.origin() == redirect_uri.origin() && to.path() == redirect_uri.path();
    if is_answer {
        return Step::Welcome;
    }
    if is_error_page(to) {
        return Step::TurnedAway;
    }
    if to.origin() == from.origin() {
        Step::Further
    } else {
        Step::Welcome
    }
}

/// Whether one of the path's segments is `error`, as in `/error` and `/oauth/error.html`.
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
            assert_eq!(step(&from, &url(to), &redirect_uri), expected, "{to}");
        };
        check(
            "https://as.example/api/auth/error?error=invalid_client",
            Step::TurnedAway,
        );
        check(
            "https://ui.example/oauth?error=unauthorized_client",
            Step::TurnedAway,
        );
        check(
            "https://as.example/?error=invalid_redirect_uri",
            Step::TurnedAway,
        );
        check("https://as.example/error", Step::TurnedAway);
        check(
            "https://ui.example/oauth/error.html?code=17",
            Step::TurnedAway,
        );
        check(
            "http://localhost:3334/oauth/callback?error=unauthorized_client",
            Step::TurnedAway,
        );
        check(
            "http://localhost:3334/oauth/callback?error=access_denied&state=s",
            Step::Welcome,
        );
        check(
            "http://localhost:3334/oauth/callback?code=c&state=s",
            Step::Welcome,
        );
        check("https://as.example/login?next=/authorize", Step::Further);
        check(
            "https://as.example/signin?error=SessionRequired",
            Step::Further,
        );
        check("https://as.example/errors-and-returns", Step::Further);
        check("https://idp.example/login", Step::Welcome);
    }

    #[test]
    fn statuses_about_the_visitor_are_not_about_the_client() {
        let check = |status: u16, expected| {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(turns_away(status), expected, "{status}");
        };
        for status in [400, 401, 404, 422] {
            check(status, true);
        }
        for status in [200, 302, 403, 405, 429, 500, 503] {
            check(status, false);
        }
    }
}
