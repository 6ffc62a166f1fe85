//! Programs of the user's that print something: tokens (`--auth-command`) or headers (`--header-command`). One runner for
//! all, bounded in time and size, and one memory of what was printed last.

use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::{Instant, timeout};
use tracing::Instrument as _;

use crate::config::TokenCommand;
use crate::error::{AuthError, shown};
use crate::executable;
use crate::flow::policy::finish;
use crate::flow::sign_in_history::SignInHistory;
use crate::token::{Age, Validity, unix_millis};
use mcp_bridge_net::descriptors;
use mcp_bridge_net::mutex::Mutex;

/// Limit for one run. The requests of the app wait for it.
const RUN_LIMIT: Duration = Duration::from_secs(60);

/// Limit for the wait for its stderr once it has ended: a program that it left behind may hold
/// the pipe.
const STDERR_LIMIT: Duration = Duration::from_millis(500);

/// The most that it may print, in bytes. Tokens have a few thousand.
const LARGEST_OUTPUT: usize = 64 * 1024;

/// The longest line of its stderr, in bytes, and the most lines, that go into the log.
const LONGEST_LINE: u64 = 4 * 1024;
const MOST_LINES: usize = 100;

/// Shortest lifetime of what is printed. What lives shorter has expired by the time that a request goes out.
const SHORTEST_LIFETIME: Duration = Duration::from_secs(1);

/// Numbers from here on are milliseconds since 1970; in seconds it would be the year 5138.
const FIRST_MILLIS: f64 = 1e11;

/// A value with its lifetime, as it was printed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Printed<T> {
    pub(crate) value: T,
    pub(crate) lifetime: Option<Duration>,
}

/// Reader of what a program has printed. A problem never repeats it.
pub(crate) type Parser<T> = fn(&str, SystemTime) -> Result<Printed<T>, String>;

/// Last output of a program, and the turns in which it is run.
#[derive(Debug)]
pub(crate) struct ProgramOutput<T> {
    command: TokenCommand,
    parse: Parser<T>,
    latest: Arc<Mutex<Option<(T, Validity)>>>,
    /// Held while the program runs.
    turn: Arc<tokio::sync::Mutex<SignInHistory>>,
}

/// Requirement that what is printed has to meet.
#[derive(Debug)]
enum ProgramWish<T> {
    /// It is not about to expire.
    Fresh,
    /// It is something else than what was refused.
    OtherThan(Option<T>),
}

impl<T> ProgramOutput<T>
where
    T: Clone + PartialEq + Send + 'static,
{
    pub(crate) fn new(command: TokenCommand, parse: Parser<T>) -> Self {
        Self {
            command,
            parse,
            latest: Arc::default(),
            turn: Arc::default(),
        }
    }

    pub(crate) const fn command(&self) -> &TokenCommand {
        &self.command
    }

    /// The value for the next request. Once it is about to expire the program is run, and awaited for
    /// `patience`: if that brings nothing in time, the old value goes out.
    pub(crate) async fn value(&self, patience: Duration) -> Result<T, AuthError> {
        let Some((value, age)) = self.current() else {
            return self.run_or_share(ProgramWish::Fresh).await;
        };
        match age {
            Age::Fresh => Ok(value),
            Age::Stale => match timeout(patience, self.run_or_share(ProgramWish::Fresh)).await {
                Ok(Ok(value)) => Ok(value),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "it cannot be refreshed for now");
                    Ok(value)
                }
                Err(_) => Ok(value),
            },
        }
    }

    /// The value after a refusal: what somebody else got meanwhile, or what the program prints now, which may be the same.
    pub(crate) async fn after_refusal(&self, refused: Option<T>) -> Result<T, AuthError> {
        self.run_or_share(ProgramWish::OtherThan(refused)).await
    }

    /// A value that somebody else got meanwhile, or the one of a run. All who wait share one run, and its
    /// failure.
    async fn run_or_share(&self, wish: ProgramWish<T>) -> Result<T, AuthError> {
        let arrived = Instant::now();
        let mut turn = Arc::clone(&self.turn).lock_owned().await;
        if let Some(error) = turn.failure_since(arrived) {
            return Err(error);
        }
        if let Some((value, age)) = self.current() {
            let is_met = match &wish {
                ProgramWish::Fresh => age == Age::Fresh,
                ProgramWish::OtherThan(refused) => refused.as_ref() != Some(&value),
            };
            if is_met {
                return Ok(value);
            }
        }
        let (command, parse, latest) = (self.command.clone(), self.parse, Arc::clone(&self.latest));
        // In a task of its own: a request that is cancelled does not take the run from the others.
        let run = async move {
            let outcome = command.output().await;
            let outcome = outcome.and_then(|output| {
                let printed = parse(&output, SystemTime::now());
                printed.map_err(|reason| command.failed(reason))
            });
            turn.record(outcome.as_ref().err());
            let Printed { value, lifetime } = outcome?;
            *latest.lock() = Some((value.clone(), Validity::from_now(lifetime)));
            Ok(value)
        };
        finish(tokio::spawn(run.in_current_span())).await
    }

    fn current(&self) -> Option<(T, Age)> {
        let latest = self.latest.lock();
        let (value, validity) = latest.as_ref()?;
        Some((value.clone(), validity.age(SystemTime::now())))
    }
}

