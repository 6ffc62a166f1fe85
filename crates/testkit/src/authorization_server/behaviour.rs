//! Behaviour of the authorization server: its settings, and faults on request.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Dpop, Trust};

/// Faults and settings of the server, which a test changes while it runs.
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own")]
pub struct Behaviour {
    /// Replaces or removes members of the protected resource metadata.
    pub resource_metadata: Value,
    /// Replaces or removes members of the authorization server metadata.
    pub server_metadata: Value,
    /// Answers of the token endpoint, first come first served; then it works.
    pub token_replies: Vec<TokenReply>,
    /// The token endpoint answers all requests like this.
    pub token_outage: Option<TokenReply>,
    /// Seconds that tokens live, told and enforced.
    pub token_lifetime: Option<u64>,
    /// The parameters of the challenge in a 401.
    pub challenge: Challenge,
    /// The address of the metadata in the challenge, instead of the right one.
    pub named_metadata: Option<String>,
    /// The challenges of the 401, line by line, instead of the right one: name and value of the header.
    pub challenge_lines: Option<Vec<(&'static str, String)>>,
    /// Paths that answer with this document.
    pub documents: HashMap<String, Value>,
    /// Paths that redirect.
    pub redirects: HashMap<String, String>,
    /// The scope that `/mcp` asks for.
    pub required_scope: Option<String>,
    /// Members of the answer to the authorization request to set, or with null to remove.
    pub authorization_response: Value,
    /// Members of the registration answer to set, or with null to remove.
    pub registration_reply: Value,
    /// The status of the registration endpoint, if not 201.
    pub registration_status: Option<u16>,
    /// Paths that answer with this status and text, whatever is asked.
    pub broken_paths: HashMap<String, (u16, String)>,
    /// The tokens of a grant.
    pub grants: Grants,
    /// Rules for tokens that are bound to a key; without them there are only bearer tokens.
    pub dpop: Option<Dpop>,
    /// Servers for which access tokens are.
    pub audience: Audience,
    /// Servers for which a refresh token is good.
    pub targets: Targets,
    /// Scopes that single servers name in their metadata, by their path.
    pub scopes_of: HashMap<String, Vec<String>>,
    /// The path of a server that accepts the tokens of no sign-in but its own.
    pub loner: Option<String>,
    /// `/mcp` opens a session.
    pub has_session: bool,
    /// Foreign tokens that are taken for grants.
    pub trust: Option<Trust>,
    /// A gateway before everything but the sign-in page wants this in the header `X-Gateway`.
    pub gateway: Option<&'static str>,
    /// True if `resource` is refused, as Entra ID does.
    pub refuses_resource: bool,
    /// Scopes that the authorization endpoint knows; None knows all.
    pub known_scopes: Option<Vec<String>>,
    /// `/mcp` answers 403 with this challenge.
    pub forbids: Option<String>,
    /// State of the device authorization.
    pub device: Device,
    /// Client authentication that is required, whatever the metadata says.
    pub authentication: Authentication,
    /// Codes are used up also by requests of clients that are refused.
    pub loses_codes_of_refused_clients: bool,
    /// No client without a secret is registered.
    pub registers_no_public_client: bool,
    /// The scope that is granted, whatever is asked for.
    pub granted_scope: Option<String>,
    /// Clients that the authorization endpoint no longer knows answer this.
    pub forgotten_client_status: u16,
    /// The address to which the authorization endpoint sends the browser of clients that it no longer knows, instead.
    pub forgotten_client_page: Option<String>,
    /// `/mcp` wants no token.
    pub is_open: bool,
    /// The `email` claim of the ID token.
    pub user: Option<String>,
    /// Stands before the body of every answer that has one.
    pub body_prefix: &'static str,
    /// Time after which a token that was issued is on its way.
    pub token_delay: Option<Duration>,
    /// Tokens that were issued are on their way when this is false again.
    pub holds_tokens: bool,
    /// `/mcp` opens a session, refuses its notifications once the session is being ended (DELETE), and ends it once that
    /// has led to a token request.
    pub refuses_at_the_end: bool,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            resource_metadata: json!({}),
            server_metadata: json!({}),
            token_replies: Vec::new(),
            token_outage: None,
            token_lifetime: None,
            challenge: Challenge::Metadata,
            named_metadata: None,
            challenge_lines: None,
            documents: HashMap::new(),
            redirects: HashMap::new(),
            required_scope: None,
            authorization_response: json!({}),
            registration_reply: json!({}),
            registration_status: None,
            broken_paths: HashMap::new(),
            grants: Grants::RotatingRefreshTokens,
            dpop: None,
            audience: Audience::Unsaid,
            targets: Targets::Any,
            scopes_of: HashMap::new(),
            loner: None,
            has_session: false,
            trust: None,
            gateway: None,
            refuses_resource: false,
            known_scopes: None,
            forbids: None,
            device: Device::Waiting,
            authentication: Authentication::Any,
            loses_codes_of_refused_clients: false,
            registers_no_public_client: false,
            granted_scope: None,
            forgotten_client_status: 400,
            forgotten_client_page: None,
            is_open: false,
            user: None,
            body_prefix: "",
            token_delay: None,
            holds_tokens: false,
            refuses_at_the_end: false,
        }
    }
}

