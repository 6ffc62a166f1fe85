//! Token type identifiers (RFC 8693 §3).

use std::borrow::Cow;

/// Identifier of the type of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenType(Cow<'static, str>);

impl TokenType {
    /// An access token of an authorization server.
    pub const ACCESS_TOKEN: Self = Self::known("urn:ietf:params:oauth:token-type:access_token");
    /// A JWT.
    pub const JWT: Self = Self::known("urn:ietf:params:oauth:token-type:jwt");
    /// An ID token of OpenID Connect.
    pub(crate) const ID_TOKEN: Self = Self::known("urn:ietf:params:oauth:token-type:id_token");
    /// A refresh token.
    pub(crate) const REFRESH_TOKEN: Self =
        Self::known("urn:ietf:params:oauth:token-type:refresh_token");
    /// An identity assertion as a grant for another authorization server
    /// (draft-ietf-oauth-identity-assertion-authz-grant §3).
    pub(crate) const ID_JAG: Self = Self::known("urn:ietf:params:oauth:token-type:id-jag");

    const SAML_1: Self = Self::known("urn:ietf:params:oauth:token-type:saml1");
    const SAML_2: Self = Self::known("urn:ietf:params:oauth:token-type:saml2");

    const fn known(uri: &'static str) -> Self {
        Self(Cow::Borrowed(uri))
    }

    /// The type of that short name, such as `id_token`, or of that URI.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let short = match text {
            "access_token" => Self::ACCESS_TOKEN,
            "refresh_token" => Self::REFRESH_TOKEN,
            "id_token" => Self::ID_TOKEN,
            "jwt" => Self::JWT,
            "saml1" => Self::SAML_1,
            "saml2" => Self::SAML_2,
            uri if uri.contains(':') && uri.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Self(Cow::Owned(uri.to_owned()))
            }
            _ => return None,
        };
        Some(short)
    }

    /// The URI.
    pub(crate) fn uri(&self) -> &str {
        &self.0
    }
}
