//! The authorization server of one account: rotating refresh tokens with reuse detection, and faults.
//!
//! A grant is a family of refresh tokens, of which the newest alone is good. An older one that is used again
//! ends the family (RFC 9700 §4.14.2), and is a violation: with one exception. A process that is killed after
//! the answer to its token request and before the new token is on disk takes the token with it, and so does an
//! answer that is lost with its connection. Nobody can help that, so the family is marked as lost then. On a full disk the newest token is in the memory of one process, and
//! another may use the one that is stored, until there is room again.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use url::Url;

use mcp_bridge_testkit::{
    fault_server::FaultServer,
    mcp::Binding,
    reply::{Gate, Reply},
    request::{Request, get, post},
};

use crate::{
    process::{self, Disk},
    random::Random,
    report::Report,
};

/// A part of every token and code. No output may have it.
pub(crate) const TOKEN_MARKER: &str = "SECRET";

/// Access tokens that are remembered, of all families.
const MOST_ACCESS_TOKENS: usize = 200;

/// The longest that a slow answer takes, in milliseconds. It is less than any client waits.
const SLOWEST_MS: u64 = 1_500;

/// One token answer in so many is a little late, so that requests of several processes meet.
const ANSWERS_PER_LATE_ONE: u64 = 2;

/// The longest delay of these, in milliseconds.
const LATE_MS: u64 = 200;

/// A process that was killed so recently may have left a request in a socket.
const JUST_NOW: Duration = Duration::from_secs(5);

/// Time from the start of the browser program by a bridge until its window is there, on a loaded machine.
const WINDOW_OPENS_WITHIN: Duration = Duration::from_secs(1);

/// After the start of a token, a bridge may take its refusal for a reason to sign in.
const NEWNESS: Duration = Duration::from_secs(11);

/// Lifetime of access tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// After so many seconds, as is told.
    Told(u64),
    /// When the server wants.
    Untold,
}

/// The authorization server. All clones are one.
#[derive(Clone)]
pub(crate) struct Authority {
    server: FaultServer,
    inner: Arc<Mutex<Inner>>,
    /// Held while it is down.
    down: Arc<tokio::sync::Mutex<()>>,
}

struct Inner {
    name: &'static str,
    origin: String,
    lifetime: Lifetime,
    report: Report,
    /// Directory of the bridges' credentials.
    directory: PathBuf,
    random: Random,
    clients: HashMap<String, Vec<String>>,
    codes: HashMap<String, Code>,
    families: Vec<Family>,
    access: VecDeque<Access>,
    serial: u64,
    /// Processes that run, and that were killed.
    running: Vec<u32>,
    killed: HashSet<u32>,
    last_kill: Option<Instant>,
    fails_until: Option<Instant>,
    slow_until: Option<Instant>,
    disk: Disk,
}

struct Code {
    client: String,
    redirect_uri: String,
    challenge: String,
}

struct Access {
    token: String,
    family: usize,
    issued: Instant,
}

struct Family {
    client: String,
    state: FamilyState,
    /// The good refresh token, and its number.
    current: String,
    number: u64,
    /// Bridge or person that asked for it.
    asker: Asker,
    /// When a person granted it.
    granted: Instant,
    /// When the newest token was issued.
    issued: Instant,
    /// The state of the disk then, and until it was stored.
    disk: Disk,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FamilyState {
    Live,
    /// Its newest token died with the process that had asked for it.
    Lost,
    Revoked,
}

/// Bridge or person that asked for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    Bridge(u32),
    /// A helper, or somebody who had gone before the request was read.
    Unknown,
}

