//! Flags by which errors and hints of the library name its settings.

use mcp_bridge_net::setting::Setting;

/// The flag that a person sets this with.
#[must_use]
pub fn flag(setting: Setting) -> &'static str {
    match setting {
        Setting::AllowTool => "--allow-tool",
        Setting::AllowMissingPkceMetadata => "--allow-missing-pkce-metadata",
        Setting::AllowPrivateAddresses => "--allow-private-addresses",
        Setting::AuthCommand => "--auth-command",
        Setting::BearerEnv => "--bearer-env",
        Setting::BodyTimeout => "--body-timeout",
        Setting::CaCert => "--ca-cert",
        Setting::ClientMetadata => "--static-oauth-client-metadata",
        Setting::ClientId => "--client-id",
        Setting::ClientSecretEnv => "--client-secret-env",
        Setting::ConnectTimeout => "--connect-timeout",
        Setting::Debug => "--debug",
        Setting::Dpop => "--dpop",
        Setting::ShareSignIn => "--share-sign-in",
        Setting::Header => "--header",
        Setting::HeaderCommand => "--header-command",
        Setting::HeadersTimeout => "--headers-timeout",
        Setting::IgnoreTool => "--ignore-tool",
        Setting::Issuer => "--issuer",
        Setting::IssuerCheck => "--issuer-check",
        Setting::MaxMessageSize => "--max-message-size",
        Setting::Profile => "--profile",
        Setting::ReadOnly => "--read-only",
        Setting::RequestTimeout => "--request-timeout",
        Setting::Resource => "--resource",
        Setting::Scope => "--scope",
        Setting::Store => "--store",
        Setting::StoreKeyFile => "--store-key-file",
        Setting::Transport => "--transport",
    }
}
