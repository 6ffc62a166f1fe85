//! The bridge of an entry, started as the app starts it, and the first messages of an app.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::commands::client::request;
use crate::commands::doctor::check::{Check, CheckName};
use crate::commands::doctor::report::Report;
use crate::commands::install::mask::Mask;
use mcp_bridge_protocol::message::Message;

/// Flags for a bridge that is only examined: no page opens, and no helper stays behind.
const HARMLESS: [&str; 2] = ["--no-browser", "--no-linger"];

/// Limit of one answer. A list waits for a sign-in or a server for 25 s.
const ANSWER_LIMIT: Duration = Duration::from_secs(40);

/// Limit of the end after the end of input, which takes milliseconds.
const END_LIMIT: Duration = Duration::from_secs(5);

/// Bytes that are kept of stderr.
const LONGEST_ERRORS: u64 = 64 << 10;

/// The entry, ready to be started.
pub(super) struct StartedEntry<'a> {
    /// The program.
    pub(super) file: &'a Path,
    /// All arguments of the entry.
    pub(super) arguments: &'a [String],
    /// Those for the bridge.
    pub(super) of_bridge: &'a [String],
    pub(super) variables: &'a BTreeMap<OsString, OsString>,
    pub(super) mask: &'a Mask,
}

/// The process, as the app sees it.
struct Conversation {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    errors: JoinHandle<String>,
}

/// Reason why no answer came.
enum NoAnswer {
    /// The program has closed its output.
    Ended,
    /// Something on stdout is no message.
    NotAMessage(String),
    Late,
}

/// Starts the entry, and says what an app says first.
pub(super) async fn examine(report: &mut Report<'_>, entry: &StartedEntry<'_>) {
    let mut conversation = match start(entry) {
        Ok(conversation) => conversation,
        Err(error) => {
            let found = format!("{} cannot be started: {error}", entry.file.display());
            report.add(Check::failed(CheckName::Start, found).fix("reinstall the program"));
            return;
        }
    };
    report.add(Check::passed(CheckName::Start, "started"));
    let greeting = conversation.ask(&request::bare_initialize()).await;
    let greeting = match greeting {
        Ok(answer) => answer,
        Err(reason) => {
            let check = conversation
                .failed(CheckName::Initialize, reason, entry)
                .await;
            report.add(check);
            return;
        }
    };
    report.add(initialized(&greeting));
    conversation.tell(request::initialized().text()).await;
    for (name, method) in [
        (CheckName::Ping, "ping"),
        (CheckName::ListTools, "tools/list"),
    ] {
        let check = match conversation.ask(&request::legacy(method)).await {
            Ok(answer) if name == CheckName::Ping => pong(&answer),
            Ok(answer) => tools(&answer, entry),
            Err(reason) => {
                let check = conversation.failed(name, reason, entry).await;
                report.add(check);
                return;
            }
        };
        report.add(check);
    }
    conversation.end().await;
}

fn start(entry: &StartedEntry<'_>) -> std::io::Result<Conversation> {
    let mut child = Command::new(entry.file)
        .args(entry.arguments)
        .args(HARMLESS)
        .env_clear()
        .envs(entry.variables)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let missing = || std::io::Error::other("no pipe");
    let input = child.stdin.take().ok_or_else(missing)?;
    let output = child.stdout.take().ok_or_else(missing)?;
    let errors = child.stderr.take().ok_or_else(missing)?;
    let errors = tokio::spawn(async move {
        let mut text = Vec::new();
        let mut kept = errors.take(LONGEST_ERRORS);
        let _ = kept.read_to_end(&mut text).await;
        // The rest is read, so that the program is not kept waiting.
        let _ = tokio::io::copy(&mut kept.into_inner(), &mut tokio::io::sink()).await;
        String::from_utf8_lossy(&text).into_owned()
    });
    Ok(Conversation {
        child,
        input,
        output: BufReader::new(output).lines(),
        errors,
    })
}

impl Conversation {
    /// Sends a message. A program that does not read any more gives no answer either.
    async fn tell(&mut self, message: &[u8]) {
        let _ = self.input.write_all(message).await;
        let _ = self.input.write_all(b"\n").await;
        let _ = self.input.flush().await;
    }

    /// Sends a request, and waits for its response.
    async fn ask(&mut self, request: &Message) -> Result<Value, NoAnswer> {
        let sent: Value = serde_json::from_slice(request.text()).unwrap_or_default();
        self.tell(request.text()).await;
        let answer = timeout(ANSWER_LIMIT, self.answer_to(&sent["id"])).await;
        answer.unwrap_or(Err(NoAnswer::Late))
    }

    async fn answer_to(&mut self, id: &Value) -> Result<Value, NoAnswer> {
        loop {
            let line = self.output.next_line().await;
            let Some(line) = line.ok().flatten() else {
                return Err(NoAnswer::Ended);
            };
            let message: Value = serde_json::from_str(&line).unwrap_or_default();
            if message["jsonrpc"] != "2.0" {
                return Err(NoAnswer::NotAMessage(line));
            }
            let is_question = message.get("method").is_some() && message.get("id").is_some();
            if is_question {
                let refusal = json!({
                    "jsonrpc": "2.0", "id": message["id"],
                    "error": { "code": -32601, "message": "not supported" },
                });
                self.tell(refusal.to_string().as_bytes()).await;
            } else if message["id"] == *id && message.get("method").is_none() {
                return Ok(message);
            }
        }
    }

