//! MCP client of the commands `tools`, `call`, `resources`, `read`, `prompts`, `prompt`, `login` and `inspect`: it speaks with the bridge, which runs in the same
//! process as it does for an app. So a person sees what an app would. Messages stay text
//! ([`Message`]), and results are shown as the server spelled them.

mod desk;
mod interrupt;
mod lists;
mod notes;
mod person;
mod questions;
pub(super) mod request;
mod terminal;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{ASK_THE_DOCTOR, Stop, run_async};
use crate::cli::{ConnectionFlags, ServerConnection};
use crate::commands::record::CommandRecording;
use crate::commands::schema::Execution;
use crate::log;
use crate::signals;
pub(super) use desk::{HandAnswer, Question, QuestionDesk};
use interrupt::Interrupt;
pub(super) use lists::Listing;
use mcp_bridge_auth::Authorizer;
use mcp_bridge_core::bridge::{self, End, Memory};
use mcp_bridge_core::endpoint::{self, Patience};
use mcp_bridge_protocol::codes::METHOD_NOT_FOUND;
use mcp_bridge_protocol::message::{
    EmptyCursor, MAX_PAGES, Message, NextPage, Pages, RequestId, member,
};
use mcp_bridge_text::printable;
use notes::Notes;
use person::Person;
pub(super) use request::{Completion, Reference};
use terminal::Terminal;
use wire::{Sent, Wire};

/// Limit of the shutdown, once the command has its result.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// Time for what is under way after an interrupt: the server hears of a cancellation.
const INTERRUPT_GRACE: Duration = Duration::from_millis(500);

/// Bytes that each direction of the wire holds.
const WIRE_BYTES: usize = 64 * 1024;

/// A conversation with a server.
pub(super) struct McpClient {
    wire: Arc<Wire>,
    person: Arc<Person>,
    bridge: LocalBridge,
    interrupt: Interrupt,
    /// The response to `initialize`.
    greeting: Message,
}

/// Holds a conversation on behalf of the person at the terminal, and ends it when `work` is done.
pub(super) fn converse<T>(
    flags: ConnectionFlags,
    url: &str,
    work: impl AsyncFnOnce(&McpClient) -> Result<T, Stop>,
) -> Result<T, Stop> {
    let mut connection = flags.connection(url, None)?;
    log::start_for_person(&connection.log);
    let _recording = CommandRecording::of(&mut connection);
    run_async(async {
        let client = McpClient::connect(connection).await?;
        let done = work(&client).await;
        client.leave().await;
        done
    })
}

/// The bridge in this process.
struct LocalBridge {
    task: JoinHandle<End>,
    give_up: watch::Sender<bool>,
}

impl LocalBridge {
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

impl McpClient {
    /// Begins a conversation on behalf of the person at the terminal, who is asked to sign in as by the bridge.
    async fn connect(connection: ServerConnection) -> Result<Self, Stop> {
        let interrupt = Interrupt::watch()
            .map_err(|error| Stop::failed(format!("cannot watch for signals: {error}")))?;
        let person = Person::Present {
            terminal: Terminal::of_process(),
            notes: Arc::new(Notes::default()),
        };
        Self::open(impatient(connection), None, person, interrupt).await
    }

    /// Begins a conversation in which the server can ask for nothing but a token of `authorizer`. It ends when
    /// the command does.
    pub(super) async fn visit(
        connection: ServerConnection,
        authorizer: Arc<Authorizer>,
    ) -> Result<Self, Stop> {
        let interrupt = Interrupt::never();
        Self::open(connection, Some(authorizer), Person::Absent, interrupt).await
    }

    /// Begins a conversation for the page of the inspector, which shows what passes and where the server's questions
    /// are answered. It ends when the command does.
    pub(super) async fn inspect(
        connection: ServerConnection,
        authorizer: Option<Arc<Authorizer>>,
        desk: Arc<QuestionDesk>,
    ) -> Result<Self, Stop> {
        let person = Person::AtPage(desk);
        Self::open(
            impatient(connection),
            authorizer,
            person,
            Interrupt::never(),
        )
        .await
    }

