//! Random bytes and strings of the operating system, for secrets and for ids that must be unique.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// Random bytes, fit for secrets.
///
/// # Panics
/// If the operating system has no random numbers, as the standard library's hash maps do.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has random numbers");
    bytes
}

/// A random number.
#[must_use]
pub fn number() -> u64 {
    u64::from_ne_bytes(bytes())
}

/// `N` random bytes in base64url without padding (RFC 4648 §5): the characters of a PKCE verifier (RFC 7636 §4.1).
#[must_use]
pub fn string<const N: usize>() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes::<N>())
}

/// A UUID, version 4 (RFC 9562 §5.4).
#[must_use]
pub fn uuid() -> String {
    let random = u128::from_ne_bytes(bytes());
    let (high, low) = (random >> 64, random & u128::from(u64::MAX));
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        (low >> 48) & 0x3fff | 0x8000,
        low & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_strings_are_the_same() {
        assert_ne!(string::<16>(), string::<16>());
        assert_ne!(number(), number());
        assert_ne!(uuid(), uuid());
    }

    #[test]
    fn a_string_of_32_bytes_is_a_pkce_verifier() {
        let verifier = string::<32>();
        assert_eq!(verifier.len(), 43);
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
        assert!(verifier.chars().all(allowed), "{verifier}");
    }

    #[test]
    fn a_uuid_has_its_version_and_variant() {
        let uuid = uuid();
        let parts: Vec<usize> = uuid.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12], "{uuid}");
        assert_eq!(&uuid[14..15], "4");
        assert!(matches!(&uuid[19..20], "8" | "9" | "a" | "b"), "{uuid}");
    }
}
