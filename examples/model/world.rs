//! The world: accounts, servers, the network between, apps with their bridges, and one data directory.

use std::{
    net::{SocketAddr, ToSocketAddrs as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use mcp_bridge_net::mutex::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::{
    app::{App, Command},
    authority::{Authority, Lifetime},
    browser::Browser,
    invariants::check_log,
    network::{self, Proxy, Relay, TLS_NAME},
    process::{Disk, Usage},
    report::Report,
    service::{Service, Speaks},
};

/// Accounts with a sign-in: expiring tokens of a known lifetime, and tokens that end when the server wants.
pub(crate) const ACCOUNTS: usize = 2;
const LIFETIMES: [(&str, Lifetime); ACCOUNTS] =
    [("alpha", Lifetime::Told(6)), ("beta", Lifetime::Untold)];

/// The name of the server behind the proxy, for requests without TLS.
const PLAIN_NAME: &str = "mcp.example";

/// The generations of a bridge whose logs are kept.
const KEPT_LOGS: u64 = 3;

/// A server.
pub(crate) struct ServerKind {
    pub(crate) name: &'static str,
    pub(crate) speaks: Speaks,
    pub(crate) account: Option<usize>,
    /// True if its address changes.
    pub(crate) moves: bool,
}

pub(crate) const SERVERS: [ServerKind; 4] = [
    server("legacy", Speaks::Legacy, Some(0)),
    server("dual", Speaks::Dual, Some(1)),
    moving("local", Speaks::Legacy),
    moving("far", Speaks::Modern),
];
const LOCAL: usize = 2;
const FAR: usize = 3;

const fn server(name: &'static str, speaks: Speaks, account: Option<usize>) -> ServerKind {
    ServerKind {
        name,
        speaks,
        account,
        moves: false,
    }
}

const fn moving(name: &'static str, speaks: Speaks) -> ServerKind {
    ServerKind {
        name,
        speaks,
        account: None,
        moves: true,
    }
}

/// The era of an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    Legacy,
    Modern,
}

/// The way of an app's bridge to its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Straight,
    /// By the name `localhost`, which has addresses of both kinds.
    Localhost,
    /// Through the proxy, which reads along.
    Proxy,
    /// Through a tunnel of the proxy.
    Tunnel,
}

/// Destination of a bridge's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Log {
    Quiet,
    Stderr,
    File,
}

/// An app.
pub(crate) struct AppKind {
    pub(crate) name: &'static str,
    pub(crate) server: usize,
    pub(crate) era: Era,
    /// Its bridge lives as long as the run.
    pub(crate) is_kept: bool,
    way: Way,
    log: Log,
}

pub(crate) const APPS: [AppKind; 8] = [
    app("alpha-one", 0, Era::Legacy, Way::Straight, Log::Stderr),
    app("alpha-two", 0, Era::Legacy, Way::Straight, Log::File),
    app("alpha-new", 0, Era::Modern, Way::Straight, Log::Stderr),
    app("beta-old", 1, Era::Legacy, Way::Straight, Log::File),
    app("beta-new", 1, Era::Modern, Way::Straight, Log::Stderr),
    AppKind {
        name: "local-kept",
        server: LOCAL,
        era: Era::Legacy,
        is_kept: true,
        way: Way::Localhost,
        log: Log::Quiet,
    },
    app("far-old", FAR, Era::Legacy, Way::Proxy, Log::Stderr),
    app("far-new", FAR, Era::Modern, Way::Tunnel, Log::File),
];

const fn app(name: &'static str, server: usize, era: Era, way: Way, log: Log) -> AppKind {
    AppKind {
        name,
        server,
        era,
        is_kept: false,
        way,
        log,
    }
}

/// State that all apps share.
pub(crate) struct Shared {
    pub(crate) root: PathBuf,
    pub(crate) mark: String,
    pub(crate) report: Report,
    pub(crate) browser: Browser,
    pub(crate) authorities: Vec<Authority>,
    /// Of all processes of the run.
    pub(crate) disk: Mutex<Disk>,
    urls: Vec<String>,
    proxy: String,
    tls_url: String,
}

