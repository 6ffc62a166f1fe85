//! A client for the commands: rmcp's, at the bridge itself, which runs in this process as it does for an
//! app. So a person sees what an app would.

mod person;
mod questions;
mod terminal;
mod transport;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{
    CallToolRequest, CallToolRequestParams, ClientRequest, JsonObject, ListToolsRequest,
    PaginatedRequestParams,
};
use rmcp::service::{PeerRequestOptions, RunningService};
use rmcp::{ClientLifecycleMode, ClientServiceExt as _, RoleClient};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{ASK_THE_DOCTOR, Stop};
use crate::cli::Connection;
use crate::signals;
use mcp_bridge_core::bridge::{self, End, Memory};
use mcp_bridge_core::endpoint::{self, Patience};
use mcp_bridge_protocol::message::{EmptyCursor, MAX_PAGES, Message, NextPage, Pages, member};
use mcp_bridge_text::printable;
use person::{Notes, Person};
use terminal::Terminal;
use transport::{Desk, Wire};

/// How long what is under way may take once the command has what it wants.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// Time for what is under way after an interrupt: the server hears of a cancellation.
const INTERRUPT_GRACE: Duration = Duration::from_millis(500);

/// How long a command that was interrupted may print once the conversation is over: whoever should read
/// it may not.
const PRINT_GRACE: Duration = Duration::from_millis(500);

/// Bytes that each direction of the wire holds.
const WIRE_BYTES: usize = 64 * 1024;

/// A conversation with a server.
pub(super) struct Client {
    service: RunningService<RoleClient, Person>,
    desk: Arc<Desk>,
    notes: Arc<Notes>,
    bridge: Bridge,
    interrupt: Interrupt,
}

/// The bridge in this process.
struct Bridge {
    task: JoinHandle<End>,
    give_up: watch::Sender<bool>,
}

impl Bridge {
    /// Waits for its end once its input is closed, and not for long after an interrupt.
    async fn ends(self, interrupt: &Interrupt) {
        let Self { mut task, give_up } = self;
        tokio::select! {
            _ = &mut task => return,
            () = interrupt.came() => {}
        }
        if timeout(INTERRUPT_GRACE, &mut task).await.is_ok() {
            return;
        }
        give_up.send_replace(true);
        let _ = task.await;
    }
}

