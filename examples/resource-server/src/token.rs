//! Verification of access tokens: JWTs by the issuer's keys (RFC 9068), or introspection (RFC 7662).

use std::{collections::HashMap, time::Duration, time::Instant};

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, get_current_timestamp, jwk::JwkSet};
use serde_json::Value;
use tokio::sync::{Mutex, OnceCell};
use url::{Url, form_urlencoded::byte_serialize};

/// None with a shared secret, such as `HS256`: its secret would be the issuer's public key.
const ALGORITHMS: [Algorithm; 4] = [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA];
/// Age at which keys are fetched again, so that a withdrawn one is noticed.
const KEYS_LIFETIME: Duration = Duration::from_secs(600);
/// Most introspected tokens that are remembered.
const MAX_ACTIVE: usize = 1000;

/// The issuer's description of a token.
#[derive(Clone)]
pub struct Claims(pub Value);

/// The issuer does not answer as it should.
type Failure = Box<dyn std::error::Error + Send + Sync>;
/// The inner error says what is wrong with the token.
type Outcome = Result<Result<Claims, &'static str>, Failure>;

#[derive(Default)]
pub struct Verifier {
    pub issuer: String,
    /// This server's name in `aud`: the URL of the MCP endpoint (RFC 8707).
    pub audience: String,
    /// Id and secret for introspection. Without them, tokens have to be JWTs.
    pub client: Option<(String, String)>,
    /// Time that an introspected token counts as active, and the least time between two fetches of keys.
    pub cache: Duration,
    pub http: reqwest::Client,
    pub introspection_url: OnceCell<String>,
    pub keys: Mutex<(JwkSet, Option<Instant>)>,
    pub active: Mutex<HashMap<String, (Claims, Instant)>>,
}

impl Verifier {
    pub async fn verify(&self, token: &str) -> Outcome {
        let Some((id, secret)) = &self.client else { return self.check_signature(token).await };
        let known = self.active.lock().await.get(token).cloned();
        match known.filter(|(_, until)| Instant::now() < *until) {
            Some((claims, _)) => Ok(Ok(claims)),
            None => self.introspect(token, id, secret).await,
        }
    }

    async fn check_signature(&self, token: &str) -> Outcome {
        let Ok(header) = decode_header(token) else { return Ok(Err("not a JWT with a known alg")) };
        let typ = header.typ.as_deref().unwrap_or("jwt").to_ascii_lowercase();
        let known_typ = ["at+jwt", "application/at+jwt", "jwt"].contains(&typ.as_str());
        if !known_typ || !ALGORITHMS.contains(&header.alg) || header.crit.is_some() {
            return Ok(Err("its alg, typ or crit is not accepted"));
        }
        let mut rules = Validation::new(header.alg);
        rules.set_required_spec_claims(&["iss", "aud", "exp"]);
        rules.set_issuer(&[&self.issuer]);
        rules.set_audience(&[&self.audience]);
        // The issuer's clock may be ahead of ours by `leeway`, which is not added to the end of the token.
        (rules.validate_nbf, rules.leeway, rules.reject_tokens_expiring_in_less_than) = (true, 30, 31);
        let mut keys = self.keys.lock().await; // Also while they are fetched: all who wait get the same.
        for lifetime in [KEYS_LIFETIME, self.cache] {
            if keys.1.is_none_or(|fetched| fetched.elapsed() >= lifetime) {
                keys.1 = Some(Instant::now()); // Also where it fails: then the old keys count on.
                let url = self.discover("jwks_uri").await?;
                keys.0 = self.http.get(url).send().await?.error_for_status()?.json().await?;
            }
            let mut fitting = keys.0.keys.iter().filter(|it| header.kid.is_none() || it.common.key_id == header.kid);
            let verify = |key| decode(token, &DecodingKey::from_jwk(key).ok()?, &rules).ok();
            if let Some(verified) = fitting.find_map(verify) {
                return Ok(Ok(Claims(verified.claims)));
            }
        }
        let wrong = (!keys.0.keys.is_empty()).then_some(Err("wrong signature, aud or time"));
        wrong.ok_or_else(|| "no keys of the issuer".into())
    }

    async fn introspect(&self, token: &str, id: &str, secret: &str) -> Outcome {
        let url = self.introspection_url.get_or_try_init(|| self.discover("introspection_endpoint")).await?;
        let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>(); // RFC 6749 §2.3.1
        let request = self.http.post(url).basic_auth(encode(id), Some(encode(secret)));
        let answer = request.form(&[("token", token), ("token_type_hint", "access_token")]).send().await?;
        let claims: Value = answer.error_for_status()?.json().await?;
        let by_issuer = claims["iss"].is_null() || claims["iss"] == self.issuer;
        if claims["active"] != true || !by_issuer || !words(&claims["aud"]).any(|it| it == self.audience) {
            return Ok(Err("not active, or for another audience"));
        }
        let left = claims["exp"].as_u64().map_or(u64::MAX, |exp| exp.saturating_sub(get_current_timestamp()));
        let until = Instant::now() + self.cache.min(Duration::from_secs(left)); // RFC 7662 §4: not beyond `exp`
        let mut active = self.active.lock().await;
        if active.len() >= MAX_ACTIVE {
            active.clear();
        }
        active.insert(token.to_owned(), (Claims(claims.clone()), until));
        Ok(Ok(Claims(claims)))
    }

    /// A URL out of the issuer's metadata (RFC 8414 §3, OpenID Connect Discovery §4).
    async fn discover(&self, member: &str) -> Result<String, Failure> {
        let issuer = Url::parse(&self.issuer)?;
        let path = issuer.path().trim_end_matches('/');
        for place in [
            format!("/.well-known/oauth-authorization-server{path}"),
            format!("/.well-known/openid-configuration{path}"),
            format!("{path}/.well-known/openid-configuration"),
        ] {
            let metadata: Value = self.http.get(issuer.join(&place)?).send().await?.json().await.unwrap_or_default();
            if let Some(url) = metadata[member].as_str().filter(|_| metadata["issuer"] == self.issuer) {
                return Ok(url.to_owned());
            }
        }
        Err(format!("{} has no metadata with {member}", self.issuer).into())
    }
}

/// The words of a claim that is a string or a list of strings.
pub fn words(claim: &Value) -> impl Iterator<Item = &str> {
    let list = claim.as_array().into_iter().flatten().filter_map(Value::as_str);
    list.chain(claim.as_str()).flat_map(str::split_whitespace)
}
