//! Dynamic client registration: request and response (RFC 7591 §3).

use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use crate::client::registration::{AUTHORIZATION_CODE, DynamicRegistration, REFRESH_TOKEN};
use crate::config::{ClientAuthentication, Config, Dpop, Grant};
use crate::discovery::authorization_server::AuthorizationServerMetadata;
use crate::error::{AuthError, shown};
use crate::transport::error_body::{OAuthErrorBody, words_in};
use crate::transport::{Transport, WholeAnswer};
use mcp_bridge_net::http::json as lenient;
use mcp_bridge_text::printable::is_printable;
use mcp_bridge_text::secret::Secret;

/// The name that a consent page shows.
const CLIENT_NAME: &str = "mcp-bridge";

/// Members that describe the client; servers older than `application_type` refuse members they do not know.
const DISPENSABLE: [&str; 5] = [
    "dpop_bound_access_tokens",
    "application_type",
    "software_id",
    "software_version",
    "scope",
];

/// The kinds of client that may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientType {
    /// A public client, which a native application is (RFC 8252 §8.4); one with a secret if that is refused.
    Public,
    /// One with a secret, because the server refused the public client that it had registered.
    Confidential,
}

/// Registers a client for the grant that is in use. What the server refuses is asked for in another way, a few
/// times.
pub(crate) async fn register(
    transport: &Transport,
    config: &Config,
    metadata: &AuthorizationServerMetadata,
    redirect_uri: &Url,
    kind: ClientType,
) -> Result<DynamicRegistration, AuthError> {
    let endpoint =
        metadata
            .registration_endpoint
            .as_ref()
            .ok_or_else(|| AuthError::ClientRequired {
                issuer: metadata.issuer.clone(),
                redirect_uri: redirect_uri.to_string(),
            })?;
    let mut first_refusal: Option<RegistrationRefusal> = None;
    for request in requests(config, metadata, redirect_uri, kind) {
        let answer = transport.post_json(endpoint, &request).await?;
        if let Some(registered) = registered(endpoint, &answer, redirect_uri, &request)? {
            return Ok(registered);
        }
        let refusal = RegistrationRefusal::read(&answer);
        tracing::info!(reason = refusal.reason, "registration refused");
        let is_final = !refusal.may_be_about_metadata();
        let first = first_refusal.get_or_insert(refusal);
        if is_final {
            return Err(first.error(endpoint));
        }
    }
    Err(first_refusal.map_or_else(
        || AuthError::Configuration("there is no way to register".into()),
        |refusal| refusal.error(endpoint),
    ))
}

/// The requests to try, in this order: all that we would like to say, with each method of authentication that may
/// be accepted; then only what is needed.
fn requests(
    config: &Config,
    metadata: &AuthorizationServerMetadata,
    redirect_uri: &Url,
    kind: ClientType,
) -> Vec<Value> {
    let methods = methods(metadata, kind);
    let all = methods
        .iter()
        .map(|method| request(config, redirect_uri, *method));
    let all: Vec<_> = all.collect();
    let needed = all
        .iter()
        .map(|request| without_the_dispensable(request.clone(), config, metadata));
    let mut requests: Vec<Value> = Vec::new();
    for request in all.iter().cloned().chain(needed) {
        // The user's own members may leave no difference.
        if !requests.contains(&request) {
            requests.push(request);
        }
    }
    requests
}

/// The methods of authentication to ask for. Servers register public clients also where their metadata does not
/// list `none` (the Python SDK); what they list is the second choice.
fn methods(metadata: &AuthorizationServerMetadata, kind: ClientType) -> Vec<ClientAuthentication> {
    use ClientAuthentication::{ClientSecretBasic, ClientSecretPost, None as Public};
    let lists = |method: &ClientAuthentication| metadata.lists_authentication(*method);
    // The default of RFC 7591 §2 where nothing is listed.
    let confidential = [ClientSecretPost, ClientSecretBasic]
        .into_iter()
        .find(lists)
        .unwrap_or(ClientSecretBasic);
    match kind {
        ClientType::Public if lists(&Public) => vec![Public],
        ClientType::Public => vec![Public, confidential],
        ClientType::Confidential => vec![confidential],
    }
}

fn request(config: &Config, redirect_uri: &Url, method: ClientAuthentication) -> Value {
    let mut request = json!({
        "client_name": CLIENT_NAME,
        "redirect_uris": [redirect_uri.as_str()],
        "grant_types": grant_types(&config.grant),
        "response_types": ["code"],
        "token_endpoint_auth_method": method.name(),
        "application_type": "native",
        "software_id": CLIENT_NAME,
        "software_version": env!("CARGO_PKG_VERSION"),
    });
    if config.dpop == Dpop::Required {
        // RFC 9449 §5.2
        request["dpop_bound_access_tokens"] = true.into();
    }
    for (name, value) in &config.client_metadata {
        request[name] = value.clone();
    }
    request
}

/// The grants that will be used. Devices ask for that of the browser, too, because many servers register no client
/// without it.
fn grant_types(grant: &Grant) -> Vec<&'static str> {
    match grant {
        Grant::AuthorizationCode => vec![AUTHORIZATION_CODE, REFRESH_TOKEN],
        Grant::DeviceCode => vec![grant.grant_type(), AUTHORIZATION_CODE, REFRESH_TOKEN],
        Grant::ClientCredentials { .. }
        | Grant::JwtBearer { .. }
        | Grant::TokenExchange { .. }
        | Grant::EnterpriseManaged(_) => {
            vec![grant.grant_type()]
        }
    }
}

