//! Test runner for the transcripts in `tests/transcripts` of this crate, whose README describes the format.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::action::{Action, Flight, LinkId, Timer};
use super::list::List;
use super::provisional_initialize::Answers;
use super::remembered_lists::ListForm;
use super::reply::FailedRequest;
use super::router::Router;
use super::{Access, Answering, Config, Input, ToolFilter};
use crate::endpoint::{
    self, ConnectCause, Event, Failure, Listening, LostSubscription, Outcome, Phase,
};
use mcp_bridge_auth::{SignInPage, SignInStage};
use mcp_bridge_protocol::message::{Kind, Message, RequestId};
use mcp_bridge_testkit::script::{self, Names, Player};

const URL: &str = "https://mcp.example.com/mcp";

/// Time that a request waits for a sign-in or a server in the transcripts.
const PATIENCE: Duration = Duration::from_secs(45);

#[test]
fn the_bridge_decides_as_the_transcripts_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    for folder in script::entries(&root).iter().filter(|path| path.is_dir()) {
        script::play_folder(folder, RouterRun::new);
    }
}

/// A transcript while it is played.
struct RouterRun {
    config: Config,
    router: Option<Router>,
    now: Instant,
    sign_in: SignInStage,
    /// Meaning of `"$name"`.
    names: Names,
    /// Timers that were asked for, with the moments at which they run out.
    timers: BTreeMap<String, (Instant, Timer)>,
    /// Requests that were sent to the server, by their ids.
    flights: BTreeMap<String, (LinkId, Arc<Flight>)>,
    links: BTreeMap<String, LinkId>,
    /// The form of the lists that were asked for.
    recalled: Option<ListForm>,
    /// Actions that the transcript has not mentioned yet.
    actions: Vec<Action>,
}

impl Player for RouterRun {
    fn line(&mut self, line: &str) -> Result<(), String> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if self.expect(word, rest)? {
            return Ok(());
        }
        self.nothing_left()?;
        match word {
            "let" => self.names.play_let(rest)?,
            "config" => self.configure(&self.names.json(rest)?)?,
            "wait" => self.now += time(rest)?,
            "phase" => self.enter_phase(rest)?,
            "sign-in" => {
                self.sign_in = match rest {
                    "done" => SignInStage::Done,
                    "failed" => SignInStage::None,
                    url => {
                        SignInStage::Page(SignInPage::whole(url.parse().map_err(|_| "not a URL")?))
                    }
                };
                self.step(Router::on_sign_in_stage);
            }
            "app>" => {
                let message = self.message(rest)?;
                self.step(|router| router.on_message(message));
            }
            "timer" => {
                let (due, timer) = self.timers.remove(rest).ok_or("no such timer")?;
                self.now = self.now.max(due);
                self.step(|router| router.on_timer(timer));
            }
            "recalled" => {
                let answers = Answers::parse(self.names.json(rest)?.to_string().as_bytes());
                self.step(|router| router.on_answers(&answers));
            }
            "lists" => {
                let lists = self.names.json(rest)?;
                let lists = List::ALL.into_iter().filter_map(|list| {
                    lists.get(list.member())?;
                    Some((list, lists.to_string()))
                });
                let form = self.recalled.take().ok_or("nothing was asked for")?;
                let lists = lists.collect();
                self.step(|router| router.on_lists(form, lists));
            }
            "stop" => self.step(Router::stop),
            "give-up" => self.step(Router::give_up),
            _ => self.server(word, rest)?,
        }
        Ok(())
    }

    fn left(&self) -> Vec<String> {
        self.actions.iter().map(|it| self.describe(it)).collect()
    }
}

impl RouterRun {
    fn new() -> Self {
        let url = URL.parse().expect("a URL");
        Self {
            config: Config {
                answering: Answering::AtOnce {
                    patience: PATIENCE,
                    list_wait: None,
                },
                ..Config::new(endpoint::EndpointConfig::new(url))
            },
            router: None,
            now: Instant::now(),
            sign_in: SignInStage::None,
            names: Names::default(),
            timers: BTreeMap::new(),
            flights: BTreeMap::new(),
            links: BTreeMap::from([("main".to_owned(), LinkId::MAIN)]),
            recalled: None,
            actions: Vec::new(),
        }
    }

    /// A line about the server.
    fn server(&mut self, word: &str, rest: &str) -> Result<(), String> {
        let (word, bracket) = match word.split_once('[') {
            Some((start, end)) => (start, Some(end.split(']').next().unwrap_or_default())),
            None => (word.trim_end_matches('<'), None),
        };
        if word == "server" {
            let message = self.message(rest)?;
            return self.message_of_server(bracket, message);
        }
        if word == "listening" {
            let listening = match rest {
                "open" => Listening::Open,
                "refused" => Listening::Refused,
                _ => return Err("open or refused".to_owned()),
            };
            self.step(|router| router.on_server(LinkId::MAIN, Event::Listening(listening)));
            return Ok(());
        }
        let (id, what) = rest.split_once(' ').unwrap_or((rest, ""));
        let outcome = match word {
            "failed" => Outcome::Failed(failure(what)?),
            "lost" => {
                let (kind, events) = what.split_once(' ').unwrap_or((what, ""));
                Outcome::SubscriptionLost(LostSubscription {
                    failure: failure(kind)?,
                    brought_events: events == "after-events",
                })
            }
            "legacy-only" => Outcome::LegacyOnly,
            "modern-only" => Outcome::ModernOnly(self.message(what)?),
            "other-version" => Outcome::OtherVersion(self.message(what)?),
            _ => return Err("no such word".to_owned()),
        };
        self.outcome(id, outcome)
    }

