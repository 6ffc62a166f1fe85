//! Nonces for proofs (RFC 9449 §8, §9): texts that only this server can make, with the time in them.
//!
//! A proof with a recent nonce cannot have been made long ago, whatever its sender's clock says. Nothing is remembered about
//! nonces, and replicas recognise each other's, since they share the key.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use redis::RedisResult;
use ring::hmac;

use super::super::replicas::SharedState;
use super::super::token::Token;
use super::Role;

/// Time for which one nonce is handed out, in seconds. Within it a client that remembers the latest needs no second attempt.
const PERIOD_SECONDS: u64 = 60;

/// Periods after which a nonce is too old: those of a client that pauses for some minutes are still good.
const LIFETIME_PERIODS: u64 = 5;

/// Periods by which the clock of another replica may be ahead.
const AHEAD_PERIODS: u64 = 1;

/// Key in Redis of the key that replicas make nonces with.
const SHARED_KEY: &str = "mcp-example:dpop-nonce-key";

/// Returns the key; if there is none yet, the proposed one becomes it.
const GET_OR_SET: &str = "\
local known = redis.call('GET', KEYS[1])
if known then return known end
redis.call('SET', KEYS[1], ARGV[1])
return ARGV[1]";

/// Maker of nonces.
pub(super) enum Nonces {
    /// With a key of this process.
    Own(hmac::Key),
    /// With a key that all replicas have.
    Shared(Arc<SharedState>),
}

impl Nonces {
    pub(super) fn new(shared: Option<Arc<SharedState>>) -> Self {
        match shared {
            Some(shared) => Self::Shared(shared),
            None => Self::Own(key_of(&Token::generate())),
        }
    }

    /// The present nonce.
    pub(super) async fn current(&self, role: Role) -> RedisResult<String> {
        Ok(make(&self.key().await?, role, period(SystemTime::now())))
    }

    /// Returns whether a proof has a nonce of this server that is not too old.
    pub(super) async fn accept(&self, role: Role, nonce: Option<&str>) -> RedisResult<bool> {
        let Some(nonce) = nonce else {
            return Ok(false);
        };
        let now = period(SystemTime::now());
        Ok(is_recent(&self.key().await?, role, nonce, now))
    }

    async fn key(&self) -> RedisResult<hmac::Key> {
        let shared = match self {
            Self::Own(key) => return Ok(key.clone()),
            Self::Shared(shared) => shared,
        };
        let mut command = redis::cmd("EVAL");
        command.arg(GET_OR_SET).arg(1).arg(SHARED_KEY);
        command.arg(Token::generate().expose());
        let key: String = shared.ask(&command).await?;
        Ok(key_of(&Token::from(key)))
    }
}

fn key_of(secret: &Token) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes())
}

fn period(now: SystemTime) -> u64 {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs() / PERIOD_SECONDS
}

fn make(key: &hmac::Key, role: Role, period: u64) -> String {
    let tag = hmac::sign(key, &message(role, period));
    let bytes = [&period.to_be_bytes()[..], tag.as_ref()].concat();
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn is_recent(key: &hmac::Key, role: Role, nonce: &str, now: u64) -> bool {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(nonce).unwrap_or_default();
    let Some((period, tag)) = bytes.split_first_chunk() else {
        return false;
    };
    let period = u64::from_be_bytes(*period);
    let is_of_this_time =
        (now.saturating_sub(LIFETIME_PERIODS)..=now + AHEAD_PERIODS).contains(&period);
    is_of_this_time && hmac::verify(key, &message(role, period), tag).is_ok()
}

fn message(role: Role, period: u64) -> Vec<u8> {
    let role: &[u8] = match role {
        Role::AuthorizationServer => b"authorization server",
        Role::ResourceServer => b"resource server",
    };
    [role, &period.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_good_for_some_minutes_for_one_role_and_of_one_key() {
        let key = key_of(&Token::generate());
        let role = Role::ResourceServer;
        let nonce = make(&key, role, 1000);
        for now in [999, 1000, 1000 + LIFETIME_PERIODS] {
            assert!(is_recent(&key, role, &nonce, now), "{now}");
        }
        for now in [998, 1001 + LIFETIME_PERIODS] {
            assert!(!is_recent(&key, role, &nonce, now), "{now}");
        }
        assert!(!is_recent(&key, Role::AuthorizationServer, &nonce, 1000));
        assert!(!is_recent(&key_of(&Token::generate()), role, &nonce, 1000));
        for made_up in ["", "a", "nonce-of-somebody-else", &nonce[1..]] {
            assert!(!is_recent(&key, role, made_up, 1000), "{made_up}");
        }
    }
}
