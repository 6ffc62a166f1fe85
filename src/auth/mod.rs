//! Placeholder until the branch lands.
#![allow(missing_docs, clippy::unused_async)]
use crate::http;
use reqwest::StatusCode;
use reqwest::header::HeaderValue;
use url::Url;
#[derive(Debug)]
pub struct Authorizer;
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessToken(HeaderValue);
impl AccessToken {
    pub fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}
#[derive(Debug, Clone)]
pub struct Refusal {
    pub status: StatusCode,
    pub www_authenticate: Vec<HeaderValue>,
    pub refused: Option<AccessToken>,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interaction {
    Allowed,
    Forbidden,
}
#[derive(Debug, Clone, Default)]
pub struct Config {}
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    #[error("no")]
    No,
}
impl AuthError {
    pub fn kind(&self) -> &'static str {
        "auth"
    }
    pub fn hint(&self) -> Option<String> {
        None
    }
    pub fn sign_in_url(&self) -> Option<&Url> {
        None
    }
}
impl Authorizer {
    pub fn new(_server: Url, _config: Config, _http: http::Options) -> Self {
        Self
    }
    pub async fn token(&self) -> Option<AccessToken> {
        None
    }
    pub async fn authorize(
        &self,
        _refusal: Refusal,
        _i: Interaction,
    ) -> Result<AccessToken, AuthError> {
        Err(AuthError::No)
    }
}
