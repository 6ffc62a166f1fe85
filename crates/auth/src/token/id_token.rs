//! ID token: its claims, and its signature (OpenID Connect Core §2, §3.1.3.7; RFC 7515, RFC 7518).

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use serde_json::{Map, Value};

use crate::error::{ClockDifference, shown};

/// Difference between two clocks that is taken for granted.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// Lifetime of a token whose end is not after its beginning.
const SHORTEST_LIFETIME: Duration = Duration::from_secs(1);

/// An ID token, taken apart.
#[derive(Debug)]
pub(crate) struct IdToken<'a> {
    /// Signed part: header and claims.
    signed: &'a str,
    signature: Vec<u8>,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

/// The expected claims.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExpectedClaims<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) client_id: &'a str,
    /// The `nonce` of the request; none where the token answers another one (OpenID Connect Core §12.2).
    pub(crate) nonce: Option<&'a str>,
    /// Seconds since 1970.
    pub(crate) now: u64,
}

impl<'a> IdToken<'a> {
    /// None if it is no signed JWT.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).ok();
        Some(Self {
            signed,
            signature: decode(signature)?,
            header: serde_json::from_slice(&decode(header)?).ok()?,
            claims: serde_json::from_slice(&decode(claims)?).ok()?,
        })
    }

    /// Checks the claims. The problem is in words, and repeats no more than issuers.
    pub(crate) fn check(&self, expected: ExpectedClaims<'_>) -> Result<(), String> {
        let issuer = self.text("iss").unwrap_or("nobody");
        if issuer != expected.issuer {
            return Err(format!("it is from {}", shown(issuer)));
        }
        if !self.is_for(expected.client_id) {
            return Err("it is for another client".into());
        }
        if expected.nonce.is_some() && self.text("nonce") != expected.nonce {
            return Err("it does not have the nonce of this sign-in".into());
        }
        self.check_time(expected.now)
    }

    /// Checks that it has not expired at `now`, in seconds since 1970.
    pub(crate) fn check_time(&self, now: u64) -> Result<(), String> {
        let Some(end) = self.seconds("exp") else {
            return Err("it does not say when it expires".into());
        };
        let Some(since) = now.checked_sub(end + CLOCK_TOLERANCE.as_secs()) else {
            return Ok(());
        };
        let since = since + CLOCK_TOLERANCE.as_secs();
        Err(format!(
            "it expired {since} s ago by the clock of this machine"
        ))
    }

    /// Difference of its issuer's clock to that of this machine, if it was issued just now. None if there is none to speak of.
    pub(crate) fn clock_at_issue(&self, now: u64) -> Option<ClockDifference> {
        difference(self.seconds("iat")?, now)
    }

    /// The same of a token of any age: only a beginning that is still to come shows one.
    pub(crate) fn clock_ahead(&self, now: u64) -> Option<ClockDifference> {
        let beginning = self.seconds("iat").max(self.seconds("nbf"))?;
        difference(beginning, now).filter(|it| it.server_is_ahead > 0)
    }

    /// Seconds until its end; none if it does not say when that is.
    pub(crate) fn seconds_left(&self, now: u64) -> Option<u64> {
        Some(self.seconds("exp")?.saturating_sub(now))
    }

    /// The lifetime that its issuer gave it, whatever the clock of this machine says.
    pub(crate) fn lifetime(&self) -> Option<Duration> {
        let (start, end) = (self.seconds("iat")?, self.seconds("exp")?);
        let lifetime = Duration::from_secs(end.saturating_sub(start));
        Some(lifetime.max(SHORTEST_LIFETIME))
    }

    /// Checks the signature with the keys of the issuer (RFC 7517 §5). An algorithm that is unknown here is no problem: the
    /// token came from its issuer by TLS, which proves as much (OpenID Connect Core §3.1.3.7).
    pub(crate) fn check_signature(&self, keys: &Value) -> Result<(), String> {
        let name = self.header.get("alg").and_then(Value::as_str);
        let Some(algorithm) = Algorithm::from_name(name.unwrap_or("none"))? else {
            return Ok(());
        };
        let id = self.header.get("kid");
        let keys = keys.get("keys").and_then(Value::as_array);
        let mut fitting = keys
            .into_iter()
            .flatten()
            .filter(|key| id.is_none() || key.get("kid").is_none() || key.get("kid") == id);
        let message = self.signed.as_bytes();
        if fitting.any(|key| algorithm.verifies(key, message, &self.signature).is_some()) {
            return Ok(());
        }
        Err("its signature is by none of the keys of its issuer".into())
    }

    fn is_for(&self, client_id: &str) -> bool {
        match self.claims.get("aud") {
            Some(Value::String(audience)) => audience == client_id,
            Some(Value::Array(audiences)) => {
                let is_ours = |it: &Value| it.as_str() == Some(client_id);
                let is_party = self.text("azp").is_none_or(|party| party == client_id);
                audiences.iter().any(is_ours) && is_party
            }
            Some(_) | None => false,
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.claims.get(name)?.as_str()
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a moment may have a fraction, which does not matter"
    )]
    fn seconds(&self, name: &str) -> Option<u64> {
        let number = self.claims.get(name)?;
        let seconds = number
            .as_u64()
            .or_else(|| number.as_f64().map(|it| it as u64));
        // No real moment is later; an absurd number must not overflow.
        seconds.map(|it| it.min(u64::from(u32::MAX) * 100))
    }
}

