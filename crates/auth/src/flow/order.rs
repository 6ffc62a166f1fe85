//! Order of a sign-in: the challenge that it answers, the token that makes it superfluous, and its scopes.

use tokio::sync::OnceCell;

use crate::config::Config;
use crate::discovery::Discovered;
use crate::discovery::challenge::BearerChallenge;
use crate::error::AuthError;
use crate::flow::policy::Interaction;
use crate::flow::session::SignInSession;
use crate::token::scope::Scopes;
use crate::token::{AccessToken, Age};

/// The scope that brings a refresh token at servers that list it (OpenID Connect Core §11).
pub(crate) const OFFLINE_ACCESS: &str = "offline_access";

/// A sign-in that was ordered, and what is found out for it.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) challenge: BearerChallenge,
    /// The token that makes it superfluous.
    pub(crate) wanted: Wanted,
    pub(crate) reason: Reason,
    /// Permission to ask a person.
    pub(crate) interaction: Interaction,
    /// At least these scopes are needed.
    pub(crate) scopes: Scopes,
    /// The authorization server, once it was looked for.
    discovered: OnceCell<Result<Discovered, AuthError>>,
}

/// Requirement that a token has to meet.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    /// One that is not about to end.
    Fresh,
    /// Any other than the one that was refused.
    OtherThan(Option<AccessToken>),
}

/// Reason for which a person is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// There is no token, or nothing to refresh it with.
    NoToken,
    /// The token allows too little.
    MoreScope,
    /// The last sign-in's token was refused: only another authorization server can change that.
    FreshTokenRefused,
}

impl Wanted {
    /// True if `token` is what is wanted.
    pub(crate) fn is_met_by(&self, token: &AccessToken, age: Age) -> bool {
        match self {
            Self::Fresh => age == Age::Fresh,
            Self::OtherThan(refused) => refused.as_ref() != Some(token),
        }
    }
}

impl Order {
    /// A sign-in for want of a token.
    pub(crate) fn new(challenge: BearerChallenge, wanted: Wanted) -> Self {
        Self {
            challenge,
            wanted,
            reason: Reason::NoToken,
            interaction: Interaction::Forbidden,
            scopes: Scopes::default(),
            discovered: OnceCell::new(),
        }
    }

    /// The same with an authorization server that was found already.
    pub(crate) fn with_discovered(mut self, discovered: Option<Discovered>) -> Self {
        self.discovered = OnceCell::new_with(discovered.map(Ok));
        self
    }

    /// The same for the account of a sign-in that this server shares with others.
    pub(crate) fn for_account_of(&self, shared: &SignInSession) -> Self {
        Self {
            challenge: self.challenge.clone(),
            wanted: Wanted::OtherThan(shared.token()),
            reason: self.reason,
            interaction: self.interaction,
            scopes: self.scopes.clone(),
            discovered: self.discovered.clone(),
        }
    }

    /// True if the token that was refused is a bearer token, and the server asks for one that is bound to a key.
    pub(crate) fn wants_binding(&self) -> bool {
        let Wanted::OtherThan(Some(refused)) = &self.wanted else {
            return false;
        };
        self.challenge.wants_proof && !self.challenge.takes_bearer && !refused.is_bound()
    }

    /// Finds the authorization server. All steps of the sign-in share one discovery, and its failure.
    pub(crate) async fn discover(&self, session: &SignInSession) -> Result<&Discovered, AuthError> {
        let discovery = async { session.discovery().discover(&self.challenge).await };
        let discovered = self.discovered.get_or_init(|| discovery).await;
        discovered.as_ref().map_err(Clone::clone)
    }

    /// The user's scopes, else the challenge's, else the resource's, else none (MCP authorization, "Scope
    /// Selection Strategy"); at a step-up those of the token in use and the challenge's. `discovered` is none where
    /// the user has named the token endpoint.
    pub(crate) fn select_scopes(&self, config: &Config, discovered: Option<&Discovered>) -> Scopes {
        if self.reason == Reason::MoreScope {
            return self.scopes.clone();
        }
        if let Some(scope) = config.pinned_scope() {
            return Scopes::parse(scope);
        }
        let resource = discovered.and_then(|discovered| discovered.resource.as_ref());
        let chosen = match (&self.challenge.scope, resource) {
            (Some(scope), _) => Scopes::parse(scope),
            (None, Some(resource)) => resource.scopes_supported.iter().cloned().collect(),
            (None, None) => Scopes::default(),
        };
        let offered = discovered.and_then(|it| it.metadata.scopes_supported.as_ref());
        let offers_refresh =
            offered.is_some_and(|offered| offered.iter().any(|scope| scope == OFFLINE_ACCESS));
        // Alone it would narrow a grant that otherwise has the server's default scopes.
        if offers_refresh && !chosen.is_empty() {
            return chosen.union(&Scopes::parse(OFFLINE_ACCESS));
        }
        chosen
    }
}