    /// A response ends its request; anything else comes on the stream of a request or on the server's own.
    fn message_of_server(&mut self, stream: Option<&str>, message: Message) -> Result<(), String> {
        if let (Kind::Response { id: Some(id) }, None) = (message.kind(), stream) {
            let id = id.as_json().to_owned();
            return self.outcome(&id, Outcome::Response(message));
        }
        let link = match stream {
            Some(stream) => self.flights.get(stream).map(|(link, _)| *link),
            None => Some(LinkId::MAIN),
        };
        let exchange = stream.and_then(RequestId::from_json);
        let event = Event::Message {
            message,
            generation: 1,
            exchange,
        };
        let link = link.ok_or("no such request")?;
        self.step(|router| router.on_server(link, event));
        Ok(())
    }

    fn outcome(&mut self, id: &str, outcome: Outcome) -> Result<(), String> {
        let (link, _) = self.flights.remove(id).ok_or("no such request")?;
        let id = RequestId::from_json(id).ok_or("not an id")?;
        self.step(|router| router.on_server(link, Event::Outcome { id, outcome }));
        Ok(())
    }

    /// Lets the router take an event.
    fn step(&mut self, event: impl FnOnce(&mut Router)) {
        let config = &self.config;
        let (now, sign_in) = (self.now, self.sign_in.clone());
        let router = self.router.get_or_insert_with(|| Router::new(config));
        router.outbox().observe(|facts| {
            facts.now = now;
            facts.sign_in = sign_in;
        });
        event(router);
        self.actions = router.outbox().take(Vec::new());
    }

    fn configure(&mut self, with: &Value) -> Result<(), String> {
        for (name, value) in with.as_object().ok_or("not an object")? {
            let text = value.as_str().unwrap_or_default();
            match (name.as_str(), text) {
                ("answering", "after-server") => self.config.answering = Answering::AfterServer,
                ("input", "terminal") => self.config.input = Input::Terminal,
                ("pages", "pass") => self.config.list_pages = super::ListPages::Pass,
                ("ignore" | "allow" | "access", _) => {
                    let tools = self.config.tools.get_or_insert(ToolFilter {
                        ignored: Vec::new(),
                        allowed: Vec::new(),
                        access: Access::Any,
                    });
                    match (name.as_str(), text.parse()) {
                        ("ignore", Ok(glob)) => tools.ignored.push(glob),
                        ("allow", Ok(glob)) => tools.allowed.push(glob),
                        _ => tools.access = Access::ReadOnly,
                    }
                }
                _ => return Err(format!("no such setting: {name}")),
            }
        }
        Ok(())
    }

    fn enter_phase(&self, rest: &str) -> Result<(), String> {
        let (id, phase) = rest.split_once(' ').ok_or("phase ID PHASE")?;
        let (_, flight) = self.flights.get(id).ok_or("no such request")?;
        flight.track.enter(match phase {
            "sent" => Phase::Sent,
            "signing-in" => Phase::SigningIn,
            "unreachable" => {
                flight.track.connection_failed();
                Phase::Unreachable
            }
            _ => return Err("no such phase".to_owned()),
        });
        Ok(())
    }

    /// Compares a line that mentions an action. False if it is none.
    fn expect(&mut self, word: &str, rest: &str) -> Result<bool, String> {
        let names_an_action = matches!(
            word,
            "app<"
                | "abort"
                | "abort-later"
                | "after"
                | "after-about"
                | "recall"
                | "keep"
                | "era"
                | "link"
        ) || word.starts_with("server>")
            || word.starts_with("server[") && word.ends_with("]>");
        if !names_an_action {
            return Ok(false);
        }
        if self.actions.is_empty() {
            return Err("  but nothing is to be done".to_owned());
        }
        let action = self.actions.remove(0);
        let described = self.describe(&action);
        if self.is_as_expected(action, word, rest)? {
            Ok(true)
        } else {
            Err(format!("  but it is:  {described}"))
        }
    }

