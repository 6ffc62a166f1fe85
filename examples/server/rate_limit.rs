//! Rate limit for the endpoints that anybody may use: registration and tokens.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// The time in which the limit may be used up, and is there again.
const WINDOW: Duration = Duration::from_secs(60);

/// Most addresses that are remembered. Beyond it the ones whose limit is whole again are forgotten, and if that is not
/// enough, all.
const MAX_ADDRESSES: usize = 10_000;

/// Requests of each address to one endpoint, as a bucket that fills evenly (token bucket). Each replica has its own.
pub(crate) struct RateLimit {
    limit: NonZeroU32,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

#[derive(Clone, Copy)]
struct Bucket {
    /// Requests that are left, in fractions.
    left: f64,
    at: Instant,
}

impl RateLimit {
    /// So many requests in a minute.
    pub(crate) fn new(limit: NonZeroU32) -> Arc<Self> {
        Arc::new(Self {
            limit,
            buckets: Mutex::default(),
        })
    }

    fn whole(&self) -> f64 {
        f64::from(self.limit.get())
    }

    /// Takes a request out of the bucket; else the time until there is one.
    pub(crate) fn take(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_ADDRESSES {
            buckets.retain(|_, bucket| now.duration_since(bucket.at) < WINDOW);
        }
        if buckets.len() >= MAX_ADDRESSES {
            buckets.clear();
        }
        let per_second = self.whole() / WINDOW.as_secs_f64();
        let bucket = buckets.entry(network_of(address)).or_insert(Bucket {
            left: self.whole(),
            at: now,
        });
        let filled = now.duration_since(bucket.at).as_secs_f64() * per_second;
        bucket.left = (bucket.left + filled).min(self.whole());
        bucket.at = now;
        if bucket.left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - bucket.left) / per_second));
        }
        bucket.left -= 1.0;
        Ok(())
    }
}

/// Whoever has an IPv6 address has a network of them (RFC 6177), which counts as one.
fn network_of(address: IpAddr) -> IpAddr {
    const PREFIX: u128 = u128::MAX << 64;
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & PREFIX).into(),
    }
}

/// Lets a request through if its address has one left; else says when (RFC 6585 §4).
pub(crate) async fn limit(
    State(limit): State<Arc<RateLimit>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let Err(wait) = limit.take(address.ip(), Instant::now()) else {
        return next.run(request).await;
    };
    let seconds = wait.as_secs() + 1;
    let error = json!({
        "error": "temporarily_unavailable",
        "error_description": format!("too many requests; try again in {seconds} s"),
    });
    let headers = [(header::RETRY_AFTER, seconds.to_string())];
    (StatusCode::TOO_MANY_REQUESTS, headers, Json(error)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_uses_up_its_limit_gets_it_back_with_time_and_no_other_suffers() {
        let limit = RateLimit::new(NonZeroU32::new(60).unwrap());
        let greedy: IpAddr = "192.0.2.1".parse().unwrap();
        let start = Instant::now();
        assert!((0..60).all(|_| limit.take(greedy, start).is_ok()));
        let wait = limit.take(greedy, start).unwrap_err();
        assert!(wait <= Duration::from_secs(1), "{wait:?}");
        assert!(limit.take("192.0.2.2".parse().unwrap(), start).is_ok());
        let later = start + Duration::from_millis(1001);
        assert!(limit.take(greedy, later).is_ok());
        assert!(limit.take(greedy, later).is_err());
    }

    #[test]
    fn the_addresses_of_one_network_share_a_limit_and_their_number_is_bounded() {
        let limit = RateLimit::new(NonZeroU32::MIN);
        let start = Instant::now();
        assert!(limit.take("2001:db8::1".parse().unwrap(), start).is_ok());
        assert!(limit.take("2001:db8::2".parse().unwrap(), start).is_err());
        for n in 0..2 * u32::try_from(MAX_ADDRESSES).unwrap() {
            let _ = limit.take(IpAddr::V4(n.into()), start);
        }
        assert!(limit.buckets.lock().unwrap().len() <= MAX_ADDRESSES);
    }
}
