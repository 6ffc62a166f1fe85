//! Doubles for the sign-in: a server with its authorization server, a browser, an app.

#![expect(
    clippy::unwrap_used,
    reason = "a double that cannot do its part fails the test"
)]

mod app;
mod process;
mod provider;

pub(crate) use app::{App, Browser, config};
pub(crate) use process::{BrowserProgram, Process, initialize};
pub(crate) use provider::{
    Authentication, Behaviour, Challenge, Device, Grants, Provider, TokenReply,
};

use std::time::Duration;

/// Nothing in these tests takes longer, even on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// The value of a future that must come within [`LIMIT`].
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future)
        .await
        .unwrap_or_else(|_| panic!("{what} did not happen in time"))
}

/// What the browser finds there, as soon as somebody listens.
pub(crate) async fn visit_when_it_listens(url: &url::Url) {
    let visit = async {
        while let Err(error) = reqwest::get(url.clone()).await {
            assert!(error.is_connect(), "{error}");
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    soon("the answer of a listener", visit).await;
}

/// A port that nobody has at this moment.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
