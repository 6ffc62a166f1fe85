//! Counting instead of timing: what the bridge does for a message, as valgrind counts it. The figures are
//! the same on a busy machine, so a regression shows.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use crate::app::{App, Started};
use crate::host::Host;
use crate::wire::{Era, Reply, Tool};
use crate::work::{Work, calls};

/// Valgrind takes its time.
const LIMIT: Duration = Duration::from_secs(300);

/// A script, and the number of messages after which the counting begins.
struct Script {
    name: &'static str,
    tool: fn(usize) -> Tool,
    /// Calls in the short and in the long run: what the long one has more is the messages' own.
    calls: (usize, usize),
    /// Messages of the server that a call brings.
    messages: (usize, usize),
}

const SCRIPTS: [Script; 4] = [
    Script {
        name: "a small call, JSON",
        tool: |_| Tool::Echo(Reply::Json),
        calls: (100, 1100),
        messages: (100, 1100),
    },
    Script {
        name: "a small call, SSE",
        tool: |_| Tool::Echo(Reply::Sse),
        calls: (100, 1100),
        messages: (100, 1100),
    },
    Script {
        name: "a progress notification",
        tool: Tool::Progress,
        calls: (1, 1),
        messages: (1000, 11_000),
    },
    Script {
        name: "a 1 MB result, SSE",
        tool: |_| Tool::Give(1_000_000, Reply::Sse),
        calls: (2, 12),
        messages: (2, 12),
    },
];

/// Instructions of a run: of the thread that carries messages, and of all others.
#[derive(Debug, Clone, Copy)]
struct ByThread {
    messages: f64,
    others: f64,
}

/// Counts the cost of `--record`, and returns the table.
pub(crate) fn run_recorded(host: &Host, executable: &str) -> Result<String, String> {
    let mut text = String::from(
        "| counted in instructions | the thread of the messages | other threads | all | × |\n|---|---:|---:|---:|---:|\n",
    );
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let file = directory.path().join("it.har").display().to_string();
    for script in &SCRIPTS[..2] {
        let mut plain = None;
        for (flags, suffix) in [(&[][..], ""), (&["--record", &file], ", recorded")] {
            eprintln!("counting {}{suffix}", script.name);
            let calls = script.calls;
            let [long, short] = [calls.1, calls.0]
                .map(|count| by_thread(host, executable, flags, (script, count, count)));
            let (long, short) = (long?, short?);
            let count = (calls.1 - calls.0) as f64;
            let messages = (long.messages - short.messages) / count;
            let others = (long.others - short.others) / count;
            let all = messages + others;
            let base = *plain.get_or_insert(all);
            let _ = writeln!(
                text,
                "| {}{suffix} | {messages:.0} | {others:.0} | {all:.0} | {:.2} |",
                script.name,
                all / base
            );
        }
    }
    Ok(text)
}

fn by_thread(
    host: &Host,
    executable: &str,
    flags: &[&str],
    script: (&Script, usize, usize),
) -> Result<ByThread, String> {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let out = directory.path().join("out").display().to_string();
    let valgrind = [
        "--tool=callgrind",
        "--separate-threads=yes",
        &format!("--callgrind-out-file={out}"),
        &format!("--log-file={out}.log"),
    ];
    play(host, executable, &valgrind, flags, Some(script))?;
    let mut counts = ByThread {
        messages: 0.0,
        others: 0.0,
    };
    for thread in 1.. {
        // The first file is the sum of all that there was before threads.
        let Ok(text) = fs::read_to_string(format!("{out}-{thread:02}")) else {
            break;
        };
        let totals = text
            .lines()
            .filter_map(|line| line.strip_prefix("totals: "));
        let total: f64 = totals.filter_map(|total| total.parse::<f64>().ok()).sum();
        match thread {
            1 => counts.messages += total,
            _ => counts.others += total,
        }
    }
    Ok(counts)
}

/// Counts, and returns the table.
pub(crate) fn run(host: &Host, executable: &str) -> Result<String, String> {
    let mut text = String::from(
        "| counted | instructions | allocations | bytes allocated |\n|---|---:|---:|---:|\n",
    );
    let start = [counted(host, executable, None)?, [0.0; 3]];
    line(&mut text, "start, handshake and exit", &start, 1.0);
    for script in &SCRIPTS {
        eprintln!("counting {}", script.name);
        let (short, long) = script.messages;
        let runs = [
            counted(host, executable, Some((script, script.calls.1, long)))?,
            counted(host, executable, Some((script, script.calls.0, short)))?,
        ];
        line(&mut text, script.name, &runs, (long - short) as f64);
    }
    Ok(text)
}

fn line(text: &mut String, name: &str, runs: &[[f64; 3]; 2], messages: f64) {
    let [instructions, blocks, bytes] = [0, 1, 2].map(|at| (runs[0][at] - runs[1][at]) / messages);
    let _ = writeln!(
        text,
        "| {name} | {instructions:.0} | {blocks:.1} | {bytes:.0} |"
    );
}

/// Instructions, allocations and bytes of one run.
fn counted(
    host: &Host,
    executable: &str,
    script: Option<(&Script, usize, usize)>,
) -> Result<[f64; 3], String> {
    let instructions = under(host, executable, script, "callgrind", "Collected :")?;
    let total = under(host, executable, script, "dhat", "Total:")?;
    let ([instructions, ..], [bytes, blocks, ..]) = (&instructions[..], &total[..]) else {
        return Err("valgrind tells no figures".to_owned());
    };
    Ok([*instructions, *blocks, *bytes])
}

/// Runs the script under a tool of valgrind; returns the numbers in the line with `label`.
fn under(
    host: &Host,
    executable: &str,
    script: Option<(&Script, usize, usize)>,
    tool: &str,
    label: &str,
) -> Result<Vec<f64>, String> {
    let log = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    let valgrind = [
        &*format!("--tool={tool}"),
        &format!("--{tool}-out-file=/dev/null"),
        &format!("--log-file={}", log.path().display()),
    ];
    play(host, executable, &valgrind, &[], script)?;
    let text = fs::read_to_string(log.path()).map_err(|error| error.to_string())?;
    let line = text
        .lines()
        .find_map(|line| Some(line.split_once(label)?.1));
    let words = line.unwrap_or_default().replace(',', "");
    Ok(words
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect())
}

/// Runs the script with the bridge under valgrind, which has these flags of its own.
fn play(
    host: &Host,
    executable: &str,
    valgrind: &[&str],
    flags: &[&str],
    script: Option<(&Script, usize, usize)>,
) -> Result<(), String> {
    let url = host.legacy();
    let words = [&["valgrind"], valgrind, &[executable], flags, &[&url]];
    let command: Vec<String> = words.concat().into_iter().map(str::to_owned).collect();
    let Started { mut app, .. } = App::open(&command, Era::Legacy)?;
    if let Some((script, count, messages)) = script {
        let work = Work {
            calls: calls(&(script.tool)(messages), 1, count, Era::Legacy),
            window: 1,
            era: Era::Legacy,
        };
        app.run(work, LIMIT)?;
    }
    app.leave()?;
    Ok(())
}
