//! Configuration of the sign-in.

mod external_token;
mod helper;
mod identity_provider;
mod signing_key;
mod store_address;
mod store_keys;
mod token_command;
mod token_type;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use url::Url;

use crate::keychain::Keychain;
use crate::sign_in_page::BrowserPlace;
use mcp_bridge_text::secret::Secret;

pub use self::external_token::{ExternalToken, ExternalTokenError};
pub use self::helper::Helper;
pub use self::identity_provider::{IdentityProvider, IssuerUrl};
pub use self::signing_key::{KeyError, SigningKey};
pub use self::store_address::{StoreAddress, StoreAddressError};
pub(crate) use self::store_keys::StoreKey;
pub use self::store_keys::{StoreKeyError, StoreKeys};
pub use self::token_command::{CommandError, TokenCommand};
pub use self::token_type::TokenType;

/// The grant of RFC 7523 §2.1.
pub(crate) const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// The grant of RFC 8693 §2.1.
pub(crate) const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// Time that a sign-in page stays open before the requests that wait for it fail.
pub const SIGN_IN_TIMEOUT: Duration = Duration::from_secs(300);

/// Limit for failures of the authorization server to answer a refresh request (5xx with an OAuth error) before a
/// person is asked. Some servers refuse every dead refresh token in this way; one or two failures may pass.
pub const SERVER_FAILURES: u32 = 3;

/// The choices of the user about the sign-in; the default suits a server that follows the specification.
#[derive(Debug, Clone)]
pub struct Config {
    /// The server's URL as the user wrote it; `mcp-remote` names its files by that.
    pub server_as_given: Option<String>,
    /// The custom headers as the user wrote them, variables and all; for the same purpose.
    pub headers_as_given: Secret<Vec<(String, String)>>,
    /// Directory in which `mcp-remote` keeps its credentials. What it left for this server is used.
    pub mcp_remote_directory: Option<PathBuf>,
    /// Directory of credentials; none keeps them in memory only.
    pub directory: Option<PathBuf>,
    /// Place of their secrets; none for where they are already, or where the user has them moved.
    pub store: Option<Store>,
    /// Keys that encrypt what is stored on this machine; none keeps it in clear.
    pub store_keys: Option<StoreKeys>,
    /// Machine on which a person signs in.
    pub person: SignInPlace,
    /// The keychain that is meant where one is.
    pub keychain: Keychain,
    /// Name of the account, to use several at one server.
    pub profile: Option<String>,
    /// Header values that tell accounts apart, such as a tenant's id. Only a hash of them is stored.
    pub identity_headers: Secret<Vec<(String, String)>>,
    /// The authorization server to use where the resource names several.
    pub issuer: Option<String>,
    /// The client that was registered by hand.
    pub client: Option<PreRegisteredClient>,
    /// Members that replace those of our own registration request (RFC 7591 §2).
    pub client_metadata: Map<String, Value>,
    /// The URL that stands for this client at servers that read client ID metadata documents.
    pub client_metadata_url: Option<Url>,
    /// The scopes to ask for, instead of those the server names.
    pub scope: Option<String>,
    /// The `resource` parameter (RFC 8707).
    pub resource: ResourceParameter,
    /// Parameters added to the authorization request.
    pub authorize_params: Vec<(String, String)>,
    /// The callback, to which the browser comes back.
    pub callback: Callback,
    /// Time that a person has for a sign-in.
    pub timeout: Duration,
    /// Limit for failed refreshes, by the authorization server's own account, before a person is asked.
    pub server_failures: u32,
    /// The program that opens the sign-in page.
    pub browser: Browser,
    /// The program that finishes a sign-in when this process has ended; none lets it end with the process.
    pub helper: Option<Helper>,
    /// Means by which a person can bring the answer to a sign-in.
    pub answer_input: AnswerInput,
    /// The address of this machine as a person knows it who is logged in from another one over SSH.
    pub remote_login: Option<String>,
    /// Strictness of the comparison of issuers.
    pub issuer_check: IssuerCheck,
    /// Reaction to metadata that does not list PKCE methods.
    pub missing_pkce_metadata: MissingPkceMetadata,
    /// The token of the answer that is sent to the server.
    pub bearer: Bearer,
    /// Binding of tokens to a key (RFC 9449).
    pub dpop: Dpop,
    /// Servers that a sign-in is for.
    pub sharing: SignInSharing,
    /// The grant with which a token is obtained.
    pub grant: Grant,
    /// The program that prints the tokens; with it there is no sign-in.
    pub command: Option<TokenCommand>,
    /// Addresses that the authorization server may have.
    pub addresses: Addresses,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server_as_given: None,
            headers_as_given: Secret::new(Vec::new()),
            person: SignInPlace::default(),
            mcp_remote_directory: None,
            directory: None,
            store: None,
            store_keys: None,
            keychain: Keychain::default(),
            profile: None,
            identity_headers: Secret::new(Vec::new()),
            issuer: None,
            client: None,
            client_metadata: Map::new(),
            client_metadata_url: None,
            scope: None,
            resource: ResourceParameter::default(),
            authorize_params: Vec::new(),
            callback: Callback::default(),
            timeout: SIGN_IN_TIMEOUT,
            server_failures: SERVER_FAILURES,
            browser: Browser::default(),
            helper: None,
            answer_input: AnswerInput::default(),
            remote_login: None,
            issuer_check: IssuerCheck::default(),
            missing_pkce_metadata: MissingPkceMetadata::default(),
            bearer: Bearer::default(),
            dpop: Dpop::default(),
            sharing: SignInSharing::default(),
            grant: Grant::default(),
            command: None,
            addresses: Addresses::default(),
        }
    }
}

