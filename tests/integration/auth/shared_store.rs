//! Credentials in a Redis that several machines share: one sign-in and one refresh for all, stalls, outages, moves. Skipped,
//! with a message, where `redis-server` is not installed.

#![expect(
    clippy::unwrap_used,
    reason = "what a test relies on and does not find fails it"
)]

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[cfg(target_os = "linux")]
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::program;
use mcp_bridge_testkit::app::{App, initialize_line};
use mcp_bridge_testkit::authorization_server::AuthorizationServer;
#[cfg(target_os = "linux")]
use mcp_bridge_testkit::authorization_server::Grants;
use mcp_bridge_testkit::browser::BrowserDouble;
use mcp_bridge_testkit::program::{CommandOutput, Program};
use mcp_bridge_testkit::redis_server::{RedisProxy, RedisServer, Way};
use mcp_bridge_testkit::soon;

const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

/// Machines with nothing in common but a Redis, and the server that they use.
struct Fleet {
    provider: AuthorizationServer,
    redis: RedisServer,
    /// Each machine has a home in it.
    homes: TempDir,
}

impl Fleet {
    /// None, with a message, where there is no `redis-server`.
    async fn start() -> Option<Self> {
        Some(Self {
            redis: RedisServer::start()?,
            provider: AuthorizationServer::start().await,
            homes: tempdir().unwrap(),
        })
    }

    fn home(&self, machine: &str) -> PathBuf {
        let home = self.homes.path().join(machine);
        fs::create_dir_all(&home).unwrap();
        home
    }

    /// The program on this machine. Its command line has no secret.
    fn program(&self, machine: &str) -> Program {
        let program = program::program().home(&self.home(machine));
        program.env("MCP_BRIDGE_STORE_KEY", KEY)
    }

    /// A command on the machine of a person.
    async fn run(&self, args: &[&str]) -> CommandOutput {
        self.program("laptop").args(args).stdin_open().run().await
    }

    /// Signs in on the machine of a person.
    async fn sign_in(&self, flags: &[&str]) {
        let browser = BrowserDouble::signing_in(self.homes.path());
        let login = self.program("laptop").browser(&browser).search_path();
        let login = login.args(["login", self.provider.mcp_url().as_str()]);
        let said = login.args(flags).stdin_open().run().await;
        assert!(said.succeeded(), "{}", said.stderr);
    }

    async fn sign_in_for_all(&self) {
        self.sign_in(&["--store", &self.redis.url()]).await;
    }

    /// A bridge on a machine without a browser.
    fn bridge(&self, machine: &str, store: &str, flags: &[&str]) -> App {
        let home = self.home(machine);
        let launch = program::bridge().with(|program| program.home(&home));
        launch
            .env("MCP_BRIDGE_STORE_KEY", KEY)
            .env("MCP_BRIDGE_CLIENT_SECRET", "secret-MARKER")
            .args([self.provider.mcp_url().as_str(), "--no-browser"])
            .args(["--store", store])
            .args(flags)
            .start()
    }

    /// The same, in a session.
    async fn in_session(&self, machine: &str, flags: &[&str]) -> App {
        self.in_session_by(machine, &self.redis.url(), flags).await
    }

    async fn in_session_by(&self, machine: &str, store: &str, flags: &[&str]) -> App {
        let mut bridge = self.bridge(machine, store, flags);
        bridge.send(initialize_line("2025-06-18")).await;
        bridge.is_in_session().await;
        bridge
    }

    /// The tokens with which the server was asked.
    fn used_tokens(&self) -> Vec<String> {
        let seen = self.provider.seen("/mcp").into_iter();
        let tokens = seen.filter_map(|seen| {
            let token = seen.headers.get("authorization")?;
            Some(token.to_str().unwrap().to_owned())
        });
        tokens.collect()
    }

