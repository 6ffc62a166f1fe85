//! Flags about custom headers.

use std::fs;
use std::path::PathBuf;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use super::environment::{
    Environment, Piece, ProcessEnvironment, expand, foreign_reference, pieces,
};
use super::error::{ConfigError, FlagError, names_variable};
use mcp_bridge_auth::{HeaderPiece, SecretHeader, SecretName, TokenCommand};
use mcp_bridge_net::http::{is_reserved_header, user_header_value};
use mcp_bridge_net::setting::Setting;
use mcp_bridge_text::secret::Secret;

/// The variable with headers, for apps whose settings become environment variables.
const HEADER_VARIABLE: &str = "MCP_BRIDGE_HEADER";

/// Headers of the user's own.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Server")]
pub(super) struct HeaderFlags {
    /// Send a header; ${NAME} is a variable, {keychain:NAME} a kept secret
    #[arg(long, value_name = "NAME: VALUE")]
    pub(super) header: Vec<String>,

    /// Send a header whose value is in an environment variable
    #[arg(long, value_name = "NAME=VAR")]
    header_env: Vec<String>,

    /// Read headers from a file, one per line
    #[arg(long, value_name = "PATH")]
    header_file: Vec<PathBuf>,

    /// Send the headers that this command prints; it runs again when they expire or are refused
    #[arg(long, value_name = "COMMAND")]
    header_command: Option<String>,

    /// Send the token in this variable, without a sign-in
    #[arg(long, value_name = "VAR")]
    bearer_env: Option<String>,
}

/// The headers that the flags mean.
#[derive(Debug, Default)]
pub(super) struct Headers {
    pub(super) map: HeaderMap,
    /// Those with secrets of the keychain, which is not read yet.
    pub(super) secret: Vec<SecretHeader>,
    /// Names of headers that were left out, because the bridge sets them itself.
    pub(super) left_out: Vec<HeaderName>,
    /// Names of headers that are sent with a reference to a variable as it stands, and the reference.
    pub(super) unexpanded: Vec<(HeaderName, String)>,
    /// The program that prints further ones.
    pub(super) program: Option<TokenCommand>,
    /// Those of `--header` and the files before variables are filled in.
    pub(super) as_given: Vec<(String, String)>,
}

/// Error of a header. The value is never part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// There is no colon, so there is no telling the name from a secret value.
    #[error("a header has to be written as 'Name: value'")]
    NoColon,
    /// There is no sign of equality between the header's name and the variable's.
    #[error("--header-env has to be written as NAME=VAR")]
    NoVariable,
    /// RFC 9110 §5.1.
    #[error("{0:?} is not a legal header name")]
    Name(String),
    /// RFC 9110 §5.5; the bridge also refuses what is not ASCII.
    #[error("the value of the header {0} has characters that a header may not have")]
    Value(HeaderName),
    /// A reference to a secret that no secret can be called by.
    #[error("the header {0} refers to a secret by a name that none can have")]
    SecretName(HeaderName),
    /// A variable that is not set.
    #[error("the header {header} needs the environment variable {variable}, which is not set")]
    Variable {
        /// The header's name.
        header: HeaderName,
        /// The variable's name.
        variable: String,
    },
}

impl HeaderFlags {
    /// The headers: of one name the last one counts, a flag more than a file, and a file more than the variable.
    pub(super) fn read(&self) -> Result<Headers, ConfigError> {
        self.read_in(&ProcessEnvironment)
    }

    /// The same in another environment.
    pub(super) fn read_in(&self, environment: &impl Environment) -> Result<Headers, ConfigError> {
        let mut headers = Headers::default();
        if let Some(text) = environment.variable(HEADER_VARIABLE) {
            headers.add_lines(&text, environment)?;
        }
        for path in &self.header_file {
            let text = fs::read_to_string(path).map_err(|error| ConfigError::File {
                path: path.clone(),
                error,
            })?;
            headers.add_lines(&text, environment)?;
        }
        for text in &self.header {
            headers.add(text, environment)?;
        }
        for text in &self.header_env {
            let (name, variable) = text.split_once('=').ok_or(HeaderError::NoVariable)?;
            if !names_variable(variable) && environment.variable(variable).is_none() {
                return Err(HeaderError::NoVariable.into());
            }
            headers.insert(name, &format!("${{{variable}}}"), environment)?;
        }
        if let Some(line) = &self.header_command {
            let command = TokenCommand::parse(line, Setting::HeaderCommand);
            let command =
                command.map_err(|error| FlagError::new("--header-command", error.to_string()));
            headers.program = Some(command?);
        }
        if let Some(variable) = &self.bearer_env {
            let token = environment
                .variable(variable)
                .ok_or_else(|| ConfigError::unset("--bearer-env", variable))?;
            let token = token.trim();
            // Some keep the scheme in the variable, as in that of a `--header`.
            let token = token.strip_prefix("Bearer ").unwrap_or(token);
            let value = value(&AUTHORIZATION, &format!("Bearer {token}"))?;
            headers.put(AUTHORIZATION, value);
        }
        Ok(headers)
    }
}

