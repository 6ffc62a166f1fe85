//! PKCS #12 files (RFC 7292): a client certificate with its key, as Windows, macOS and browsers export them (`.p12`, `.pfx`).

mod der;
mod encryption;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use der::{EXPLICIT_0, IMPLICIT_0, OCTET_STRING, OID, SEQUENCE, Values};
use encryption::{Password, check_integrity, decrypt};

/// Limit for the certificates in a file. A chain has a few.
const MOST_CERTIFICATES: usize = 32;

/// Object identifiers, as DER has them.
mod oid {
    /// `data`, `encryptedData` (RFC 2315).
    pub(super) const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
    pub(super) const ENCRYPTED_DATA: &[u8] =
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x06];
    /// `keyBag`, `pkcs8ShroudedKeyBag`, `certBag` (RFC 7292 appendix D).
    pub(super) const KEY: &[u8] = &[
        0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x01,
    ];
    pub(super) const SHROUDED_KEY: &[u8] = &[
        0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x02,
    ];
    pub(super) const CERTIFICATE: &[u8] = &[
        0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x03,
    ];
    /// `x509Certificate` (RFC 2985 §5.5.1).
    pub(super) const X509: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x16, 0x01];
}

/// Reason why a file cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Pkcs12Error {
    /// It has another form.
    #[error("is neither a PEM file nor a whole PKCS #12 file")]
    NotPkcs12,
    /// It is encrypted in a way that is not known here.
    #[error("is encrypted in a way that is not supported; write it anew: openssl pkcs12 -export")]
    UnknownAlgorithm,
    /// The password does not fit, or the file was changed.
    #[error("cannot be opened with this password")]
    WrongPassword,
    /// There is no private key in it.
    #[error("holds no private key")]
    NoKey,
    /// No certificate in it belongs to the key.
    #[error("holds no certificate for its private key")]
    NoCertificate,
}

/// A certificate with those that lead from it to its authority, and its key.
#[derive(Debug)]
pub(crate) struct Pkcs12 {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

/// The content of a file, in its order.
#[derive(Debug, Default)]
struct Bags {
    certificates: Vec<CertificateDer<'static>>,
    key: Option<PrivatePkcs8KeyDer<'static>>,
}

impl Pkcs12 {
    /// Reads a file. Blocks for as long as the derivation of its keys takes, which is a second at most.
    pub(crate) fn open(file: &[u8], password: &str) -> Result<Self, Pkcs12Error> {
        let mut outcome = Err(Pkcs12Error::WrongPassword);
        for password in Password::forms(password) {
            outcome = open(file, &password);
            if !matches!(outcome, Err(Pkcs12Error::WrongPassword)) {
                break;
            }
        }
        let Bags { certificates, key } = outcome?;
        let key = PrivateKeyDer::from(key.ok_or(Pkcs12Error::NoKey)?);
        let chain = beginning_with_owner(certificates, &key)?;
        Ok(Self { chain, key })
    }
}

fn open(file: &[u8], password: &Password<'_>) -> Result<Bags, Pkcs12Error> {
    let mut file = Values::new(file).inside(SEQUENCE)?;
    file.number()?;
    let mut safe = file.inside(SEQUENCE)?;
    if safe.value(OID)? != oid::DATA {
        return Err(Pkcs12Error::UnknownAlgorithm);
    }
    let content = safe.inside(EXPLICIT_0)?.value(OCTET_STRING)?;
    if !file.is_empty() {
        check_integrity(file.inside(SEQUENCE)?, content, password)?;
    }
    let mut bags = Bags::default();
    let mut parts = Values::new(content).inside(SEQUENCE)?;
    while !parts.is_empty() {
        let mut part = parts.inside(SEQUENCE)?;
        match part.value(OID)? {
            oid::DATA => {
                let content = part.inside(EXPLICIT_0)?.value(OCTET_STRING)?;
                bags.read(content, password)?;
            }
            oid::ENCRYPTED_DATA => {
                let mut data = part.inside(EXPLICIT_0)?.inside(SEQUENCE)?;
                data.number()?;
                let mut encrypted = data.inside(SEQUENCE)?;
                encrypted.value(OID)?;
                let algorithm = encrypted.inside(SEQUENCE)?;
                let content = decrypt(algorithm, encrypted.value(IMPLICIT_0)?, password)?;
                bags.read(&content, password)?;
            }
            _ => return Err(Pkcs12Error::UnknownAlgorithm),
        }
    }
    Ok(bags)
}

impl Bags {
    /// Reads `SafeContents`. What is neither a key nor a certificate is left out.
    fn read(&mut self, contents: &[u8], password: &Password<'_>) -> Result<(), Pkcs12Error> {
        let mut bags = Values::new(contents).inside(SEQUENCE)?;
        while !bags.is_empty() {
            let mut bag = bags.inside(SEQUENCE)?;
            let kind = bag.value(OID)?;
            let content = bag.value(EXPLICIT_0)?;
            match kind {
                oid::KEY => self.add_key(content.to_vec()),
                oid::SHROUDED_KEY => {
                    let mut encrypted = Values::new(content).inside(SEQUENCE)?;
                    let algorithm = encrypted.inside(SEQUENCE)?;
                    let key = decrypt(algorithm, encrypted.value(OCTET_STRING)?, password)?;
                    self.add_key(key);
                }
                oid::CERTIFICATE => self.add_certificate(content)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// The first key counts.
    fn add_key(&mut self, key: Vec<u8>) {
        self.key.get_or_insert(PrivatePkcs8KeyDer::from(key));
    }

    fn add_certificate(&mut self, bag: &[u8]) -> Result<(), Pkcs12Error> {
        let mut bag = Values::new(bag).inside(SEQUENCE)?;
        if bag.value(OID)? != oid::X509 {
            return Ok(());
        }
        let certificate = bag.inside(EXPLICIT_0)?.value(OCTET_STRING)?;
        if self.certificates.len() < MOST_CERTIFICATES {
            self.certificates
                .push(CertificateDer::from(certificate.to_vec()));
        }
        Ok(())
    }
}

/// The certificates with that of the key in front; in the file they may have any order.
fn beginning_with_owner(
    mut certificates: Vec<CertificateDer<'static>>,
    key: &PrivateKeyDer<'static>,
) -> Result<Vec<CertificateDer<'static>>, Pkcs12Error> {
    let key = rustls::crypto::ring::sign::any_supported_type(key)
        .map_err(|_| Pkcs12Error::UnknownAlgorithm)?;
    let is_owner = |certificate: &CertificateDer<'static>| {
        let pair = rustls::sign::CertifiedKey::new(vec![certificate.clone()], key.clone());
        pair.keys_match().is_ok()
    };
    let owner = certificates.iter().position(is_owner);
    let owner = owner.ok_or(Pkcs12Error::NoCertificate)?;
    certificates[..=owner].rotate_right(1);
    Ok(certificates)
}