    async fn refreshed(&self, times: usize) {
        soon("the refresh", async {
            while self.provider.refreshes() < times {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

#[cfg(target_os = "linux")]
fn signal(process: u32, signal: Signal) {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw);
    kill_process(process.unwrap(), signal).unwrap();
}

/// True if all threads of a process are stopped.
#[cfg(target_os = "linux")]
fn is_stopped(process: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit(')')
            .next()
            .unwrap()
            .trim_start()
            .starts_with('T')
    })
}

/// A request that has to get its result.
async fn call(bridge: &mut App, id: &str) {
    bridge
        .request(id, "tools/call", &json!({"name": "echo"}))
        .await;
    bridge.result(id).await;
}

///
#[tokio::test]
async fn a_person_signs_in_once_for_machines_that_share_nothing_but_redis() {
    let Some(fleet) = Fleet::start().await else {
        return;
    };
    fleet.sign_in_for_all().await;
    for machine in ["host-1", "host-2"] {
        fleet.in_session(machine, &[]).await.finish().await;
    }
    assert_eq!(fleet.provider.seen("/authorize").len(), 1);
    assert_eq!(fleet.provider.seen("/token").len(), 1);
    let disk = fleet.redis.disk();
    assert!(disk.contains("mcp-bridge:{"), "{disk}");
    assert!(!disk.contains("MARKER"), "{disk}");
    assert!(!disk.contains("127.0.0.1"), "{disk}");
}

///
#[tokio::test]
async fn bridges_on_all_machines_refresh_once() {
    const MACHINES: usize = 6;
    let Some(fleet) = Fleet::start().await else {
        return;
    };
    fleet.sign_in_for_all().await;
    let mut bridges = Vec::new();
    for number in 0..MACHINES {
        bridges.push(fleet.in_session(&format!("host-{number}"), &[]).await);
    }
    for round in 1..=3 {
        fleet.provider.revoke_access_tokens();
        let id = format!("round-{round}");
        for bridge in &mut bridges {
            bridge
                .request(id.as_str(), "tools/call", &json!({"name": "echo"}))
                .await;
        }
        for bridge in &mut bridges {
            bridge.result(id.as_str()).await;
        }
        assert_eq!(fleet.provider.refreshes(), round);
    }
    for bridge in bridges {
        bridge.finish().await;
    }
    let different: HashSet<_> = fleet.used_tokens().into_iter().collect();
    assert_eq!(different.len(), 4);
    assert_eq!(fleet.provider.seen("/authorize").len(), 1);
}

///
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_process_that_stalls_past_its_lease_leaves_the_newer_token_alone() {
    let Some(fleet) = Fleet::start().await else {
        return;
    };
    fleet
        .provider
        .behave(|it| it.grants = Grants::ReusableRefreshTokens);
    fleet.sign_in_for_all().await;
    let mut stalled = fleet.in_session("host-1", &["--debug"]).await;
    let mut other = fleet.in_session("host-2", &[]).await;

    fleet.provider.revoke_access_tokens();
    fleet.provider.behave(|it| it.holds_tokens = true);
    stalled
        .request("stalled", "tools/call", &json!({"name": "echo"}))
        .await;
    fleet.refreshed(1).await;
    stalled.signal(Signal::STOP);
    soon("the stop", async {
        while !is_stopped(stalled.pid()) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    fleet.provider.behave(|it| it.holds_tokens = false);
    call(&mut other, "after the lease").await;
    assert_eq!(fleet.provider.refreshes(), 2);
    let newer = fleet.used_tokens().pop().unwrap();

    stalled.signal(Signal::CONT);
    stalled.result("stalled").await;
    stalled
        .says("another process has stored a newer token")
        .await;
    assert_eq!(fleet.used_tokens().pop().unwrap(), newer);
    call(&mut other, "last").await;
    assert_eq!(fleet.used_tokens().pop().unwrap(), newer);
    assert_eq!(fleet.provider.refreshes(), 2);
    stalled.close_stdin();
    stalled.finish().await;
    other.finish().await;
}

///
#[tokio::test]
async fn a_token_that_came_while_redis_was_away_is_stored_before_others_refresh() {
    let Some(mut fleet) = Fleet::start().await else {
        return;
    };
    fleet.sign_in_for_all().await;
    let mut bridge = fleet.in_session("host-1", &[]).await;
    let mut other = fleet.in_session("host-2", &[]).await;
    fleet.provider.revoke_access_tokens();
    fleet.provider.behave(|it| it.holds_tokens = true);
    bridge
        .request("refreshes", "tools/call", &json!({"name": "echo"}))
        .await;
    fleet.refreshed(1).await;
    fleet.redis.stop();
    fleet.provider.behave(|it| it.holds_tokens = false);
    bridge.result("refreshes").await;
    other
        .request("waits", "tools/call", &json!({"name": "echo"}))
        .await;
    fleet.redis.start_again();
    other.result("waits").await;
    assert_eq!(fleet.provider.refreshes(), 1);
    assert_eq!(fleet.provider.seen("/authorize").len(), 1);
    bridge.finish().await;
    other.finish().await;
}

///
#[tokio::test]
async fn while_redis_is_away_calls_go_on_and_nobody_is_asked_to_sign_in() {
    let Some(mut fleet) = Fleet::start().await else {
        return;
    };
    fleet.sign_in_for_all().await;
    let mut bridge = fleet.in_session("host-1", &[]).await;
    fleet.redis.stop();
    call(&mut bridge, "with the token in memory").await;
    fleet.provider.revoke_access_tokens();
    bridge
        .request("without", "tools/call", &json!({"name": "echo"}))
        .await;
    let data = bridge.own_error("without", "auth_store_unavailable").await;
    let hint = data["hint"].as_str().unwrap();
    assert!(hint.contains("nobody has to sign in again"), "{hint}");
    fleet.redis.start_again();
    call(&mut bridge, "again").await;
    assert_eq!(fleet.provider.refreshes(), 1);
    assert_eq!(fleet.provider.seen("/authorize").len(), 1);
    bridge.finish().await;
}

///
#[tokio::test]
async fn a_bridge_that_starts_without_redis_names_it_and_shows_no_sign_in_page() {
    let Some(mut fleet) = Fleet::start().await else {
        return;
    };
    fleet.sign_in_for_all().await;
    fleet.redis.stop();
    let browser = BrowserDouble::forbidden(fleet.homes.path());
    let launch = program::bridge().with(|program| {
        let home = fleet.home("host-1");
        program.home(&home).browser(&browser).search_path()
    });
    let mut bridge = launch
        .env("MCP_BRIDGE_STORE_KEY", KEY)
        .args([fleet.provider.mcp_url().as_str()])
        .args(["--store", &fleet.redis.url(), "--patience", "2"])
        .start();
    bridge.send(initialize_line("2025-06-18")).await;
    bridge.result("init").await;
    bridge
        .request(2, "tools/call", &json!({"name": "echo"}))
        .await;
    let error = bridge.error(2).await;
    assert_eq!(error["data"]["kind"], "auth_store_unavailable", "{error}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("redis+unix://"), "{message}");
    fleet.redis.start_again();
    call(&mut bridge, "again").await;
    assert_eq!(fleet.provider.seen("/authorize").len(), 1);
    bridge.finish().await;
}

///
#[tokio::test]
async fn a_bridge_with_another_key_says_so_and_leaves_the_sign_in_to_the_others() {
    const OTHER: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
    let Some(fleet) = Fleet::start().await else {
        return;
    };
    fleet.sign_in_for_all().await;
    let home = fleet.home("host-1");
    let launch = program::bridge().with(|program| program.home(&home));
    let mut stranger = launch
        .env("MCP_BRIDGE_STORE_KEY", OTHER)
        .args([fleet.provider.mcp_url().as_str(), "--no-browser"])
        .args(["--store", &fleet.redis.url(), "--patience", "1"])
        .start();
    stranger.send(initialize_line("2025-06-18")).await;
    stranger.result("init").await;
    stranger.says("it is encrypted with the key").await;
    stranger
        .request(2, "tools/call", &json!({"name": "echo"}))
        .await;
    let data = stranger.own_error(2, "auth_store_unavailable").await;
    let hint = data["hint"].as_str().unwrap();
    assert!(hint.contains("--store-key-file"), "{hint}");
    stranger.finish().await;
    fleet.in_session("host-2", &[]).await.finish().await;
    assert_eq!(fleet.provider.seen("/authorize").len(), 1);
}

///
#[tokio::test]
async fn a_machine_without_a_browser_names_the_command_and_finds_the_sign_in() {
    let Some(fleet) = Fleet::start().await else {
        return;
    };
    let store = fleet.redis.url();
    let mut impatient = fleet.bridge("host-1", &store, &["--patience", "0", "--list-wait", "0"]);
    impatient.send(initialize_line("2025-06-18")).await;
    impatient.result("init").await;
    impatient.says("Nobody is signed in yet").await;
    impatient
        .request(2, "tools/call", &json!({"name": "echo"}))
        .await;
    let data = impatient.own_error(2, "auth_required").await;
    let command = format!(
        "mcp-bridge login {} --store {store}",
        fleet.provider.mcp_url()
    );
    let hint = data["hint"].as_str().unwrap();
    assert!(hint.contains(&command), "{hint}");

    let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    impatient.send(initialized.to_string()).await;
    impatient.request(3, "tools/list", &json!({})).await;
    impatient.result(3).await;

    let mut waiting = fleet.bridge("host-2", &store, &[]);
    waiting.send(initialize_line("2025-06-18")).await;
    waiting.result("init").await;
    waiting
        .request(2, "tools/call", &json!({"name": "echo"}))
        .await;
    waiting.says("Nobody is signed in yet").await;
    fleet.sign_in_for_all().await;
    waiting.result(2).await;
    impatient
        .server_sent("notifications/tools/list_changed")
        .await;
    call(&mut impatient, "afterwards").await;
    assert_eq!(fleet.provider.seen("/authorize").len(), 1);
    waiting.finish().await;
    impatient.finish().await;
}

///
#[tokio::test]
async fn a_network_that_is_slow_or_breaks_loses_no_call() {
    let Some(fleet) = Fleet::start().await else {
        return;
    };
    fleet.sign_in_for_all().await;
    let proxy = RedisProxy::before(&fleet.redis);
    let mut bridge = fleet.in_session_by("host-1", &proxy.url(), &[]).await;
    let ways = [Way::Slow(Duration::from_millis(20)), Way::Reset, Way::Cut];
    for (round, way) in (1..).zip(ways) {
        proxy.set(way);
        fleet.provider.revoke_access_tokens();
        let id = format!("{way:?}");
        bridge
            .request(id.as_str(), "tools/call", &json!({"name": "echo"}))
            .await;
        if !matches!(way, Way::Slow(_)) {
            call_of_another(&fleet).await;
            proxy.set(Way::Open);
        }
        bridge.result(id.as_str()).await;
        assert_eq!(fleet.provider.refreshes(), round);
    }
    bridge.finish().await;
}

/// Another machine has a better network.
async fn call_of_another(fleet: &Fleet) {
    let other = fleet.in_session("host-2", &[]).await;
    other.finish().await;
}

/// A stop ends each read with a time limit by "Interrupted system call" (Linux).
///
///
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_process_that_was_stopped_while_it_asked_redis_asks_again() {
    let Some(fleet) = Fleet::start().await else {
        return;
    };
    fleet.sign_in_for_all().await;
    let proxy = RedisProxy::before(&fleet.redis);
    proxy.set(Way::Cut);
    let asking = fleet.program("host-1").stdin_open();
    let asking = asking.args(["status", "--json", "--store", &proxy.url()]);
    let asking = asking.spawn();
    let asked = soon("the question", async {
        while proxy.received() == 0 {
            tokio::task::yield_now().await;
        }
    });
    asked.await;
    let id = asking.id();
    signal(id, Signal::STOP);
    soon("the stop", async {
        while !is_stopped(id) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    proxy.set(Way::Open);
    signal(id, Signal::CONT);
    let said = asking.ends().await;
    let status: Value = serde_json::from_str(&said.stdout).unwrap_or_default();
    assert_eq!(status[0]["store"], "redis", "{}", said.stderr);
}

#[tokio::test]
async fn a_sign_in_moves_into_redis_and_back_and_ends_there() {
    let Some(fleet) = Fleet::start().await else {
        return;
    };
    let store = fleet.redis.url();
    fleet.sign_in(&[]).await;
    let said = fleet.run(&["store", &store]).await;
    assert!(
        said.stdout.contains(": moved to the shared store"),
        "{}",
        said.stdout
    );
    assert!(!has_credential(&fleet.home("laptop")));
    fleet.in_session("host-1", &[]).await.finish().await;

    let status = fleet.run(&["status", "--json", "--store", &store]).await;
    let status: Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(status[0]["store"], "redis");
    assert_eq!(status[0]["signedIn"]["renewable"], true);
    let shown = fleet.run(&["store", "--store", &store]).await;
    assert!(
        shown.stdout.contains("the shared store"),
        "{}",
        shown.stdout
    );

    let said = fleet.run(&["store", "file", "--store", &store]).await;
    assert!(said.stdout.contains(": moved to a file"), "{}", said.stdout);
    let status = fleet.run(&["status", "--json", "--store", &store]).await;
    assert_eq!(status.stdout, "[]\n");
    assert!(has_credential(&fleet.home("laptop")));

    fleet.run(&["store", &store]).await;
    let url = fleet.provider.mcp_url().to_string();
    let left = fleet.run(&["logout", &url, "--store", &store]).await;
    assert!(left.stdout.contains("forgotten here"), "{}", left.stdout);
    let status = fleet.run(&["status", "--json", "--store", &store]).await;
    assert_eq!(status.stdout, "[]\n");
    assert_eq!(fleet.provider.seen("/authorize").len(), 1);
}

///
#[tokio::test]
async fn a_sign_out_ends_the_sign_in_of_all_machines() {
    let Some(fleet) = Fleet::start().await else {
        return;
    };
    fleet.sign_in_for_all().await;
    let mut bridge = fleet.in_session("host-1", &["--patience", "0"]).await;
    let url = fleet.provider.mcp_url().to_string();
    fleet
        .run(&["logout", &url, "--store", &fleet.redis.url()])
        .await;
    fleet.provider.revoke_access_tokens();
    bridge
        .request(2, "tools/call", &json!({"name": "echo"}))
        .await;
    bridge.own_error(2, "auth_required").await;
    assert_eq!(fleet.provider.refreshes(), 0);
    bridge.finish().await;
}

/// True if a file below this home is a credential.
fn has_credential(home: &Path) -> bool {
    let files = mcp_bridge_testkit::home::files_below(home);
    files
        .values()
        .any(|text| String::from_utf8_lossy(text).contains("\"sealed\""))
}
