//! Encryption of stored records: an envelope of AES-256-GCM whose key is derived anew for each record.
//!
//! The key of a store encrypts nothing itself. Each record has a random salt of 256 bits, from which and from the store's key
//! HKDF (RFC 5869) derives the key of this one envelope. A derived key encrypts once, so its nonce is always zero and never
//! repeats, whatever the number of processes that write.
//!
//! The name of the record and the version of the envelope are authenticated with it (additional data): a record that was
//! copied to another name does not open. Whoever can write to the store can still delete a record, or put an older one of
//! the same name back.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::error::Unspecified;
use ring::hkdf::{HKDF_SHA256, Salt};
use serde::{Deserialize, Serialize};

use crate::config::{StoreKey, StoreKeys};
use mcp_bridge_text::random;

/// Version of the envelope. Changes when an older program could not open it.
const VERSION: u32 = 1;

/// Length of the salt, of which no two envelopes may have the same: after 2⁶⁴ of them two do with a chance of 2⁻¹²⁸.
const SALT_BYTES: usize = 32;

/// Tells keys of envelopes from other values that are derived from a store's key.
const KEY_CONTEXT: &[u8] = b"mcp-bridge store record";

/// The nonce of the only encryption with a derived key.
const ONLY_NONCE: [u8; 12] = [0; 12];

/// Reason why a record does not open.
///
/// Only a damaged one may be set aside. The others are whole, and somebody else can read them: they stay where they are, and
/// are not overwritten.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is not encrypted.
    #[error("it is not encrypted")]
    NotSealed,
    /// A newer version of this program has encrypted it.
    #[error("a newer version of this program encrypted it")]
    NewerVersion,
    /// None of the keys is the right one.
    #[error("it is encrypted with the key {id}, and the keys here are {keys}")]
    UnknownKey {
        /// Name of its key.
        id: String,
        /// Names of the keys at hand.
        keys: String,
    },
    /// It was changed, or belongs to another name.
    #[error("it is damaged, or was stored under another name")]
    Damaged,
}

/// The envelope: JSON in one line, binary parts in base64.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    /// Its version, under a name that no record in clear has.
    sealed: u32,
    /// Name of the store's key.
    key: String,
    salt: String,
    /// Ciphertext and tag.
    data: String,
}

impl StoreKeys {
    /// Encrypts the content of the record `name`.
    ///
    /// # Panics
    /// If the operating system has no random numbers, as the standard library's hash maps do.
    #[must_use]
    pub fn seal(&self, name: &str, content: &[u8]) -> Vec<u8> {
        let key = self.writing();
        let salt = random::bytes::<SALT_BYTES>();
        let mut data = content.to_vec();
        envelope_key(key, &salt)
            .and_then(|key| {
                let nonce = Nonce::assume_unique_for_key(ONLY_NONCE);
                key.seal_in_place_append_tag(nonce, Aad::from(authenticated(name)), &mut data)
            })
            .expect("records are shorter than the 64 GiB that AES-GCM encrypts");
        let envelope = Envelope {
            sealed: VERSION,
            key: key.id().to_owned(),
            salt: BASE64_STANDARD_NO_PAD.encode(salt),
            data: BASE64_STANDARD_NO_PAD.encode(data),
        };
        serde_json::to_vec(&envelope).expect("numbers and strings serialize")
    }

    /// Decrypts the content of the record `name`.
    pub fn open(&self, name: &str, record: &[u8]) -> Result<Vec<u8>, OpenError> {
        let envelope = Envelope::parse(record)?;
        let Some(key) = self.named(&envelope.key) else {
            // What stands there may come from anybody.
            let is_name = |id: &str| id.len() <= 32 && id.bytes().all(|it| it.is_ascii_hexdigit());
            if !is_name(&envelope.key) {
                return Err(OpenError::Damaged);
            }
            return Err(OpenError::UnknownKey {
                id: envelope.key,
                keys: self.names(),
            });
        };
        envelope.content(key, name).ok_or(OpenError::Damaged)
    }