impl Authority {
    pub(crate) fn start(
        name: &'static str,
        lifetime: Lifetime,
        seed: u64,
        directory: PathBuf,
        report: &Report,
    ) -> Self {
        let server = FaultServer::start_as(Binding::Streamable);
        server.keep_no_record();
        let inner = Arc::new(Mutex::new(Inner {
            name,
            origin: format!("http://{}", server.host()),
            lifetime,
            report: report.clone(),
            directory,
            random: Random::new(seed),
            clients: HashMap::new(),
            codes: HashMap::new(),
            families: Vec::new(),
            access: VecDeque::new(),
            serial: 0,
            running: Vec::new(),
            killed: HashSet::new(),
            last_kill: None,
            fails_until: None,
            slow_until: None,
            disk: Disk::Free,
        }));
        for want in [get(), post()] {
            let inner = inner.clone();
            server.always(want, move |request| {
                inner.lock().expect("nobody panics with it").answer(request)
            });
        }
        Self {
            server,
            inner,
            down: Arc::default(),
        }
    }

    pub(crate) fn origin(&self) -> String {
        self.lock().origin.clone()
    }

    /// Returns whether the MCP server should take this token.
    pub(crate) fn accepts(&self, token: &str) -> bool {
        self.lock().accepts(token)
    }

    /// True if a person has to sign in, or had to when the program was started that opens a window now: no grant is good, but
    /// for those that one process alone may know. The answer has just been sent, or no process could write files.
    pub(crate) fn needs_sign_in(&self) -> bool {
        let inner = self.lock();
        let is_known = |it: &Family| {
            let is_on_the_way = it.issued.elapsed() < Duration::from_millis(SLOWEST_MS) + JUST_NOW;
            inner.is_stored(&it.current) || (it.disk == Disk::Free && !is_on_the_way)
        };
        let mut live = inner
            .families
            .iter()
            .filter(|it| it.state == FamilyState::Live);
        !live.any(|it| it.granted.elapsed() > WINDOW_OPENS_WITHIN && is_known(it))
    }

    /// Returns whether bridges cannot write files now.
    pub(crate) fn is_disk_full(&self) -> bool {
        self.lock().disk == Disk::Full
    }

    /// Lets bridges write files from now on, or not.
    pub(crate) fn set_disk(&self, disk: Disk) {
        let mut inner = self.lock();
        inner.disk = disk;
        if disk == Disk::Full {
            // What is not stored by now cannot be.
            for family in 0..inner.families.len() {
                if !inner.is_stored(&inner.families[family].current) {
                    inner.families[family].disk = Disk::Full;
                }
            }
        }
    }

    /// A bridge has been started.
    pub(crate) fn started(&self, pid: u32) {
        let mut inner = self.lock();
        inner.killed.remove(&pid);
        inner.running.push(pid);
    }

    /// A bridge has ended by itself.
    pub(crate) fn ended(&self, pid: u32) {
        self.lock().running.retain(|it| *it != pid);
    }

    /// A bridge is about to be killed.
    pub(crate) fn kill_begins(&self) {
        self.lock().last_kill = Some(Instant::now());
    }

    /// A bridge has been killed and is dead.
    pub(crate) fn killed(&self, pid: u32) {
        let mut inner = self.lock();
        inner.running.retain(|it| *it != pid);
        inner.killed.insert(pid);
        inner.last_kill = Some(Instant::now());
        for family in 0..inner.families.len() {
            if inner.families[family].asker == Asker::Bridge(pid) {
                inner.lose_unless_stored(family);
            }
        }
    }

    /// Makes access tokens void, if that cannot be mistaken for a refusal of new ones.
    pub(crate) fn expire_access(&self) -> bool {
        let mut inner = self.lock();
        let newest = inner.access.back().map(|access| access.issued);
        if newest.is_none_or(|issued| issued.elapsed() < NEWNESS)
            || inner.lifetime != Lifetime::Untold
        {
            return false;
        }
        inner.access.clear();
        true
    }

    /// The user takes the grant back.
    pub(crate) fn revoke(&self) {
        let mut inner = self.lock();
        inner.access.clear();
        for family in &mut inner.families {
            family.state = FamilyState::Revoked;
        }
    }

