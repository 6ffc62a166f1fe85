//! Client authentication at the token, device authorization and revocation endpoints (RFC 6749 §2.3,
//! RFC 7523 §2.2, RFC 7009 §2.1).
//!
//! Metadata and registration responses are often wrong about the method that an endpoint accepts, so the
//! methods that are possible for a client form a list. The next one is tried when an endpoint refuses the
//! client; servers authenticate the client before they look at the code or token, so the request can be
//! repeated. The method that works is stored with the credential.

use std::pin::Pin;
use std::sync::MutexGuard;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use oauth2::{AsyncHttpClient, HttpRequest, HttpResponse};
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;
use url::form_urlencoded::{self, byte_serialize};

use crate::client::assertion::{ASSERTION_TYPE, client_assertion};
use crate::client::registration::ClientIdentity;
use crate::config::{ClientAuthentication, ClientCredential};
use crate::discovery::authorization_server::AuthorizationServerMetadata;
use crate::error::AuthError;
use crate::token::SentAt;
use crate::token::proof::{PROOF, ProofFor, ProofObjection};
use crate::transport::Transport;
use mcp_bridge_net::mutex::Mutex;
use mcp_bridge_text::secret::Secret;

/// Role of an endpoint that gets proofs here.
const ROLE: ProofFor = ProofFor::AuthorizationServer;

/// One way to say in a request which client it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Method {
    /// The id in the body (`none`).
    Public,
    /// The same, with an empty `client_secret`: the revocation endpoint of the Python SDK requires the field.
    PublicWithEmptySecret,
    /// Id and secret in the body (`client_secret_post`).
    Post,
    /// Id and secret in the header (`client_secret_basic`).
    Basic,
    /// The same, with the id in the body, too: the Python SDK looks for it there, other servers refuse it.
    BasicWithId,
    /// The same, with an empty `client_secret` in the body.
    BasicWithIdAndEmptySecret,
    /// A signed assertion for the issuer (`private_key_jwt`).
    AssertionForIssuer,
    /// A signed assertion for the token endpoint, as RFC 7523 §3 has it.
    AssertionForTokenEndpoint,
    /// An assertion that somebody else has signed (RFC 7521 §4.2).
    ExternalAssertion,
}

/// A method that worked although another one was preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LearntMethod {
    /// The preferred one. Once the user or the registration prefers another, all of this is void.
    instead_of: Method,
    works: Method,
}

/// The methods that are possible for a client, in the order in which they are tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Methods {
    preferred: Method,
    /// Never empty.
    order: Vec<Method>,
}

impl Methods {
    /// The methods for a client with this credential: first the one that was agreed on, by the user or in the
    /// registration response, then those that the metadata lists, then the others.
    pub(crate) fn new(
        credential: &ClientCredential,
        agreed: Option<ClientAuthentication>,
        metadata: &AuthorizationServerMetadata,
        learnt: Option<LearntMethod>,
    ) -> Self {
        let mut order = match credential {
            ClientCredential::None => vec![Method::Public, Method::PublicWithEmptySecret],
            ClientCredential::PrivateKey(_) => {
                vec![
                    Method::AssertionForIssuer,
                    Method::AssertionForTokenEndpoint,
                ]
            }
            ClientCredential::Assertion(_) => vec![Method::ExternalAssertion],
            ClientCredential::Secret(_) => with_secret(agreed, metadata),
        };
        let preferred = order[0];
        if let Some(learnt) = learnt
            && learnt.instead_of == preferred
            && let Some(place) = order.iter().position(|method| *method == learnt.works)
        {
            order[..=place].rotate_right(1);
        }
        Self { preferred, order }
    }
}

