//! Version fallback for `initialize`, for a server that refuses it because of its version instead of answering with
//! another one (MCP "Version Negotiation").

use std::collections::VecDeque;
use std::sync::Arc;

use reqwest::StatusCode;
use reqwest::header::HeaderValue;

use super::request_progress::Track;
use super::retry::{Cause, Repeat, Retries};
use super::send::SessionUse;
use super::session::McpSession;
use super::{Endpoint, Failure, Request};
use mcp_bridge_net::observer::Step;
use mcp_bridge_protocol::codes::{INVALID_PARAMS, SERVER_ERROR};
use mcp_bridge_protocol::era::{MODERN_VERSION, Revision, asking_for};
use mcp_bridge_protocol::message::Message;

/// The versions that are tried where the refusal names none.
const COMMON: [Revision; 2] = [Revision::V2025_06_18, Revision::V2025_03_26];

/// The same for a server of the older transport.
const COMMON_OVER_HTTP_SSE: [Revision; 2] = [Revision::V2025_03_26, Revision::V2024_11_05];

/// An answered `initialize`.
#[derive(Debug)]
pub(super) struct Greeting {
    /// The `initialize` that was answered.
    pub(super) initialize: Request,
    /// The `MCP-Protocol-Version` that was sent with it, if there was one.
    pub(super) version_header: Option<HeaderValue>,
    /// The server's answer.
    pub(super) response: Message,
    /// The session, if the answer is a result.
    pub(super) session: McpSession,
}

/// Outcome of an `initialize`.
pub(super) type Greeted = Result<Greeting, Failure>;

/// A refusal that may be one of the version.
#[derive(Debug)]
pub(super) struct VersionRefusal {
    /// Its text, as far as it can be read.
    text: String,
    /// The versions that it names, oldest first.
    named: Vec<Revision>,
}

/// One way to say `initialize`.
#[derive(Debug, PartialEq, Eq)]
struct Try {
    version: String,
    has_header: bool,
}

impl Endpoint {
    /// Sends `initialize` in the version that the server is known to accept, or as it is.
    pub(super) async fn greet(self: &Arc<Self>, initialize: &Request, track: &Track) -> Greeted {
        let asked = version_of(initialize.message());
        let accepted = self.support.accepted_version().map(Revision::as_str);
        if let Some(version) = accepted.filter(|version| **version < *asked) {
            let known = Try {
                version: version.to_owned(),
                has_header: true,
            };
            let greeted = self.greet_with(&known, initialize, track).await;
            if VersionRefusal::from_outcome(&greeted).is_none() {
                return greeted;
            }
            self.support.record_accepted_version(None);
        }
        let first = Try {
            version: asked,
            has_header: false,
        };
        self.greet_with(&first, initialize, track).await
    }

    /// Sends an `initialize` that came to `greeted` in other versions, if that may be a refusal of its own.
    pub(super) async fn greet_again(
        self: &Arc<Self>,
        initialize: &Request,
        track: &Track,
        greeted: Greeted,
    ) -> Greeted {
        let Some(refusal) = VersionRefusal::from_outcome(&greeted) else {
            return greeted;
        };
        let common = match self.http_sse() {
            Some(_) => COMMON_OVER_HTTP_SSE,
            None => COMMON,
        };
        let mut tries = refusal.tries(&version_of(initialize.message()), common);
        // A refusal that says nothing of versions may have had another reason, which has passed.
        let is_told = refusal.speaks_of_versions() || !refusal.named.is_empty();
        // The same version with a header, one that the refusal names, and two that most servers speak.
        let mut retries = Retries::new(Repeat::Initialize);
        while let Some(next) = tries.pop_front()
            && retries.allow(Cause::VersionRefused)
        {
            tracing::info!(host = %self.host(), version = next.version, "initialize was refused; trying again");
            self.step(Step::Retry, || {
                format!(
                    "initialize was refused; asking for version {}",
                    next.version
                )
            });
            let again = self.greet_with(&next, initialize, track).await;
            if VersionRefusal::from_outcome(&again).is_some() {
                continue;
            }
            if is_told && again.as_ref().is_ok_and(|it| !it.response.is_error()) {
                self.support
                    .record_accepted_version(Revision::named(&next.version));
            }
            return again;
        }
        greeted
    }

    async fn greet_with(
        self: &Arc<Self>,
        this: &Try,
        initialize: &Request,
        track: &Track,
    ) -> Greeted {
        let initialize = if this.version == version_of(initialize.message()) {
            initialize.clone()
        } else {
            initialize.edited(|message| asking_for(message, &this.version))
        };
        let header = this
            .has_header
            .then(|| HeaderValue::from_str(&this.version));
        let version_header = header.and_then(Result::ok);
        self.greet_as(&initialize, version_header, track).await
    }

    /// Sends an `initialize` as it is, with this `MCP-Protocol-Version`.
    pub(super) async fn greet_as(
        self: &Arc<Self>,
        initialize: &Request,
        version_header: Option<HeaderValue>,
        track: &Track,
    ) -> Greeted {
        let opened = self
            .initialize_session(initialize, version_header.clone(), track)
            .await?;
        self.step(Step::Session, || match opened.session.id {
            _ if opened.response.is_error() => "not opened: an error answers initialize".to_owned(),
            Some(_) => "opened, with an id".to_owned(),
            None => "opened, without an id".to_owned(),
        });
        Ok(Greeting {
            initialize: initialize.clone(),
            version_header,
            response: opened.response,
            session: opened.session,
        })
    }
}

