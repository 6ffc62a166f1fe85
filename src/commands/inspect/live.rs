//! Connection to a server that the inspector's page drives.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::client::McpClient;
use crate::cli::ServerConnection;

/// A server, connected when it is first needed.
pub(super) struct Live {
    connection: ServerConnection,
    client: tokio::sync::RwLock<Option<McpClient>>,
}

/// A request of the page.
#[derive(Deserialize)]
struct PageRequest<'a> {
    method: String,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

impl Live {
    pub(super) fn new(connection: ServerConnection) -> Self {
        Self {
            connection,
            client: tokio::sync::RwLock::new(None),
        }
    }

    /// Connects, unless that is done.
    pub(super) async fn connect(&self) -> Result<(), String> {
        if self.client.read().await.is_some() {
            return Ok(());
        }
        let mut client = self.client.write().await;
        if client.is_none() {
            let connected = McpClient::inspect(self.connection.clone()).await;
            *client = Some(connected.map_err(|stop| match stop.hint {
                Some(hint) => format!("{}\nhint: {hint}", stop.error),
                None => stop.error,
            })?);
        }
        Ok(())
    }

    /// Sends the request that the page wants, and returns the JSON-RPC response. The error is for a person.
    pub(super) async fn request(&self, wanted: &[u8]) -> Result<Bytes, String> {
        let wanted: PageRequest<'_> =
            serde_json::from_slice(wanted).map_err(|error| format!("not a request: {error}"))?;
        self.connect().await?;
        let client = self.client.read().await;
        let client = client.as_ref().ok_or("there is no connection")?;
        let params = wanted.params.map_or("{}", RawValue::get);
        let response = client.request(&wanted.method, params).await;
        match response {
            Ok(response) => Ok(response.text().clone()),
            Err(stop) => Err(stop.error),
        }
    }

    /// Ends the session.
    pub(super) async fn leave(&self) {
        if let Some(client) = self.client.write().await.take() {
            client.leave().await;
        }
    }
}