/// The methods for a client that has a secret.
fn with_secret(
    agreed: Option<ClientAuthentication>,
    metadata: &AuthorizationServerMetadata,
) -> Vec<Method> {
    use ClientAuthentication::{ClientSecretBasic, ClientSecretPost, None as Public};
    // Basic is the default where nothing is listed (RFC 8414 §2).
    const BY_DEFAULT: [ClientAuthentication; 3] = [ClientSecretBasic, ClientSecretPost, Public];
    let listed = [ClientSecretPost, ClientSecretBasic, Public];
    let listed = listed
        .into_iter()
        .filter(|method| metadata.lists_authentication(*method));
    let mut order = Vec::new();
    for wanted in agreed.into_iter().chain(listed).chain(BY_DEFAULT) {
        let methods: &[Method] = match wanted {
            ClientSecretPost => &[Method::Post],
            ClientSecretBasic => &[
                Method::Basic,
                Method::BasicWithId,
                Method::BasicWithIdAndEmptySecret,
            ],
            Public => &[Method::Public, Method::PublicWithEmptySecret],
            // Not with a secret; the registration response speaks of something else.
            ClientAuthentication::PrivateKeyJwt => &[],
        };
        if methods.first().is_some_and(|it| !order.contains(it)) {
            order.extend_from_slice(methods);
        }
    }
    order
}

impl Method {
    /// Tells whether it is of use only where a server misses the field `client_secret`.
    fn adds_empty_secret(self) -> bool {
        match self {
            Self::PublicWithEmptySecret | Self::BasicWithIdAndEmptySecret => true,
            Self::Public
            | Self::Post
            | Self::Basic
            | Self::BasicWithId
            | Self::AssertionForIssuer
            | Self::AssertionForTokenEndpoint
            | Self::ExternalAssertion => false,
        }
    }

    /// Adds what identifies `client` to a form, and the value of the `Authorization` header if there is one. `external` is
    /// the assertion that somebody else has signed.
    fn apply(
        self,
        client: &ClientIdentity,
        metadata: &AuthorizationServerMetadata,
        external: Option<&Secret<String>>,
        form: &mut form_urlencoded::Serializer<'_, String>,
    ) -> Result<Option<HeaderValue>, AuthError> {
        let secret = match &client.credential {
            ClientCredential::Secret(secret) => secret.expose().as_str(),
            ClientCredential::None
            | ClientCredential::PrivateKey(_)
            | ClientCredential::Assertion(_) => "",
        };
        if self != Self::Basic && !client.id.is_empty() {
            form.append_pair("client_id", &client.id);
        }
        let audience = match self {
            Self::Public => return Ok(None),
            Self::PublicWithEmptySecret => {
                form.append_pair("client_secret", "");
                return Ok(None);
            }
            Self::Post => {
                form.append_pair("client_secret", secret);
                return Ok(None);
            }
            Self::Basic | Self::BasicWithId => return basic(&client.id, secret).map(Some),
            Self::BasicWithIdAndEmptySecret => {
                form.append_pair("client_secret", "");
                return basic(&client.id, secret).map(Some);
            }
            Self::ExternalAssertion => {
                form.append_pair("client_assertion_type", ASSERTION_TYPE);
                form.extend_pairs(external.map(|it| ("client_assertion", it.expose())));
                return Ok(None);
            }
            Self::AssertionForIssuer => metadata.issuer.as_str(),
            Self::AssertionForTokenEndpoint => metadata.token_endpoint.as_str(),
        };
        if let ClientCredential::PrivateKey(key) = &client.credential {
            let assertion = client_assertion(key, &client.id, audience)
                .map_err(|error| AuthError::Configuration(error.to_string()))?;
            form.append_pair("client_assertion_type", ASSERTION_TYPE);
            form.append_pair("client_assertion", &assertion);
        }
        Ok(None)
    }
}

