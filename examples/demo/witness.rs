//! What the server hears while the app speaks: what the bridge made of it.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future;

use tokio::sync::mpsc;

use super::server::Heard;
use super::terminal::Terminal;

/// Everything that reached the server with a good token.
pub(crate) struct Witness {
    heard: RefCell<Vec<Heard>>,
}

impl Witness {
    pub(crate) fn new() -> Self {
        Self {
            heard: RefCell::default(),
        }
    }

    /// Shows each message when it comes, for as long as this is polled.
    pub(crate) async fn listen(
        &self,
        messages: &mut mpsc::UnboundedReceiver<Heard>,
        terminal: &Terminal,
    ) -> Infallible {
        while let Some(heard) = messages.recv().await {
            terminal.server(&heard);
            self.heard.borrow_mut().push(heard);
        }
        future::pending().await
    }

    /// Says what was different on the two sides of the bridge.
    pub(crate) fn summary(&self, terminal: &Terminal) {
        if !self.discovered() {
            terminal.detail("Nothing: app and server speak the same version.");
            return;
        }
        terminal.value(
            "initialize",
            match self.count("initialize") {
                0 => "was answered by the bridge, from server/discover",
                _ => "was refused by the server; the bridge answered from server/discover",
            },
        );
        terminal.value(
            "each request",
            "got the _meta and headers with which it says who asks",
        );
        terminal.value(
            "order-coffee",
            format_args!(
                "the app called two tools, the server heard {} calls: its question ended\n                    \
                 one call, reached the app as elicitation/create, and its answer went\n                    \
                 with another",
                self.count("tools/call")
            ),
        );
    }

    /// Whether the server said that it speaks the modern era.
    fn discovered(&self) -> bool {
        let heard = self.heard.borrow();
        let mut answered = heard.iter().filter(|heard| heard.status.is_success());
        answered.any(|heard| heard.method == "server/discover")
    }

    fn count(&self, method: &str) -> usize {
        let heard = self.heard.borrow();
        heard.iter().filter(|heard| heard.method == method).count()
    }
}