    /// True if the key that encrypts now has not encrypted this record, so that it should be written again.
    #[must_use]
    pub fn is_outdated(&self, record: &[u8]) -> bool {
        Envelope::parse(record).is_ok_and(|it| it.key != self.writing().id())
    }
}

/// True if a record is encrypted, whatever its key.
#[must_use]
pub fn is_sealed(record: &[u8]) -> bool {
    match Envelope::parse(record) {
        Ok(_) | Err(OpenError::NewerVersion) => true,
        Err(_) => false,
    }
}

impl Envelope {
    fn parse(record: &[u8]) -> Result<Self, OpenError> {
        /// The member that all versions have.
        #[derive(Deserialize)]
        struct AnyVersion {
            sealed: Option<u32>,
        }
        let version = serde_json::from_slice::<AnyVersion>(record);
        match version.map(|it| it.sealed) {
            Ok(Some(VERSION)) => serde_json::from_slice(record).map_err(|_| OpenError::Damaged),
            Ok(Some(0)) | Err(_) => Err(OpenError::Damaged),
            Ok(Some(_)) => Err(OpenError::NewerVersion),
            Ok(None) => Err(OpenError::NotSealed),
        }
    }

    fn content(&self, key: &StoreKey, name: &str) -> Option<Vec<u8>> {
        let salt = BASE64_STANDARD_NO_PAD.decode(&self.salt).ok()?;
        let salt = <[u8; SALT_BYTES]>::try_from(salt).ok()?;
        let mut data = BASE64_STANDARD_NO_PAD.decode(&self.data).ok()?;
        let nonce = Nonce::assume_unique_for_key(ONLY_NONCE);
        let key = envelope_key(key, &salt).ok()?;
        let opened = key.open_in_place(nonce, Aad::from(authenticated(name)), &mut data);
        let length = opened.ok()?.len();
        data.truncate(length);
        Some(data)
    }
}

/// The key of one envelope.
fn envelope_key(key: &StoreKey, salt: &[u8; SALT_BYTES]) -> Result<LessSafeKey, Unspecified> {
    let derived = Salt::new(HKDF_SHA256, salt).extract(key.bytes());
    let derived = derived.expand(&[KEY_CONTEXT], &AES_256_GCM)?;
    Ok(LessSafeKey::new(UnboundKey::from(derived)))
}

