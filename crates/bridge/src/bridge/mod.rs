//! The bridge: event loop and shutdown between the app and the endpoint.
//!
//! One task owns the conversation. An event (a message, an outcome, a timer) goes to `router`, whose state machines
//! decide without IO or clock and leave actions; `io` carries these out. All that takes time
//! happens in tasks of its own, so that a slow call holds nobody up. `tests/transcripts` shows what is decided.

mod action;
mod app_patience;
mod downgraded;
mod exchanges;
mod facts;
mod host_watch;
mod initialize_cache;
mod io;
mod legacy_opening;
mod list;
mod list_pages;
mod local_tool;
mod native;
mod obstacle;
mod panics;
mod pending_queue;
mod progress;
mod provisional_initialize;
mod provisional_lists;
mod remembered_lists;
mod reply;
mod router;
mod send_order;
mod server_requests;
mod sign_in_notice;
mod subscription_filter;
mod subscriptions;
mod terms;
mod tool_filter;
mod tool_rules;
#[cfg(test)]
mod transcripts;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::endpoint;
use crate::stdio::{LineReader, LineWriter, is_closed_pipe};
pub use initialize_cache::Memory;
pub use list_pages::ListPages;
use mcp_bridge_auth::{self as auth, Authorizer, Settled};

use io::Io;
use router::Router;

pub use tool_rules::{Access, Glob, ToolFilter};

/// Limit for telling the server that the session is over, at the end of the input.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// Limit of each step of the shutdown after a signal, but for a refresh under way and the last lines.
const SIGNAL_LIMIT: Duration = Duration::from_millis(500);

/// The longest that the end of the process waits for the answer to a refresh. A refresh token that is being replaced must
/// not be lost: the old one is void, and the next start would need a sign-in. An app that has no patience kills the
/// process sooner.
const REFRESH_LIMIT: Duration = Duration::from_secs(10);

/// Limit for the app to read the last lines.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// The wait for answers after the end of the input, without another setting.
const DRAIN: Duration = Duration::from_secs(5);

/// The wait of a request for a sign-in or a server, without another setting: less than the 60 s after which the
/// official SDKs give up.
const PATIENCE: Duration = Duration::from_secs(45);

/// Configuration of a bridge.
#[derive(Debug, Clone)]
pub struct Config {
    /// The remote side.
    pub endpoint: endpoint::EndpointConfig,
    /// Settings of the sign-in; `None` where the user's own headers are the way in.
    pub auth: Option<auth::Config>,
    /// Time that answers are awaited after the end of the input.
    pub drain: Duration,
    /// The largest line taken from the app, in bytes.
    pub max_message: usize,
    /// Kind of the other end of the input.
    pub input: Input,
    /// Filter for the tools that the app may see and call; `None` for all.
    pub tools: Option<ToolFilter>,
    /// Treatment of lists that come in pages.
    pub list_pages: ListPages,
    /// Time at which a legacy app is answered before there is a session.
    pub answering: Answering,
    /// Cache of the server's answers.
    pub memory: Memory,
}

impl Config {
    /// The settings of the program without flags, for this endpoint. Nobody is asked to sign in.
    #[must_use]
    pub fn new(endpoint: endpoint::EndpointConfig) -> Self {
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
        let auth = self.auth.clone()?;
        Some(Arc::new(self.endpoint.authorizer(auth)))
    }
}

/// When an app is answered while a person signs in or the server is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answering {
    /// Its `initialize` within a second, by what is known of the server, and all else once the server is
    /// there or the time is over.
    AtOnce {
        /// Time that a request waits, before it fails with an error that says what is missing.
        patience: Duration,
        /// Time that all list requests together wait, before they are answered provisionally. `None` for
        /// the time that suits the app.
        list_wait: Option<Duration>,
    },
    /// When the server has answered.
    AfterServer,
}

/// Kind of the other end of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// An app: each line is a JSON-RPC message.
    App,
    /// A person who tries things out: a line that is no JSON is the address at which the browser ended,
    /// for a sign-in whose browser is on another machine.
    Terminal,
}

/// Reason for the end of the bridge.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The app closed the input, or stopped reading the output.
    AppLeft,
    /// The process was told to stop.
    Stopped,
    /// The server cannot be reached, for this reason, and must not be waited for (`Patience::FailFast`).
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

