//! Counting instead of timing: instructions, allocations and system calls of the bridge for a message, as valgrind counts them.
//! The figures are the same on a busy machine, so a regression shows.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::app::{App, Started};
use crate::host::Host;
use crate::wire::{Era, Reply, Tool};
use crate::work::{Work, calls};

/// Valgrind takes its time.
const LIMIT: Duration = Duration::from_secs(300);

/// The name of what is no message.
pub(crate) const START: &str = "start, handshake and exit";

/// The name of the script with a message that comes in pieces.
pub(crate) const LONG: &str = "a 1 MB result, SSE";

/// A script, and the number of messages after which the counting begins.
struct Script {
    name: &'static str,
    /// Era of the app.
    app: Era,
    server: fn(&Host) -> Vec<String>,
    tool: fn(usize) -> Tool,
    /// Calls in the short and in the long run: what the long one has more is the messages' own.
    calls: (usize, usize),
    /// Messages of the server that a call brings.
    messages: (usize, usize),
}

const SMALL: Script = Script {
    name: "a small call, JSON",
    app: Era::Legacy,
    server: |host| vec![host.legacy()],
    tool: |_| Tool::Echo(Reply::Json),
    calls: (100, 1100),
    messages: (100, 1100),
};

const SCRIPTS: [Script; 8] = [
    SMALL,
    Script {
        name: "a small call, SSE",
        tool: |_| Tool::Echo(Reply::Sse),
        ..SMALL
    },
    Script {
        name: "a small call, TLS",
        server: |host| {
            let authority = crate::certificate("authority.pem");
            vec!["--ca-cert".to_owned(), authority, host.tls()]
        },
        ..SMALL
    },
    Script {
        name: "a small call of a modern app, modern server",
        app: Era::Modern,
        server: |host| vec![host.modern()],
        ..SMALL
    },
    Script {
        name: "a small call of a legacy app, modern server",
        server: |host| vec![host.modern()],
        ..SMALL
    },
    Script {
        name: "a small call of a modern app, legacy server",
        app: Era::Modern,
        ..SMALL
    },
    Script {
        name: "a progress notification",
        tool: Tool::Progress,
        calls: (1, 1),
        messages: (1000, 11_000),
        ..SMALL
    },
    Script {
        name: LONG,
        tool: |_| Tool::Give(1_000_000, Reply::Sse),
        calls: (2, 12),
        messages: (2, 12),
        ..SMALL
    },
];

/// Cost of a message.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) instructions: f64,
    pub(crate) allocations: f64,
    pub(crate) bytes_allocated: f64,
    pub(crate) system_calls: f64,
}

/// Counts, by name.
pub(crate) type Table = BTreeMap<String, Counts>;

/// Counts everything.
pub(crate) fn run(host: &Host, executable: &str) -> Result<Table, String> {
    let mut table = Table::new();
    let nothing = Counts::default();
    eprintln!("counting {START}");
    let start = counted(host, executable, &SMALL, None)?;
    table.insert(START.to_owned(), start.per_message(&nothing, 1));
    for script in &SCRIPTS {
        eprintln!("counting {}", script.name);
        let (short, long) = script.messages;
        let most = counted(host, executable, script, Some((script.calls.1, long)))?;
        let least = counted(host, executable, script, Some((script.calls.0, short)))?;
        let counts = most.per_message(&least, long - short);
        table.insert(script.name.to_owned(), counts);
    }
    Ok(table)
}

/// The table for people, in the order of the scripts.
pub(crate) fn markdown(table: &Table) -> String {
    let mut text = String::from(
        "| counted | instructions | allocations | bytes allocated | system calls |\n|---|---:|---:|---:|---:|\n",
    );
    let names = std::iter::once(START).chain(SCRIPTS.iter().map(|script| script.name));
    for name in names {
        if let Some(counts) = table.get(name) {
            let Counts {
                instructions,
                allocations,
                bytes_allocated,
                system_calls,
            } = counts;
            let _ = writeln!(
                text,
                "| {name} | {instructions:.0} | {allocations:.1} | {bytes_allocated:.0} | {system_calls:.1} |"
            );
        }
    }
    text
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            instructions: 0.0,
            allocations: 0.0,
            bytes_allocated: 0.0,
            system_calls: 0.0,
        }
    }
}

impl Counts {
    /// Difference to a shorter run, for each message that this one has more. Rounded to a hundredth.
    fn per_message(&self, shorter: &Self, messages: usize) -> Self {
        let each = |long: f64, short: f64| ((long - short) / messages as f64 * 1e2).round() / 1e2;
        Self {
            instructions: each(self.instructions, shorter.instructions),
            allocations: each(self.allocations, shorter.allocations),
            bytes_allocated: each(self.bytes_allocated, shorter.bytes_allocated),
            system_calls: each(self.system_calls, shorter.system_calls),
        }
    }
}

/// The counts of one run with so many calls, each with so many messages.
fn counted(
    host: &Host,
    executable: &str,
    script: &Script,
    size: Option<(usize, usize)>,
) -> Result<Counts, String> {
    let log = |tool: &str, flag: &str| under(host, executable, script, size, [tool, flag]);
    let instructions = log("--tool=callgrind", "--callgrind-out-file=/dev/null")?;
    let heap = log("--tool=dhat", "--dhat-out-file=/dev/null")?;
    let calls = log("--tool=none", "--trace-syscalls=yes")?;
    let instructions = numbers(&instructions, "Collected :");
    let heap = numbers(&heap, "Total:");
    let ([instructions, ..], [bytes_allocated, allocations, ..]) = (&instructions[..], &heap[..])
    else {
        return Err("valgrind tells no figures".to_owned());
    };
    // A call that may block has a second line for its end. Reading the clock is a system call under valgrind alone.
    let is_call = |line: &&str| {
        line.starts_with("SYSCALL[")
            && !line.contains(") ... [async]")
            && !line.contains("sys_clock_gettime")
    };
    Ok(Counts {
        instructions: *instructions,
        allocations: *allocations,
        bytes_allocated: *bytes_allocated,
        system_calls: calls.lines().filter(is_call).count() as f64,
    })
}

/// The numbers in the line with `label`.
fn numbers(log: &str, label: &str) -> Vec<f64> {
    let line = log.lines().find_map(|line| Some(line.split_once(label)?.1));
    let words = line.unwrap_or_default().replace(',', "");
    let numbers = words
        .split_whitespace()
        .filter_map(|word| word.parse().ok());
    numbers.collect()
}

/// Runs the script under valgrind with these flags; returns its log.
fn under(
    host: &Host,
    executable: &str,
    script: &Script,
    size: Option<(usize, usize)>,
    flags: [&str; 2],
) -> Result<String, String> {
    let log = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    // What an earlier run has learnt of the server would make a difference.
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut command = vec![
        "env".to_owned(),
        format!("MCP_BRIDGE_DIR={}", directory.path().display()),
        "valgrind".to_owned(),
    ];
    command.extend(flags.map(str::to_owned));
    command.push(format!("--log-file={}", log.path().display()));
    command.push(executable.to_owned());
    command.extend((script.server)(host));
    let Started { mut app, .. } = App::open(&command, script.app)?;
    if let Some((count, messages)) = size {
        let work = Work {
            calls: calls(&(script.tool)(messages), 1, count, script.app),
            window: 1,
            era: script.app,
        };
        app.run(work, LIMIT)?;
    }
    app.leave()?;
    fs::read_to_string(log.path()).map_err(|error| error.to_string())
}