/// Client authentication that the server accepts (RFC 6749 §2.3).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Authentication {
    /// By the id and, if there is one, the secret, in the header or in the body.
    Any,
    /// The secret belongs in the body.
    OnlyPost,
    /// The secret belongs in the header, and the id must not stand in the body, too.
    OnlyBasic,
    /// As the Python SDK has it: by the registered method; the id always has to be in the body, and at the
    /// revocation endpoint a `client_secret` as well.
    LikePythonSdk,
    /// The id alone, although there may be a secret, as canaille has it.
    OnlyId,
    /// Clients without a secret are registered, and refused afterwards.
    OnlyConfidential,
}

/// State of a device authorization (RFC 8628).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// Nobody has entered the code yet.
    Waiting,
    /// A person has agreed.
    Approved,
    /// A person has refused.
    Refused,
}

/// Servers for which access tokens are (RFC 8707 §2.2), and where it is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Nowhere: any server accepts them.
    Unsaid,
    /// In the `aud` claim of the token, a JWT: for the resource that was asked for. No other server accepts it.
    Jwt,
    /// By the introspection endpoint (RFC 7662); otherwise the same.
    Introspected,
    /// In the `aud` claim, and it is always this one.
    Fixed(Vec<String>),
}

/// Servers for which a refresh token is good (RFC 8707 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Targets {
    /// Whichever is asked for.
    Any,
    /// Those that the authorization request has named, and their scopes.
    Named,
    /// The one for which the code was redeemed.
    One,
}

/// Challenge of a 401 (RFC 9728 §5.1).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Challenge {
    /// It has the address of the metadata.
    Metadata,
    /// It is `Bearer` without parameters.
    Bare,
    /// There is no challenge at all.
    Missing,
}

/// Tokens that a grant consists of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Grants {
    /// Refresh tokens as well, of which each is good for one use.
    RotatingRefreshTokens,
    /// Refresh tokens as well, of which the old ones stay good, as those do that were used a moment ago.
    ReusableRefreshTokens,
    /// No refresh token.
    AccessTokensOnly,
}

/// An answer of the token endpoint.
#[derive(Clone)]
pub struct TokenReply {
    /// The HTTP status.
    pub status: u16,
    /// The `Content-Type`.
    pub content_type: &'static str,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: String,
}

impl TokenReply {
    /// An error response (RFC 6749 §5.2).
    pub fn error(status: u16, code: &str) -> Self {
        Self::json(status, &json!({ "error": code }))
    }

    /// A page instead of JSON.
    pub fn page(status: u16, text: &str) -> Self {
        Self {
            status,
            content_type: "text/html",
            headers: Vec::new(),
            body: text.to_owned(),
        }
    }

    /// A JSON document.
    pub fn json(status: u16, body: &Value) -> Self {
        Self {
            status,
            content_type: "application/json",
            headers: Vec::new(),
            body: body.to_string(),
        }
    }
}
