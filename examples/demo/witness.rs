//! Record of the requests that reach the example server.

use std::cell::RefCell;
use std::convert::Infallible;
use std::{fmt, future};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::Response;
use tokio::sync::mpsc;

use super::era;
use super::message::Message;
use super::server::Options;
use super::terminal::Terminal;

/// A request that reached the endpoint with a good token, and its outcome.
pub(crate) struct Heard {
    /// The method of the message, or that of HTTP where the message is a response or there is none.
    pub(crate) method: String,
    /// The version that the request names.
    pub(crate) version: Option<String>,
    /// The status of the answer.
    pub(crate) status: StatusCode,
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version.as_deref().unwrap_or("no version");
        let status = self.status.as_u16();
        write!(f, "{} ({version}): HTTP status {status}", self.method)
    }
}

/// Has the example server tell `witness` of each request with a good token. It must be read: nothing limits it.
pub(crate) fn watched(options: Options, witness: mpsc::UnboundedSender<Heard>) -> Options {
    let inner = options.around_endpoint;
    Options {
        around_endpoint: Some(Box::new(move |endpoint| {
            let endpoint = match inner {
                Some(add_layers) => add_layers(endpoint),
                None => endpoint,
            };
            endpoint.layer(middleware::from_fn_with_state(witness, note))
        })),
        ..options
    }
}

async fn note(
    State(witness): State<mpsc::UnboundedSender<Heard>>,
    request: Request,
    next: Next,
) -> Response {
    let (request, message) = match Message::read(request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    let version = era::version(request.headers()).map(str::to_owned);
    let http_method = request.method().to_string();
    let response = next.run(request).await;
    let heard = Heard {
        method: message.method().map_or(http_method, str::to_owned),
        version,
        status: response.status(),
    };
    // The demo is over if nobody listens.
    let _ = witness.send(heard);
    response
}

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

    /// Returns whether a request has reached the server, as far as anybody told.
    pub(crate) fn has_heard_anything(&self) -> bool {
        !self.heard.borrow().is_empty()
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

    /// Returns whether the server said that it speaks the modern era.
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
