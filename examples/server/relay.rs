//! Relay between replicas: responses and cancellations of a client reach the replica that waits for them, whichever one the
//! proxy gave them to.
//!
//! Up to MCP 2025-11-25 a server asks its client in the middle of a call, and the answer is a request of its own. All replicas
//! read what each of them got, in a stream of Redis; those that do not wait for it ignore it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisResult};
use rmcp::model::ClientJsonRpcMessage;
use rmcp::transport::streamable_http_server::SessionManager as _;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::replicas::SharedState;
use super::resource::session_id;
use super::{App, MAX_BODY_BYTES};

/// Key of the stream.
const STREAM: &str = "mcp-example:relay";

/// Messages that the stream keeps at most; a replica that is so far behind has lost its clients.
const MAX_MESSAGES: u64 = 1000;

/// Time that the stream is kept after the last message, in seconds: answers of people are in it.
const STREAM_LIFETIME: u64 = 60;

/// Time that Redis waits for a message before it answers that there was none.
const WAIT: Duration = Duration::from_secs(5);

/// Time that an answer may take beyond [`WAIT`].
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Time before the next attempt when Redis does not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// Position of an entry of the stream, and its fields: names and values in turn.
type StreamEntry = (String, Vec<String>);

/// A message of a client, and its session.
#[derive(Serialize, Deserialize)]
struct RelayedMessage {
    session: String,
    message: Value,
}

/// Passes responses and cancellations on to all replicas, if there are several. It stands behind the check of the token, and of
/// the session's owner.
pub(crate) async fn pass_on(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let session = session_id(request.headers()).map(str::to_owned);
    let (Some(shared), Some(session)) = (&app.shared, session) else {
        return next.run(request).await;
    };
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    let (head, body) = request.into_parts();
    let Ok(bytes) = to_bytes(body, MAX_BODY_BYTES).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    // What is no JSON is passed to rmcp, which says what is wrong with it.
    let message: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    if is_waited_for(&message) {
        let relayed = RelayedMessage { session, message };
        match append(shared, &relayed).await {
            Ok(()) => return StatusCode::ACCEPTED.into_response(),
            Err(error) => tracing::warn!(%error, "an answer reaches this replica alone"),
        }
    }
    next.run(Request::from_parts(head, Body::from(bytes))).await
}

/// Returns whether a message belongs to a call that a replica has under way.
fn is_waited_for(message: &Value) -> bool {
    match message["method"].as_str() {
        Some(method) => method == "notifications/cancelled",
        None => !message["id"].is_null(),
    }
}

async fn append(shared: &SharedState, relayed: &RelayedMessage) -> RedisResult<()> {
    let text = serde_json::to_string(relayed).map_err(std::io::Error::from)?;
    let mut add = redis::cmd("XADD");
    add.arg(STREAM).arg("MAXLEN").arg("~").arg(MAX_MESSAGES);
    shared
        .ask::<()>(add.arg("*").arg("relayed").arg(text))
        .await?;
    let mut expire = redis::cmd("EXPIRE");
    shared.ask(expire.arg(STREAM).arg(STREAM_LIFETIME)).await
}

/// Gives the sessions of this replica what all replicas got, for ever.
pub(crate) async fn deliver(shared: Arc<SharedState>, sessions: Arc<LocalSessionManager>) {
    let mut last = None;
    loop {
        if let Err(error) = follow(&shared, &sessions, &mut last).await {
            tracing::warn!(%error, "answers that other replicas get are late");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Reads the stream, beginning after `last`, until the connection breaks.
async fn follow(
    shared: &SharedState,
    sessions: &LocalSessionManager,
    last: &mut Option<String>,
) -> RedisResult<()> {
    // The connection waits in Redis, so it can't be that of other commands.
    let limits = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(ANSWER_LIMIT))
        .set_response_timeout(Some(WAIT + ANSWER_LIMIT));
    let mut connection = shared.connect_with(&limits).await?;
    let mut position = match last.take() {
        Some(position) => position,
        None => newest(&mut connection).await?,
    };
    loop {
        *last = Some(position.clone());
        for (id, relayed) in read(&mut connection, &position).await? {
            position = id;
            if let Some(relayed) = relayed {
                give(sessions, relayed).await;
            }
        }
    }
}

/// Position of the newest message.
async fn newest(connection: &mut MultiplexedConnection) -> RedisResult<String> {
    let mut range = redis::cmd("XREVRANGE");
    range.arg(STREAM).arg("+").arg("-").arg("COUNT").arg(1);
    let entries: Vec<StreamEntry> = range.query_async(connection).await?;
    let newest = entries.into_iter().next();
    Ok(newest.map_or_else(|| "0-0".to_owned(), |(id, _)| id))
}

/// The messages after a position, each with its own; none if there was none for a while.
async fn read(
    connection: &mut MultiplexedConnection,
    position: &str,
) -> RedisResult<Vec<(String, Option<RelayedMessage>)>> {
    let wait = u64::try_from(WAIT.as_millis()).unwrap_or(u64::MAX);
    let mut read = redis::cmd("XREAD");
    read.arg("BLOCK")
        .arg(wait)
        .arg("STREAMS")
        .arg(STREAM)
        .arg(position);
    let streams: Option<Vec<(String, Vec<StreamEntry>)>> = read.query_async(connection).await?;
    let entries = streams
        .into_iter()
        .flatten()
        .flat_map(|(_, entries)| entries);
    let relayed = entries.map(|(id, fields)| {
        let text = fields.get(1);
        (id, text.and_then(|text| serde_json::from_str(text).ok()))
    });
    Ok(relayed.collect())
}

async fn give(sessions: &LocalSessionManager, relayed: RelayedMessage) {
    let session = relayed.session.into();
    let is_here = sessions.has_session(&session).await.unwrap_or(false);
    let message = serde_json::from_value::<ClientJsonRpcMessage>(relayed.message);
    if let (true, Ok(message)) = (is_here, message) {
        // A session that has ended meanwhile waits for nothing.
        let _ = sessions.accept_message(&session, message).await;
    }
}
