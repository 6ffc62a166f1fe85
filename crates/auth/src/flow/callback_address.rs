//! Address of the callback: the port to listen on, and the redirect URI (RFC 8252 §7.3).

use url::Url;

use crate::callback::loopback::Ports;
use crate::client::registration::DynamicRegistration;
use crate::config::Config;
use crate::discovery::authorization_server::AuthorizationServerMetadata;
use crate::error::AuthError;
use crate::flow::client_choice::ClientChoice;
use crate::flow::session::SignInSession;
use crate::store::mcp_remote;

/// Number of ports beside the derived one that are tried, so that the redirect URI changes seldom.
const NEIGHBOUR_PORTS: u16 = 7;

/// The ports to try: exactly the registered one where a redirect URI was registered by hand, else the one
/// that our registration has, else the one that belongs to the server.
pub(crate) fn ports(
    session: &SignInSession,
    metadata: &AuthorizationServerMetadata,
    stored: Option<&DynamicRegistration>,
) -> Ports {
    let config = &session.config;
    let derived = mcp_remote::callback_port(&session.server, config);
    let in_redirect_uri = config.callback.redirect_uri.as_ref().and_then(Url::port);
    if let Some(port) = config.callback.port.or(in_redirect_uri) {
        return Ports::Only(port);
    }
    let by_hand = config.callback.redirect_uri.is_some()
        || ClientChoice::new(config, metadata, None)
            .into_configured()
            .is_some();
    if by_hand {
        return Ports::Only(derived);
    }
    let registered = stored
        .and_then(|client| Url::parse(&client.redirect_uri).ok())
        .and_then(|uri| uri.port());
    let neighbours = derived..=derived.saturating_add(NEIGHBOUR_PORTS);
    Ports::Prefer(registered.into_iter().chain(neighbours).collect())
}

/// The redirect URI of a callback at `port`.
pub(crate) fn redirect_uri(config: &Config, port: u16) -> Result<Url, AuthError> {
    let callback = &config.callback;
    if let Some(uri) = &callback.redirect_uri {
        return Ok(uri.clone());
    }
    let uri = format!("http://{}:{port}{}", callback.host, callback.path);
    Url::parse(&uri)
        .map_err(|error| AuthError::Configuration(format!("{uri} is no redirect URI: {error}")))
}
