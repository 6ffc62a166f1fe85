//! Retry policy of HTTP requests: what may be sent again, after which failure, and how often.
//!
//! The loops are where the work is done; each asks [`Retries`] before it sends again. This is the whole policy:
//!
//! | cause | what the server has done | repeated are | at most | loop |
//! | --- | --- | --- | --- | --- |
//! | no connection comes up | nothing: it has not seen it | all messages | for as long as the message may wait ([`connect_patience`]) | `send` |
//! | a kept connection is closed, or HTTP/2 refuses the stream | nothing (RFC 9113 §8.7) | all messages | 3 | `net/http/connections.rs` |
//! | [`ConnectionLost`](Cause::ConnectionLost) before the response begins | unknown | messages without side effects | 1, after 100 ms | `send` |
//! | [`Busy`](Cause::Busy): 429 or 503 with a `Retry-After` of at most 20 s | refused it | messages without side effects | 3, after that time | `send` |
//! | [`TokenRefused`](Cause::TokenRefused): 401, or 403 with `insufficient_scope` | refused it | all messages | 3 | `send` |
//! | [`NonceWanted`](Cause::NonceWanted): `use_dpop_nonce` (RFC 9449 §9) | refused it | all messages | 1, and again with another token | `send` |
//! | [`ClockDiffers`](Cause::ClockDiffers): `invalid_dpop_proof`, and the clocks differ | refused it | all messages | 1 | `send` |
//! | [`PrintedHeadersRefused`](Cause::PrintedHeadersRefused): 401, 403 or 407, or a redirect elsewhere, and the header command prints other headers | refused it | all messages | 1 | `send` |
//! | [`SessionLost`](Cause::SessionLost) | refused it | all messages in the current session | 1, and again if the server went away while the session was opened again | `send` |
//! | [`ResponseLost`](Cause::ResponseLost): the response breaks off, legacy era | unknown | requests without side effects | 1 | `exchange` |
//! | [`ModernResponseLost`](Cause::ModernResponseLost): the same, modern era | unknown | requests without side effects | 2, each under a new id | `modern` |
//! | [`HeadersRefused`](Cause::HeadersRefused): `HeaderMismatch` | refused it | legacy requests, modern `tools/call` | 1, with what was learned about its headers | `header_mismatch`, `modern` |
//! | [`VersionRefused`](Cause::VersionRefused) | refused it | `initialize` | 4, each in another version; before them once in the version that was accepted the last time | `greeting` |
//! | [`StreamBroken`](Cause::StreamBroken): the event stream with the response breaks, legacy era | has the request | the GET that resumes the stream | 5 in a row without an event | `answer` |
//! | [`SignInForStream`](Cause::SignInForStream): HTTP+SSE, the stream cannot be opened again without a sign-in | nothing | messages for which a person may be asked | 2 sign-ins | `http_sse` |
//!
//! So one message reaches the server at most so often:
//!
//! | message | HTTP requests | of which the server may have acted upon |
//! | --- | --- | --- |
//! | `tools/call` in a session | 2 × (1 + 3 + 1) = 10 | 1: it has refused all others |
//! | request without side effects in a session | 2 × 2 × (1 + 1 + 3 + 3 + 1) = 36 | 7 |
//! | `tools/call`, modern | 2 × (1 + 3) = 8 | 1 |
//! | request without side effects, modern | 3 × (1 + 1 + 3 + 3) = 24 | 6 |
//! | `initialize` | (1 + 1 + 4) × 2 × (1 + 1 + 3 + 3) = 96 | 24 |
//! | notification or response in a session | 1 + 3 + 1 = 5 | 1 |
//!
//! With tokens that are bound to a key (DPoP), 1 for the clock and 1 for each token come on top, and 1 with a header command; the
//! server has refused those.
//!
//! Attempts that certainly did not reach the server are not counted. While the bridge ends, nothing is repeated for a connection that
//! does not come up or is lost, and with `--fail-fast` neither.
//!
//! Above this, with growing pauses: a session is opened again for as long as the app is there (`bridge/legacy_opening`). A
//! subscription that was lost is sent again by its one owner: of a modern app up to 10 times in a row without an event
//! (`bridge/subscriptions.rs`), of a translated legacy app for as long as the server does not refuse it
//! (`era/upgrade/listen.rs`). A session's own stream is opened again for as long as there is the session (`listen`).

use std::time::Duration;

use super::{ConnectCause, Failure, Patience};
use mcp_bridge_auth::ProofObjection;

/// Limit of the attempts to connect for a notification or a response, for which nobody waits. For a request of the app its
/// [`Track`](super::Track) has the limit.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);

