//! Test runner for the transcripts in `tests/transcripts` of this crate, whose README describes the format.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::downgrade::{ModernClient, Standalone};
use super::request_meta::{CLIENT_CAPABILITIES, CLIENT_INFO, PROTOCOL_VERSION};
use super::{
    Action, Downgrade, ExchangeFailure, MODERN_VERSION, OpenError, Prospect, Timer, Upgrade,
};
use crate::message::{Message, RequestId};
use mcp_bridge_testkit::script::{self, Names, Player};

const HOST: &str = "mcp.example.com";

#[test]
fn a_legacy_app_and_a_modern_server_talk_as_the_transcripts_say() {
    run_all("upgrade", || Pair::Upgrade(None));
}

#[test]
fn a_modern_app_and_a_legacy_server_talk_as_the_transcripts_say() {
    run_all("downgrade", || Pair::Downgrade(None));
}

fn run_all(direction: &str, pair: impl Fn() -> Pair) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/transcripts")
        .join(direction);
    script::play_folder(&folder, || Run::new(pair()));
}

/// The translation under test, once it is open.
#[expect(clippy::large_enum_variant, reason = "there are few of them, in tests")]
enum Pair {
    Upgrade(Option<Upgrade>),
    Downgrade(Option<Downgrade>),
}

/// A transcript while it is played.
struct Run {
    pair: Pair,
    /// Meaning of `"$name"`.
    names: Names,
    timers: BTreeMap<String, Timer>,
    /// Actions that the transcript has not mentioned yet.
    actions: Vec<Action>,
    /// The app's first message, until the server has answered the handshake.
    first: Option<Message>,
}

impl Player for Run {
    fn line(&mut self, line: &str) -> Result<(), String> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let takes_in = matches!(
            word,
            "app>" | "server<" | "failed" | "timer" | "standalone" | "new" | "close"
        ) || word.starts_with("server[");
        if takes_in {
            self.nothing_left()?;
        }
        match word {
            "let" => self.names.play_let(rest),
            "opened" => self.opened(&self.names.json(rest)?),
            "app>" => {
                self.on_app_message(&self.message(rest)?);
                Ok(())
            }
            "server<" => self.on_server_message(&self.message(rest)?, None),
            "failed" => self.fail(rest),
            "timer" => {
                let timer = *self.timers.get(rest).ok_or("no such timer was asked for")?;
                self.actions = match &mut self.pair {
                    Pair::Upgrade(Some(upgrade)) => upgrade.on_timer(timer),
                    Pair::Downgrade(Some(downgrade)) => downgrade.on_timer(timer),
                    _ => return Err("not open".to_owned()),
                };
                Ok(())
            }
            "standalone" | "new" => self.session(line),
            "close" => {
                self.actions = match &mut self.pair {
                    Pair::Upgrade(Some(upgrade)) => upgrade.close(),
                    Pair::Downgrade(Some(downgrade)) => downgrade.close(),
                    _ => return Err("not open".to_owned()),
                };
                Ok(())
            }
            "app<" | "fail" | "server>" | "abort" | "after" | "after-about" | "era" => {
                self.expect(word, rest)
            }
            _ => {
                let stream = word
                    .strip_prefix("server[")
                    .and_then(|word| word.strip_suffix("]<"));
                let stream = self.names.json(stream.ok_or("no such word")?)?;
                self.on_server_message(&self.message(rest)?, Some(&id(&stream)?))
            }
        }
    }

    fn left(&self) -> Vec<String> {
        self.actions.iter().map(told).collect()
    }
}

impl Run {
    fn new(pair: Pair) -> Self {
        Self {
            pair,
            names: Names::default(),
            timers: BTreeMap::new(),
            actions: Vec::new(),
            first: None,
        }
    }

    /// A handshake that went well, with what matters of it.
    fn opened(&mut self, with: &Value) -> Result<(), String> {
        let client = json!({ "name": "app", "version": "1" });
        let capabilities = with.get("app").cloned().unwrap_or_else(|| json!({}));
        let server = with.get("server").cloned().unwrap_or_else(|| json!({}));
        let version = with
            .get("version")
            .cloned()
            .unwrap_or_else(|| json!("2025-11-25"));
        let meta = json!({
            PROTOCOL_VERSION: MODERN_VERSION,
            CLIENT_INFO: client,
            CLIENT_CAPABILITIES: capabilities,
        });
        self.names.set("meta", meta.clone());
        match &mut self.pair {
            Pair::Upgrade(upgrade) => {
                let initialize = parse(&json!({ "id": "init", "method": "initialize", "params": {
                    "protocolVersion": version, "capabilities": capabilities, "clientInfo": client,
                } }))?;
                let discovered = parse(&json!({ "id": "discover", "result": {
                    "resultType": "complete", "supportedVersions": [MODERN_VERSION],
                    "capabilities": server, "ttlMs": 0, "cacheScope": "private",
                } }))?;
                let opened = Upgrade::open(&initialize, &discovered, HOST);
                *upgrade = Some(opened.map_err(|error| error.to_string())?.0);
            }
            Pair::Downgrade(downgrade) => {
                let first = parse(&json!({ "id": 0, "method": "x", "params": { "_meta": meta } }))?;
                let initialized = parse(&json!({ "id": "initialize", "result": {
                    "protocolVersion": version, "capabilities": server,
                    "serverInfo": { "name": "server", "version": "1" },
                } }))?;
                let opened =
                    Downgrade::open(&ModernClient::from_request(&first), &initialized, HOST);
                *downgrade = Some(opened.ok_or("not opened")?.0);
            }
        }
        Ok(())
    }

