//! Signatures of JWTs, verified by `ring`: the cryptography for `jsonwebtoken`, which does everything else.

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::signature::{Error, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};

/// The algorithms (RFC 7518 §3.1, RFC 8037). None has a shared secret, such as `HS256`: the issuer's public key would be it.
pub(crate) const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::RS256,
    Algorithm::PS256,
    Algorithm::ES256,
    Algorithm::EdDSA,
];

/// Their names, for metadata and challenges.
pub(crate) const ALGORITHM_NAMES: [&str; ALGORITHMS.len()] = ["RS256", "PS256", "ES256", "EdDSA"];

/// Only verification: this server signs no tokens.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    verifier_factory: |algorithm, key| {
        Ok(Box::new(RingVerifier {
            algorithm: *algorithm,
            key: key.clone(),
        }))
    },
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes `ring` the cryptography of `jsonwebtoken` in this process.
pub(crate) fn install() {
    // An error means that this was done before.
    let _ = PROVIDER.install_default();
}

struct RingVerifier {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), Error> {
        match self.algorithm {
            Algorithm::RS256 => self.verify_rsa(&RSA_PKCS1_2048_8192_SHA256, message, signature),
            Algorithm::PS256 => self.verify_rsa(&RSA_PSS_2048_8192_SHA256, message, signature),
            Algorithm::ES256 => self.verify_point(&ECDSA_P256_SHA256_FIXED, message, signature),
            Algorithm::EdDSA => self.verify_point(&ED25519, message, signature),
            _ => Err(Error::new()),
        }
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl RingVerifier {
    fn verify_rsa(
        &self,
        parameters: &RsaParameters,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Error> {
        let DecodingKeyKind::RsaModulusExponent { n, e } = self.key.kind() else {
            return Err(Error::new());
        };
        let key = RsaPublicKeyComponents { n, e };
        let verified = key.verify(parameters, message, signature);
        verified.map_err(|_| Error::new())
    }

    /// For keys that are a point of a curve.
    fn verify_point(
        &self,
        algorithm: &'static dyn VerificationAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Error> {
        let DecodingKeyKind::SecretOrDer(point) = self.key.kind() else {
            return Err(Error::new());
        };
        let key = UnparsedPublicKey::new(algorithm, point);
        key.verify(message, signature).map_err(|_| Error::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_algorithms() {
        let named = ALGORITHM_NAMES.map(|name| name.parse::<Algorithm>().unwrap());
        assert_eq!(named, ALGORITHMS);
    }
}
