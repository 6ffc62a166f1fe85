//! Introspection of access tokens (RFC 7662): the issuer is asked about each request, so a revoked token ends at once.

use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::RequestBuilder;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Map, Value};
use tokio::sync::OnceCell;
use url::{Url, form_urlencoded};

use super::claims::TokenClaims;
use super::metadata::{IssuerConnection, IssuerMetadata};
use super::{IntrospectionClient, IssuerFailure, IssuerSettings, Verified};

/// The introspection endpoint, discovered when it is needed.
pub(super) struct Introspection {
    connection: IssuerConnection,
    client: IntrospectionClient,
    endpoint: OnceCell<IntrospectionEndpoint>,
}

struct IntrospectionEndpoint {
    url: Url,
    authentication: SecretPlace,
}

/// Place of the client's secret in a request (RFC 6749 §2.3.1).
#[derive(Clone, Copy)]
enum SecretPlace {
    Header,
    Body,
}

impl Introspection {
    pub(super) fn new(connection: IssuerConnection, client: IntrospectionClient) -> Self {
        Self {
            connection,
            client,
            endpoint: OnceCell::new(),
        }
    }

    /// Asks about a token.
    pub(super) async fn verify(&self, token: &str, settings: &IssuerSettings) -> Verified {
        let endpoint = self.endpoint.get_or_try_init(|| self.discover()).await?;
        let request = self.request(endpoint, token);
        let answer: Map<String, Value> = self.connection.json(request).await?;
        let claims = TokenClaims(answer);
        Ok(match problem(&claims, settings) {
            Some(reason) => Err(reason),
            None => Ok(claims),
        })
    }

    async fn discover(&self) -> Result<IntrospectionEndpoint, IssuerFailure> {
        let metadata = self.connection.discover().await?;
        let methods = &metadata.introspection_endpoint_auth_methods_supported;
        let takes = |name: &str| methods.iter().any(|method| method == name);
        let authentication = if takes("client_secret_post") && !takes("client_secret_basic") {
            SecretPlace::Body
        } else {
            SecretPlace::Header
        };
        let name = "introspection endpoint";
        let url = IssuerMetadata::endpoint(metadata.introspection_endpoint, name)?;
        Ok(IntrospectionEndpoint {
            url,
            authentication,
        })
    }

    fn request(&self, endpoint: &IntrospectionEndpoint, token: &str) -> RequestBuilder {
        let (id, secret) = (self.client.id.as_str(), self.client.secret.expose());
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("token", token);
        form.append_pair("token_type_hint", "access_token");
        let request = self.connection.post(endpoint.url.clone());
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        match endpoint.authentication {
            SecretPlace::Header => {
                let encoded = |text: &str| {
                    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>()
                };
                let request = request.basic_auth(encoded(id), Some(encoded(secret)));
                request.body(form.finish())
            }
            SecretPlace::Body => {
                form.append_pair("client_id", id);
                form.append_pair("client_secret", secret);
                request.body(form.finish())
            }
        }
    }
}

/// Reason in the response to refuse the token. The token must be for this server, since an issuer has others (RFC 7662 §4).
fn problem(answer: &TokenClaims, settings: &IssuerSettings) -> Option<&'static str> {
    if answer.0.get("active") != Some(&Value::Bool(true)) {
        return Some("the token is not active");
    }
    let issuer = &settings.identifier.text;
    if answer.text("iss").is_some_and(|named| named != issuer) {
        return Some("the token is of another issuer");
    }
    let mut audiences = settings.audiences.iter();
    if !audiences.any(|audience| answer.names("aud", audience)) {
        return Some("the token is for another resource");
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_secs_f64();
    let end = answer.0.get("exp").and_then(Value::as_f64);
    end.is_some_and(|end| end <= now)
        .then_some("the token has expired")
}
