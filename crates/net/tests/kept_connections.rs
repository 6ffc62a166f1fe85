//! Connections that are kept for the next request, and that the server closes meanwhile.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use mcp_bridge_net::http::{Client, Options};
use reqwest::Method;
use reqwest::header::HeaderMap;
use url::Url;

const BODY: &str = "asked once";

/// Reads a request to its end, and answers it.
fn answer(stream: &mut TcpStream) {
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    while !request.ends_with(BODY.as_bytes()) {
        let length = stream.read(&mut piece).expect("a request");
        assert_ne!(length, 0, "the whole request");
        request.extend(&piece[..length]);
    }
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nanswered";
    stream.write_all(response).expect("it is read");
}

async fn ask(client: &Client, url: &Url) {
    let body = Bytes::from_static(BODY.as_bytes());
    let sent = client.send(Method::POST, url, HeaderMap::new(), body);
    let mut response = sent.await.expect("a response");
    while response.chunk().await.expect("its body").is_some() {}
}

async fn pass_time(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

fn listen() -> (TcpListener, Url) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let url = format!("http://127.0.0.1:{port}/mcp").parse();
    (listener, url.expect("one"))
}

/// A server that answers a request, and goes on with `rest` after the returned function has had it close the connection.
fn start(
    listener: TcpListener,
    rest: impl FnOnce(TcpListener) + Send + 'static,
) -> (thread::JoinHandle<()>, impl FnOnce()) {
    let (close, is_to_close) = mpsc::channel();
    let (closed, is_closed) = mpsc::channel();
    let server = thread::spawn(move || {
        let (mut first, _) = listener.accept().expect("a connection");
        answer(&mut first);
        is_to_close.recv().expect("the client");
        drop(first);
        closed.send(()).expect("the client");
        rest(listener);
    });
    let close_first = move || {
        close.send(()).expect("the server");
        is_closed.recv().expect("the server");
    };
    (server, close_first)
}

/// A request with side effects would have an unknown outcome.
#[tokio::test]
async fn a_connection_that_was_closed_since_anybody_looked_is_not_used() {
    let (listener, url) = listen();
    let (server, close_first) = start(listener, |listener| {
        let (mut second, _) = listener.accept().expect("another connection");
        answer(&mut second);
    });
    let client = Client::new(&Options::default(), &url, None).expect("a client");
    ask(&client, &url).await;
    pass_time(5).await;

    // This thread waits, so that nothing looks at the socket in between.
    close_first();
    ask(&client, &url).await;
    server.join().expect("it answered twice");
}

/// uvicorn closes after five seconds, and does not announce it. A request on its way then would be lost.
#[tokio::test]
async fn a_connection_is_not_used_about_when_the_server_closed_another() {
    let (listener, url) = listen();
    let (server, close_first) = start(listener, |listener| {
        let (mut second, _) = listener.accept().expect("another connection");
        answer(&mut second);
        let (mut third, _) = listener.accept().expect("a third connection");
        answer(&mut third);
        answer(&mut third);
        answer(&mut third);
    });
    let client = Client::new(&Options::default(), &url, None).expect("a client");
    ask(&client, &url).await;
    pass_time(5).await;
    close_first();
    // A task, as in the bridge: the runtime polls that of the connection before it.
    let requests = tokio::spawn(async move {
        ask(&client, &url).await;
        // The second connection is not used after five seconds, the third one before and after that.
        for unused in [5, 3, 20] {
            pass_time(unused).await;
            ask(&client, &url).await;
        }
    });
    requests.await.expect("it has not failed");
    server.join().expect("it answered five times");
}
