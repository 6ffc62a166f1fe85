//! Proof of possession (DPoP, RFC 9449): which tokens are bound to a key, and to which.
//!
//! By default they are where the MCP server asks for it and its authorization server offers it. The offer alone is not
//! enough: authorization servers make it for all that they serve, and a server that knows bearer tokens alone refuses
//! one that is bound.

use crate::config::{Bearer, Config, Dpop};
use crate::discovery::Discovered;
use crate::discovery::authorization_server::AuthorizationServerMetadata;
use crate::discovery::challenge::BearerChallenge;
use crate::error::{AuthError, shown};
use crate::flow::order::Order;
use crate::flow::session::SignInSession;
use crate::store::Credential;
use crate::token::proof_key::{ALGORITHM, ProofKey};

/// Wish of an MCP server for tokens that are bound to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResourceWish {
    /// It does not speak of it.
    None,
    /// It can check proofs, or asks for them in its challenge.
    Accepts,
    /// It takes no other tokens (`dpop_bound_access_tokens_required`).
    Requires,
}

/// Outcome of the wishes of the user, of the MCP server and of its authorization server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Binding {
    /// Tokens are bound to a key.
    Bound,
    /// They are bearer tokens.
    Bearer,
    /// They have to be bound, and the authorization server takes only proofs of these algorithms.
    Impossible {
        /// The algorithms.
        listed: String,
    },
}

impl ResourceWish {
    pub(crate) fn new(challenge: &BearerChallenge, discovered: Option<&Discovered>) -> Self {
        let resource = discovered.and_then(|it| it.resource.as_ref());
        let lists = |names: &[String]| names.iter().any(|name| name == ALGORITHM);
        match resource {
            Some(it) if it.dpop_bound_access_tokens_required => Self::Requires,
            Some(it) if lists(&it.dpop_signing_alg_values_supported) => Self::Accepts,
            Some(_) | None if challenge.wants_proof => Self::Accepts,
            Some(_) | None => Self::None,
        }
    }
}

impl Binding {
    pub(crate) fn new(
        config: &Config,
        wish: ResourceWish,
        metadata: &AuthorizationServerMetadata,
    ) -> Self {
        let listed = metadata.dpop_signing_alg_values_supported.as_deref();
        let is_offered = listed.map(|names| names.iter().any(|name| name == ALGORITHM));
        let is_required = match (config.dpop, config.bearer) {
            (Dpop::Off, _) | (Dpop::Auto, Bearer::IdToken) => return Self::Bearer,
            (Dpop::Required, _) => true,
            (Dpop::Auto, Bearer::AccessToken) => wish == ResourceWish::Requires,
        };
        match is_offered {
            Some(true) if is_required || wish == ResourceWish::Accepts => Self::Bound,
            // Who does not list it may do it all the same.
            None if is_required => Self::Bound,
            Some(false) if is_required => Self::Impossible {
                listed: shown(&listed.unwrap_or_default().join(", ")),
            },
            Some(_) | None => Self::Bearer,
        }
    }
}

/// Gives a credential that is about to ask for tokens the key that they are to be bound to, if they are: the one that the
/// account has, or a new one.
pub(crate) fn equip(
    session: &SignInSession,
    order: &Order,
    discovered: Option<&Discovered>,
    stored: Option<&Credential>,
    credential: &mut Credential,
) -> Result<(), AuthError> {
    let wish = ResourceWish::new(&order.challenge, discovered);
    match Binding::new(&session.config, wish, &credential.metadata) {
        Binding::Bearer => credential.proof_key = None,
        Binding::Bound => {
            let known = stored.and_then(|stored| stored.proof_key.clone());
            credential.proof_key = Some(known.map_or_else(ProofKey::generate, Ok)?);
        }
        Binding::Impossible { listed } => {
            return Err(AuthError::NotBound {
                issuer: credential.metadata.issuer.clone(),
                reason: format!("it takes no proofs but those with {listed}"),
            });
        }
    }
    Ok(())
}

/// The stored credential without tokens that the user does not want any more: bound ones, or those that are not.
pub(crate) fn fitting(choice: Dpop, mut stored: Credential) -> Credential {
    let is_bound = stored.tokens.as_ref().is_some_and(|tokens| tokens.is_bound);
    let fits = match choice {
        Dpop::Auto => true,
        Dpop::Off => !is_bound,
        Dpop::Required => is_bound,
    };
    if !fits {
        stored.tokens = None;
    }
    stored
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    ///
    #[test]
    fn tokens_are_bound_where_the_server_asks_and_its_authorization_server_can() {
        use ResourceWish::{Accepts, None as Silent, Requires};

        let check = |dpop, wish, listed: Option<&[&str]>, expected: &Binding| {
            let url = Url::parse("https://as.example/token").unwrap();
            let mut metadata = AuthorizationServerMetadata::with_token_endpoint(url);
            metadata.dpop_signing_alg_values_supported =
                listed.map(|names| names.iter().map(|&name| name.to_owned()).collect());
            let config = Config {
                dpop,
                ..Config::default()
            };
            assert_eq!(
                &Binding::new(&config, wish, &metadata),
                expected,
                "{dpop:?} {wish:?} {listed:?}"
            );
        };
        let (ours, others): (Option<&[&str]>, Option<&[&str]>) =
            (Some(&["RS256", "ES256"]), Some(&["RS256", "PS256"]));
        let impossible = Binding::Impossible {
            listed: "RS256, PS256".to_owned(),
        };
        for wish in [Silent, Accepts, Requires] {
            for listed in [None, ours, others] {
                check(Dpop::Off, wish, listed, &Binding::Bearer);
            }
            check(Dpop::Required, wish, None, &Binding::Bound);
            check(Dpop::Required, wish, ours, &Binding::Bound);
            check(Dpop::Required, wish, others, &impossible);
            check(
                Dpop::Auto,
                wish,
                others,
                match wish {
                    Requires => &impossible,
                    Silent | Accepts => &Binding::Bearer,
                },
            );
        }
        check(Dpop::Auto, Silent, ours, &Binding::Bearer);
        check(Dpop::Auto, Accepts, ours, &Binding::Bound);
        check(Dpop::Auto, Accepts, None, &Binding::Bearer);
        check(Dpop::Auto, Requires, ours, &Binding::Bound);
        check(Dpop::Auto, Requires, None, &Binding::Bound);
    }
}
