//! DER (X.690), as far as PKCS #12 needs it: tags of one byte, definite lengths.

use super::Pkcs12Error;

pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;

/// `[0]` with a value of its own tag in it.
pub(super) const EXPLICIT_0: u8 = 0xa0;

/// `[0]` in the place of the tag of an octet string.
pub(super) const IMPLICIT_0: u8 = 0x80;

/// Longest length that is read, in bytes of the length itself: files of 4 GiB.
const LONGEST_LENGTH: usize = 4;

/// Reader of the values in a text, one after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Values<'a>(&'a [u8]);

impl<'a> Values<'a> {
    pub(super) const fn new(text: &'a [u8]) -> Self {
        Self(text)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next value: its tag and its content.
    pub(super) fn any(&mut self) -> Result<(u8, &'a [u8]), Pkcs12Error> {
        let broken = Pkcs12Error::NotPkcs12;
        let (&[tag, first], rest) = self.0.split_first_chunk().ok_or(broken)?;
        let (length, rest) = if first < 0x80 {
            (usize::from(first), rest)
        } else {
            let count = usize::from(first & 0x7f);
            // 0 is an indefinite length, which DER does not have.
            if count == 0 || count > LONGEST_LENGTH {
                return Err(broken);
            }
            let (bytes, rest) = rest.split_at_checked(count).ok_or(broken)?;
            let length = bytes
                .iter()
                .fold(0, |sum: usize, byte| (sum << 8) | usize::from(*byte));
            (length, rest)
        };
        let (content, rest) = rest.split_at_checked(length).ok_or(broken)?;
        self.0 = rest;
        Ok((tag, content))
    }

    /// The content of the next value, which has this tag.
    pub(super) fn value(&mut self, tag: u8) -> Result<&'a [u8], Pkcs12Error> {
        match self.any()? {
            (found, content) if found == tag => Ok(content),
            _ => Err(Pkcs12Error::NotPkcs12),
        }
    }

    /// The values in the next value, which has this tag.
    pub(super) fn inside(&mut self, tag: u8) -> Result<Self, Pkcs12Error> {
        self.value(tag).map(Self)
    }

    /// The next value as a small number.
    pub(super) fn number(&mut self) -> Result<u32, Pkcs12Error> {
        let bytes = self.value(INTEGER)?;
        let is_small = bytes.len() <= 5 && bytes.first().is_some_and(|byte| byte & 0x80 == 0);
        if !is_small {
            return Err(Pkcs12Error::NotPkcs12);
        }
        let number = bytes
            .iter()
            .fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
        u32::try_from(number).map_err(|_| Pkcs12Error::NotPkcs12)
    }

    /// True if the next value has this tag.
    pub(super) fn is_next(&self, tag: u8) -> bool {
        self.0.first() == Some(&tag)
    }
}
