//! Checks of the endpoint: transport, eras and versions.

use reqwest::StatusCode;
use reqwest::header::AUTHORIZATION;
use url::Url;

use super::check::{Check, CheckName};
use super::report::Report;
use crate::commands::client::request::{bare_initialize, discover};
use mcp_bridge_auth::has_challenge;
use mcp_bridge_core::endpoint::{
    ContentType, EndpointConfig, Failure, HttpSseConversation, Probe, Protocol, Reply,
    TransportChoice,
};
use mcp_bridge_net::http::bare;
use mcp_bridge_protocol::era::{Discovery, MODERN_VERSION, NEWEST_LEGACY, is_modern};
use mcp_bridge_protocol::message::Message;

/// Usual paths of MCP endpoints.
const USUAL_PATH: &str = "/mcp";
const USUAL_STREAM_PATH: &str = "/sse";

/// Reason for which the remaining checks are skipped.
const STOP: &str = "the endpoint does not speak MCP";

/// Era and transport of the server, with the connection that showed it.
#[derive(Debug)]
pub(super) enum Speaks {
    /// Over streamable HTTP, after a handshake: its answer to `initialize`.
    Legacy(Reply, Message),
    /// Over HTTP+SSE: its stream.
    HttpSse(Box<HttpSseConversation>, Message),
    /// In the modern era alone: its answer to `server/discover`.
    Modern(Message),
    /// Not without a token: its refusal.
    WantsToken(Reply),
}

/// Outcome of the first POST.
enum First {
    /// A JSON-RPC response.
    Response(Reply, Message),
    /// It wants a token.
    WantsToken(Reply),
    /// Another HTTP answer.
    Refused(Reply),
}

impl First {
    fn of(reply: Reply, config: &EndpointConfig) -> Self {
        let may_sign_in = may_sign_in(config);
        match (reply.status, &reply.message) {
            (StatusCode::UNAUTHORIZED, _) if may_sign_in => Self::WantsToken(reply),
            (StatusCode::FORBIDDEN, _) if may_sign_in && has_challenge(&reply.headers) => {
                Self::WantsToken(reply)
            }
            (_, Some(message)) => {
                let message = message.clone();
                Self::Response(reply, message)
            }
            (_, None) => Self::Refused(reply),
        }
    }
}

/// A header of the user's own that is refused leads to no sign-in.
pub(super) fn may_sign_in(config: &EndpointConfig) -> bool {
    let secret = config.secret_headers.as_ref();
    let is_secret = secret.is_some_and(|headers| headers.contains(&AUTHORIZATION));
    !is_secret && !config.headers.contains_key(AUTHORIZATION)
}

/// Looks at the answer to the first `initialize`, and finds out what else the server speaks.
pub(super) async fn examine(
    report: &mut Report<'_>,
    probe: &Probe,
    config: &EndpointConfig,
    first: Result<Reply, Failure>,
) -> Result<Speaks, &'static str> {
    let url = &config.url;
    let reply = match first {
        Ok(reply) => reply,
        Err(failure) => {
            let check = Check::failed(CheckName::Endpoint, failure.to_string());
            report.add(check.fix_of(&failure));
            return Err(STOP);
        }
    };
    let redirect = (reply.url != *url).then(|| bare(&reply.url));
    let refused = match First::of(reply, config) {
        First::WantsToken(reply) => {
            let found = format!("{}: it wants a sign-in", reply.status);
            answered(report, redirect, found);
            return Ok(Speaks::WantsToken(reply));
        }
        First::Response(reply, message) if !prefers_stream(config) && is_session(&message) => {
            let found = format!("{}, and a response to initialize", reply.status);
            answered(report, redirect, found);
            content_type(report, &reply);
            transport(report, config, TransportFound::Streamable);
            let modern = modern(probe, url).await;
            let legacy = message.result_member::<String>("protocolVersion");
            era(report, config, legacy.as_deref(), modern.as_ref());
            return Ok(Speaks::Legacy(reply, message));
        }
        First::Response(reply, _) | First::Refused(reply) => reply,
    };
    examine_refused(report, probe, config, &refused, redirect).await
}

