//! Requests to the token endpoint (RFC 6749 §4.1.3, §4.4, §6; RFC 8707 §2.2).

use std::fmt::Display;
use std::time::Duration;

use oauth2::basic::{
    BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse,
    BasicTokenType,
};
use oauth2::{
    AuthType, AuthorizationCode, ClientId, DeviceAuthorizationUrl, EndpointNotSet, EndpointSet,
    ErrorResponseType, ExtraTokenFields, IntrospectionUrl, RedirectUrl, RefreshToken,
    RequestTokenError, RevocationUrl, Scope, StandardDeviceAuthorizationResponse,
    StandardErrorResponse, StandardRevocableToken, StandardTokenResponse,
    TokenIntrospectionResponse as _, TokenResponse as _, TokenUrl,
};
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use crate::client::authentication::{AuthenticatedEndpoint, EndpointKind, LearntMethod};
use crate::client::registration::ClientIdentity;
use crate::config::Dpop;
use crate::discovery::authorization_server::AuthorizationServerMetadata;
use crate::error::{AuthError, shown};
use crate::grant::authorization::AuthorizationRequest;
use crate::token::scope::Scopes;
use crate::token::{AccessToken, TokenSet};
use crate::transport::error_code::{Meaning, meaning};
use crate::transport::token_reply::without_token;
use crate::transport::{RETRY_AFTER_DEFAULT, Transport, bare};
use mcp_bridge_net::http::json;
use mcp_bridge_text::secret::Secret;

/// The longest pause between two requests for the tokens of a device. Servers ask for some seconds (RFC 8628 §3.2).
const LONGEST_INTERVAL: Duration = Duration::from_secs(60);

/// The token endpoint of one authorization server, as one client sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenEndpoint<'a> {
    pub(crate) transport: &'a Transport,
    pub(crate) metadata: &'a AuthorizationServerMetadata,
    pub(crate) client: &'a ClientIdentity,
}

/// The tokens that an endpoint issued.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) tokens: TokenSet,
    /// Method with which the client had to authenticate, if not as was preferred.
    pub(crate) method: Option<LearntMethod>,
}

/// Reason why there are no tokens.
#[derive(Debug)]
pub(crate) enum GrantError {
    /// The authorization server's own word (RFC 6749 §5.2).
    Refused(Box<TokenRefusal>),
    /// Anything else: network, outage, nonsense. It says nothing about the client or the grant.
    Failed(AuthError),
}

/// An error answer of the token endpoint.
#[derive(Debug)]
pub(crate) struct TokenRefusal {
    /// Empty if the answer is not in the form of RFC 6749 §5.2.
    code: String,
    reason: String,
    status: StatusCode,
    endpoint: Url,
    method: Option<LearntMethod>,
}

impl TokenRefusal {
    pub(crate) fn meaning(&self) -> Meaning {
        meaning(&self.code, &self.reason)
    }

    /// The error code (RFC 6749 §5.2); empty if there is none.
    pub(crate) fn code(&self) -> &str {
        &self.code
    }

    /// The status of the answer; 400 for an error that came with a status of success.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// Method with which the client had to authenticate to get this far, if not as was preferred.
    pub(crate) fn method(&self) -> Option<LearntMethod> {
        self.method
    }

    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }

    pub(crate) fn into_error(self) -> AuthError {
        AuthError::TokenEndpoint {
            endpoint: self.endpoint,
            reason: self.reason,
        }
    }

    /// The error for a caller who keeps everything and may try again later.
    pub(crate) fn into_passing(self) -> AuthError {
        AuthError::ServerFailed {
            reason: format!("{} answered {}", self.endpoint, self.reason),
            retry_after: RETRY_AFTER_DEFAULT,
        }
    }
}

impl GrantError {
    pub(crate) fn meaning(&self) -> Meaning {
        match self {
            Self::Refused(refusal) => refusal.meaning(),
            Self::Failed(_) => Meaning::Other,
        }
    }

