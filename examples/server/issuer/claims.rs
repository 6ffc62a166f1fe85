//! Claims of a verified access token (RFC 9068 §2.2), in the many spellings of issuers.

use serde_json::{Map, Value};

use super::super::scope::{Scope, Scopes};
use super::super::token::Digest;

/// Claims of a token whose signature, issuer, audience and times are good, or which the issuer says is active.
pub(super) struct TokenClaims(pub(super) Map<String, Value>);

/// The token is bound to something that this server takes no proof of.
pub(super) struct OtherBinding;

impl TokenClaims {
    /// Returns whether the token has this scope: in `scope` (RFC 8693 §4.2), or in `scp` as Entra ID and Okta write it.
    pub(super) fn has_scope(&self, name: &str) -> bool {
        let mut words = self.words("scope").chain(self.words("scp"));
        words.any(|word| word == name)
    }

    /// Returns whether this is among the words of a claim that is a string or a list of strings.
    pub(super) fn names(&self, claim: &str, name: &str) -> bool {
        let list = self.0.get(claim).and_then(Value::as_array);
        let mut list = list.into_iter().flatten().filter_map(Value::as_str);
        self.text(claim) == Some(name) || list.any(|it| it == name)
    }

    /// The key that the token is bound to (RFC 7800 §3.1, RFC 9449 §6). The error is a binding of another kind, such as to a
    /// certificate (RFC 8705).
    pub(super) fn binding(&self) -> Result<Option<Digest>, OtherBinding> {
        let Some(confirmation) = self.0.get("cnf").filter(|it| !it.is_null()) else {
            return Ok(None);
        };
        let members = confirmation.as_object().filter(|it| it.len() == 1);
        let thumbprint = members.and_then(|it| it.get("jkt")?.as_str());
        thumbprint
            .and_then(Digest::parse)
            .map(Some)
            .ok_or(OtherBinding)
    }

    /// A claim that is a text, unless it is empty.
    pub(super) fn text(&self, claim: &str) -> Option<&str> {
        let text = self.0.get(claim)?.as_str()?;
        (!text.is_empty()).then_some(text)
    }

    fn words(&self, claim: &str) -> impl Iterator<Item = &str> {
        let value = self.0.get(claim);
        let list = value.and_then(Value::as_array).into_iter().flatten();
        let list = list.filter_map(Value::as_str);
        let text = value.and_then(Value::as_str);
        list.chain(text).flat_map(str::split_whitespace)
    }
}

/// The account that a token stands for, and the client that uses it.
pub(crate) struct Person {
    /// Identifier at the issuer.
    pub(crate) id: String,
    /// Name for people, if the token has one.
    pub(crate) name: String,
    /// E-mail address, if the token has one.
    pub(crate) email: Option<String>,
    /// Identifier of the client.
    pub(crate) client: String,
    /// Scopes of the token.
    pub(crate) scopes: Scopes,
    /// The key that has to be proved with the token.
    pub(crate) bound_to: Option<Digest>,
}

impl Person {
    /// `None` if the token names no account. A client that acts for itself is one (RFC 9068 §2.2).
    pub(super) fn of(claims: &TokenClaims, bound_to: Option<Digest>) -> Option<Self> {
        let first = |names: &[&str]| names.iter().find_map(|name| claims.text(name));
        let id = first(&["sub"])?;
        Some(Self {
            id: id.to_owned(),
            name: first(&["name", "preferred_username", "username"])
                .unwrap_or(id)
                .to_owned(),
            email: claims.text("email").map(str::to_owned),
            client: first(&["client_id", "azp", "appid"])
                .unwrap_or("an unnamed client")
                .to_owned(),
            scopes: scopes(claims),
            bound_to,
        })
    }
}

/// Scopes of a token. It has those that every request needs, or it would have been refused.
fn scopes(claims: &TokenClaims) -> Scopes {
    if claims.has_scope(Scope::Coffee.name()) {
        return Scopes::from([Scope::Profile, Scope::Coffee]);
    }
    Scopes::from([Scope::Profile])
}
