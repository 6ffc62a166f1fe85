//! Requests that bring tokens: to the authorization endpoint in a browser, and to the token endpoint.

pub(crate) mod authorization;
pub(crate) mod extension_grant;
pub(crate) mod token_endpoint;