    /// The error for a user who configured the client.
    pub(crate) fn about_client(self, issuer: &str) -> AuthError {
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

    pub(crate) fn into_error(self) -> AuthError {
        match self {
            Self::Refused(refusal) => refusal.into_error(),
            Self::Failed(error) => error,
        }
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

pub(crate) type Reply = StandardTokenResponse<FurtherMembers, BasicTokenType>;

/// The members that OpenID Connect (Core §3.1.3.3) and token exchange (RFC 8693 §2.2.1) add.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FurtherMembers {
    pub(crate) id_token: Option<String>,
    pub(crate) issued_token_type: Option<String>,
}

impl ExtraTokenFields for FurtherMembers {}

impl TokenEndpoint<'_> {
    /// Tokens for the code of an answered request.
    pub(crate) async fn redeem(
        &self,
        request: &AuthorizationRequest,
        code: Secret<String>,
    ) -> Result<Granted, GrantError> {
        let client = self.oauth_client();
        let redirect_uri =
            RedirectUrl::new(request.redirect_uri.to_string()).expect("a URL's text is a URL");
        let mut grant = client
            .exchange_code(AuthorizationCode::new(code.expose().clone()))
            .set_pkce_verifier(request.pkce_verifier())
            .set_redirect_uri(std::borrow::Cow::Owned(redirect_uri));
        if let Some(resource) = &request.resource {
            grant = grant.add_extra_param("resource", resource);
        }
        let endpoint = self.authenticated();
        let reply = grant.request_async(&endpoint).await;
        tokens_of(&endpoint, reply, request.scopes.clone())
    }

    /// Tokens for a refresh token. The granted scope is repeated, because Entra ID takes a request without
    /// one for something else (AADSTS90009).
    pub(crate) async fn refresh(
        &self,
        old: &TokenSet,
        refresh_token: &Secret<String>,
        scopes: &Scopes,
        resource: Option<&str>,
    ) -> Result<Granted, GrantError> {
        let client = self.oauth_client();
        let refresh_token = RefreshToken::new(refresh_token.expose().clone());
        let mut grant = client
            .exchange_refresh_token(&refresh_token)
            .add_scopes(scopes.iter().map(|scope| Scope::new(scope.to_owned())));
        if let Some(resource) = resource {
            grant = grant.add_extra_param("resource", resource);
        }
        let endpoint = self.authenticated();
        let reply = grant.request_async(&endpoint).await;
        let Granted { mut tokens, method } = tokens_of(&endpoint, reply, old.granted.clone())?;
        tokens.requested.clone_from(&old.requested);
        Ok(Granted {
            tokens: tokens.succeeding(old),
            method,
        })
    }

    /// Tokens for the client itself (RFC 6749 §4.4).
    pub(crate) async fn client_credentials(
        &self,
        scopes: &Scopes,
        resource: Option<&str>,
    ) -> Result<Granted, GrantError> {
        let client = self.oauth_client();
        let mut grant = client
            .exchange_client_credentials()
            .add_scopes(scopes.iter().map(|scope| Scope::new(scope.to_owned())));
        if let Some(resource) = resource {
            grant = grant.add_extra_param("resource", resource);
        }
        let endpoint = self.authenticated();
        let reply = grant.request_async(&endpoint).await;
        tokens_of(&endpoint, reply, scopes.clone())
    }

    /// The codes with which a person signs in on another device (RFC 8628 §3.1, §3.2).
    pub(crate) async fn device_codes(
        &self,
        url: Url,
        scopes: &Scopes,
        resource: Option<&str>,
    ) -> Result<StandardDeviceAuthorizationResponse, GrantError> {
        let client = self
            .oauth_client()
            .set_device_authorization_url(DeviceAuthorizationUrl::from_url(url.clone()));
        let mut request = client
            .exchange_device_code()
            .add_scopes(scopes.iter().map(|scope| Scope::new(scope.to_owned())));
        if let Some(resource) = resource {
            request = request.add_extra_param("resource", resource);
        }
        let endpoint = self.authenticated_at(url, EndpointKind::DeviceAuthorization);
        let reply = request.request_async(&endpoint).await;
        reply.map_err(|error| error_of(&endpoint, error))
    }

    /// Tokens for device codes, as soon as the person has signed in (RFC 8628 §3.4, §3.5). Asks as often as
    /// the server permits, until the codes or `limit` run out.
    pub(crate) async fn device_tokens(
        &self,
        codes: &StandardDeviceAuthorizationResponse,
        scopes: Scopes,
        resource: Option<&str>,
        limit: Duration,
    ) -> Result<Granted, GrantError> {
        let client = self.oauth_client();
        let mut request = client.exchange_device_access_token(codes);
        if let Some(resource) = resource {
            request = request.add_extra_param("resource", resource);
        }
        let endpoint = self.authenticated();
        let pause = |interval: Duration| tokio::time::sleep(interval.min(LONGEST_INTERVAL));
        let reply = request.request_async(&endpoint, pause, Some(limit)).await;
        match reply {
            Ok(reply) => tokens_of(&endpoint, Ok(reply), scopes),
            Err(error) => Err(error_of(&endpoint, error)),
        }
    }

    /// Tells the authorization server that a sign-in is over (RFC 7009). Fails with the reason why it did not
    /// confirm that.
    pub(crate) async fn revoke(&self, url: Url, tokens: &TokenSet) -> Result<(), String> {
        // The crate takes https alone; where the request goes is for `AuthenticatedEndpoint` to say.
        let https = Url::parse("https://localhost/").expect("a constant URL parses");
        let client = self
            .oauth_client()
            .set_revocation_url(RevocationUrl::from_url(https));
        let token = match &tokens.refresh_token {
            Some(token) => RefreshToken::new(token.expose().clone()).into(),
            None => oauth2::AccessToken::new(tokens.access_token.expose().to_owned()).into(),
        };
        let request = client
            .revoke_token(token)
            .map_err(|error| error.to_string())?;
        let endpoint = self.authenticated_at(url, EndpointKind::Revocation);
        let told = request.request_async(&endpoint).await;
        told.map_err(|error| match error_of(&endpoint, error) {
            GrantError::Refused(refusal) => refusal.reason,
            GrantError::Failed(error) => error.to_string(),
        })
    }

    /// The resources that a token is for, by the word of the authorization server (RFC 7662). None if it does not say.
    pub(crate) async fn introspect(
        &self,
        url: Url,
        token: &AccessToken,
    ) -> Result<Option<Vec<String>>, GrantError> {
        let client = self
            .oauth_client()
            .set_introspection_url(IntrospectionUrl::from_url(url.clone()));
        let token = oauth2::AccessToken::new(token.expose().to_owned());
        let request = client
            .introspect(&token)
            .set_token_type_hint("access_token");
        let endpoint = self.authenticated_at(url, EndpointKind::Introspection);
        let reply = request.request_async(&endpoint).await;
        let reply = reply.map_err(|error| error_of(&endpoint, error))?;
        Ok(reply.aud().filter(|_| reply.active()).cloned())
    }

    /// The crate's client. It names itself in the body; [`AuthenticatedEndpoint`] does the rest.
    fn oauth_client(&self) -> OAuthClient {
        oauth2::Client::new(ClientId::new(self.client.id.clone()))
            .set_token_uri(TokenUrl::from_url(self.metadata.token_endpoint.clone()))
            .set_auth_type(AuthType::RequestBody)
    }

    pub(super) fn authenticated(&self) -> AuthenticatedEndpoint<'_> {
        self.authenticated_at(self.metadata.token_endpoint.clone(), EndpointKind::Token)
    }

