//! Proof key of an account: the ES256 key pair that its tokens are bound to (RFC 9449 §4).

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::error::AuthError;
use mcp_bridge_text::secret::Secret;

/// The algorithm of all proofs (RFC 7518 §3.4). Servers that know DPoP know it: it is the one that RFC 9449 has in its
/// examples.
pub(crate) const ALGORITHM: &str = "ES256";

/// First byte of a public key whose coordinates follow in full (SEC 1 §2.3.3).
const UNCOMPRESSED: u8 = 4;

/// Length of a coordinate on P-256, in bytes.
const COORDINATE: usize = 32;

/// A key pair that tokens are bound to. The copies share it.
#[derive(Clone)]
pub(crate) struct ProofKey(Arc<ProofKeyParts>);

struct ProofKeyParts {
    /// The pair as PKCS #8, for the place that stores it.
    pkcs8: Secret<Vec<u8>>,
    pair: EcdsaKeyPair,
    /// The first part of each proof, encoded: type, algorithm and public key (RFC 9449 §4.2).
    header: String,
    /// Thumbprint of the public key (RFC 7638).
    thumbprint: String,
}

impl ProofKey {
    /// A key of its own.
    pub(crate) fn generate() -> Result<Self, AuthError> {
        let failed = || AuthError::Configuration("no key for the proofs could be made".to_owned());
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
        let pkcs8 = pkcs8.map_err(|_| failed())?;
        Self::from_pkcs8(pkcs8.as_ref().to_vec()).ok_or_else(failed)
    }

    fn from_pkcs8(pkcs8: Vec<u8>) -> Option<Self> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, &random);
        let pair = pair.ok()?;
        let point = pair.public_key().as_ref().strip_prefix(&[UNCOMPRESSED])?;
        let (x, y) = point.split_at_checked(COORDINATE)?;
        let [x, y] = [x, y].map(|coordinate| BASE64_URL_SAFE_NO_PAD.encode(coordinate));
        let jwk = json!({ "crv": "P-256", "kty": "EC", "x": x, "y": y });
        let header = json!({ "typ": "dpop+jwt", "alg": ALGORITHM, "jwk": jwk });
        // The members in this order, without white space (RFC 7638 §3).
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        Some(Self(Arc::new(ProofKeyParts {
            pkcs8: Secret::new(pkcs8),
            pair,
            header: BASE64_URL_SAFE_NO_PAD.encode(header.to_string()),
            thumbprint: BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(canonical)),
        })))
    }

    /// The thumbprint of the public key, which stands for it in requests (RFC 9449 §10).
    pub(crate) fn thumbprint(&self) -> &str {
        &self.0.thumbprint
    }

    /// Signed statement with these claims (RFC 7515 §7.1).
    ///
    /// # Panics
    /// If the operating system has no random numbers, as everything else does that needs them.
    pub(crate) fn statement(&self, claims: &str) -> String {
        let ProofKeyParts { pair, header, .. } = &*self.0;
        let mut statement = format!("{header}.{}", BASE64_URL_SAFE_NO_PAD.encode(claims));
        let signature = pair.sign(&SystemRandom::new(), statement.as_bytes());
        let signature = signature.expect("the operating system has random numbers");
        statement.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(signature, &mut statement);
        statement
    }
}

impl PartialEq for ProofKey {
    fn eq(&self, other: &Self) -> bool {
        self.thumbprint() == other.thumbprint()
    }
}

impl Eq for ProofKey {}

impl fmt::Debug for ProofKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProofKey(REDACTED)")
    }
}

impl Serialize for ProofKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_URL_SAFE_NO_PAD.encode(self.0.pkcs8.expose()))
    }
}

impl<'de> Deserialize<'de> for ProofKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let damaged = || serde::de::Error::custom("a proof key that is none");
        let text = String::deserialize(deserializer)?;
        let pkcs8 = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| damaged())?;
        Self::from_pkcs8(pkcs8).ok_or_else(damaged)
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
    use serde_json::Value;

    use super::*;

    /// A-110
    #[test]
    fn a_statement_carries_the_key_that_it_is_signed_with() {
        let key = ProofKey::generate().unwrap();
        let statement = key.statement(r#"{"htm":"POST"}"#);
        let (message, signature) = statement.rsplit_once('.').unwrap();
        let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap();
        let header: Value =
            serde_json::from_slice(&decode(message.split_once('.').unwrap().0)).unwrap();
        assert_eq!(
            (&header["typ"], &header["alg"]),
            (&"dpop+jwt".into(), &"ES256".into())
        );
        assert!(header["jwk"].get("d").is_none());
        let coordinate = |name: &str| decode(header["jwk"][name].as_str().unwrap());
        let point = [vec![UNCOMPRESSED], coordinate("x"), coordinate("y")].concat();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        public
            .verify(message.as_bytes(), &decode(signature))
            .unwrap();
    }

    /// A-110: a key that was stored is the same key; nothing else prints it.
    #[test]
    fn a_stored_key_comes_back_and_is_not_printed() {
        let key = ProofKey::generate().unwrap();
        let stored = serde_json::to_string(&key).unwrap();
        assert_eq!(serde_json::from_str::<ProofKey>(&stored).unwrap(), key);
        assert_ne!(ProofKey::generate().unwrap(), key);
        assert_eq!(format!("{key:?}"), "ProofKey(REDACTED)");
        assert!(serde_json::from_str::<ProofKey>("\"AAAA\"").is_err());
    }
}
