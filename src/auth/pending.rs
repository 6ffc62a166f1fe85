//! The sign-in under way, as the processes of one account tell each other about it.
//!
//! Apps start several bridges at once and kill them at will. The record lets the others show the same page,
//! continue the flow of a killed process (its browser tab is still open), and not ask a person again who
//! has just said no.

use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::authorization::AuthorizationRequest;
use super::config::SIGN_IN_TIMEOUT;
use super::error::AuthError;
use super::session::Session;
use super::token::unix_millis;
use crate::private_file::{read_private, write_private};

/// A tab that was opened so recently is still looked at; after that the page is opened again.
const TAB_IS_OPEN: Duration = Duration::from_secs(30);

/// Whether a sign-in page waits for a person, going by the record at `path`.
pub(super) fn is_open(path: &Path) -> bool {
    let record = read_private(path).ok().flatten();
    let record = record.and_then(|text| serde_json::from_slice::<PendingSignIn>(&text).ok());
    record.is_some_and(|record| record.request(SIGN_IN_TIMEOUT).is_some())
}

/// The record of one sign-in.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(super) enum PendingSignIn {
    /// The page waits for a person.
    Open {
        request: Box<AuthorizationRequest>,
        /// Milliseconds since 1970.
        started_at: u64,
        /// When a browser was last sent there.
        opened_at: u64,
    },
    /// The person, or the time, decided against it.
    Ended {
        at: u64,
        /// What the authorization server said; none if nobody came.
        denied: Option<String>,
    },
}

impl PendingSignIn {
    /// A request whose page is about to be opened.
    pub(super) fn opened(request: AuthorizationRequest) -> Self {
        let now = now_millis();
        Self::Open {
            request: Box::new(request),
            started_at: now,
            opened_at: now,
        }
    }

    /// The way that others learn of `error`. None if it does not concern them.
    pub(super) fn ended(error: &AuthError) -> Option<Self> {
        let denied = match error {
            AuthError::Denied { reason } => Some(reason.clone()),
            AuthError::TimedOut { .. } => None,
            _ => return None,
        };
        Some(Self::Ended {
            at: now_millis(),
            denied,
        })
    }

    /// The record of this session's account.
    pub(super) async fn read(session: &Session) -> Option<Self> {
        session
            .with_store(|store| {
                let path = store.path("sign-in")?;
                let text = read_private(&path).ok()??;
                serde_json::from_slice(&text).ok()
            })
            .await
            .flatten()
    }

    /// Publishes the record. Without a store there is nobody to tell.
    pub(super) async fn write(self, session: &Session) {
        session
            .with_store(move |store| {
                let path = store.path("sign-in")?;
                write_private(&path, &self)
                    .inspect_err(|error| tracing::debug!(%error, "sign-in not recorded"))
                    .ok()
            })
            .await;
    }

    /// Removes the record.
    pub(super) async fn clear(session: &Session) {
        session
            .with_store(|store| store.path("sign-in").map(std::fs::remove_file))
            .await;
    }

    /// Removes the record of a sign-in that nobody waits for any more.
    pub(super) async fn clear_what_is_over(session: &Session) {
        session
            .with_store(|store| {
                let path = store.path("sign-in")?;
                (!is_open(&path)).then(|| std::fs::remove_file(path))
            })
            .await;
    }

    /// The request, if its page can still be answered.
    pub(super) fn request(&self, limit: Duration) -> Option<&AuthorizationRequest> {
        match self {
            Self::Open {
                request,
                started_at,
                ..
            } if age(*started_at) < limit => Some(request),
            Self::Open { .. } | Self::Ended { .. } => None,
        }
    }

    /// Whether a browser shows the page, as far as one can know.
    pub(super) fn has_tab(&self) -> bool {
        matches!(self, Self::Open { opened_at, .. } if age(*opened_at) < TAB_IS_OPEN)
    }

    /// The same sign-in, with its page opened again.
    pub(super) fn reopened(self) -> Self {
        match self {
            Self::Open {
                request,
                started_at,
                ..
            } => Self::Open {
                request,
                started_at,
                opened_at: now_millis(),
            },
            ended @ Self::Ended { .. } => ended,
        }
    }

    /// The failure, if it came after `moment` (milliseconds since 1970).
    pub(super) fn failure_since(&self, moment: u64, limit: Duration) -> Option<AuthError> {
        match self {
            Self::Ended { at, denied } if *at >= moment => Some(match denied {
                Some(reason) => AuthError::Denied {
                    reason: reason.clone(),
                },
                None => AuthError::TimedOut { limit, url: None },
            }),
            Self::Ended { .. } | Self::Open { .. } => None,
        }
    }
}

pub(super) fn now_millis() -> u64 {
    unix_millis(SystemTime::now())
}

/// A record from the future is as good as none.
fn age(moment: u64) -> Duration {
    now_millis()
        .checked_sub(moment)
        .map_or(Duration::MAX, Duration::from_millis)
}
