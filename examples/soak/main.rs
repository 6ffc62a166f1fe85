//! Ten thousand mixed calls through the bridge to a server that restarts, resets and stalls at random:
//!
//! ```text
//! cargo run --release --example soak [-- SEED [CALLS]]
//! ```
//!
//! Every call must be answered exactly once, and with its own answer; afterwards the bridge must be as
//! well as at the beginning: it serves, and has neither grown nor kept a descriptor. The seed is
//! printed, and the same seed gives the same calls and the same faults of the server for each.
//!
//! The bridge is this program again, as a child process: `soak bridge URL …`.

#![expect(clippy::print_stdout, reason = "its report is what it is for")]

mod app;
mod faults;
mod process;
mod random;

/// The fault server of the integration tests, and the account they keep.
#[path = "../../tests/integration/support"]
#[expect(dead_code, reason = "the tests need more of it than this program")]
mod support {
    use std::time::Duration;

    pub(crate) mod envelope;
    pub(crate) mod fault_server;
    pub(crate) mod ledger;
    pub(crate) mod mcp;
    pub(crate) mod modern;
    pub(crate) mod reply;
    pub(crate) mod request;
    pub(crate) mod schema;
    pub(crate) mod transcript;

    pub(crate) const LIMIT: Duration = Duration::from_secs(60);
    pub(crate) const MARKERS: [&str; 3] = [HEADER_MARKER, SESSION_MARKER, QUERY_MARKER];
    pub(crate) const HEADER_MARKER: &str = "marker-of-a-header-value";
    pub(crate) const SESSION_MARKER: &str = "marker-of-a-session-id";
    pub(crate) const QUERY_MARKER: &str = "marker-of-a-query-value";
}

use std::{env, process::ExitCode, time::Instant};

use app::App;
use faults::Faults;
use process::Usage;
use random::Random;
use support::{fault_server::Server, mcp::Binding};

const CALLS: usize = 10_000;

/// Calls that are under way at once.
const CONCURRENCY: usize = 50;

/// Calls between two looks at the process.
const SAMPLE_EVERY: usize = 1_000;

/// The server goes down once in so many calls, on average.
const CALLS_PER_OUTAGE: u64 = 250;

/// After the storm: calls that must all succeed.
const CALM_CALLS: usize = 100;

/// What the process may have more at the end than at the beginning. Memory is compared after the first
/// samples, when pools and buffers have found their size.
const SPARE_DESCRIPTORS: usize = 4;
const SPARE_MEMORY_KIB: u64 = 16 * 1024;

fn main() -> ExitCode {
    let mut args = env::args_os();
    if env::args().nth(1).as_deref() == Some("bridge") {
        let program = args.next();
        return mcp_bridge::main(program.into_iter().chain(args.skip(1)));
    }
    let number = |position| env::args().nth(position).and_then(|text| text.parse().ok());
    let seed = number(1).unwrap_or_else(random::seed);
    let calls = number(2)
        .and_then(|calls| calls.try_into().ok())
        .unwrap_or(CALLS);
    println!("seed {seed}, {calls} calls, {CONCURRENCY} at once");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime.map(|runtime| runtime.block_on(soak(seed, calls))) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(complaints)) => {
            for complaint in complaints {
                eprintln!("error: {complaint}");
            }
            eprintln!("\nhint: cargo run --release --example soak -- {seed} {calls}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn soak(seed: u64, calls: usize) -> Result<(), Vec<String>> {
    let started = Instant::now();
    let server = Server::start_as(Binding::Streamable);
    server.allow_requests(usize::MAX);
    let mut app = App::start(&server.url()).await;
    app.calm(CALM_CALLS).await;
    let before = Usage::of(app.pid());
    println!(
        "{:>8}  {:>9}  {:>11}  {:>7}",
        "calls", "memory", "descriptors", "outages"
    );
    let faults = Faults::install(&server, seed);
    let mut random = Random::new(seed);
    let mut outages = 0;
    let mut samples = Vec::new();
    for number in 0..calls {
        if number % SAMPLE_EVERY == 0 {
            let usage = Usage::of(app.pid());
            println!("{number:>8}  {usage}  {outages:>7}");
            samples.push(usage);
        }
        if random.one_in(CALLS_PER_OUTAGE) {
            outages += 1;
            faults::outage(&server, &mut random).await;
        }
        app.call(number, &mut random, CONCURRENCY).await;
    }
    app.settle().await;
    server.behave();
    // Connections of the storm end with the server that had them.
    server.restart().await;
    app.calm(CALM_CALLS).await;
    let after = Usage::of(app.pid());
    println!("{calls:>8}  {after}  {outages:>7}");
    let mut complaints = app.complaints();
    complaints.extend(after.excess_over(&before, &samples));
    complaints.extend(server.faults());
    let tally = app.tally();
    let status = app.leave().await;
    if !status.success() {
        complaints.push(format!("the bridge ended with {status}"));
    }
    println!("\n{tally}\n{faults}\noutages {outages}");
    println!("answers lost, doubled or mixed up: {}", complaints.len());
    println!(
        "peak memory {} KiB, {:.1} s",
        after.peak_kib,
        started.elapsed().as_secs_f64()
    );
    if complaints.is_empty() {
        Ok(())
    } else {
        Err(complaints)
    }
}
