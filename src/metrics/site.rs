//! HTTP server of the metrics: `GET /metrics`, and nothing else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::TcpListener;
use url::{Host, Url};

use super::Metrics;
use crate::small_server::{self, ServerLimits};

/// Media type of the text.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Path of the metrics.
const PATH: &str = "/metrics";

/// There are one or two scrapers. Each sends its headers at once, and the next request on a connection it keeps within a
/// minute or opens another.
const LIMITS: ServerLimits = ServerLimits {
    connections: 16,
    head_time: Duration::from_secs(60),
};

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
    let respond = move |request| {
        let response = respond(&request, address, &metrics);
        std::future::ready(response)
    };
    match small_server::serve(listener, LIMITS, respond).await {}
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
