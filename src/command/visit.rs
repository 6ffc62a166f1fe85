//! A short visit to a server: enough for it to ask for a token, and to show that it takes it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{ASK_THE_DOCTOR, Stop};
use crate::cli::Connection;
use mcp_bridge_auth::Authorizer;
use mcp_bridge_core::bridge::Memory;
use mcp_bridge_core::endpoint::{Endpoint, Inbound, Outcome, Track};
use mcp_bridge_protocol::era::{Era, MODERN_VERSION, NEWEST_LEGACY};
use mcp_bridge_protocol::message::{Message, RequestId};

/// How long the server may take to hear that the session is over.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// Messages of the server that wait to be thrown away.
const INBOUND_MESSAGES: usize = 16;

/// Who knocks.
pub(super) struct Visitor {
    endpoint: Arc<Endpoint>,
    memory: Memory,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Visit {
    /// The server's name and version.
    pub(super) name: Option<String>,
    /// How many tools there are on the first page, if the server lists them.
    pub(super) tools: Option<usize>,
}

impl Visitor {
    pub(super) fn new(connection: &Connection, authorizer: &Arc<Authorizer>) -> Self {
        let (sender, inbound) = mpsc::channel(INBOUND_MESSAGES);
        tokio::spawn(ignore(inbound));
        let authorizer = Some(Arc::clone(authorizer));
        Self {
            endpoint: Endpoint::new(0, connection.endpoint.clone(), authorizer, sender),
            memory: connection.memory.clone(),
        }
    }

    /// Opens a session, or asks a server without sessions what it is, and lists the tools: some servers
    /// want a token for that alone.
    pub(super) async fn visit(&self) -> Result<Visit, Stop> {
        let visit = self.converse().await;
        self.endpoint.close(CLOSE_LIMIT).await;
        visit
    }

    async fn converse(&self) -> Result<Visit, Stop> {
        let client = json!({ "name": "mcp-bridge", "version": env!("CARGO_PKG_VERSION") });
        let initialize = json!({
            "protocolVersion": NEWEST_LEGACY,
            "capabilities": {},
            "clientInfo": client,
        });
        let (greeting, list) = match self.ask("initialize", &initialize).await? {
            Answer::Legacy(greeting) => {
                if !greeting.is_error() {
                    self.memory.keep(NEWEST_LEGACY, &greeting);
                    let method = "notifications/initialized";
                    let initialized = Message::notification(method, &json!({}));
                    self.endpoint.notify(&initialized).await;
                }
                (greeting, json!({}))
            }
            Answer::Modern(discovered) => {
                let meta = json!({
                    "io.modelcontextprotocol/protocolVersion": MODERN_VERSION,
                    "io.modelcontextprotocol/clientInfo": client,
                    "io.modelcontextprotocol/clientCapabilities": {},
                });
                (discovered, json!({ "_meta": meta }))
            }
        };
        if greeting.is_error() {
            let text = greeting.error_text().map(|(_, text)| text);
            return Err(Stop::failed(text.unwrap_or_default()).hint(ASK_THE_DOCTOR));
        }
        // Whatever the server itself says about tools shows that it answers.
        let (Answer::Legacy(listed) | Answer::Modern(listed)) =
            self.ask("tools/list", &list).await?;
        let tools = listed.result_member::<Vec<&RawValue>>("tools");
        Ok(Visit {
            name: name(&greeting),
            tools: tools.map(|tools| tools.len()),
        })
    }

    async fn ask(&self, method: &str, params: &Value) -> Result<Answer, Stop> {
        let id = RequestId::from_string(method);
        let request = Message::request(&id, method, &params.to_string());
        let era = Era::of_request(&request);
        match self
            .endpoint
            .request(&request, era, &Track::default())
            .await
        {
            Outcome::Response(response) | Outcome::OtherVersion(response) => {
                Ok(Answer::Legacy(response))
            }
            Outcome::ModernOnly(response) => Ok(Answer::Modern(response)),
            Outcome::Failed(failure) => Err(Stop {
                hint: Some(failure.hint()),
                ..Stop::failed(format!("{}: {failure}", self.endpoint.host()))
            }),
            Outcome::LegacyOnly | Outcome::Ended(_) => {
                let reason = "the server has changed its mind about its era";
                Err(Stop::failed(reason).hint("try again"))
            }
        }
    }
}

/// A response, by what it says of the server.
enum Answer {
    Legacy(Message),
    /// To `initialize`: the server speaks the modern era alone, and this is what it says of itself.
    Modern(Message),
}

/// `serverInfo`, which a modern server has in `_meta`.
fn name(greeting: &Message) -> Option<String> {
    let result: Value = serde_json::from_str(greeting.result_json()?).ok()?;
    let modern = &result["_meta"]["io.modelcontextprotocol/serverInfo"];
    let info = [&result["serverInfo"], modern];
    let info = info.into_iter().find(|info| info.is_object())?;
    let text = |name: &str| Some(printable(info[name].as_str()?));
    match (text("title").or_else(|| text("name")), text("version")) {
        (Some(name), Some(version)) => Some(format!("{name} {version}")),
        (name, None) => name,
        (None, Some(_)) => None,
    }
}

/// What a stranger says, as it may stand on a terminal.
fn printable(text: &str) -> String {
    const LONGEST_CHARS: usize = 60;
    let text = text.chars().filter(|c| !c.is_control());
    text.take(LONGEST_CHARS).collect()
}

/// A server may say what it likes of its own accord; a visitor does not stay for it.
async fn ignore(mut inbound: mpsc::Receiver<Inbound>) {
    while inbound.recv().await.is_some() {}
}
