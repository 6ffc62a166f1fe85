//! The `Retry-After` and `Date` headers (RFC 9110 §10.2.3, §6.6.1).

use std::time::{Duration, SystemTime};

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// The wait that `Retry-After` asks for, in seconds or until a date. A date that has passed asks for none.
#[must_use]
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

/// The time by the clock of the server that answered; none where it does not tell it.
#[must_use]
pub fn date(headers: &HeaderMap) -> Option<SystemTime> {
    let value = headers.get(DATE)?.to_str().ok()?.trim();
    httpdate::parse_http_date(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    #[test]
    fn the_wait_is_seconds_or_until_a_date() {
        for (value, expected) in [
            ("3", Some(3)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]);
            let wait = retry_after(&headers).map(|wait| wait.as_secs());
            assert_eq!(wait, expected, "{value}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
