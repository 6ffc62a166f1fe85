//! The keychain of the operating system: bounded in time, and in pieces where it takes only small ones.

#[cfg(test)]
pub(crate) mod memory;
mod named;
mod system;
mod vault;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};

use mcp_bridge_net::descriptors;
use mcp_bridge_net::mutex::Mutex;
use mcp_bridge_net::setting::Setting;
use mcp_bridge_text::secret::Secret;

pub use self::named::{BadSecretName, SecretName};
pub use self::vault::Vault;

/// No credential needs more pieces, even of the smallest size.
const MOST_PIECES: usize = 32;

/// Digits of the hash by which pieces of one secret are told from those of another.
const HASH_CHARS: usize = 16;

/// The keychain. Nothing is asked of it before it is needed.
#[derive(Clone)]
pub struct Keychain(Arc<Inner>);

struct Inner {
    vault: OnceLock<Arc<dyn Vault>>,
    limits: KeychainLimits,
    /// It has not answered in time, and is not waited for again until that answer has come.
    lost: Mutex<Option<KeychainError>>,
    has_complained: AtomicBool,
}

/// Limits of a keychain.
#[derive(Debug, Clone, Copy)]
pub struct KeychainLimits {
    /// Longest wait for it.
    pub time: Duration,
    /// The largest secret that it takes, in bytes.
    pub size: usize,
}

/// Reason why the keychain could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the keychain can't be used: {0}")]
pub struct KeychainError(String);

impl KeychainError {
    pub(crate) fn damaged() -> Self {
        Self("what lies there is not what was put there".into())
    }

    /// Advice for the person.
    #[must_use]
    pub fn hint(&self) -> String {
        format!("{}, or use {} file", system::HINT, Setting::Store)
    }
}

impl Default for Keychain {
    /// The one of the operating system.
    fn default() -> Self {
        let limits = KeychainLimits {
            time: system::LIMIT,
            size: system::LARGEST_SECRET,
        };
        Self::with_limits(OnceLock::new(), limits)
    }
}

impl fmt::Debug for Keychain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keychain")
    }
}

impl Keychain {
    /// Another one than that of the operating system.
    pub fn new(vault: Arc<dyn Vault>, limits: KeychainLimits) -> Self {
        Self::with_limits(OnceLock::from(vault), limits)
    }

    fn with_limits(vault: OnceLock<Arc<dyn Vault>>, limits: KeychainLimits) -> Self {
        Self(Arc::new(Inner {
            vault,
            limits,
            lost: Mutex::new(None),
            has_complained: AtomicBool::new(false),
        }))
    }

    /// Checks that it can be used now. Blocks for as long as it takes to answer.
    pub fn check(&self) -> Result<(), KeychainError> {
        self.get("nothing").map(|_| ())
    }

