//! Key of a stored credential: the server, account and settings that tell it from others, and the name of its record.

use serde::Serialize;
use sha2::{Digest, Sha256};
use url::Url;

use crate::config::{ClientCredential, Config, ExternalToken, Grant, ResourceParameter};

/// Hash digits in a name: 96 bits, so that no two keys meet.
const HASH_CHARS: usize = 24;

/// Properties that tell one stored credential from another. A new choice that matters becomes a field.
#[derive(Serialize)]
struct AccountIdentity<'a> {
    server: &'a Url,
    profile: Option<&'a str>,
    headers: &'a [(String, String)],
    issuer: Option<&'a str>,
    client_id: Option<&'a str>,
    client_metadata_url: Option<&'a Url>,
    resource: Option<&'a str>,
    scope: Option<&'a str>,
    authorize_params: &'a [(String, String)],
    grant: String,
    token_endpoint: Option<&'a Url>,
    /// Sources of tokens from outside, and what is done with them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sources: Vec<String>,
}

/// The name under which credentials, locks and a sign-in under way are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CredentialKey(String);

impl CredentialKey {
    pub(crate) fn new(server: &Url, config: &Config) -> Self {
        Self::of(server, config, sources(config))
    }

    /// The key of the sign-in that all servers share which have this issuer and these choices. Nothing in it is of one server.
    pub(crate) fn of_shared_sign_in(issuer: &Url, config: &Config, binding: &'static str) -> Self {
        Self::of(
            issuer,
            config,
            vec!["shared".to_owned(), binding.to_owned()],
        )
    }

    /// The key of that name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        is_hash(name).then(|| Self(name.to_owned()))
    }

    fn of(server: &Url, config: &Config, sources: Vec<String>) -> Self {
        let identity = AccountIdentity {
            server,
            profile: config.profile.as_deref(),
            headers: config.identity_headers.expose(),
            issuer: config.issuer.as_deref(),
            client_id: config.client.as_ref().map(|client| client.id.as_str()),
            client_metadata_url: config.client_metadata_url.as_ref(),
            resource: match &config.resource {
                ResourceParameter::Automatic => None,
                ResourceParameter::Fixed(resource) => Some(resource.as_str()),
                ResourceParameter::Omitted => Some(""),
            },
            scope: config.scope.as_deref(),
            authorize_params: &config.authorize_params,
            grant: grant(config),
            token_endpoint: config.grant.token_endpoint(),
            sources,
        };
        let identity = serde_json::to_vec(&identity).expect("strings and URLs serialize");
        Self(hash(&identity))
    }

    /// The key in the name of a credential's record; none if it is the name of something else.
    pub(crate) fn from_record(name: &str) -> Option<Self> {
        let (key, issuer) = name.strip_suffix(".json")?.split_once('.')?;
        (is_hash(key) && is_hash(issuer)).then(|| Self(key.to_owned()))
    }

    /// One record for each issuer, so that what one gave is never taken for another's.
    pub(crate) fn record(&self, issuer: &str) -> String {
        format!("{}.{}.json", self.0, hash(issuer.as_bytes()))
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// The name of another record of this key, or of a lock.
    pub(crate) fn sibling(&self, extension: &str) -> String {
        format!("{}.{extension}", self.0)
    }
}

/// Name of the grant. A sign-in of a person is one, however they have signed in: with a code on one machine, and by browser on
/// another one that shares the store or gets the account by a move.
fn grant(config: &Config) -> String {
    match &config.grant {
        Grant::DeviceCode => Grant::AuthorizationCode.to_string(),
        grant => grant.to_string(),
    }
}

/// Words that tell accounts apart whose tokens come from different sources.
fn sources(config: &Config) -> Vec<String> {
    let client = config.client.as_ref().map(|client| &client.credential);
    let assertion = match client {
        Some(ClientCredential::Assertion(assertion)) => Some(assertion),
        Some(
            ClientCredential::None | ClientCredential::Secret(_) | ClientCredential::PrivateKey(_),
        )
        | None => None,
    };
    let mut words = assertion.map(ExternalToken::words).unwrap_or_default();
    match &config.grant {
        Grant::AuthorizationCode | Grant::DeviceCode | Grant::ClientCredentials { .. } => {}
        Grant::JwtBearer { assertion, .. } => words.extend(assertion.words()),
        Grant::TokenExchange {
            subject, audience, ..
        } => {
            words.extend(subject.token.words());
            words.push(subject.token_type.uri().to_owned());
            words.extend(audience.clone());
        }
        Grant::EnterpriseManaged(provider) => {
            let source = provider.id_token.as_ref();
            words.push(provider.issuer.as_str().to_owned());
            words.push(provider.client.id.clone());
            words.extend(source.map(ExternalToken::words).unwrap_or_default());
        }
    }
    words
}

fn is_hash(text: &str) -> bool {
    text.len() == HASH_CHARS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn hash(bytes: &[u8]) -> String {
    let mut name = format!("{:x}", Sha256::digest(bytes));
    name.truncate(HASH_CHARS);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_has_one_account_however_they_have_signed_in() {
        let server = Url::parse("https://mcp.example/mcp").expect("a URL");
        let key = |grant| {
            let config = Config {
                grant,
                ..Config::default()
            };
            CredentialKey::new(&server, &config)
        };
        assert_eq!(key(Grant::DeviceCode), key(Grant::AuthorizationCode));
    }
}