    fn on_app_message(&mut self, message: &Message) {
        self.actions = match &mut self.pair {
            Pair::Upgrade(Some(upgrade)) => upgrade.on_app_message(message),
            Pair::Downgrade(Some(downgrade)) => downgrade.on_app_message(message),
            Pair::Upgrade(None) => {
                self.first = Some(message.clone());
                let id = RequestId::from_string("discover");
                vec![Action::Request(Upgrade::discover_request(message, &id))]
            }
            Pair::Downgrade(None) => {
                self.first = Some(message.clone());
                let id = RequestId::from_string("initialize");
                vec![Action::Request(
                    ModernClient::from_request(message).initialize_request(&id),
                )]
            }
        };
    }

    fn on_server_message(
        &mut self,
        message: &Message,
        stream: Option<&RequestId>,
    ) -> Result<(), String> {
        self.actions = match &mut self.pair {
            Pair::Upgrade(Some(upgrade)) => upgrade.on_server_message(message, stream),
            Pair::Downgrade(Some(downgrade)) => downgrade.on_server_message(message, stream),
            Pair::Upgrade(unopened) => {
                let first = self.first.take().ok_or("not open")?;
                let (upgrade, response) = Upgrade::open(&first, message, HOST)
                    .map_err(|error: OpenError| error.to_string())?;
                *unopened = Some(upgrade);
                vec![Action::ToApp(response)]
            }
            Pair::Downgrade(unopened) => {
                let first = self.first.take().ok_or("not open")?;
                let (downgrade, actions) =
                    Downgrade::open(&ModernClient::from_request(&first), message, HOST)
                        .ok_or("not opened")?;
                *unopened = Some(downgrade);
                actions
            }
        };
        Ok(())
    }

    /// An exchange fails: for a moment, for a while or for good.
    fn fail(&mut self, rest: &str) -> Result<(), String> {
        let (exchange, prospect) = rest.rsplit_once(' ').ok_or("failed ID PROSPECT")?;
        let exchange = id(&self.names.json(exchange)?)?;
        let failure = ExchangeFailure {
            prospect: match prospect {
                "broken" => Prospect::Broken,
                "passing" => Prospect::MayPass,
                "final" => Prospect::Final,
                _ => return Err("broken, passing or final".to_owned()),
            },
            text: "the reason".to_owned(),
            cause: std::sync::Arc::new(std::fmt::Error),
        };
        self.actions = match &mut self.pair {
            Pair::Upgrade(Some(upgrade)) => upgrade.on_failure(&exchange, &failure),
            Pair::Downgrade(Some(downgrade)) => downgrade.on_failure(&exchange, &failure),
            _ => return Err("not open".to_owned()),
        };
        Ok(())
    }

    fn session(&mut self, line: &str) -> Result<(), String> {
        let Pair::Downgrade(Some(downgrade)) = &mut self.pair else {
            return Err("no session".to_owned());
        };
        self.actions = match line {
            "standalone open" => downgrade.on_standalone(Standalone::Open),
            "standalone refused" => downgrade.on_standalone(Standalone::Refused),
            "new session" => downgrade.on_new_session(),
            _ => return Err("no such words".to_owned()),
        };
        Ok(())
    }

    fn expect(&mut self, word: &str, rest: &str) -> Result<(), String> {
        if self.actions.is_empty() {
            return Err("  but nothing is to be done".to_owned());
        }
        let action = self.actions.remove(0);
        let differs = || format!("  but it is:  {}", told(&action));
        let holds = match (&action, word) {
            (Action::ToApp(message), "app<")
            | (Action::Request(message) | Action::Notify(message), "server>") => {
                self.names.matches_message(rest, message.text())?
            }
            (Action::Abort(id), "abort") | (Action::Fail(id, _), "fail") => {
                let actual =
                    serde_json::from_str(id.as_json()).map_err(|error| error.to_string())?;
                let expected = self.names.json(rest)?;
                self.names.matches(&expected, &actual)
            }
            (Action::After(wait, timer), "after")
            | (Action::AfterAbout(wait, timer), "after-about") => {
                let (time, name) = rest.split_once(' ').ok_or("after TIME NAME")?;
                self.timers.insert(name.to_owned(), *timer);
                time == written(*wait)
            }
            (Action::EraOver, "era") => rest == "over",
            _ => false,
        };
        if holds { Ok(()) } else { Err(differs()) }
    }

    fn message(&self, json: &str) -> Result<Message, String> {
        parse(&self.names.json(json)?)
    }
}

fn parse(value: &Value) -> Result<Message, String> {
    let mut value = value.clone();
    let object = value.as_object_mut().ok_or("not an object")?;
    object.insert("jsonrpc".to_owned(), json!("2.0"));
    Message::parse(&Bytes::from(value.to_string())).map_err(|error| error.to_string())
}

fn id(value: &Value) -> Result<RequestId, String> {
    RequestId::from_json(&value.to_string()).ok_or_else(|| format!("not an id: {value}"))
}

fn written(wait: Duration) -> String {
    if wait.subsec_millis() == 0 {
        format!("{}s", wait.as_secs())
    } else {
        format!("{}ms", wait.as_millis())
    }
}

fn told(action: &Action) -> String {
    let text = |message: &Message| String::from_utf8_lossy(message.text()).into_owned();
    match action {
        Action::ToApp(message) => format!("app< {}", text(message)),
        Action::Request(message) | Action::Notify(message) => format!("server> {}", text(message)),
        Action::Fail(id, _) => format!("fail {id}"),
        Action::Abort(id) => format!("abort {id}"),
        Action::After(wait, _) => format!("after {}", written(*wait)),
        Action::AfterAbout(wait, _) => format!("after-about {}", written(*wait)),
        Action::EraOver => "era over".to_owned(),
    }
}
