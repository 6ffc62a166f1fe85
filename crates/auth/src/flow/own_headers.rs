//! Headers of the user's own (`--header`, `--header-command`, …), as the documents of the sign-in at the server's origin need them.

use std::sync::Arc;

use reqwest::header::{AUTHORIZATION, HeaderMap};

use crate::flow::header_program::HeaderProgram;
use crate::flow::secret_headers::SecretHeaders;
use crate::transport::gateway::{Coming, GatewayHeaders};

/// All headers of the user's own for one server. Of the same name, the later kind counts.
#[derive(Debug, Clone, Default)]
pub struct OwnHeaders {
    /// Those whose values are known from the start.
    pub fixed: HeaderMap,
    /// Those with secrets of the keychain.
    pub secret: Option<Arc<SecretHeaders>>,
    /// The program that prints further ones.
    pub program: Option<Arc<HeaderProgram>>,
}

/// Without `Authorization`, where the sign-in has credentials of its own.
impl GatewayHeaders for OwnHeaders {
    fn headers(&self) -> Coming<'_> {
        Box::pin(async {
            let mut headers = self.fixed.clone();
            if let Some(secret) = &self.secret {
                headers.extend(secret.headers().await?.clone());
            }
            if let Some(program) = &self.program {
                headers.extend(program.headers().await?);
            }
            headers.remove(AUTHORIZATION);
            Ok(headers)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;
    use crate::flow::secret_headers::{HeaderPiece, SecretHeader};
    use crate::keychain::memory::MemoryVault;
    use crate::keychain::{Keychain, KeychainLimits};
    use mcp_bridge_text::secret::Secret;

    ///
    #[tokio::test]
    async fn a_secret_replaces_a_fixed_value_and_authorization_is_left_to_the_sign_in() {
        let limits = KeychainLimits {
            time: Duration::from_secs(30),
            size: 2000,
        };
        let keychain = Keychain::new(Arc::new(MemoryVault::default()), limits);
        let secret = Secret::new("secret".to_owned());
        keychain
            .set_named(&"key".parse().unwrap(), &secret)
            .unwrap();
        let of_keychain = |name| SecretHeader {
            name,
            value: vec![HeaderPiece::Named("key".parse().unwrap())],
        };
        let key = HeaderName::from_static("x-key");
        let mut own = OwnHeaders::default();
        own.fixed.insert("x-fixed", HeaderValue::from_static("one"));
        own.fixed.append("x-fixed", HeaderValue::from_static("two"));
        own.fixed.insert(&key, HeaderValue::from_static("fixed"));
        let secrets = vec![of_keychain(key), of_keychain(AUTHORIZATION)];
        own.secret = SecretHeaders::new(secrets, keychain).map(Arc::new);
        let headers = own.headers().await.unwrap();
        let pairs: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        assert_eq!(
            pairs,
            [("x-fixed", "one"), ("x-fixed", "two"), ("x-key", "secret")]
        );
    }
}