/// Difference of two clocks by what they show at the same moment, in seconds since 1970.
fn difference(server: u64, here: u64) -> Option<ClockDifference> {
    let is_notable = server.abs_diff(here) > CLOCK_TOLERANCE.as_secs();
    let server_is_ahead = i64::try_from(server).ok()? - i64::try_from(here).ok()?;
    is_notable.then_some(ClockDifference { server_is_ahead })
}

/// Algorithm of a signature that can be verified here (RFC 7518 §3.1, RFC 8037 §3.1).
enum Algorithm {
    Rsa(&'static RsaParameters),
    /// With the name of the curve, and the beginning of a point that is not compressed.
    Point(
        &'static dyn VerificationAlgorithm,
        &'static str,
        &'static [u8],
    ),
}

impl Algorithm {
    /// None if there is none of that name here, an error if there is to be no signature.
    fn from_name(name: &str) -> Result<Option<Self>, String> {
        Ok(Some(match name {
            "RS256" => Self::Rsa(&RSA_PKCS1_2048_8192_SHA256),
            "RS384" => Self::Rsa(&RSA_PKCS1_2048_8192_SHA384),
            "RS512" => Self::Rsa(&RSA_PKCS1_2048_8192_SHA512),
            "PS256" => Self::Rsa(&RSA_PSS_2048_8192_SHA256),
            "ES256" => Self::Point(&ECDSA_P256_SHA256_FIXED, "P-256", &[4]),
            "ES384" => Self::Point(&ECDSA_P384_SHA384_FIXED, "P-384", &[4]),
            "EdDSA" => Self::Point(&ED25519, "Ed25519", &[]),
            "none" => return Err("it is not signed".into()),
            _ => return Ok(None),
        }))
    }

    fn verifies(&self, key: &Value, message: &[u8], signature: &[u8]) -> Option<()> {
        let member = |name: &str| {
            let text = key.get(name)?.as_str()?;
            BASE64_URL_SAFE_NO_PAD.decode(text).ok()
        };
        let verified = match self {
            Self::Rsa(parameters) => {
                let key = RsaPublicKeyComponents {
                    n: member("n")?,
                    e: member("e")?,
                };
                key.verify(parameters, message, signature)
            }
            Self::Point(algorithm, curve, start) => {
                if key.get("crv")?.as_str()? != *curve {
                    return None;
                }
                let mut point = start.to_vec();
                point.extend(member("x")?);
                if !start.is_empty() {
                    point.extend(member("y")?);
                }
                UnparsedPublicKey::new(*algorithm, point).verify(message, signature)
            }
        };
        verified.ok()
    }
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{Ed25519KeyPair, KeyPair as _};
    use serde_json::json;

    use super::*;

    const EXPECTED: ExpectedClaims<'static> = ExpectedClaims {
        issuer: "https://idp.example",
        client_id: "c",
        nonce: Some("n"),
        now: 1000,
    };

    fn claims() -> Value {
        json!({"iss": "https://idp.example", "aud": "c", "nonce": "n", "iat": 900, "exp": 1200})
    }

