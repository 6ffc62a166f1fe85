//! The limit: the same calls without a bridge, by a client that keeps its connections.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Method;
use hyper::body::Incoming;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::client::{self, Client};
use crate::events::Events;
use crate::wire;
use crate::work::{Account, Done, Request, Work};

pub(crate) struct Direct {
    runtime: Runtime,
    client: Arc<Client>,
}

impl Direct {
    /// Opens a session. Also tells how long that took.
    pub(crate) fn start(url: &str) -> io::Result<(Self, Duration)> {
        let runtime = crate::current_thread()?;
        let client = Arc::new(Client::new(url));
        let began = Instant::now();
        runtime.block_on(async {
            let initialize = wire::INITIALIZE.into();
            let (response, connection) = client.send(Method::POST, initialize).await?;
            client.enter(response.headers().get(client::SESSION));
            client::whole(response.into_body()).await?;
            client.keep(connection);
            io::Result::Ok(())
        })?;
        let took = began.elapsed();
        Ok((Self { runtime, client }, took))
    }

    /// Sends a request; returns how long its response took, and the response.
    pub(crate) fn ask(
        &mut self,
        request: &Request,
        limit: Duration,
    ) -> Result<(Duration, Vec<u8>), String> {
        let client = &self.client;
        let began = Instant::now();
        let answered = self.runtime.block_on(async {
            let asked = async {
                let (response, connection) =
                    client.send(Method::POST, request.text.clone()).await?;
                let body = client::whole(response.into_body()).await?;
                client.keep(connection);
                io::Result::Ok(body)
            };
            tokio::time::timeout(limit, asked).await
        });
        let took = began.elapsed();
        let body = answered.map_err(|_| "too slow".to_owned())?;
        Ok((took, body.map_err(|error| error.to_string())?.into()))
    }

    pub(crate) fn run(&mut self, work: Work, limit: Duration) -> Result<Done, String> {
        self.runtime.block_on(async {
            let run = run(Arc::clone(&self.client), work);
            let ended = tokio::time::timeout(limit, run).await;
            ended.unwrap_or_else(|_| Err("too slow".to_owned()))
        })
    }
}

async fn run(client: Arc<Client>, work: Work) -> Result<Done, String> {
    let listens = work.calls.iter().any(|call| call.on_session);
    let account = Account::new(work);
    let window = account.window();
    let shared = Arc::new(Shared {
        client,
        account: Mutex::new(account),
    });
    let mut workers = JoinSet::new();
    if listens {
        let shared = Arc::clone(&shared);
        workers.spawn(async move { shared.listen().await });
    }
    for _ in 0..window {
        let shared = Arc::clone(&shared);
        workers.spawn(async move { shared.work_off().await });
    }
    while let Some(ended) = workers.join_next().await {
        ended.map_err(|error| error.to_string())??;
    }
    let shared = Arc::into_inner(shared).ok_or("a worker is left")?;
    let account = shared.account.into_inner();
    account.map_err(|error| error.to_string())?.done()
}

struct Shared {
    client: Arc<Client>,
    account: Mutex<Account>,
}

impl Shared {
    async fn work_off(&self) -> Result<(), String> {
        while let Some(request) = self.next() {
            self.call(request).await?;
        }
        Ok(())
    }

    fn next(&self) -> Option<Bytes> {
        self.account().next()
    }

    /// Reads the session's own stream, which has no end.
    async fn listen(&self) -> Result<(), String> {
        let sent = self.client.send(Method::GET, Bytes::new()).await;
        let (response, _connection) = sent.map_err(|error| error.to_string())?;
        self.events(response.into_body(), Until::Notified).await
    }

    async fn call(&self, request: Bytes) -> Result<(), String> {
        let sent = self.client.send(Method::POST, request).await;
        let (response, connection) = sent.map_err(|error| error.to_string())?;
        if client::is_stream(&response) {
            self.events(response.into_body(), Until::End).await?;
        } else {
            let whole = client::whole(response.into_body()).await;
            self.take(&whole.map_err(|error| error.to_string())?)?;
        }
        self.client.keep(connection);
        Ok(())
    }

    async fn events(&self, mut body: Incoming, until: Until) -> Result<(), String> {
        let mut events = Events::default();
        while let Some(piece) = client::next(&mut body).await.map_err(|e| e.to_string())? {
            events.push(&piece);
            while let Some(event) = events.next() {
                self.take(&event)?;
            }
            if until == Until::Notified && self.account().is_notified() {
                break;
            }
        }
        Ok(())
    }

    fn take(&self, message: &[u8]) -> Result<(), String> {
        self.account().take(message)
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().expect("nobody panics with it")
    }
}

/// End of the reading of a stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    End,
    /// Until the notifications that were called for have come.
    Notified,
}