    async fn open(
        connection: ServerConnection,
        authorizer: Option<Arc<Authorizer>>,
        person: Person,
        interrupt: Interrupt,
    ) -> Result<Self, Stop> {
        let limit = connection.endpoint.max_message;
        let config = bridge::Config {
            endpoint: connection.endpoint,
            auth: connection.auth,
            drain: DRAIN_LIMIT,
            max_message: limit,
            input: bridge::Input::Terminal,
            tools: None,
            // The bridge knows the server's era, which decides where a list ends.
            list_pages: bridge::ListPages::Merge,
            answering: bridge::Answering::AfterServer,
            memory: connection.memory,
        };
        let (to_bridge, input) = tokio::io::duplex(WIRE_BYTES);
        let (output, from_bridge) = tokio::io::duplex(WIRE_BYTES);
        let (give_up, stop) = Interrupt::by_hand();
        let task = tokio::spawn(async move {
            let stop = async move { stop.came().await };
            match authorizer {
                Some(authorizer) => {
                    bridge::run_with(config, Some(authorizer), input, output, stop).await
                }
                None => Box::pin(bridge::run(config, input, output, stop)).await,
            }
        });
        let bridge = LocalBridge { task, give_up };
        let person = Arc::new(person);
        let wire = Wire::new(to_bridge);
        // What the server has sent is bounded by the bridge already; its own words come to little.
        let longest_line = limit.saturating_mul(2);
        let reading = Arc::clone(&wire).read(from_bridge, longest_line, Arc::clone(&person));
        tokio::spawn(reading);
        if let Person::Present { terminal, .. } = &*person
            && let Some(terminal) = terminal
        {
            tokio::spawn(Arc::clone(terminal).read(Arc::clone(&wire)));
        }
        match initialize(&wire, &person, &interrupt).await {
            Ok(greeting) => Ok(Self {
                wire,
                person,
                bridge,
                interrupt,
                greeting,
            }),
            Err(stop) => {
                wire.hang_up();
                bridge.ends(&interrupt).await;
                Err(stop)
            }
        }
    }

    /// The server's name and version, as far as it tells them.
    pub(super) fn server(&self) -> Option<String> {
        server_in(&self.greeting)
    }

    /// All elements of a list of the server, as it spells them.
    pub(super) async fn list(&self, listing: Listing) -> Result<Vec<Box<RawValue>>, Stop> {
        let method = listing.method();
        let mut items = Vec::new();
        let mut pages = Pages::default();
        let mut cursor: Option<String> = None;
        loop {
            let list = |id: &_| request::list(id, method, cursor.as_deref());
            let page = self.answer_to(self.wire.request(list)).await?;
            if listing.may_be_missing() && is_unknown_method(&page) {
                return Ok(items);
            }
            let page = result(page)?;
            let listed = page.result_member::<Vec<Box<RawValue>>>(listing.member());
            items.extend(listed.ok_or_else(|| {
                let noun = listing.noun();
                Stop::failed(format!(
                    "the server's answer to {method} has no list of {noun}"
                ))
                .hint(ASK_THE_DOCTOR)
            })?);
            cursor = match pages.after(&page, EmptyCursor::Ends) {
                NextPage::At(cursor) => Some(cursor),
                NextPage::None => return Ok(items),
                NextPage::TooMany => return Err(endless_list(listing)),
            };
        }
    }

    /// Reads a resource. Returns the response, which holds a result.
    pub(super) async fn read_resource(&self, uri: &str) -> Result<Message, Stop> {
        let read = |id: &_| request::read_resource(id, uri);
        self.ask(self.wire.request(read)).await
    }

    /// Gets a prompt with arguments that are the JSON text of an object. Returns the response, which holds a result.
    pub(super) async fn prompt(&self, name: &str, arguments: &str) -> Result<Message, Stop> {
        let get = |id: &_| request::get_prompt(id, name, arguments);
        self.ask(self.wire.request(get)).await
    }

    /// Asks for values of an argument. Returns the response, which holds a result.
    pub(super) async fn complete(&self, completion: &Completion<'_>) -> Result<Message, Stop> {
        let complete = |id: &_| request::complete(id, completion);
        self.ask(self.wire.request(complete)).await
    }

    /// The number of tools; `None` if the server itself refuses to list them.
    pub(super) async fn count_tools(&self) -> Result<Option<usize>, Stop> {
        let list = |id: &_| request::list(id, Listing::Tools.method(), None);
        let listed = self.answer_to(self.wire.request(list)).await?;
        if data_of_bridge(&listed).is_some() {
            return Err(Stop::of_error(&listed));
        }
        let tools = listed.result_member::<Vec<&RawValue>>("tools");
        Ok(tools.map(|tools| tools.len()))
    }

