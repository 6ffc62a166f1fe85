//! Headers with secrets of the keychain in them (`{keychain:NAME}`), which is read when the first request needs them.
//!
//! A locked keychain may take as long as a person takes to unlock it, and an app waits for its first answer only for seconds.

use reqwest::header::{HeaderMap, HeaderName};
use tokio::sync::OnceCell;

use crate::error::AuthError;
use crate::keychain::{Keychain, SecretName};
use mcp_bridge_net::http::user_header_value;
use mcp_bridge_text::secret::Secret;

/// Header whose value has secrets of the keychain in it.
#[derive(Debug, Clone)]
pub struct SecretHeader {
    /// Its name.
    pub name: HeaderName,
    /// Its value, piece by piece.
    pub value: Vec<HeaderPiece>,
}

/// Piece of a header's value.
#[derive(Debug, Clone)]
pub enum HeaderPiece {
    /// Text that stands for itself.
    Text(Secret<String>),
    /// The secret of this name.
    Named(SecretName),
}

/// Headers with secrets of the keychain, and their values once they were read. All endpoints of a bridge share them.
#[derive(Debug)]
pub struct SecretHeaders {
    headers: Vec<SecretHeader>,
    keychain: Keychain,
    values: OnceCell<HeaderMap>,
}

impl SecretHeaders {
    /// Nothing is read before the headers are asked for. None if there are none.
    #[must_use]
    pub fn new(headers: Vec<SecretHeader>, keychain: Keychain) -> Option<Self> {
        (!headers.is_empty()).then(|| Self {
            headers,
            keychain,
            values: OnceCell::new(),
        })
    }

    /// True if there is a header of this name.
    #[must_use]
    pub fn contains(&self, name: &HeaderName) -> bool {
        self.headers.iter().any(|header| header.name == *name)
    }

    /// The headers with their values. After a failure the next request reads the keychain again.
    pub async fn headers(&self) -> Result<&HeaderMap, AuthError> {
        self.values.get_or_try_init(|| self.read()).await
    }

    async fn read(&self) -> Result<HeaderMap, AuthError> {
        let (headers, keychain) = (self.headers.clone(), self.keychain.clone());
        let read = move || {
            let values = headers.iter().map(|header| read_one(header, &keychain));
            values.collect::<Result<HeaderMap, _>>()
        };
        let read = tokio::task::spawn_blocking(read).await;
        read.unwrap_or(Err(AuthError::Interrupted))
    }
}

type Header = (HeaderName, reqwest::header::HeaderValue);

fn read_one(header: &SecretHeader, keychain: &Keychain) -> Result<Header, AuthError> {
    let missing = |reason: String, hint: String| AuthError::NoSecret {
        header: header.name.to_string(),
        reason,
        hint,
    };
    let mut text = String::new();
    for piece in &header.value {
        match piece {
            HeaderPiece::Text(piece) => text += piece.expose(),
            HeaderPiece::Named(name) => {
                let found = keychain
                    .named(name)
                    .map_err(|error| missing(error.to_string(), error.hint_for_named()))?;
                let secret = found.ok_or_else(|| {
                    let reason = format!("there is no secret {name} in the keychain");
                    missing(
                        reason,
                        format!("put it there: mcp-bridge secret set {name}"),
                    )
                })?;
                text += secret.expose();
            }
        }
    }
    let value = user_header_value(&text).ok_or_else(|| {
        let reason = "it has characters that a header may not have".to_owned();
        let hint = "keep it again without them: mcp-bridge secret set NAME".to_owned();
        missing(reason, hint)
    })?;
    Ok((header.name.clone(), value))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::keychain::memory::MemoryVault;
    use crate::keychain::{KeychainLimits, Vault};

    /// A keychain that a person has to unlock, and never does.
    struct Locked;

    impl Vault for Locked {
        fn get(&self, _: &str) -> Result<Option<Vec<u8>>, String> {
            loop {
                std::thread::park();
            }
        }

        fn set(&self, _: &str, _: &[u8]) -> Result<(), String> {
            Ok(())
        }

        fn delete(&self, _: &str) -> Result<(), String> {
            Ok(())
        }
    }

    fn keychain(vault: Arc<dyn Vault>, time: Duration) -> Keychain {
        Keychain::new(vault, KeychainLimits { time, size: 2000 })
    }

    fn headers(keychain: &Keychain) -> SecretHeaders {
        let text = |text: &str| HeaderPiece::Text(Secret::new(text.to_owned()));
        let header = SecretHeader {
            name: HeaderName::from_static("x-key"),
            value: vec![
                text("<"),
                HeaderPiece::Named("key".parse().unwrap()),
                text(">"),
            ],
        };
        SecretHeaders::new(vec![header], keychain.clone()).unwrap()
    }

    fn set(keychain: &Keychain, secret: &str) {
        let secret = Secret::new(secret.to_owned());
        keychain
            .set_named(&"key".parse().unwrap(), &secret)
            .unwrap();
    }

    ///
    #[tokio::test]
    async fn a_secret_is_put_in_as_it_is_and_looked_for_again_if_it_is_not_there() {
        let keychain = keychain(Arc::new(MemoryVault::default()), Duration::from_secs(30));
        let headers = headers(&keychain);
        let error = headers.headers().await.unwrap_err();
        assert_eq!(error.kind(), "auth_no_secret");
        assert!(error.to_string().contains("x-key"), "{error}");
        assert_eq!(error.hint(), "put it there: mcp-bridge secret set key");
        set(&keychain, "hunter2\u{7f}");
        let error = headers.headers().await.unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
        set(&keychain, "a${B}{keychain:x}");
        let read = headers.headers().await.unwrap();
        assert_eq!(read["x-key"], "<a${B}{keychain:x}>");
        assert!(read["x-key"].is_sensitive());
    }

    ///
    #[tokio::test]
    async fn a_locked_keychain_is_an_error_after_its_limit() {
        let keychain = keychain(Arc::new(Locked), Duration::from_millis(20));
        let error = headers(&keychain).headers().await.unwrap_err();
        assert_eq!(error.kind(), "auth_no_secret");
        assert!(error.to_string().contains("the keychain can't be used"));
        assert!(error.hint().contains("header 'NAME"), "{}", error.hint());
    }
}
