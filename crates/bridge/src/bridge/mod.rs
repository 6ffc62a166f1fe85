//! The bridge: event loop and shutdown between the app and the endpoint.
//!
//! One task owns the conversation: the requests that wait for an answer, the server's requests that wait
//! for the app, and the order of messages. It reads a line, decides, and hands on; all that takes time
//! happens in tasks of its own, so that a slow call holds nobody up. `conversation` is the place to start
//! reading.

mod conversation;
mod host_watch;
mod initialize_cache;
mod lanes;
mod list_pages;
mod list_wait;
mod lists;
mod local_tool;
mod opening;
mod outbound;
mod panics;
mod pending_queue;
mod progress;
mod provisional_initialize;
mod provisional_lists;
mod remembered_lists;
mod send_order;
mod server_requests;
mod sign_in_notice;
mod subscriptions;
mod terms;
mod tool_filter;
mod tools;
mod waiting;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::endpoint::{self, Inbound};
use crate::stdio::{LineReader, LineWriter};
pub use initialize_cache::Memory;
pub use list_pages::ListPages;
use mcp_bridge_auth::{self as auth, Authorizer, Settled};

use conversation::Conversation;
use host_watch::Surroundings;

pub use tool_filter::{Access, Glob, ToolFilter};

/// How long the server may take to hear that the session is over, at the end of the input.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// All that a signal leaves time for.
const SIGNAL_LIMIT: Duration = Duration::from_millis(500);

/// The longest that the end of the process waits for the answer to a refresh. A refresh token that is being replaced must
/// not be lost: the old one is void, and the next start would need a sign-in. An app that has no patience kills the
/// process sooner.
const REFRESH_LIMIT: Duration = Duration::from_secs(10);

/// How long the app may take to read the last lines.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// The wait for answers after the end of the input, without another setting.
const DRAIN: Duration = Duration::from_secs(5);

/// The wait of a request for a sign-in or a server, without another setting: less than the 60 s after which the
/// official SDKs give up.
const PATIENCE: Duration = Duration::from_secs(45);

/// What the bridge is told to do.
#[derive(Debug, Clone)]
pub struct Config {
    /// The remote side.
    pub endpoint: endpoint::Config,
    /// How to sign in; `None` where the user's own headers are the way in.
    pub auth: Option<auth::Config>,
    /// How long answers are awaited after the end of the input.
    pub drain: Duration,
    /// The largest line taken from the app, in bytes.
    pub max_message: usize,
    /// Who is at the other end of the input.
    pub input: Input,
    /// Which tools the app may see and call; `None` for all.
    pub tools: Option<ToolFilter>,
    /// Treatment of lists that come in pages.
    pub list_pages: ListPages,
    /// When a legacy app is answered for which there is no session yet.
    pub answering: Answering,
    /// What the server last answered to `initialize`.
    pub memory: Memory,
}

impl Config {
    /// The settings of the program without flags, for this endpoint. Nobody is asked to sign in.
    #[must_use]
    pub fn new(endpoint: endpoint::Config) -> Self {
        Self {
            max_message: endpoint.max_message,
            endpoint,
            auth: None,
            drain: DRAIN,
            input: Input::App,
            tools: None,
            list_pages: ListPages::Merge,
            answering: Answering::AtOnce {
                patience: PATIENCE,
                list_wait: None,
            },
            memory: Memory::default(),
        }
    }

    fn authorizer(&self) -> Option<Arc<Authorizer>> {
        let (url, http) = (&self.endpoint.url, &self.endpoint.http);
        let auth = self.auth.clone()?;
        Some(Arc::new(Authorizer::new(url.clone(), auth, http.clone())))
    }
}

/// When an app is answered while a person signs in or the server is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answering {
    /// Its `initialize` within a second, by what is known of the server, and all else once the server is
    /// there or the time is over.
    AtOnce {
        /// How long a request waits, before it fails with an error that says what is missing.
        patience: Duration,
        /// Time that all list requests together wait, before they are answered provisionally. `None` for
        /// the time that suits the app.
        list_wait: Option<Duration>,
    },
    /// When the server has answered.
    AfterServer,
}

/// Who is at the other end of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// An app: each line is a JSON-RPC message.
    App,
    /// A person who tries things out: a line that is no JSON is the address at which the browser ended,
    /// for a sign-in whose browser is on another machine.
    Terminal,
}

/// Why the bridge ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The app closed the input, or stopped reading the output.
    AppLeft,
    /// The process was told to stop.
    Stopped,
    /// The server cannot be reached, for this reason, and nobody wants to wait for it.
    Unreachable(String),
}

