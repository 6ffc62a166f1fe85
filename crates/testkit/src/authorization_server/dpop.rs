//! DPoP (RFC 9449): check of proofs, by the authorization server and by the MCP server.

use std::time::SystemTime;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Inner, Seen};

/// Seconds by which the time of a proof may differ.
const LEEWAY: i64 = 60;

/// Rules for proofs and for the tokens that are bound to their keys.
#[derive(Clone, Debug, Default)]
pub struct Dpop {
    /// The nonce that the token endpoint wants.
    pub token_nonce: Option<&'static str>,
    /// The nonce that `/mcp` wants.
    pub resource_nonce: Option<&'static str>,
    /// No nonce is ever the right one.
    pub refuses_nonces: bool,
    /// Seconds by which the clock of both servers is ahead.
    pub clock_ahead: i64,
    /// The description with which the token endpoint refuses every proof.
    pub token_refusal: Option<&'static str>,
    /// The description with which `/mcp` refuses every proof.
    pub resource_refusal: Option<&'static str>,
    /// The token endpoint issues bearer tokens in spite of the proof.
    pub issues_bearer: bool,
    /// `/mcp` does not tell that it takes bound tokens.
    pub is_silent: bool,
}

/// Refusal of a proof.
struct Wrong {
    code: &'static str,
    description: String,
}

impl Dpop {
    /// The nonce that requests to `path` have to have.
    fn nonce(&self, path: &str) -> Option<&'static str> {
        if path == "/token" {
            self.token_nonce
        } else {
            self.resource_nonce
        }
    }

    fn refusal(&self, path: &str) -> Option<&'static str> {
        if path == "/token" {
            self.token_refusal
        } else {
            self.resource_refusal
        }
    }

    fn now(&self) -> i64 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        i64::try_from(now.unwrap().as_secs()).unwrap() + self.clock_ahead
    }

    /// The same response with the time and the nonce.
    pub(super) fn stamped(&self, path: &str, mut response: Response) -> Response {
        let headers = response.headers_mut();
        let seconds = u64::try_from(self.now()).unwrap();
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        let date = httpdate::fmt_http_date(now);
        headers.insert(header::DATE, HeaderValue::try_from(date).unwrap());
        if let Some(nonce) = self.nonce(path) {
            headers.insert("dpop-nonce", HeaderValue::from_static(nonce));
        }
        response
    }
}

impl Inner {
    /// The thumbprint of the key that a token request proves; none without a proof.
    pub(super) fn proven_key(
        &mut self,
        origin: &str,
        seen: &Seen,
    ) -> Result<Option<String>, Box<Response>> {
        let Some(rules) = self.behaviour.dpop.clone() else {
            assert!(
                !seen.headers.contains_key("dpop"),
                "nobody asked for a proof"
            );
            return Ok(None);
        };
        if !seen.headers.contains_key("dpop") {
            return Ok(None);
        }
        match self.check_proof(&rules, origin, seen, None) {
            Ok(thumbprint) => Ok(Some(thumbprint)),
            Err(Wrong { code, description }) => {
                let body = json!({ "error": code, "error_description": description });
                Err(Box::new(
                    (StatusCode::BAD_REQUEST, axum::Json(body)).into_response(),
                ))
            }
        }
    }

    /// The parameters of the challenge with which `/mcp` refuses a proof; none if it is right.
    pub(super) fn refused_proof(
        &mut self,
        origin: &str,
        seen: &Seen,
        token: &str,
        bound_to: &str,
    ) -> Option<String> {
        let rules = self.behaviour.dpop.clone().unwrap_or_default();
        let wrong = match self.check_proof(&rules, origin, seen, Some(token)) {
            Ok(thumbprint) if thumbprint == bound_to => return None,
            Ok(_) => return Some(r#" error="invalid_token""#.to_owned()),
            Err(wrong) => wrong,
        };
        Some(format!(
            r#" error="{}", error_description="{}""#,
            wrong.code, wrong.description
        ))
    }

    fn check_proof(
        &mut self,
        rules: &Dpop,
        origin: &str,
        seen: &Seen,
        token: Option<&str>,
    ) -> Result<String, Wrong> {
        let invalid = |words: &str| Wrong {
            code: "invalid_dpop_proof",
            description: words.to_owned(),
        };
        if let Some(words) = rules.refusal(&seen.path) {
            return Err(invalid(words));
        }
        let (thumbprint, claims) =
            read_proof(&seen.headers).ok_or_else(|| invalid("not signed"))?;
        let htu = format!("{origin}{}", seen.path);
        if claims["htm"] != seen.method.as_str() || claims["htu"] != htu {
            return Err(invalid("for another request"));
        }
        let iat = claims["iat"].as_i64().ok_or_else(|| invalid("no iat"))?;
        if (iat - rules.now()).abs() > LEEWAY {
            return Err(invalid("iat is not now"));
        }
        if let Some(token) = token {
            if claims["ath"] != BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(token)) {
                return Err(invalid("for another token"));
            }
            let digest = BASE64_STANDARD.encode(Sha256::digest(&seen.body));
            let is_post = seen.method == "POST";
            if is_post && claims["content_digest"] != format!("sha-256=:{digest}:") {
                return Err(invalid("for another body"));
            }
        }
        let nonce = rules.nonce(&seen.path);
        if nonce.is_some_and(|nonce| claims["nonce"] != nonce || rules.refuses_nonces) {
            return Err(Wrong {
                code: "use_dpop_nonce",
                description: "a nonce is needed".to_owned(),
            });
        }
        let id = claims["jti"].as_str().ok_or_else(|| invalid("no jti"))?;
        if !self.proof_ids.insert(id.to_owned()) {
            return Err(invalid("seen before"));
        }
        Ok(thumbprint)
    }
}

/// The thumbprint of the key and the claims of the only proof, if it is signed with the key that it carries.
fn read_proof(headers: &HeaderMap) -> Option<(String, Value)> {
    let mut proofs = headers.get_all("dpop").iter();
    let (Some(proof), None) = (proofs.next(), proofs.next()) else {
        return None;
    };
    let (message, signature) = proof.to_str().ok()?.rsplit_once('.')?;
    let (header, claims) = message.split_once('.')?;
    let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).ok();
    let header: Value = serde_json::from_slice(&decode(header)?).ok()?;
    let claims = serde_json::from_slice(&decode(claims)?).ok()?;
    let jwk = &header["jwk"];
    if header["typ"] != "dpop+jwt" || header["alg"] != "ES256" || jwk.get("d").is_some() {
        return None;
    }
    let (x, y) = (jwk["x"].as_str()?, jwk["y"].as_str()?);
    let point = [vec![4], decode(x)?, decode(y)?].concat();
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    key.verify(message.as_bytes(), &decode(signature)?).ok()?;
    let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    let thumbprint = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(canonical));
    Some((thumbprint, claims))
}
