//! Errors for invalid or contradictory flags.

use std::path::PathBuf;

use super::header::HeaderError;
use mcp_bridge_net::http::Pkcs12Error;

/// Flags that cannot be meant as they were typed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The URL cannot be read.
    #[error("the server's URL is not valid: {0}")]
    Url(#[from] url::ParseError),
    /// The URL is one that no request may go to.
    #[error("the server's URL {0}")]
    UrlPart(&'static str),
    /// It does not begin as a URL of a server does.
    #[error("the server's URL has to begin with https:// or http://{}", .meant.as_ref().map(|url| format!(": did you mean {url}?")).unwrap_or_default())]
    Scheme {
        /// The likely intention.
        meant: Option<url::Url>,
    },
    /// Plain HTTP to another machine.
    #[error("http:// to {0} would send everything, including tokens, unencrypted")]
    PlainHttp(String),
    /// A header.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The value of a flag.
    #[error(transparent)]
    Flag(#[from] FlagError),
    /// A flag names an environment variable that is not there.
    #[error("{flag} needs the environment variable {variable}, which is not set")]
    Unset {
        /// The flag as the user writes it.
        flag: &'static str,
        /// The variable's name.
        variable: String,
    },
    /// A file that should hold certificates.
    #[error("{path} is not a PEM file with what it should hold", path = .0.display())]
    NotPem(PathBuf),
    /// A file that should hold a client certificate with its key.
    #[error("{path} {error}", path = .path.display())]
    Pkcs12 {
        /// The file.
        path: PathBuf,
        /// Its defect.
        error: Pkcs12Error,
    },
    /// A file that is named by a flag.
    #[error("cannot read {path}: {error}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        error: std::io::Error,
    },
}

/// Returns whether a text is the name of a variable, and not, by mistake, the secret that should be in one.
pub(super) fn names_variable(text: &str) -> bool {
    let is_short = text.chars().count() <= LONGEST_SMALL_NAME;
    let is_loud = !text.contains(|letter: char| letter.is_lowercase());
    is_name(text) && (is_loud || is_short)
}

/// The longest name of a variable in small letters; what is longer may be a secret in its place, in characters.
const LONGEST_SMALL_NAME: usize = 15;

impl ConfigError {
    /// A flag names a variable that is not there. What looks like the secret itself is not shown.
    pub(super) fn unset(flag: &'static str, variable: &str) -> Self {
        if names_variable(variable) {
            let variable = variable.to_owned();
            return Self::Unset { flag, variable };
        }
        let problem = "takes the name of an environment variable, and not what is in it";
        FlagError::new(flag, problem).into()
    }

    /// Advice for the user.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Url(_) | Self::UrlPart(_) | Self::Scheme { .. } => {
                "it looks like https://mcp.example.com/mcp"
            }
            Self::PlainHttp(_) => "use https://, or pass --allow-http if the network is yours",
            Self::Header(HeaderError::Variable { variable, .. }) if !is_name(variable) => {
                "write ${NAME} for an environment variable"
            }
            Self::Header(HeaderError::Variable { .. }) | Self::Unset { .. } => {
                "set it in the \"env\" block of the app's configuration"
            }
            Self::Header(_) => "mcp-bridge help server shows how headers are written",
            Self::Flag(_) => "mcp-bridge help all shows what each option takes",
            Self::NotPem(_) => "it has to hold a block that begins with -----BEGIN",
            Self::Pkcs12 {
                error: Pkcs12Error::WrongPassword,
                ..
            } => {
                "pass its password: --client-cert-password-env VARIABLE, or --client-cert-password-file PATH"
            }
            Self::Pkcs12 { .. } => {
                "export the certificate with its private key as .p12 or .pfx, or pass PEM files: --client-cert and \
                 --client-key"
            }
            Self::File { .. } => "check the path, and who may read it",
        }
    }
}

/// True if an environment variable can have that name in each shell.
fn is_name(variable: &str) -> bool {
    let mut letters = variable.chars();
    letters.all(|letter| letter == '_' || letter.is_ascii_alphanumeric())
}

/// Invalid value of a flag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{flag}: {problem}")]
pub struct FlagError {
    /// The flag as the user writes it.
    pub flag: &'static str,
    /// The problem.
    pub problem: String,
}

impl FlagError {
    /// A flag, and what is wrong with it.
    pub(super) fn new(flag: &'static str, problem: impl Into<String>) -> Self {
        Self {
            flag,
            problem: problem.into(),
        }
    }
}
