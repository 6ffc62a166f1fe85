//! Tokens printed by a program of the user's (`--auth-command`), like `kubectl` credential plugins. There is no
//! sign-in beside it, and nothing is stored.

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
use crate::flow::order::Wanted;
use crate::flow::policy::finish;
use crate::flow::sign_in_history::SignInHistory;
use crate::token::scope::Scopes;
use crate::token::{AccessToken, Age, TokenSet, unix_millis};
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

/// Shortest lifetime of a token. One that lives shorter has expired by the time that a request goes out.
const SHORTEST_LIFETIME: Duration = Duration::from_secs(1);

/// Numbers from here on are milliseconds since 1970; in seconds it would be the year 5138.
const FIRST_MILLIS: f64 = 1e11;

/// The token that the program printed last, and the turns in which it is run.
#[derive(Debug)]
pub(crate) struct CommandTokens {
    command: TokenCommand,
    tokens: Arc<Mutex<Option<TokenSet>>>,
    /// Held while the program runs.
    turn: Arc<tokio::sync::Mutex<SignInHistory>>,
}

impl CommandTokens {
    pub(crate) fn new(command: TokenCommand) -> Self {
        Self {
            command,
            tokens: Arc::default(),
            turn: Arc::default(),
        }
    }

    /// The token for the next request. Once it is about to end the program is run, and awaited for
    /// `patience`: if that brings nothing in time, the old token goes out.
    pub(crate) async fn token(&self, patience: Duration) -> Result<AccessToken, AuthError> {
        let Some((token, age)) = self.current() else {
            return self.run_or_share(Wanted::Fresh).await;
        };
        match age {
            Age::Fresh => Ok(token),
            Age::Stale => match timeout(patience, self.run_or_share(Wanted::Fresh)).await {
                Ok(Ok(token)) => Ok(token),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the token cannot be refreshed for now");
                    Ok(token)
                }
                Err(_) => Ok(token),
            },
        }
    }

    /// Gets another token after a refusal.
    pub(crate) async fn replace(&self, refused: Option<AccessToken>) -> Result<(), AuthError> {
        let wanted = Wanted::OtherThan(refused.clone());
        let token = self.run_or_share(wanted).await?;
        if refused.as_ref() == Some(&token) {
            return Err(self
                .command
                .failed("the server refuses the token that it prints"));
        }
        Ok(())
    }

    /// A token that somebody else got meanwhile, or the one of a run. All who wait share one run, and its
    /// failure.
    async fn run_or_share(&self, wanted: Wanted) -> Result<AccessToken, AuthError> {
        let arrived = Instant::now();
        let mut turn = Arc::clone(&self.turn).lock_owned().await;
        if let Some(error) = turn.failure_since(arrived) {
            return Err(error);
        }
        if let Some((token, age)) = self.current()
            && wanted.is_met_by(&token, age)
        {
            return Ok(token);
        }
        let (command, tokens) = (self.command.clone(), Arc::clone(&self.tokens));
        // In a task of its own: a request that is cancelled does not take the run from the others.
        let run = async move {
            let outcome = command.run().await;
            turn.record(outcome.as_ref().err());
            let printed = outcome?;
            let token = printed.access_token.clone();
            *tokens.lock() = Some(printed);
            Ok(token)
        };
        finish(tokio::spawn(run.in_current_span())).await
    }

    fn current(&self) -> Option<(AccessToken, Age)> {
        let tokens = self.tokens.lock();
        let tokens = tokens.as_ref()?;
        Some((tokens.access_token.clone(), tokens.age(SystemTime::now())))
    }
}

