//! DPoP proof: a JWT that is signed with the key that it carries, for one request (RFC 9449 §4.2, §4.3).

use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::http::HeaderMap;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize as _;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::super::signature::{ALGORITHM_NAMES, ALGORITHMS};
use super::super::token::Digest;
use super::{PROOF, ProofRefusal, ProvenRequest};

/// Difference between the time in a proof and the clock of this server that is permitted, in seconds. The DPoP profile for MCP
/// says five minutes.
pub(super) const WINDOW_SECONDS: u32 = 300;

/// Type of the JWT (§4.2).
const TYPE: &str = "dpop+jwt";

/// Members of a JWK with a secret in them (RFC 7518 §6).
const SECRET_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// A proof whose signature is good.
#[derive(Debug, Clone)]
pub(crate) struct Proof {
    key: Digest,
    claims: Map<String, Value>,
}

impl Proof {
    /// Reads the only proof of a request, and verifies its signature.
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, ProofRefusal> {
        let mut lines = headers.get_all(PROOF).iter();
        let (Some(line), None) = (lines.next(), lines.next()) else {
            return Err(ProofRefusal::invalid("there has to be one DPoP header"));
        };
        Self::parse(line.to_str().unwrap_or_default())
    }

    fn parse(text: &str) -> Result<Self, ProofRefusal> {
        let header = header(text).ok_or_else(|| ProofRefusal::invalid("the proof is no JWT"))?;
        let member = |name: &str| header.get(name).and_then(Value::as_str);
        if !member("typ").is_some_and(|typ| typ.eq_ignore_ascii_case(TYPE)) {
            return Err(ProofRefusal::invalid(format!(
                "typ of the proof must be {TYPE}"
            )));
        }
        // An unknown critical extension may change what the proof means (RFC 7515 §4.1.11).
        if header.contains_key("crit") {
            return Err(ProofRefusal::invalid(
                "the proof has an extension that is not known here",
            ));
        }
        let algorithm = member("alg").and_then(|name| name.parse::<Algorithm>().ok());
        let algorithm = algorithm.filter(|it| ALGORITHMS.contains(it));
        let algorithm = algorithm.ok_or_else(|| {
            let names = ALGORITHM_NAMES.join(" ");
            ProofRefusal::invalid(format!("alg of the proof must be one of {names}"))
        })?;
        let (key, thumbprint) = key(header.get("jwk"))?;
        let rules = rules(algorithm);
        let claims = decode(text, &key, &rules)
            .map_err(|_| {
                ProofRefusal::invalid("the signature of the proof is not of the key in it")
            })?
            .claims;
        Ok(Self {
            key: thumbprint,
            claims,
        })
    }

    /// The thumbprint of the key (RFC 7638).
    pub(crate) const fn key(&self) -> &Digest {
        &self.key
    }

    /// The identifier of the proof. Without one, the proof does not pass the check.
    pub(super) fn id(&self) -> &str {
        self.text("jti").unwrap_or_default()
    }

    pub(super) fn nonce(&self) -> Option<&str> {
        self.text("nonce")
    }

    /// Compares the proof with the request that it came with (§4.3, steps 3 and 8 to 12).
    pub(super) fn check(
        &self,
        request: &ProvenRequest<'_>,
        now: SystemTime,
    ) -> Result<(), ProofRefusal> {
        let invalid = |reason: String| Err(ProofRefusal::Invalid(reason));
        if self.id().is_empty() {
            return invalid("jti of the proof is missing".to_owned());
        }
        if self.text("htm") != Some(request.method.as_str()) {
            return invalid(format!("htm of the proof must be {}", request.method));
        }
        let claimed = self.text("htu").unwrap_or_default();
        if !is_same_address(claimed, request.url) {
            return invalid(format!("htu of the proof must be {}", request.url));
        }
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let issued_at = self.claims.get("iat").and_then(Value::as_f64);
        let difference = issued_at.map(|iat| (iat - now.as_secs_f64()).abs());
        if !difference.is_some_and(|it| it <= f64::from(WINDOW_SECONDS)) {
            return invalid(format!(
                "iat of the proof must be within {WINDOW_SECONDS} s of the clock of this server"
            ));
        }
        let hash = request.token.as_ref().map(|token| Digest::of(token.text));
        if hash.is_some_and(|hash| self.text("ath") != Some(hash.as_str())) {
            return invalid("ath of the proof must be the hash of the token".to_owned());
        }
        Ok(())
    }

