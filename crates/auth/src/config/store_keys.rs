//! Keys with which stored records are encrypted, from a file or the environment.

use std::fmt;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use ring::hmac;

use mcp_bridge_text::random;
use mcp_bridge_text::secret::Secret;

/// Length of a key: 256 bits, as AES-256 takes them.
const KEY_BYTES: usize = 32;

/// Digits of a key's name in a record: 64 bits, enough to tell a handful of keys apart.
const ID_BYTES: usize = 8;

/// Limit for keys at a time. A change of keys needs two.
const MOST_KEYS: usize = 16;

/// Tells the name of a key from other values that are derived from it.
const ID_CONTEXT: &[u8] = b"mcp-bridge store key id";

/// Keys of a store: the first one encrypts, and all of them decrypt, so that a key can be replaced while records of the old
/// one are left.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreKeys {
    writing: StoreKey,
    /// All keys, the writing one among them.
    reading: Vec<StoreKey>,
}

/// One key, and its name in records.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct StoreKey {
    id: String,
    key: Secret<[u8; KEY_BYTES]>,
}

/// Reason why a text holds no keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StoreKeyError {
    /// Nothing but empty lines and comments.
    #[error("holds no key: a key is a line of 44 characters, which mcp-bridge store key prints")]
    NoKey,
    /// A line is not base64.
    #[error("holds no key in line {line}: a key is base64 of {KEY_BYTES} bytes")]
    NotBase64 {
        /// Its number, from 1.
        line: usize,
    },
    /// A line is base64 of something else.
    #[error("holds {bytes} bytes in line {line}, and a key has {KEY_BYTES}")]
    WrongLength {
        /// Its number, from 1.
        line: usize,
        /// Length of what it holds.
        bytes: usize,
    },
    /// More keys than anybody needs.
    #[error("holds more than {MOST_KEYS} keys")]
    TooMany,
}

impl StoreKeys {
    /// Reads keys, one in a line. Empty lines and those that begin with `#` count for nothing.
    pub fn parse(text: &str) -> Result<Self, StoreKeyError> {
        let lines = text.lines().map(str::trim).zip(1..);
        let with_keys = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
        let mut reading = Vec::new();
        for (line, number) in with_keys {
            if reading.len() == MOST_KEYS {
                return Err(StoreKeyError::TooMany);
            }
            reading.push(StoreKey::parse(line, number)?);
        }
        let writing = reading.first().cloned().ok_or(StoreKeyError::NoKey)?;
        Ok(Self { writing, reading })
    }

    /// A new key, as [`Self::parse`] reads it.
    #[must_use]
    pub fn generate() -> Secret<String> {
        BASE64_STANDARD.encode(random::bytes::<KEY_BYTES>()).into()
    }

    pub(crate) fn writing(&self) -> &StoreKey {
        &self.writing
    }

    /// The key of this name.
    pub(crate) fn named(&self, id: &str) -> Option<&StoreKey> {
        self.reading.iter().find(|key| key.id == id)
    }

    /// Names of all keys, separated by commas. They tell nothing of the keys.
    pub(crate) fn names(&self) -> String {
        let names: Vec<_> = self.reading.iter().map(StoreKey::id).collect();
        names.join(", ")
    }
}

impl StoreKey {
    fn parse(text: &str, line: usize) -> Result<Self, StoreKeyError> {
        // Both alphabets of RFC 4648, with and without padding: tools differ.
        let digits = text
            .trim_end_matches('=')
            .replace('-', "+")
            .replace('_', "/");
        let bytes = BASE64_STANDARD_NO_PAD
            .decode(digits)
            .map_err(|_| StoreKeyError::NotBase64 { line })?;
        let length = bytes.len();
        let key = <[u8; KEY_BYTES]>::try_from(bytes);
        let key = key.map_err(|_| StoreKeyError::WrongLength {
            line,
            bytes: length,
        })?;
        Ok(Self::new(key))
    }

    fn new(key: [u8; KEY_BYTES]) -> Self {
        let digest = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), ID_CONTEXT);
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&digest.as_ref()[..ID_BYTES]);
        Self {
            id: format!("{:016x}", u64::from_be_bytes(id)),
            key: key.into(),
        }
    }

    /// Name of the key. It is derived from it, so that no two keys share a name and nobody has to choose one.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY_BYTES] {
        self.key.expose()
    }
}

impl fmt::Debug for StoreKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreKeys({}, REDACTED)", self.names())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> String {
        BASE64_STANDARD.encode([byte; KEY_BYTES])
    }

    #[test]
    fn the_first_key_writes_and_all_of_them_read() {
        let text = format!("# since May\n\n {} \r\n{}\n", key(1), key(2));
        let keys = StoreKeys::parse(&text).unwrap();
        assert_eq!(keys.writing().bytes(), &[1; KEY_BYTES]);
        let second = StoreKeys::parse(&key(2)).unwrap().writing().id().to_owned();
        assert_eq!(keys.named(&second).unwrap().bytes(), &[2; KEY_BYTES]);
        assert!(keys.named("0000000000000000").is_none());
    }

    #[test]
    fn a_key_is_read_in_both_alphabets_with_and_without_padding() {
        let bytes = [0xfb; KEY_BYTES];
        let standard = BASE64_STANDARD.encode(bytes);
        let url_safe = standard.replace('+', "-").replace('/', "_");
        for text in [
            &standard,
            &url_safe,
            standard.trim_end_matches('='),
            url_safe.trim_end_matches('='),
        ] {
            assert_eq!(StoreKeys::parse(text).unwrap().writing().bytes(), &bytes);
        }
    }

    #[test]
    fn what_is_no_key_is_refused_by_its_line_and_never_quoted() {
        let check = |text: &str, expected| {
            let error = StoreKeys::parse(text).unwrap_err();
            assert_eq!(error, expected, "{text}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        };
        check("", StoreKeyError::NoKey);
        check("# hunter2\n\n", StoreKeyError::NoKey);
        check("hunter2!", StoreKeyError::NotBase64 { line: 1 });
        let short = format!("{}\nhunter22\n", key(1));
        check(&short, StoreKeyError::WrongLength { line: 2, bytes: 6 });
        check(&(key(1) + "\n").repeat(17), StoreKeyError::TooMany);
    }

    #[test]
    fn a_new_key_is_another_one_each_time_and_is_not_printed() {
        let first = StoreKeys::generate();
        assert_ne!(first, StoreKeys::generate());
        let keys = StoreKeys::parse(first.expose()).unwrap();
        let printed = format!("{keys:?}");
        assert!(printed.contains(keys.writing().id()), "{printed}");
        assert!(!printed.contains(first.expose()), "{printed}");
        assert_ne!(
            keys.writing().id(),
            StoreKeys::parse(&key(1)).unwrap().writing().id()
        );
    }
}
