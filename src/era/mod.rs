//! Between the two eras of MCP, for an app and a server that are not of the same one.
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
//! out, and a wait is an action like any other. Traffic of one era never comes here.
//!
//! - [`upgrade`], [`downgrade`]: the two directions. The table of what is special stands at the top of
//!   each, in one match; what is not named there is forwarded.
//! - `envelope`: who asks, as a modern request carries it, and reading what a server discovered.
//! - `object`: JSON objects whose values stay text, so that a translation changes just what it names.

pub mod downgrade;
mod envelope;
mod mint;
mod object;
mod outbox;
#[cfg(test)]
mod transcripts;
pub mod upgrade;

use std::time::Duration;

pub use downgrade::Downgrade;
pub use envelope::{Discovery, MODERN_VERSION};
pub use upgrade::Upgrade;

use crate::message::{Message, RequestId};
use object::Object;

/// JSON-RPC: the method does not exist.
const METHOD_NOT_FOUND: i32 = -32601;

/// JSON-RPC: the parameters make no sense.
const INVALID_PARAMS: i32 = -32602;

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
        let version = message
            .param::<Object>("_meta")
            .is_some_and(|meta| meta.get(envelope::PROTOCOL_VERSION).is_some());
        if version || message.method() == Some("server/discover") {
            Self::Modern
        } else {
            Self::Legacy
        }
    }
}

/// Why a modern request cannot be served by anyone: it lacks what each one must carry (specification,
/// "`_meta`"). The response for the app, or `None` if all is there.
#[must_use]
pub fn refuse_malformed(request: &Message) -> Option<Message> {
    envelope::refuse_malformed(request)
}

/// What is to be done next, in this order.
#[derive(Debug)]
pub enum Action {
    /// Write it to the app. A response settles the app's request with that id; it does not say that the
    /// exchange of the same id with the server is over.
    ToApp(Message),
    /// Send it to the server as an exchange of the server's era. Exactly one response with the same id,
    /// the server's or an error of ours, comes back, unless the exchange is aborted.
    Request(Message),
    /// Send it to the server: a notification, or the response to a request of the server.
    Notify(Message),
    /// Close the exchange of this id. Nothing comes back for it.
    Abort(RequestId),
    /// Hand the timer back after this time. One that is no longer meant is ignored then.
    After(Duration, Timer),
    /// The server has left its era, and this translation with it: the verdict is wrong, and the app has
    /// to be started anew for another.
    EraOver,
}

/// A wait that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timer(u64);

/// Why a server cannot be served by [`Upgrade`].
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