/// The same for the first message of all: apps wait for its answer for half a minute or more, and a server that is being
/// restarted is back by then.
const INITIALIZE_PATIENCE: Duration = Duration::from_secs(20);

/// The pause before a request without side effects is sent again, after its connection broke.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// The longest `Retry-After` of a busy server that is waited for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(20);

/// Side effects of a message, which decide whether it may be sent again when it is not known what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It has no side effects.
    Safe,
    /// It opens the session: safe, and worth waiting for.
    Initialize,
    /// It may have been acted upon.
    Never,
}

impl Repeat {
    /// Of a request with this method.
    pub(super) fn of_request(method: &str) -> Self {
        if is_safe(method) {
            Self::Safe
        } else {
            Self::Never
        }
    }
}

/// Returns whether a method may be sent twice without doing anything twice.
#[must_use]
pub fn is_safe(method: &str) -> bool {
    matches!(
        method,
        "initialize"
            | "ping"
            | "server/discover"
            | "tasks/get"
            | "tasks/result"
            | "tools/list"
            | "prompts/list"
            | "prompts/get"
            | "resources/list"
            | "resources/templates/list"
            | "resources/read"
            | "completion/complete"
            | "logging/setLevel"
            | "resources/subscribe"
            | "resources/unsubscribe"
    )
}

/// Causes for sending a message again that are limited in number; see the table of this module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    ConnectionLost,
    Busy,
    TokenRefused,
    NonceWanted,
    ClockDiffers,
    PrintedHeadersRefused,
    SessionLost,
    ResponseLost,
    ModernResponseLost,
    HeadersRefused,
    VersionRefused,
    StreamBroken,
    SignInForStream,
}

impl Cause {
    const COUNT: usize = Self::SignInForStream as usize + 1;

    /// Cause for which a request is sent again with another proof.
    pub(super) const fn of_objection(objection: &ProofObjection) -> Self {
        match objection {
            ProofObjection::WantsNonce => Self::NonceWanted,
            ProofObjection::Invalid(_) => Self::ClockDiffers,
        }
    }

    /// Repetitions for this cause; where the message makes progress in between, in a row without any.
    const fn limit(self) -> u8 {
        match self {
            Self::ConnectionLost
            | Self::NonceWanted
            | Self::ClockDiffers
            | Self::PrintedHeadersRefused
            | Self::SessionLost
            | Self::ResponseLost
            | Self::HeadersRefused => 1,
            Self::ModernResponseLost | Self::SignInForStream => 2,
            Self::Busy | Self::TokenRefused => 3,
            Self::VersionRefused => 4,
            Self::StreamBroken => 5,
        }
    }

    /// True if only what has no side effects may be repeated: nobody knows what became of it, or an intermediary may
    /// have refused what the server has begun.
    const fn is_for_safe_messages_alone(self) -> bool {
        match self {
            Self::ConnectionLost | Self::Busy | Self::ResponseLost | Self::ModernResponseLost => {
                true
            }
            Self::TokenRefused
            | Self::NonceWanted
            | Self::ClockDiffers
            | Self::PrintedHeadersRefused
            | Self::SessionLost
            | Self::HeadersRefused
            | Self::VersionRefused
            | Self::StreamBroken
            | Self::SignInForStream => false,
        }
    }
}

/// The repetitions that one message has left.
#[derive(Debug)]
pub(super) struct Retries {
    repeat: Repeat,
    used: [u8; Cause::COUNT],
}

/// Circumstances of a failed attempt to send.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances {
    /// True while the bridge is on its way out.
    pub(super) is_stopping: bool,
    /// The user's setting.
    pub(super) patience: Patience,
    /// Time that the message may wait for a server that cannot be reached, if somebody has said so.
    pub(super) wait_limit: Option<Duration>,
}

/// The next step after a failed attempt to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextAttempt {
    /// Nothing more is tried.
    GiveUp,
    /// The message is sent again after this pause.
    After(Duration),
    /// The message is sent again as soon as a connection may come up, for so long since the first attempt.
    OnceReachable(Duration),
}

impl Retries {
    pub(super) const fn new(repeat: Repeat) -> Self {
        Self {
            repeat,
            used: [0; Cause::COUNT],
        }
    }

    /// Counts a repetition for this cause; false if there may not be another one.
    pub(super) fn allow(&mut self, cause: Cause) -> bool {
        let used = &mut self.used[cause as usize];
        let is_forbidden = cause.is_for_safe_messages_alone() && self.repeat == Repeat::Never;
        if is_forbidden || *used >= cause.limit() {
            return false;
        }
        *used += 1;
        true
    }