    /// Calls a tool. Returns the response, which holds a result.
    pub(super) async fn call(
        &self,
        tool: &str,
        arguments: &str,
        execution: Execution,
    ) -> Result<Message, Stop> {
        let call = |id: &_| request::call_tool(id, tool, arguments, execution);
        let answer = self.ask(self.wire.request(call)).await?;
        match (execution, task_in(&answer)) {
            (Execution::AsTask, Some(task)) => self.result_of_task(&task).await,
            (Execution::AsTask | Execution::Direct, _) => Ok(answer),
        }
    }

    /// Waits for the end of a task. The server answers when it has ended, and asks its questions meanwhile.
    async fn result_of_task(&self, task: &str) -> Result<Message, Stop> {
        let result = |id: &_| request::of_task(id, "tasks/result", task);
        let ended = self.ask(self.wire.request(result)).await;
        if self.interrupt.has_come() {
            // The bridge sees to it that the server hears of it.
            let cancel = |id: &_| request::of_task(id, "tasks/cancel", task);
            self.wire.request(cancel);
        }
        ended
    }

    /// Sends a request whose params are JSON text. Returns the response, whether that holds a result or an error. Who
    /// drops this cancels the request.
    pub(super) async fn request(&self, method: &str, params: &str) -> Result<Message, Stop> {
        let request = |id: &_| Message::request(id, method, params);
        let sent = self.wire.request(request);
        let mut cancellation = Cancellation {
            wire: &self.wire,
            id: Some(sent.id.clone()),
        };
        let answer = self.answer_to(sent).await;
        cancellation.id = None;
        answer
    }

    /// Returns whether the conversation is over: nothing more can be asked.
    pub(super) fn is_over(&self) -> bool {
        self.wire.is_over()
    }

    /// Ends the conversation and the session.
    pub(super) async fn leave(self) {
        self.person.clear_progress();
        self.wire.hang_up();
        self.bridge.ends(&self.interrupt).await;
    }

    /// Waits for the response to a request, and returns it if that is a result.
    async fn ask(&self, sent: Sent) -> Result<Message, Stop> {
        result(self.answer_to(sent).await?)
    }

    /// Waits for the response to a request. An interrupt cancels the request.
    async fn answer_to(&self, mut sent: Sent) -> Result<Message, Stop> {
        let answer = tokio::select! {
            answer = sent.response() => answer,
            () = self.interrupt.came() => {
                self.wire.send(&request::cancelled(&sent.id));
                return Err(Stop::interrupted());
            }
        };
        self.person.clear_progress();
        answer.ok_or_else(|| Stop::failed("no answer came").hint(ASK_THE_DOCTOR))
    }
}

/// The connection of somebody who waits, and wants to know at once.
fn impatient(connection: ServerConnection) -> ServerConnection {
    ServerConnection {
        endpoint: endpoint::EndpointConfig {
            patience: Patience::FailFast,
            ..connection.endpoint
        },
        memory: Memory::default(),
        ..connection
    }
}

/// Tells the server on drop that a request has become superfluous.
struct Cancellation<'a> {
    wire: &'a Wire,
    /// The request; none once it is answered.
    id: Option<RequestId>,
}

impl Drop for Cancellation<'_> {
    fn drop(&mut self) {
        if let Some(id) = &self.id {
            self.wire.send(&request::cancelled(id));
        }
    }
}

/// Opens the session. Returns the response to `initialize`.
async fn initialize(wire: &Wire, person: &Person, interrupt: &Interrupt) -> Result<Message, Stop> {
    let mut sent = wire.request(|id| request::initialize(id, person.capabilities()));
    let answer = tokio::select! {
        answer = sent.response() => answer,
        () = interrupt.came() => return Err(Stop::interrupted()),
    };
    let stop = match answer {
        Some(answer) if answer.is_error() => Stop::of_error(&answer),
        Some(answer) if answer.result_member::<String>("protocolVersion").is_some() => {
            wire.send(&request::initialized());
            return Ok(answer);
        }
        Some(_) => Stop::failed("the server's answer to initialize is not valid"),
        None => Stop::failed("no answer to initialize came"),
    };
    Err(match stop.hint {
        Some(_) => stop,
        None => stop.hint(ASK_THE_DOCTOR),
    })
}

