//! The sign-in under way, as the processes of one account tell each other about it.
//!
//! Apps start several bridges at once and kill them at will. The record lets the others show the same page,
//! continue the flow of a killed process (its browser tab is still open), and not ask a person again who
//! has just said no.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::config::SIGN_IN_TIMEOUT;
use crate::error::AuthError;
use crate::grant::authorization::AuthorizationRequest;
use crate::store::key::CredentialKey;
use crate::store::records::Records;
use crate::store::{SharedStore, StoreError, read_beside};
use crate::token::unix_millis;

/// Extension of the record.
const EXTENSION: &str = "sign-in";

/// The record, as the log names it.
const KIND: &str = "the record of a sign-in";

/// A tab that was opened so recently is still looked at; after that the page is opened again.
const TAB_IS_OPEN: Duration = Duration::from_secs(30);

/// Number of times that a page with a registration of an earlier run is opened and left without an answer before the
/// registration is given up.
const MOST_OPENINGS: u32 = 2;

/// Longest time that a helper may take from the end of a bridge to its own mark in the record, in milliseconds. An
/// app starts the next bridge sooner than that.
const TAKEOVER_MILLIS: u64 = 2000;

/// True if a sign-in page of the account waits for a person, going by the record.
pub(crate) fn is_open(records: &dyn Records, key: &CredentialKey) -> Result<bool, StoreError> {
    let record: Option<PendingSignIn> = read_beside(records, key, EXTENSION, KIND)?;
    Ok(record.is_some_and(|record| record.request(SIGN_IN_TIMEOUT).is_some()))
}

/// The record of one sign-in.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum PendingSignIn {
    /// The page waits for a person.
    Open {
        request: Box<AuthorizationRequest>,
        /// Milliseconds since 1970.
        started_at: u64,
        /// When a browser was last sent there.
        opened_at: u64,
        /// Number of times that a browser was sent there.
        #[serde(default)]
        openings: u32,
        /// Origin of the request's client.
        #[serde(default)]
        client: ClientOrigin,
        /// The helper of the process that opened the page.
        #[serde(default)]
        helper: HelperState,
    },
    /// The person, or the time, decided against it.
    Ended {
        at: u64,
        /// Moment when a helper took over, if it was one that waited in the end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        helper_since: Option<u64>,
        /// Words of the authorization server; none if nobody came.
        denied: Option<String>,
        /// The client of an earlier run whose page brought no answer. The authorization server may have
        /// forgotten it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unanswered_client: Option<String>,
    },
}

/// The helper of a sign-in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HelperState {
    /// There is none.
    #[default]
    None,
    /// It goes on when the process that opened the page ends.
    Ready,
    /// It has gone on since then.
    Since(u64),
}

/// Origin of the client of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ClientOrigin {
    /// It was registered for this sign-in, or is known to be alive, or is none of ours.
    #[default]
    Certain,
    /// It was registered by an earlier run, or a renewal was refused since it was last used.
    Reused,
}

impl PendingSignIn {
    /// A request whose page is about to be opened.
    pub(crate) fn opened(request: AuthorizationRequest, client: ClientOrigin) -> Self {
        let now = now_millis();
        Self::Open {
            request: Box::new(request),
            started_at: now,
            opened_at: now,
            openings: 1,
            client,
            helper: HelperState::None,
        }
    }

    /// The way that others learn of `error`, which ended the sign-in `open`. None if it does not concern them.
    pub(crate) fn ended(error: &AuthError, open: Option<&Self>) -> Option<Self> {
        let (denied, unanswered_client) = match error {
            AuthError::Denied { reason } => (Some(reason.clone()), None),
            AuthError::TimedOut { .. } => (None, open.and_then(Self::unanswered_client)),
            _ => return None,
        };
        Some(Self::Ended {
            at: now_millis(),
            helper_since: open.and_then(Self::helper_since),
            denied,
            unanswered_client,
        })
    }

    /// The record of the account.
    pub(crate) async fn read(store: &SharedStore) -> Option<Self> {
        Self::try_read(store).await.unwrap_or_default()
    }

    async fn try_read(store: &SharedStore) -> Result<Option<Self>, StoreError> {
        let read = store.with(|store| store.read_beside(EXTENSION, KIND)).await;
        read.unwrap_or(Ok(None))
    }

    /// Returns whether a page is recorded, or may be. It is not after a sign-out, or without the directory that it was
    /// recorded in.
    pub(crate) async fn is_recorded(store: &SharedStore) -> bool {
        matches!(
            Self::try_read(store).await,
            Ok(Some(Self::Open { .. })) | Err(_)
        )
    }

    /// Publishes the record. Without a store there is nobody to tell.
    pub(crate) async fn write(self, store: &SharedStore) {
        store
            .with(move |store| store.write_beside(EXTENSION, &self))
            .await;
    }

    /// Removes the record.
    pub(crate) async fn clear(store: &SharedStore) {
        store.with(|store| store.remove_beside(EXTENSION)).await;
    }

