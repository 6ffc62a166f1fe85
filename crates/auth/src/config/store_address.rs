//! Address of a store that several machines share.

use std::fmt;
use std::path::PathBuf;

use url::Url;

use mcp_bridge_text::secret::Secret;

/// Prefix of keys, unless the address has another one.
const PREFIX: &str = "mcp-bridge:";

/// Longest prefix of keys, in bytes.
const LONGEST_PREFIX: usize = 100;

/// Address of a store that several machines share: `redis://` or `rediss://` with user, password, host, port and database as
/// clients of Redis have it, and `prefix` (of keys) and `ca` (a file of certificates) in the query.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreAddress {
    url: Secret<Url>,
    prefix: String,
    authority: Option<PathBuf>,
}

/// Text that is no address of a store. It is not repeated, since it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreAddressError {
    /// It is no URL of Redis.
    #[error("is no address like redis://host:6379/0 or rediss://host")]
    Form,
    /// A part of the query is unknown.
    #[error("has something in its query beside prefix and ca")]
    Query,
    /// The prefix cannot be used.
    #[error("has a prefix that is too long, or has braces or control characters")]
    Prefix,
    /// This program was built without the client.
    #[error("cannot be used: this program was built without the feature `redis`")]
    NotBuilt,
}

impl StoreAddress {
    /// True if `text` begins as an address does.
    #[must_use]
    pub fn is_meant_by(text: &str) -> bool {
        let schemes = ["redis:", "rediss:", "redis+unix:"];
        schemes.iter().any(|scheme| text.starts_with(scheme))
    }

    /// Reads an address. Connects to nothing.
    pub fn parse(text: &str) -> Result<Self, StoreAddressError> {
        if cfg!(not(feature = "redis")) {
            return Err(StoreAddressError::NotBuilt);
        }
        let mut url = Url::parse(text.trim()).map_err(|_| StoreAddressError::Form)?;
        if !Self::is_meant_by(url.as_str()) || url.fragment().is_some() {
            return Err(StoreAddressError::Form);
        }
        let is_socket = url.scheme() == "redis+unix";
        let mut prefix = PREFIX.to_owned();
        let mut authority = None;
        let mut rest = Vec::new();
        for (name, value) in url.query_pairs() {
            match &*name {
                "prefix" => prefix = value.into_owned(),
                "ca" => authority = Some(PathBuf::from(&*value)),
                "db" | "user" | "pass" if is_socket => rest.push((name.into(), value.into())),
                _ => return Err(StoreAddressError::Query),
            }
        }
        let is_plain = |char: char| !char.is_control() && !matches!(char, '{' | '}');
        if prefix.len() > LONGEST_PREFIX || !prefix.chars().all(is_plain) {
            return Err(StoreAddressError::Prefix);
        }
        url.set_query(None);
        if !rest.is_empty() {
            let rest: Vec<(String, String)> = rest;
            url.query_pairs_mut().extend_pairs(rest);
        }
        let has_place = is_socket || url.host_str().is_some_and(|host| !host.is_empty());
        let database = url.path().trim_start_matches('/');
        let is_number = database.is_empty() || database.parse::<u16>().is_ok();
        if !has_place || !(is_socket || is_number) {
            return Err(StoreAddressError::Form);
        }
        Ok(Self {
            url: Secret::new(url),
            prefix,
            authority,
        })
    }

    /// True if the address holds a password.
    #[must_use]
    pub fn has_password(&self) -> bool {
        let url = self.url.expose();
        url.password().is_some() || url.query_pairs().any(|(name, _)| name == "pass")
    }

    /// The address as clients of Redis have it.
    #[cfg_attr(
        not(feature = "redis"),
        expect(dead_code, reason = "only the client needs it")
    )]
    pub(crate) fn url(&self) -> &Secret<Url> {
        &self.url
    }

    /// Prefix of all keys.
    #[cfg_attr(
        not(feature = "redis"),
        expect(dead_code, reason = "only the client needs it")
    )]
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// File with the certificates of those who vouch for the server; none for those of the system.
    #[cfg_attr(
        not(feature = "redis"),
        expect(dead_code, reason = "only the client needs it")
    )]
    pub(crate) fn authority(&self) -> Option<&PathBuf> {
        self.authority.as_ref()
    }
}

/// Without user, password and query, for people.
impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.url.expose().clone();
        let _ = shown.set_password(None);
        let _ = shown.set_username("");
        shown.set_query(None);
        if self.prefix != PREFIX {
            shown.query_pairs_mut().append_pair("prefix", &self.prefix);
        }
        write!(f, "{shown}")
    }
}

impl fmt::Debug for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreAddress({self})")
    }
}

#[cfg(all(test, feature = "redis"))]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        let check = |text: &str, shown: &str, has_password: bool| {
            let address = StoreAddress::parse(text).unwrap();
            assert_eq!(address.to_string(), shown);
            assert_eq!(address.has_password(), has_password, "{shown}");
            assert!(!format!("{address:?}").contains("hunter2"));
        };
        check("redis://h", "redis://h", false);
        check("rediss://u:hunter2@h:1/2", "rediss://h:1/2", true);
        check("redis://h?prefix=a%3A", "redis://h?prefix=a%3A", false);
        check("redis+unix:///s?pass=hunter2", "redis+unix:///s", true);
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_repeated() {
        for text in [
            "http://h",
            "redis:",
            "redis://h/x",
            "redis://h#insecure",
            "redis://h?prefix={a}",
            "redis://h?db=1",
            "hunter2",
        ] {
            let error = StoreAddress::parse(text).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{text}: {error}");
        }
    }
}
