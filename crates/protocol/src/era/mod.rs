//! Translation between the two eras of MCP, for an app and a server that are not of the same one.
//!
//! Legacy is everything up to 2025-11-25: a handshake (`initialize`), a session, requests of the server
//! to the app. Modern is 2026-07-28 and later: no handshake and no session, each request says who asks,
//! and a server that has a question ends the request with it (`input_required`) and is asked again with
//! the answer.
//!
//! ```text
//!  legacy app ── initialize, requests, answers ──▶ Upgrade ── requests with _meta, retries ──▶ modern server
//!  modern app ── requests with _meta, retries ──▶ Downgrade ── initialize, requests, answers ──▶ legacy server
//! ```
//!
//! Both are values without a runtime, without IO and without a clock: messages go in, [`Action`]s come
//! out, and a wait is an action like any other. Traffic of one era never comes here, unless an app and a
//! server of the legacy era speak different revisions of it.
//!
//! - [`upgrade`], [`downgrade`]: the two directions. The table of what is special stands at the top of
//!   each, in one match; what is not named there is forwarded.
//! - `adapt`: the translation between two revisions of the legacy era.

mod adapt;
pub mod downgrade;
mod filter;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod ids;
mod json;
mod member_map;
mod object;
mod outbox;
#[cfg(any(test, fuzzing))]
mod random_walk;
mod request_meta;
mod revision;
#[cfg(test)]
mod transcripts;
pub mod upgrade;

use std::sync::Arc;
use std::time::Duration;

pub use adapt::{Adapter, Passage};
pub use downgrade::{Downgrade, ModernClient, Standalone};
pub use request_meta::{
    Discovery, MODERN_VERSION, NEWEST_LEGACY, SUBSCRIPTION_ID, is_modern, refuse_malformed,
};
pub use revision::{Revision, asking_for, presumed_version, telling};
pub use upgrade::Upgrade;

use crate::message::{Message, RequestId};

/// One of the two ways to speak MCP (specification, "Versioning").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Era {
    /// Up to 2025-11-25: `initialize` and a session.
    Legacy,
    /// From 2026-07-28 on: each request says who asks.
    Modern,
}

impl Era {
    /// The era a message of the app belongs to: modern if its `_meta` names a protocol version,
    /// whatever the version is and even if it is no string, for that is a mistake of the modern era.
    /// `server/discover` exists in that era only.
    #[must_use]
    pub fn of_request(message: &Message) -> Self {
        let has_version = message.meta_json(request_meta::PROTOCOL_VERSION).is_some();
        if has_version || message.method() == Some("server/discover") {
            Self::Modern
        } else {
            Self::Legacy
        }
    }
}

/// Something to be done next, in this order.
#[derive(Debug)]
pub enum Action {
    /// Write it to the app. A response settles the app's request with that id; it does not say that the
    /// exchange of the same id with the server is over.
    ToApp(Message),
    /// Answer the app's request of this id with this failure.
    Fail(RequestId, ExchangeFailure),
    /// Send it to the server as an exchange of the server's era. Exactly one response with the same id, or the
    /// failure of the exchange, comes back, unless it is aborted.
    Request(Message),
    /// Send it to the server: a notification, or the response to a request of the server.
    Notify(Message),
    /// Close the exchange of this id. Nothing comes back for it.
    Abort(RequestId),
    /// Hand the timer back after this time. One that is no longer meant is ignored then.
    After(Duration, Timer),
    /// The same, a little earlier at random, so that many processes do not come back to a server at once.
    AfterAbout(Duration, Timer),
    /// The server has left its era, and this translation with it: the verdict is wrong, and another
    /// session has to be opened for the app.
    EraOver,
}

/// Failure of an exchange, in place of the server's response.
#[derive(Debug, Clone)]
pub struct ExchangeFailure {
    /// Its meaning for another attempt.
    pub prospect: Prospect,
    /// The reason, as a person gets it.
    pub text: String,
    /// The failure itself, handed back by [`Action::Fail`].
    pub cause: Arc<dyn std::error::Error + Send + Sync>,
}

/// Meaning of a failure for another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prospect {
    /// It may go well, a moment later: the connection broke or did not come up, or the server is too busy.
    Broken,
    /// It may go well, if something changes: a sign-in is missing, or the answer cannot be used.
    MayPass,
    /// The server blames the request by an HTTP status, and will do so the next time.
    Final,
}

/// A wait that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timer(u64);