/// RFC 6749 §2.3.1: both parts are form-encoded before they are put together.
fn basic(id: &str, secret: &str) -> Result<HeaderValue, AuthError> {
    let encode = |text: &str| -> String { byte_serialize(text.as_bytes()).collect() };
    let pair = BASE64_STANDARD.encode(format!("{}:{}", encode(id), encode(secret)));
    let mut value = HeaderValue::try_from(format!("Basic {pair}"))
        .map_err(|error| AuthError::Configuration(error.to_string()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The endpoints at which a client authenticates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndpointKind {
    /// RFC 6749 §3.2
    Token,
    /// RFC 8628 §3.1
    DeviceAuthorization,
    /// RFC 7009 §2
    Revocation,
    /// RFC 7662 §2
    Introspection,
}

/// Sends the requests that the `oauth2` crate builds to one endpoint, authenticated as one client.
pub(crate) struct AuthenticatedEndpoint<'a> {
    pub(crate) transport: &'a Transport,
    pub(crate) metadata: &'a AuthorizationServerMetadata,
    pub(crate) client: &'a ClientIdentity,
    pub(crate) url: Url,
    pub(crate) endpoint: EndpointKind,
    progress: Mutex<MethodProgress>,
}

#[derive(Debug, Clone)]
struct MethodProgress {
    /// The place of the method in use in the client's list.
    place: usize,
    /// The status of the last response.
    status: StatusCode,
    /// When the request was sent that had this response.
    sent: SentAt,
    /// Headers of the last response to a proof.
    headers: HeaderMap,
}

impl<'a> AuthenticatedEndpoint<'a> {
    pub(crate) fn new(
        transport: &'a Transport,
        metadata: &'a AuthorizationServerMetadata,
        client: &'a ClientIdentity,
        url: Url,
        endpoint: EndpointKind,
    ) -> Self {
        let progress = Mutex::new(MethodProgress {
            place: 0,
            status: StatusCode::OK,
            sent: SentAt::now(),
            headers: HeaderMap::new(),
        });
        Self {
            transport,
            metadata,
            client,
            url,
            endpoint,
            progress,
        }
    }

    /// The method that was accepted in the end, unless it is the preferred one.
    pub(crate) fn learnt(&self) -> Option<LearntMethod> {
        let works = self.client.methods.order[self.progress().place];
        let instead_of = self.client.methods.preferred;
        (works != instead_of).then_some(LearntMethod { instead_of, works })
    }

    /// The status of the last response.
    pub(crate) fn status(&self) -> StatusCode {
        self.progress().status
    }

    /// When the request was sent that had the last response.
    pub(crate) fn sent(&self) -> SentAt {
        self.progress().sent
    }

    fn progress(&self) -> MutexGuard<'_, MethodProgress> {
        self.progress.lock()
    }

    /// Sends `request` by one method after the other until the client is not refused. If it always is, the
    /// response is that to the first method, which is the one that should have worked.
    pub(crate) async fn send(&self, request: HttpRequest) -> Result<HttpResponse, AuthError> {
        let external = match &self.client.credential {
            ClientCredential::Assertion(assertion) => Some(assertion.read().await?),
            ClientCredential::None
            | ClientCredential::Secret(_)
            | ClientCredential::PrivateKey(_) => None,
        };
        let start = self.progress().place;
        let mut refused: Option<HttpResponse> = None;
        let mut misses_secret = self.endpoint == EndpointKind::Revocation;
        for (place, method) in self.client.methods.order.iter().enumerate().skip(start) {
            if method.adds_empty_secret() && !misses_secret {
                continue;
            }
            let attempt = self.authenticated(&request, *method, external.as_ref())?;
            let sent = SentAt::now();
            let response = match self.execute(attempt).await {
                Ok(response) => response,
                // A server that fails over another method has refused the one before by its own word.
                Err(_) if refused.is_some() => break,
                Err(error) => return Err(error),
            };
            let refusal = MethodRefusal::read(&response);
            // Without its secret a confidential client is nobody: only a success says something then.
            let says_nothing = refused.is_some()
                && self.leaves_out_secret(*method)
                && !response.status().is_success();
            if !refusal.is_about_client(self.endpoint) && !says_nothing {
                let mut progress = self.progress();
                progress.place = place;
                progress.status = response.status();
                progress.sent = sent;
                return Ok(response);
            }
            tracing::debug!(?method, "the client was refused");
            misses_secret |= refusal.text.contains("secret");
            refused.get_or_insert(response);
        }
        let response = refused.ok_or_else(|| {
            AuthError::Configuration("this client has no way to authenticate".into())
        })?;
        self.progress().status = response.status();
        Ok(response)
    }

    /// Sends a request, with a proof if the tokens are to be bound to a key. An objection to the proof is met once for each
    /// reason (RFC 9449 §8).
    async fn execute(&self, request: HttpRequest) -> Result<HttpResponse, AuthError> {
        let prover = self.client.prover.as_ref();
        let Some(prover) = prover.filter(|_| self.endpoint == EndpointKind::Token) else {
            return self.transport.execute_at(&self.url, request).await;
        };
        let mut met = Vec::new();
        loop {
            let mut with_proof = request.clone();
            let proof = prover.for_token_endpoint(&self.url);
            with_proof.headers_mut().insert(PROOF, proof);
            let response = self.transport.execute_at(&self.url, with_proof).await?;
            let headers = response.headers();
            prover.learn(ROLE, &self.url, headers);
            self.progress().headers = headers.clone();
            let Some(objection) = MethodRefusal::read(&response).objection() else {
                return Ok(response);
            };
            let reason = std::mem::discriminant(&objection);
            if met.contains(&reason) || !prover.answers(&objection, ROLE, &self.url, headers) {
                return Ok(response);
            }
            met.push(reason);
        }
    }

    /// The error of a response that objects to the proof, if its code says so.
    pub(crate) fn refused_proof(
        &self,
        code: &str,
        description: Option<&String>,
    ) -> Option<AuthError> {
        self.client.prover.as_ref()?;
        let objection = ProofObjection::from_code(Some(code), || description.cloned())?;
        Some(objection.into_error(&self.url, &self.progress().headers))
    }

    /// Tells whether `method` leaves out a secret that the client has.
    const fn leaves_out_secret(&self, method: Method) -> bool {
        matches!(self.client.credential, ClientCredential::Secret(_))
            && matches!(method, Method::Public | Method::PublicWithEmptySecret)
    }

    /// A copy of `request`, which names the client in the body, with `method` instead.
    fn authenticated(
        &self,
        request: &HttpRequest,
        method: Method,
        external: Option<&Secret<String>>,
    ) -> Result<HttpRequest, AuthError> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        let others = form_urlencoded::parse(request.body()).filter(|(name, _)| name != "client_id");
        form.extend_pairs(others);
        let header = method.apply(self.client, self.metadata, external, &mut form)?;
        let mut copy = HttpRequest::new(form.finish().into_bytes());
        *copy.method_mut() = request.method().clone();
        *copy.headers_mut() = request.headers().clone();
        if let Some(header) = header {
            copy.headers_mut().insert(AUTHORIZATION, header);
        }
        Ok(copy)
    }
}

