//! Time for which a document is kept, by its `Cache-Control` (RFC 9111 §5.2.2), within bounds.

use std::time::Duration;

use axum::http::{HeaderMap, header};

/// Time for a document that says nothing about it.
const USUAL: Duration = Duration::from_secs(5 * 60);

/// Least time, also for one that must not be cached: nobody is to make this server ask a host again and again.
const LEAST: Duration = Duration::from_secs(60);

/// Longest time: an app that changes its redirect URIs is not to wait for longer.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The time after which the document of this response is to be fetched again.
pub(super) fn lifetime(headers: &HeaderMap) -> Duration {
    let lines = headers.get_all(header::CACHE_CONTROL).iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    let directives = lines.flat_map(|line| line.split(',').map(str::trim));
    let mut lifetime = USUAL;
    for directive in directives {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => return LEAST,
            "max-age" => {
                // What is no number is stale (RFC 9111 §4.2.1).
                let seconds = value.trim_matches(['"', ' ']).parse().unwrap_or(0);
                lifetime = Duration::from_secs(seconds);
            }
            _ => {}
        }
    }
    lifetime.clamp(LEAST, LONGEST)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_document_is_kept_for_as_long_as_it_says_within_bounds() {
        for (lines, expected) in [
            (&[][..], USUAL),
            (&["public"], USUAL),
            (&["max-age=600"], Duration::from_secs(600)),
            (&["public, Max-Age=\"600\""], Duration::from_secs(600)),
            (&["max-age=0"], LEAST),
            (&["max-age=x"], LEAST),
            (&["max-age=99999999"], LONGEST),
            (&["no-store"], LEAST),
            (&["max-age=600", "no-cache"], LEAST),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::CACHE_CONTROL, HeaderValue::from_static(line));
            }
            assert_eq!(lifetime(&headers), expected, "{lines:?}");
        }
    }
}