    fn authenticated_at(&self, url: Url, endpoint: EndpointKind) -> AuthenticatedEndpoint<'_> {
        AuthenticatedEndpoint::new(self.transport, self.metadata, self.client, url, endpoint)
    }
}

pub(super) fn tokens_of(
    endpoint: &AuthenticatedEndpoint<'_>,
    reply: Result<Reply, RequestTokenError<AuthError, BasicErrorResponse>>,
    requested: Scopes,
) -> Result<Granted, GrantError> {
    let reply = reply.map_err(|error| error_of(endpoint, error))?;
    let nonsense = |reason: &str| GrantError::Failed(without_tokens(&endpoint.url, reason));
    let token_type = reply.token_type();
    let is_bearer = *token_type == BasicTokenType::Bearer;
    let is_bound =
        endpoint.client.prover.is_some() && token_type.as_ref().eq_ignore_ascii_case("dpop");
    if !is_bearer && !is_bound {
        return Err(nonsense(&format!(
            "it issued a token of the type {}, which is no bearer token",
            token_type.as_ref()
        )));
    }
    if is_bearer && endpoint.client.dpop == Dpop::Required {
        return Err(GrantError::Failed(AuthError::NotBound {
            issuer: endpoint.metadata.issuer.clone(),
            reason: "it issued a bearer token".to_owned(),
        }));
    }
    let access_token = AccessToken::new(reply.access_token().secret().clone())
        .ok_or_else(|| nonsense("it issued a token that no header can carry"))?;
    let mut tokens = TokenSet::issued(access_token, reply.expires_in(), requested, endpoint.sent());
    tokens.is_bound = is_bound;
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
    Ok(Granted {
        tokens,
        method: endpoint.learnt(),
    })
}

