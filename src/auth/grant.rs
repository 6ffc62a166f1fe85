//! Requests to the token endpoint (RFC 6749 §4.1.3, §4.4, §6; RFC 8707 §2.2).

use std::time::Duration;

use oauth2::basic::{
    BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse,
    BasicTokenType,
};
use oauth2::{
    AuthType, AuthorizationCode, ClientId, ClientSecret, DeviceAuthorizationUrl, EndpointNotSet,
    EndpointSet, ExtraTokenFields, RedirectUrl, RefreshToken, RequestTokenError, RevocationUrl,
    Scope, StandardDeviceAuthorizationResponse, StandardRevocableToken, StandardTokenResponse,
    TokenResponse as _, TokenUrl,
};
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use url::Url;

use super::authorization::AuthorizationRequest;
use super::authorization_server::AuthorizationServerMetadata;
use super::client_assertion::ASSERTION_TYPE;
use super::config::{ClientAuthentication, ClientCredential};
use super::error::{AuthError, shown};
use super::registration::Client;
use super::scope::Scopes;
use super::token::{AccessToken, TokenSet};
use super::transport::{RETRY_AFTER_DEFAULT, Transport, bare};
use crate::secret::Secret;

/// The token endpoint of one authorization server, as one client sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct TokenEndpoint<'a> {
    pub(super) transport: &'a Transport,
    pub(super) metadata: &'a AuthorizationServerMetadata,
    pub(super) client: &'a Client,
}

/// Why there are no tokens.
#[derive(Debug)]
pub(super) enum GrantError {
    /// The authorization server's own word (RFC 6749 §5.2).
    Refused(Box<Refusal>),
    /// Anything else: network, outage, nonsense. It says nothing about the client or the grant.
    Failed(AuthError),
}

/// An error answer of the token endpoint.
#[derive(Debug)]
pub(super) struct Refusal {
    /// Empty if the answer is not in the form of RFC 6749 §5.2.
    code: String,
    reason: String,
    status: StatusCode,
    endpoint: Url,
}

/// What an error code means for what we hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The refresh token or code is used up, revoked or not ours.
    GrantIsDead,
    /// The client is unknown there, or may not do this.
    ClientIsDead,
    /// The `resource` parameter is not liked (RFC 8707 §2; Entra ID says it in its own way).
    ResourceIsUnwanted,
    /// A scope is unknown there.
    ScopeIsUnwanted,
    /// Nothing that would justify giving anything up.
    Other,
}

impl Refusal {
    pub(super) fn meaning(&self) -> Meaning {
        meaning(&self.code, &self.reason)
    }

    /// The error code (RFC 6749 §5.2); empty if there is none.
    pub(super) fn code(&self) -> &str {
        &self.code
    }

    /// The status of the answer; 400 for an error that came with a status of success.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn reason(&self) -> &str {
        &self.reason
    }

    pub(super) fn into_error(self) -> AuthError {
        AuthError::TokenEndpoint {
            endpoint: self.endpoint,
            reason: self.reason,
        }
    }

    /// The error for a caller who keeps everything and may try again later.
    pub(super) fn into_passing(self) -> AuthError {
        AuthError::ServerFailed {
            reason: format!("{} answered {}", self.endpoint, self.reason),
            retry_after: RETRY_AFTER_DEFAULT,
        }
    }
}

impl GrantError {
    /// The error for a user who configured the client.
    pub(super) fn about_client(self, issuer: &str) -> AuthError {
        match self {
            Self::Refused(refusal) if refusal.meaning() == Meaning::ClientIsDead => {
                AuthError::ClientRejected {
                    issuer: issuer.into(),
                    reason: refusal.reason,
                }
            }
            other => other.into_error(),
        }
    }

    pub(super) fn into_error(self) -> AuthError {
        match self {
            Self::Refused(refusal) => refusal.into_error(),
            Self::Failed(error) => error,
        }
    }
}

/// What an OAuth error code says, here or in the answer of the authorization endpoint.
pub(super) fn meaning(code: &str, reason: &str) -> Meaning {
    // Entra ID, for `resource` beside v2 scopes.
    const UNWANTED_RESOURCE: [&str; 3] = ["AADSTS9010010", "AADSTS901002", "AADSTS500011"];
    if code == "invalid_target" || UNWANTED_RESOURCE.iter().any(|code| reason.contains(code)) {
        return Meaning::ResourceIsUnwanted;
    }
    match code {
        "invalid_grant" => Meaning::GrantIsDead,
        "invalid_client" | "unauthorized_client" => Meaning::ClientIsDead,
        "invalid_scope" => Meaning::ScopeIsUnwanted,
        _ => Meaning::Other,
    }
}