impl TokenCommand {
    async fn run(&self) -> Result<TokenSet, AuthError> {
        tracing::debug!(program = self.name(), "asking for a token");
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
        parse_output(&output, SystemTime::now()).map_err(|reason| self.failed(reason))
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

/// The token in what a program printed: the whole of it, or a member of a JSON object. A problem never
/// repeats it.
fn parse_output(output: &str, now: SystemTime) -> Result<TokenSet, String> {
    let text = output.trim();
    if text.is_empty() {
        return Err("it printed nothing".into());
    }
    let (token, lifetime) = match serde_json::from_str(text) {
        Ok(Value::Object(object)) => parse_object(object, now)?,
        Ok(Value::String(token)) => (token, None),
        Ok(_) | Err(_) => (text.to_owned(), None),
    };
    let token = AccessToken::new(token)
        .ok_or("it printed something that is no token: a single word or a JSON object is one")?;
    Ok(TokenSet::received(token, lifetime, Scopes::default()))
}

/// The names that programs give a token and its end, the tool of Kubernetes and that of Azure among them.
const TOKEN: [&str; 3] = ["token", "access_token", "accessToken"];
const END: [&str; 4] = [
    "expires_at",
    "expiresAt",
    "expires_on",
    "expirationTimestamp",
];

fn parse_object(
    object: Map<String, Value>,
    now: SystemTime,
) -> Result<(String, Option<Duration>), String> {
    // `client.authentication.k8s.io`, `ExecCredential`
    let object = match object.get("status") {
        Some(Value::Object(status)) => status.clone(),
        _ => object,
    };
    let token = TOKEN.iter().find_map(|name| object.get(*name)?.as_str());
    let token = token.ok_or("the JSON that it printed has no member token")?;
    let end = END.iter().find_map(|name| object.get(*name));
    let lifetime = match (object.get("expires_in"), end) {
        (Some(seconds), _) => parse_number(seconds).map(Duration::try_from_secs_f64),
        (None, Some(end)) => {
            let now = unix_millis(now);
            #[expect(clippy::cast_precision_loss, reason = "milliseconds are enough")]
            parse_moment(end).map(|end| Duration::try_from_secs_f64(end - now as f64 / 1000.0))
        }
        (None, None) => return Ok((token.to_owned(), None)),
    };
    match lifetime {
        Some(Ok(lifetime)) if lifetime >= SHORTEST_LIFETIME => {
            Ok((token.to_owned(), Some(lifetime)))
        }
        Some(Ok(_) | Err(_)) => Err("the token that it printed has already expired".into()),
        None => Err(
            "the JSON that it printed does not say when the token expires in a way that \
                     is understood"
                .into(),
        ),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_printed_alone_or_as_json() {
        // 2026-01-01T00:00:00Z
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        let check = |output: &str, lifetime: Option<u64>| {
            let tokens = parse_output(output, now).unwrap();
            assert_eq!(tokens.access_token.expose(), "t0k", "{output}");
            assert_eq!(tokens.lifetime, lifetime, "{output}");
        };
        check("t0k\n", None);
        check("\"t0k\"\n", None);
        check(r#"{"token":"t0k"}"#, None);
        check(
            r#"{"access_token":"t0k","expires_in":3600,"scope":"x"}"#,
            Some(3600),
        );
        check(r#"{"access_token":"t0k","expires_in":"60"}"#, Some(60));
        check(r#"{"token":"t0k","expires_at":1767225660}"#, Some(60));
        check(r#"{"token":"t0k","expires_at":1767225660000}"#, Some(60));
        check(
            r#"{"token":"t0k","expires_at":"2026-01-01T02:01:00+02:00"}"#,
            Some(60),
        );
        check(
            r#"{"accessToken":"t0k","expiresOn":"2026-01-01 01:00","expires_on":1767225601}"#,
            Some(1),
        );
        check(
            r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","spec":{},
                "status":{"token":"t0k","expirationTimestamp":"2026-01-01T00:00:10Z"}}"#,
            Some(10),
        );
    }

    #[test]
    fn what_is_no_token_is_refused_without_being_repeated() {
        let now = SystemTime::now();
        for output in [
            "",
            "  \n",
            "hunter2 and more",
            r#"{"password":"hunter2"}"#,
            r#"{"token":"hunter2","expires_at":"2001-01-01T00:00:00Z"}"#,
            r#"{"token":"hunter2","expires_at":"soon"}"#,
            r#"{"token":"hunter2","expires_in":0}"#,
            r#"{"token":"hun ter2"}"#,
        ] {
            let problem = parse_output(output, now).unwrap_err();
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }
}
