//! Random strings that grant something to whoever has them, and the hashes that we keep instead.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use mcp_bridge_text::random;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Length of a token in random bytes. RFC 6749 §10.10 asks that guessing has a chance below 2^-160.
const TOKEN_BYTES: usize = 32;

/// An access token, refresh token, authorization code, client secret or form token, newly made.
///
/// It is opaque: it means nothing without the [`Store`](super::store::Store). There is no `Debug`
/// and no `Display`, so that it is not printed by accident.
#[derive(Clone)]
pub(crate) struct Token(String);

impl Token {
    /// A token nobody has seen before, from a cryptographic random number generator.
    pub(crate) fn generate() -> Self {
        Self(random::string::<TOKEN_BYTES>())
    }

    /// The value, for the place that shows or compares it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// The value, for the one response that hands it out.
    pub(crate) fn into_inner(self) -> String {
        self.0
    }

    /// Digest under which it is stored.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }
}

/// A client secret that somebody chose.
impl From<String> for Token {
    fn from(secret: String) -> Self {
        Self(secret)
    }
}

/// The SHA-256 hash of a token, in base64url.
///
/// The store looks tokens up by their hash. So a copy of the state file opens nothing, and how long
/// a comparison takes says nothing about the token.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Digest(String);

impl Digest {
    /// The hash of what a client presented. For a PKCE verifier this is the challenge of RFC 7636
    /// §4.2.
    pub(crate) fn of(presented: &str) -> Self {
        Self(BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(presented)))
    }

    /// The hash as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// A hash as a client sent it (`code_challenge`), if it has the form of one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        (bytes.len() == Sha256::output_size()).then(|| Self(text.to_owned()))
    }
}
