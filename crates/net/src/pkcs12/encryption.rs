//! Encryption and integrity of PKCS #12: keys from passwords (RFC 7292 appendix B, RFC 8018), and the ciphers of files that
//! programs write.

use std::num::NonZeroU32;

use aes::{Aes128, Aes192, Aes256};
use cbc::Decryptor;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockCipher, BlockDecryptMut, InnerIvInit as _, KeyInit};
use des::TdesEde3;
use rc2::Rc2;
use ring::{digest, hmac, pbkdf2};

use super::Pkcs12Error;
use super::der::{INTEGER, OCTET_STRING, OID, SEQUENCE, Values};

/// Limit for the rounds of a derivation. Programs take up to a million or so.
const MOST_ROUNDS: u32 = 10_000_000;

/// Object identifiers, as DER has them.
mod oid {
    /// `pbeWithSHAAnd3-KeyTripleDES-CBC`, `pbeWithSHAAnd128BitRC2-CBC`, `pbeWithSHAAnd40BitRC2-CBC` (RFC 7292 appendix C).
    pub(super) const PBE_3DES: &[u8] =
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01, 0x03];
    pub(super) const PBE_RC2_128: &[u8] =
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01, 0x05];
    pub(super) const PBE_RC2_40: &[u8] =
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01, 0x06];
    /// `PBES2`, `PBKDF2` (RFC 8018).
    pub(super) const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d];
    pub(super) const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c];
    /// `hmacWithSHA1` and the like (RFC 8018 appendix B.1).
    pub(super) const HMAC_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x07];
    pub(super) const HMAC_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x09];
    pub(super) const HMAC_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x0a];
    pub(super) const HMAC_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x0b];
    /// `des-EDE3-CBC`, `aes128-CBC`, `aes192-CBC`, `aes256-CBC`.
    pub(super) const DES_EDE3: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x03, 0x07];
    pub(super) const AES_128: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x02];
    pub(super) const AES_192: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x16];
    pub(super) const AES_256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a];
    /// Hash functions of the integrity check.
    pub(super) const SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
    pub(super) const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
    pub(super) const SHA384: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];
    pub(super) const SHA512: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03];
}

/// A password in both forms that the derivations take.
pub(super) struct Password<'a> {
    text: &'a str,
    /// UTF-16 with two zero bytes at the end (RFC 7292 appendix B.1).
    wide: Vec<u8>,
}

impl<'a> Password<'a> {
    /// The forms of a password. An empty one may also be no password at all: its wide form has no bytes then.
    pub(super) fn forms(text: &'a str) -> Vec<Self> {
        let mut wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        wide.extend([0, 0]);
        let mut forms = vec![Self { text, wide }];
        if text.is_empty() {
            forms.push(Self {
                text,
                wide: Vec::new(),
            });
        }
        forms
    }
}

/// Purpose of a derived key (RFC 7292 appendix B.3).
#[derive(Debug, Clone, Copy)]
enum DerivedFor {
    Key = 1,
    Iv = 2,
    Integrity = 3,
}

/// Checks the integrity of `content` by `MacData` (RFC 7292 §4).
pub(super) fn check_integrity(
    mut mac_data: Values<'_>,
    content: &[u8],
    password: &Password<'_>,
) -> Result<(), Pkcs12Error> {
    let mut info = mac_data.inside(SEQUENCE)?;
    let hash = info.inside(SEQUENCE)?.value(OID)?;
    let expected = info.value(OCTET_STRING)?;
    let salt = mac_data.value(OCTET_STRING)?;
    let rounds = if mac_data.is_empty() {
        NonZeroU32::MIN
    } else {
        rounds(&mut mac_data)?
    };
    let (hash, algorithm) = match hash {
        oid::SHA1 => (
            &digest::SHA1_FOR_LEGACY_USE_ONLY,
            hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        ),
        oid::SHA256 => (&digest::SHA256, hmac::HMAC_SHA256),
        oid::SHA384 => (&digest::SHA384, hmac::HMAC_SHA384),
        oid::SHA512 => (&digest::SHA512, hmac::HMAC_SHA512),
        _ => return Err(Pkcs12Error::UnknownAlgorithm),
    };
    let length = hash.output_len();
    let key = derived(hash, DerivedFor::Integrity, password, salt, rounds, length);
    let key = hmac::Key::new(algorithm, &key);
    hmac::verify(&key, content, expected).map_err(|_| Pkcs12Error::WrongPassword)
}

/// The plain text of `encrypted`, by the algorithm and its parameters in `algorithm`.
pub(super) fn decrypt(
    mut algorithm: Values<'_>,
    encrypted: &[u8],
    password: &Password<'_>,
) -> Result<Vec<u8>, Pkcs12Error> {
    let name = algorithm.value(OID)?;
    let mut parameters = algorithm.inside(SEQUENCE)?;
    if name == oid::PBES2 {
        return decrypt_pbes2(parameters, encrypted, password);
    }
    let salt = parameters.value(OCTET_STRING)?;
    let rounds = rounds(&mut parameters)?;
    let hash = &digest::SHA1_FOR_LEGACY_USE_ONLY;
    let key = |length| derived(hash, DerivedFor::Key, password, salt, rounds, length);
    let iv = derived(hash, DerivedFor::Iv, password, salt, rounds, 8);
    match name {
        oid::PBE_3DES => cbc_decrypted(TdesEde3::new_from_slice(&key(24)), &iv, encrypted),
        oid::PBE_RC2_128 => {
            cbc_decrypted(Ok(Rc2::new_with_eff_key_len(&key(16), 128)), &iv, encrypted)
        }
        oid::PBE_RC2_40 => {
            cbc_decrypted(Ok(Rc2::new_with_eff_key_len(&key(5), 40)), &iv, encrypted)
        }
        _ => Err(Pkcs12Error::UnknownAlgorithm),
    }
}

