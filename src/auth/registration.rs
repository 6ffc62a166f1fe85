//! Who we are at an authorization server: RFC 7591, client ID metadata documents, or by hand.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::authorization_server::AuthorizationServerMetadata;
use super::config::{ClientAuthentication, ClientCredential, Config};
use super::error::{AuthError, shown};
use super::store::{Quirks, exposed};
use super::token::unix_millis;
use super::transport::{Answer, Transport};
use crate::http::json;
use crate::secret::Secret;

/// The name that a consent page shows.
const CLIENT_NAME: &str = "mcp-bridge";

/// How this client is known to an authorization server. What the user supplied is not in here, so it is
/// never stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum ClientRegistration {
    /// By the user's hand.
    PreRegistered,
    /// By the URL of a document about it (draft-ietf-oauth-client-id-metadata-document).
    MetadataDocument,
    /// By our own request (RFC 7591).
    Dynamic(DynamicRegistration),
}

/// The answer to a registration request (RFC 7591 §3.2.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DynamicRegistration {
    pub(super) client_id: String,
    #[serde(
        default,
        with = "exposed::optional",
        skip_serializing_if = "Option::is_none"
    )]
    client_secret: Option<Secret<String>>,
    /// Seconds since 1970; 0 is never.
    #[serde(default)]
    client_secret_expires_at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token_endpoint_auth_method: Option<ClientAuthentication>,
    /// The one that was registered; a request with another is refused.
    pub(super) redirect_uri: String,
}

impl DynamicRegistration {
    /// A registration that another program made for us.
    pub(super) fn imported(
        client_id: String,
        client_secret: Option<String>,
        method: Option<&str>,
        redirect_uri: String,
    ) -> Self {
        Self {
            client_id,
            client_secret: client_secret.filter(|it| !it.is_empty()).map(Secret::new),
            client_secret_expires_at: 0,
            token_endpoint_auth_method: method.and_then(ClientAuthentication::from_name),
            redirect_uri,
        }
    }

    /// Whether its secret is past its time.
    pub(super) fn is_expired(&self, now: SystemTime) -> bool {
        let now = unix_millis(now) / 1000;
        self.client_secret_expires_at != 0 && self.client_secret_expires_at <= now
    }
}

/// A client as the token endpoint wants to see it.
#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) id: String,
    pub(super) credential: ClientCredential,
    pub(super) method: ClientAuthentication,
    /// Whether the method is our guess, and another one might do.
    pub(super) choice: Choice,
}

/// Who chose the way to authenticate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// The user, or the registration.
    Agreed,
    /// What the server offers, or the default.
    Guessed,
}

impl ClientRegistration {
    /// The way to be known there that needs the least of the user (MCP authorization, "Client
    /// Registration Approaches"), as far as it can be told without a request. None leaves dynamic
    /// registration.
    pub(super) fn without_request(
        config: &Config,
        metadata: &AuthorizationServerMetadata,
    ) -> Option<Self> {
        if config.client.is_some() {
            return Some(Self::PreRegistered);
        }
        let by_document =
            config.client_metadata_url.is_some() && metadata.client_id_metadata_document_supported;
        by_document.then_some(Self::MetadataDocument)
    }

    /// Takes the secret out of the registration.
    pub(super) fn take_secret(&mut self) -> Option<Secret<String>> {
        match self {
            Self::Dynamic(registration) => registration.client_secret.take(),
            Self::PreRegistered | Self::MetadataDocument => None,
        }
    }

    /// Puts the secret back that was taken out.
    pub(super) fn put_secret(&mut self, secret: Option<Secret<String>>) {
        match self {
            Self::Dynamic(registration) => registration.client_secret = secret,
            Self::PreRegistered | Self::MetadataDocument => {}
        }
    }

