//! Checks of the MCP session, as other clients would see it.

use reqwest::StatusCode;
use reqwest::header::HeaderValue;
use serde_json::Value;
use url::Url;

use super::check::{Check, CheckName, Part};
use super::endpoint::{Speaks, may_sign_in};
use super::report::Report;
use crate::commands::client::request;
use mcp_bridge_core::endpoint::{ContentType, EndpointConfig, Failure, Probe, Reply};
use mcp_bridge_protocol::message::{EmptyCursor, Message, next_cursor};

/// No web page has this origin, so no server can have reason to trust it.
const FOREIGN_ORIGIN: HeaderValue = HeaderValue::from_static("https://doctor.invalid");

/// No server speaks this version.
const UNKNOWN_VERSION: HeaderValue = HeaderValue::from_static("1900-01-01");

const VERSION: &str = "mcp-protocol-version";

/// Says what an app says first, and what no app should: each of it without effect. The refusal of a server
/// that wants a sign-in only now.
pub(super) async fn examine(
    report: &mut Report<'_>,
    probe: &Probe,
    config: &EndpointConfig,
    speaks: Speaks,
) -> Option<Reply> {
    match speaks {
        Speaks::Legacy(reply, result) => legacy(report, probe, config, &reply, &result).await,
        Speaks::HttpSse(mut conversation, result) => {
            report.add(match conversation.tell(&request::initialized()).await {
                Ok(()) => Check::passed(CheckName::Notification, "accepted"),
                Err(failure) => refused(CheckName::Notification, &failure),
            });
            if offers_tools(&result) {
                let listed = conversation.ask(&request::legacy("tools/list")).await;
                report.add(tools(listed, EmptyCursor::Ends));
            }
            report.skip(Part::Protocol.names(), "not part of this transport");
            None
        }
        Speaks::Modern(answer) => {
            let mut wants_token = None;
            if offers_tools(&answer) {
                let listed = probe
                    .post(&config.url, &request::modern("tools/list"))
                    .await;
                wants_token = list(report, config, listed, EmptyCursor::Continues);
            }
            report.add(origin(probe, &config.url, &request::discover()).await);
            report.skip(Part::Protocol.names(), "not part of 2026-07-28");
            wants_token
        }
        Speaks::WantsToken(_) => {
            report.skip(
                Part::Protocol.names(),
                "the server requires another sign-in",
            );
            None
        }
    }
}

async fn legacy(
    report: &mut Report<'_>,
    probe: &Probe,
    config: &EndpointConfig,
    reply: &Reply,
    result: &Message,
) -> Option<Reply> {
    let url = &reply.url;
    let version = result.result_member::<String>("protocolVersion");
    let version = HeaderValue::try_from(version.unwrap_or_default());
    let mut probe = match version {
        Ok(version) => probe.with_header(VERSION, version),
        Err(_) => probe.clone(),
    };
    match reply.session() {
        None => report.add(Check::passed(CheckName::Session, "the server keeps none")),
        Some((id, true)) => {
            report.hide(&id);
            probe = probe.with_header("mcp-session-id", id);
            report.add(Check::passed(CheckName::Session, "the server gives an id"));
        }
        Some((_, false)) => {
            let found = "the session id has characters that it must not have, or is too long";
            report.add(
                Check::failed(CheckName::Session, found)
                    .fix("use visible ASCII alone, such as a UUID")
                    .specification("MCP 2025-11-25, Transports, Session Management"),
            );
            report.skip(Part::Protocol.names(), "there is no usable session");
            return None;
        }
    }
    report.add(notification(probe.post(url, &request::initialized()).await));
    let mut wants_token = None;
    if offers_tools(result) {
        let listed = probe.post(url, &request::legacy("tools/list")).await;
        wants_token = list(report, config, listed, EmptyCursor::Ends);
    } else {
        report.add(Check::skipped(CheckName::Tools, "the server offers none"));
    }
    report.add(get_stream(probe.get(url).await));
    let ping = request::legacy("ping");
    let other = probe.with_header(VERSION, UNKNOWN_VERSION);
    report.add(version_header(other.post(url, &ping).await));
    report.add(origin(&probe, url, &ping).await);
    if reply.session().is_some() {
        report.add(session_end(probe.delete(url).await));
    } else {
        report.add(Check::skipped(CheckName::SessionEnd, "there is no session"));
    }
    wants_token
}

/// Tells of the tools; the refusal if they are for those alone who have signed in.
fn list(
    report: &mut Report<'_>,
    config: &EndpointConfig,
    listed: Result<Reply, Failure>,
    empty: EmptyCursor,
) -> Option<Reply> {
    match listed {
        Ok(reply) if reply.status == StatusCode::UNAUTHORIZED && may_sign_in(config) => {
            report.add(Check::skipped(CheckName::Tools, "401: they want a sign-in"));
            Some(reply)
        }
        listed => {
            report.add(tools(message(listed), empty));
            None
        }
    }
}

/// The JSON-RPC message of a reply, or why there is none.
fn message(reply: Result<Reply, Failure>) -> Result<Message, Failure> {
    let reply = reply?;
    match (reply.message, reply.failure) {
        (Some(message), _) => Ok(message),
        (None, Some(failure)) => Err(failure),
        (None, None) => Err(Failure::NoResponse(format!(
            "it only said {}",
            reply.status
        ))),
    }
}