    /// The secret of this name; none if there is none.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Secret<Vec<u8>>>, KeychainError> {
        let name = name.to_owned();
        let found = self.call(move |vault| read(vault, &name))?;
        match found {
            None => Ok(None),
            Some(pieces) => joined(&pieces)
                .map(|secret| Some(Secret::new(secret)))
                .ok_or_else(KeychainError::damaged),
        }
    }

    /// Makes or replaces the secret of this name.
    pub(crate) fn set(&self, name: &str, secret: &[u8]) -> Result<(), KeychainError> {
        let name = name.to_owned();
        let pieces = pieces(secret, self.0.limits.size)
            .ok_or_else(|| KeychainError("the sign-in is too large for it".into()))?;
        self.call(move |vault| {
            for (number, piece) in pieces.iter().enumerate() {
                vault.set(&piece_name(&name, number), piece)?;
            }
            delete_from(vault, &name, pieces.len())
        })
    }

    /// Removes the secret of this name, if there is one.
    pub(crate) fn delete(&self, name: &str) -> Result<(), KeychainError> {
        let name = name.to_owned();
        self.call(move |vault| delete_from(vault, &name, 0))
    }

    /// Tells the person once that their wish can't be fulfilled.
    pub(crate) fn complain(&self, error: &KeychainError) {
        if !self.0.has_complained.swap(true, Ordering::Relaxed) {
            tracing::warn!("{error}; what is kept there is not used in this run");
        }
    }

    /// Runs `operation` in a thread that nobody waits for longer than the limit.
    fn call<T: Send + 'static>(
        &self,
        operation: impl Fn(&dyn Vault) -> Result<T, String> + Send + 'static,
    ) -> Result<T, KeychainError> {
        if let Some(lost) = &*self.0.lost.lock() {
            return Err(lost.clone());
        }
        let inner = Arc::clone(&self.0);
        let (sender, receiver) = mpsc::sync_channel(1);
        let asking = move || {
            let ask = || inner.vault().and_then(|vault| operation(&*vault));
            let outcome = descriptors::retry_unexplained(ask);
            // Nobody listens any more if it took too long; but a person who took their time has answered for the next.
            let _ = sender.send(outcome);
            inner.lost.lock().take();
        };
        let started = thread::Builder::new().name("keychain".into()).spawn(asking);
        started.map_err(|error: io::Error| KeychainError(error.to_string()))?;
        if let Ok(outcome) = receiver.recv_timeout(self.0.limits.time) {
            return outcome.map_err(KeychainError);
        }
        let lost = format!("no answer within {} s", self.0.limits.time.as_secs_f64());
        let lost = KeychainError(lost);
        *self.0.lost.lock() = Some(lost.clone());
        // It may have come in between, and then nobody takes the note away.
        match receiver.try_recv() {
            Ok(outcome) => {
                self.0.lost.lock().take();
                outcome.map_err(KeychainError)
            }
            Err(_) => Err(lost),
        }
    }
}

impl Inner {
    fn vault(&self) -> Result<Arc<dyn Vault>, String> {
        if let Some(vault) = self.vault.get() {
            return Ok(Arc::clone(vault));
        }
        let vault = system::open()?;
        Ok(Arc::clone(self.vault.get_or_init(|| vault)))
    }
}

/// The first piece has the name itself.
fn piece_name(name: &str, number: usize) -> String {
    match number {
        0 => name.to_owned(),
        _ => format!("{name} {number}"),
    }
}

/// The secret cut so that each piece fits. The first begins with a line that says how many there are, and
/// what all of them together must hash to: others may write while we read.
fn pieces(secret: &[u8], size: usize) -> Option<Vec<Vec<u8>>> {
    const LONGEST_HEAD: usize = 32;
    let first = secret.len().min(size.checked_sub(LONGEST_HEAD)?);
    let (first, rest) = secret.split_at(first);
    let rest = rest.chunks(size);
    let count = 1 + rest.len();
    if count > MOST_PIECES {
        return None;
    }
    let mut head = format!("{count} {}\n", hash(secret)).into_bytes();
    head.extend_from_slice(first);
    Some(
        std::iter::once(head)
            .chain(rest.map(<[u8]>::to_vec))
            .collect(),
    )
}

fn read(vault: &dyn Vault, name: &str) -> Result<Option<Vec<Vec<u8>>>, String> {
    let Some(first) = vault.get(name)? else {
        return Ok(None);
    };
    let count = head(&first).map_or(1, |(count, ..)| count.min(MOST_PIECES));
    let mut pieces = vec![first];
    for number in 1..count {
        pieces.extend(vault.get(&piece_name(name, number))?);
    }
    Ok(Some(pieces))
}

/// The secret in its pieces; none if they do not belong together.
fn joined(pieces: &[Vec<u8>]) -> Option<Vec<u8>> {
    let (first, rest) = pieces.split_first()?;
    let (count, expected, begin) = head(first)?;
    let secret = [begin, &rest.concat()].concat();
    (count == pieces.len() && hash(&secret) == expected).then_some(secret)
}

/// Number of pieces, their hash, and how the secret begins.
fn head(first: &[u8]) -> Option<(usize, &str, &[u8])> {
    let end = first.iter().position(|byte| *byte == b'\n')?;
    let line = std::str::from_utf8(&first[..end]).ok()?;
    let (count, hash) = line.split_once(' ')?;
    Some((count.parse().ok()?, hash, &first[end + 1..]))
}

fn delete_from(vault: &dyn Vault, name: &str, first: usize) -> Result<(), String> {
    for number in first..MOST_PIECES {
        let name = piece_name(name, number);
        if number > 0 && vault.get(&name)?.is_none() {
            break;
        }
        vault.delete(&name)?;
    }
    Ok(())
}

