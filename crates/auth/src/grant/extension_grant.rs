//! Extension grants at the token endpoint: JWT bearer (RFC 7523 §2.1) and token exchange (RFC 8693 §2).

use oauth2::basic::BasicErrorResponse;
use oauth2::{HttpRequest, RequestTokenError, TokenResponse as _};
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use url::form_urlencoded;

use crate::client::authentication::AuthenticatedEndpoint;
use crate::config::{JWT_BEARER, TOKEN_EXCHANGE, TokenType};
use crate::grant::token_endpoint::{
    GrantError, Granted, Reply, TokenEndpoint, error_of, tokens_of, unparsable, without_tokens,
};
use crate::token::scope::Scopes;
use mcp_bridge_text::secret::Secret;

/// A request to exchange a token (RFC 8693 §2.1).
#[derive(Debug)]
pub(crate) struct ExchangeRequest<'a> {
    pub(crate) subject: Secret<String>,
    pub(crate) subject_type: &'a TokenType,
    pub(crate) audience: Option<&'a str>,
    pub(crate) resource: Option<&'a str>,
    pub(crate) scopes: &'a Scopes,
}

impl TokenEndpoint<'_> {
    /// Tokens for a JWT that somebody else has signed (RFC 7523 §2.1).
    pub(crate) async fn jwt_bearer(
        &self,
        assertion: &Secret<String>,
        scopes: &Scopes,
        resource: Option<&str>,
    ) -> Result<Granted, GrantError> {
        let endpoint = self.authenticated();
        let mut form = Form::new(JWT_BEARER);
        form.add("assertion", assertion.expose());
        form.add_if_any("scope", scopes);
        form.extend("resource", resource);
        let reply = form.send(&endpoint).await?;
        tokens_of(&endpoint, Ok(reply), scopes.clone())
    }

    /// A token for a server in exchange for another one.
    pub(crate) async fn exchange(
        &self,
        exchange: &ExchangeRequest<'_>,
    ) -> Result<Granted, GrantError> {
        let endpoint = self.authenticated();
        let reply = Form::exchange(exchange).send(&endpoint).await?;
        let issued = reply.extra_fields().issued_token_type.as_deref();
        let usable = [TokenType::ACCESS_TOKEN, TokenType::JWT];
        if issued.is_some_and(|issued| usable.iter().all(|usable| usable.uri() != issued)) {
            return Err(wrong_type(&endpoint, issued, &TokenType::ACCESS_TOKEN));
        }
        tokens_of(&endpoint, Ok(reply), exchange.scopes.clone())
    }

    /// A grant for another authorization server, of the type that `exchange` requests. It is no token for a server, although
    /// the answer calls it an access token (RFC 8693 §2.2.1).
    pub(crate) async fn exchange_for_grant(
        &self,
        exchange: &ExchangeRequest<'_>,
        wanted: &TokenType,
    ) -> Result<Secret<String>, GrantError> {
        let endpoint = self.authenticated();
        let form = Form::exchange(exchange).requesting(wanted);
        let reply = form.send(&endpoint).await?;
        let issued = reply.extra_fields().issued_token_type.as_deref();
        if issued != Some(wanted.uri()) {
            return Err(wrong_type(&endpoint, issued, wanted));
        }
        Ok(Secret::new(reply.access_token().secret().clone()))
    }
}

fn wrong_type(
    endpoint: &AuthenticatedEndpoint<'_>,
    issued: Option<&str>,
    wanted: &TokenType,
) -> GrantError {
    let issued = issued.unwrap_or("none that it names");
    let wanted = wanted.uri();
    let reason = format!("it issued a token of the type {issued} instead of {wanted}");
    GrantError::Failed(without_tokens(&endpoint.url, &reason))
}

/// The parameters of a token request.
struct Form(Vec<(&'static str, String)>);

impl Form {
    fn new(grant_type: &str) -> Self {
        Self(vec![("grant_type", grant_type.to_owned())])
    }

    fn exchange(exchange: &ExchangeRequest<'_>) -> Self {
        let mut form = Self::new(TOKEN_EXCHANGE);
        form.add("subject_token", exchange.subject.expose());
        form.add("subject_token_type", exchange.subject_type.uri());
        form.extend("audience", exchange.audience);
        form.extend("resource", exchange.resource);
        form.add_if_any("scope", exchange.scopes);
        form
    }

    fn requesting(mut self, wanted: &TokenType) -> Self {
        self.add("requested_token_type", wanted.uri());
        self
    }

    fn add(&mut self, name: &'static str, value: &str) {
        self.0.push((name, value.to_owned()));
    }

    fn extend(&mut self, name: &'static str, value: Option<&str>) {
        self.0.extend(value.map(|value| (name, value.to_owned())));
    }

    fn add_if_any(&mut self, name: &'static str, scopes: &Scopes) {
        if !scopes.is_empty() {
            self.add(name, &scopes.to_string());
        }
    }

    fn request(&self) -> HttpRequest {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(&self.0);
        let mut request = HttpRequest::new(form.finish().into_bytes());
        *request.method_mut() = Method::POST;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(CONTENT_TYPE, form);
        request
    }

    /// The answer, read as the `oauth2` crate reads it, which knows no extension grants.
    async fn send(self, endpoint: &AuthenticatedEndpoint<'_>) -> Result<Reply, GrantError> {
        let response = endpoint.send(self.request()).await;
        let response = response.map_err(GrantError::Failed)?;
        let body = response.body();
        if response.status().is_success() {
            return serde_json::from_slice(body).map_err(|_| unparsable(endpoint, body));
        }
        let refusal = serde_json::from_slice::<BasicErrorResponse>(body);
        let refusal = refusal.map_err(|_| unparsable(endpoint, body))?;
        let refusal = RequestTokenError::ServerResponse(refusal);
        Err(error_of(endpoint, refusal))
    }
}
