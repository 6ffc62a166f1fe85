//! Memory of the proofs that were used, so that each is good for one request (RFC 9449 §11.1).

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::super::replicas::SharedState;
use super::super::token::{Digest, Token};
use super::proof::WINDOW_SECONDS;
use super::{Proof, ProofRefusal, Role};

/// Time for which a proof is remembered, in seconds: it may be as far ahead of our clock as it may later be behind.
const MEMORY_SECONDS: u32 = 2 * WINDOW_SECONDS;

/// Most proofs that are remembered without Redis; about 10 MB. Beyond it new ones are refused, since to forget one would be to
/// let it be used again.
const MAX_PROOFS: usize = 100_000;

/// Prefix of the keys of used proofs in Redis.
const USED: &str = "mcp-example:dpop-proof:";

/// Remembers a proof. False if it was there before, unless this very command put it there: one that is sent again, because the
/// connection broke, must not take its first attempt for a replay.
const REMEMBER: &str = "\
local user = redis.call('GET', KEYS[1])
if user then return user == ARGV[1] and 1 or 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1";

/// The proofs that were used.
pub(super) enum UsedProofs {
    /// By this process.
    Own(Mutex<Memory>),
    /// By all replicas.
    Shared(Arc<SharedState>),
}

impl UsedProofs {
    pub(super) fn new(shared: Option<Arc<SharedState>>) -> Self {
        shared.map_or_else(|| Self::Own(Mutex::default()), Self::Shared)
    }

    /// Remembers a proof, and refuses one that is remembered. Clients choose their identifiers, so those of two keys may be
    /// alike.
    pub(super) async fn use_up(&self, role: Role, proof: &Proof) -> Result<(), ProofRefusal> {
        let text = format!("{role:?} {} {}", proof.key().as_str(), proof.id());
        let id = Digest::of(&text);
        let is_first = match self {
            Self::Own(memory) => {
                let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
                memory.insert(id, Instant::now())?
            }
            Self::Shared(shared) => {
                let mut command = redis::cmd("EVAL");
                command.arg(REMEMBER).arg(1);
                command.arg(format!("{USED}{}", id.as_str()));
                command.arg(Token::generate().expose()).arg(MEMORY_SECONDS);
                shared.ask(&command).await?
            }
        };
        if is_first {
            return Ok(());
        }
        Err(ProofRefusal::invalid("the proof was used before (jti)"))
    }
}

/// Used proofs, the oldest first.
#[derive(Default)]
pub(super) struct Memory {
    known: HashSet<Digest>,
    order: VecDeque<(Instant, Digest)>,
}

impl Memory {
    /// True if the proof was not known.
    fn insert(&mut self, id: Digest, now: Instant) -> Result<bool, ProofRefusal> {
        let lifetime = Duration::from_secs(MEMORY_SECONDS.into());
        while let Some((since, _)) = self.order.front()
            && now.duration_since(*since) > lifetime
        {
            if let Some((_, old)) = self.order.pop_front() {
                self.known.remove(&old);
            }
        }
        if self.known.contains(&id) {
            return Ok(false);
        }
        if self.known.len() >= MAX_PROOFS {
            tracing::warn!("more than {MAX_PROOFS} proofs have been used in the last minutes");
            return Err(ProofRefusal::Unverifiable);
        }
        self.order.push_back((now, id.clone()));
        Ok(self.known.insert(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_remembered_for_as_long_as_it_could_be_used_again_and_no_longer() {
        let mut memory = Memory::default();
        let start = Instant::now();
        let later = |seconds: u32| start + Duration::from_secs(seconds.into());
        let mut insert = |name: &str, now| memory.insert(Digest::of(name), now);
        assert!(insert("one", start).unwrap());
        assert!(insert("two", later(1)).unwrap());
        assert!(!insert("one", later(MEMORY_SECONDS)).unwrap());
        assert!(insert("one", later(MEMORY_SECONDS + 1)).unwrap());
        assert!(!insert("two", later(MEMORY_SECONDS + 1)).unwrap());
        assert_eq!(memory.order.len(), memory.known.len());
    }

    #[test]
    fn a_full_memory_refuses_proofs_and_forgets_none() {
        let mut memory = Memory::default();
        let start = Instant::now();
        for n in 0..MAX_PROOFS {
            assert!(memory.insert(Digest::of(&n.to_string()), start).unwrap());
        }
        let more = Digest::of("more");
        assert!(memory.insert(more.clone(), start).is_err());
        assert!(!memory.insert(Digest::of("0"), start).unwrap());
        let later = start + Duration::from_secs(u64::from(MEMORY_SECONDS) + 1);
        assert!(memory.insert(more, later).unwrap());
    }
}