    /// The check that got no answer, with what the program says about it.
    async fn failed(self, name: CheckName, reason: NoAnswer, entry: &StartedEntry<'_>) -> Check {
        match reason {
            NoAnswer::Late => {
                let limit = ANSWER_LIMIT.as_secs();
                Check::failed(name, format!("no answer within {limit} s"))
                    .fix(format!("{} looks at the server", doctor(entry.of_bridge)))
            }
            NoAnswer::NotAMessage(line) => {
                let found = format!("the program prints on stdout what is no message: {line}");
                Check::failed(name, entry.mask.apply(&found)).fix(
                    "the command has to print messages alone: a launcher needs its quiet option, another program \
                     does not belong there",
                )
            }
            NoAnswer::Ended => {
                let (status, errors) = self.end().await;
                let (error, hint) = last_words(&errors);
                let error = error.unwrap_or("it says nothing about it");
                let check = Check::failed(
                    name,
                    entry
                        .mask
                        .apply(&format!("the program has ended ({status}): {error}")),
                );
                let fix = hint.unwrap_or("run the command of the entry in a terminal");
                check.fix(entry.mask.apply(fix))
            }
        }
    }

    /// Ends the input and waits for the end. Returns the exit status and what stands on stderr.
    async fn end(self) -> (String, String) {
        let Self {
            mut child,
            input,
            output,
            errors,
        } = self;
        drop((input, output));
        let ended = timeout(END_LIMIT, child.wait()).await;
        if ended.is_err() {
            let _ = child.kill().await;
        }
        let status = match ended {
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "killed".to_owned(),
        };
        let errors = timeout(END_LIMIT, errors).await;
        (status, errors.ok().and_then(Result::ok).unwrap_or_default())
    }
}

/// The error and the hint among the lines of stderr.
fn last_words(errors: &str) -> (Option<&str>, Option<&str>) {
    let mut lines = errors
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let error = lines
        .clone()
        .find_map(|line| line.strip_prefix("error: "))
        .or_else(|| lines.next_back());
    let mut lines = errors.lines().map(str::trim);
    (error, lines.find_map(|line| line.strip_prefix("hint: ")))
}

fn initialized(answer: &Value) -> Check {
    let info = &answer["result"]["serverInfo"];
    if let Some(error) = answer["error"]["message"].as_str() {
        return Check::failed(CheckName::Initialize, error);
    }
    let name = info["title"].as_str().or(info["name"].as_str());
    let version = answer["result"]["protocolVersion"].as_str();
    let (name, version) = (name.unwrap_or("a server"), version.unwrap_or("no version"));
    Check::passed(CheckName::Initialize, format!("{name}, MCP {version}"))
}

fn pong(answer: &Value) -> Check {
    match answer["error"]["message"].as_str() {
        None => Check::passed(CheckName::Ping, "answered"),
        Some(error) => Check::warning(CheckName::Ping, error),
    }
}

fn tools(answer: &Value, entry: &StartedEntry<'_>) -> Check {
    let name = CheckName::ListTools;
    if let Some(error) = answer["error"]["message"].as_str() {
        let fix = answer["error"]["data"]["hint"].as_str();
        let fix = fix.map_or_else(|| doctor(entry.of_bridge), str::to_owned);
        return Check::failed(name, entry.mask.apply(error)).fix(entry.mask.apply(&fix));
    }
    let Some(tools) = answer["result"]["tools"].as_array() else {
        return Check::failed(name, "the answer has no list of tools");
    };
    let has = |tool: &str| tools.iter().any(|it| it["name"] == tool);
    if has("sign_in") {
        let fix = command("login", entry.of_bridge);
        return Check::warning(name, "you are not signed in").fix(fix);
    }
    if has("connection_status") {
        return Check::failed(name, "the server cannot be used").fix(doctor(entry.of_bridge));
    }
    match tools.len() {
        0 => Check::warning(name, "the list is empty").fix(doctor(entry.of_bridge)),
        1 => Check::passed(name, "1 tool"),
        count => Check::passed(name, format!("{count} tools")),
    }
}

/// The command that looks at the server.
fn doctor(of_bridge: &[String]) -> String {
    command("doctor", of_bridge)
}

/// A command for the server of the entry, without what may be secret.
fn command(name: &str, of_bridge: &[String]) -> String {
    let url = of_bridge.iter().find(|word| word.contains("://"));
    let url = url.map_or("URL", |url| url.split('?').next().unwrap_or_default());
    let mut profiles = of_bridge.windows(2).filter(|pair| pair[0] == "--profile");
    match profiles.next() {
        Some(pair) => format!("mcp-bridge {name} {url} --profile {}", pair[1]),
        None => format!("mcp-bridge {name} {url}"),
    }
}
