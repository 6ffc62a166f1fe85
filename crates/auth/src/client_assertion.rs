//! Client assertions signed with a private key, `private_key_jwt` (RFC 7523 §2.2, RFC 7515).

use std::fmt;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::token::unix_millis;
use mcp_bridge_text::random;

/// The value of `client_assertion_type` (RFC 7523 §2.2).
pub(super) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How long a statement is valid; it is used at once, so this only has to cover wrong clocks.
const VALIDITY: Duration = Duration::from_secs(120);

/// Random bytes in the statement's id, so that a server can refuse a second use.
const ID_BYTES: usize = 16;

/// A private key that signs statements about a client.
pub struct SigningKey(KeyPair);

enum KeyPair {
    Es256(Box<EcdsaKeyPair>),
    EdDsa(Box<Ed25519KeyPair>),
    Rs256(Box<RsaKeyPair>),
}

/// Why a key can't be used.
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

    /// A fresh statement of `client` to `issuer` that it is who it says (RFC 7523 §3).
    pub(super) fn client_assertion(&self, client: &str, issuer: &str) -> Result<String, KeyError> {
        let now = unix_millis(SystemTime::now()) / 1000;
        let claims = json!({
            "iss": client,
            "sub": client,
            "aud": issuer,
            "iat": now,
            "exp": now + VALIDITY.as_secs(),
            "jti": random::string::<ID_BYTES>(),
        });
        let header = json!({ "alg": self.algorithm(), "typ": "JWT" });
        let encode = |part: &Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
        let statement = format!("{}.{}", encode(&header), encode(&claims));
        let signature = BASE64_URL_SAFE_NO_PAD.encode(self.sign(statement.as_bytes())?);
        Ok(format!("{statement}.{signature}"))
    }

    /// The name of the algorithm (RFC 7518 §3.1, RFC 8037 §3.1).
    fn algorithm(&self) -> &'static str {
        match &self.0 {
            KeyPair::Es256(_) => "ES256",
            KeyPair::EdDsa(_) => "EdDSA",
            KeyPair::Rs256(_) => "RS256",
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
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
    use base64::prelude::BASE64_STANDARD;
    use ring::signature::{ECDSA_P256_SHA256_FIXED, ED25519, KeyPair as _, UnparsedPublicKey};

    use super::*;

    fn pem(der: &[u8]) -> String {
        let body = BASE64_STANDARD.encode(der);
        format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
    }

    fn parts(assertion: &str) -> (Value, Value, Vec<u8>) {
        let parts: Vec<_> = assertion
            .split('.')
            .map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap())
            .collect();
        let json = |part: &[u8]| serde_json::from_slice(part).unwrap();
        (json(&parts[0]), json(&parts[1]), parts[2].clone())
    }

    ///
    #[test]
    fn a_statement_is_signed_short_lived_and_different_each_time() {
        let random = SystemRandom::new();
        let ecdsa =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let ed25519 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        let signer =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, ecdsa.as_ref(), &random)
                .unwrap();
        let p256 = UnparsedPublicKey::new(
            &ECDSA_P256_SHA256_FIXED,
            signer.public_key().as_ref().to_vec(),
        );
        let signer = Ed25519KeyPair::from_pkcs8(ed25519.as_ref()).unwrap();
        let curve25519 = UnparsedPublicKey::new(&ED25519, signer.public_key().as_ref().to_vec());
        for (der, algorithm) in [(ecdsa.as_ref(), "ES256"), (ed25519.as_ref(), "EdDSA")] {
            let key = SigningKey::from_pem(&pem(der)).unwrap();
            let one = key.client_assertion("c", "https://as.example").unwrap();
            let other = key.client_assertion("c", "https://as.example").unwrap();
            let (header, claims, signature) = parts(&one);
            assert_eq!(header["alg"], algorithm);
            assert_eq!((&claims["iss"], &claims["sub"]), (&json!("c"), &json!("c")));
            assert_eq!(claims["aud"], "https://as.example");
            assert!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap() <= 300);
            assert_ne!(claims["jti"], parts(&other).1["jti"]);
            let (message, _) = one.rsplit_once('.').unwrap();
            let verified = match algorithm {
                "ES256" => p256.verify(message.as_bytes(), &signature),
                _ => curve25519.verify(message.as_bytes(), &signature),
            };
            assert!(verified.is_ok(), "{algorithm}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert_eq!(SigningKey::from_pem("x").unwrap_err(), KeyError::NotPem);
        assert_eq!(
            SigningKey::from_pem(&pem(b"x")).unwrap_err(),
            KeyError::UnknownAlgorithm
        );
    }
}
