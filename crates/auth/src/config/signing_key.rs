//! Private key of a client, for `private_key_jwt` (RFC 7517, RFC 7518): ECDSA P-256, Ed25519 or RSA.

use std::fmt;

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;

/// A private key that signs statements about a client.
pub struct SigningKey(KeyPair);

enum KeyPair {
    Es256(Box<EcdsaKeyPair>),
    EdDsa(Box<Ed25519KeyPair>),
    Rs256(Box<RsaKeyPair>),
}

/// Reason why a key can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is no key in the file.
    #[error("holds no private key in PEM form (BEGIN PRIVATE KEY)")]
    NotPem,
    /// None of the algorithms that we sign with.
    #[error("holds a key that is neither ECDSA P-256, Ed25519 nor RSA of 2048 bits or more")]
    UnknownAlgorithm,
    /// The operating system gave no random numbers.
    #[error("the client's statement could not be signed")]
    Signing,
}

impl SigningKey {
    /// Reads a PKCS #8 key.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let key =
            PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyError::NotPem)?;
        let der = key.secret_pkcs8_der();
        let random = SystemRandom::new();
        if let Ok(key) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random) {
            return Ok(Self(KeyPair::Es256(Box::new(key))));
        }
        if let Ok(key) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            return Ok(Self(KeyPair::EdDsa(Box::new(key))));
        }
        if let Ok(key) = RsaKeyPair::from_pkcs8(der) {
            return Ok(Self(KeyPair::Rs256(Box::new(key))));
        }
        Err(KeyError::UnknownAlgorithm)
    }

    /// The name of the algorithm (RFC 7518 §3.1, RFC 8037 §3.1).
    pub(crate) fn algorithm(&self) -> &'static str {
        match &self.0 {
            KeyPair::Es256(_) => "ES256",
            KeyPair::EdDsa(_) => "EdDSA",
            KeyPair::Rs256(_) => "RS256",
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let random = SystemRandom::new();
        match &self.0 {
            KeyPair::Es256(key) => key
                .sign(&random, message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| KeyError::Signing),
            KeyPair::EdDsa(key) => Ok(key.sign(message).as_ref().to_vec()),
            KeyPair::Rs256(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map(|()| signature)
                    .map_err(|_| KeyError::Signing)
            }
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, REDACTED)", self.algorithm())
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    #[test]
    fn what_is_no_key_is_refused() {
        let body = BASE64_STANDARD.encode(b"x");
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
        assert_eq!(SigningKey::from_pem("x").unwrap_err(), KeyError::NotPem);
        assert_eq!(
            SigningKey::from_pem(&pem).unwrap_err(),
            KeyError::UnknownAlgorithm
        );
    }
}