impl Shared {
    pub(crate) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    pub(crate) fn event(&self, app: usize, bridge: &str, what: &str) {
        let account = SERVERS[APPS[app].server].account;
        self.report
            .event(format!("{bridge} (account {account:?}): {what}"));
    }

    pub(crate) fn bridge_started(&self, app: usize, pid: u32) {
        if let Some(account) = SERVERS[APPS[app].server].account {
            self.authorities[account].started(pid);
        }
    }

    pub(crate) fn bridge_ended(&self, app: usize, pid: u32) {
        if let Some(account) = SERVERS[APPS[app].server].account {
            self.authorities[account].ended(pid);
            self.browser.bridge_ended(account);
        }
    }

    /// A bridge of this app is about to be killed.
    pub(crate) fn kill_begins(&self, app: usize) {
        if let Some(account) = SERVERS[APPS[app].server].account {
            self.authorities[account].kill_begins();
        }
    }

    pub(crate) fn bridge_killed(&self, app: usize, pid: u32) {
        if let Some(account) = SERVERS[APPS[app].server].account {
            self.authorities[account].killed(pid);
            self.browser.bridge_ended(account);
        }
    }

    /// The arguments of a bridge of this app.
    pub(crate) fn arguments(&self, app: usize, bridge: &str) -> Vec<String> {
        let kind = &APPS[app];
        let url = match kind.way {
            Way::Tunnel => &self.tls_url,
            Way::Straight | Way::Localhost | Way::Proxy => &self.urls[kind.server],
        };
        let mut arguments = vec![url.clone()];
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(|it| (*it).to_owned()));
        add(&["--header", "X-Api-Key: ${API_KEY}"]);
        add(&[
            "--request-timeout",
            "6",
            "--patience",
            "8",
            "--auth-timeout",
            "90",
        ]);
        match kind.way {
            Way::Straight | Way::Localhost => {}
            Way::Proxy => add(&["--proxy", &self.proxy, "--allow-http"]),
            Way::Tunnel => {
                let authority = network::certificate(network::AUTHORITY);
                add(&["--proxy", &self.proxy, "--ca-cert", &authority]);
            }
        }
        match kind.log {
            Log::Quiet => {}
            Log::Stderr => add(&["--debug"]),
            Log::File => {
                let path = self.logs().join(format!("{bridge}.log"));
                add(&[
                    "--log-level",
                    "trace",
                    "--log-file",
                    &path.to_string_lossy(),
                ]);
            }
        }
        arguments
    }

    /// Checks the logs of a bridge of long ago and removes them.
    pub(crate) fn drop_old_logs(&self, app: usize, generation: u64) {
        let Some(old) = generation.checked_sub(KEPT_LOGS) else {
            return;
        };
        for extension in ["stderr", "log"] {
            let name = format!("{}-{old}.{extension}", APPS[app].name);
            let path = self.logs().join(name);
            check_log(self, &path);
            let _ = std::fs::remove_file(path);
        }
    }
}

/// All of it.
pub(crate) struct World {
    pub(crate) shared: Arc<Shared>,
    pub(crate) services: Vec<Service>,
    pub(crate) proxy: Arc<Proxy>,
    local: Relay,
    far: Relay,
    far_tls: Relay,
    pub(crate) apps: Vec<mpsc::UnboundedSender<Command>>,
}

