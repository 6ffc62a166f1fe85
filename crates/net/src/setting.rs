//! Names of the settings that errors and hints mention.
//!
//! A program names each setting as its users know it, by a flag for instance, once with [`name_settings`]. Without that
//! they have the names of the fields in the configuration.

use std::fmt;
use std::sync::OnceLock;

/// The names that the program gave.
static NAMES: OnceLock<fn(Setting) -> &'static str> = OnceLock::new();

/// A setting that may cause a failure, or mend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// Tools that alone are let through.
    AllowTool,
    /// Consent to authorization servers whose metadata do not list PKCE.
    AllowMissingPkceMetadata,
    /// Consent to authorization servers on private networks.
    AllowPrivateAddresses,
    /// A command that prints tokens.
    AuthCommand,
    /// An environment variable that holds a bearer token.
    BearerEnv,
    /// The limit on silence in a body.
    BodyTimeout,
    /// Certificates to trust.
    CaCert,
    /// Metadata for client registration.
    ClientMetadata,
    /// The client identifier.
    ClientId,
    /// An environment variable that holds the client secret.
    ClientSecretEnv,
    /// The limit on connecting.
    ConnectTimeout,
    /// Verbose logging.
    Debug,
    /// Binding of tokens to a key (RFC 9449).
    Dpop,
    /// One sign-in for all servers of an issuer.
    ShareSignIn,
    /// An HTTP header of every request.
    Header,
    /// A command that prints headers.
    HeaderCommand,
    /// The limit on the wait for the headers of a response.
    HeadersTimeout,
    /// Tools that are hidden.
    IgnoreTool,
    /// The issuer identifier of the authorization server.
    Issuer,
    /// Strictness about issuer identifiers.
    IssuerCheck,
    /// The limit on the size of a message.
    MaxMessageSize,
    /// The name of one of several accounts.
    Profile,
    /// Consent to read-only tools alone.
    ReadOnly,
    /// The limit on the time that a request takes.
    RequestTimeout,
    /// The resource indicator (RFC 8707).
    Resource,
    /// The scopes to ask for.
    Scope,
    /// The place of secrets.
    Store,
    /// The file with the keys that encrypt what is stored.
    StoreKeyFile,
    /// The transport.
    Transport,
}

/// Sets the names of the settings for the whole process. Only the first call counts.
pub fn name_settings(names: fn(Setting) -> &'static str) {
    let _ = NAMES.set(names);
}

impl Setting {
    const fn field(self) -> &'static str {
        match self {
            Self::AllowTool => "allow_tool",
            Self::AllowMissingPkceMetadata => "allow_missing_pkce_metadata",
            Self::AllowPrivateAddresses => "allow_private_addresses",
            Self::AuthCommand => "auth_command",
            Self::BearerEnv => "bearer_env",
            Self::BodyTimeout => "body_timeout",
            Self::CaCert => "ca_cert",
            Self::ClientMetadata => "client_metadata",
            Self::ClientId => "client_id",
            Self::ClientSecretEnv => "client_secret_env",
            Self::ConnectTimeout => "connect_timeout",
            Self::Debug => "debug",
            Self::Dpop => "dpop",
            Self::ShareSignIn => "share-sign-in",
            Self::Header => "header",
            Self::HeaderCommand => "header_command",
            Self::HeadersTimeout => "headers_timeout",
            Self::IgnoreTool => "ignore_tool",
            Self::Issuer => "issuer",
            Self::IssuerCheck => "issuer_check",
            Self::MaxMessageSize => "max_message_size",
            Self::Profile => "profile",
            Self::ReadOnly => "read_only",
            Self::RequestTimeout => "request_timeout",
            Self::Resource => "resource",
            Self::Scope => "scope",
            Self::Store => "store",
            Self::StoreKeyFile => "store_key_file",
            Self::Transport => "transport",
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            NAMES
                .get()
                .map_or_else(|| self.field(), |names| names(*self)),
        )
    }
}
