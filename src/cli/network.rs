//! The flags about the network.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use url::Url;

use super::config::{ConfigError, Seconds};
use crate::http::{Family, Identity, Options, Roots};

/// Certificates that Node programs are told to trust; honoured so that a configuration for one of
/// them serves unchanged.
const NODE_EXTRA_CA_CERTS: &str = "NODE_EXTRA_CA_CERTS";

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Network")]
pub(super) struct NetworkFlags {
    /// How long a connection may take to come up
    #[arg(long, value_name = "SECONDS", default_value = "10")]
    connect_timeout: Seconds,

    /// Go through this proxy (http, https, socks5), instead of what `HTTPS_PROXY` and `NO_PROXY` say
    #[arg(long, value_name = "URL")]
    proxy: Option<Url>,

    /// Trust the certification authorities in this PEM file as well
    #[arg(long, value_name = "PATH")]
    ca_cert: Vec<PathBuf>,

    /// The client certificate for a server that asks for one: a PEM file
    #[arg(long, value_name = "PATH", requires = "client_key")]
    client_cert: Option<PathBuf>,

    /// The key of the client certificate: a PEM file
    #[arg(long, value_name = "PATH", requires = "client_cert")]
    client_key: Option<PathBuf>,

    /// Connect by IPv4 only
    #[arg(long)]
    ipv4: bool,
}

impl NetworkFlags {
    pub(super) fn options(&self) -> Result<Options, ConfigError> {
        let from_node = env::var_os(NODE_EXTRA_CA_CERTS).map(PathBuf::from);
        let mut extra_roots = Vec::new();
        for path in self.ca_cert.iter().chain(&from_node) {
            extra_roots.push(Roots::from_pem(read(path)?).map_err(|_| not_pem(path))?);
        }
        Ok(Options {
            connect_timeout: self.connect_timeout.0,
            proxy: self.proxy.clone(),
            extra_roots,
            identity: self.identity()?,
            family: if self.ipv4 { Family::Ipv4 } else { Family::Any },
        })
    }

    fn identity(&self) -> Result<Option<Identity>, ConfigError> {
        let (Some(certificate), Some(key)) = (&self.client_cert, &self.client_key) else {
            return Ok(None);
        };
        let identity = Identity::from_pem(&read(certificate)?, &read(key)?);
        Ok(Some(identity.map_err(|_| not_pem(certificate))?))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    fs::read(path).map_err(|error| ConfigError::File {
        path: path.to_owned(),
        error,
    })
}

fn not_pem(path: &Path) -> ConfigError {
    ConfigError::NotPem(path.to_owned())
}