/// Everything beside the content that must not change. The version comes first and has a fixed length, so that no two pairs
/// of version and name are the same bytes.
fn authenticated(name: &str) -> Vec<u8> {
    let mut bytes = VERSION.to_be_bytes().to_vec();
    bytes.extend(name.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "0123.4567.json";
    const CONTENT: &[u8] = br#"{"refresh_token":"rt-hunter2"}"#;

    fn keys() -> StoreKeys {
        StoreKeys::parse(StoreKeys::generate().expose()).unwrap()
    }

    fn member(record: &[u8], name: &str) -> String {
        let record: serde_json::Value = serde_json::from_slice(record).unwrap();
        record[name].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_record_comes_back_and_is_not_readable_in_between() {
        let keys = keys();
        for content in [CONTENT, b"", &vec![0; 70_000]] {
            let record = keys.seal(NAME, content);
            assert_eq!(keys.open(NAME, &record).unwrap(), content);
            assert!(is_sealed(&record));
        }
        let record = keys.seal(NAME, CONTENT);
        let text = String::from_utf8(record.clone()).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
        let data = BASE64_STANDARD_NO_PAD
            .decode(member(&record, "data"))
            .unwrap();
        assert!(!data.windows(7).any(|it| it == b"hunter2"));
    }

    /// One key must not encrypt twice with one nonce, which is always the same here.
    #[test]
    fn no_two_records_share_a_salt_or_a_ciphertext() {
        let keys = keys();
        let records: Vec<_> = (0..500).map(|_| keys.seal(NAME, CONTENT)).collect();
        for part in ["salt", "data"] {
            let mut values: Vec<_> = records.iter().map(|it| member(it, part)).collect();
            values.sort();
            values.dedup();
            assert_eq!(values.len(), records.len(), "{part}");
        }
    }

    #[test]
    fn no_byte_of_a_record_can_be_changed() {
        let keys = keys();
        let record = keys.seal(NAME, CONTENT);
        for position in 0..record.len() {
            for change in 1..=u8::MAX {
                let mut changed = record.clone();
                changed[position] ^= change;
                assert!(keys.open(NAME, &changed).is_err(), "{position} by {change}");
            }
        }
    }

    #[test]
    fn no_part_of_a_record_can_be_missing_or_added() {
        let keys = keys();
        let record = keys.seal(NAME, CONTENT);
        for length in 0..record.len() {
            let shortened = &record[..length];
            assert_eq!(
                keys.open(NAME, shortened),
                Err(OpenError::Damaged),
                "{length}"
            );
        }
        let mut longer = record.clone();
        longer.push(b'x');
        assert_eq!(keys.open(NAME, &longer), Err(OpenError::Damaged));
        let text = String::from_utf8(record).unwrap();
        let more = text.replacen('{', r#"{"more":1,"#, 1);
        assert_eq!(keys.open(NAME, more.as_bytes()), Err(OpenError::Damaged));
    }

    #[test]
    fn a_record_opens_under_its_own_name_alone() {
        let keys = keys();
        let record = keys.seal(NAME, CONTENT);
        for name in ["", "0123.4567.jso", "0123.4567.json ", "another"] {
            assert_eq!(keys.open(name, &record), Err(OpenError::Damaged), "{name}");
        }
    }

    #[test]
    fn a_key_is_replaced_while_its_records_are_left() {
        let (old, new) = (StoreKeys::generate(), StoreKeys::generate());
        let before = StoreKeys::parse(old.expose()).unwrap();
        let both = format!("{}\n{}\n", new.expose(), old.expose());
        let both = StoreKeys::parse(&both).unwrap();
        let after = StoreKeys::parse(new.expose()).unwrap();

        let record = before.seal(NAME, CONTENT);
        assert!(!before.is_outdated(&record));
        assert_eq!(both.open(NAME, &record).unwrap(), CONTENT);
        assert!(both.is_outdated(&record));
        let problem = after.open(NAME, &record).unwrap_err();
        let unknown = OpenError::UnknownKey {
            id: member(&record, "key"),
            keys: after.names(),
        };
        assert_eq!(problem, unknown);

        let again = both.seal(NAME, CONTENT);
        assert!(!both.is_outdated(&again));
        assert_eq!(after.open(NAME, &again).unwrap(), CONTENT);
    }

    #[test]
    fn a_record_in_clear_is_told_from_a_damaged_and_a_newer_one() {
        let keys = keys();
        let check = |record: &str, problem, sealed| {
            assert_eq!(keys.open(NAME, record.as_bytes()), Err(problem), "{record}");
            assert_eq!(is_sealed(record.as_bytes()), sealed, "{record}");
        };
        check(r#"{"version":1,"server":"x"}"#, OpenError::NotSealed, false);
        check("", OpenError::Damaged, false);
        check("nonsense", OpenError::Damaged, false);
        check(r#"{"sealed":2,"other":1}"#, OpenError::NewerVersion, true);
        check(r#"{"sealed":0}"#, OpenError::Damaged, false);
        check(r#"{"sealed":1}"#, OpenError::Damaged, false);
    }

    #[test]
    fn the_name_of_a_foreign_key_is_shown_only_if_it_looks_like_one() {
        let keys = keys();
        let foreign = r#"{"sealed":1,"key":"\u001b[31m","salt":"","data":""}"#;
        assert_eq!(keys.open(NAME, foreign.as_bytes()), Err(OpenError::Damaged));
    }
}