/// Finds out what an endpoint speaks that does not answer `initialize` over streamable HTTP: the modern era, HTTP+SSE, or
/// nothing of MCP.
async fn examine_refused(
    report: &mut Report<'_>,
    probe: &Probe,
    config: &EndpointConfig,
    refused: &Reply,
    redirect: Option<Url>,
) -> Result<Speaks, &'static str> {
    let url = &config.url;
    if !tells_of_the_address(refused.status) {
        report.add(wrong_answer(name_of(report), refused, None));
        return Err(STOP);
    }
    if !prefers_stream(config)
        && let Some(answer) = modern(probe, url).await
        && speaks_modern(&answer)
    {
        let found = format!(
            "{} to initialize, and a response to server/discover",
            refused.status
        );
        answered(report, redirect, found);
        transport(report, config, TransportFound::Streamable);
        era(report, config, None, Some(&answer));
        return Ok(Speaks::Modern(answer));
    }
    match stream(probe, url).await {
        StreamProbe::Open(conversation) => {
            answered(report, redirect, "GET opens an event stream".to_owned());
            transport(report, config, TransportFound::HttpSse);
            over_http_sse(report, config, conversation).await
        }
        StreamProbe::WantsToken(reply) if may_sign_in(config) => {
            let found = format!("{} to GET: it wants a sign-in", reply.status);
            answered(report, redirect, found);
            Ok(Speaks::WantsToken(*reply))
        }
        StreamProbe::Failed(attempt)
            if refused
                .failure
                .as_ref()
                .is_some_and(|refusal| attempt.outweighs(refusal)) =>
        {
            answered(report, redirect, "GET opens an event stream".to_owned());
            let check = Check::failed(CheckName::Transport, format!("HTTP+SSE: {attempt}"));
            report.add(check.fix_of(&attempt));
            Err(STOP)
        }
        StreamProbe::Failed(_) | StreamProbe::WantsToken(_) | StreamProbe::None => {
            let elsewhere = Box::pin(elsewhere(probe, url)).await;
            report.add(wrong_answer(name_of(report), refused, elsewhere.as_ref()));
            Err(STOP)
        }
    }
}

/// True if HTTP+SSE is tried before streamable HTTP, or alone.
fn prefers_stream(config: &EndpointConfig) -> bool {
    matches!(
        config.transport,
        TransportChoice::SseFirst | TransportChoice::SseOnly
    )
}

/// True if a response with this status may mean another transport or another path. The others tell of
/// rights, load and faults.
fn tells_of_the_address(status: StatusCode) -> bool {
    status.is_success() || matches!(status.as_u16(), 400 | 404 | 405 | 406 | 410 | 415)
}

/// Name of the check that fails for a meaningless answer: once it wanted a token, its address was right.
fn name_of(report: &Report<'_>) -> CheckName {
    if report.is_fine(CheckName::Endpoint) {
        CheckName::Transport
    } else {
        CheckName::Endpoint
    }
}

/// The endpoint is there. With a token it is looked at for the second time.
fn answered(report: &mut Report<'_>, redirect: Option<Url>, found: String) {
    if report.is_fine(CheckName::Endpoint) {
        return;
    }
    report.add(match redirect {
        None => Check::passed(CheckName::Endpoint, found),
        Some(target) => Check::warning(CheckName::Endpoint, format!("it redirects to {target}"))
            .fix("use that URL instead"),
    });
}

async fn over_http_sse(
    report: &mut Report<'_>,
    config: &EndpointConfig,
    mut conversation: Box<HttpSseConversation>,
) -> Result<Speaks, &'static str> {
    match conversation.open(&bare_initialize()).await {
        Ok(message) => {
            let legacy = message.result_member::<String>("protocolVersion");
            era(report, config, legacy.as_deref(), None);
            Ok(Speaks::HttpSse(conversation, message))
        }
        Err(failure) => {
            let found = format!("initialize over HTTP+SSE: {failure}");
            report.add(Check::failed(CheckName::Era, found).fix_of(&failure));
            Err(STOP)
        }
    }
}