type OAuthClient = oauth2::Client<
    BasicErrorResponse,
    Reply,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

type Reply = StandardTokenResponse<IdToken, BasicTokenType>;

/// The member that OpenID Connect adds (OpenID Connect Core §3.1.3.3).
#[derive(Debug, Serialize, Deserialize)]
struct IdToken {
    id_token: Option<String>,
}

impl ExtraTokenFields for IdToken {}

impl TokenEndpoint<'_> {
    /// Tokens for the code of an answered request.
    pub(super) async fn redeem(
        &self,
        request: &AuthorizationRequest,
        code: Secret<String>,
    ) -> Result<TokenSet, GrantError> {
        let client = self.oauth_client();
        let redirect_uri =
            RedirectUrl::new(request.redirect_uri.to_string()).expect("a URL's text is a URL");
        let mut grant = client
            .exchange_code(AuthorizationCode::new(code.expose().clone()))
            .set_pkce_verifier(request.pkce_verifier())
            .set_redirect_uri(std::borrow::Cow::Owned(redirect_uri));
        for (name, value) in self.extra_parameters(request.resource.as_deref())? {
            grant = grant.add_extra_param(name, value);
        }
        let reply = grant.request_async(self.transport).await;
        self.tokens(reply, request.scopes.clone())
    }

    /// Tokens for a refresh token. The granted scope is repeated, because Entra ID takes a request without
    /// one for something else (AADSTS90009).
    pub(super) async fn refresh(
        &self,
        old: &TokenSet,
        refresh_token: &Secret<String>,
        scopes: &Scopes,
        resource: Option<&str>,
    ) -> Result<TokenSet, GrantError> {
        let client = self.oauth_client();
        let refresh_token = RefreshToken::new(refresh_token.expose().clone());
        let mut grant = client
            .exchange_refresh_token(&refresh_token)
            .add_scopes(scopes.iter().map(|scope| Scope::new(scope.to_owned())));
        for (name, value) in self.extra_parameters(resource)? {
            grant = grant.add_extra_param(name, value);
        }
        let status = std::sync::Mutex::new(StatusCode::BAD_REQUEST);
        let noting = Noting {
            transport: self.transport,
            status: &status,
        };
        let reply = grant.request_async(&noting).await;
        let status = status.lock().map_or(StatusCode::BAD_REQUEST, |it| *it);
        let tokens = self.tokens(reply, old.granted.clone());
        let mut tokens = tokens.map_err(|error| match error {
            GrantError::Refused(mut refusal) => {
                refusal.status = status;
                GrantError::Refused(refusal)
            }
            GrantError::Failed(error) => GrantError::Failed(error),
        })?;
        tokens.requested.clone_from(&old.requested);
        Ok(tokens.succeeding(old))
    }

    /// Tokens for the client itself (RFC 6749 §4.4).
    pub(super) async fn client_credentials(
        &self,
        scopes: &Scopes,
        resource: Option<&str>,
    ) -> Result<TokenSet, GrantError> {
        let client = self.oauth_client();
        let mut grant = client
            .exchange_client_credentials()
            .add_scopes(scopes.iter().map(|scope| Scope::new(scope.to_owned())));
        for (name, value) in self.extra_parameters(resource)? {
            grant = grant.add_extra_param(name, value);
        }
        let reply = grant.request_async(self.transport).await;
        self.tokens(reply, scopes.clone())
    }

    /// The codes with which a person signs in on another device (RFC 8628 §3.1, §3.2).
    pub(super) async fn device_codes(
        &self,
        endpoint: Url,
        scopes: &Scopes,
        resource: Option<&str>,
    ) -> Result<StandardDeviceAuthorizationResponse, GrantError> {
        let client = self
            .oauth_client()
            .set_device_authorization_url(DeviceAuthorizationUrl::from_url(endpoint));
        let mut request = client
            .exchange_device_code()
            .add_scopes(scopes.iter().map(|scope| Scope::new(scope.to_owned())));
        for (name, value) in self.extra_parameters(resource)? {
            request = request.add_extra_param(name, value);
        }
        let reply = request.request_async(self.transport).await;
        reply.map_err(|error| self.error(error))
    }

    /// Tokens for device codes, as soon as the person has signed in (RFC 8628 §3.4, §3.5). Asks as often as
    /// the server permits, until the codes or `limit` run out.
    pub(super) async fn device_tokens(
        &self,
        codes: &StandardDeviceAuthorizationResponse,
        scopes: Scopes,
        resource: Option<&str>,
        limit: Duration,
    ) -> Result<TokenSet, GrantError> {
        let client = self.oauth_client();
        let mut request = client.exchange_device_access_token(codes);
        for (name, value) in self.extra_parameters(resource)? {
            request = request.add_extra_param(name, value);
        }
        let reply = request
            .request_async(self.transport, tokio::time::sleep, Some(limit))
            .await;
        match reply {
            Ok(reply) => self.tokens(Ok(reply), scopes),
            Err(RequestTokenError::ServerResponse(refusal)) => {
                Err(GrantError::Refused(self.refusal(
                    refusal.error().as_ref(),
                    refusal.error_description().map(String::as_str),
                )))
            }
            Err(RequestTokenError::Request(error)) => Err(GrantError::Failed(error)),
            Err(RequestTokenError::Parse(error, _)) => {
                Err(GrantError::Failed(self.nonsense(&error.to_string())))
            }
            Err(RequestTokenError::Other(reason)) => {
                Err(GrantError::Failed(self.nonsense(&reason)))
            }
        }
    }

    /// Tells the authorization server that a sign-in is over (RFC 7009). Fails with the reason why it did not
    /// confirm that.
    pub(super) async fn revoke(&self, endpoint: Url, tokens: &TokenSet) -> Result<(), String> {
        // The crate takes https alone; where else a request may go is for the transport to say.
        let https = Url::parse("https://localhost/").expect("a constant URL parses");
        let client = self
            .oauth_client()
            .set_revocation_url(RevocationUrl::from_url(https));
        let token = match &tokens.refresh_token {
            Some(token) => RefreshToken::new(token.expose().clone()).into(),
            None => oauth2::AccessToken::new(tokens.access_token.expose().to_owned()).into(),
        };
        let mut request = client
            .revoke_token(token)
            .map_err(|error| error.to_string())?;
        for (name, value) in self.extra_parameters(None).unwrap_or_default() {
            request = request.add_extra_param(name, value);
        }
        let there = |request| self.transport.execute_at(&endpoint, request);
        let told = request.request_async(&there).await;
        told.map_err(|error| match error {
            RequestTokenError::ServerResponse(refusal) => shown(refusal.error().as_ref()),
            RequestTokenError::Request(error) => error.to_string(),
            RequestTokenError::Parse(..) => "its answer is not understood".to_owned(),
            RequestTokenError::Other(reason) => shown(&reason),
        })
    }

    fn oauth_client(&self) -> OAuthClient {
        let method = match self.client.method {
            ClientAuthentication::ClientSecretBasic => AuthType::BasicAuth,
            ClientAuthentication::ClientSecretPost
            | ClientAuthentication::PrivateKeyJwt
            | ClientAuthentication::None => AuthType::RequestBody,
        };
        let client = oauth2::Client::new(ClientId::new(self.client.id.clone()))
            .set_token_uri(TokenUrl::from_url(self.metadata.token_endpoint.clone()))
            .set_auth_type(method);
        match (&self.client.credential, self.client.method) {
            (ClientCredential::None | ClientCredential::PrivateKey(_), _)
            | (_, ClientAuthentication::None) => client,
            (ClientCredential::Secret(secret), _) => {
                client.set_client_secret(ClientSecret::new(secret.expose().clone()))
            }
        }
    }

    /// What the `oauth2` crate does not know of: RFC 8707 §2.2 and RFC 7523 §2.2.
    fn extra_parameters(
        &self,
        resource: Option<&str>,
    ) -> Result<Vec<(&'static str, String)>, GrantError> {
        let mut parameters = Vec::new();
        if let Some(resource) = resource {
            parameters.push(("resource", resource.to_owned()));
        }
        if let ClientCredential::PrivateKey(key) = &self.client.credential {
            let assertion = key
                .client_assertion(&self.client.id, &self.metadata.issuer)
                .map_err(|error| GrantError::Failed(AuthError::Configuration(error.to_string())))?;
            parameters.push(("client_assertion_type", ASSERTION_TYPE.to_owned()));
            parameters.push(("client_assertion", assertion));
        }
        Ok(parameters)
    }

    fn tokens(
        &self,
        reply: Result<Reply, RequestTokenError<AuthError, BasicErrorResponse>>,
        requested: Scopes,
    ) -> Result<TokenSet, GrantError> {
        let reply = reply.map_err(|error| self.error(error))?;
        let nonsense = |reason: &str| GrantError::Failed(self.nonsense(reason));
        if *reply.token_type() != BasicTokenType::Bearer {
            return Err(nonsense("it issued a token that is no bearer token"));
        }
        let access_token = AccessToken::new(reply.access_token().secret().clone())
            .ok_or_else(|| nonsense("it issued a token that no header can carry"))?;
        let mut tokens = TokenSet::received(access_token, reply.expires_in(), requested);
        tokens.refresh_token = reply
            .refresh_token()
            .map(|token| Secret::new(token.secret().clone()));
        tokens.id_token = reply
            .extra_fields()
            .id_token
            .clone()
            .and_then(AccessToken::new);
        if let Some(granted) = reply.scopes() {
            tokens.granted = granted.iter().map(|scope| scope.to_string()).collect();
        }
        Ok(tokens)
    }

    fn error(&self, error: RequestTokenError<AuthError, BasicErrorResponse>) -> GrantError {
        match error {
            RequestTokenError::ServerResponse(refusal) => GrantError::Refused(self.refusal(
                refusal.error().as_ref(),
                refusal.error_description().map(String::as_str),
            )),
            RequestTokenError::Request(error) => GrantError::Failed(error),
            // The body may hold a token, so it is not shown.
            RequestTokenError::Parse(error, _) => {
                GrantError::Failed(self.nonsense(&format!("its answer is not understood: {error}")))
            }
            RequestTokenError::Other(reason) => GrantError::Failed(self.nonsense(&reason)),
        }
    }

    fn refusal(&self, code: &str, description: Option<&str>) -> Box<Refusal> {
        Box::new(Refusal {
            code: code.into(),
            status: StatusCode::BAD_REQUEST,
            reason: shown(&match description {
                Some(description) => format!("{code}: {description}"),
                None => code.into(),
            }),
            endpoint: bare(&self.metadata.token_endpoint),
        })
    }

    fn nonsense(&self, reason: &str) -> AuthError {
        AuthError::TokenEndpoint {
            endpoint: bare(&self.metadata.token_endpoint),
            reason: shown(reason),
        }
    }
}

