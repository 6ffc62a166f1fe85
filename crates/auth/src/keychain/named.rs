//! Secrets that a person has put into the keychain under a name, such as API keys for headers.

use std::fmt;
use std::str::FromStr;

use super::{Keychain, KeychainError, system};
use mcp_bridge_net::setting::Setting;
use mcp_bridge_text::secret::Secret;

/// Limit for the length of a name, in bytes: Windows has one for what is made of it.
const LONGEST_NAME: usize = 64;

/// Entry with the names, one a line: keychains cannot list what belongs to a program.
const NAMES: &str = "named secrets";

/// The largest secret that is taken, in bytes. Keys have some hundred, tokens a few thousand.
const LARGEST: usize = 16 * 1024;

/// Name of a secret: letters, digits, `-`, `_` and `.`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretName(String);

/// A text that no secret can be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name has letters, digits, `-`, `_` and `.`, and at most {LONGEST_NAME} of them")]
pub struct BadSecretName;

impl FromStr for SecretName {
    type Err = BadSecretName;

    fn from_str(text: &str) -> Result<Self, BadSecretName> {
        let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_short = (1..=LONGEST_NAME).contains(&text.len());
        if is_short && text.bytes().all(is_legal) {
            return Ok(Self(text.to_owned()));
        }
        Err(BadSecretName)
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl SecretName {
    fn entry(&self) -> String {
        format!("secret {self}")
    }
}

impl Keychain {
    /// The secret of this name; none if there is none. Blocks for as long as the keychain takes, within its limit.
    pub fn named(&self, name: &SecretName) -> Result<Option<Secret<String>>, KeychainError> {
        let Some(secret) = self.get(&name.entry())? else {
            return Ok(None);
        };
        let text = String::from_utf8(secret.expose().clone());
        text.map(|text| Some(Secret::new(text)))
            .map_err(|_| KeychainError::damaged())
    }

    /// Makes or replaces the secret of this name.
    pub fn set_named(
        &self,
        name: &SecretName,
        secret: &Secret<String>,
    ) -> Result<(), KeychainError> {
        let secret = secret.expose();
        if secret.len() > LARGEST {
            return Err(KeychainError(format!(
                "the secret has more than {LARGEST} bytes"
            )));
        }
        self.set(&name.entry(), secret.as_bytes())?;
        let mut names = self.names()?;
        if !names.contains(name) {
            names.push(name.clone());
            names.sort();
            self.set_names(&names)?;
        }
        Ok(())
    }

    /// Removes the secret of this name. False if there is none.
    pub fn delete_named(&self, name: &SecretName) -> Result<bool, KeychainError> {
        let is_there = self.get(&name.entry())?.is_some();
        self.delete(&name.entry())?;
        let mut names = self.names()?;
        names.retain(|known| known != name);
        self.set_names(&names)?;
        Ok(is_there)
    }

    /// The names of all such secrets.
    pub fn names(&self) -> Result<Vec<SecretName>, KeychainError> {
        let Some(names) = self.get(NAMES)? else {
            return Ok(Vec::new());
        };
        let names = String::from_utf8_lossy(names.expose()).into_owned();
        Ok(names.lines().filter_map(|name| name.parse().ok()).collect())
    }

    fn set_names(&self, names: &[SecretName]) -> Result<(), KeychainError> {
        if names.is_empty() {
            return self.delete(NAMES);
        }
        let lines: Vec<_> = names.iter().map(SecretName::to_string).collect();
        self.set(NAMES, lines.join("\n").as_bytes())
    }
}

impl KeychainError {
    /// Advice for a person whose secret of a name cannot be had.
    #[must_use]
    pub fn hint_for_named(&self) -> String {
        format!(
            "{}, or take the value from a variable: {} 'NAME: ${{VARIABLE}}'",
            system::HINT,
            Setting::Header
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::memory::MemoryVault;
    use super::super::{KeychainLimits, Vault};
    use super::*;

    fn name(text: &str) -> SecretName {
        text.parse().unwrap()
    }

    ///
    #[test]
    fn a_secret_is_there_under_its_name_until_it_is_deleted() {
        let limits = KeychainLimits {
            time: Duration::from_secs(30),
            size: 200,
        };
        let drawer = Arc::new(MemoryVault::default());
        let keychain = Keychain::new(Arc::clone(&drawer) as Arc<dyn Vault>, limits);
        let secret = |text: &str| Secret::new(text.to_owned());
        assert_eq!(keychain.named(&name("key")).unwrap(), None);
        let long = "k".repeat(1000);
        keychain.set_named(&name("key"), &secret("old")).unwrap();
        keychain.set_named(&name("key"), &secret(&long)).unwrap();
        keychain.set_named(&name("another"), &secret("k2")).unwrap();
        assert_eq!(keychain.named(&name("key")).unwrap(), Some(secret(&long)));
        assert_eq!(keychain.names().unwrap(), [name("another"), name("key")]);
        assert!(keychain.delete_named(&name("key")).unwrap());
        assert!(!keychain.delete_named(&name("key")).unwrap());
        assert!(keychain.delete_named(&name("another")).unwrap());
        assert!(drawer.0.lock().unwrap().is_empty());
        let huge = secret(&"k".repeat(LARGEST + 1));
        assert!(keychain.set_named(&name("key"), &huge).is_err());
    }

    #[test]
    fn a_name_cannot_be_mistaken_for_anything_else() {
        for bad in [
            "",
            "a b",
            "a/b",
            "a\nb",
            "ä",
            "{x}",
            &"x".repeat(LONGEST_NAME + 1),
        ] {
            assert_eq!(bad.parse::<SecretName>(), Err(BadSecretName), "{bad}");
        }
        assert_eq!(name("My-key_1.x").to_string(), "My-key_1.x");
    }
}
