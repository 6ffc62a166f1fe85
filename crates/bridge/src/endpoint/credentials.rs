//! Credentials of one request to the server: the token of the sign-in, secrets of the keychain in headers, and the headers that
//! a program prints.

use reqwest::Method;
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use url::Url;

use super::{Endpoint, Failure};
use mcp_bridge_auth::{AccessToken, Refusal};
use mcp_bridge_net::boxed::boxed;

/// Credentials that a request carries.
#[derive(Debug, Clone, Default)]
pub(super) struct Credentials {
    pub(super) token: Option<AccessToken>,
    /// The headers with secrets of the keychain.
    secret: HeaderMap,
    /// The headers of the header command, if there is one.
    printed: Option<HeaderMap>,
}

impl Credentials {
    /// Puts them into the headers of a request.
    pub(super) fn apply(&self, method: &Method, url: &Url, body: &[u8], headers: &mut HeaderMap) {
        for (name, value) in self.secret.iter().chain(self.printed.iter().flatten()) {
            headers.insert(name.clone(), value.clone());
        }
        if let Some(token) = &self.token {
            token.authorize(method, url, body, headers);
        }
    }

    /// Reads the headers of the response to such a request.
    pub(super) fn read_answer(&self, url: &Url, headers: &HeaderMap) {
        if let Some(token) = &self.token {
            token.read_answer(url, headers);
        }
    }

    /// The values that must not be shown.
    pub(super) fn values(&self) -> impl Iterator<Item = HeaderValue> {
        let token = self.token.as_ref().map(AccessToken::header);
        let printed = self.printed.iter().flat_map(HeaderMap::values).cloned();
        self.secret.values().cloned().chain(printed).chain(token)
    }

    /// True if the header command brings the credential of the server itself, so that there is no sign-in.
    fn has_authorization(&self) -> bool {
        let printed = self.printed.as_ref();
        printed.is_some_and(|headers| headers.contains_key(AUTHORIZATION))
    }
}

impl Endpoint {
    /// The credentials for the next request. They are renewed ahead of their end.
    pub(super) async fn credentials(&self) -> Result<Credentials, Failure> {
        let secret = match &self.config.secret_headers {
            Some(headers) => boxed(|| headers.headers()).await?.clone(),
            None => HeaderMap::new(),
        };
        let printed = match &self.config.header_program {
            Some(program) => Some(boxed(|| program.headers()).await?),
            None => None,
        };
        let mut credentials = Credentials {
            token: None,
            secret,
            printed,
        };
        if let Some(authorizer) = &self.authorizer
            && !credentials.has_authorization()
        {
            credentials.token = authorizer.token().await?;
        }
        Ok(credentials)
    }

    /// Runs the header command again after a refusal that may be about its headers. True if there are other ones now.
    pub(super) async fn renew_headers(&self, credentials: &Credentials) -> Result<bool, Failure> {
        match (&self.config.header_program, &credentials.printed) {
            (Some(program), Some(printed)) => Ok(program.renew(printed).await?),
            (Some(_) | None, _) => Ok(false),
        }
    }

    /// The failure of a request that is refused for the headers that a program has printed, and that no sign-in would change.
    pub(super) fn refused_headers(&self, credentials: &Credentials) -> Option<Failure> {
        let program = self.config.header_program.as_ref()?;
        let is_theirs = credentials.has_authorization();
        is_theirs.then(|| program.refused().into())
    }

    /// True if a refusal may be about the headers of a program: not if the server itself asks for a sign-in.
    pub(super) fn is_about_headers(&self, refusal: &Refusal, credentials: &Credentials) -> bool {
        let is_refusal = matches!(
            refusal.status,
            StatusCode::UNAUTHORIZED
                | StatusCode::FORBIDDEN
                | StatusCode::PROXY_AUTHENTICATION_REQUIRED
        );
        let asks_for_sign_in = self.authorizer.is_some()
            && refusal.names_metadata()
            && !credentials.has_authorization();
        credentials.printed.is_some() && is_refusal && !asks_for_sign_in
    }
}