    /// Begins to count anew for this cause: there was progress, or the repetition was not made.
    pub(super) const fn reset(&mut self, cause: Cause) {
        self.used[cause as usize] = 0;
    }

    /// Decides after an attempt that brought no HTTP response.
    pub(super) fn after_failure(&mut self, failure: &Failure, now: Circumstances) -> NextAttempt {
        if now.is_stopping || now.patience == Patience::FailFast {
            return NextAttempt::GiveUp;
        }
        match failure {
            Failure::ConnectionLost { .. } if self.allow(Cause::ConnectionLost) => {
                NextAttempt::After(RECONNECT_PAUSE)
            }
            Failure::Connect { cause, .. } => connect_patience(*cause, self.repeat, now)
                .map_or(NextAttempt::GiveUp, NextAttempt::OnceReachable),
            _ => NextAttempt::GiveUp,
        }
    }

    /// The pause before another attempt at a server that is busy (429, 503) and wants it to come after `retry_after`.
    pub(super) fn busy_pause(&mut self, retry_after: Option<Duration>) -> Option<Duration> {
        let pause = retry_after.filter(|pause| *pause <= MAX_RETRY_AFTER)?;
        self.allow(Cause::Busy).then_some(pause)
    }
}

/// Returns whether a failure says that the response did not come, or not as a whole.
pub(super) const fn is_response_lost(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::ConnectionLost { .. } | Failure::NoResponse(_)
    )
}

