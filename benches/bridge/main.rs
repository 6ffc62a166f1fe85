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
mod growth;
mod host;
mod least;
mod load;
mod peers;
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

use clap::{Parser, ValueEnum as _};

use contender::{Contender, Role};
use figures::Measured;
use growth::{Effort, Ground, Subject};
use host::Host;
use load::Load;
use recorded::Verdict;
use rounds::{Bench, Sizes};

/// Roles in which the executable starts itself: the test server, or the least bridge.
const SERVER: &str = "role-server";
const LEAST: &str = "role-least";

/// The length of the long session unless another is asked for, in hours.
const MINUTE: f64 = 1.0 / 60.0;

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

    /// Measure the bridges of others as well, which are installed into a cache
    #[arg(long, conflicts_with_all = ["growth", "count", "record"])]
    peers: bool,

    /// Measure how costs grow with calls, sizes, bridges and delays, instead of the costs themselves
    #[arg(long, conflicts_with_all = ["count", "record", "bridge"])]
    growth: bool,

    /// Only the growth with this (repeatable)
    #[arg(long, value_enum, value_name = "SUBJECT", requires = "growth")]
    only: Vec<Subject>,

    /// The length of the long session, in which there are 10 million calls an hour
    #[arg(long, value_name = "HOURS", requires = "growth", default_value_t = MINUTE)]
    hours: f64,

    /// Print JSON instead of Markdown
    #[arg(long, conflicts_with_all = ["count", "record"])]
    json: bool,

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

    /// File for the plot
    #[arg(long, value_name = "PATH")]
    plot: Option<PathBuf>,

    /// Ignored: cargo passes it to every benchmark
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
    let sizes = match (flags.quick, flags.peers) {
        (true, _) => Sizes::QUICK,
        (false, true) => Sizes::PEERS,
        (false, false) => Sizes::FULL,
    };
    if flags.record {
        let table = eras::recorded(&eras::commands(&flags.program), &host.legacy(), sizes)?;
        return Ok(io::stdout().lock().write_all(table.as_bytes())?);
    }
    // A program of its own, so that it shares no pages with the server and the driver.
    let directory = tempfile::tempdir()?;
    let least = directory.path().join("least");
    std::fs::copy(&myself, &least)?;
    let least = least.to_string_lossy().into_owned();
    if flags.growth {
        return grow(&host, &least, &flags);
    }
    compare(&host, &least, sizes, &flags)
}

/// Measures the costs of all contenders.
fn compare(host: &Host, least: &str, sizes: Sizes, flags: &Flags) -> Result<(), Box<dyn Error>> {
    let (peers, missing) = if flags.peers {
        peers::install()
    } else {
        (Vec::new(), Vec::new())
    };
    let own = [
        Contender::limit(),
        Contender::least(least),
        Contender::ours(&flags.program),
    ];
    let others = flags.bridge.iter().map(|command| Contender::other(command));
    let all = own.into_iter().chain(peers).chain(others).collect();
    let before = Load::watch();
    let measured = Bench::new(host, sizes, all).run();
    let after = Load::watch();
    let mut output = io::stdout().lock();
    if flags.json {
        let mut report = table::json(&measured);
        report["load"] = load::json(&before, &after);
        report["missing"] = missing.into();
        writeln!(output, "{report:#}")?;
    } else {
        writeln!(output, "{}", table::markdown(&measured))?;
        for line in missing {
            writeln!(output, "{line}\n")?;
        }
        writeln!(output, "{}\n", load::sentence(&before, &after))?;
    }
    drop(output);
    if let Some(path) = &flags.plot {
        std::fs::write(path, plot::svg(&measured))?;
    }
    if !flags.peers && !flags.json {
        let eras = eras::run(host, sizes, &flags.program)?;
        writeln!(io::stdout().lock(), "{eras}")?;
    }
    let failed = |(contender, measured): &(Contender, Measured)| {
        contender.role == Role::Ours && measured.has_faults()
    };
    if measured.iter().any(failed) {
        return Err("mcp-bridge has failed a check".into());
    }
    Ok(())
}

/// Measures how the costs grow.
fn grow(host: &Host, least: &str, flags: &Flags) -> Result<(), Box<dyn Error>> {
    let effort = Effort {
        rounds: if flags.quick { 1 } else { 3 },
        hours: flags.hours,
    };
    let subjects = match &flags.only[..] {
        [] => Subject::value_variants(),
        some => some,
    };
    let ground = Ground::new(host, least, &flags.program, effort);
    let before = Load::watch();
    let (mut curves, mut faults) = (Vec::new(), Vec::new());
    for subject in subjects {
        match ground.measure(*subject) {
            Ok(more) => curves.extend(more),
            Err(fault) => faults.push(format!("{subject:?}: {fault}")),
        }
    }
    let after = Load::watch();
    let mut output = io::stdout().lock();
    if flags.json {
        let mut report = growth::json(&curves);
        report["load"] = load::json(&before, &after);
        writeln!(output, "{report:#}")?;
    } else {
        writeln!(output, "{}", growth::markdown(&curves))?;
        writeln!(output, "{}", load::sentence(&before, &after))?;
    }
    if let Some(path) = &flags.plot {
        std::fs::write(path, growth::svg(&curves))?;
    }
    let failed = |curve: &growth::Curve| {
        let mut series = curve.series.iter();
        series.any(|series| series.role == Role::Ours && series.fault.is_some())
    };
    if !faults.is_empty() {
        return Err(faults.join("; ").into());
    }
    if curves.iter().any(failed) {
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