impl World {
    pub(crate) async fn start(root: &Path, seed: u64, report: &Report) -> Self {
        let data = root.join("data");
        for name in ["data", "home", "logs"] {
            std::fs::create_dir(root.join(name)).expect("the directory is ours");
        }
        let authorities: Vec<_> = LIFETIMES
            .iter()
            .map(|(name, lifetime)| Authority::start(name, *lifetime, seed, data.clone(), report))
            .collect();
        let services: Vec<_> = SERVERS
            .iter()
            .map(|kind| {
                let authority = kind.account.map(|account| &authorities[account]);
                Service::start(kind.name, kind.speaks, authority, seed, report)
            })
            .collect();
        let address = |server: usize| services[server].server.host().parse().expect("an address");
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let local = Relay::start(address(LOCAL), None, loopback).await;
        let far = Relay::start(address(FAR), None, loopback).await;
        let far_tls = Relay::start(address(FAR), Some(network::acceptor()), loopback).await;
        let proxy = Arc::new(Proxy::start().await);
        proxy.route(PLAIN_NAME, far.address().await);
        proxy.route(TLS_NAME, far_tls.address().await);
        let local_port = local.address().await.port();
        let mut urls: Vec<_> = services
            .iter()
            .map(|service| format!("http://{}/mcp", service.server.host()))
            .collect();
        urls[LOCAL] = format!("http://localhost:{local_port}/mcp");
        urls[FAR] = format!("http://{PLAIN_NAME}/mcp");
        for (service, url) in services.iter().zip(&urls) {
            service.set_url(url);
        }
        let browser = Browser::start(root, &authorities, seed, report);
        let shared = Arc::new(Shared {
            mark: format!("MODEL_RUN={}-{seed}", std::process::id()),
            root: root.to_owned(),
            report: report.clone(),
            browser,
            authorities,
            disk: Mutex::new(Disk::Free),
            urls,
            proxy: proxy.url(),
            tls_url: format!("https://{TLS_NAME}/mcp"),
        });
        let apps = (0..APPS.len())
            .map(|number| {
                let number_seed = u64::try_from(number).expect("there are few");
                App::start(number, seed ^ (number_seed << 32), &shared)
            })
            .collect();
        Self {
            shared,
            services,
            proxy,
            local,
            far,
            far_tls,
            apps,
        }
    }

    pub(crate) fn tell(&self, app: usize, command: Command) {
        let _ = self.apps[app].send(command);
    }

    /// The apps of an account.
    pub(crate) fn apps_of(account: usize) -> impl Iterator<Item = usize> {
        (0..APPS.len()).filter(move |app| SERVERS[APPS[*app].server].account == Some(account))
    }

    /// A server gets another address.
    pub(crate) async fn move_server(&self, server: usize) {
        if server == LOCAL && !localhost_has_both_kinds() {
            self.shared
                .report
                .event("localhost has addresses of one kind");
            return;
        }
        if server == LOCAL {
            let old = self.local.address().await;
            let new = match old {
                SocketAddr::V4(_) => SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], old.port())),
                SocketAddr::V6(_) => SocketAddr::from(([127, 0, 0, 1], old.port())),
            };
            let moved = self.local.move_to(new).await;
            self.shared
                .report
                .event(format!("localhost: from {old} to {moved:?}"));
            return;
        }
        for (name, relay) in [(PLAIN_NAME, &self.far), (TLS_NAME, &self.far_tls)] {
            let old = relay.address().await;
            let last = if old.ip().to_string().ends_with(".2") {
                1
            } else {
                2
            };
            let new = relay
                .move_to(SocketAddr::from(([127, 0, 0, last], 0)))
                .await;
            if let Some(new) = new {
                self.proxy.route(name, new);
            }
            self.shared
                .report
                .event(format!("{name}: from {old} to {new:?}"));
        }
    }

    /// Gets all apps to a rest in which all calls succeed; what each bridge uses then.
    pub(crate) async fn calm(&self) -> Vec<Option<Usage>> {
        let mut calm = Vec::new();
        for app in 0..self.apps.len() {
            let (done, usage) = oneshot::channel();
            self.tell(app, Command::Calm(done));
            calm.push(usage);
        }
        let mut usages = Vec::new();
        for usage in calm {
            usages.push(usage.await.ok().flatten());
        }
        usages
    }

    pub(crate) fn resume(&self) {
        for app in 0..self.apps.len() {
            self.tell(app, Command::Resume);
        }
    }

    /// All apps leave for good.
    pub(crate) async fn finish(&self) {
        let mut ends = Vec::new();
        for app in 0..self.apps.len() {
            let (done, end) = oneshot::channel();
            self.tell(app, Command::Finish(done));
            ends.push(end);
        }
        for end in ends {
            let _ = end.await;
        }
    }
}

fn localhost_has_both_kinds() -> bool {
    let addresses: Vec<_> = ("localhost", 0)
        .to_socket_addrs()
        .into_iter()
        .flatten()
        .collect();
    addresses.iter().any(SocketAddr::is_ipv4) && addresses.iter().any(SocketAddr::is_ipv6)
}