    /// Removes the record of a sign-in that no app waits for any more. A helper ends when it finds none.
    pub(crate) async fn clear_what_no_app_waits_for(store: &SharedStore) {
        let open = Self::read(store).await;
        let is_waited_for = open.is_some_and(|open| {
            open.request(SIGN_IN_TIMEOUT).is_some() && open.helper_since().is_none()
        });
        if !is_waited_for {
            Self::clear(store).await;
        }
    }

    /// The request, if its page can still be answered.
    pub(crate) fn request(&self, limit: Duration) -> Option<&AuthorizationRequest> {
        match self {
            Self::Open {
                request,
                started_at,
                ..
            } if age(*started_at) < limit => Some(request),
            Self::Open { .. } | Self::Ended { .. } => None,
        }
    }

    /// The rest of `limit`; none if it is over.
    pub(crate) fn time_left(&self, limit: Duration) -> Option<Duration> {
        match self {
            Self::Open { started_at, .. } => {
                let left = limit.checked_sub(age(*started_at))?;
                (!left.is_zero()).then_some(left)
            }
            Self::Ended { .. } => None,
        }
    }

    /// True if a browser shows the page, as far as one can know.
    pub(crate) fn has_tab(&self) -> bool {
        matches!(self, Self::Open { opened_at, .. } if age(*opened_at) < TAB_IS_OPEN)
    }

    /// True if the page was opened once, before `moment` (milliseconds since 1970).
    pub(crate) fn was_opened_once_before(&self, moment: u64) -> bool {
        matches!(self, Self::Open { opened_at, openings, .. } if *opened_at < moment && *openings <= 1)
    }

    /// Returns whether a process that was started at `moment` should open the page again, which a helper keeps: the
    /// app was started anew meanwhile, perhaps by a person who has closed the tab.
    pub(crate) fn is_kept_for(&self, moment: u64) -> bool {
        let Self::Open {
            helper: HelperState::Since(since),
            opened_at,
            ..
        } = self
        else {
            return false;
        };
        let was_started_since = since.saturating_sub(TAKEOVER_MILLIS) <= moment;
        let is_new = self.was_opened_once_before(moment) || !self.has_tab();
        was_started_since && *opened_at < moment && is_new
    }

    /// Returns whether a helper goes on with it, now that the process which opened the page has ended.
    pub(crate) const fn has_helper_ready(&self) -> bool {
        matches!(
            self,
            Self::Open {
                helper: HelperState::Ready,
                ..
            }
        )
    }

    const fn helper_since(&self) -> Option<u64> {
        match self {
            Self::Open {
                helper: HelperState::Since(since),
                ..
            } => Some(*since),
            Self::Open { .. } => None,
            Self::Ended { helper_since, .. } => *helper_since,
        }
    }

    /// True if the page was opened so often without an answer that its client should not be used again.
    pub(crate) fn is_given_up(&self) -> bool {
        let was_opened_often =
            matches!(self, Self::Open { openings, .. } if *openings >= MOST_OPENINGS);
        was_opened_often && !self.has_tab() && self.unanswered_client().is_some()
    }

    /// The client of an earlier run whose page has brought no answer so far.
    pub(crate) fn unanswered_client(&self) -> Option<String> {
        match self {
            Self::Open {
                request,
                client: ClientOrigin::Reused,
                ..
            } => Some(request.client_id.clone()),
            Self::Open { .. } => None,
            Self::Ended {
                unanswered_client, ..
            } => unanswered_client.clone(),
        }
    }

    /// Origin of the request's client.
    pub(crate) fn client_origin(&self) -> ClientOrigin {
        match self {
            Self::Open { client, .. } => *client,
            Self::Ended { .. } => ClientOrigin::Certain,
        }
    }

    /// The same sign-in, with its page opened again.
    pub(crate) fn reopened(mut self) -> Self {
        if let Self::Open {
            opened_at,
            openings,
            ..
        } = &mut self
        {
            *opened_at = now_millis();
            *openings = openings.saturating_add(1);
        }
        self
    }

    /// The same sign-in, with another request, to which the browser is sent on.
    pub(crate) fn asked_anew(mut self, new: AuthorizationRequest, origin: ClientOrigin) -> Self {
        if let Self::Open {
            request,
            opened_at,
            client,
            ..
        } = &mut self
        {
            **request = new;
            *opened_at = now_millis();
            *client = origin;
        }
        self
    }

    /// The same sign-in, with this state of its helper.
    pub(crate) fn with_helper(mut self, state: HelperState) -> Self {
        if let Self::Open { helper, .. } = &mut self {
            *helper = state;
        }
        self
    }

    /// The same sign-in, kept by a helper from now on.
    pub(crate) fn kept_by_helper(self) -> Self {
        self.with_helper(HelperState::Since(now_millis()))
    }