    fn is_as_expected(&mut self, action: Action, word: &str, rest: &str) -> Result<bool, String> {
        let link = word
            .strip_prefix("server[")
            .and_then(|word| word.strip_suffix("]>"));
        let link = self.links.get(link.unwrap_or("main")).copied();
        Ok(match (action, word) {
            (Action::ToApp(message), "app<") => self.names.matches_message(rest, message.text())?,
            (Action::Fail(failed), "app<") => {
                self.names.matches_message(rest, rendered(&failed).text())?
            }
            (Action::Request(on, outgoing), _) if word.starts_with("server") => {
                let id = outgoing.request.id().as_json().to_owned();
                self.flights.insert(id, (on, outgoing.flight));
                link == Some(on)
                    && self
                        .names
                        .matches_message(rest, outgoing.request.message().text())?
            }
            (Action::Notify(on, message, _), _) if word.starts_with("server") => {
                link == Some(on) && self.names.matches_message(rest, message.text())?
            }
            (Action::Abort(flight), "abort") | (Action::AbortAfter(_, flight), "abort-later") => {
                self.id_of(&flight) == rest
            }
            (Action::After(wait, timer) | Action::AfterWritten(wait, timer), "after")
            | (Action::AfterAbout(wait, timer), "after-about") => {
                let (expected, name) = rest.split_once(' ').ok_or("after TIME NAME")?;
                self.timers
                    .insert(name.to_owned(), (self.now + wait, timer));
                time(expected)? == wait
            }
            (Action::OpenLink(id), "link") => {
                self.links.insert(rest.to_owned(), id);
                true
            }
            (Action::RecallAnswers, "recall") => rest == "answers",
            (Action::RecallLists(form), "recall") => {
                self.recalled = Some(form);
                rest == "lists"
            }
            (Action::KeepAnswer(..), "keep") => rest == "answer",
            (Action::KeepList(..), "keep") => rest == "list",
            (Action::EraOver, "era") => rest == "over",
            _ => false,
        })
    }

    fn id_of(&self, flight: &Arc<Flight>) -> &str {
        let mut flights = self.flights.iter();
        let found = flights.find(|(_, (_, known))| Arc::ptr_eq(known, flight));
        found.map_or("unknown", |(id, _)| id)
    }

    fn message(&self, json: &str) -> Result<Message, String> {
        let mut value = self.names.json(json)?;
        let object = value.as_object_mut().ok_or("not an object")?;
        object.insert("jsonrpc".to_owned(), json!("2.0"));
        Message::parse(&Bytes::from(value.to_string())).map_err(|error| error.to_string())
    }

    fn describe(&self, action: &Action) -> String {
        let text = |message: &Message| String::from_utf8_lossy(message.text()).into_owned();
        match action {
            Action::ToApp(message) => format!("app< {}", text(message)),
            Action::Fail(failed) => format!("app< {}", text(&rendered(failed))),
            Action::Request(link, outgoing) => {
                format!("server> {} ({link:?})", text(outgoing.request.message()))
            }
            Action::Notify(link, message, _) => format!("server> {} ({link:?})", text(message)),
            Action::Abort(flight) => format!("abort {}", self.id_of(flight)),
            Action::AbortAfter(_, flight) => format!("abort-later {}", self.id_of(flight)),
            Action::After(wait, timer) | Action::AfterWritten(wait, timer) => {
                format!("after {wait:?} {timer:?}")
            }
            Action::AfterAbout(wait, timer) => format!("after-about {wait:?} {timer:?}"),
            Action::OpenLink(_) => "link NAME".to_owned(),
            Action::RecallAnswers => "recall answers".to_owned(),
            Action::RecallLists(_) => "recall lists".to_owned(),
            Action::KeepAnswer(..) => "keep answer".to_owned(),
            Action::KeepList(..) => "keep list".to_owned(),
            Action::EraOver => "era over".to_owned(),
        }
    }
}

/// The error that the app gets.
fn rendered(failed: &FailedRequest) -> Message {
    let FailedRequest {
        id,
        method,
        failure,
        ..
    } = failed;
    failure.to_response(id, method, "mcp.example.com")
}

/// A failure by its name.
fn failure(name: &str) -> Result<Failure, String> {
    let status = |status: u16| Failure::Status {
        status: reqwest::StatusCode::from_u16(status).unwrap_or_default(),
        error: None,
        excerpt: None,
        retry_after: None,
    };
    let sign_in = |error: mcp_bridge_auth::AuthError| Failure::from(error);
    Ok(match name {
        "refused" => Failure::Connect {
            cause: ConnectCause::Refused,
            tried: None,
            detail: "refused".to_owned(),
        },
        "certificate" => Failure::Connect {
            cause: ConnectCause::Tls,
            tried: None,
            detail: "expired".to_owned(),
        },
        "connection-lost" => Failure::ConnectionLost {
            detail: "reset".to_owned(),
        },
        "no-response" => Failure::NoResponse("the event stream ended".to_owned()),
        "session-lost" => Failure::SessionLost("gone".to_owned()),
        "sign-in-required" => sign_in(mcp_bridge_auth::AuthError::SignInRequired { url: None }),
        other => match other.parse() {
            Ok(code) => status(code),
            Err(_) => return Err(format!("no such failure: {other}")),
        },
    })
}

/// A time as it is written: `750ms`, `5s`.
fn time(text: &str) -> Result<Duration, String> {
    let number = |text: &str| text.parse().map_err(|_| format!("not a time: {text}"));
    match text.strip_suffix("ms") {
        Some(millis) => Ok(Duration::from_millis(number(millis)?)),
        None => Ok(Duration::from_secs(number(text.trim_end_matches('s'))?)),
    }
}