impl Config {
    /// The machine that the browser is expected on. Who lets others reach the callback has it outside of a container.
    pub(crate) fn browser_place(&self) -> BrowserPlace {
        let is_wide = self.callback.bind.is_some_and(|bind| !bind.is_loopback());
        if is_wide || self.remote_login.is_some() {
            return BrowserPlace::Elsewhere;
        }
        BrowserPlace::Here
    }

    /// The token from outside that the grant or the client needs.
    pub(crate) fn external_token(&self) -> Option<&ExternalToken> {
        let of_grant = match &self.grant {
            Grant::AuthorizationCode | Grant::DeviceCode | Grant::ClientCredentials { .. } => None,
            Grant::JwtBearer { assertion, .. } => Some(assertion),
            Grant::TokenExchange { subject, .. } => Some(&subject.token),
            Grant::EnterpriseManaged(provider) => provider.id_token.as_ref(),
        };
        of_grant.or_else(|| match &self.client.as_ref()?.credential {
            ClientCredential::Assertion(assertion) => Some(assertion),
            ClientCredential::None
            | ClientCredential::Secret(_)
            | ClientCredential::PrivateKey(_) => None,
        })
    }

    /// The scopes that the user insists on.
    pub(crate) fn pinned_scope(&self) -> Option<&str> {
        self.scope
            .as_deref()
            .or_else(|| self.client_metadata.get("scope")?.as_str())
    }
}

/// A client that the user registered at the authorization server by hand.
#[derive(Debug, Clone)]
pub struct PreRegisteredClient {
    /// Its `client_id`.
    pub id: String,
    /// Its credential.
    pub credential: ClientCredential,
    /// The method to use at the token endpoint; by default what the server offers decides.
    pub method: Option<ClientAuthentication>,
}

/// Credential with which a pre-registered client proves its identity.
#[derive(Debug, Clone, Default)]
pub enum ClientCredential {
    /// Nothing: a public client.
    #[default]
    None,
    /// A shared secret.
    Secret(Secret<String>),
    /// A private key whose public half is registered (RFC 7523).
    PrivateKey(Arc<SigningKey>),
    /// A JWT that a trusted third party has signed, such as that of a workload (RFC 7521 §4.2).
    Assertion(ExternalToken),
}

