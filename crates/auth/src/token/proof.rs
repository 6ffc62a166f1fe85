//! DPoP proofs: statements that the sender of a request has the key that its token is bound to (RFC 9449 §4.2).
//!
//! A proof is for one request. What a server says about proofs is remembered for its next request: the nonce that it
//! wants in them (§8, §9), and the difference of its clock where that was the reason of a refusal.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::error::{AuthError, ClockDifference, shown};
use crate::token::proof_key::ProofKey;
use crate::token::unix_millis;
use crate::transport::NONCE;
use mcp_bridge_net::http::{bare, date, host_and_port};
use mcp_bridge_net::mutex::Mutex;
use mcp_bridge_text::random;

/// Header that carries a proof.
pub(crate) const PROOF: HeaderName = HeaderName::from_static("dpop");

/// Random bytes in a proof's id: RFC 9449 §4.2 asks for 96 bit.
const ID_BYTES: usize = 16;

/// Longest nonce that is sent back, in bytes. Real ones have some dozen.
const LONGEST_NONCE: usize = 1024;

/// Limit for the origins whose nonces are remembered: a server, and its authorization servers.
const MOST_ORIGINS: usize = 16;

/// Differences below this one are no reason to refuse a proof: it is what a request may take on its way.
const LEAST_CLOCK_DIFFERENCE: Duration = Duration::from_secs(5);

/// Role of a server that gets proofs. One origin may have both, with a nonce for each (RFC 9449 §8.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ProofFor {
    AuthorizationServer,
    ResourceServer,
}

/// Objection of a server to a proof (RFC 9449 §8, §7.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProofObjection {
    /// It has to have the nonce of the answer in it.
    WantsNonce,
    /// It is wrong, for this reason.
    Invalid(String),
}

/// Statements of servers about proofs: the nonces that they want, and the time by their clocks.
#[derive(Debug, Default)]
pub(crate) struct ProofMemory(Mutex<HashMap<(ProofFor, String), Remembered>>);

#[derive(Debug, Default, Clone)]
struct Remembered {
    nonce: Option<String>,
    /// Seconds by which the server's clock is ahead of ours.
    ahead: i64,
}

/// Maker of proofs with one key.
#[derive(Debug, Clone)]
pub(crate) struct Prover {
    key: ProofKey,
    memory: Arc<ProofMemory>,
}

impl Prover {
    pub(crate) fn new(key: ProofKey, memory: Arc<ProofMemory>) -> Self {
        Self { key, memory }
    }

    pub(crate) fn key(&self) -> &ProofKey {
        &self.key
    }

    /// Proof for a request to a token endpoint.
    pub(crate) fn for_token_endpoint(&self, url: &Url) -> HeaderValue {
        self.proof(
            ProofFor::AuthorizationServer,
            &Method::POST,
            url,
            Map::new(),
        )
    }

