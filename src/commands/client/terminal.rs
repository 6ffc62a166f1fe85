//! Terminal input: an answer to a question, or the pasted address at which the browser of a sign-in ended.

use std::io::IsTerminal as _;
use std::sync::{Arc, MutexGuard};

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::oneshot;

use super::wire::Wire;
use mcp_bridge_core::stdio;
use mcp_bridge_net::mutex::Mutex;

/// A terminal that somebody sits at.
#[derive(Debug, Default)]
pub(super) struct Terminal {
    state: Mutex<TerminalState>,
    /// One question at a time.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct TerminalState {
    asking: Option<oneshot::Sender<String>>,
    /// Nothing more will be typed.
    is_over: bool,
}

impl Terminal {
    /// The terminal of this process; `None` where nobody can be asked.
    pub(super) fn of_process() -> Option<Arc<Self>> {
        let is_there = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        is_there.then(Arc::default)
    }

    /// Reads what is typed, until nothing more is.
    pub(super) async fn read(self: Arc<Self>, wire: Arc<Wire>) {
        let mut lines = BufReader::new(stdio::stdin()).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let line = line.trim();
            // What looks like a message would be taken for one.
            if let Some(line) = self.take(line)
                && !line.is_empty()
                && !line.starts_with(['{', '['])
            {
                wire.write(line.to_owned().into());
            }
        }
        let mut state = self.lock();
        state.is_over = true;
        state.asking = None;
    }

    /// Gives a line to who has asked; returns it if nobody has.
    pub(super) fn take<'a>(&self, line: &'a str) -> Option<&'a str> {
        match self.lock().asking.take() {
            Some(asking) => asking.send(line.to_owned()).err().map(|_| line),
            None => Some(line),
        }
    }

    /// Nobody else asks while this is held.
    pub(super) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Shows a question and waits for the line that is typed; `None` if none is any more.
    pub(super) async fn ask(&self, question: &str) -> Option<String> {
        let (sender, answer) = oneshot::channel();
        {
            let mut state = self.lock();
            if state.is_over {
                return None;
            }
            state.asking = Some(sender);
        }
        eprint!("{question}");
        answer.await.ok()
    }

    fn lock(&self) -> MutexGuard<'_, TerminalState> {
        self.state.lock()
    }
}
