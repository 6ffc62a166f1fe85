//! Warnings about secrets that stand on the command line.

use super::Flags;
use super::environment::names_secret;

/// Names of headers that carry credentials.
const NAMES_OF_SECRETS: [&str; 7] = [
    "auth",
    "cookie",
    "key",
    "password",
    "secret",
    "signature",
    "token",
];

/// A secret that whoever sees the command line sees as well, with what to do instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlainSecret {
    /// `--header 'Authorization: Bearer …'`
    #[error(
        "the value of the header {0} will stand in the file for everybody to read who can read it; \
         --bearer-env VARIABLE takes it from the environment, --header '{0}: Bearer {{keychain:NAME}}' from the keychain \
         (mcp-bridge secret set NAME)"
    )]
    Bearer(String),
    /// A header whose name says that its value is a secret.
    #[error(
        "the value of the header {0} will stand in the file for everybody to read who can read it; \
         --header-env {0}=VARIABLE takes it from the environment, --header '{0}: {{keychain:NAME}}' from the keychain \
         (mcp-bridge secret set NAME)"
    )]
    Header(String),
    /// `--static-oauth-client-info '{"client_secret": …}'`
    #[error(
        "the client's secret will stand in the file for everybody to read who can read it; \
         --client-secret-env VARIABLE takes it from the environment"
    )]
    Client,
}

/// A secret in a header, in the parts of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderSecret<'a> {
    /// The header's name.
    pub name: &'a str,
    /// The scheme before the secret, with the space behind it, if there is one.
    pub scheme: &'a str,
    /// The secret.
    pub secret: &'a str,
}

impl<'a> HeaderSecret<'a> {
    /// The secret in the text of a `--header`, if there is one.
    #[must_use]
    pub fn in_header(text: &'a str) -> Option<Self> {
        of_header(text)?;
        let (name, value) = text.split_once(':')?;
        let (name, value) = (name.trim(), value.trim());
        // One word is no scheme.
        let end = value.find(' ').map_or(0, |at| at + 1);
        let (scheme, secret) = value.split_at(end);
        Some(Self {
            name,
            scheme,
            secret: secret.trim(),
        })
    }
}

impl Flags {
    /// The secrets among the flags that are not taken from the environment or a file.
    #[must_use]
    pub fn plain_secrets(&self) -> Vec<PlainSecret> {
        let headers = self.connection.headers.header.iter();
        let mut secrets: Vec<_> = headers.filter_map(|text| of_header(text)).collect();
        if self.connection.sign_in.has_plain_client_secret() {
            secrets.push(PlainSecret::Client);
        }
        secrets
    }
}

fn of_header(text: &str) -> Option<PlainSecret> {
    let (name, value) = text.split_once(':')?;
    let (name, value) = (name.trim(), value.trim());
    let lower = name.to_ascii_lowercase();
    let is_secret = NAMES_OF_SECRETS.iter().any(|part| lower.contains(part));
    if !is_secret || value.is_empty() || value.contains("${") || names_secret(value) {
        return None;
    }
    let is_bearer = value
        .get(..7)
        .is_some_and(|it| it.eq_ignore_ascii_case("bearer "));
    Some(if lower == "authorization" && is_bearer {
        PlainSecret::Bearer(name.to_owned())
    } else {
        PlainSecret::Header(name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_in_a_header_is_noticed_and_not_repeated() {
        for (text, expected) in [
            (
                "Authorization: Bearer hunter2",
                Some(PlainSecret::Bearer("Authorization".into())),
            ),
            (
                "authorization:Basic hunter2",
                Some(PlainSecret::Header("authorization".into())),
            ),
            (
                "X-Api-Key: hunter2",
                Some(PlainSecret::Header("X-Api-Key".into())),
            ),
            ("Authorization: Bearer ${TOKEN}", None),
            ("Authorization: Bearer {keychain:token}", None),
            ("X-Tenant: acme", None),
            ("X-Api-Key:", None),
            ("nonsense", None),
        ] {
            let found = of_header(text);
            assert_eq!(found, expected, "{text}");
            assert!(!found.is_some_and(|found| found.to_string().contains("hunter2")));
        }
    }
}