impl TokenCommand {
    /// Runs it to its end: all that it prints.
    pub(crate) async fn output(&self) -> Result<String, AuthError> {
        tracing::debug!(program = self.name(), "running it");
        let mut command = Command::new(executable::find(self.program.as_ref()));
        command
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let started = descriptors::retry(|| {
            std::future::ready(descriptors::with_original_limit(|| command.spawn()))
        });
        let mut child = started
            .await
            .map_err(|error| self.failed(format!("it cannot be started: {error}")))?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(self.failed("it has no output"));
        };
        let logged = tokio::spawn(log_stderr(self.name(), stderr).in_current_span());
        let ended = async {
            let output = read_output(stdout).await?;
            let status = child.wait().await.map_err(|error| error.to_string())?;
            Ok((output, status))
        };
        let ended = timeout(RUN_LIMIT, ended).await;
        let ended = ended.unwrap_or_else(|_| {
            let limit = RUN_LIMIT.as_secs();
            Err(format!("it did not end within {limit} s"))
        });
        let (output, status) = match ended {
            Ok(ended) => ended,
            Err(reason) => {
                let _ = child.kill().await;
                return Err(self.failed(reason));
            }
        };
        let last_line = match timeout(STDERR_LIMIT, logged).await {
            Ok(Ok(line)) => line,
            Ok(Err(_)) | Err(_) => None,
        };
        if !status.success() {
            return Err(self.failed(failure_reason(status, last_line, &output)));
        }
        Ok(output)
    }
}

/// All of what it prints, which must not be endless.
async fn read_output(stdout: impl AsyncRead + Unpin) -> Result<String, String> {
    let mut output = Vec::new();
    let most = u64::try_from(LARGEST_OUTPUT).unwrap_or(u64::MAX);
    let mut stdout = stdout.take(most + 1);
    let read = stdout.read_to_end(&mut output).await;
    read.map_err(|error| error.to_string())?;
    if output.len() > LARGEST_OUTPUT {
        return Err(format!("it printed more than {LARGEST_OUTPUT} bytes"));
    }
    String::from_utf8(output).map_err(|_| "it printed something that is no text".into())
}

/// Puts its stderr into our log, line by line: it may ask the person for something. The last line often says
/// what went wrong.
async fn log_stderr(program: String, stderr: impl AsyncRead + Unpin) -> Option<String> {
    let mut stderr = BufReader::new(stderr);
    let mut last = None;
    let mut count = 0;
    loop {
        let mut line = Vec::new();
        let read = (&mut stderr)
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)
            .await;
        if !matches!(read, Ok(length) if length > 0) {
            return last;
        }
        let line = shown(String::from_utf8_lossy(&line).trim());
        if line.is_empty() {
            continue;
        }
        count += 1;
        if count <= MOST_LINES {
            tracing::warn!("{program}: {line}");
        }
        last = Some(line);
    }
}

/// Reason of a failed run in its own words, without what it printed where the token belongs.
fn failure_reason(status: ExitStatus, last_line: Option<String>, output: &str) -> String {
    let Some(line) = last_line else {
        return format!("{status}");
    };
    let output = output.trim();
    if !output.is_empty() && line.contains(output) {
        return format!("{status}");
    }
    format!("{status}: {line}")
}

/// The members with which JSON says when it expires, the tool of Kubernetes and that of Azure among them.
const END: [&str; 4] = [
    "expires_at",
    "expiresAt",
    "expires_on",
    "expirationTimestamp",
];

/// All members that say when something expires.
pub(crate) const LIFETIME: [&str; 5] = [
    "expires_in",
    "expires_at",
    "expiresAt",
    "expires_on",
    "expirationTimestamp",
];

/// Lifetime that a JSON object tells; none if it tells none. `what` is what expires.
pub(crate) fn lifetime_in(
    object: &Map<String, Value>,
    what: &str,
    now: SystemTime,
) -> Result<Option<Duration>, String> {
    let end = END.iter().find_map(|name| object.get(*name));
    let lifetime = match (object.get("expires_in"), end) {
        (Some(seconds), _) => parse_number(seconds).map(Duration::try_from_secs_f64),
        (None, Some(end)) => {
            let now = unix_millis(now);
            #[expect(clippy::cast_precision_loss, reason = "milliseconds are enough")]
            parse_moment(end).map(|end| Duration::try_from_secs_f64(end - now as f64 / 1000.0))
        }
        (None, None) => return Ok(None),
    };
    match lifetime {
        Some(Ok(lifetime)) if lifetime >= SHORTEST_LIFETIME => Ok(Some(lifetime)),
        Some(Ok(_) | Err(_)) => Err(format!("{what} that it printed has already expired")),
        None => Err(format!(
            "the JSON that it printed does not say when {what} expires in a way that is understood"
        )),
    }
}

fn parse_number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
    .filter(|number: &f64| number.is_finite())
}

/// Seconds since 1970, from a number of seconds or milliseconds, or a date (RFC 3339).
fn parse_moment(value: &Value) -> Option<f64> {
    if let Some(number) = parse_number(value) {
        return Some(if number < FIRST_MILLIS {
            number
        } else {
            number / 1000.0
        });
    }
    let date = OffsetDateTime::parse(value.as_str()?.trim(), &Rfc3339).ok()?;
    #[expect(clippy::cast_precision_loss, reason = "seconds are enough")]
    Some(date.unix_timestamp() as f64)
}