    /// The client behind the registration. None if the user has taken away what it was made from.
    pub(super) fn client(
        &self,
        config: &Config,
        metadata: &AuthorizationServerMetadata,
        quirks: Quirks,
    ) -> Option<Client> {
        match self {
            Self::PreRegistered => {
                let client = config.client.as_ref()?;
                let credential = client.credential.clone();
                let (method, choice) = authentication(client.method, &credential, metadata);
                let method = match choice {
                    Choice::Guessed if quirks.other_authentication => other_secret_method(method),
                    Choice::Guessed | Choice::Agreed => method,
                };
                Some(Client {
                    id: client.id.clone(),
                    credential,
                    method,
                    choice,
                })
            }
            Self::MetadataDocument => Some(Client {
                id: config.client_metadata_url.as_ref()?.to_string(),
                credential: ClientCredential::None,
                method: ClientAuthentication::None,
                choice: Choice::Agreed,
            }),
            Self::Dynamic(registration) => {
                let credential = registration
                    .client_secret
                    .clone()
                    .map_or(ClientCredential::None, ClientCredential::Secret);
                let agreed = registration.token_endpoint_auth_method;
                let (method, choice) = authentication(agreed, &credential, metadata);
                Some(Client {
                    id: registration.client_id.clone(),
                    credential,
                    method,
                    choice,
                })
            }
        }
    }
}

/// How to authenticate: as agreed; with a secret by what the server offers, Basic being the default of
/// RFC 8414 §2; without one not at all.
fn authentication(
    agreed: Option<ClientAuthentication>,
    credential: &ClientCredential,
    metadata: &AuthorizationServerMetadata,
) -> (ClientAuthentication, Choice) {
    use ClientAuthentication::{
        ClientSecretBasic, ClientSecretPost, None as Public, PrivateKeyJwt,
    };
    match credential {
        ClientCredential::None => return (Public, Choice::Agreed),
        ClientCredential::PrivateKey(_) => return (PrivateKeyJwt, Choice::Agreed),
        ClientCredential::Secret(_) => {}
    }
    // A secret was issued for a reason, even if the answer says `none`.
    if let Some(method @ (ClientSecretBasic | ClientSecretPost)) = agreed {
        return (method, Choice::Agreed);
    }
    let offered = metadata.token_endpoint_auth_methods_supported.as_deref();
    let offers = |method: ClientAuthentication| {
        offered.is_some_and(|methods| methods.iter().any(|name| name == method.name()))
    };
    if offers(ClientSecretPost) && !offers(ClientSecretBasic) {
        return (ClientSecretPost, Choice::Guessed);
    }
    (ClientSecretBasic, Choice::Guessed)
}

/// The other way to send a secret.
fn other_secret_method(method: ClientAuthentication) -> ClientAuthentication {
    use ClientAuthentication::{
        ClientSecretBasic, ClientSecretPost, None as Public, PrivateKeyJwt,
    };
    match method {
        ClientSecretBasic => ClientSecretPost,
        ClientSecretPost => ClientSecretBasic,
        Public | PrivateKeyJwt => method,
    }
}

/// Registers this client anew (RFC 7591 §3.1).
pub(super) async fn register(
    transport: &Transport,
    config: &Config,
    metadata: &AuthorizationServerMetadata,
    redirect_uri: &Url,
) -> Result<DynamicRegistration, AuthError> {
    let endpoint =
        metadata
            .registration_endpoint
            .as_ref()
            .ok_or_else(|| AuthError::ClientRequired {
                issuer: metadata.issuer.clone(),
                redirect_uri: redirect_uri.to_string(),
            })?;
    let body = registration_request(config, metadata, redirect_uri);
    let answer = transport.post_json(endpoint, &body).await?;
    if let Some(registered) = registered(endpoint, &answer, redirect_uri)? {
        return Ok(registered);
    }
    let refusal = Refused::read(&answer);
    let Some(body) = refusal.milder(body) else {
        return Err(refusal.error(endpoint));
    };
    tracing::info!(
        reason = refusal.reason,
        "registration refused, asking for less"
    );
    let answer = transport.post_json(endpoint, &body).await?;
    registered(endpoint, &answer, redirect_uri)?
        .ok_or_else(|| Refused::read(&answer).error(endpoint))
}

/// What we ask for: a public native client, unless the server has no public clients.
fn registration_request(
    config: &Config,
    metadata: &AuthorizationServerMetadata,
    redirect_uri: &Url,
) -> Value {
    let mut request = serde_json::json!({
        "client_name": CLIENT_NAME,
        "redirect_uris": [redirect_uri.as_str()],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": wanted_authentication(metadata).name(),
        "application_type": "native",
        "software_id": CLIENT_NAME,
        "software_version": env!("CARGO_PKG_VERSION"),
    });
    for (name, value) in &config.client_metadata {
        request[name] = value.clone();
    }
    request
}