impl Headers {
    /// Adds one header, as it stands on the command line or in a file.
    fn add(&mut self, text: &str, environment: &impl Environment) -> Result<(), HeaderError> {
        let (name, value) = text.split_once(':').ok_or(HeaderError::NoColon)?;
        let as_given = (name.to_owned(), value.trim_start().to_owned());
        self.as_given.push(as_given);
        self.insert(name, value, environment)
    }

    /// Adds one header, with `${NAME}` in its value replaced by the environment variable.
    fn insert(
        &mut self,
        name: &str,
        text: &str,
        environment: &impl Environment,
    ) -> Result<(), HeaderError> {
        let name = name.trim();
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| HeaderError::Name(name.to_owned()))?;
        if let Some(reference) = foreign_reference(text) {
            self.unexpanded.push((name.clone(), reference.to_owned()));
        }
        let pieces = filled_in(&name, text.trim(), environment)?;
        let texts = pieces.iter().filter_map(|piece| match piece {
            HeaderPiece::Text(text) => Some(text.expose().as_str()),
            HeaderPiece::Named(_) => None,
        });
        let value = value(&name, &texts.collect::<String>())?;
        let needs_secret = pieces.iter().any(|it| matches!(it, HeaderPiece::Named(_)));
        if is_reserved_header(&name) {
            self.left_out.push(name);
        } else if needs_secret {
            self.remove(&name);
            let value = pieces;
            self.secret.push(SecretHeader { name, value });
        } else {
            self.put(name, value);
        }
        Ok(())
    }

    fn put(&mut self, name: HeaderName, value: HeaderValue) {
        self.remove(&name);
        self.map.insert(name, value);
    }

    /// Removes the header of this name. True if there was one.
    pub(super) fn remove(&mut self, name: &HeaderName) -> bool {
        let before = self.map.len() + self.secret.len();
        self.map.remove(name);
        self.secret.retain(|header| header.name != *name);
        self.map.len() + self.secret.len() < before
    }

    /// True if there is a header of this name.
    pub(super) fn contains(&self, name: &HeaderName) -> bool {
        self.map.contains_key(name) || self.secret.iter().any(|header| header.name == *name)
    }

    /// Adds the lines of a header file: a header each, blank lines and `#` comments left out.
    fn add_lines(&mut self, text: &str, environment: &impl Environment) -> Result<(), HeaderError> {
        let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            self.add(line, environment)?;
        }
        Ok(())
    }

    /// Those that may tell one account at the server from another.
    pub(super) fn identity(&self) -> Secret<Vec<(String, String)>> {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let pairs = self.map.iter();
        let pairs = pairs.map(|(name, value)| (name.to_string(), text(value)));
        // The secret may be locked away, and replaced; its name stands for it.
        let secret = self.secret.iter().map(|header| {
            let pieces = header.value.iter().map(|piece| match piece {
                HeaderPiece::Text(text) => text.expose().clone(),
                HeaderPiece::Named(name) => format!("{{keychain:{name}}}"),
            });
            (header.name.to_string(), pieces.collect())
        });
        // Its headers change; the command stands for them.
        let program = self.program.iter();
        let program = program.map(|it| ("header-command".to_owned(), it.fingerprint()));
        Secret::new(pairs.chain(secret).chain(program).collect())
    }
}

/// The value of a header with the variables that it refers to, and the names of its secrets.
fn filled_in(
    header: &HeaderName,
    text: &str,
    environment: &impl Environment,
) -> Result<Vec<HeaderPiece>, HeaderError> {
    let mut value = Vec::new();
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => {
                let expanded = expand(text, environment, |value| value);
                let expanded = expanded.map_err(|variable| HeaderError::Variable {
                    header: header.clone(),
                    variable,
                })?;
                value.push(HeaderPiece::Text(Secret::new(expanded)));
            }
            Piece::Secret(name) => {
                let name: Result<SecretName, _> = name.parse();
                let name = name.map_err(|_| HeaderError::SecretName(header.clone()))?;
                value.push(HeaderPiece::Named(name));
            }
        }
    }
    Ok(value)
}

fn value(name: &HeaderName, text: &str) -> Result<HeaderValue, HeaderError> {
    user_header_value(text).ok_or_else(|| HeaderError::Value(name.clone()))
}