/// Reason for which a server cannot be served by [`Upgrade`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The answer to `server/discover` is not one of a modern server.
    #[error(
        "the server's answer to server/discover is none of a server of {MODERN_VERSION} or later"
    )]
    NotModern,
    /// The server says that it speaks the older versions alone: `initialize` is the way in.
    #[error("the server speaks {} only", .0.join(", "))]
    LegacyOnly(Vec<String>),
    /// The server speaks modern versions, but none that the bridge does.
    #[error("the server speaks {}, and the bridge {MODERN_VERSION}", .0.join(", "))]
    NoCommonVersion(Vec<String>),
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn message(text: &str) -> Message {
        Message::parse(&Bytes::copy_from_slice(text.as_bytes())).expect(text)
    }

    /// ST-30, E-8, X-15
    #[test]
    fn the_era_of_a_request_shows_in_its_meta() {
        let version = "io.modelcontextprotocol/protocolVersion";
        for (rest, era) in [
            (
                format!(r#""method":"m","params":{{"_meta":{{"{version}":"2026-07-28"}}}}"#),
                Era::Modern,
            ),
            (
                format!(r#""method":"m","params":{{"_meta":{{"{version}":"1900-01-01"}}}}"#),
                Era::Modern,
            ),
            (
                format!(r#""method":"m","params":{{"_meta":{{"{version}":7}}}}"#),
                Era::Modern,
            ),
            (r#""method":"server/discover""#.to_owned(), Era::Modern),
            (
                r#""method":"initialize","params":{"protocolVersion":"2025-11-25"}"#.to_owned(),
                Era::Legacy,
            ),
            (
                r#""method":"m","params":{"_meta":{"progressToken":1}}"#.to_owned(),
                Era::Legacy,
            ),
            (
                r#""method":"m","params":{"_meta":7}"#.to_owned(),
                Era::Legacy,
            ),
            (r#""method":"m""#.to_owned(), Era::Legacy),
        ] {
            let request = format!(r#"{{"jsonrpc":"2.0","id":1,{rest}}}"#);
            assert_eq!(Era::of_request(&message(&request)), era, "{rest}");
        }
    }

    fn opened() -> Upgrade {
        let initialize = message(
            r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"a","version":"1"}}}"#,
        );
        let discover = message(
            r#"{"jsonrpc":"2.0","id":0,"result":{"supportedVersions":["2026-07-28"],"capabilities":{}}}"#,
        );
        Upgrade::open(&initialize, &discover, "host")
            .expect("a modern server")
            .0
    }

    /// X-83, E-2
    #[test]
    fn a_server_without_a_common_version_is_not_translated_for() {
        let initialize = message(r#"{"jsonrpc":"2.0","id":0,"method":"initialize"}"#);
        for (answer, expected) in [
            (r#""result":{"supportedVersions":[]}"#, OpenError::NotModern),
            (r#""result":{}"#, OpenError::NotModern),
            (
                r#""error":{"code":-32022,"message":"","data":{"supported":["2026-07-28"]}}"#,
                OpenError::NotModern,
            ),
            (
                r#""result":{"supportedVersions":["2025-11-25"]}"#,
                OpenError::LegacyOnly(vec!["2025-11-25".to_owned()]),
            ),
            (
                r#""error":{"code":-32022,"message":"","data":{"supported":["2027-01-01"]}}"#,
                OpenError::NoCommonVersion(vec!["2027-01-01".to_owned()]),
            ),
        ] {
            let discover = message(&format!(r#"{{"jsonrpc":"2.0","id":1,{answer}}}"#));
            let error = Upgrade::open(&initialize, &discover, "host").map(|_| ());
            assert_eq!(error, Err(expected), "{answer}");
        }
        let error = OpenError::NoCommonVersion(vec!["2027-01-01".to_owned()]).to_string();
        assert!(
            error.contains("2027-01-01") && error.contains("2026-07-28"),
            "{error}"
        );
    }

    fn text(actions: &[Action]) -> String {
        match actions {
            [Action::ToApp(message) | Action::Request(message)] => {
                String::from_utf8_lossy(message.text()).into_owned()
            }
            other => panic!("{other:?}"),
        }
    }

    /// Numbers, order and spelling of what no rule is about.
    #[test]
    fn what_is_not_translated_keeps_its_text() {
        let inside = r#"{"z":12345678901234567890123,"a":1.0,"e":1e400,"s":"\ud800","u":"\u0061"}"#;
        let mut upgrade = opened();
        let request = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"t","arguments":{inside}}}}}"#
        );
        let sent = text(&upgrade.on_app_message(&message(&request)));
        assert!(sent.contains(&format!(r#""arguments":{inside}"#)), "{sent}");
        let response = format!(
            r#"{{"jsonrpc":"2.0","id":1,"result":{{"resultType":"complete","content":[{inside}]}}}}"#
        );
        let answer = text(&upgrade.on_server_message(&message(&response), None));
        assert!(
            answer.contains(&format!(r#""content":[{inside}]"#)),
            "{answer}"
        );
    }

    /// X-91
    #[test]
    fn a_large_request_state_comes_back_as_it_was_spelled() {
        let state = format!(r#""{}\u00e9\ud83d\"\/ü""#, "x".repeat(1_000_000));
        let mut upgrade = opened();
        let request = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}"#;
        upgrade.on_app_message(&message(request));
        let response = format!(
            r#"{{"jsonrpc":"2.0","id":1,"result":{{"resultType":"input_required","requestState":{state}}}}}"#
        );
        let actions = upgrade.on_server_message(&message(&response), None);
        let [Action::After(..), Action::After(_, pause)] = actions[..] else {
            panic!("{actions:?}");
        };
        let retry = text(&upgrade.on_timer(pause));
        assert!(retry.contains(&format!(r#""requestState":{state}"#)));
    }

    /// A name that is no text: no member of that name can be told from another.
    #[test]
    fn what_cannot_be_read_is_answered_all_the_same() {
        let mut upgrade = opened();
        let request = r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"\ud800":1}}"#;
        let refusal = text(&upgrade.on_app_message(&message(request)));
        assert!(
            refusal.contains(r#""id":1,"error":{"code":-32602"#),
            "{refusal}"
        );
        upgrade.on_app_message(&message(r#"{"jsonrpc":"2.0","id":2,"method":"m"}"#));
        let response = r#"{"jsonrpc":"2.0","id":2,"result":{"\ud800":1}}"#;
        let refusal = text(&upgrade.on_server_message(&message(response), None));
        assert!(
            refusal.contains(r#""id":2,"error":{"code":-32603"#),
            "{refusal}"
        );
    }
}