/// Method of client authentication at the token endpoint (RFC 7591 §2, `token_endpoint_auth_method`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthentication {
    /// Only its id, in the body.
    None,
    /// Id and secret in the body.
    ClientSecretPost,
    /// Id and secret in an `Authorization: Basic` header.
    ClientSecretBasic,
    /// A statement signed with its private key (RFC 7523 §2.2).
    PrivateKeyJwt,
}

impl ClientAuthentication {
    /// The name in metadata documents.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ClientSecretPost => "client_secret_post",
            Self::ClientSecretBasic => "client_secret_basic",
            Self::PrivateKeyJwt => "private_key_jwt",
        }
    }

    /// The method of that name, if we have it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Self::None,
            Self::ClientSecretPost,
            Self::ClientSecretBasic,
            Self::PrivateKeyJwt,
        ]
        .into_iter()
        .find(|method| method.name() == name)
    }
}

/// Value of the `resource` parameter (RFC 8707).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ResourceParameter {
    /// The one of the protected resource metadata, else the server's URL.
    #[default]
    Automatic,
    /// This value.
    Fixed(String),
    /// The parameter is left out; some providers refuse it.
    Omitted,
}

/// Callback, to which the browser comes back after the sign-in.
#[derive(Debug, Clone)]
pub struct Callback {
    /// The host in the redirect URI.
    pub host: String,
    /// The port in the redirect URI, which then must be free; by default one that is derived from the
    /// server, so that it stays the same from start to start.
    pub port: Option<u16>,
    /// The path in the redirect URI.
    pub path: String,
    /// The address to listen on instead of loopback, for containers.
    pub bind: Option<IpAddr>,
    /// The redirect URI as a whole, where something stands between the browser and this process.
    pub redirect_uri: Option<Url>,
    /// Page to which the browser is sent once the code was exchanged, instead of our own page.
    pub success_url: Option<Url>,
}

impl Default for Callback {
    fn default() -> Self {
        Self {
            host: "localhost".into(),
            port: None,
            path: "/oauth/callback".into(),
            bind: None,
            redirect_uri: None,
            success_url: None,
        }
    }
}

/// Program that opens the sign-in page, whose address is printed in any case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Browser {
    /// The desktop's default.
    #[default]
    System,
    /// These programs, one after the other until one works; the page's URL is the only argument.
    Command(Vec<PathBuf>),
    /// Nobody; the page is only printed.
    None,
}

/// Means by which a person can bring the answer to a sign-in, where the browser cannot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AnswerInput {
    /// Nobody reads the instructions at a terminal.
    #[default]
    None,
    /// Typed lines go to [`crate::Authorizer::submit`].
    Terminal,
}

/// Rule for the issuer in a metadata document, which must agree with the one it was asked from (RFC 8414 §3.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IssuerCheck {
    /// Character by character.
    #[default]
    Strict,
    /// One host is the other or a subdomain of it.
    SameSite,
    /// Not at all.
    Off,
}

/// Reaction to metadata without `code_challenge_methods_supported`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MissingPkceMetadata {
    /// Refuse, as the specification wants it.
    #[default]
    Refuse,
    /// Send S256 and hope.
    Allow,
}

/// The token of the answer that is sent to the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Bearer {
    /// The access token.
    #[default]
    AccessToken,
    /// The ID token, for servers that check an OpenID Connect identity instead.
    IdToken,
}

/// Binding of tokens to a key (DPoP, RFC 9449): without the key a stolen token is worthless.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dpop {
    /// Never.
    Off,
    /// If the server asks for it and its authorization server offers it.
    #[default]
    Auto,
    /// Always; other tokens are refused.
    Required,
}

/// Servers that a sign-in in a browser is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SignInSharing {
    /// One server.
    #[default]
    Off,
    /// All servers of one issuer that choose this, if each of their tokens is for one server alone (RFC 8707).
    OneIssuer,
}

