//! Time for which an unused connection is fit for a request: as the server announces it, and as it has shown.
//!
//! A request that meets the close of its connection is lost, and nobody knows whether it was carried out.

use std::time::Duration;

use reqwest::header::HeaderMap;

use super::POOL_IDLE;

/// Time without a request after which a server may have closed a connection because of that, and it is looked at before
/// it is used. The shortest limit that is common is two seconds; to look costs a system call.
pub(super) const QUIET: Duration = Duration::from_secs(1);

/// Time before the close that a server has announced from which a connection is not used any more: the request has to get there
/// before the server closes. Of a short life it is the second half. Around a close that was only seen before, no more than a
/// quarter of the life.
const MARGIN: Duration = Duration::from_secs(1);

/// Header with the time after which the server closes a connection that is not used (RFC 2068 §19.7.1).
const KEEP_ALIVE: &str = "keep-alive";

/// Time for which a connection may be kept without a request, after a response with these headers.
pub(super) fn announced(headers: &HeaderMap) -> Duration {
    let announced = headers.get(KEEP_ALIVE).and_then(|value| {
        let mut parameters = value.to_str().ok()?.split(',');
        parameters.find_map(|parameter| {
            let (name, seconds) = parameter.split_once('=')?;
            let is_timeout = name.trim().eq_ignore_ascii_case("timeout");
            is_timeout.then(|| seconds.trim().parse().ok()).flatten()
        })
    });
    let Some(announced) = announced.map(Duration::from_secs) else {
        return POOL_IDLE;
    };
    let margin = MARGIN.min(announced / 2);
    announced.saturating_sub(margin).min(POOL_IDLE)
}

/// Life of unused connections at a server that does not announce it: uvicorn closes them after five seconds.
#[derive(Debug, Default)]
pub(super) struct ObservedLife(Option<Duration>);

impl ObservedLife {
    /// The server has closed a connection that was unused for this long.
    pub(super) fn record(&mut self, unused: Duration) {
        // One that is closed earlier says more about a server that restarts.
        if unused >= QUIET {
            self.0 = Some(unused);
        }
    }

    /// Returns whether the server is likely to close a connection at this moment that has been unused for so long.
    pub(super) fn ends_about(&self, unused: Duration) -> bool {
        self.0
            .is_some_and(|life| life.abs_diff(unused) < MARGIN.min(life / 4))
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn a_connection_is_not_used_when_the_server_is_about_to_close_it() {
        let check = |value: &'static str, expected| {
            let headers = HeaderMap::from_iter([(
                HeaderName::from_static(KEEP_ALIVE),
                HeaderValue::from_static(value),
            )]);
            assert_eq!(announced(&headers), expected, "{value:?}");
        };
        check("timeout=5", Duration::from_secs(4));
        check("max=100, Timeout = 15", Duration::from_secs(14));
        check("timeout=1", Duration::from_millis(500));
        check("timeout=0", Duration::ZERO);
        check("timeout=100000", POOL_IDLE);
        for nothing in [
            "",
            "timeout",
            "timeout=",
            "timeout=-1",
            "timeout=soon",
            "max=5",
        ] {
            check(nothing, POOL_IDLE);
        }
        assert_eq!(announced(&HeaderMap::new()), POOL_IDLE);
    }

    #[test]
    fn a_connection_is_not_used_about_when_the_server_closed_another() {
        let mut life = ObservedLife::default();
        let is_used = |life: &ObservedLife, milliseconds| {
            !life.ends_about(Duration::from_millis(milliseconds))
        };
        assert!(is_used(&life, 5_000));
        life.record(Duration::from_millis(5_010));
        for (unused, expected) in [
            (0, true),
            (4_010, true),
            (4_011, false),
            (6_009, false),
            (6_010, true),
        ] {
            assert_eq!(is_used(&life, unused), expected, "{unused}");
        }
        life.record(Duration::from_millis(999));
        assert!(!is_used(&life, 5_000));
        assert!(is_used(&life, 999));
        life.record(Duration::from_secs(2));
        assert!(is_used(&life, 5_000));
        assert!(is_used(&life, 1_500) && !is_used(&life, 2_499));
    }
}