/// A transport that notes the status of the answer.
struct Noting<'a> {
    transport: &'a Transport,
    status: &'a std::sync::Mutex<StatusCode>,
}

impl<'c> oauth2::AsyncHttpClient<'c> for Noting<'_> {
    type Error = AuthError;
    type Future = std::pin::Pin<
        Box<dyn Future<Output = Result<oauth2::HttpResponse, AuthError>> + Send + 'c>,
    >;

    fn call(&'c self, request: oauth2::HttpRequest) -> Self::Future {
        Box::pin(async move {
            let response = self.transport.call(request).await?;
            if let Ok(mut status) = self.status.lock() {
                *status = response.status();
            }
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A-65, B3, B8: only these codes make us give something up.
    #[test]
    fn few_error_codes_are_final() {
        let check =
            |code: &str, reason: &str, expected| assert_eq!(meaning(code, reason), expected);
        check("invalid_grant", "", Meaning::GrantIsDead);
        check("invalid_client", "", Meaning::ClientIsDead);
        check("unauthorized_client", "", Meaning::ClientIsDead);
        check("invalid_target", "", Meaning::ResourceIsUnwanted);
        check(
            "invalid_request",
            "AADSTS9010010: …",
            Meaning::ResourceIsUnwanted,
        );
        check("invalid_scope", "", Meaning::ScopeIsUnwanted);
        for passing in [
            "temporarily_unavailable",
            "server_error",
            "invalid_request",
            "x",
        ] {
            check(passing, "", Meaning::Other);
        }
    }
}
