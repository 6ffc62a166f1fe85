//! Mutual proof that both sides of a connection know a key, which neither tells: HMAC-SHA256 over a random text of each.

use std::io;

use ring::hmac::{self, HMAC_SHA256, Key};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use mcp_bridge_text::random;

/// Random bytes of each side, by which a proof holds for one connection.
const NONCE_BYTES: usize = 32;

/// Both random texts, that of the viewer first.
type Nonces = [u8; 2 * NONCE_BYTES];

/// Bytes of a proof, those of SHA-256.
const PROOF_BYTES: usize = 32;

/// Beginnings of what is proved: neither side can send the other's proof back as its own.
const BRIDGE: &[u8] = b"mcp-bridge: bridge\n";
const VIEWER: &[u8] = b"mcp-bridge: viewer\n";

/// A key that the bridge has made and its user's processes can read.
pub(super) struct SharedKey(Key);

impl SharedKey {
    /// The key with these bytes.
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(Key::new(HMAC_SHA256, bytes))
    }

    /// Makes the other side prove that it is a viewer, once this one has proved to be the bridge. Nothing is sent before the
    /// other has spoken.
    pub(super) async fn check_viewer<S>(&self, stream: &mut S) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let theirs = received(stream).await?;
        let own = random::bytes();
        let nonces = both(theirs, own);
        let answer = [&own[..], &self.proof(BRIDGE, &nonces)].concat();
        stream.write_all(&answer).await?;
        self.check(VIEWER, &nonces, received(stream).await?)
    }

    /// Makes the other side prove that it is the bridge, and proves to be a viewer.
    pub(super) async fn check_bridge<S>(&self, stream: &mut S) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let own = random::bytes();
        stream.write_all(&own).await?;
        let nonces = both(own, received(stream).await?);
        self.check(BRIDGE, &nonces, received(stream).await?)?;
        stream.write_all(&self.proof(VIEWER, &nonces)).await
    }

    fn proof(&self, role: &[u8], nonces: &Nonces) -> Vec<u8> {
        let proof = hmac::sign(&self.0, &[role, nonces].concat());
        proof.as_ref().to_vec()
    }

    fn check(&self, role: &[u8], nonces: &Nonces, proof: [u8; PROOF_BYTES]) -> io::Result<()> {
        let claim = [role, nonces].concat();
        hmac::verify(&self.0, &claim, &proof)
            .map_err(|_| io::Error::new(io::ErrorKind::PermissionDenied, "it has not the key"))
    }
}

fn both(viewer: [u8; NONCE_BYTES], bridge: [u8; NONCE_BYTES]) -> Nonces {
    let mut nonces = [0; 2 * NONCE_BYTES];
    nonces[..NONCE_BYTES].copy_from_slice(&viewer);
    nonces[NONCE_BYTES..].copy_from_slice(&bridge);
    nonces
}

async fn received<S, const N: usize>(stream: &mut S) -> io::Result<[u8; N]>
where
    S: AsyncRead + Unpin,
{
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::duplex;

    const PIPE_BYTES: usize = 1024;

    fn kinds(results: (io::Result<()>, io::Result<()>)) -> [Option<io::ErrorKind>; 2] {
        [results.0, results.1].map(|it| it.err().map(|error| error.kind()))
    }

    #[tokio::test]
    async fn both_sides_with_the_key_are_content_and_nobody_is_with_another_one() {
        let (right, wrong) = (SharedKey::of(b"right"), SharedKey::of(b"wrong"));
        for (at_bridge, at_viewer, expected) in [
            (&right, &right, [None, None]),
            (
                &right,
                &wrong,
                // The viewer leaves at once.
                [
                    Some(io::ErrorKind::UnexpectedEof),
                    Some(io::ErrorKind::PermissionDenied),
                ],
            ),
        ] {
            let (mut bridge, mut viewer) = duplex(PIPE_BYTES);
            let results = tokio::join!(at_bridge.check_viewer(&mut bridge), async move {
                at_viewer.check_bridge(&mut viewer).await
            });
            assert_eq!(kinds(results), expected);
        }
    }

    #[tokio::test]
    async fn a_proof_that_is_sent_back_or_again_is_refused() {
        let key = SharedKey::of(b"right");
        // The bridge's own proof, sent back.
        let (mut bridge, mut other) = duplex(PIPE_BYTES);
        let nonce = [7; NONCE_BYTES];
        let (checked, proof) = tokio::join!(key.check_viewer(&mut bridge), async {
            other.write_all(&nonce).await.unwrap();
            let _: [u8; NONCE_BYTES] = received(&mut other).await.unwrap();
            let proof: [u8; PROOF_BYTES] = received(&mut other).await.unwrap();
            other.write_all(&proof).await.unwrap();
            proof
        });
        let refused = Some(io::ErrorKind::PermissionDenied);
        assert_eq!(checked.err().map(|error| error.kind()), refused);
        // The same proof to a viewer, who has another random text.
        let (mut viewer, mut other) = duplex(PIPE_BYTES);
        let (checked, ()) = tokio::join!(key.check_bridge(&mut viewer), async {
            other.write_all(&nonce).await.unwrap();
            other.write_all(&proof).await.unwrap();
        });
        assert_eq!(checked.err().map(|error| error.kind()), refused);
    }

    #[tokio::test]
    async fn who_says_nothing_is_told_nothing() {
        let key = SharedKey::of(b"right");
        let (mut bridge, mut other) = duplex(PIPE_BYTES);
        other.shutdown().await.unwrap();
        let ended = key.check_viewer(&mut bridge).await;
        assert_eq!(
            ended.err().map(|error| error.kind()),
            Some(io::ErrorKind::UnexpectedEof)
        );
        drop(bridge);
        let mut heard = Vec::new();
        other.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"");
    }
}
