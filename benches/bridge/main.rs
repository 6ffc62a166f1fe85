//! The bridge's own cost, measured against doing without it: see `benches/README.md`.

#![cfg_attr(not(unix), allow(unused))]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts and times are far from where that matters"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "this is no bridge: its output is the result"
)]

mod app;
mod client;
mod contender;
mod count;
mod direct;
mod eras;
mod events;
mod figures;
mod host;
mod least;
mod plot;
mod process;
mod record_cost;
mod recorded;
mod rounds;
mod server;
mod table;
mod wire;
mod work;

use std::error::Error;
use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Parser;

use contender::{Contender, Role};
use figures::Measured;
use host::Host;
use recorded::Verdict;
use rounds::{Bench, Sizes};

/// What the executable is when it starts itself: the test server, or the least bridge.
const SERVER: &str = "role-server";
const LEAST: &str = "role-least";

/// Measures mcp-bridge against the same calls without a bridge, and against the least that bridges.
#[derive(Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
#[command(name = "cargo bench --")]
struct Flags {
    /// Less of everything: under a minute
    #[arg(long)]
    quick: bool,

    /// Measure another bridge as well: its command line, with {url} for the server's URL
    #[arg(long, value_name = "COMMAND")]
    bridge: Vec<String>,

    /// Count instructions, allocations and system calls with valgrind, instead of measuring times
    #[arg(long)]
    count: bool,

    /// Fail if the counts differ from those in benches/counts.json
    #[arg(long, requires = "count")]
    check: bool,

    /// Record the counts in benches/counts.json
    #[arg(long, requires = "count", conflicts_with = "check")]
    accept: bool,

    /// Measure the cost of `--record` alone; with `--count`, in instructions of each thread
    #[arg(long, conflicts_with_all = ["check", "accept"])]
    record: bool,

    /// The program to measure, instead of the one that was built
    #[arg(long, value_name = "PATH", default_value = env!("CARGO_BIN_EXE_mcp-bridge"))]
    program: String,

    /// Where to write the plot
    #[arg(long, value_name = "PATH")]
    plot: Option<PathBuf>,

    /// What cargo says to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().collect();
    match &words[..] {
        [_, role] if role == SERVER => return Ok(server::main()?),
        [_, role, url] if role == LEAST => return Ok(least::main(url)?),
        _ => {}
    }
    let flags = Flags::parse();
    let myself = std::env::current_exe()?.to_string_lossy().into_owned();
    let host = Host::start(&myself)?;
    if flags.count {
        if flags.record {
            let table = record_cost::run(&host, &flags.program)?;
            return Ok(io::stdout().lock().write_all(table.as_bytes())?);
        }
        return count(&host, &flags);
    }
    let sizes = if flags.quick {
        Sizes::QUICK
    } else {
        Sizes::FULL
    };
    if flags.record {
        let table = eras::recorded(&eras::commands(&flags.program), &host.legacy(), sizes)?;
        return Ok(io::stdout().lock().write_all(table.as_bytes())?);
    }
    let own = [
        Contender::limit(),
        Contender::least(&myself),
        Contender::ours(&flags.program),
    ];
    let others = flags.bridge.iter().map(|command| Contender::other(command));
    let mut bench = Bench::new(&host, sizes, own.into_iter().chain(others).collect());
    bench.binary(&flags.program);
    let measured = bench.run();
    writeln!(io::stdout().lock(), "{}", table::markdown(&measured))?;
    if let Some(path) = flags.plot {
        std::fs::write(path, plot::svg(&measured))?;
    }
    let eras = eras::run(&host, sizes, &flags.program)?;
    writeln!(io::stdout().lock(), "{eras}")?;
    let failed = |(contender, measured): &(Contender, Measured)| {
        contender.role == Role::Ours && measured.has_faults()
    };
    if measured.iter().any(failed) {
        return Err("mcp-bridge has failed a check".into());
    }
    Ok(())
}

fn count(host: &Host, flags: &Flags) -> Result<(), Box<dyn Error>> {
    let table = count::run(host, &flags.program)?;
    io::stdout()
        .lock()
        .write_all(count::markdown(&table).as_bytes())?;
    if flags.accept {
        recorded::accept(table)?;
    } else if flags.check {
        match recorded::check(&table)? {
            Verdict::Same => {}
            Verdict::Incomparable(reason) => eprintln!("skipped: the comparison, because {reason}"),
            Verdict::Different(differences) => {
                eprintln!("{differences}");
                return Err("the counts differ".into());
            }
        }
    }
    Ok(())
}

/// The runtime of the server, the least bridge and the limit.
fn current_thread() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

/// A file of the tests' certificates.
fn certificate(name: &str) -> String {
    format!(
        "{}/tests/integration/certificates/{name}",
        env!("CARGO_MANIFEST_DIR")
    )
}
