//! The plan: an endless list of actions with pauses between them, which the seed alone decides.

use std::time::Duration;

use crate::{
    random::Random,
    world::{ACCOUNTS, APPS, SERVERS},
};

/// The pause between two actions, in milliseconds: from, and up to.
const PAUSE_MS: (u64, u64) = (150, 1_200);

/// The time between two revocations of the grant of one account. A bridge begins five sign-ins in five
/// minutes at most, and a kill in the wrong moment may cost one more.
const BETWEEN_REVOCATIONS: Duration = Duration::from_secs(150);

/// Before the first revocation, so that a short run has one late and one account without any.
const FIRST_REVOCATION: Duration = Duration::from_secs(20);

/// The time between two access tokens of an account that are taken back. A bridge takes a token that is
/// refused within ten seconds after a refresh for a reason to sign in.
const BETWEEN_EXPIRIES: Duration = Duration::from_secs(12);

/// One action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// SIGKILL, and a new start after a while.
    Kill { app: usize, pause_ms: u64 },
    /// SIGKILL to all bridges of an account at once, and a new start of all together.
    KillAll { account: usize, pause_ms: u64 },
    /// SIGSTOP, and SIGCONT after a while: what a process sees of a machine that sleeps.
    Stop { app: usize, ms: u64 },
    /// SIGSTOP to all bridges of an account at once.
    StopAll { account: usize, ms: u64 },
    /// The app closes stdin, and starts the bridge again.
    Leave { app: usize, pause_ms: u64 },
    /// SIGTERM, and a new start.
    Terminate { app: usize, pause_ms: u64 },
    /// All connections and sessions of a server end.
    Restart { server: usize },
    /// The server is gone for a while: connections are refused.
    Down { server: usize, ms: u64 },
    /// Sessions are lost while connections stay.
    ForgetSessions { server: usize },
    /// Streams of the server's own notifications end.
    CutStreams { server: usize },
    /// The server sends notifications of its own.
    Tell { server: usize, count: u64 },
    /// The server is reached at another address from now on.
    Move { server: usize },
    /// Access tokens become void long before their time.
    ExpireAccess { account: usize },
    /// The user takes the grant back.
    Revoke { account: usize },
    /// The authorization server refuses connections.
    AuthorityDown { account: usize, ms: u64 },
    /// The authorization server answers with errors that pass.
    AuthorityFails { account: usize, ms: u64 },
    /// The authorization server answers late.
    AuthoritySlow { account: usize, ms: u64 },
    /// The next person to sign in takes longer.
    Dawdle { account: usize, ms: u64 },
    /// The proxy refuses connections.
    ProxyDown { ms: u64 },
    /// All connections through the proxy end.
    CutProxy,
    /// No process can write files.
    FullDisk { ms: u64 },
}

/// An action in its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) number: u64,
    /// The time from the beginning.
    pub(crate) at: Duration,
    pub(crate) action: Action,
}

/// Plan of a run, step by step.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    random: Random,
    number: u64,
    at: Duration,
    /// For each account: when its grant may be taken back, and when its access tokens.
    revocable: [Duration; ACCOUNTS],
    expirable: [Duration; ACCOUNTS],
}

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let revocable = std::array::from_fn(|account| {
            let turn = u32::try_from(account).expect("there are few");
            let jitter = Duration::from_secs(random.below(15));
            FIRST_REVOCATION + BETWEEN_REVOCATIONS / 2 * turn + jitter
        });
        Self {
            random,
            number: 0,
            at: Duration::ZERO,
            revocable,
            expirable: [BETWEEN_EXPIRIES; ACCOUNTS],
        }
    }

    fn action(&mut self) -> Action {
        if let Some(account) = self.due_revocation() {
            return Action::Revoke { account };
        }
        let random = &mut self.random;
        let app = random.index(APPS.len());
        let mortals: Vec<_> = (0..APPS.len()).filter(|it| !APPS[*it].is_kept).collect();
        let mortal = random.pick(&mortals);
        let server = random.index(SERVERS.len());
        let account = random.index(ACCOUNTS);
        let pause_ms = random.below(1_500);
        match random.below(100) {
            0..=13 => Action::Kill {
                app: mortal,
                pause_ms,
            },
            14..=17 => Action::KillAll { account, pause_ms },
            18..=24 => {
                let ms = if random.one_in(4) { 9_000 } else { 1_500 };
                let ms = random.between(100, ms);
                Action::Stop { app, ms }
            }
            25..=26 => {
                let ms = random.between(1_000, 9_000);
                Action::StopAll { account, ms }
            }
            27..=31 => Action::Leave {
                app: mortal,
                pause_ms,
            },
            32..=34 => Action::Terminate {
                app: mortal,
                pause_ms,
            },
            35..=40 => Action::Restart { server },
            41..=45 => {
                let ms = random.between(50, 4_000);
                Action::Down { server, ms }
            }
            46..=50 => Action::ForgetSessions { server },
            51..=54 => Action::CutStreams { server },
            55..=64 => {
                let count = random.between(1, 20);
                Action::Tell { server, count }
            }
            65..=69 => {
                let movable: Vec<_> = (0..SERVERS.len()).filter(|it| SERVERS[*it].moves).collect();
                Action::Move {
                    server: random.pick(&movable),
                }
            }
            70..=75 => self.expiry(account),
            76..=79 => {
                let ms = random.between(500, 6_000);
                Action::AuthorityDown { account, ms }
            }
            80..=83 => {
                let ms = random.between(500, 6_000);
                Action::AuthorityFails { account, ms }
            }
            84..=89 => {
                let ms = random.between(500, 8_000);
                Action::AuthoritySlow { account, ms }
            }
            90..=91 => {
                let ms = random.between(1_000, 8_000);
                Action::Dawdle { account, ms }
            }
            92..=94 => {
                let ms = random.between(200, 3_000);
                Action::ProxyDown { ms }
            }
            95..=97 => Action::CutProxy,
            _ => {
                let ms = random.between(500, 8_000);
                Action::FullDisk { ms }
            }
        }
    }

    fn due_revocation(&mut self) -> Option<usize> {
        let account = (0..ACCOUNTS).find(|account| self.at >= self.revocable[*account])?;
        let jitter = Duration::from_secs(self.random.below(60));
        self.revocable[account] = self.at + BETWEEN_REVOCATIONS + jitter;
        Some(account)
    }

    /// Takes back the access tokens of the account, or does something harmless where that was done just now.
    fn expiry(&mut self, account: usize) -> Action {
        if self.at < self.expirable[account] {
            return Action::Dawdle { account, ms: 500 };
        }
        self.expirable[account] = self.at + BETWEEN_EXPIRIES;
        Action::ExpireAccess { account }
    }
}

impl Iterator for Plan {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let (least, end) = PAUSE_MS;
        self.at += Duration::from_millis(self.random.between(least, end));
        self.number += 1;
        Some(Step {
            number: self.number,
            at: self.at,
            action: self.action(),
        })
    }
}
