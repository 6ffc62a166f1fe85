//! Flags about proxies, certificates and timeouts.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use url::Url;

use super::config::Seconds;
use super::environment::{Environment as _, ProcessEnvironment};
use super::error::{ConfigError, FlagError};
use mcp_bridge_net::http::{Family, Identity, Names, Options, Roots};
use mcp_bridge_net::observer::Observation;

/// Certificates that Node programs are told to trust; honoured so that a configuration for one of
/// them serves unchanged.
const NODE_EXTRA_CA_CERTS: &str = "NODE_EXTRA_CA_CERTS";

/// Default limit for connecting.
const CONNECT_TIMEOUT: Seconds = Seconds::of(10);

#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Network")]
pub(super) struct NetworkFlags {
    /// Time that connecting may take
    #[arg(long, value_name = "SECONDS", default_value_t = CONNECT_TIMEOUT)]
    connect_timeout: Seconds,

    /// Use this proxy (http, https, socks5) instead of the environment's
    #[arg(long, value_name = "URL")]
    proxy: Option<Url>,

    /// Also trust the certificate authorities in this PEM file
    #[arg(long, value_name = "PATH")]
    ca_cert: Vec<PathBuf>,

    /// The client certificate for a server that asks for one: a PEM file, or PKCS #12 (.p12, .pfx) with its key
    #[arg(long, value_name = "PATH")]
    client_cert: Option<PathBuf>,

    /// The password of the PKCS #12 file is in this environment variable
    #[arg(long, value_name = "VAR", requires = "client_cert")]
    client_cert_password_env: Option<String>,

    /// The password of the PKCS #12 file is in this file
    #[arg(
        long,
        value_name = "PATH",
        requires = "client_cert",
        conflicts_with = "client_cert_password_env"
    )]
    client_cert_password_file: Option<PathBuf>,

    /// The key of a client certificate in a PEM file: a PEM file
    #[arg(long, value_name = "PATH", requires = "client_cert")]
    client_key: Option<PathBuf>,

    /// Also present the client certificate to this origin, such as the provider's; the server always gets it
    #[arg(long, value_name = "URL", requires = "client_cert")]
    client_cert_origin: Vec<Url>,

    /// Connect by IPv4 only
    #[arg(long)]
    ipv4: bool,

    /// No effect: the environment's proxies are always used. For configurations of npm mcp-remote
    #[arg(long)]
    enable_proxy: bool,
}

impl NetworkFlags {
    /// Those of a command line without any.
    pub(super) fn of_nothing() -> Self {
        Self {
            connect_timeout: CONNECT_TIMEOUT,
            ..Self::default()
        }
    }

    /// The network as the flags want it, for the server at `server`. What else there is to say goes to `notes`.
    pub(super) fn options(
        &self,
        server: &Url,
        notes: &mut Vec<String>,
    ) -> Result<Options, ConfigError> {
        let mut extra_roots = Vec::new();
        for path in &self.ca_cert {
            extra_roots.push(roots(path)?);
        }
        let from_node = env::var_os(NODE_EXTRA_CA_CERTS).filter(|path| !path.is_empty());
        match from_node.map(|path| roots(Path::new(&path))) {
            Some(Ok(roots)) => extra_roots.push(roots),
            // Meant for other programs, and those only warn of it.
            Some(Err(error)) => notes.push(format!("{NODE_EXTRA_CA_CERTS} is of no use: {error}")),
            None => {}
        }
        Ok(Options {
            connect_timeout: self.connect_timeout.0,
            proxy: self.proxy.clone(),
            extra_roots,
            identity: self.identity(server)?,
            family: if self.ipv4 { Family::Ipv4 } else { Family::Any },
            names: Names::of_system(),
            observation: Observation::default(),
        })
    }

    fn identity(&self, server: &Url) -> Result<Option<Identity>, ConfigError> {
        let Some(path) = &self.client_cert else {
            return Ok(None);
        };
        let origins = self.client_cert_origin.iter().chain([server]);
        let origins = origins.map(Url::origin).collect();
        let certificate = read(path)?;
        let identity = match (&self.client_key, is_pem(&certificate)) {
            (Some(key), true) => {
                Identity::from_pem(&certificate, &read(key)?, origins).map_err(|_| not_pem(path))?
            }
            (None, true) => {
                let problem = "is a PEM file, so its key has to be given by --client-key";
                return Err(FlagError::new("--client-cert", problem).into());
            }
            (None, false) => {
                let password = self.password()?;
                Identity::from_pkcs12(&certificate, &password, origins).map_err(|error| {
                    ConfigError::Pkcs12 {
                        path: path.clone(),
                        error,
                    }
                })?
            }
            (Some(_), false) => return Err(not_pem(path)),
        };
        Ok(Some(identity))
    }

    /// The password of the PKCS #12 file; an empty one if none is named.
    fn password(&self) -> Result<String, ConfigError> {
        const FLAG: &str = "--client-cert-password-env";
        match (
            &self.client_cert_password_env,
            &self.client_cert_password_file,
        ) {
            (Some(variable), _) => ProcessEnvironment
                .variable(variable)
                .ok_or_else(|| ConfigError::unset(FLAG, variable)),
            (None, Some(path)) => {
                let text = String::from_utf8_lossy(&read(path)?).into_owned();
                Ok(text.trim_end_matches(['\r', '\n']).to_owned())
            }
            (None, None) => Ok(String::new()),
        }
    }
}

/// True if a file is a text with blocks, and not a PKCS #12 file.
fn is_pem(file: &[u8]) -> bool {
    const BEGIN: &[u8] = b"-----BEGIN";
    file.windows(BEGIN.len()).any(|part| part == BEGIN)
}

fn roots(path: &Path) -> Result<Roots, ConfigError> {
    Roots::from_pem(read(path)?).map_err(|_| not_pem(path))
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        network: NetworkFlags,
    }

    #[test]
    fn the_client_certificate_is_for_the_server_and_for_origins_that_are_named() {
        let file = |name: &str| {
            let directory = env!("CARGO_MANIFEST_DIR");
            format!("{directory}/tests/integration/certificates/{name}")
        };
        let (cert, key) = (file("good.pem"), file("server.key"));
        let flags = ["", "--client-cert", &cert, "--client-key", &key];
        let origin = ["--client-cert-origin", "https://as.example/any"];
        let shown = |line: &[&str], to: &str| {
            let server = Url::parse("https://x.example/mcp").unwrap();
            let network = Line::try_parse_from(line).unwrap().network;
            let options = network.options(&server, &mut Vec::new()).unwrap();
            options.shows_identity_to(&Url::parse(to).unwrap())
        };
        for (to, by_default, with_origin) in [
            ("https://x.example/token", true, true),
            ("https://x.example:8443/", false, false),
            ("https://sub.x.example/", false, false),
            ("http://x.example/", false, false),
            ("https://as.example/token", false, true),
            ("https://other.example/", false, false),
        ] {
            assert_eq!(shown(&flags, to), by_default, "{to}");
            let named = [&flags[..], &origin].concat();
            assert_eq!(shown(&named, to), with_origin, "{to}");
        }
        assert!(Line::try_parse_from([&[""][..], &origin].concat()).is_err());
    }
}