#[cfg(test)]
mod tests {
    use super::super::environment::fixed::Fixed;
    use super::*;

    fn parse(text: &str) -> Result<Headers, HeaderError> {
        let mut headers = Headers::default();
        headers.add(text, &Fixed::new(&[]))?;
        Ok(headers)
    }

    #[test]
    fn a_header_is_a_name_and_a_value() {
        for text in ["X-Key: secret", "X-Key:secret", " X-Key :  secret "] {
            let headers = parse(text).unwrap();
            assert_eq!(headers.map["x-key"], "secret");
            assert!(headers.map["x-key"].is_sensitive());
        }
        assert!(parse("X.Y: v").unwrap().map.contains_key("x.y"));
    }

    ///
    #[test]
    fn a_secret_of_the_keychain_is_left_for_the_first_request() {
        let environment = Fixed::new(&[("B", "{keychain:key}")]);
        let read = |lines: &str| {
            let mut headers = Headers::default();
            headers.add_lines(lines, &environment).map(|()| headers)
        };
        let headers = read("X-Key: <{keychain:key}>").unwrap();
        assert!(headers.map.is_empty());
        let [SecretHeader { name, value }] = &headers.secret[..] else {
            panic!("{headers:?}");
        };
        assert_eq!(name, "x-key");
        assert!(matches!(&value[1], HeaderPiece::Named(name) if name.to_string() == "key"));
        let identity = [("x-key".to_owned(), "<{keychain:key}>".to_owned())];
        assert_eq!(headers.identity().expose()[..], identity);
        // What a variable holds is no reference.
        assert_eq!(read("X-Key: ${B}").unwrap().map["x-key"], "{keychain:key}");
        assert_eq!(
            read("X-Key: {keychain:").unwrap().map["x-key"],
            "{keychain:"
        );
        let header = HeaderName::from_static("x-key");
        assert_eq!(
            read("X-Key: {keychain:a b}").unwrap_err(),
            HeaderError::SecretName(header)
        );
        // The last one counts.
        let headers = read("X-Key: 1\nX-Key: {keychain:a}").unwrap();
        assert!(headers.map.is_empty() && headers.secret.len() == 1);
        let headers = read("X-Key: {keychain:a}\nX-Key: 1").unwrap();
        assert!(headers.secret.is_empty() && headers.map.len() == 1);
    }

    #[test]
    fn what_the_bridge_sets_itself_is_left_out() {
        for text in [
            "Mcp-Session-Id: 1",
            "content-type: text/plain",
            "ACCEPT: */*",
        ] {
            let headers = parse(text).unwrap();
            assert!(headers.map.is_empty());
            assert_eq!(headers.left_out.len(), 1);
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_value() {
        for (text, expected) in [
            ("Bearer hunter2", HeaderError::NoColon),
            (": hunter2", HeaderError::Name(String::new())),
            ("a b: hunter2", HeaderError::Name("a b".to_owned())),
            (
                "X-Key: hunter2\r\nEvil: 1",
                HeaderError::Value(HeaderName::from_static("x-key")),
            ),
            (
                "X-Key: hünter2",
                HeaderError::Value(HeaderName::from_static("x-key")),
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error, expected);
            assert!(
                !error.to_string().contains("hunter2") && !error.to_string().contains("hünter2")
            );
        }
    }

    #[test]
    fn the_variable_with_headers_counts_less_than_a_flag() {
        let flags = HeaderFlags {
            header: vec!["X-A: flag".to_owned()],
            header_env: Vec::new(),
            header_file: Vec::new(),
            header_command: None,
            bearer_env: None,
        };
        for (text, expected) in [
            ("X-A: variable\nX-B: variable", Some("variable")),
            ("X-A: variable", None),
            ("", None),
        ] {
            let headers = flags
                .read_in(&Fixed::new(&[(HEADER_VARIABLE, text)]))
                .unwrap();
            assert_eq!(headers.map["x-a"], "flag");
            assert_eq!(
                headers.map.get("x-b").map(|it| it.to_str().unwrap()),
                expected
            );
        }
    }

    #[test]
    fn a_file_has_a_header_a_line_and_the_last_one_counts() {
        let mut headers = Headers::default();
        let text = "\u{feff}# keys\r\nX-A: 1\r\n\r\nX-B: ${B}\nX-A: 3\n";
        headers.add_lines(text, &Fixed::new(&[("B", "2")])).unwrap();
        assert_eq!(
            (headers.map.len(), &headers.map["x-a"]),
            (2, &"3".parse().unwrap())
        );
        assert_eq!(headers.map["x-b"], "2");
    }
}