impl<'c> AsyncHttpClient<'c> for AuthenticatedEndpoint<'_> {
    type Error = AuthError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, AuthError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

/// A response in the form of RFC 6749 §5.2, as far as it decides whether another method is tried.
struct MethodRefusal {
    status: StatusCode,
    code: String,
    /// In lower case.
    text: String,
}

impl MethodRefusal {
    fn read(response: &HttpResponse) -> Self {
        let body: Value = if response.status().is_success() {
            Value::Null
        } else {
            serde_json::from_slice(response.body()).unwrap_or_default()
        };
        let member = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
        Self {
            status: response.status(),
            code: member("error").to_owned(),
            text: member("error_description").to_ascii_lowercase(),
        }
    }

    /// Objection to the proof of the request.
    fn objection(&self) -> Option<ProofObjection> {
        ProofObjection::from_code(Some(&self.code), || Some(self.text.clone()))
    }

    /// Tells whether the server did not accept the client, or the way in which it authenticated.
    fn is_about_client(&self, endpoint: EndpointKind) -> bool {
        if self.status.is_success() {
            return false;
        }
        let speaks_of_client = ["client", "authentic", "credential", "secret"]
            .iter()
            .any(|word| self.text.contains(word));
        match self.code.as_str() {
            "invalid_client" | "unauthorized_client" => true,
            "invalid_request" => {
                speaks_of_client || self.text.is_empty() || endpoint == EndpointKind::Revocation
            }
            "invalid_grant"
            | "invalid_scope"
            | "invalid_target"
            | "unsupported_grant_type"
            | "access_denied"
            | "authorization_pending"
            | "slow_down"
            | "expired_token"
            | "unsupported_token_type"
            | "invalid_dpop_proof"
            | "use_dpop_nonce" => false,
            _ => self.status == StatusCode::UNAUTHORIZED || speaks_of_client,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metadata(listed: Option<&[&str]>) -> AuthorizationServerMetadata {
        let url = Url::parse("https://as.example/token").unwrap();
        let mut metadata = AuthorizationServerMetadata::with_token_endpoint(url);
        metadata.token_endpoint_auth_methods_supported =
            listed.map(|names| names.iter().map(|&name| name.into()).collect());
        metadata
    }

    #[test]
    fn what_was_agreed_on_comes_first_then_what_is_listed() {
        use ClientAuthentication::{ClientSecretBasic, ClientSecretPost, None as Public};
        let secret = ClientCredential::Secret("s".to_owned().into());
        let check = |agreed, listed: Option<&[&str]>, expected: &[Method]| {
            let methods = Methods::new(&secret, agreed, &metadata(listed), None);
            let order = methods.order.into_iter();
            let order = order.filter(|method| !method.adds_empty_secret());
            assert_eq!(order.collect::<Vec<_>>(), expected, "{agreed:?} {listed:?}");
        };
        let both = ["client_secret_basic", "client_secret_post"];
        let basic = [Method::Basic, Method::BasicWithId];
        let [a, b] = basic;
        check(None, None, &[a, b, Method::Post, Method::Public]);
        check(None, Some(&both), &[Method::Post, a, b, Method::Public]);
        check(
            None,
            Some(&["tls_client_auth"]),
            &[a, b, Method::Post, Method::Public],
        );
        check(
            Some(Public),
            Some(&both),
            &[Method::Public, Method::Post, a, b],
        );
        check(
            Some(ClientSecretBasic),
            Some(&["client_secret_post"]),
            &[a, b, Method::Post, Method::Public],
        );
        check(
            Some(ClientSecretPost),
            None,
            &[Method::Post, a, b, Method::Public],
        );
    }

    #[test]
    fn what_worked_comes_first_until_something_else_is_preferred() {
        let secret = ClientCredential::Secret("s".to_owned().into());
        let learnt = LearntMethod {
            instead_of: Method::Basic,
            works: Method::Post,
        };
        let first = |agreed| {
            let methods = Methods::new(&secret, agreed, &metadata(None), Some(learnt));
            (methods.preferred, methods.order[0], methods.order.len())
        };
        assert_eq!(first(None), (Method::Basic, Method::Post, 6));
        let agreed = Some(ClientAuthentication::None);
        assert_eq!(first(agreed), (Method::Public, Method::Public, 6));
    }

    #[test]
    fn refusals_of_the_client_are_told_from_those_of_the_grant() {
        let check = |status: u16, body: Value, expected: bool| {
            let mut response = HttpResponse::new(body.to_string().into_bytes());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            let refusal = MethodRefusal::read(&response);
            assert_eq!(
                refusal.is_about_client(EndpointKind::Token),
                expected,
                "{body}"
            );
        };
        check(401, json!({"error":"invalid_client"}), true);
        check(400, json!({"error":"unauthorized_client"}), true);
        check(400, json!({"error":"invalid_request"}), true);
        check(
            400,
            json!({"error":"invalid_request","error_description":"Missing client_id"}),
            true,
        );
        check(
            400,
            json!({"error":"invalid_request","error_description":"no such code"}),
            false,
        );
        check(
            401,
            json!({"error":"","error_description":"401 Unauthorized"}),
            true,
        );
        check(
            404,
            json!({"error":"","error_description":"404 Not Found"}),
            false,
        );
        check(400, json!({"error":"invalid_grant"}), false);
        check(
            401,
            json!({"error":"invalid_grant","error_description":"wrong client"}),
            false,
        );
        check(400, json!({"error":"authorization_pending"}), false);
        check(200, json!({"access_token":"a"}), false);
    }
}