    /// Refuses connections for a while.
    pub(crate) async fn go_down(&self, time: Duration) {
        let _down = self.down.lock().await;
        self.server.go_down().await;
        self.lock().lose_answers();
        tokio::time::sleep(time).await;
        self.server.come_up();
    }

    /// Answers token requests with errors for a while.
    pub(crate) fn fail_for(&self, time: Duration) {
        self.lock().fails_until = Some(Instant::now() + time);
    }

    /// Answers token requests late for a while.
    pub(crate) fn be_slow_for(&self, time: Duration) {
        self.lock().slow_until = Some(Instant::now() + time);
    }

    /// Ends all faults.
    pub(crate) async fn behave(&self) {
        let _up = self.down.lock().await;
        let mut inner = self.lock();
        inner.fails_until = None;
        inner.slow_until = None;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nobody panics with it")
    }
}

impl Inner {
    fn answer(&mut self, request: &Request) -> Reply {
        let Ok(url) = Url::parse(&format!("{}{}", self.origin, request.target)) else {
            return Reply::status(400);
        };
        match (request.method.as_str(), url.path()) {
            ("GET", "/.well-known/oauth-authorization-server") => self.metadata(),
            ("POST", "/register") => self.register(request),
            ("GET", "/authorize") => self.authorize(&url),
            ("POST", "/token") => self.token(request),
            _ => Reply::status(404),
        }
    }

    fn metadata(&self) -> Reply {
        let origin = &self.origin;
        let document = json!({
            "issuer": origin,
            "authorization_endpoint": format!("{origin}/authorize"),
            "token_endpoint": format!("{origin}/token"),
            "registration_endpoint": format!("{origin}/register"),
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
            "authorization_response_iss_parameter_supported": true,
        });
        Reply::json(document.to_string())
    }

    fn register(&mut self, request: &Request) -> Reply {
        let wanted: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let uris: Vec<String> =
            serde_json::from_value(wanted["redirect_uris"].clone()).unwrap_or_default();
        let id = self.fresh("client");
        self.clients.insert(id.clone(), uris.clone());
        self.report.count("registrations");
        let reply = json!({
            "client_id": id,
            "redirect_uris": uris,
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
        });
        Reply::status(201).body("application/json", reply.to_string())
    }

    fn authorize(&mut self, url: &Url) -> Reply {
        let query: HashMap<_, _> = url.query_pairs().into_owned().collect();
        let value = |name: &str| query.get(name).cloned().unwrap_or_default();
        let (client, redirect_uri) = (value("client_id"), value("redirect_uri"));
        let known = self.clients.get(&client);
        if !known.is_some_and(|uris| uris.contains(&redirect_uri)) {
            self.report
                .violate("an authorization request of an unknown client");
            return Reply::status(400);
        }
        let Ok(mut target) = Url::parse(&redirect_uri) else {
            return Reply::status(400);
        };
        let code = format!("code-{TOKEN_MARKER}-{}", self.fresh("code"));
        let challenge = value("code_challenge");
        let entry = Code {
            client,
            redirect_uri,
            challenge,
        };
        self.codes.insert(code.clone(), entry);
        let mut pairs = target.query_pairs_mut();
        pairs.append_pair("code", &code);
        pairs.append_pair("state", &value("state"));
        pairs.append_pair("iss", &self.origin);
        drop(pairs);
        Reply::status(302).header("Location", target.as_str())
    }