fn hash(secret: &[u8]) -> String {
    let mut hash = format!("{:x}", Sha256::digest(secret));
    hash.truncate(HASH_CHARS);
    hash
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use tokio::time::Instant;

    use super::*;

    #[derive(Default)]
    struct Small(Mutex<BTreeMap<String, Vec<u8>>>);

    const SMALL: KeychainLimits = KeychainLimits {
        time: system::LIMIT,
        size: 64,
    };

    impl Vault for Small {
        fn get(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
            Ok(self.0.lock().unwrap().get(name).cloned())
        }

        fn set(&self, name: &str, secret: &[u8]) -> Result<(), String> {
            assert!(secret.len() <= SMALL.size);
            self.0.lock().unwrap().insert(name.into(), secret.into());
            Ok(())
        }

        fn delete(&self, name: &str) -> Result<(), String> {
            self.0.lock().unwrap().remove(name);
            Ok(())
        }
    }

    #[test]
    fn a_secret_of_any_size_comes_back_and_leaves_nothing_behind() {
        let vault = Arc::new(Small::default());
        let keychain = Keychain::new(vault.clone(), SMALL);
        for length in [0, 1, 31, 32, 33, 500, 64, 2] {
            let secret: Vec<u8> = (0..=u8::MAX).cycle().take(length).collect();
            keychain.set("a b", &secret).unwrap();
            let found = keychain.get("a b").unwrap().unwrap();
            assert_eq!(found.expose(), &secret);
        }
        assert_eq!(vault.0.lock().unwrap().len(), 1, "pieces of a larger one");
        keychain.delete("a b").unwrap();
        keychain.delete("a b").unwrap();
        assert!(keychain.get("a b").unwrap().is_none());
        assert!(vault.0.lock().unwrap().is_empty());
        assert!(keychain.set("a b", &[0; 64 * MOST_PIECES]).is_err());
    }

    #[test]
    fn pieces_of_two_secrets_are_not_taken_for_one() {
        let vault = Arc::new(Small::default());
        let keychain = Keychain::new(vault.clone(), SMALL);
        keychain.set("a", &[1; 100]).unwrap();
        vault.set("a 1", &[2; 64]).unwrap();
        assert_eq!(keychain.get("a").unwrap_err(), KeychainError::damaged());
        vault.delete("a 1").unwrap();
        assert_eq!(keychain.get("a").unwrap_err(), KeychainError::damaged());
    }

    struct Hanging(Mutex<mpsc::Receiver<()>>);

    impl Vault for Hanging {
        fn get(&self, _: &str) -> Result<Option<Vec<u8>>, String> {
            let _ = self.0.lock().unwrap().recv();
            Ok(None)
        }

        fn set(&self, _: &str, _: &[u8]) -> Result<(), String> {
            Ok(())
        }

        fn delete(&self, _: &str) -> Result<(), String> {
            Ok(())
        }
    }

    #[test]
    fn a_keychain_that_hangs_is_waited_for_once() {
        let (_held, never) = mpsc::channel();
        let limits = KeychainLimits {
            time: Duration::from_millis(1),
            size: usize::MAX,
        };
        let keychain = Keychain::new(Arc::new(Hanging(Mutex::new(never))), limits);
        let error = keychain.get("a").unwrap_err();
        assert!(error.to_string().contains("no answer within"), "{error}");
        // It would take this one.
        assert_eq!(keychain.set("a", b"x").unwrap_err(), error);
    }

    /// A person may take longer than the limit to answer the question of the system.
    #[test]
    fn a_keychain_that_has_answered_late_is_used_again() {
        const LIMIT: Duration = Duration::from_secs(30);
        let (answers, held) = mpsc::channel();
        let limits = KeychainLimits {
            time: Duration::from_millis(50),
            size: usize::MAX,
        };
        let keychain = Keychain::new(Arc::new(Hanging(Mutex::new(held))), limits);
        keychain.get("a").unwrap_err();
        drop(answers);
        let since = Instant::now();
        while keychain.get("a").is_err() {
            assert!(since.elapsed() < LIMIT, "it is not asked again");
        }
    }
}
