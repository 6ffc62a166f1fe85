//! What users of npm `mcp-remote` bring along: callback ports that they registered, and credentials.

use md5::{Digest, Md5};
use url::Url;

use super::config::{Config, Grant, ResourceParameter};

/// The first port that it derives, and how many there are.
const FIRST_PORT: u16 = 3335;
const PORTS: u16 = 45_816;

/// The hash under which it keeps what belongs to one server.
pub(super) fn server_hash(server: &Url, config: &Config) -> String {
    let mut parts = vec![
        config
            .server_as_given
            .clone()
            .unwrap_or_else(|| server.to_string()),
    ];
    if let ResourceParameter::Fixed(resource) = &config.resource {
        parts.push(resource.clone());
    }
    let pairs = |pairs: &[(String, String)]| {
        let object: serde_json::Map<_, _> = pairs
            .iter()
            .map(|(name, value)| (name.clone(), value.clone().into()))
            .collect();
        serde_json::Value::Object(object).to_string()
    };
    for given in [&config.authorize_params, &config.identity_headers] {
        if !given.is_empty() {
            parts.push(pairs(given));
        }
    }
    if let Some(url) = &config.client_metadata_url {
        parts.push(url.to_string());
    }
    if let Grant::ClientCredentials {
        token_endpoint: Some(url),
    } = &config.grant
    {
        parts.push(url.to_string());
    }
    format!("{:x}", Md5::digest(parts.join("|")))
}

/// The callback port that it derives for a server, so that a redirect URI registered for it stays right.
pub(super) fn callback_port(server: &Url, config: &Config) -> u16 {
    let digits = &server_hash(server, config)[..4];
    let number = u16::from_str_radix(digits, 16).unwrap_or_default();
    FIRST_PORT + number % PORTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callback_port_of_a_server_is_the_one_that_mcp_remote_uses() {
        let check = |server: &str, port: u16| {
            let server = Url::parse(server).unwrap();
            assert_eq!(callback_port(&server, &Config::default()), port);
        };
        check("https://mcp.atlassian.com/v1/mcp", 3736);
        check("https://mcp.linear.app/mcp", 22227);
        check("https://mcp.notion.com/mcp", 9553);
    }
}