    /// The failure, if it came after `arrived`, for a process that was started at `started` (milliseconds since
    /// 1970). The time limit of a helper does not count for an app that was started since.
    pub(crate) fn failure_since(
        &self,
        arrived: u64,
        started: u64,
        limit: Duration,
    ) -> Option<AuthError> {
        let Self::Ended {
            at,
            helper_since,
            denied,
            ..
        } = self
        else {
            return None;
        };
        let is_of_an_earlier_start =
            helper_since.is_some_and(|since| since.saturating_sub(TAKEOVER_MILLIS) <= started);
        match denied {
            _ if *at < arrived => None,
            Some(reason) => Some(AuthError::Denied {
                reason: reason.clone(),
            }),
            None if is_of_an_earlier_start => None,
            None => Some(AuthError::TimedOut { limit, url: None }),
        }
    }
}

pub(crate) fn now_millis() -> u64 {
    unix_millis(SystemTime::now())
}

/// A record from the future is as good as none.
fn age(moment: u64) -> Duration {
    now_millis()
        .checked_sub(moment)
        .map_or(Duration::MAX, Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;
    use crate::token::scope::Scopes;

    fn open(age: Duration, openings: u32, client: ClientOrigin) -> PendingSignIn {
        let url = Url::parse("http://localhost/").unwrap();
        let then = now_millis() - u64::try_from(age.as_millis()).unwrap();
        PendingSignIn::Open {
            request: Box::new(AuthorizationRequest {
                url: url.clone(),
                issuer: String::new(),
                client_id: "client".into(),
                iss_promised: false,
                state: String::new().into(),
                verifier: String::new().into(),
                redirect_uri: url,
                resource: None,
                further_resources: Vec::new(),
                scopes: Scopes::default(),
            }),
            started_at: then,
            opened_at: then,
            openings,
            client,
            helper: HelperState::None,
        }
    }

    #[test]
    fn an_old_client_is_given_up_after_two_openings_and_a_new_one_never() {
        let check = |age: Duration, openings, client, expected: bool| {
            let page = open(age, openings, client);
            assert_eq!(
                page.is_given_up(),
                expected,
                "{age:?} {openings} {client:?}"
            );
        };
        let longer = TAB_IS_OPEN * 2;
        check(longer, 1, ClientOrigin::Reused, false);
        check(longer, 2, ClientOrigin::Reused, true);
        check(Duration::ZERO, 2, ClientOrigin::Reused, false);
        check(longer, 2, ClientOrigin::Certain, false);
    }

    #[test]
    fn a_page_that_was_opened_again_counts_as_open_for_a_while() {
        let now = now_millis();
        let page = open(Duration::from_secs(1), 1, ClientOrigin::Certain);
        assert!(page.was_opened_once_before(now));
        let again = page.reopened();
        assert!(!again.was_opened_once_before(now + 1000));
        assert!(again.has_tab());
    }

    #[test]
    fn a_page_of_a_helper_is_opened_once_by_the_starts_that_come_after_the_end_of_the_bridge() {
        let now = now_millis();
        let page = open(Duration::from_secs(10), 1, ClientOrigin::Certain);
        assert!(!page.is_kept_for(now), "a bridge waits for it");
        let page = page.kept_by_helper();
        assert!(
            !page.is_kept_for(now - 20_000),
            "it waited from the beginning"
        );
        assert!(
            !page.is_kept_for(now - 5_000),
            "it was there before the helper"
        );
        assert!(page.is_kept_for(now), "started at the takeover");
        let again = page.reopened();
        assert!(!again.is_kept_for(now), "another one was faster");
        assert!(!again.is_kept_for(now + 1), "not at each start");
    }

    #[test]
    fn a_helpers_time_limit_does_not_count_for_an_app_that_was_started_since() {
        let timed_out = AuthError::TimedOut {
            limit: Duration::ZERO,
            url: None,
        };
        let now = now_millis();
        let page = open(Duration::from_secs(60), 1, ClientOrigin::Certain).kept_by_helper();
        let ended = PendingSignIn::ended(&timed_out, Some(&page)).unwrap();
        let failure = |started| ended.failure_since(now, started, Duration::ZERO);
        assert!(failure(now).is_none());
        assert!(
            failure(now - 60_000).is_some(),
            "it has waited all the time"
        );
    }

    #[test]
    fn the_end_of_an_unanswered_page_names_its_client_if_it_was_an_old_one() {
        let timed_out = AuthError::TimedOut {
            limit: Duration::ZERO,
            url: None,
        };
        let denied = AuthError::Denied {
            reason: "no".into(),
        };
        let of = |error: &AuthError, client| {
            let page = open(Duration::ZERO, 1, client);
            let ended = PendingSignIn::ended(error, Some(&page)).unwrap();
            ended.unanswered_client()
        };
        assert_eq!(
            of(&timed_out, ClientOrigin::Reused).as_deref(),
            Some("client")
        );
        assert_eq!(of(&timed_out, ClientOrigin::Certain), None);
        assert_eq!(of(&denied, ClientOrigin::Reused), None);
    }
}
