//! Redirects within one origin (RFC 9110 §15.4). Requests carry credentials, so no other origin gets them.

use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{Method, StatusCode};
use url::Url;

use super::url_length::{UrlTooLong, check_length};

/// The redirects of one request: where they have led, and how many more are followed.
#[derive(Debug)]
pub struct Redirects {
    method: Method,
    left: usize,
    target: Option<Url>,
}

/// A redirect that is not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedirectRefusal {
    /// It names no URL.
    #[error("a redirect without a valid Location")]
    NoLocation,
    /// It names a URL that is too long.
    #[error("a redirect: {0}")]
    TooLong(UrlTooLong),
    /// It leads to another origin, or the method would change. Without the query, which may hold what is nobody's
    /// business.
    #[error("it redirects to {0}")]
    Elsewhere(Url),
    /// There were too many.
    #[error("too many redirects")]
    TooMany,
}

impl Redirects {
    /// Follows so many redirects of a request with this method.
    #[must_use]
    pub const fn new(method: Method, limit: usize) -> Self {
        Self {
            method,
            left: limit,
            target: None,
        }
    }

    /// The URL to send the request to, which was meant for `url`.
    #[must_use]
    pub fn url<'a>(&'a self, url: &'a Url) -> &'a Url {
        self.target.as_ref().unwrap_or(url)
    }

    /// The URL that the redirects have led to, if there were any.
    #[must_use]
    pub fn into_target(self) -> Option<Url> {
        self.target
    }

    /// Returns whether the response is a redirect, after which the request has to be sent again to [`Self::url`]:
    /// to the same origin, with method and body kept.
    pub fn follow(
        &mut self,
        url: &Url,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<bool, RedirectRefusal> {
        let keeps_method = match status {
            StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => {
                self.method == Method::GET
            }
            _ => return Ok(false),
        };
        let from = self.url(url);
        let target = location(from, headers).ok_or(RedirectRefusal::NoLocation)?;
        check_length(&target).map_err(RedirectRefusal::TooLong)?;
        if !keeps_method || target.origin() != from.origin() {
            let mut shown = target;
            shown.set_query(None);
            shown.set_fragment(None);
            return Err(RedirectRefusal::Elsewhere(shown));
        }
        if self.left == 0 {
            return Err(RedirectRefusal::TooMany);
        }
        self.left -= 1;
        self.target = Some(target);
        Ok(true)
    }
}

/// The URL in the `Location` header of a response from `from`.
#[must_use]
pub fn location(from: &Url, headers: &HeaderMap) -> Option<Url> {
    let location = headers.get(LOCATION)?.to_str().ok()?;
    from.join(location).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    fn follow(method: Method, status: u16, location: &str) -> Result<bool, RedirectRefusal> {
        let url = Url::parse("https://example.com/a?key=1").unwrap();
        let headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_str(location).unwrap())]);
        let status = StatusCode::from_u16(status).unwrap();
        Redirects::new(method, 1).follow(&url, status, &headers)
    }

    #[test]
    fn only_redirects_that_keep_origin_and_method_are_followed() {
        let elsewhere = |url: &str| Err(RedirectRefusal::Elsewhere(Url::parse(url).unwrap()));
        for (method, status, location, expected) in [
            (Method::POST, 307, "/b", Ok(true)),
            (Method::POST, 308, "https://example.com/b", Ok(true)),
            (Method::GET, 302, "/b", Ok(true)),
            (
                Method::POST,
                302,
                "/b?key=2",
                elsewhere("https://example.com/b"),
            ),
            (
                Method::POST,
                307,
                "https://evil.example/b",
                elsewhere("https://evil.example/b"),
            ),
            (
                Method::GET,
                301,
                "http://example.com/b",
                elsewhere("http://example.com/b"),
            ),
            (
                Method::GET,
                307,
                "https://",
                Err(RedirectRefusal::NoLocation),
            ),
            (Method::GET, 304, "/b", Ok(false)),
            (Method::GET, 200, "/b", Ok(false)),
        ] {
            let followed = follow(method.clone(), status, location);
            assert_eq!(followed, expected, "{method} {status} {location}");
        }
    }

    #[test]
    fn the_number_of_redirects_is_bounded() {
        let url = Url::parse("https://example.com/a").unwrap();
        let headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_static("b"))]);
        let mut redirects = Redirects::new(Method::GET, 2);
        let mut follow = || redirects.follow(&url, StatusCode::FOUND, &headers);
        let followed = [follow(), follow(), follow()];
        assert_eq!(
            followed,
            [Ok(true), Ok(true), Err(RedirectRefusal::TooMany)]
        );
        assert_eq!(redirects.into_target().unwrap().path(), "/b");
    }
}