/// The same request with as little as possible in it.
fn without_the_dispensable(
    mut request: Value,
    config: &Config,
    metadata: &AuthorizationServerMetadata,
) -> Value {
    if !config.client_metadata.contains_key("grant_types") {
        let used = [config.grant.grant_type(), REFRESH_TOKEN];
        let is_supported = |name: &str| {
            let supported = metadata.grant_types_supported.as_deref();
            supported.is_none_or(|names| names.iter().any(|it| it == name))
        };
        let mut grant_types = grant_types(&config.grant);
        grant_types.retain(|name| used.contains(name));
        grant_types.retain(|name| *name != REFRESH_TOKEN || is_supported(name));
        if !grant_types.contains(&AUTHORIZATION_CODE) {
            request["response_types"] = json!([]);
        }
        request["grant_types"] = json!(grant_types);
    }
    if let Some(members) = request.as_object_mut() {
        members.retain(|name, _| !DISPENSABLE.contains(&name.as_str()));
    }
    request
}

/// The registration in a successful answer. What the server returned counts, not what was asked for.
fn registered(
    endpoint: &Url,
    answer: &WholeAnswer,
    redirect_uri: &Url,
    request: &Value,
) -> Result<Option<DynamicRegistration>, AuthError> {
    #[derive(Deserialize)]
    struct Registered {
        #[serde(deserialize_with = "lenient::required_text")]
        client_id: String,
        #[serde(default, deserialize_with = "lenient::text_member")]
        client_secret: Option<String>,
        #[serde(default, deserialize_with = "lenient::seconds")]
        client_secret_expires_at: Option<u64>,
        #[serde(default, deserialize_with = "lenient::text_member")]
        token_endpoint_auth_method: Option<String>,
        #[serde(default, deserialize_with = "lenient::words_or_none")]
        redirect_uris: Vec<String>,
    }
    if !answer.status.is_success() {
        return Ok(None);
    }
    let Ok(answer) = lenient::parse::<Registered>(&answer.body) else {
        return Ok(None);
    };
    if !answer.client_id.chars().all(is_printable) {
        return Err(AuthError::RegistrationRejected {
            endpoint: endpoint.clone(),
            reason: format!(
                "its client_id is {}, which no client can have",
                shown(&answer.client_id)
            ),
        });
    }
    let returned = answer.redirect_uris;
    if !returned.is_empty() && !returned.iter().any(|uri| same_but_port(uri, redirect_uri)) {
        return Err(AuthError::RegistrationRejected {
            endpoint: endpoint.clone(),
            reason: shown(&format!("it registered {} instead", returned.join(" "))),
        });
    }
    let asked = request["token_endpoint_auth_method"].as_str();
    let told = answer.token_endpoint_auth_method;
    // A secret that comes instead of the public client that was asked for is to be used, somehow.
    let asked = asked.filter(|name| *name != ClientAuthentication::None.name());
    let method = told.as_deref().or(asked);
    Ok(Some(DynamicRegistration {
        client_id: answer.client_id,
        client_secret: answer.client_secret.map(Secret::new),
        client_secret_expires_at: answer.client_secret_expires_at.unwrap_or(0),
        token_endpoint_auth_method: method.and_then(ClientAuthentication::from_name),
        redirect_uri: redirect_uri.to_string(),
        grant_types: lenient::as_words(&request["grant_types"]).unwrap_or_default(),
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
struct RegistrationRefusal {
    code: Option<String>,
    reason: String,
    answered: reqwest::StatusCode,
}

impl RegistrationRefusal {
    fn read(answer: &WholeAnswer) -> Self {
        let status = answer.status;
        if status.is_success() {
            let body: Value = lenient::parse(&answer.body).unwrap_or_default();
            let words = words_in(&body).map(|words| format!(", and said: {words}"));
            return Self {
                code: None,
                reason: format!(
                    "it answered {status} without a client{}",
                    words.unwrap_or_default()
                ),
                answered: status,
            };
        }
        let error = OAuthErrorBody::read(status, &answer.body);
        Self {
            reason: error.text(),
            code: error.code,
            answered: status,
        }
    }

    /// True if a request with other metadata may be accepted.
    fn may_be_about_metadata(&self) -> bool {
        match self.code.as_deref() {
            Some("invalid_client_metadata") => true,
            Some(
                "invalid_redirect_uri"
                | "invalid_software_statement"
                | "unapproved_software_statement"
                | "invalid_token",
            ) => false,
            Some(_) | None => matches!(self.answered.as_u16(), 400 | 422) || self.names_method(),
        }
    }

    /// True if it speaks of the method of authentication.
    fn names_method(&self) -> bool {
        let reason = self.reason.to_ascii_lowercase();
        self.answered.is_client_error()
            && ["auth_method", "authentication method", "public client"]
                .iter()
                .any(|words| reason.contains(words))
    }

    fn error(&self, endpoint: &Url) -> AuthError {
        AuthError::RegistrationRejected {
            endpoint: endpoint.clone(),
            reason: self.reason.clone(),
        }
    }
}
