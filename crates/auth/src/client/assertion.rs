//! Client assertions signed with a private key, `private_key_jwt` (RFC 7523 §2.2, RFC 7515).

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::config::{KeyError, SigningKey};
use crate::token::unix_millis;
use mcp_bridge_text::random;

/// The value of `client_assertion_type` (RFC 7523 §2.2).
pub(crate) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Validity of a statement; it is used at once, so this only has to cover wrong clocks.
const VALIDITY: Duration = Duration::from_secs(120);

/// Random bytes in the statement's id, so that a server can refuse a second use.
const ID_BYTES: usize = 16;

/// A fresh statement of `client` to `issuer` that it is who it says (RFC 7523 §3).
pub(crate) fn client_assertion(
    key: &SigningKey,
    client: &str,
    issuer: &str,
) -> Result<String, KeyError> {
    let now = unix_millis(SystemTime::now()) / 1000;
    let claims = json!({
        "iss": client,
        "sub": client,
        "aud": issuer,
        "iat": now,
        "exp": now + VALIDITY.as_secs(),
        "jti": random::string::<ID_BYTES>(),
    });
    let header = json!({ "alg": key.algorithm(), "typ": "JWT" });
    let encode = |part: &Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
    let statement = format!("{}.{}", encode(&header), encode(&claims));
    let signature = BASE64_URL_SAFE_NO_PAD.encode(key.sign(statement.as_bytes())?);
    Ok(format!("{statement}.{signature}"))
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_STANDARD;
    use ring::rand::SystemRandom;
    use ring::signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
        Ed25519KeyPair, KeyPair as _, UnparsedPublicKey,
    };

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
            let one = client_assertion(&key, "c", "https://as.example").unwrap();
            let other = client_assertion(&key, "c", "https://as.example").unwrap();
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
}
