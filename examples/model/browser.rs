//! The browser and the person before it: opens what bridges send there, and signs in after a while.
//!
//! Bridges start a script as `$BROWSER`, which writes the address into a pipe.

use std::{
    collections::HashSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpStream, unix::pipe},
    time::{sleep, timeout},
};
use url::Url;

use crate::{authority::Authority, random::Random, report::Report};

/// The longest that a person usually takes, in milliseconds.
const PERSON_MS: u64 = 1_500;

/// A person who gets no page tries again so often, and no longer.
const RELOAD: Duration = Duration::from_millis(300);
const GIVE_UP: Duration = Duration::from_secs(60);

/// The time after which the page may be opened again although its tab is open.
const TAB_IS_FORGOTTEN: Duration = Duration::from_secs(29);

/// Redirects that a browser follows.
const MOST_REDIRECTS: usize = 10;

/// The longest that one page may take.
const PAGE_LIMIT: Duration = Duration::from_secs(20);

/// The browser. All clones are one.
#[derive(Clone)]
pub(crate) struct Browser(Arc<Inner>);

struct Inner {
    script: PathBuf,
    report: Report,
    accounts: Vec<Authority>,
    state: Mutex<State>,
}

struct State {
    random: Random,
    /// Delays of the next persons, beside the usual one.
    dawdling: Vec<Duration>,
    windows: Vec<Window>,
    /// The last end of a bridge of each account.
    ends: Vec<Option<Instant>>,
    opened: u64,
}

/// A window with a sign-in page.
struct Window {
    number: u64,
    account: usize,
    opened: Instant,
    /// True if it was opened on a full disk, where no other process can learn of it.
    is_unshared: bool,
    /// The `state` of each authorization request that it has shown.
    requests: HashSet<String>,
}

impl Browser {
    pub(crate) fn start(
        directory: &Path,
        accounts: &[Authority],
        seed: u64,
        report: &Report,
    ) -> Self {
        let pipe = directory.join("browser.pipe");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0)
            .expect("the directory is ours");
        let script = directory.join("browser");
        let text = format!("#!/bin/sh\nprintf '%s\\n' \"$1\" > '{}'\n", pipe.display());
        fs::write(&script, text).expect("the directory is ours");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("the file is ours");
        let browser = Self(Arc::new(Inner {
            script,
            report: report.clone(),
            accounts: accounts.to_vec(),
            state: Mutex::new(State {
                random: Random::new(seed),
                dawdling: vec![Duration::ZERO; accounts.len()],
                windows: Vec::new(),
                ends: vec![None; accounts.len()],
                opened: 0,
            }),
        }));
        // It writes, too, so that the pipe never comes to its end.
        let addresses = pipe::OpenOptions::new()
            .read_write(true)
            .open_receiver(&pipe);
        let mut addresses = BufReader::new(addresses.expect("the pipe is ours")).lines();
        let opening = browser.clone();
        tokio::spawn(async move {
            while let Ok(Some(address)) = addresses.next_line().await {
                opening.open(&address);
            }
        });
        browser
    }

    pub(crate) fn script(&self) -> &Path {
        &self.0.script
    }

    /// The next person to sign in takes longer.
    pub(crate) fn dawdle(&self, account: usize, time: Duration) {
        self.state().dawdling[account] = time;
    }

    /// A bridge of this account has ended: its page may be opened again.
    pub(crate) fn bridge_ended(&self, account: usize) {
        self.state().ends[account] = Some(Instant::now());
    }

    fn open(&self, address: &str) {
        let report = &self.0.report;
        let Ok(url) = Url::parse(address) else {
            report.violate(format!("a browser is sent to {address}"));
            return;
        };
        let is_at = |account: &Authority| address.starts_with(&account.origin());
        let Some(account) = self.0.accounts.iter().position(is_at) else {
            report.violate(format!("a browser is sent to a foreign place: {address}"));
            return;
        };
        let request = state_of(&url);
        let needed = self.0.accounts[account].needs_sign_in();
        let is_unshared = self.0.accounts[account].is_disk_full();
        let mut state = self.state();
        let ended = state.ends[account];
        state.opened += 1;
        let number = state.opened;
        let others = state
            .windows
            .iter()
            .filter(|window| window.account == account);
        for other in others {
            let may_be_closed = ended.is_some_and(|ended| ended > other.opened);
            let is_forgotten = other.opened.elapsed() > TAB_IS_FORGOTTEN;
            let is_same = other.requests.contains(&request);
            let is_known = is_same && (may_be_closed || is_forgotten);
            if !(is_known || other.is_unshared || is_unshared) {
                report.violate(format!(
                    "window {number} beside window {} for account {account}: same page {is_same}, a bridge ended \
                     since {may_be_closed}",
                    other.number
                ));
            }
        }
        if !needed {
            report.violate(format!(
                "window {number} for account {account}, whose grant is good"
            ));
        }
        report.event(format!("browser: window {number} for account {account}"));
        report.count("windows");
        let usual = Duration::from_millis(state.random.below(PERSON_MS));
        let person = usual + std::mem::take(&mut state.dawdling[account]);
        state.windows.push(Window {
            number,
            account,
            opened: Instant::now(),
            is_unshared,
            requests: HashSet::from([request]),
        });
        drop(state);
        let browser = self.clone();
        tokio::spawn(async move {
            sleep(person).await;
            let visit = timeout(GIVE_UP, browser.visit(number, url)).await;
            let outcome = match visit {
                Ok(Some(status)) => format!("status {status}"),
                Ok(None) => "redirects without end".to_owned(),
                Err(_) => "given up".to_owned(),
            };
            browser
                .0
                .report
                .event(format!("browser: window {number} ends: {outcome}"));
            browser
                .state()
                .windows
                .retain(|window| window.number != number);
        });
    }

    /// Follows redirects, and tries again where nobody answers; returns the status of the last page.
    async fn visit(&self, number: u64, mut url: Url) -> Option<u16> {
        for _ in 0..MOST_REDIRECTS {
            let page = loop {
                match timeout(PAGE_LIMIT, load(&url)).await {
                    Ok(Some(page)) if page.status < 500 => break page,
                    _ => sleep(RELOAD).await,
                }
            };
            let Some(next) = page.location else {
                return Some(page.status);
            };
            url = url.join(&next).ok()?;
            let request = state_of(&url);
            let mut state = self.state();
            let is_answer = url.query_pairs().any(|(name, _)| name == "code");
            if is_answer {
                // All windows with this page are of no use any more, whatever becomes of the code.
                let is_used = |window: &Window| window.requests.contains(&request);
                state.windows.retain(|window| !is_used(window));
            } else if let Some(window) = state.windows.iter_mut().find(|it| it.number == number) {
                window.requests.insert(request);
            }
        }
        None
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("nobody panics with it")
    }
}

fn state_of(url: &Url) -> String {
    let state = url.query_pairs().find(|(name, _)| name == "state");
    state
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

struct Page {
    status: u16,
    location: Option<String>,
}

/// One GET on a connection of its own; none if there is no whole answer.
async fn load(url: &Url) -> Option<Page> {
    let (host, port) = (url.host_str()?, url.port_or_known_default()?);
    let mut stream = TcpStream::connect((host, port)).await.ok()?;
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let location = header(&head, "location");
    let length = header(&head, "content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.ok()?;
    Some(Page { status, location })
}

fn header(head: &str, wanted: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case(wanted).then(|| value.to_owned())
    })
}
