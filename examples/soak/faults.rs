//! What the server does wrong.

use std::{
    collections::BTreeMap,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::{
    random::Random,
    support::{
        fault_server::Server,
        reply::{Gate, Reply},
        request::{Request, get, rpc},
    },
};

/// The longest that a server takes over an answer, or is down.
const LONGEST_PAUSE_MS: u64 = 300;

const NOTE: &str = r#"{"jsonrpc":"2.0","method":"vendor/note","params":{"n":1.0}}"#;

/// What was done to whom.
#[derive(Clone, Default)]
pub(crate) struct Faults(Arc<Mutex<Account>>);

#[derive(Default)]
struct Account {
    /// How often each fault was injected.
    counts: BTreeMap<&'static str, usize>,
    /// How often each call has come.
    tries: BTreeMap<u64, u64>,
}

impl Faults {
    /// From now on the server misbehaves, as the seed will have it.
    pub(crate) fn install(server: &Server, seed: u64) -> Self {
        let faults = Self::default();
        for method in ["tools/call", "tools/list", "ping", "vendor/mirror"] {
            let faults = faults.clone();
            server.always(rpc(method), move |request| faults.respond(seed, request));
        }
        let resumed = faults.clone();
        server.always(get(), move |request| resumed.resume(request));
        faults
    }

    /// The fault depends on the call and on which try of it this is, and not on its turn, so that a
    /// seed means the same every time.
    fn respond(&self, seed: u64, request: &Request) -> Option<Reply> {
        let mut hasher = DefaultHasher::new();
        request.body.hash(&mut hasher);
        let call = hasher.finish();
        let mut random = Random::new(seed ^ call ^ self.next_try(call));
        let (name, reply) = match random.below(100) {
            0..=2 => ("connection reset", Reply::no_answer_but_reset()),
            3..=4 => ("connection closed", Reply::no_answer_but_close()),
            5 => ("status 500", Reply::status(500)),
            6..=7 => ("busy", Reply::status(503).header("Retry-After", "0")),
            8 => (
                "a page",
                Reply::status(200).body("text/html", "<p>oops</p>"),
            ),
            9 => ("accepted, not answered", Reply::status(202)),
            10 => ("invalid JSON", Reply::json("{\"jsonrpc\":")),
            11 => (
                "another id",
                Reply::json(r#"{"jsonrpc":"2.0","id":-1,"result":{}}"#),
            ),
            12 => ("stream cut off", Reply::sse().data(NOTE).close()),
            13..=14 => ("stream to be resumed", resumable(request)),
            15 => ("stall", Reply::no_answer_ever()),
            16..=19 => (
                "slow",
                Reply::sse()
                    .wait(&opening_in(&mut random))
                    .data(answer(request)),
            ),
            20..=29 => (
                "none, but a stream",
                Reply::sse().data(NOTE).data(answer(request)),
            ),
            _ => return None,
        };
        self.count(name);
        Some(reply)
    }

    /// The rest of a stream that was cut off.
    fn resume(&self, request: &Request) -> Option<Reply> {
        let id = request.header("last-event-id")?.strip_prefix("of ")?;
        self.count("stream resumed");
        Some(Reply::sse().data(format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resumed":true}}}}"#
        )))
    }

    fn next_try(&self, call: u64) -> u64 {
        let mut account = self.0.lock().expect("nobody panics with it");
        let tries = account.tries.entry(call).or_default();
        *tries += 1;
        *tries
    }

    fn count(&self, name: &'static str) {
        let mut account = self.0.lock().expect("nobody panics with it");
        *account.counts.entry(name).or_default() += 1;
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = &self.0.lock().expect("nobody panics with it").counts;
        let total: usize = counts.values().sum();
        write!(f, "faults {total}:")?;
        for (name, count) in counts {
            write!(f, "\n  {count:>6} {name}")?;
        }
        Ok(())
    }
}

/// The server goes away with its sessions and connections, for a moment or longer.
pub(crate) async fn outage(server: &Server, random: &mut Random) {
    match random.below(4) {
        0 => server.forget_sessions(),
        1 => {
            server.go_down().await;
            tokio::time::sleep(Duration::from_millis(random.below(LONGEST_PAUSE_MS))).await;
            server.come_up();
        }
        _ => server.restart().await,
    }
}

fn answer(request: &Request) -> String {
    match request.rpc_method().as_str() {
        "tools/call" => request.echo(),
        _ => request.result(request.message().params().unwrap_or("{}")),
    }
}

fn resumable(request: &Request) -> Reply {
    let id = request.message().id().unwrap_or("null");
    let first = Reply::sse().bytes("retry: 10\n");
    first.event(&format!("of {id}"), NOTE).close()
}

fn opening_in(random: &mut Random) -> Gate {
    let gate = Gate::closed();
    let opening = gate.clone();
    let pause = Duration::from_millis(random.below(LONGEST_PAUSE_MS));
    tokio::spawn(async move {
        tokio::time::sleep(pause).await;
        opening.open();
    });
    gate
}