/// The same with tokens of `authorizer`. With `None`, requests carry no token.
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
    let lines = LineReader::new(input, config.max_message);
    let (writer, writing) = LineWriter::spawn(output);
    let mut bridge = Running {
        router: Router::new(&config),
        io: Io::new(&config, authorizer.clone(), writer.clone()),
        authorizer,
        writer,
        writing,
    };
    let mut stop = std::pin::pin!(stop);
    let end = bridge.carry(lines, stop.as_mut()).await;
    bridge.leave(&end, config.drain, stop).await;
    end
}

/// The bridge while it runs.
struct Running {
    router: Router,
    io: Io,
    authorizer: Option<Arc<Authorizer>>,
    writer: LineWriter,
    writing: JoinHandle<std::io::Result<()>>,
}

impl Running {
    /// Carries messages until there is a reason to end.
    async fn carry<I: AsyncRead + Unpin>(
        &mut self,
        mut lines: LineReader<I>,
        mut stop: Pin<&mut impl Future<Output = ()>>,
    ) -> End {
        let Self {
            router,
            io,
            writer,
            writing,
            ..
        } = self;
        loop {
            tokio::select! {
                line = async { writer.room_for_answers().await; lines.next().await } => match line {
                    Ok(Some(line)) => {
                        io.on_line(router, line);
                        while writer.has_room_for_answers() && let Some(line) = lines.buffered() {
                            io.on_line(router, line);
                        }
                    }
                    Ok(None) => return End::AppLeft,
                    Err(error) if is_closed_pipe(&error) => return End::AppLeft,
                    Err(error) => {
                        tracing::warn!("cannot read from the app: {error}");
                        return End::AppLeft;
                    }
                },
                wake = io.woken() => {
                    if let Some(end) = io.on_wake(router, wake) {
                        return end;
                    }
                }
                _ = &mut *writing => return End::AppLeft,
                () = &mut stop => return End::Stopped,
            }
        }
    }

    /// Waits for answers that are due, ends the session and writes the last lines, each within its limit.
    async fn leave(mut self, end: &End, drain: Duration, stop: Pin<&mut impl Future<Output = ()>>) {
        let (drain_limit, close_limit) = match end {
            End::Stopped => (SIGNAL_LIMIT, SIGNAL_LIMIT),
            End::AppLeft | End::Unreachable(_) => (drain, CLOSE_LIMIT),
        };
        let authorizer = self.authorizer.take();
        let mut settled_by = Instant::now() + REFRESH_LIMIT;
        let close = async {
            self.io.step(&mut self.router, Router::stop);
            self.io.stop();
            if !self.writing.is_finished() && timeout(drain_limit, self.drain()).await.is_err() {
                self.io.step(&mut self.router, Router::give_up);
            }
            self.io.step(&mut self.router, Router::abort_all);
            // The DELETE of the session needs the token that a refresh under way brings.
            settled_by = Instant::now() + REFRESH_LIMIT;
            drop(settle(authorizer.as_deref(), settled_by).await);
            self.io.close(close_limit).await;
        };
        if *end == End::Stopped {
            close.await;
        } else {
            tokio::select! {
                () = close => {}
                () = stop => {}
            }
        }
        let Self {
            router,
            io,
            writer,
            writing,
            ..
        } = self;
        drop((router, io, writer));
        // What was sent last may have led to another refresh.
        let _settled = settle(authorizer.as_deref(), settled_by).await;
        if !writing.is_finished() {
            let _ = timeout(FLUSH_LIMIT, writing).await;
        }
    }

    /// Hands on what still comes, until every request has its answer or nobody reads it.
    async fn drain(&mut self) {
        while self.router.is_busy() || self.io.is_busy() {
            tokio::select! {
                wake = self.io.woken() => {
                    // It ends already.
                    let _ = self.io.on_wake(&mut self.router, wake);
                }
                _ = &mut self.writing => return,
            }
        }
    }
}

/// Waits for a refresh under way, until `deadline`. No other begins while what is returned is held.
async fn settle(authorizer: Option<&Authorizer>, deadline: Instant) -> Option<Settled> {
    timeout_at(deadline, authorizer?.settle()).await.ok()
}