/// Check that failed by a response that no transport of MCP has.
fn wrong_answer(name: CheckName, reply: &Reply, elsewhere: Option<&Url>) -> Check {
    let status = reply.status;
    let found = match (&reply.failure, &reply.message, &reply.content) {
        (Some(failure), ..) => failure.to_string(),
        (None, Some(message), _) => match message.error_text() {
            Some((code, text)) => format!("initialize is answered with the error {code}: {text}"),
            None => "the result of initialize has no protocolVersion".to_owned(),
        },
        (None, None, ContentType::Other(kind)) if kind == "text/html" => {
            format!("{status} with a web page instead of MCP")
        }
        (None, None, ContentType::Other(kind)) => format!("{status} with {kind} instead of MCP"),
        (None, None, _) => format!("{status} without a JSON-RPC response"),
    };
    let check = Check::failed(name, found);
    if let Some(elsewhere) = elsewhere {
        return check.fix(format!("the server answers at {elsewhere}: use that URL"));
    }
    match (&reply.failure, &reply.content) {
        (Some(failure), _) => check.fix_of(failure),
        (None, ContentType::Other(_)) => check
            .fix("check the path of the URL; if this network has a login page, log in there first"),
        (None, _) => check.fix("the URL has to be the server's MCP endpoint"),
    }
}

