//! Count of the instructions that `--record` costs, by thread: that of the messages delays them, that of the recording
//! only takes CPU time.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use crate::app::{App, Started};
use crate::host::Host;
use crate::wire::{Era, Reply, Tool};
use crate::work::{Work, calls};

/// Valgrind takes its time.
const LIMIT: Duration = Duration::from_secs(300);

/// Calls in the short and in the long run: what the long one has more is the calls' own.
const CALLS: [usize; 2] = [100, 1100];

/// Instructions of a run.
#[derive(Debug, Clone, Copy, Default)]
struct ThreadCounts {
    /// Those of the thread that carries messages.
    messages: f64,
    /// Those of all others.
    others: f64,
}

/// Counts, and returns the table.
pub(crate) fn run(host: &Host, executable: &str) -> Result<String, String> {
    let mut text = String::from(
        "| instructions of a small call | thread of the messages | other threads | all | × |\n|---|---:|---:|---:|---:|\n",
    );
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let file = directory.path().join("it.har").display().to_string();
    for (name, reply) in [("JSON", Reply::Json), ("SSE", Reply::Sse)] {
        let mut base = None;
        for (suffix, flags) in [("", &[][..]), (" with --record", &["--record", &file])] {
            eprintln!("counting {name}{suffix}");
            let counts = counted(host, executable, flags, reply)?;
            let all = counts.messages + counts.others;
            let times = all / *base.get_or_insert(all);
            let ThreadCounts { messages, others } = counts;
            let _ = writeln!(
                text,
                "| {name}{suffix} | {messages:.0} | {others:.0} | {all:.0} | {times:.2} |"
            );
        }
    }
    Ok(text)
}

/// Instructions of a call.
fn counted(
    host: &Host,
    executable: &str,
    flags: &[&str],
    reply: Reply,
) -> Result<ThreadCounts, String> {
    let [short, long] = CALLS.map(|count| played(host, executable, flags, reply, count));
    let (short, long) = (short?, long?);
    let calls = (CALLS[1] - CALLS[0]) as f64;
    Ok(ThreadCounts {
        messages: (long.messages - short.messages) / calls,
        others: (long.others - short.others) / calls,
    })
}

/// Instructions of a run with so many calls.
fn played(
    host: &Host,
    executable: &str,
    flags: &[&str],
    reply: Reply,
    count: usize,
) -> Result<ThreadCounts, String> {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let out = directory.path().join("out").display().to_string();
    let valgrind = [
        "valgrind",
        "--tool=callgrind",
        "--separate-threads=yes",
        &format!("--callgrind-out-file={out}"),
        &format!("--log-file={out}.log"),
    ];
    let url = host.legacy();
    let words = [&valgrind, &[executable][..], flags, &[&url]].concat();
    let command: Vec<String> = words.into_iter().map(str::to_owned).collect();
    let Started { mut app, .. } = App::open(&command, Era::Legacy)?;
    let work = Work {
        calls: calls(&Tool::Echo(reply), 1, count, Era::Legacy),
        window: 1,
        era: Era::Legacy,
    };
    app.run(work, LIMIT)?;
    app.leave()?;
    let mut counts = ThreadCounts::default();
    // One file for each thread, in the order in which they were started.
    for thread in 1.. {
        let Ok(text) = fs::read_to_string(format!("{out}-{thread:02}")) else {
            break;
        };
        let totals = text
            .lines()
            .filter_map(|line| line.strip_prefix("totals: "));
        let total: f64 = totals.filter_map(|it| it.parse::<f64>().ok()).sum();
        match thread {
            1 => counts.messages += total,
            _ => counts.others += total,
        }
    }
    Ok(counts)
}
