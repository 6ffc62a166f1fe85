//! Connections of clients: accepted, bounded in number and in the time that a request may take to arrive.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tower_service::Service;

use super::MAX_BODY_BYTES;
use super::listener::ServerListener;

/// Bounds of what clients can hold.
pub(crate) struct Limits {
    /// Most connections at a time. The next ones wait in the queue of the operating system.
    pub(crate) connections: usize,
    /// Longest time that a client may take to send the head of a request, and to begin the next one on a
    /// connection that it keeps. Whoever sends a byte a minute would otherwise hold it for ever.
    pub(crate) request_head: Duration,
    /// Longest time that the body of a request may take, likewise.
    pub(crate) request_body: Duration,
}

/// Far above what the apps of one computer need.
pub(crate) const LIMITS: Limits = Limits {
    connections: 512,
    request_head: Duration::from_secs(30),
    request_body: Duration::from_secs(30),
};

/// Serves until `stopped` is ready; then accepts no more, and returns when the open requests have ended.
///
/// `axum::serve` would do the same without the two limits. Handlers find the address of the client in
/// [`ConnectInfo`].
pub(crate) async fn serve(
    mut listener: ServerListener,
    router: Router,
    limits: Limits,
    stopped: impl Future<Output = ()>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.request_head);
    let places = Arc::new(Semaphore::new(limits.connections));
    let shutdown = GracefulShutdown::new();
    tokio::pin!(stopped);
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, (stream, address)) = tokio::select! {
            next = next => next,
            () = &mut stopped => break,
        };
        let router = router.clone();
        let service = service_fn(move |mut request| {
            request.extensions_mut().insert(ConnectInfo(address));
            answer(router.clone(), request, limits.request_body)
        });
        let connection = http.serve_connection(TokioIo::new(stream), service);
        let connection = shutdown.watch(connection);
        tokio::spawn(async move {
            // A client that breaks off is no concern of the others.
            let _ = connection.await;
            drop(place);
        });
    }
    drop(listener);
    shutdown.shutdown().await;
}

/// Passes a request on once its body is there, whoever is to read it.
async fn answer(
    mut router: Router,
    request: Request<Incoming>,
    limit: Duration,
) -> Result<Response, Infallible> {
    let (head, body) = request.into_parts();
    let refused = match timeout(limit, to_bytes(Body::new(body), MAX_BODY_BYTES)).await {
        Ok(Ok(body)) => {
            let request = Request::from_parts(head, Body::from(body));
            return router.call(request).await;
        }
        Ok(Err(_)) => StatusCode::PAYLOAD_TOO_LARGE,
        Err(_) => StatusCode::REQUEST_TIMEOUT,
    };
    Ok((refused, [(header::CONNECTION, "close")]).into_response())
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn connections_that_send_no_request_make_room_for_one_that_does() {
        let listener = ServerListener::bind_loopback(0).await.unwrap();
        let port = listener.address().unwrap().port();
        let router = Router::new().route("/", get(async || "hello"));
        let limits = Limits {
            connections: 3,
            request_head: Duration::from_millis(50),
            request_body: Duration::from_millis(50),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(serve(listener, router, limits, async {
            let _ = stopped.await;
        }));

        let connect = || TcpStream::connect(("127.0.0.1", port));
        let mut silent = connect().await.unwrap();
        let mut slow = connect().await.unwrap();
        slow.write_all(b"GET / HT").await.unwrap();
        let mut promising = connect().await.unwrap();
        let request = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{";
        promising.write_all(request).await.unwrap();
        let mut asking = connect().await.unwrap();
        let request = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        asking.write_all(request).await.unwrap();

        let mut answer = String::new();
        asking.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("hello"), "{answer}");
        for closed in [&mut silent, &mut slow, &mut promising] {
            let mut rest = Vec::new();
            closed.read_to_end(&mut rest).await.unwrap();
        }
        stop.send(()).unwrap();
        server.await.unwrap();
    }
}