/// The grant with which a token is obtained.
#[derive(Debug, Clone, Default)]
pub enum Grant {
    /// A person signs in with a browser on this machine (RFC 6749 §4.1).
    #[default]
    AuthorizationCode,
    /// A person signs in with a browser on any machine (RFC 8628).
    DeviceCode,
    /// The client itself is the account (RFC 6749 §4.4).
    ClientCredentials {
        /// The token endpoint, if it cannot be discovered.
        token_endpoint: Option<Url>,
    },
    /// A JWT about a workload is the grant (RFC 7523 §2.1).
    JwtBearer {
        /// The token endpoint, if it cannot be discovered.
        token_endpoint: Option<Url>,
        /// The JWT.
        assertion: ExternalToken,
    },
    /// A token of another origin is exchanged for one of this authorization server (RFC 8693).
    TokenExchange {
        /// The token endpoint, if it cannot be discovered.
        token_endpoint: Option<Url>,
        /// The token to be exchanged.
        subject: SubjectToken,
        /// The logical name of the service that the token is for.
        audience: Option<String>,
    },
    /// The identity provider of a company answers for the person (MCP extension
    /// `io.modelcontextprotocol/enterprise-managed-authorization`).
    EnterpriseManaged(Box<IdentityProvider>),
}

/// A token that is exchanged for another one (RFC 8693 §2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectToken {
    /// Its source.
    pub token: ExternalToken,
    /// Its type.
    pub token_type: TokenType,
}

impl Grant {
    /// Its name in requests and registrations (RFC 7591 §2, RFC 8628 §3.4).
    pub(crate) fn grant_type(&self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::DeviceCode => "urn:ietf:params:oauth:grant-type:device_code",
            Self::ClientCredentials { .. } => "client_credentials",
            Self::JwtBearer { .. } | Self::EnterpriseManaged(_) => JWT_BEARER,
            Self::TokenExchange { .. } => TOKEN_EXCHANGE,
        }
    }

    /// True if somebody has to be there. At an identity provider that is for the session there to say.
    pub(crate) fn needs_person(&self) -> bool {
        match self {
            Self::AuthorizationCode | Self::DeviceCode => true,
            Self::ClientCredentials { .. }
            | Self::JwtBearer { .. }
            | Self::TokenExchange { .. }
            | Self::EnterpriseManaged(_) => false,
        }
    }

    /// The token endpoint that the user has named.
    pub(crate) const fn token_endpoint(&self) -> Option<&Url> {
        match self {
            Self::AuthorizationCode | Self::DeviceCode | Self::EnterpriseManaged(_) => None,
            Self::ClientCredentials { token_endpoint }
            | Self::JwtBearer { token_endpoint, .. }
            | Self::TokenExchange { token_endpoint, .. } => token_endpoint.as_ref(),
        }
    }

    /// True if the authorization server has to be discovered: not where the user has named its token endpoint.
    pub(crate) const fn needs_discovery(&self) -> bool {
        self.token_endpoint().is_none()
    }
}

/// Place of the secrets of credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// In the keychain of the operating system; the rest is in a file.
    Keychain,
    /// In a file that is readable by the user alone.
    File,
    /// In this process, until it ends.
    Memory,
    /// With the rest in a store that several machines share.
    Shared(Box<SharedPlace>),
}

/// A store that several machines share. There are no credentials in clear in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedPlace {
    /// Its address.
    pub address: StoreAddress,
    /// Keys that encrypt what is stored there.
    pub keys: StoreKeys,
}

/// Machine on which a person signs in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SignInPlace {
    /// This one.
    #[default]
    Here,
    /// Another one, which shares the store. This one waits for its sign-in.
    Elsewhere {
        /// The command that signs in there, for people.
        command: String,
    },
}

/// Addresses that the authorization server may have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Addresses {
    /// Private and loopback addresses only if the MCP server has one, too.
    #[default]
    AsTheServer,
    /// Any.
    Any,
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AuthorizationCode => "authorization_code",
            Self::DeviceCode => "device_code",
            Self::ClientCredentials { .. } => "client_credentials",
            Self::JwtBearer { .. } => "jwt_bearer",
            Self::TokenExchange { .. } => "token_exchange",
            Self::EnterpriseManaged(_) => "enterprise_managed",
        })
    }
}