/// A person's Ctrl-C, and what else tells a process to stop.
#[derive(Clone)]
struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Watches for signals until the process ends, on a thread of its own: what comes after the runtime,
    /// such as printing, can be interrupted too.
    fn watch() -> io::Result<Self> {
        let (stopped, interrupt) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    signals::stop().await;
                    stopped.send_replace(true);
                    stopped.closed().await;
                    tokio::time::sleep(PRINT_GRACE).await;
                    std::process::exit(signals::CUT_SHORT.into());
                });
            })?;
        Ok(Self(interrupt))
    }

    async fn came(&self) {
        let mut interrupt = self.0.clone();
        if interrupt.wait_for(|came| *came).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Client {
    /// Begins a conversation. People are asked to sign in as they are by the bridge.
    pub(super) async fn connect(connection: Connection) -> Result<Self, Stop> {
        let interrupt = Interrupt::watch()
            .map_err(|error| Stop::failed(format!("cannot watch for signals: {error}")))?;
        let limit = connection.endpoint.max_message;
        let terminal = Terminal::of_process();
        let config = bridge::Config {
            endpoint: endpoint::Config {
                // Who waits at a terminal wants to know at once.
                patience: Patience::FailFast,
                ..connection.endpoint
            },
            auth: connection.auth,
            drain: DRAIN_LIMIT,
            max_message: limit,
            input: bridge::Input::Terminal,
            tools: None,
            // The bridge knows the server's era, which decides where a list ends.
            list_pages: bridge::ListPages::Merge,
            answering: bridge::Answering::AfterServer,
            memory: Memory::default(),
        };
        let (to_bridge, input) = tokio::io::duplex(WIRE_BYTES);
        let (output, from_bridge) = tokio::io::duplex(WIRE_BYTES);
        let (give_up, stop) = watch::channel(false);
        let stop = Interrupt(stop);
        let task = tokio::spawn(async move {
            bridge::run(config, input, output, async move { stop.came().await }).await
        });
        let bridge = Bridge { task, give_up };
        // What the server has sent is bounded by the bridge already; its own words come to little.
        let (wire, desk) = Wire::new(from_bridge, to_bridge, limit.saturating_mul(2));
        let notes = Arc::new(Notes::default());
        if let Some(terminal) = &terminal {
            tokio::spawn(Arc::clone(terminal).read(Arc::clone(&desk)));
        }
        let person = Person {
            terminal,
            notes: Arc::clone(&notes),
        };
        let handshake = person.serve_with_lifecycle(wire, ClientLifecycleMode::Initialize);
        let begun = tokio::select! {
            begun = handshake => begun.map_err(|_| no_session(&desk)),
            () = interrupt.came() => Err(Stop::interrupted()),
        };
        match begun {
            Ok(service) => Ok(Self {
                service,
                desk,
                notes,
                bridge,
                interrupt,
            }),
            Err(stop) => {
                desk.hang_up();
                bridge.ends(&interrupt).await;
                Err(stop)
            }
        }
    }

    /// All tools of the server, as it spells them.
    pub(super) async fn tools(&self) -> Result<Vec<Box<RawValue>>, Stop> {
        let mut tools = Vec::new();
        let mut pages = Pages::default();
        let mut cursor: Option<String> = None;
        loop {
            let params =
                cursor.map(|cursor| PaginatedRequestParams::default().with_cursor(Some(cursor)));
            let request = ListToolsRequest {
                params,
                ..ListToolsRequest::default()
            };
            let page = self.ask(ClientRequest::ListToolsRequest(request)).await?;
            let listed = page.result_member::<Vec<Box<RawValue>>>("tools");
            tools.extend(listed.ok_or_else(|| {
                Stop::failed("the server's answer to tools/list has no list of tools")
                    .hint(ASK_THE_DOCTOR)
            })?);
            cursor = match pages.after(&page, EmptyCursor::Ends) {
                NextPage::At(cursor) => Some(cursor),
                NextPage::None => return Ok(tools),
                NextPage::TooMany => return Err(endless_list()),
            };
        }
    }

    /// Calls a tool. Returns the response, which holds a result.
    pub(super) async fn call(&self, tool: &str, arguments: JsonObject) -> Result<Message, Stop> {
        let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        let request = CallToolRequest::new(params);
        self.ask(ClientRequest::CallToolRequest(request)).await
    }

    /// Ends the conversation and the session.
    pub(super) async fn leave(self) {
        self.notes.clear();
        tokio::select! {
            _ = self.service.cancel() => {}
            () = self.interrupt.came() => self.desk.hang_up(),
        }
        self.bridge.ends(&self.interrupt).await;
    }

    /// Sends a request and returns the response to it, if that is a result. An interrupt cancels it.
    async fn ask(&self, request: ClientRequest) -> Result<Message, Stop> {
        let options = PeerRequestOptions::no_options();
        let sent = self.service.send_cancellable_request(request, options);
        let sent = sent.await.map_err(|error| stop_of(&self.desk, &error))?;
        let (id, peer) = (sent.id.clone(), sent.peer.clone());
        let answered = tokio::select! {
            answered = sent.await_response() => answered,
            () = self.interrupt.came() => {
                // Whether the server hears of it changes nothing here.
                let _ = peer.notify_cancelled(cancellation(id)).await;
                return Err(Stop::interrupted());
            }
        };
        self.notes.clear();
        match self.desk.take_answer() {
            Some(answer) if answer.is_error() => Err(Stop::of_error(&answer)),
            Some(answer) => Ok(answer),
            None => Err(match answered {
                Ok(_) => Stop::failed("no answer came").hint(ASK_THE_DOCTOR),
                Err(error) => Stop::failed(error.to_string()),
            }),
        }
    }
}

/// Why there is no session: what came in place of an `InitializeResult`.
fn no_session(desk: &Desk) -> Stop {
    let stop = match desk.take_answer() {
        Some(answer) if answer.is_error() => Stop::of_error(&answer),
        Some(_) => Stop::failed("the server's answer to initialize is not valid"),
        None => Stop::failed("no answer to initialize came"),
    };
    match stop.hint {
        Some(_) => stop,
        None => stop.hint(ASK_THE_DOCTOR),
    }
}

fn endless_list() -> Stop {
    Stop::failed(format!(
        "the server's list of tools has no end: {MAX_PAGES} pages were read"
    ))
    .hint(ASK_THE_DOCTOR)
}

fn cancellation(id: rmcp::model::RequestId) -> rmcp::model::CancelledNotificationParam {
    let reason = Some("interrupted".to_owned());
    rmcp::model::CancelledNotificationParam::new(Some(id), reason)
}

/// What ended the conversation: an error of the server or the bridge if there was one, which says more.
fn stop_of(desk: &Desk, error: &impl std::error::Error) -> Stop {
    match desk.take_answer() {
        Some(answer) if answer.is_error() => Stop::of_error(&answer),
        _ => Stop::failed(error.to_string()),
    }
}

impl Stop {
    /// A person told the command to stop.
    fn interrupted() -> Self {
        Self {
            status: std::process::ExitCode::from(signals::CUT_SHORT),
            ..Self::failed("cancelled")
        }
    }

    /// What the server or the bridge has answered instead of a result.
    fn of_error(response: &Message) -> Self {
        let (code, text) = response.error_text().unwrap_or_default();
        let data = response
            .error_json()
            .and_then(|error| member::<Value>(error, "data"));
        let data = data.filter(|data| data["source"] == env!("CARGO_PKG_NAME"));
        let Some(data) = data else {
            let text = printable::block(&text);
            return Self::failed(format!("the server says: {text} ({code})"));
        };
        let hint = data["hint"].as_str();
        let text = text.strip_prefix("mcp-bridge: ").unwrap_or(&text);
        let in_brackets = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        let text = text.strip_suffix(in_brackets.as_str()).unwrap_or(text);
        Self {
            hint: hint.map(str::to_owned),
            ..Self::failed(printable::block(text))
        }
    }
}
