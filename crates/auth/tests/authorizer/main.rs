//! The sign-in as the bridge uses it: [`mcp_bridge_auth::Authorizer`] with real HTTP, files and ports.

#![allow(
    clippy::unwrap_used,
    reason = "a sign-in that does not work fails the test"
)]

mod addresses;
mod browser;
mod callback;
mod client_authentication;
mod client_certificate;
mod company;
mod discovery;
mod dpop;
mod foreign_answers;
mod grants;
mod keychain;
mod many;
mod oidc_provider;
mod outside;
mod refusals;
mod registration;
mod scopes;
mod short_address;
mod sign_in;
#[cfg(unix)]
mod store;
mod support;
mod tokens;