    /// Proof for a request with `token` to the MCP server. The digest of the body is of the DPoP profile for MCP, since
    /// all requests there go to one address.
    pub(crate) fn for_resource(
        &self,
        method: &Method,
        url: &Url,
        token: &str,
        body: &[u8],
    ) -> HeaderValue {
        let mut claims = Map::new();
        let hash = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(token));
        claims.insert("ath".to_owned(), hash.into());
        if *method == Method::POST {
            let digest = BASE64_STANDARD.encode(Sha256::digest(body));
            claims.insert(
                "content_digest".to_owned(),
                format!("sha-256=:{digest}:").into(),
            );
        }
        self.proof(ProofFor::ResourceServer, method, url, claims)
    }

    fn proof(
        &self,
        role: ProofFor,
        method: &Method,
        url: &Url,
        mut claims: Map<String, Value>,
    ) -> HeaderValue {
        let remembered = self.memory.of(role, url);
        let now = unix_millis(SystemTime::now()) / 1000;
        claims.insert("jti".to_owned(), random::string::<ID_BYTES>().into());
        claims.insert("htm".to_owned(), method.as_str().into());
        claims.insert("htu".to_owned(), bare(url).as_str().into());
        claims.insert(
            "iat".to_owned(),
            now.saturating_add_signed(remembered.ahead).into(),
        );
        if let Some(nonce) = remembered.nonce {
            claims.insert("nonce".to_owned(), nonce.into());
        }
        let statement = self.key.statement(&Value::Object(claims).to_string());
        let mut value = HeaderValue::try_from(statement).expect("base64url and dots make a header");
        value.set_sensitive(true);
        value
    }

    /// Remembers the nonce of an answer.
    pub(crate) fn learn(&self, role: ProofFor, url: &Url, headers: &HeaderMap) {
        let Some(nonce) = headers.get(NONCE).and_then(|value| value.to_str().ok()) else {
            return;
        };
        // RFC 9449 §8.1
        let is_legal = nonce.bytes().all(|byte| byte.is_ascii_graphic());
        if !nonce.is_empty() && nonce.len() <= LONGEST_NONCE && is_legal {
            self.memory
                .update(role, url, |it| it.nonce = Some(nonce.to_owned()));
        }
    }

    /// True if the next proof answers the objection: it has the nonce, or the time of the server's clock.
    pub(crate) fn answers(
        &self,
        objection: &ProofObjection,
        role: ProofFor,
        url: &Url,
        headers: &HeaderMap,
    ) -> bool {
        match objection {
            ProofObjection::WantsNonce => self.memory.of(role, url).nonce.is_some(),
            ProofObjection::Invalid(_) => {
                let Some(difference) = clock_difference(headers) else {
                    return false;
                };
                let ahead = difference.server_is_ahead;
                let was = self.memory.of(role, url).ahead;
                self.memory.update(role, url, |it| it.ahead = ahead);
                was.abs_diff(ahead) >= LEAST_CLOCK_DIFFERENCE.as_secs()
            }
        }
    }
}

impl ProofObjection {
    /// The objection that an error code stands for (RFC 9449 §12.2), with the description of the answer.
    pub(crate) fn from_code(
        code: Option<&str>,
        description: impl FnOnce() -> Option<String>,
    ) -> Option<Self> {
        match code? {
            "use_dpop_nonce" => Some(Self::WantsNonce),
            code @ "invalid_dpop_proof" => {
                let description = description();
                let reason =
                    description.map_or_else(|| code.to_owned(), |it| format!("{code}: {it}"));
                Some(Self::Invalid(reason))
            }
            _ => None,
        }
    }

    /// The error for a person.
    pub(crate) fn into_error(self, url: &Url, headers: &HeaderMap) -> AuthError {
        AuthError::ProofRefused {
            host: host_and_port(url),
            reason: match self {
                Self::WantsNonce => "it wants a nonce again and again".to_owned(),
                Self::Invalid(reason) => shown(&reason),
            },
            clock: clock_difference(headers),
        }
    }
}

impl ProofMemory {
    fn of(&self, role: ProofFor, url: &Url) -> Remembered {
        let key = (role, url.origin().ascii_serialization());
        self.0.lock().get(&key).cloned().unwrap_or_default()
    }

    fn update(&self, role: ProofFor, url: &Url, change: impl FnOnce(&mut Remembered)) {
        let key = (role, url.origin().ascii_serialization());
        let mut all = self.0.lock();
        if all.len() >= MOST_ORIGINS && !all.contains_key(&key) {
            all.clear();
        }
        change(all.entry(key).or_default());
    }
}