    fn text(header: &Value, claims: &Value) -> String {
        let encode = |part: &Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
        format!("{}.{}", encode(header), encode(claims))
    }

    ///
    #[test]
    fn each_claim_of_an_id_token_is_checked() {
        let check = |name: &str, value: Value, problem: Option<&str>| {
            let mut claims = claims();
            claims[name] = value;
            let token = format!("{}.", text(&json!({}), &claims));
            let found = IdToken::parse(&token).unwrap().check(EXPECTED).err();
            assert_eq!(found.is_some(), problem.is_some(), "{name} {found:?}");
            let problem = problem.unwrap_or_default();
            assert!(found.unwrap_or_default().contains(problem), "{name}");
        };
        check("iss", json!("https://idp.example"), None);
        check("aud", json!(["other", "c"]), None);
        check("exp", json!(941), None);
        check(
            "iss",
            json!("https://idp.example/"),
            Some("from https://idp"),
        );
        check("iss", Value::Null, Some("from nobody"));
        check("aud", json!("d"), Some("another client"));
        check("aud", json!(["d"]), Some("another client"));
        check("nonce", json!("m"), Some("nonce"));
        check("nonce", Value::Null, Some("nonce"));
        check("exp", json!(700), Some("expired 300 s ago"));
        check("exp", json!("soon"), Some("does not say"));
        check("exp", json!(u64::MAX), None);
    }

    ///
    #[test]
    fn a_token_shows_how_far_the_clocks_are_apart_and_in_which_direction() {
        let parsed = |claims: &Value, check: &dyn Fn(IdToken<'_>)| {
            let token = format!("{}.", text(&json!({}), claims));
            check(IdToken::parse(&token).unwrap());
        };
        let at_issue = |iat: u64, now: u64, expected: Option<&str>| {
            parsed(&json!({ "iat": iat }), &|token| {
                let found = token.clock_at_issue(now).map(|it| it.to_string());
                assert_eq!(found.as_deref(), expected, "{iat} {now}");
            });
        };
        at_issue(1000, 1060, None);
        at_issue(1060, 1000, None);
        at_issue(1000, 1061, Some("61 s ahead of"));
        at_issue(1000, 1600, Some("10 min ahead of"));
        at_issue(8200, 1000, Some("2 h behind"));
        let of_any_age = |claims: Value, expected: Option<&str>| {
            parsed(&claims, &|token| {
                let found = token.clock_ahead(1000).map(|it| it.to_string());
                assert_eq!(found.as_deref(), expected, "{claims}");
            });
        };
        of_any_age(json!({ "iat": 1 }), None);
        of_any_age(json!({ "iat": 1600 }), Some("10 min behind"));
        of_any_age(json!({ "iat": 1, "nbf": 1600 }), Some("10 min behind"));
        of_any_age(json!({}), None);
    }

    ///
    #[test]
    fn a_signature_is_verified_with_the_keys_of_the_issuer() {
        let key = || {
            let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
            Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap()
        };
        let (ours, other) = (key(), key());
        let keys = |key: &Ed25519KeyPair| {
            let x = BASE64_URL_SAFE_NO_PAD.encode(key.public_key());
            json!({"keys": [{"kty": "RSA"}, {"kty": "OKP", "crv": "Ed25519", "x": x}]})
        };
        let signed = text(&json!({"alg": "EdDSA", "kid": "1"}), &claims());
        let signature = BASE64_URL_SAFE_NO_PAD.encode(ours.sign(signed.as_bytes()));
        let token = format!("{signed}.{signature}");
        let token = IdToken::parse(&token).unwrap();
        assert_eq!(token.check_signature(&keys(&ours)), Ok(()));
        for keys in [keys(&other), json!({}), json!({"keys": []})] {
            assert!(token.check_signature(&keys).is_err(), "{keys}");
        }
        let unsigned = format!("{}.", text(&json!({"alg": "none"}), &claims()));
        let unsigned = IdToken::parse(&unsigned).unwrap();
        assert!(unsigned.check_signature(&keys(&ours)).is_err());
    }

    #[test]
    fn what_is_no_jwt_is_none() {
        for text in ["", "a", "a.b.c", "e30.e30", "e30.W10.e30"] {
            assert!(IdToken::parse(text).is_none(), "{text}");
        }
    }
}
