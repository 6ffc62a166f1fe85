//! HTTP server of the metrics: `GET /metrics`, and nothing else.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use url::{Host, Url};

use super::Metrics;

/// Media type of the text.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Path of the metrics.
const PATH: &str = "/metrics";

/// A scraper sends its headers at once, and the next request on a connection it keeps within a minute or opens another.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);

/// Largest request head; those of scrapers have a few hundred bytes.
const LARGEST_HEAD: usize = 16 * 1024;

/// Connections at once. There are one or two scrapers; more are refused until some end.
const MAX_CONNECTIONS: usize = 16;

/// Pause after a failed accept, which may be out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves the metrics at this address without end. If that is impossible, it says so, and the bridge goes on without.
pub(crate) async fn serve(address: SocketAddr, metrics: Arc<Metrics>) {
    let bound = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok::<_, std::io::Error>((listener, address))
    };
    let (listener, address) = match bound.await {
        Ok(bound) => bound,
        Err(error) => {
            tracing::warn!(%address, %error, "the metrics cannot be served");
            return;
        }
    };
    tracing::info!("metrics are at http://{address}{PATH}");
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) if connections.len() < MAX_CONNECTIONS => {
                connections.spawn(converse(stream, address, Arc::clone(&metrics)));
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "a connection for the metrics failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, address: SocketAddr, metrics: Arc<Metrics>) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(
            TokioIo::new(stream),
            service_fn(|request| {
                let response = respond(&request, address, &metrics);
                async move { Ok::<_, Infallible>(response) }
            }),
        );
    // A broken connection is the scraper's business.
    let _ = connection.await;
}

fn respond(
    request: &Request<Incoming>,
    address: SocketAddr,
    metrics: &Metrics,
) -> Response<Full<Bytes>> {
    if address.ip().is_loopback() && !is_of_this_machine(request) {
        let reason = "on loopback the metrics have no other name than this machine's\n";
        return finished(StatusCode::FORBIDDEN, "text/plain; charset=utf-8", reason);
    }
    if request.method() == Method::GET && request.uri().path() == PATH {
        return finished(StatusCode::OK, OPEN_METRICS, metrics.text());
    }
    let reason = "there is only GET /metrics\n";
    finished(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", reason)
}

/// Returns whether a request was sent to this machine as such, and not to a name that a web page has pointed here (DNS
/// rebinding).
fn is_of_this_machine(request: &Request<Incoming>) -> bool {
    let host = request.headers().get(HOST);
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    let Ok(url) = Url::parse(&format!("http://{host}")) else {
        return false;
    };
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => true,
        None => false,
    }
}

fn finished(status: StatusCode, kind: &str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let response = Response::builder()
        .status(status)
        .header(CONTENT_TYPE, kind);
    // The headers are ours and valid.
    response.body(Full::new(body.into())).unwrap_or_default()
}
