//! Sign-in account that a command line leads to, for flags that another process will be started with.

use reqwest::header::AUTHORIZATION;
use url::Url;

use super::Flags;
use super::config::server_url;
use super::environment::Environment;
use super::header::Headers;
use mcp_bridge_auth as auth;
use mcp_bridge_text::secret::Secret;

/// The way in that flags choose.
#[derive(Debug)]
pub enum SignInSource {
    /// Headers of the user's own, or a program that prints tokens.
    OfTheUser,
    /// The client signs in as itself.
    OfTheClient,
    /// A person signs in at this server.
    OfAPerson(Url, Box<auth::Config>),
}

/// The environment of a process that has not been started.
struct Foreign<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    /// Variables that will be set.
    promised: &'a [&'a str],
}

impl Environment for Foreign<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        let promised = || self.promised.contains(&name).then(|| "promised".to_owned());
        (self.variable)(name).or_else(promised)
    }
}

impl Flags {
    /// The way in. Variables that the flags name and `variable` does not know are taken for set. None where
    /// the flags cannot be used.
    #[must_use]
    pub fn sign_in(
        self,
        variable: &dyn Fn(&str) -> Option<String>,
        promised: &[&str],
    ) -> Option<SignInSource> {
        let environment = Foreign { variable, promised };
        let as_given = self.url?;
        let url = server_url(&as_given, self.connection.allow_http).ok()?;
        let headers: Headers = self.connection.headers.read_in(&environment).ok()?;
        let sign_in = self.connection.sign_in;
        let config = sign_in.config_in(&environment, self.callback_port).ok()?;
        if config.command.is_some() || headers.contains(&AUTHORIZATION) {
            return Some(SignInSource::OfTheUser);
        }
        match config.grant {
            auth::Grant::ClientCredentials { .. }
            | auth::Grant::JwtBearer { .. }
            | auth::Grant::TokenExchange { .. } => return Some(SignInSource::OfTheClient),
            auth::Grant::AuthorizationCode
            | auth::Grant::DeviceCode
            | auth::Grant::EnterpriseManaged(_) => {}
        }
        let config = auth::Config {
            identity_headers: headers.identity(),
            headers_as_given: Secret::new(headers.as_given),
            server_as_given: Some(as_given),
            ..config
        };
        Some(SignInSource::OfAPerson(url, Box::new(config)))
    }
}