/// The session of an `initialize` with this header.
pub(super) fn opening_with(version_header: Option<HeaderValue>) -> SessionUse {
    match version_header {
        None => SessionUse::None,
        protocol_version => SessionUse::Fixed(McpSession {
            protocol_version,
            ..McpSession::default()
        }),
    }
}

impl VersionRefusal {
    /// Reads what came of an `initialize`.
    pub(super) fn from_outcome(greeted: &Greeted) -> Option<Self> {
        let (text, is_likely) = match greeted {
            Ok(greeting) => {
                let (code, _) = greeting.response.error_text()?;
                let text = greeting.response.error_json().unwrap_or_default();
                (
                    text.to_owned(),
                    matches!(code, INVALID_PARAMS | SERVER_ERROR),
                )
            }
            Err(Failure::Status {
                status,
                error,
                excerpt,
                ..
            }) => {
                let error = error.as_deref().and_then(Message::error_json);
                let text = error.or(excerpt.as_deref()).unwrap_or_default();
                (text.to_owned(), is_likely(*status))
            }
            Err(_) => return None,
        };
        let named = Revision::named_in(&text);
        let refusal = Self { text, named };
        (is_likely || refusal.speaks_of_versions()).then_some(refusal)
    }

    /// Returns whether the server has said which versions it speaks, all of them of the legacy era.
    pub(super) fn names_legacy_versions_alone(&self) -> bool {
        !self.named.is_empty() && !self.text.contains(MODERN_VERSION)
    }

    fn speaks_of_versions(&self) -> bool {
        let text = self.text.to_ascii_lowercase();
        let words = ["protocol version", "protocol_version", "protocolversion"];
        words.iter().any(|word| text.contains(word)) || self.wants_header()
    }

    fn wants_header(&self) -> bool {
        let text = self.text.to_ascii_lowercase();
        text.contains("mcp-protocol-version")
    }

    /// Further tries, likeliest first.
    fn tries(&self, asked: &str, common: [Revision; 2]) -> VecDeque<Try> {
        let mut versions = Vec::new();
        let knows_asked = self.named.iter().any(|known| known.as_str() == asked);
        if self.wants_header() && (knows_asked || self.named.is_empty()) {
            versions.push(asked);
        }
        let others = self.named.iter().map(|known| known.as_str());
        let others: Vec<_> = others.filter(|known| *known != asked).collect();
        let newest_older = others.iter().rev().find(|known| **known < asked);
        versions.extend(newest_older.or(others.first()));
        for known in common.map(Revision::as_str) {
            if known != asked && !versions.contains(&known) {
                versions.push(known);
            }
        }
        let tries = versions.into_iter().map(|version| Try {
            version: version.to_owned(),
            has_header: true,
        });
        tries.collect()
    }
}

/// Returns whether a refusal with this status and without a word may be one of the version. The others speak of
/// rights, of places, of load and of size.
fn is_likely(status: StatusCode) -> bool {
    let others = [
        401, 402, 403, 404, 405, 407, 408, 410, 413, 414, 425, 429, 431, 451,
    ];
    status.is_client_error() && !others.contains(&status.as_u16())
}

/// The version that an `initialize` asks for.
pub(super) fn version_of(initialize: &Message) -> String {
    initialize.param("protocolVersion").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> VersionRefusal {
        VersionRefusal {
            text: text.to_owned(),
            named: Revision::named_in(text),
        }
    }

    fn versions(text: &str, asked: &str) -> Vec<String> {
        let tries = refusal(text).tries(asked, COMMON);
        tries.into_iter().map(|next| next.version).collect()
    }

    #[test]
    fn what_is_tried_next_follows_from_the_refusal() {
        for (text, asked, expected) in [
            ("", "2025-11-25", ["2025-06-18", "2025-03-26"].as_slice()),
            ("", "2025-06-18", &["2025-03-26"]),
            ("", "2024-11-05", &["2025-06-18", "2025-03-26"]),
            (
                "supported: 2024-11-05, 2025-03-26",
                "2025-11-25",
                &["2025-03-26", "2025-06-18"],
            ),
            (
                "supported: 2025-06-18, 2025-11-25",
                "2024-11-05",
                &["2025-06-18", "2025-03-26"],
            ),
            (
                "Missing MCP-Protocol-Version header",
                "2025-11-25",
                &["2025-11-25", "2025-06-18", "2025-03-26"],
            ),
            (
                "2025-11-25 is bad; MCP-Protocol-Version: 2024-11-05",
                "2025-06-18",
                &["2024-11-05", "2025-03-26"],
            ),
        ] {
            assert_eq!(versions(text, asked), expected, "{text} {asked}");
        }
    }

    #[test]
    fn only_some_refusals_without_a_word_are_likely_ones() {
        for (status, expected) in [
            (400, true),
            (422, true),
            (401, false),
            (403, false),
            (404, false),
            (405, false),
            (429, false),
            (500, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(is_likely(status), expected, "{status}");
        }
        assert!(refusal("Unsupported protocol version: 2025-11-25").speaks_of_versions());
        assert!(!refusal("nginx version 1.2").speaks_of_versions());
    }

    #[test]
    fn a_server_that_names_the_modern_era_is_asked_for_it() {
        assert!(refusal("2025-06-18").names_legacy_versions_alone());
        assert!(!refusal("2025-06-18, 2026-07-28").names_legacy_versions_alone());
        assert!(!refusal("").names_legacy_versions_alone());
    }
}
