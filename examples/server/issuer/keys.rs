//! Keys of the issuer (RFC 7517), and the access tokens that are signed with them (RFC 9068).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{DecodingKey, Header, Validation, decode, decode_header};
use tokio::sync::Mutex;

use super::super::signature::{self, ALGORITHMS};
use super::claims::TokenClaims;
use super::metadata::{IssuerConnection, IssuerMetadata};
use super::{IssuerFailure, IssuerSettings, Verified};

/// Age at which keys are fetched again, so that a withdrawn one is noticed.
const KEYS_LIFETIME: Duration = Duration::from_secs(10 * 60);

/// Age up to which keys count on while the issuer does not answer.
const LONGEST_KEYS_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Most fetches of keys in [`FETCH_WINDOW`]: anybody can send a token with a key that nobody knows.
const MAX_FETCHES: usize = 6;

/// See [`MAX_FETCHES`].
const FETCH_WINDOW: Duration = Duration::from_secs(60);

/// Difference of the clocks that `nbf` allows for, in seconds. The end of a token is not put off by it.
const LEEWAY_SECONDS: u64 = 30;

/// The values of `typ` of an access token (RFC 9068 §2.1). Most issuers write the second.
const TYPES: [&str; 3] = ["at+jwt", "jwt", "application/at+jwt"];

/// The keys, fetched when they are needed.
pub(super) struct SigningKeys {
    connection: IssuerConnection,
    state: Mutex<KeyState>,
}

#[derive(Default)]
struct KeyState {
    keys: Option<FetchedKeys>,
    /// The last fetches, the oldest first, also those that failed.
    fetches: VecDeque<Instant>,
}

#[derive(Clone)]
struct FetchedKeys {
    set: Arc<JwkSet>,
    at: Instant,
}

/// Outcome of a comparison of a token with a set of keys.
enum Comparison {
    Good(TokenClaims),
    Bad(&'static str),
    /// A newer set might have its key.
    UnknownKey,
}

impl SigningKeys {
    pub(super) fn new(connection: IssuerConnection) -> Self {
        signature::install();
        Self {
            connection,
            state: Mutex::default(),
        }
    }

    /// Verifies a token. If its key is not known, the keys are fetched again, since issuers change them.
    pub(super) async fn verify(&self, token: &str, settings: &IssuerSettings) -> Verified {
        let Some(header) = acceptable_header(token) else {
            return Ok(Err(
                "the token is no JWT with a type and algorithm that count here",
            ));
        };
        let rules = rules(&header, settings);
        let known = self.known().await?;
        let compared = match compare(token, &header, &rules, &known.set) {
            Comparison::UnknownKey => {
                let newer = self.newer_than(&known).await?;
                compare(token, &header, &rules, &newer.set)
            }
            compared => compared,
        };
        Ok(match compared {
            Comparison::Good(claims) => Ok(claims),
            Comparison::Bad(reason) => Err(reason),
            Comparison::UnknownKey => Err("the token is not signed with a key of the issuer"),
        })
    }

    /// The keys, if they are young enough; else newer ones. Whoever comes while they are fetched waits for the same.
    async fn known(&self) -> Result<FetchedKeys, IssuerFailure> {
        let mut state = self.state.lock().await;
        let known = state.keys.clone();
        match known {
            Some(keys) if keys.at.elapsed() < KEYS_LIFETIME => Ok(keys),
            Some(keys) if keys.at.elapsed() < LONGEST_KEYS_LIFETIME => {
                let fetched = self.fetch(&mut state).await;
                Ok(fetched.unwrap_or_else(|failure| {
                    tracing::warn!(%failure, "the keys of the issuer are old");
                    keys
                }))
            }
            Some(_) | None => self.fetch(&mut state).await,
        }
    }

    /// Keys that were fetched after these.
    async fn newer_than(&self, known: &FetchedKeys) -> Result<FetchedKeys, IssuerFailure> {
        let mut state = self.state.lock().await;
        let newer = state.keys.clone().filter(|keys| keys.at > known.at);
        match newer {
            Some(keys) => Ok(keys),
            None => self.fetch(&mut state).await,
        }
    }

    async fn fetch(&self, state: &mut KeyState) -> Result<FetchedKeys, IssuerFailure> {
        let now = Instant::now();
        let recent = |at: &Instant| now.duration_since(*at) < FETCH_WINDOW;
        state.fetches.retain(recent);
        if state.fetches.len() >= MAX_FETCHES {
            return Err(IssuerFailure::TooManyFetches);
        }
        state.fetches.push_back(now);
        let metadata = self.connection.discover().await?;
        let url = IssuerMetadata::endpoint(metadata.jwks_uri, "keys (jwks_uri)")?;
        let set = self.connection.json(self.connection.get(url)).await?;
        let keys = FetchedKeys {
            set: Arc::new(set),
            at: Instant::now(),
        };
        state.keys = Some(keys.clone());
        Ok(keys)
    }
}

/// The header of a JWT that may be an access token. An unknown critical extension may change what the token means
/// (RFC 7515 §4.1.11).
fn acceptable_header(token: &str) -> Option<Header> {
    let header = decode_header(token).ok()?;
    let is_access_token = match &header.typ {
        Some(typ) => TYPES.iter().any(|known| typ.eq_ignore_ascii_case(known)),
        None => true,
    };
    let is_acceptable =
        is_access_token && ALGORITHMS.contains(&header.alg) && header.crit.is_none();
    is_acceptable.then_some(header)
}

fn rules(header: &Header, settings: &IssuerSettings) -> Validation {
    let mut rules = Validation::new(header.alg);
    rules.set_required_spec_claims(&["iss", "aud", "exp", "sub"]);
    rules.set_issuer(&[&settings.identifier.text]);
    rules.set_audience(&settings.audiences);
    rules.validate_nbf = true;
    rules.leeway = LEEWAY_SECONDS;
    // Takes the leeway back where it would put off the end.
    rules.reject_tokens_expiring_in_less_than = LEEWAY_SECONDS + 1;
    rules
}

fn compare(token: &str, header: &Header, rules: &Validation, set: &JwkSet) -> Comparison {
    let mut keys = set.keys.iter().filter(|key| is_for(key, header)).peekable();
    let is_known = header.kid.is_some() && keys.peek().is_some();
    for key in keys.filter_map(|key| DecodingKey::from_jwk(key).ok()) {
        match decode(token, &key, rules) {
            Ok(verified) => return Comparison::Good(TokenClaims(verified.claims)),
            Err(error) => {
                if let Some(reason) = problem(error.kind()) {
                    return Comparison::Bad(reason);
                }
            }
        }
    }
    if is_known {
        return Comparison::Bad("the signature of the token is wrong");
    }
    Comparison::UnknownKey
}

fn is_for(key: &Jwk, header: &Header) -> bool {
    let known = &key.common;
    let is_named = header.kid.is_none() || known.key_id == header.kid;
    let signs = known
        .public_key_use
        .as_ref()
        .is_none_or(|it| *it == PublicKeyUse::Signature);
    let algorithm = KeyAlgorithm::from(header.alg);
    is_named && signs && known.key_algorithm.is_none_or(|it| it == algorithm)
}

/// Problem of a token whose signature is good; `None` if the signature is not.
fn problem(kind: &ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::ExpiredSignature => Some("the token has expired"),
        ErrorKind::ImmatureSignature => Some("the token is not good yet"),
        ErrorKind::InvalidIssuer => Some("the token is of another issuer"),
        ErrorKind::InvalidAudience => Some("the token is for another resource"),
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => {
            Some("the token lacks a claim, or has one that cannot be read")
        }
        _ => None,
    }
}