/// The response if it holds a result.
fn result(response: Message) -> Result<Message, Stop> {
    if response.is_error() {
        return Err(Stop::of_error(&response));
    }
    Ok(response)
}

/// Returns whether the server does not know the method.
fn is_unknown_method(response: &Message) -> bool {
    let error = response.error_text();
    error.is_some_and(|(code, _)| code == METHOD_NOT_FOUND) && data_of_bridge(response).is_none()
}

/// The task that the server has made of a call.
fn task_in(answer: &Message) -> Option<String> {
    let task = answer.result_member::<&RawValue>("task")?;
    member(task.get(), "taskId")
}

/// `serverInfo` in words: title or name, and version.
fn server_in(greeting: &Message) -> Option<String> {
    let info = greeting.result_member::<Value>("serverInfo")?;
    let text = |name: &str| Some(short(info[name].as_str()?)).filter(|text| !text.is_empty());
    match (text("title").or_else(|| text("name")), text("version")) {
        (Some(name), Some(version)) => Some(format!("{name} {version}")),
        (name, None) => name,
        (None, Some(_)) => None,
    }
}

/// A name as it may stand in a sentence.
fn short(name: &str) -> String {
    const LONGEST_CHARS: usize = 60;
    let name = name.chars().filter(|letter| !letter.is_control());
    name.take(LONGEST_CHARS).collect()
}

fn endless_list(listing: Listing) -> Stop {
    let noun = listing.noun();
    Stop::failed(format!(
        "the server's list of {noun} has no end: {MAX_PAGES} pages were read"
    ))
    .hint(ASK_THE_DOCTOR)
}

impl Stop {
    /// A person told the command to stop.
    fn interrupted() -> Self {
        Self {
            status: std::process::ExitCode::from(signals::CUT_SHORT),
            ..Self::failed("cancelled")
        }
    }

    /// The error that the server or the bridge has answered with.
    fn of_error(response: &Message) -> Self {
        let (code, text) = response.error_text().unwrap_or_default();
        let Some(data) = data_of_bridge(response) else {
            let text = printable::block(&text);
            return Self::failed(format!("the server says: {text} ({code})"));
        };
        let text = match (data["host"].as_str(), data["reason"].as_str()) {
            (Some(host), Some(reason)) => format!("{host}: {reason}"),
            _ => text,
        };
        Self {
            hint: data["hint"].as_str().map(str::to_owned),
            ..Self::failed(printable::block(&text))
        }
    }
}

/// The `data` of an error of the bridge's own; `None` for what the server says.
fn data_of_bridge(response: &Message) -> Option<Value> {
    let data = member::<Value>(response.error_json()?, "data")?;
    (data["source"] == env!("CARGO_PKG_NAME")).then_some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(part: &str) -> Message {
        Message::parse(&format!(r#"{{"jsonrpc":"2.0","id":1,{part}}}"#).into()).unwrap()
    }

    #[test]
    fn a_server_is_named_by_what_it_tells() {
        for (info, expected) in [
            (
                r#"{"name":"n","title":"T\u001b","version":"1"}"#,
                Some("T 1"),
            ),
            (r#"{"name":"n","version":""}"#, Some("n")),
            (r#"{"name":"n","title":""}"#, Some("n")),
            (r#"{"version":"1"}"#, None),
            ("7", None),
        ] {
            let greeting = response(&format!(r#""result":{{"serverInfo":{info}}}"#));
            assert_eq!(server_in(&greeting).as_deref(), expected, "{info}");
        }
    }

    #[test]
    fn an_error_is_told_by_whose_it_is() {
        for (error, expected) in [
            (
                r#"{"code":-1,"message":"mcp-bridge: no","data":{"reason":"r","host":"h"}}"#,
                ("the server says: mcp-bridge: no (-1)", None),
            ),
            (
                r#"{"code":-1,"message":"m (x)","data":{"source":"mcp-bridge","host":"h","reason":"r","hint":"x"}}"#,
                ("h: r", Some("x")),
            ),
            (
                r#"{"code":-1,"message":"too many","data":{"source":"mcp-bridge"}}"#,
                ("too many", None),
            ),
        ] {
            let stop = Stop::of_error(&response(&format!(r#""error":{error}"#)));
            assert_eq!((stop.error.as_str(), stop.hint.as_deref()), expected);
        }
    }
}