pub(super) fn error_of<T: ErrorResponseType + Display + 'static>(
    endpoint: &AuthenticatedEndpoint<'_>,
    error: RequestTokenError<AuthError, StandardErrorResponse<T>>,
) -> GrantError {
    match error {
        RequestTokenError::ServerResponse(refusal) => {
            let code = refusal.error().to_string();
            let description = refusal.error_description();
            if let Some(error) = endpoint.refused_proof(&code, description) {
                return GrantError::Failed(error);
            }
            GrantError::Refused(Box::new(TokenRefusal {
                reason: shown(&match description {
                    Some(description) if code.is_empty() => description.clone(),
                    Some(description) => format!("{code}: {description}"),
                    None => code.clone(),
                }),
                code,
                status: endpoint.status(),
                endpoint: bare(&endpoint.url),
                method: endpoint.learnt(),
            }))
        }
        RequestTokenError::Request(error) => GrantError::Failed(error),
        RequestTokenError::Parse(_, body) => unparsable(endpoint, &body),
        // An empty body.
        RequestTokenError::Other(reason) => GrantError::Failed(not_json(&endpoint.url, &reason)),
    }
}

/// An answer that cannot be read as what was asked for.
pub(super) fn unparsable(endpoint: &AuthenticatedEndpoint<'_>, body: &[u8]) -> GrantError {
    let answer = json::parse::<Value>(body);
    let reason = without_token(&answer);
    GrantError::Failed(match answer {
        Ok(_) => without_tokens(&endpoint.url, &reason),
        Err(_) => not_json(&endpoint.url, &reason),
    })
}

/// An answer of an authorization server that lacks what was asked for.
pub(super) fn without_tokens(endpoint: &Url, reason: &str) -> AuthError {
    AuthError::TokenEndpoint {
        endpoint: bare(endpoint),
        reason: shown(reason),
    }
}

/// An answer that no authorization server gives, such as the page of a captive portal or of maintenance: it passes.
fn not_json(endpoint: &Url, reason: &str) -> AuthError {
    AuthError::Unavailable {
        reason: format!("{} gave no token: {}", bare(endpoint), shown(reason)),
        retry_after: RETRY_AFTER_DEFAULT,
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