/// RFC 8018 §6.2.2
fn decrypt_pbes2(
    mut parameters: Values<'_>,
    encrypted: &[u8],
    password: &Password<'_>,
) -> Result<Vec<u8>, Pkcs12Error> {
    let mut derivation = parameters.inside(SEQUENCE)?;
    let mut cipher = parameters.inside(SEQUENCE)?;
    if derivation.value(OID)? != oid::PBKDF2 {
        return Err(Pkcs12Error::UnknownAlgorithm);
    }
    let mut derivation = derivation.inside(SEQUENCE)?;
    let salt = derivation.value(OCTET_STRING)?;
    let rounds = rounds(&mut derivation)?;
    if derivation.is_next(INTEGER) {
        derivation.number()?;
    }
    let hash = if derivation.is_empty() {
        oid::HMAC_SHA1
    } else {
        derivation.inside(SEQUENCE)?.value(OID)?
    };
    let hash = match hash {
        oid::HMAC_SHA1 => pbkdf2::PBKDF2_HMAC_SHA1,
        oid::HMAC_SHA256 => pbkdf2::PBKDF2_HMAC_SHA256,
        oid::HMAC_SHA384 => pbkdf2::PBKDF2_HMAC_SHA384,
        oid::HMAC_SHA512 => pbkdf2::PBKDF2_HMAC_SHA512,
        _ => return Err(Pkcs12Error::UnknownAlgorithm),
    };
    let name = cipher.value(OID)?;
    let iv = cipher.value(OCTET_STRING)?;
    let key = |length| {
        let mut key = vec![0; length];
        pbkdf2::derive(hash, rounds, salt, password.text.as_bytes(), &mut key);
        key
    };
    match name {
        oid::AES_128 => cbc_decrypted(Aes128::new_from_slice(&key(16)), iv, encrypted),
        oid::AES_192 => cbc_decrypted(Aes192::new_from_slice(&key(24)), iv, encrypted),
        oid::AES_256 => cbc_decrypted(Aes256::new_from_slice(&key(32)), iv, encrypted),
        oid::DES_EDE3 => cbc_decrypted(TdesEde3::new_from_slice(&key(24)), iv, encrypted),
        _ => Err(Pkcs12Error::UnknownAlgorithm),
    }
}

fn rounds(values: &mut Values<'_>) -> Result<NonZeroU32, Pkcs12Error> {
    let rounds = values.number()?;
    let rounds = NonZeroU32::new(rounds).filter(|rounds| rounds.get() <= MOST_ROUNDS);
    rounds.ok_or(Pkcs12Error::NotPkcs12)
}

fn cbc_decrypted<C: BlockCipher + BlockDecryptMut>(
    cipher: Result<C, cbc::cipher::InvalidLength>,
    iv: &[u8],
    encrypted: &[u8],
) -> Result<Vec<u8>, Pkcs12Error> {
    let cipher = cipher.map_err(|_| Pkcs12Error::NotPkcs12)?;
    let decryptor =
        Decryptor::inner_iv_slice_init(cipher, iv).map_err(|_| Pkcs12Error::NotPkcs12)?;
    // The padding is wrong after another key.
    decryptor
        .decrypt_padded_vec_mut::<Pkcs7>(encrypted)
        .map_err(|_| Pkcs12Error::WrongPassword)
}

/// Bytes from a password (RFC 7292 appendix B.2).
fn derived(
    hash: &'static digest::Algorithm,
    purpose: DerivedFor,
    password: &Password<'_>,
    salt: &[u8],
    rounds: NonZeroU32,
    length: usize,
) -> Vec<u8> {
    let block = hash.block_len();
    let filled = |text: &[u8]| -> Vec<u8> {
        let length = text.len().div_ceil(block) * block;
        text.iter().copied().cycle().take(length).collect()
    };
    let diversifier = vec![purpose as u8; block];
    let mut input = [filled(salt), filled(&password.wide)].concat();
    let mut derived = Vec::new();
    loop {
        let mut round = digest::digest(hash, &[&diversifier[..], &input].concat());
        for _ in 1..rounds.get() {
            round = digest::digest(hash, round.as_ref());
        }
        derived.extend_from_slice(round.as_ref());
        if derived.len() >= length {
            derived.truncate(length);
            return derived;
        }
        let addend: Vec<u8> = round.as_ref().iter().copied().cycle().take(block).collect();
        for chunk in input.chunks_mut(block) {
            add_with_one(chunk, &addend);
        }
    }
}

/// Adds a number and one, modulo the size of `to`; both big-endian.
fn add_with_one(to: &mut [u8], addend: &[u8]) {
    let mut carry = 1_u16;
    for (digit, other) in to.iter_mut().zip(addend).rev() {
        let sum = u16::from(*digit) + u16::from(*other) + carry;
        [_, *digit] = sum.to_be_bytes();
        carry = sum >> 8;
    }
}
