//! Access and refresh tokens: expiry, and the `Authorization` header.

pub(crate) mod audience;
pub(crate) mod id_token;
pub(crate) mod proof;
pub(crate) mod proof_key;
pub(crate) mod scope;
pub(crate) mod secret_serde;

use std::fmt;
use std::time::{Duration, SystemTime};

use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use url::Url;

use crate::config::Bearer;
use crate::error::AuthError;
use crate::token::proof::{PROOF, ProofFor, ProofObjection, Prover};
use crate::token::scope::Scopes;
use mcp_bridge_text::secret::Secret;

/// A token is renewed this long before its end, or a tenth of its lifetime if that is less.
const LONGEST_MARGIN: Duration = Duration::from_secs(60);

/// The least margin, or a third of the lifetime if that is less: servers round the end down to whole seconds, and
/// some end the whole grant when a token is used after its end.
const LEAST_MARGIN: Duration = Duration::from_secs(2);

/// No real token lives longer; an absurd number must not overflow the clock.
const LONGEST_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A token as the `Authorization` header carries it (RFC 6750 §2.1, RFC 9449 §7.1).
#[derive(Clone)]
pub struct AccessToken {
    token: Secret<String>,
    header: HeaderValue,
    /// Maker of the proofs that go with it; none for a bearer token.
    prover: Option<Prover>,
}

impl AccessToken {
    /// None if the token has bytes that no header may carry: a line break in it would let its issuer add
    /// headers of its own.
    #[must_use]
    pub fn new(token: String) -> Option<Self> {
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        Some(Self {
            header: authorization("Bearer", &token)?,
            token: Secret::new(token),
            prover: None,
        })
    }

    /// The same token, which is bound to the key of `prover` (RFC 9449 §5).
    pub(crate) fn bound(mut self, prover: Prover) -> Self {
        if let Some(header) = authorization("DPoP", self.token.expose()) {
            self.header = header;
            self.prover = Some(prover);
        }
        self
    }

    /// True if it is bound to a key, so that each request needs a proof.
    #[must_use]
    pub const fn is_bound(&self) -> bool {
        self.prover.is_some()
    }

    /// Puts the token into the headers of a request, and a proof beside it if it is bound to a key.
    pub fn authorize(&self, method: &Method, url: &Url, body: &[u8], headers: &mut HeaderMap) {
        headers.insert(AUTHORIZATION, self.header());
        if let Some(prover) = &self.prover {
            let proof = prover.for_resource(method, url, self.expose(), body);
            headers.insert(PROOF, proof);
        }
    }

    /// Reads the headers of the answer to such a request: the nonce that the next proof has to have may be among them.
    pub fn read_answer(&self, url: &Url, headers: &HeaderMap) {
        if let Some(prover) = &self.prover {
            prover.learn(ProofFor::ResourceServer, url, headers);
        }
    }

    /// True if the same request with another proof may be accepted, after the server has objected to this one's.
    #[must_use]
    pub fn answers(&self, objection: &ProofObjection, url: &Url, headers: &HeaderMap) -> bool {
        self.prover
            .as_ref()
            .is_some_and(|it| it.answers(objection, ProofFor::ResourceServer, url, headers))
    }

    /// The error of a request whose proof the server objects to for good.
    #[must_use]
    pub fn proof_refused(
        &self,
        objection: &ProofObjection,
        url: &Url,
        headers: &HeaderMap,
    ) -> AuthError {
        objection.clone().into_error(url, headers)
    }

    /// The `Authorization` header: `Bearer …` or `DPoP …`, marked as sensitive.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        self.header.clone()
    }

    /// The token alone, for the place that stores or revokes it.
    pub(crate) fn expose(&self) -> &str {
        self.token.expose()
    }
}

fn authorization(scheme: &str, token: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::try_from(format!("{scheme} {token}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// The token alone decides.
impl PartialEq for AccessToken {
    fn eq(&self, other: &Self) -> bool {
        self.token == other.token
    }
}

impl Eq for AccessToken {}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(REDACTED)")
    }
}

impl Serialize for AccessToken {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }
}

impl<'de> Deserialize<'de> for AccessToken {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?)
            .ok_or_else(|| serde::de::Error::custom("a token that no header can carry"))
    }
}

/// Tokens of one answer of the token endpoint (RFC 6749 §5.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenSet {
    pub(crate) access_token: AccessToken,
    #[serde(
        default,
        with = "secret_serde::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) refresh_token: Option<Secret<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id_token: Option<AccessToken>,
    /// True if the access token is bound to the proof key of its credential (RFC 9449 §5).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_bound: bool,
    /// When the answer came, in milliseconds since 1970.
    pub(crate) obtained_at: u64,
    /// Lifetime from then on, in seconds; unknown means until the server refuses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lifetime: Option<u64>,
    /// Scopes that were asked for; a step-up asks for this and more.
    #[serde(default)]
    pub(crate) requested: Scopes,
    /// Scopes that were granted, as far as the answer says it.
    #[serde(default)]
    pub(crate) granted: Scopes,
    /// The same moment as `obtained_at` on the clock that nobody sets, known to the process that got it.
    #[serde(skip)]
    pub(crate) obtained: Option<Instant>,
}

/// Age of a token: what may be done with it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    /// Use it.
    Fresh,
    /// Use it, but it is time for another one.
    Stale,
}

/// Lifetime of a secret, which began at a moment by two clocks: one stands still while the machine sleeps, the other one
/// can be set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Validity {
    /// Milliseconds since 1970.
    obtained_at: u64,
    /// The same moment on the clock that nobody sets, if it was in this process.
    obtained: Option<Instant>,
    /// Unknown means until it is refused.
    lifetime: Option<Duration>,
}

