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

/// A request with side effects would have an unknown outcome.
#[tokio::test]
async fn a_connection_that_was_closed_since_anybody_looked_is_not_used() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let url: Url = format!("http://127.0.0.1:{port}/mcp").parse().expect("one");
    let (close, is_to_close) = mpsc::channel();
    let (closed, is_closed) = mpsc::channel();
    let server = thread::spawn(move || {
        let (mut first, _) = listener.accept().expect("a connection");
        answer(&mut first);
        is_to_close.recv().expect("the client");
        drop(first);
        closed.send(()).expect("the client");
        let (mut second, _) = listener.accept().expect("another connection");
        answer(&mut second);
    });
    let client = Client::new(&Options::default(), &url, None).expect("a client");
    ask(&client, &url).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(5)).await;
    tokio::time::resume();

    // This thread waits, so that nothing looks at the socket in between.
    close.send(()).expect("the server");
    is_closed.recv().expect("the server");
    ask(&client, &url).await;
    server.join().expect("it answered twice");
}
