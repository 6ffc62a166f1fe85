//! Connection to a server that the inspector's page drives.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::watch;

use super::super::client::{McpClient, Question, QuestionDesk};
use crate::cli::ServerConnection;
use crate::commands::Stop;
use mcp_bridge_auth::{Authorizer, PreRegisteredClient};
use mcp_bridge_net::mutex::Mutex;

/// A server, connected when it is first needed.
pub(super) struct Live {
    access: Mutex<Arc<ConnectionAccess>>,
    client: tokio::sync::RwLock<Option<McpClient>>,
    desk: Arc<QuestionDesk>,
    phase: watch::Sender<ConnectionPhase>,
    /// Number of times that the session was ended, so that nothing goes on which belongs to it.
    departures: watch::Sender<u64>,
}

/// The server with the account that is used there.
pub(super) struct ConnectionAccess {
    pub(super) connection: ServerConnection,
    /// The source of tokens; none where the user's own header is the way in.
    pub(super) authorizer: Option<Arc<Authorizer>>,
}

/// State of the connection, for a person.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "phase", rename_all = "camelCase")]
pub(super) enum ConnectionPhase {
    /// Nothing was asked yet, or the session was ended.
    #[default]
    Idle,
    Connecting,
    Connected,
    Failed {
        reason: String,
    },
}

/// State that each page is told of when it changes.
#[derive(Serialize)]
pub(super) struct LiveState {
    connection: ConnectionPhase,
    questions: Vec<Question>,
}

/// A request of the page.
#[derive(Deserialize)]
struct PageRequest<'a> {
    method: String,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

impl ConnectionAccess {
    fn new(connection: ServerConnection) -> Self {
        let auth = connection.auth.clone();
        Self {
            authorizer: auth.map(|auth| Arc::new(connection.endpoint.authorizer(auth))),
            connection,
        }
    }
}

impl Live {
    pub(super) fn new(connection: ServerConnection) -> Self {
        Self {
            access: Mutex::new(Arc::new(ConnectionAccess::new(connection))),
            client: tokio::sync::RwLock::new(None),
            desk: Arc::default(),
            phase: watch::Sender::default(),
            departures: watch::Sender::default(),
        }
    }

    /// The server with the account in use.
    pub(super) fn access(&self) -> Arc<ConnectionAccess> {
        Arc::clone(&self.access.lock())
    }

    /// The questions of the server.
    pub(super) const fn desk(&self) -> &Arc<QuestionDesk> {
        &self.desk
    }

    /// Uses a client that a person has registered, from the next session on. It is kept in this process alone.
    pub(super) async fn use_client(&self, client: PreRegisteredClient) {
        self.depart().await;
        let mut access = self.access.lock();
        let mut connection = access.connection.clone();
        if let Some(auth) = &mut connection.auth {
            auth.client = Some(client);
        }
        *access = Arc::new(ConnectionAccess::new(connection));
    }

    /// The state now.
    pub(super) fn state(&self) -> LiveState {
        LiveState {
            connection: self.phase.borrow().clone(),
            questions: self.desk.open(),
        }
    }

    /// Receivers that are told when the state changes.
    pub(super) fn watch(&self) -> (watch::Receiver<ConnectionPhase>, watch::Receiver<u64>) {
        (self.phase.subscribe(), self.desk.watch())
    }

    /// Connects, unless that is done.
    pub(super) async fn connect(&self) -> Result<(), String> {
        // From before the wait on: who signs out wants nobody to connect who has waited.
        let mut departed = self.departures.subscribe();
        departed.mark_unchanged();
        if self.client.read().await.as_ref().is_some_and(is_usable) {
            return Ok(());
        }
        let mut client = self.client.write().await;
        if client.as_ref().is_some_and(is_usable) {
            return Ok(());
        }
        if departed.has_changed().unwrap_or(true) {
            return Err(ENDED.to_owned());
        }
        *client = None;
        let connecting = Connecting::new(&self.phase);
        let access = self.access();
        let opening = McpClient::inspect(
            access.connection.clone(),
            access.authorizer.clone(),
            Arc::clone(&self.desk),
        );
        let opened = tokio::select! {
            opened = opening => opened.map_err(|stop| in_words(&stop)),
            _ = departed.changed() => Err(ENDED.to_owned()),
        };
        match opened {
            Ok(opened) => {
                *client = Some(opened);
                connecting.is_at(ConnectionPhase::Connected);
                Ok(())
            }
            Err(reason) => {
                let reason_ = reason.clone();
                connecting.is_at(ConnectionPhase::Failed { reason: reason_ });
                Err(reason)
            }
        }
    }

    /// Sends the request that the page wants, and returns the JSON-RPC response. The error is for a person.
    pub(super) async fn request(&self, wanted: &[u8]) -> Result<Bytes, String> {
        let wanted: PageRequest<'_> =
            serde_json::from_slice(wanted).map_err(|error| format!("not a request: {error}"))?;
        let params = wanted.params.map_or("{}", RawValue::get);
        self.ask(&wanted.method, params).await
    }

    /// Sends a request, and returns the JSON-RPC response.
    pub(super) async fn ask(&self, method: &str, params: &str) -> Result<Bytes, String> {
        let mut departed = self.departures.subscribe();
        departed.mark_unchanged();
        self.connect().await?;
        let client = self.client.read().await;
        let client = client.as_ref().ok_or("there is no connection")?;
        let response = tokio::select! {
            response = client.request(method, params) => response,
            _ = departed.changed() => return Err(ENDED.to_owned()),
        };
        match response {
            Ok(response) => Ok(response.text().clone()),
            Err(stop) => Err(in_words(&stop)),
        }
    }

    /// Ends the session. Requests under way fail. The next one begins another session.
    pub(super) async fn depart(&self) {
        self.departures.send_modify(|count| *count += 1);
        let client = self.client.write().await.take();
        if let Some(client) = client {
            client.leave().await;
        }
        self.phase.send_replace(ConnectionPhase::Idle);
    }
}

/// Error of requests that have no answer when the session is ended.
const ENDED: &str = "the session was ended";

fn is_usable(client: &McpClient) -> bool {
    !client.is_over()
}

/// An error with its hint.
pub(super) fn in_words(stop: &Stop) -> String {
    match &stop.hint {
        Some(hint) => format!("{}\nhint: {hint}", stop.error),
        None => stop.error.clone(),
    }
}

/// An attempt to connect; the phase is idle again if it is given up.
struct Connecting<'a>(&'a watch::Sender<ConnectionPhase>);

impl<'a> Connecting<'a> {
    fn new(phase: &'a watch::Sender<ConnectionPhase>) -> Self {
        phase.send_replace(ConnectionPhase::Connecting);
        Self(phase)
    }

    fn is_at(&self, phase: ConnectionPhase) {
        self.0.send_replace(phase);
    }
}

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        self.0.send_if_modified(|phase| {
            let is_given_up = *phase == ConnectionPhase::Connecting;
            if is_given_up {
                *phase = ConnectionPhase::Idle;
            }
            is_given_up
        });
    }
}
