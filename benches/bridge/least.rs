//! The least that bridges: bytes in, POST, bytes out, on one thread. It reads nothing of a message but
//! the two of the handshake, signs nobody in, tries nothing again, and answers no request that fails.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hyper::Method;
use memchr::memchr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::client::{self, Client};
use crate::events::Events;
use crate::wire;

const READ_BYTES: usize = 64 * 1024;
const LINES_PER_WRITE: usize = 256;

struct Bridge {
    client: Client,
    output: mpsc::UnboundedSender<Bytes>,
}

/// Bridges stdin and stdout, which have to be pipes, to the server at `url`, until stdin ends.
pub(crate) fn main(url: &str) -> io::Result<()> {
    crate::current_thread()?.block_on(async {
        let mut input = pipe::OpenOptions::new().open_receiver("/proc/self/fd/0")?;
        let output = pipe::OpenOptions::new().open_sender("/proc/self/fd/1")?;
        let (sender, lines) = mpsc::unbounded_channel();
        let writing = tokio::spawn(write(output, lines));
        let bridge = Arc::new(Bridge {
            client: Client::new(url),
            output: sender,
        });
        let mut calls = JoinSet::new();
        let mut buffer = BytesMut::new();
        let mut scanned = 0;
        let mut opened = false;
        loop {
            while let Some(end) = memchr(b'\n', &buffer[scanned..]) {
                let mut line = buffer.split_to(scanned + end + 1).freeze();
                scanned = 0;
                line.truncate(line.len() - 1);
                let bridge = Arc::clone(&bridge);
                if opened {
                    calls.spawn(async move { bridge.post(line).await });
                } else if line == wire::INITIALIZED {
                    opened = true;
                    bridge.post(line).await?;
                    tokio::spawn(async move { bridge.listen().await });
                } else {
                    bridge.post(line).await?;
                }
            }
            scanned = buffer.len();
            while calls.try_join_next().is_some() {}
            buffer.reserve(READ_BYTES);
            if input.read_buf(&mut buffer).await? == 0 {
                break;
            }
        }
        while calls.join_next().await.is_some() {}
        let (response, _) = bridge.client.send(Method::DELETE, Bytes::new()).await?;
        client::whole(response.into_body()).await?;
        writing.abort();
        Ok(())
    })
}

impl Bridge {
    async fn post(&self, line: Bytes) -> io::Result<()> {
        let (response, connection) = self.client.send(Method::POST, line).await?;
        if let Some(session) = response.headers().get(client::SESSION) {
            self.client.enter(Some(session));
        }
        if client::is_stream(&response) {
            self.events(response.into_body()).await?;
        } else {
            let body = client::whole(response.into_body()).await?;
            if !body.is_empty() {
                let _ = self.output.send(body);
            }
        }
        self.client.keep(connection);
        Ok(())
    }

    async fn listen(&self) -> io::Result<()> {
        let (response, _connection) = self.client.send(Method::GET, Bytes::new()).await?;
        self.events(response.into_body()).await
    }

    async fn events(&self, mut body: hyper::body::Incoming) -> io::Result<()> {
        let mut events = Events::default();
        while let Some(piece) = client::next(&mut body).await? {
            events.push(&piece);
            while let Some(event) = events.next() {
                let _ = self.output.send(event);
            }
        }
        Ok(())
    }
}

async fn write(
    mut output: pipe::Sender,
    mut lines: mpsc::UnboundedReceiver<Bytes>,
) -> io::Result<()> {
    let mut batch = Vec::new();
    while lines.recv_many(&mut batch, LINES_PER_WRITE).await > 0 {
        let mut slices: Vec<_> = batch
            .iter()
            .flat_map(|line: &Bytes| [io::IoSlice::new(line), io::IoSlice::new(b"\n")])
            .collect();
        let mut rest = &mut slices[..];
        while !rest.is_empty() {
            let written = output.write_vectored(rest).await?;
            io::IoSlice::advance_slices(&mut rest, written);
        }
        batch.clear();
    }
    Ok(())
}