fn wanted_authentication(metadata: &AuthorizationServerMetadata) -> ClientAuthentication {
    use ClientAuthentication::{ClientSecretBasic, ClientSecretPost, None as Public};
    let Some(offered) = &metadata.token_endpoint_auth_methods_supported else {
        return Public;
    };
    [Public, ClientSecretBasic, ClientSecretPost]
        .into_iter()
        .find(|method| offered.iter().any(|name| name == method.name()))
        .unwrap_or(Public)
}

/// The registration in a successful answer. What the server returned counts, not what was asked for.
fn registered(
    endpoint: &Url,
    answer: &Answer,
    redirect_uri: &Url,
) -> Result<Option<DynamicRegistration>, AuthError> {
    #[derive(Deserialize)]
    struct Registered {
        #[serde(deserialize_with = "json::required_text")]
        client_id: String,
        #[serde(default, deserialize_with = "json::text_member")]
        client_secret: Option<String>,
        #[serde(default, deserialize_with = "json::seconds")]
        client_secret_expires_at: Option<u64>,
        #[serde(default, deserialize_with = "json::text_member")]
        token_endpoint_auth_method: Option<String>,
        #[serde(default, deserialize_with = "json::words_or_none")]
        redirect_uris: Vec<String>,
    }
    if !answer.status.is_success() {
        return Ok(None);
    }
    let Ok(answer) = json::parse::<Registered>(&answer.body) else {
        return Ok(None);
    };
    let returned = answer.redirect_uris;
    if !returned.is_empty() && !returned.iter().any(|uri| same_but_port(uri, redirect_uri)) {
        return Err(AuthError::RegistrationRejected {
            endpoint: endpoint.clone(),
            reason: shown(&format!("it registered {} instead", returned.join(" "))),
        });
    }
    Ok(Some(DynamicRegistration {
        client_id: answer.client_id,
        client_secret: answer.client_secret.map(Secret::new),
        client_secret_expires_at: answer.client_secret_expires_at.unwrap_or(0),
        token_endpoint_auth_method: answer
            .token_endpoint_auth_method
            .as_deref()
            .and_then(ClientAuthentication::from_name),
        redirect_uri: redirect_uri.to_string(),
    }))
}

/// A server may store loopback URIs without their port, because any port is fine then (RFC 8252 §7.3).
fn same_but_port(returned: &str, ours: &Url) -> bool {
    let Ok(mut returned) = Url::parse(returned) else {
        return false;
    };
    if returned.port().is_none() {
        let _ = returned.set_port(ours.port());
    }
    returned == *ours
}

/// A registration that was turned down (RFC 7591 §3.2.2).
struct Refused {
    code: Option<String>,
    reason: String,
}

impl Refused {
    fn read(answer: &Answer) -> Self {
        let body: Value = json::parse(&answer.body).unwrap_or_default();
        let member = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
        let code = member("error");
        let told: Vec<_> = [code.clone(), member("error_description")]
            .into_iter()
            .flatten()
            .collect();
        let reason = if told.is_empty() {
            format!("it answered {} without a client", answer.status)
        } else {
            shown(&told.join(": "))
        };
        Self { code, reason }
    }

    /// The same request with less in it, if that may help. Servers older than `application_type` refuse
    /// members they do not know.
    fn milder(&self, mut request: Value) -> Option<Value> {
        if self.code.as_deref() != Some("invalid_client_metadata") {
            return None;
        }
        let members = request.as_object_mut()?;
        let extra = [
            "application_type",
            "software_id",
            "software_version",
            "scope",
        ];
        let before = members.len();
        members.retain(|name, _| !extra.contains(&name.as_str()));
        (members.len() < before).then_some(request)
    }

    fn error(self, endpoint: &Url) -> AuthError {
        AuthError::RegistrationRejected {
            endpoint: endpoint.clone(),
            reason: self.reason,
        }
    }
}