/// Difference between the clock of the server that answered and ours; none if it is too small to matter.
fn clock_difference(headers: &HeaderMap) -> Option<ClockDifference> {
    let server = date(headers)?;
    let seconds = |time| i64::try_from(unix_millis(time) / 1000).unwrap_or(i64::MAX);
    let server_is_ahead = seconds(server).saturating_sub(seconds(SystemTime::now()));
    let is_large = server_is_ahead.unsigned_abs() >= LEAST_CLOCK_DIFFERENCE.as_secs();
    is_large.then_some(ClockDifference { server_is_ahead })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prover() -> Prover {
        Prover::new(ProofKey::generate().unwrap(), Arc::default())
    }

    fn claims(proof: &HeaderValue) -> Value {
        let payload = proof.to_str().unwrap().split('.').nth(1).unwrap();
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
    }

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    /// A-110
    #[test]
    fn a_proof_is_for_one_request_with_one_token() {
        let prover = prover();
        let server = url("https://u:p@x.example/mcp?key=1#part");
        let body = br#"{"jsonrpc":"2.0"}"#;
        let one = claims(&prover.for_resource(&Method::POST, &server, "t0k", body));
        assert_eq!(one["htm"], "POST");
        assert_eq!(one["htu"], "https://x.example/mcp");
        let digest = |text: &[u8]| Sha256::digest(text);
        assert_eq!(one["ath"], BASE64_URL_SAFE_NO_PAD.encode(digest(b"t0k")));
        let of_body = BASE64_STANDARD.encode(digest(body));
        assert_eq!(one["content_digest"], format!("sha-256=:{of_body}:"));
        let other = claims(&prover.for_resource(&Method::GET, &server, "t0k", b""));
        assert_eq!(other["htm"], "GET");
        assert!(other.get("content_digest").is_none());
        assert_ne!(one["jti"], other["jti"]);
        let token = claims(&prover.for_token_endpoint(&server));
        assert!(token.get("ath").is_none() && token.get("content_digest").is_none());
    }

    /// A-111: per origin and role, the latest one.
    #[test]
    fn a_nonce_is_for_the_server_that_gave_it() {
        let prover = prover();
        let (server, other) = (url("https://x.example/mcp"), url("https://y.example/mcp"));
        let learn = |role, url: &Url, nonce: &'static str| {
            let headers = HeaderMap::from_iter([(NONCE, HeaderValue::from_static(nonce))]);
            prover.learn(role, url, &headers);
        };
        learn(ProofFor::ResourceServer, &server, "one");
        learn(ProofFor::ResourceServer, &server, "two");
        learn(ProofFor::AuthorizationServer, &server, "three");
        learn(ProofFor::ResourceServer, &server, "not legal");
        learn(ProofFor::ResourceServer, &server, "");
        let nonce =
            |url: &Url| claims(&prover.for_resource(&Method::GET, url, "t", b""))["nonce"].clone();
        assert_eq!(nonce(&server), "two");
        assert_eq!(nonce(&url("https://x.example/messages?id=1")), "two");
        assert_eq!(nonce(&other), Value::Null);
        assert_eq!(
            claims(&prover.for_token_endpoint(&server))["nonce"],
            "three"
        );
    }

    /// A-112
    #[test]
    fn a_clock_is_corrected_once_by_the_date_of_the_answer() {
        let prover = prover();
        let server = url("https://x.example/mcp");
        let role = ProofFor::ResourceServer;
        let wrong = ProofObjection::Invalid("iat".to_owned());
        let dated = |text: &'static str| {
            let value = HeaderValue::from_static(text);
            HeaderMap::from_iter([(reqwest::header::DATE, value)])
        };
        assert!(!prover.answers(&wrong, role, &server, &HeaderMap::new()));
        let later = dated("Wed, 01 Jan 2200 00:00:00 GMT");
        assert!(prover.answers(&wrong, role, &server, &later));
        let iat = claims(&prover.for_resource(&Method::GET, &server, "t", b""))["iat"].as_u64();
        assert!(
            (7_258_118_400..7_258_118_500).contains(&iat.unwrap()),
            "{iat:?}"
        );
        assert!(!prover.answers(&wrong, role, &server, &later));
        let error = wrong.into_error(&server, &later);
        assert!(error.hint().contains("behind"), "{}", error.hint());
    }
}