/// Time that a message waits for a server that cannot be reached; `None` if it does not.
fn connect_patience(cause: ConnectCause, repeat: Repeat, now: Circumstances) -> Option<Duration> {
    if !cause.may_pass() {
        return None;
    }
    match (now.wait_limit, repeat) {
        (Some(patience), _) => Some(patience),
        // A connection that ran into its limit has waited long enough.
        (None, _) if cause == ConnectCause::Timeout => None,
        (None, Repeat::Initialize) => match now.patience {
            Patience::Wait => Some(INITIALIZE_PATIENCE),
            Patience::WaitInSession | Patience::FailFast => None,
        },
        (None, Repeat::Safe | Repeat::Never) => Some(CONNECT_PATIENCE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAUSES: [Cause; Cause::COUNT] = [
        Cause::ConnectionLost,
        Cause::Busy,
        Cause::TokenRefused,
        Cause::NonceWanted,
        Cause::ClockDiffers,
        Cause::PrintedHeadersRefused,
        Cause::SessionLost,
        Cause::ResponseLost,
        Cause::ModernResponseLost,
        Cause::HeadersRefused,
        Cause::VersionRefused,
        Cause::StreamBroken,
        Cause::SignInForStream,
    ];

    const RUNNING: Circumstances = Circumstances {
        is_stopping: false,
        patience: Patience::WaitInSession,
        wait_limit: None,
    };

    fn connect(cause: ConnectCause) -> Failure {
        Failure::Connect {
            cause,
            tried: None,
            detail: String::new(),
        }
    }

    fn lost() -> Failure {
        Failure::ConnectionLost {
            detail: String::new(),
        }
    }

    /// The repetitions for all these causes together.
    fn repetitions(repeat: Repeat, causes: &[Cause]) -> usize {
        let mut retries = Retries::new(repeat);
        let mut allowed =
            |cause: &Cause| std::iter::from_fn(|| retries.allow(*cause).then_some(())).count();
        causes.iter().map(&mut allowed).sum()
    }

    #[test]
    fn each_cause_has_its_limit_and_its_messages() {
        let limits = [1, 3, 3, 1, 1, 1, 1, 1, 2, 1, 4, 5, 2];
        let limits_with_side_effects = [0, 0, 3, 1, 1, 1, 1, 0, 0, 1, 4, 5, 2];
        for ((cause, safe), never) in CAUSES.iter().zip(limits).zip(limits_with_side_effects) {
            assert_eq!(repetitions(Repeat::Safe, &[*cause]), safe, "{cause:?}");
            assert_eq!(
                repetitions(Repeat::Initialize, &[*cause]),
                safe,
                "{cause:?}"
            );
            assert_eq!(repetitions(Repeat::Never, &[*cause]), never, "{cause:?}");
        }
    }

    #[test]
    fn progress_gives_the_repetitions_back() {
        let mut retries = Retries::new(Repeat::Never);
        assert!(retries.allow(Cause::SessionLost));
        assert!(!retries.allow(Cause::SessionLost));
        retries.reset(Cause::SessionLost);
        assert!(retries.allow(Cause::SessionLost));
    }

    #[test]
    fn a_message_reaches_the_server_as_often_as_the_table_says() {
        use Cause::{
            Busy, ConnectionLost, HeadersRefused, ModernResponseLost, ResponseLost, SessionLost,
            TokenRefused,
        };
        let sent = |repeat, causes: &[Cause]| 1 + repetitions(repeat, causes);
        let in_session = [ConnectionLost, Busy, TokenRefused, SessionLost];
        let modern = [ConnectionLost, Busy, TokenRefused];
        let times = |repeat, send: &[Cause], around: &[Cause]| {
            let around = around.iter().map(|cause| sent(repeat, &[*cause]));
            sent(repeat, send) * around.product::<usize>()
        };
        for (message, expected, sent) in [
            (
                "tools/call",
                10,
                times(Repeat::Never, &in_session, &[HeadersRefused, ResponseLost]),
            ),
            (
                "safe",
                36,
                times(Repeat::Safe, &in_session, &[HeadersRefused, ResponseLost]),
            ),
            (
                "tools/call, modern",
                8,
                times(Repeat::Never, &modern, &[HeadersRefused]),
            ),
            (
                "safe, modern",
                24,
                times(Repeat::Safe, &modern, &[ModernResponseLost]),
            ),
            ("notification", 5, times(Repeat::Never, &in_session, &[])),
            // What is refused was not acted upon.
            (
                "tools/call, unknown",
                1,
                times(Repeat::Never, &[ConnectionLost], &[ResponseLost]),
            ),
            (
                "safe, unknown",
                4,
                times(Repeat::Safe, &[ConnectionLost], &[ResponseLost]),
            ),
            (
                "safe, modern, unknown",
                6,
                times(Repeat::Safe, &[ConnectionLost], &[ModernResponseLost]),
            ),
        ] {
            assert_eq!(sent, expected, "{message}");
        }
    }

    #[test]
    fn what_follows_a_failed_attempt_depends_on_the_failure_and_the_message() {
        let waiting = Circumstances {
            wait_limit: Some(Duration::from_secs(45)),
            ..RUNNING
        };
        let patient = Circumstances {
            patience: Patience::Wait,
            ..RUNNING
        };
        let stopping = Circumstances {
            is_stopping: true,
            ..waiting
        };
        let fail_fast = Circumstances {
            patience: Patience::FailFast,
            ..waiting
        };
        let refused = || connect(ConnectCause::Refused);
        let timeout = || connect(ConnectCause::Timeout);
        let reachable = |seconds| NextAttempt::OnceReachable(Duration::from_secs(seconds));
        for (failure, repeat, now, expected) in [
            (refused(), Repeat::Never, RUNNING, reachable(3)),
            (refused(), Repeat::Never, waiting, reachable(45)),
            (refused(), Repeat::Initialize, RUNNING, NextAttempt::GiveUp),
            (refused(), Repeat::Initialize, patient, reachable(20)),
            (refused(), Repeat::Safe, stopping, NextAttempt::GiveUp),
            (refused(), Repeat::Safe, fail_fast, NextAttempt::GiveUp),
            (timeout(), Repeat::Safe, RUNNING, NextAttempt::GiveUp),
            (timeout(), Repeat::Safe, waiting, reachable(45)),
            (
                connect(ConnectCause::Tls),
                Repeat::Safe,
                waiting,
                NextAttempt::GiveUp,
            ),
            (
                lost(),
                Repeat::Safe,
                RUNNING,
                NextAttempt::After(RECONNECT_PAUSE),
            ),
            (lost(), Repeat::Never, waiting, NextAttempt::GiveUp),
            (lost(), Repeat::Safe, stopping, NextAttempt::GiveUp),
            (Failure::HttpSse, Repeat::Safe, waiting, NextAttempt::GiveUp),
        ] {
            let next = Retries::new(repeat).after_failure(&failure, now);
            assert_eq!(next, expected, "{failure:?} {repeat:?} {now:?}");
        }
    }

    #[test]
    fn a_busy_server_is_asked_again_after_the_time_that_it_names() {
        let second = Some(Duration::from_secs(1));
        let too_long = Some(MAX_RETRY_AFTER + Duration::from_secs(1));
        for (repeat, retry_after, expected) in [
            (Repeat::Safe, second, second),
            (Repeat::Safe, too_long, None),
            (Repeat::Safe, None, None),
            (Repeat::Never, second, None),
        ] {
            assert_eq!(Retries::new(repeat).busy_pause(retry_after), expected);
        }
    }

    #[test]
    fn requests_are_safe_by_their_method() {
        assert_eq!(Repeat::of_request("tools/list"), Repeat::Safe);
        assert_eq!(Repeat::of_request("tools/call"), Repeat::Never);
    }
}