fn offers_tools(result: &Message) -> bool {
    let capabilities = result.result_member::<Value>("capabilities");
    capabilities.is_some_and(|capabilities| capabilities.get("tools").is_some())
}

fn tools(listed: Result<Message, Failure>, empty: EmptyCursor) -> Check {
    let listed = match listed {
        Ok(listed) => listed,
        Err(failure) => {
            return Check::failed(CheckName::Tools, format!("tools/list: {failure}"))
                .fix_of(&failure);
        }
    };
    if let Some((code, text)) = listed.error_text() {
        return Check::failed(CheckName::Tools, format!("tools/list fails: {code} {text}"))
            .fix("the server's operator finds the reason in its log");
    }
    let Some(tools) = listed.result_member::<Vec<Value>>("tools") else {
        return Check::failed(
            CheckName::Tools,
            "the result of tools/list has no list of tools",
        )
        .fix("return a member `tools`")
        .specification("MCP 2025-11-25, Tools, Listing Tools");
    };
    let more = if next_cursor(&listed, empty).is_some() {
        ", and more on further pages"
    } else {
        ""
    };
    let counted = match tools.len() {
        1 => "1 tool".to_owned(),
        many => format!("{many} tools"),
    };
    Check::passed(CheckName::Tools, format!("{counted}{more}"))
}

fn notification(reply: Result<Reply, Failure>) -> Check {
    const NAME: CheckName = CheckName::Notification;
    match reply {
        Ok(reply) if reply.status == StatusCode::ACCEPTED => Check::passed(NAME, "202 Accepted"),
        Ok(reply) => match &reply.failure {
            Some(failure) => refused(NAME, failure),
            None => Check::warning(NAME, format!("{} to a notification", reply.status))
                .fix("answer 202 Accepted without a body")
                .specification("MCP 2025-11-25, Transports, Sending Messages to the Server"),
        },
        Err(failure) => refused(NAME, &failure),
    }
}

fn refused(name: CheckName, failure: &Failure) -> Check {
    Check::failed(name, failure.to_string()).fix_of(failure)
}

fn get_stream(reply: Result<Reply, Failure>) -> Check {
    const NAME: CheckName = CheckName::GetStream;
    let found = match reply {
        Ok(reply) if reply.status == StatusCode::METHOD_NOT_ALLOWED => {
            return Check::passed(NAME, "405: the server does not offer one");
        }
        Ok(reply) if reply.status.is_success() && reply.content == ContentType::EventStream => {
            return Check::passed(NAME, "the server offers one");
        }
        Ok(reply) => format!("{} to GET, which is neither 405 nor a stream", reply.status),
        Err(failure) => format!("GET: {failure}"),
    };
    Check::warning(NAME, found)
        .fix("open an event stream and send its headers at once, or answer 405")
        .specification("MCP 2025-11-25, Transports, Listening for Messages from the Server")
}

fn version_header(reply: Result<Reply, Failure>) -> Check {
    const NAME: CheckName = CheckName::VersionHeader;
    match reply {
        Ok(reply) if reply.status == StatusCode::BAD_REQUEST => {
            Check::passed(NAME, "an unknown version is refused")
        }
        Ok(reply) => Check::warning(NAME, format!("{} to an unknown version", reply.status))
            .fix("answer 400 if MCP-Protocol-Version is unknown")
            .specification("MCP 2025-11-25, Transports, Protocol Version Header"),
        Err(failure) => Check::warning(NAME, format!("to an unknown version: {failure}")),
    }
}

/// By a page in the user's browser a stranger could reach a server that does not look at this.
async fn origin(probe: &Probe, url: &Url, harmless: &Message) -> Check {
    const NAME: CheckName = CheckName::Origin;
    let foreign = probe.with_header("origin", FOREIGN_ORIGIN);
    match foreign.post(url, harmless).await {
        Ok(reply) if reply.status == StatusCode::FORBIDDEN => {
            Check::passed(NAME, "a foreign Origin is refused")
        }
        Ok(reply) => Check::warning(NAME, format!("{} to a foreign Origin", reply.status))
            .fix("answer 403 if Origin is present and unknown")
            .specification("MCP 2025-11-25, Transports, Security Warning"),
        Err(failure) => Check::warning(NAME, format!("to a foreign Origin: {failure}")),
    }
}

fn session_end(reply: Result<Reply, Failure>) -> Check {
    const NAME: CheckName = CheckName::SessionEnd;
    let found = match reply {
        Ok(reply) if reply.status.is_success() => {
            return Check::passed(NAME, "DELETE ends the session");
        }
        Ok(reply) if reply.status == StatusCode::METHOD_NOT_ALLOWED => {
            return Check::passed(NAME, "405: the server ends its sessions itself");
        }
        Ok(reply) => format!("{} to DELETE", reply.status),
        Err(failure) => format!("DELETE: {failure}"),
    };
    Check::warning(NAME, found)
        .fix("end the session, or answer 405")
        .specification("MCP 2025-11-25, Transports, Session Management")
}