    /// Compares the body of the request with the digest in the proof, which the draft of the DPoP profile for MCP has: all
    /// requests go to one address. RFC 9449 has none, so a client need not send it.
    pub(crate) fn check_body(&self, body: &Bytes) -> Result<(), ProofRefusal> {
        let Some(claimed) = self.claims.get("content_digest") else {
            return Ok(());
        };
        let digest = BASE64_STANDARD.encode(Sha256::digest(body));
        if claimed.as_str() == Some(&format!("sha-256=:{digest}:")) {
            return Ok(());
        }
        let reason = "content_digest of the proof must be the digest of the body";
        Err(ProofRefusal::invalid(reason))
    }

    fn text(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim)?.as_str()
    }
}

fn header(text: &str) -> Option<Map<String, Value>> {
    let encoded = text.split('.').next()?;
    let decoded = BASE64_URL_SAFE_NO_PAD.decode(encoded).ok()?;
    serde_json::from_slice(&decoded).ok()
}

/// A key out of the header of a proof, with its thumbprint.
fn key(jwk: Option<&Value>) -> Result<(DecodingKey, Digest), ProofRefusal> {
    let invalid = |reason: &str| Err(ProofRefusal::invalid(reason));
    let Some(jwk) = jwk else {
        return invalid("the proof has no key (jwk)");
    };
    if SECRET_MEMBERS.iter().any(|name| jwk.get(name).is_some()) {
        return invalid("jwk of the proof must be a public key, without a secret in it");
    }
    let parsed = Jwk::deserialize(jwk).ok();
    let key = parsed.and_then(|jwk| {
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        Some((key, thumbprint(&jwk)?))
    });
    key.map_or_else(
        || invalid("jwk of the proof must be a key on P-256 or Ed25519, or one of RSA"),
        Ok,
    )
}

/// The thumbprint of a key (RFC 7638 §3): its necessary members in the order of the alphabet, without white space.
fn thumbprint(jwk: &Jwk) -> Option<Digest> {
    let canonical = match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            let (x, y) = (&key.x, &key.y);
            format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, key.x)
        }
        AlgorithmParameters::RSA(key) => {
            format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, key.e, key.n)
        }
        _ => return None,
    };
    Some(Digest::of(&canonical))
}

/// Nothing but the signature: the claims of a proof are others than those of a token.
fn rules(algorithm: Algorithm) -> Validation {
    let mut rules = Validation::new(algorithm);
    rules.set_required_spec_claims::<&str>(&[]);
    rules.validate_exp = false;
    rules.validate_aud = false;
    rules
}

/// Returns whether two URLs are the same without their queries and fragments, however they are spelled (§4.3, step 9).
fn is_same_address(claimed: &str, expected: &str) -> bool {
    let (Ok(mut claimed), Ok(expected)) = (Url::parse(claimed), Url::parse(expected)) else {
        return false;
    };
    claimed.set_query(None);
    claimed.set_fragment(None);
    claimed == expected
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7638 §3.1, RFC 8037 Appendix A.3
    #[test]
    fn thumbprints_are_those_of_the_rfcs() {
        for (jwk, expected) in [
            (
                r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#,
                "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
            ),
            (
                r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
                "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
            ),
        ] {
            let jwk: Value = serde_json::from_str(jwk).unwrap();
            let Ok((_, thumbprint)) = key(Some(&jwk)) else {
                panic!("{jwk} is a key");
            };
            assert_eq!(thumbprint.as_str(), expected);
        }
    }

    #[test]
    fn addresses_are_compared_as_urls_without_their_queries() {
        let expected = "https://mcp.example.com/mcp";
        for same in [
            "https://mcp.example.com/mcp",
            "https://MCP.example.com:443/mcp?key=1#part",
            "https://mcp.example.com/x/../mcp",
        ] {
            assert!(is_same_address(same, expected), "{same}");
        }
        for other in [
            "",
            "/mcp",
            "http://mcp.example.com/mcp",
            "https://mcp.example.com/mcp/",
            "https://mcp.example.com:8443/mcp",
            "https://user@mcp.example.com/mcp",
            "https://mcp.example.com.evil.example/mcp",
        ] {
            assert!(!is_same_address(other, expected), "{other}");
        }
    }
}
