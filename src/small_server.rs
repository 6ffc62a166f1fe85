//! HTTP/1.1 server for a few connections: that of the metrics, and that of the inspector's page.

use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Largest request head; real ones have a few hundred bytes.
const LARGEST_HEAD: usize = 16 * 1024;

/// Pause after a failed accept, which may be out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Limits of a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServerLimits {
    /// Connections at once. More are refused until some end.
    pub(crate) connections: usize,
    /// Time for the head of each request, from the end of the one before.
    pub(crate) head_time: Duration,
}

/// Answers requests without end.
pub(crate) async fn serve<R, F, B>(
    listener: TcpListener,
    limits: ServerLimits,
    respond: R,
) -> Infallible
where
    R: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) if connections.len() < limits.connections => {
                connections.spawn(converse(stream, limits.head_time, respond.clone()));
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "a connection cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse<R, F, B>(stream: TcpStream, head_time: Duration, respond: R)
where
    R: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<B>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_time)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(
            TokioIo::new(stream),
            service_fn(move |request| {
                let response = respond(request);
                async move { Ok::<_, Infallible>(response.await) }
            }),
        );
    // A broken connection is the client's business.
    let _ = connection.await;
}