    fn token(&mut self, request: &Request) -> Reply {
        if self.fails_until.is_some_and(|until| Instant::now() < until) {
            self.report.count("token requests failed");
            return self.failure();
        }
        let form: HashMap<_, _> = url::form_urlencoded::parse(&request.body)
            .into_owned()
            .collect();
        let value = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        let asker = self.asker(request);
        let issued = match value("grant_type") {
            "authorization_code" => self.redeem(&form, asker),
            "refresh_token" => self.rotate(value("refresh_token"), value("client_id"), asker),
            _ => return refusal("unsupported_grant_type"),
        };
        let Some(family) = issued else {
            return refusal("invalid_grant");
        };
        if matches!(asker, Asker::Bridge(pid) if self.killed.contains(&pid)) {
            self.lose_unless_stored(family);
        }
        let body = self.issue(family);
        let reply = Reply::status(200).header("Content-Type", "application/json");
        match self.delay() {
            None => reply.bytes(body),
            Some(delay) => {
                let gate = Gate::closed();
                let opening = gate.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    opening.open();
                });
                reply.chunked().wait(&gate).bytes(body)
            }
        }
    }

    /// An error that says nothing of the grant.
    fn failure(&mut self) -> Reply {
        match self.random.below(5) {
            0 => Reply::status(503).header("Retry-After", "1"),
            1 => Reply::status(502).body("text/html", "<h1>Bad Gateway</h1>"),
            2 => Reply::status(429).header("Retry-After", "1"),
            3 => Reply::no_answer_but_reset(),
            _ => Reply::status(200).body("text/html", "<h1>Welcome to our network</h1>"),
        }
    }

    fn delay(&mut self) -> Option<Duration> {
        let is_slow = self.slow_until.is_some_and(|until| Instant::now() < until);
        let longest = if is_slow { SLOWEST_MS } else { LATE_MS };
        let is_late = is_slow || self.random.one_in(ANSWERS_PER_LATE_ONE);
        is_late.then(|| Duration::from_millis(self.random.below(longest)))
    }

    fn asker(&self, request: &Request) -> Asker {
        let pid = request
            .peer
            .and_then(|peer| process::owner(peer, &self.running));
        if let Some(pid) = pid {
            return Asker::Bridge(pid);
        }
        Asker::Unknown
    }

    fn redeem(&mut self, form: &HashMap<String, String>, asker: Asker) -> Option<usize> {
        let value = |name: &str| form.get(name).cloned().unwrap_or_default();
        let code = self.codes.remove(&value("code"))?;
        let digest = Sha256::digest(value("code_verifier"));
        let is_proven = code.challenge == BASE64_URL_SAFE_NO_PAD.encode(digest)
            && code.redirect_uri == value("redirect_uri")
            && code.client == value("client_id");
        if !is_proven {
            self.report
                .violate("a code with a wrong verifier, client or redirect URI");
            return None;
        }
        self.families.push(Family {
            client: code.client,
            state: FamilyState::Live,
            current: String::new(),
            number: 0,
            asker,
            granted: Instant::now(),
            issued: Instant::now(),
            disk: self.disk,
        });
        self.report.count("sign-ins");
        let family = self.families.len() - 1;
        self.report
            .event(format!("{}: grant {family} for {asker:?}", self.name));
        Some(family)
    }

    fn rotate(&mut self, used: &str, client: &str, asker: Asker) -> Option<usize> {
        let (family, number) = self.parse(used)?;
        let known = &self.families[family];
        let (state, current) = (known.state, known.number);
        if known.client != client {
            self.report.violate("a refresh token of another client");
            return None;
        }
        if state == FamilyState::Revoked {
            return None;
        }
        let name = self.name;
        if number != current {
            self.reuse(family, number, asker);
            return None;
        }
        self.report
            .event(format!("{name}: refresh {family}.{number} by {asker:?}"));
        self.report.count("refreshes");
        let family_entry = &mut self.families[family];
        family_entry.asker = asker;
        family_entry.issued = Instant::now();
        family_entry.disk = self.disk;
        family_entry.number += 1;
        Some(family)
    }

    /// A refresh token is used that is not good any more.
    fn reuse(&mut self, family: usize, number: u64, asker: Asker) {
        let known = &self.families[family];
        let is_in_memory_alone = known.disk == Disk::Full && !self.is_stored(&known.current);
        let is_excused = match (known.state, known.asker) {
            (FamilyState::Lost, _) => true,
            _ if is_in_memory_alone => true,
            (_, Asker::Unknown) => {
                // Its end is heard of a little later than it happened.
                let is_near = |kill: Instant| {
                    kill + JUST_NOW > known.issued && kill < known.issued + JUST_NOW
                };
                self.last_kill.is_some_and(is_near) && number + 1 == known.number
            }
            (_, Asker::Bridge(_)) => false,
        };
        let story = format!(
            "{}: refresh token {family}.{number} is used again by {asker:?}; the newest is {} of {:?}, {:?}",
            self.name, known.number, known.asker, known.state
        );
        if is_excused {
            self.report.event(story);
            self.report
                .count("tokens lost with a process, an answer or a full disk");
        } else {
            self.report.violate(story);
        }
        self.families[family].state = FamilyState::Revoked;
        self.access.retain(|access| access.family != family);
    }

    /// The body of a token answer.
    fn issue(&mut self, family: usize) -> String {
        let name = self.name;
        let tail = self.random.below(1 << 40);
        let number = self.families[family].number;
        let refresh = format!("refresh-{TOKEN_MARKER}-{name}-{family}-{number}-{tail:x}");
        self.families[family].current.clone_from(&refresh);
        let access = format!("access-{TOKEN_MARKER}-{name}-{}", self.fresh("access"));
        if self.access.len() >= MOST_ACCESS_TOKENS {
            self.access.pop_front();
        }
        self.access.push_back(Access {
            token: access.clone(),
            family,
            issued: Instant::now(),
        });
        let mut reply = json!({
            "access_token": access, "token_type": "Bearer", "refresh_token": refresh,
        });
        if let Lifetime::Told(seconds) = self.lifetime {
            reply["expires_in"] = seconds.into();
        }
        reply.to_string()
    }

    fn accepts(&self, token: &str) -> bool {
        let Some(access) = self.access.iter().find(|access| access.token == token) else {
            return false;
        };
        match self.lifetime {
            Lifetime::Told(seconds) => access.issued.elapsed() < Duration::from_secs(seconds),
            Lifetime::Untold => true,
        }
    }

    /// The family and the number of a refresh token.
    fn parse(&self, token: &str) -> Option<(usize, u64)> {
        let mut parts = token.strip_prefix("refresh-")?.split('-').skip(2);
        let family: usize = parts.next()?.parse().ok()?;
        let number = parts.next()?.parse().ok()?;
        (family < self.families.len()).then_some((family, number))
    }

    /// Answers that were not sent yet are lost with their connections.
    fn lose_answers(&mut self) {
        for family in 0..self.families.len() {
            if self.families[family].issued.elapsed() < Duration::from_millis(SLOWEST_MS) {
                self.lose_unless_stored(family);
            }
        }
    }

    /// The process that asked for the newest token of a family is dead, or does not get it.
    fn lose_unless_stored(&mut self, family: usize) {
        let known = &self.families[family];
        if known.state == FamilyState::Live && !self.is_stored(&known.current) {
            self.report.event(format!(
                "{}: the newest token of grant {family} is lost",
                self.name
            ));
            self.families[family].state = FamilyState::Lost;
        }
    }

    fn is_stored(&self, token: &str) -> bool {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return false;
        };
        let mut texts = entries.flatten().filter_map(|entry| {
            let path = entry.path();
            let is_record = path.extension().is_some_and(|it| it == "json");
            is_record.then(|| fs::read_to_string(path).ok()).flatten()
        });
        !token.is_empty() && texts.any(|text| text.contains(token))
    }

    fn fresh(&mut self, kind: &str) -> String {
        self.serial += 1;
        format!("{kind}-{}", self.serial)
    }
}

/// RFC 6749 §5.2
fn refusal(code: &str) -> Reply {
    let body = json!({ "error": code }).to_string();
    Reply::status(400).body("application/json", body)
}
