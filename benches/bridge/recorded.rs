//! Recorded counts in `benches/counts.json`, from which no change may differ without anybody noticing.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::count::{Counts, LONG, START, Table};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/counts.json");

/// Share by which a count may differ. The seeds of hash tables and the pieces in which bytes arrive make a difference of less
/// than one percent.
const TOLERANCE: f64 = 0.02;
/// The same for instructions: the directory of the checkout is part of the names of functions, and so changes their order and
/// what is inlined. Builds in two directories have differed by 2.1 percent.
const TOLERANCE_OF_INSTRUCTIONS: f64 = 0.03;
const TOLERANCE_OF_PIECES: f64 = 0.1;

/// The same for the start, which is counted once and not as the difference of two runs: how often it is woken is a matter of
/// timing, and each time it allocates.
const TOLERANCE_OF_START: f64 = 0.05;
const TOLERANCE_OF_ALLOCATIONS_AT_START: f64 = 0.25;

/// Difference that is none: what happens once in a hundred messages is no cost of each.
const SLACK: f64 = 0.1;

const INSTRUCTIONS: &str = "instructions";
const SYSTEM_CALLS: &str = "system calls";

/// The counts, and what they were counted with.
#[derive(Debug, Serialize, Deserialize)]
struct Recorded {
    counted_with: Surroundings,
    counts: Table,
}

/// Everything but the program that makes a difference. The C library and the processor decide which `memcpy` runs.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Surroundings {
    compiler: String,
    c_library: String,
    processor: String,
    valgrind: String,
}

/// Result of a comparison.
pub(crate) enum Verdict {
    Same,
    /// This machine counts differently, in words.
    Incomparable(String),
    /// The differences, and what to do about them.
    Different(String),
}

/// Compares counts with the recorded ones.
pub(crate) fn check(table: &Table) -> Result<Verdict, String> {
    let text = fs::read_to_string(FILE).map_err(|error| format!("{FILE}: {error}"))?;
    let recorded: Recorded =
        serde_json::from_str(&text).map_err(|error| format!("{FILE}: {error}"))?;
    let here = Surroundings::here();
    if recorded.counted_with != here {
        let there = recorded.counted_with;
        return Ok(Verdict::Incomparable(format!(
            "counts.json was recorded with {there:?}, and this is {here:?}"
        )));
    }
    let differences = differences(&recorded.counts, table);
    if differences.is_empty() {
        return Ok(Verdict::Same);
    }
    Ok(Verdict::Different(format!(
        "what a message costs is not what benches/counts.json says:\n{differences}\
         If that is meant, `cargo bench -- --count --accept` records it; commit the file with the reason."
    )))
}

/// Records counts.
pub(crate) fn accept(table: Table) -> Result<(), String> {
    let recorded = Recorded {
        counted_with: Surroundings::here(),
        counts: table,
    };
    let text = serde_json::to_string_pretty(&recorded).map_err(|error| error.to_string())?;
    fs::write(FILE, text + "\n").map_err(|error| format!("{FILE}: {error}"))
}

/// A line for each difference.
fn differences(recorded: &Table, counted: &Table) -> String {
    let mut text = String::new();
    for name in recorded.keys().filter(|name| !counted.contains_key(*name)) {
        let _ = writeln!(text, "- {name}: not counted any more");
    }
    for (name, now) in counted {
        let Some(before) = recorded.get(name) else {
            let _ = writeln!(text, "- {name}: not recorded");
            continue;
        };
        for (what, before, now) in columns(before, now) {
            if (now - before).abs() > SLACK.max(before * tolerance(name, what)) {
                let percent = (now / before - 1.0) * 100.0;
                let _ = writeln!(
                    text,
                    "- {name}: {now} {what} instead of {before} ({percent:+.1} %)"
                );
            }
        }
    }
    text
}

/// Share by which a count of this kind may differ.
fn tolerance(name: &str, what: &str) -> f64 {
    match (name, what) {
        // In how many pieces a long message comes is a matter of timing.
        (LONG, INSTRUCTIONS) => TOLERANCE_OF_PIECES,
        // So is how often the start looks for events.
        (LONG, _) | (START, SYSTEM_CALLS) => f64::INFINITY,
        (START, INSTRUCTIONS) => TOLERANCE_OF_START,
        (START, _) => TOLERANCE_OF_ALLOCATIONS_AT_START,
        (_, INSTRUCTIONS) => TOLERANCE_OF_INSTRUCTIONS,
        _ => TOLERANCE,
    }
}

fn columns(before: &Counts, now: &Counts) -> [(&'static str, f64, f64); 4] {
    [
        (INSTRUCTIONS, before.instructions, now.instructions),
        ("allocations", before.allocations, now.allocations),
        (
            "bytes allocated",
            before.bytes_allocated,
            now.bytes_allocated,
        ),
        (SYSTEM_CALLS, before.system_calls, now.system_calls),
    ]
}

impl Surroundings {
    fn here() -> Self {
        let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        // Valgrind shows the program one of a few processors, by what the real one has.
        let vectors = ["avx2", "avx", "sse4_2"];
        let vectors = vectors.into_iter().find(|name| {
            let flags = processor.lines().find(|line| line.starts_with("flags"));
            flags.is_some_and(|flags| flags.split_whitespace().any(|flag| flag == *name))
        });
        Self {
            compiler: said_by(&["rustc", "--version"]),
            c_library: said_by(&["getconf", "GNU_LIBC_VERSION"]),
            processor: [std::env::consts::ARCH, vectors.unwrap_or_default()].join(" "),
            valgrind: said_by(&["valgrind", "--version"]),
        }
    }
}

/// Output of a command; empty if it cannot be run.
fn said_by(command: &[&str]) -> String {
    let output = Command::new(command[0]).args(&command[1..]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default().trim().to_owned()
}