impl Validity {
    pub(crate) fn from_now(lifetime: Option<Duration>) -> Self {
        let now = SentAt::now();
        Self {
            obtained_at: unix_millis(now.calendar),
            obtained: Some(now.stopwatch),
            lifetime: lifetime.map(|lifetime| lifetime.min(LONGEST_LIFETIME)),
        }
    }

    /// The age by both clocks.
    pub(crate) fn age(&self, now: SystemTime) -> Age {
        let Some(lifetime) = self.lifetime else {
            return Age::Fresh;
        };
        let margin = (lifetime / 10)
            .max(LEAST_MARGIN.min(lifetime / 3))
            .min(LONGEST_MARGIN);
        let best_before = lifetime.saturating_sub(margin);
        let by_calendar = Duration::from_millis(unix_millis(now).saturating_sub(self.obtained_at));
        let by_stopwatch = self
            .obtained
            .map_or(Duration::ZERO, |obtained| obtained.elapsed());
        if by_calendar.max(by_stopwatch) < best_before {
            Age::Fresh
        } else {
            Age::Stale
        }
    }
}

/// The moment of a request, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SentAt {
    calendar: SystemTime,
    stopwatch: Instant,
}

impl SentAt {
    pub(crate) fn now() -> Self {
        Self {
            calendar: SystemTime::now(),
            stopwatch: Instant::now(),
        }
    }
}

impl TokenSet {
    /// A set from an answer that has just come in.
    pub(crate) fn received(
        access_token: AccessToken,
        lifetime: Option<Duration>,
        requested: Scopes,
    ) -> Self {
        Self::issued(access_token, lifetime, requested, SentAt::now())
    }

    /// A set from the answer to a request that was sent then. The lifetime began in between, and the machine may have slept
    /// until the answer was read.
    pub(crate) fn issued(
        access_token: AccessToken,
        lifetime: Option<Duration>,
        requested: Scopes,
        sent: SentAt,
    ) -> Self {
        let lifetime = lifetime.filter(|lifetime| !lifetime.is_zero());
        Self {
            access_token,
            refresh_token: None,
            id_token: None,
            is_bound: false,
            obtained_at: unix_millis(sent.calendar),
            lifetime: lifetime.map(|lifetime| lifetime.min(LONGEST_LIFETIME).as_secs()),
            granted: requested.clone(),
            requested,
            obtained: Some(sent.stopwatch),
        }
    }

    /// The token that the user wants to be sent.
    pub(crate) fn bearer(&self, bearer: Bearer) -> &AccessToken {
        match bearer {
            Bearer::AccessToken => &self.access_token,
            Bearer::IdToken => self.id_token.as_ref().unwrap_or(&self.access_token),
        }
    }

    /// The age of the access token.
    pub(crate) fn age(&self, now: SystemTime) -> Age {
        let validity = Validity {
            obtained_at: self.obtained_at,
            obtained: self.obtained,
            lifetime: self.lifetime.map(Duration::from_secs),
        };
        validity.age(now)
    }

    /// This answer to a refresh of `old`, with what it does not repeat (RFC 6749 §5.1, §6).
    pub(crate) fn succeeding(mut self, old: &Self) -> Self {
        if self.refresh_token.is_none() {
            self.refresh_token.clone_from(&old.refresh_token);
        }
        if self.id_token.is_none() {
            self.id_token.clone_from(&old.id_token);
        }
        self
    }
}

/// A clock before 1970 is as wrong as one that stands still.
pub(crate) fn unix_millis(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    ///
    #[test]
    fn a_token_that_could_break_out_of_its_header_is_refused() {
        for bad in ["", "a\r\nX-Evil: 1", "a b", "tök", "a\0", "\u{7f}"] {
            assert!(AccessToken::new(bad.into()).is_none(), "{bad:?}");
        }
        let token = AccessToken::new("a.b-c_d~e+f/g=".into()).unwrap();
        assert_eq!(token.header(), "Bearer a.b-c_d~e+f/g=");
        assert!(token.header().is_sensitive());
        assert!(!format!("{token:?} {:?}", token.header()).contains("a.b"));
    }

    ///
    #[test]
    fn a_token_gets_stale_a_tenth_of_its_life_but_at_most_a_minute_before_its_end() {
        let check = |lifetime: Option<u64>, age_seconds: u64, expected: Age| {
            let mut tokens = TokenSet::received(
                AccessToken::new("t".into()).unwrap(),
                lifetime.map(Duration::from_secs),
                Scopes::default(),
            );
            tokens.obtained = None;
            tokens.obtained_at = 1_000_000_000;
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + age_seconds);
            assert_eq!(tokens.age(now), expected, "{lifetime:?} {age_seconds}");
        };
        check(Some(3), 1, Age::Fresh);
        check(Some(3), 2, Age::Stale);
        check(Some(10), 7, Age::Fresh);
        check(Some(10), 8, Age::Stale);
        check(Some(3600), 3539, Age::Fresh);
        check(Some(3600), 3540, Age::Stale);
        check(None, 1 << 35, Age::Fresh);
        check(Some(0), 1 << 35, Age::Fresh);
        check(Some(u64::MAX), 0, Age::Fresh);
    }

    /// a calendar that was set back does not make a token young again.
    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_set_back_does_not_prolong_a_token() {
        let tokens = TokenSet::received(
            AccessToken::new("t".into()).unwrap(),
            Some(Duration::from_secs(60)),
            Scopes::default(),
        );
        let yesterday = SystemTime::now() - Duration::from_secs(86_400);
        tokio::time::advance(Duration::from_secs(53)).await;
        assert_eq!(tokens.age(yesterday), Age::Fresh);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(tokens.age(yesterday), Age::Stale);
    }
}
