//! DPoP (RFC 9449): tokens that are bound to a key, and proofs that the sender of a request has it.
//!
//! | file | section |
//! |---|---|
//! | `proof.rs`: a proof, and its comparison with the request | §4.3 |
//! | `nonce.rs`: nonces, if this server is to want them in proofs | §8, §9 |
//! | `replay.rs`: memory of the proofs that were used | §11.1 |
//! | `layers.rs`: what is around the endpoints | §5, §8 |
//!
//! The token endpoint binds tokens to the key of a proof (`authorization/grants.rs`), and the MCP endpoint takes a bound token
//! with a proof of that key alone (`resource.rs`).

mod layers;
mod nonce;
mod proof;
mod replay;

use std::sync::Arc;
use std::time::SystemTime;

use axum::http::{HeaderMap, HeaderName, Method};
use clap::ValueEnum;
use redis::RedisError;

use super::replicas::SharedState;
use super::signature;
use super::token::Digest;
pub(crate) use layers::{ProvenKey, hand_out_nonces, prove_key};
use nonce::Nonces;
pub(crate) use proof::Proof;
use replay::UsedProofs;

/// Header of a request that carries the proof (§4.1).
pub(crate) const PROOF: HeaderName = HeaderName::from_static("dpop");

/// Header of a response with the nonce for the next proof (§8.2).
const NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// Choices of the operator.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DpopSettings {
    /// Tokens that are bound to a key.
    pub(crate) policy: DpopPolicy,
    /// Nonces in proofs.
    pub(crate) nonces: NoncePolicy,
}

/// Tokens that are bound to a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum DpopPolicy {
    /// None: proofs are ignored
    Off,
    /// For clients that prove a key; others get bearer tokens
    #[default]
    Auto,
    /// All of them
    Required,
}

/// Nonces in proofs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum NoncePolicy {
    /// The time in the proof and the memory of used ones have to do.
    #[default]
    Unused,
    /// Each proof has to have a recent one.
    Needed,
}

/// The two that proofs are for. Each has its own nonces (§8.2, §9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    AuthorizationServer,
    ResourceServer,
}

/// The request that a proof has to be for.
pub(crate) struct ProvenRequest<'a> {
    /// Its receiver.
    pub(crate) role: Role,
    /// Its method.
    pub(crate) method: &'a Method,
    /// Its URL as clients know it, which behind a proxy is another than the one that arrives here.
    pub(crate) url: &'a str,
    /// The token in it.
    pub(crate) token: Option<BoundToken<'a>>,
}

/// A token and the key that it is bound to.
pub(crate) struct BoundToken<'a> {
    pub(crate) text: &'a str,
    pub(crate) key: &'a Digest,
}

/// Reason why a proof does not count.
#[derive(Debug)]
pub(crate) enum ProofRefusal {
    /// It is not for this request, or no proof at all; this says why.
    Invalid(String),
    /// It lacks a nonce, or has an old one (§8).
    WantsNonce,
    /// It is of another key than the token.
    OtherKey,
    /// Nobody knows whether it was used before.
    Unverifiable,
}

impl ProofRefusal {
    fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid(reason.into())
    }
}

impl From<RedisError> for ProofRefusal {
    fn from(error: RedisError) -> Self {
        tracing::warn!(%error, "Redis does not answer, so a proof cannot be verified");
        Self::Unverifiable
    }
}

/// Verifier of proofs.
pub(crate) struct Dpop {
    policy: DpopPolicy,
    nonces: Option<Nonces>,
    used: UsedProofs,
}

impl Dpop {
    /// With shared state, a proof that one replica took is refused by the others.
    pub(crate) fn new(settings: DpopSettings, shared: Option<Arc<SharedState>>) -> Self {
        signature::install();
        let has_nonces =
            settings.policy != DpopPolicy::Off && settings.nonces == NoncePolicy::Needed;
        Self {
            policy: settings.policy,
            nonces: has_nonces.then(|| Nonces::new(shared.clone())),
            used: UsedProofs::new(shared),
        }
    }

    pub(crate) const fn policy(&self) -> DpopPolicy {
        self.policy
    }

    /// The algorithms of proofs, for metadata and challenges; none if there is no DPoP here.
    pub(crate) fn algorithms(&self) -> Option<&'static [&'static str]> {
        (self.policy != DpopPolicy::Off).then_some(&signature::ALGORITHM_NAMES)
    }

    /// Verifies the proof of a request (§4.3). It is good for this once.
    pub(crate) async fn verify(
        &self,
        headers: &HeaderMap,
        request: &ProvenRequest<'_>,
    ) -> Result<Proof, ProofRefusal> {
        let proof = Proof::read(headers)?;
        proof.check(request, SystemTime::now())?;
        if let Some(nonces) = &self.nonces
            && !nonces.accept(request.role, proof.nonce()).await?
        {
            return Err(ProofRefusal::WantsNonce);
        }
        let token = request.token.as_ref();
        if token.is_some_and(|token| token.key != proof.key()) {
            return Err(ProofRefusal::OtherKey);
        }
        self.used.use_up(request.role, &proof).await?;
        Ok(proof)
    }
}