fn content_type(report: &mut Report<'_>, reply: &Reply) {
    const PLACE: &str = "MCP 2025-11-25, Transports, Sending Messages to the Server";
    let check = match &reply.content {
        ContentType::Json => Check::passed(CheckName::ContentType, "application/json"),
        ContentType::EventStream => Check::passed(CheckName::ContentType, "text/event-stream"),
        ContentType::Missing => {
            Check::warning(CheckName::ContentType, "the response has no Content-Type")
                .fix("send application/json or text/event-stream")
                .specification(PLACE)
        }
        ContentType::Other(kind) => Check::warning(
            CheckName::ContentType,
            format!("the response is of type {kind}"),
        )
        .fix("send application/json or text/event-stream")
        .specification(PLACE),
    };
    report.add(check);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TransportFound {
    Streamable,
    HttpSse,
}

fn transport(report: &mut Report<'_>, config: &EndpointConfig, found: TransportFound) {
    let check = match (found, config.transport) {
        (TransportFound::Streamable, TransportChoice::SseOnly) => {
            Check::failed(CheckName::Transport, "streamable HTTP alone")
                .fix("drop --transport, or pass --transport http-first")
        }
        (TransportFound::Streamable, _) => Check::passed(CheckName::Transport, "streamable HTTP"),
        (TransportFound::HttpSse, TransportChoice::HttpOnly) => {
            Check::failed(CheckName::Transport, Failure::HttpSse.to_string())
                .fix_of(&Failure::HttpSse)
        }
        (TransportFound::HttpSse, _) => Check::warning(
            CheckName::Transport,
            "HTTP+SSE of 2024-11-05, which is deprecated",
        )
        .fix("it works; the server's operator should offer streamable HTTP")
        .specification("MCP 2025-11-25, Transports, Backwards Compatibility"),
    };
    report.add(check);
}

fn era(
    report: &mut Report<'_>,
    config: &EndpointConfig,
    legacy: Option<&str>,
    modern: Option<&Message>,
) {
    let modern = modern.filter(|answer| speaks_modern(answer));
    let versions = modern.map(versions).unwrap_or_default();
    let has_ours = modern.is_some_and(|answer| Discovery::of(answer) == Discovery::Modern);
    let both = match legacy {
        Some(version) if has_ours => format!("{version} by handshake, and {}", versions.join(", ")),
        Some(version) => format!("{version}, by handshake"),
        None => versions.join(", "),
    };
    let check = match (legacy, config.protocol) {
        (None, _) if !has_ours => Check::failed(CheckName::Era, both).fix(format!(
            "the bridge speaks {MODERN_VERSION}, and up to {NEWEST_LEGACY}: look for a newer one"
        )),
        (None, Protocol::Legacy) => {
            Check::failed(CheckName::Era, format!("{both} alone")).fix("drop --protocol legacy")
        }
        (Some(_), Protocol::Modern) if !has_ours => {
            Check::failed(CheckName::Era, both).fix("drop --protocol modern")
        }
        _ => Check::passed(CheckName::Era, both),
    };
    report.add(check);
}

/// True if a response to `initialize` opens a session.
fn is_session(message: &Message) -> bool {
    message
        .result_member::<String>("protocolVersion")
        .is_some_and(|version| !is_modern(&version))
}

/// The answer to `server/discover`, if there is one.
async fn modern(probe: &Probe, url: &Url) -> Option<Message> {
    probe.post(url, &discover()).await.ok()?.message
}

fn speaks_modern(answer: &Message) -> bool {
    match Discovery::of(answer) {
        Discovery::Modern | Discovery::OtherModern(_) => true,
        Discovery::LegacyOnly(_) | Discovery::NotModern => false,
    }
}

fn versions(answer: &Message) -> Vec<String> {
    match Discovery::of(answer) {
        Discovery::OtherModern(versions) | Discovery::LegacyOnly(versions) => versions,
        Discovery::Modern => {
            let listed = answer.result_member::<Vec<String>>("supportedVersions");
            let mut listed = listed.unwrap_or_else(|| vec![MODERN_VERSION.to_owned()]);
            // The others need a handshake, which showed the newest of them.
            listed.retain(|version| is_modern(version));
            listed
        }
        Discovery::NotModern => Vec::new(),
    }
}

enum StreamProbe {
    Open(Box<HttpSseConversation>),
    WantsToken(Box<Reply>),
    /// There is one, and it is of no use.
    Failed(Box<Failure>),
    None,
}

/// Tries to open an HTTP+SSE stream by GET.
async fn stream(probe: &Probe, url: &Url) -> StreamProbe {
    match probe.get(url).await {
        Ok(reply) if reply.status == StatusCode::UNAUTHORIZED => {
            StreamProbe::WantsToken(Box::new(reply))
        }
        Ok(reply) if reply.content == ContentType::EventStream => match probe.converse(url).await {
            Ok(conversation) => StreamProbe::Open(Box::new(conversation)),
            Err(failure) => StreamProbe::Failed(Box::new(failure)),
        },
        Ok(_) | Err(_) => StreamProbe::None,
    }
}

/// Another path of the same origin at which a server answers, without its query.
async fn elsewhere(probe: &Probe, url: &Url) -> Option<Url> {
    let at = |path: &str| {
        let mut other = url.clone();
        other.set_path(path);
        (other != *url).then_some(other)
    };
    let below = format!("{}{USUAL_PATH}", url.path().trim_end_matches('/'));
    let (usual, below, stream) = tokio::join!(
        answers(probe, at(USUAL_PATH)),
        answers(probe, at(&below).filter(|_| below != USUAL_PATH)),
        streams(probe, at(USUAL_STREAM_PATH)),
    );
    usual.or(below).or(stream).map(|found| bare(&found))
}

/// Ends a session that was opened only to see whether anybody is there.
pub(in crate::commands) async fn leave(probe: &Probe, reply: &Reply) {
    if let Some((session, _)) = reply.session() {
        let probe = probe.with_header("mcp-session-id", session);
        let _ = probe.delete(&reply.url).await;
    }
}

async fn answers(probe: &Probe, url: Option<Url>) -> Option<Url> {
    let url = url?;
    let reply = probe.post(&url, &bare_initialize()).await.ok()?;
    leave(probe, &reply).await;
    let is_mcp = reply.message.is_some() || reply.status == StatusCode::UNAUTHORIZED;
    is_mcp.then_some(url)
}

async fn streams(probe: &Probe, url: Option<Url>) -> Option<Url> {
    let url = url?;
    match stream(probe, &url).await {
        StreamProbe::Open(_) | StreamProbe::WantsToken(_) => Some(url),
        StreamProbe::Failed(_) | StreamProbe::None => None,
    }
}
