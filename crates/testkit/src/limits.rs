//! Time limit of everything that a test waits for, and waiting with it.

use std::io::ErrorKind;
use std::time::Duration;

use reqwest::StatusCode;
use url::Url;

/// Time that a test waits for anything before it fails. Generous, because the machine may be busy: nothing that works ever
/// waits this long.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Pause before another look at something that gives no notice.
const PAUSE: Duration = Duration::from_millis(25);

/// The value of a future that must come within [`LIMIT`].
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future)
        .await
        .unwrap_or_else(|_| panic!("{what} did not happen in time"))
}

/// Fetches a page as soon as somebody listens at its address.
pub async fn visit_when_it_listens(url: &Url) -> StatusCode {
    let client = client().build().unwrap();
    let visit = async {
        loop {
            match client.get(url.clone()).send().await {
                Ok(response) => return response.status(),
                Err(error) if error.is_connect() => tokio::time::sleep(PAUSE).await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    soon("the answer of a listener", visit).await
}

/// Listens at this port of `127.0.0.1` as soon as it is free: a connection of another test may have it for a moment.
pub async fn listen_when_free(port: u16) -> std::net::TcpListener {
    let listen = async {
        loop {
            match std::net::TcpListener::bind(("127.0.0.1", port)) {
                Ok(listener) => return listener,
                Err(error) if error.kind() == ErrorKind::AddrInUse => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    };
    soon("a free port", listen).await
}

/// HTTP client of a person's browser, which no setting of this machine changes.
pub fn client() -> reqwest::ClientBuilder {
    // It is there already where another client was made before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy()
}

/// A port that nobody has at this moment.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