/// Carries messages between the app on `input` and `output` and the endpoint, until the app leaves or
/// `stop` resolves.
pub async fn run<I, O>(config: Config, input: I, output: O, stop: impl Future<Output = ()>) -> End
where
    I: AsyncRead + Unpin,
    O: AsyncWrite + Unpin + Send + 'static,
{
    let authorizer = config.authorizer();
    run_with(config, authorizer, input, output, stop).await
}

/// The same with tokens of `authorizer`, and without any where there is none.
pub async fn run_with<I, O>(
    config: Config,
    authorizer: Option<Arc<Authorizer>>,
    input: I,
    output: O,
    stop: impl Future<Output = ()>,
) -> End
where
    I: AsyncRead + Unpin,
    O: AsyncWrite + Unpin + Send + 'static,
{
    let mut lines = LineReader::new(input, config.max_message);
    let (writer, mut writing) = LineWriter::spawn(output);
    let (mut conversation, mut from_server) =
        Conversation::new(&config, authorizer.clone(), writer.clone());
    let endpoint = conversation.endpoint();
    let mut surroundings = Surroundings::new();
    let mut stop = std::pin::pin!(stop);
    let mut ended = std::pin::pin!(endpoint.ended());

    let end = loop {
        tokio::select! {
            line = async { writer.room_for_answers().await; lines.next().await } => match line {
                Ok(Some(line)) => {
                    conversation.take_line(line);
                    while writer.has_room_for_answers() && let Some(line) = lines.buffered() {
                        conversation.take_line(line);
                    }
                }
                Ok(None) => break End::AppLeft,
                Err(error) => {
                    tracing::warn!("cannot read from the app: {error}");
                    break End::AppLeft;
                }
            },
            inbound = async { writer.room().await; from_server.recv().await } => {
                if let Some(inbound) = inbound {
                    conversation.take_inbound(inbound);
                }
                // What has come meanwhile goes along, without asking all the others first.
                while writer.has_room() && let Ok(inbound) = from_server.try_recv() {
                    conversation.take_inbound(inbound);
                }
            }
            () = conversation.task_ended() => {}
            _ = &mut writing => break End::AppLeft,
            reason = &mut ended => break End::Unreachable(reason),
            () = &mut stop => break End::Stopped,
            () = surroundings.changed() => {
                if surroundings.parent_died() {
                    break End::AppLeft;
                }
                conversation.woke_up();
            }
        }
    };

    let (drain_limit, close_limit) = match end {
        End::Stopped => (SIGNAL_LIMIT, SIGNAL_LIMIT),
        End::AppLeft | End::Unreachable(_) => (config.drain, CLOSE_LIMIT),
    };
    let mut settled_by = Instant::now() + REFRESH_LIMIT;
    let leave = async {
        conversation.stop();
        if !writing.is_finished() {
            let drained = drain(&mut conversation, &mut from_server, &writer, &mut writing);
            if timeout(drain_limit, drained).await.is_err() {
                conversation.give_up();
            }
        }
        // With the token that comes of a refresh the server is told of the end of the session, too.
        settled_by = Instant::now() + REFRESH_LIMIT;
        drop(settle(authorizer.as_deref(), settled_by).await);
        conversation.close(close_limit).await;
    };
    if end == End::Stopped {
        leave.await;
    } else {
        tokio::select! {
            () = leave => {}
            () = stop => {}
        }
    }
    drop((conversation, writer));
    // What was sent last may have led to another refresh.
    let _settled = settle(authorizer.as_deref(), settled_by).await;
    if !writing.is_finished() {
        let _ = timeout(FLUSH_LIMIT, writing).await;
    }
    end
}

/// Waits for a refresh under way, until `deadline`. No other begins while what is returned is held.
async fn settle(authorizer: Option<&Authorizer>, deadline: Instant) -> Option<Settled> {
    timeout_at(deadline, authorizer?.settle()).await.ok()
}

/// Hands on what still comes, until every request has its answer or nobody reads it.
async fn drain(
    conversation: &mut Conversation,
    from_server: &mut mpsc::Receiver<Inbound>,
    writer: &LineWriter,
    writing: &mut JoinHandle<io::Result<()>>,
) {
    while conversation.is_busy() {
        tokio::select! {
            inbound = async { writer.room().await; from_server.recv().await } => {
                if let Some(inbound) = inbound {
                    conversation.take_inbound(inbound);
                }
            }
            () = conversation.task_ended() => {}
            _ = &mut *writing => return,
        }
    }
}
