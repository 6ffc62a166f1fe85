//! Era detection: the first message of the app, the answer of the server, and the cache for the next start.
//!
//! | row | test |
//! |---|---|
//! | X-80 | `a_probe_that_hangs_is_answered_in_time_and_its_late_answer_is_only_remembered` |
//! | X-81 | `a_probe_that_is_killed_leaves_nothing_behind` |
//! | X-82 | `a_probe_that_is_refused_without_a_token_is_answered_at_once_with_what_may_be_there`, `a_server_that_is_presumed_modern_and_is_not_serves_the_app_by_translation`, `a_probe_opens_no_browser_and_the_next_request_does`, `a_probe_that_fails_is_answered_with_what_was_known_or_not_found` |
//! | X-145 | `each_request_is_answered_as_the_server_treats_it` |
//! | X-83 | `versions_that_are_not_modern_send_the_app_to_initialize`, `versions_of_the_future_are_for_the_app_to_judge`, `an_initialize_that_no_version_fits_is_an_error`; the reading of each list is a unit test of `era::envelope` |
//! | X-84 | `a_refusal_that_says_nothing_leads_through_the_eras_to_the_older_transport`, `a_modern_server_with_odd_refusals_is_found`, `a_page_instead_of_an_answer_is_an_error_and_no_evidence` |
//! | X-85 | `a_verdict_is_there_for_the_next_process`, `a_stale_modern_verdict_is_corrected_by_one_probe`, `a_stale_legacy_verdict_is_corrected_by_one_probe`, `a_server_that_was_put_back_is_probed_once_and_served_by_translation` |
//! | X-86 | `a_server_that_refuses_the_version_it_offers_is_not_asked_for_ever`; a call that meets it is a transcript |
//! | X-103 | `initialize_takes_the_place_of_a_probe_with_the_same_id`, `both_eras_are_served_side_by_side` |
//! | X-15 | `a_request_of_an_unknown_version_is_for_the_server_and_a_malformed_one_is_refused` |
//! | E-1 | `refusals_that_pass_are_no_evidence_of_an_era`, `a_probe_that_is_refused_for_a_while_is_no_evidence` |
//! | E-5, the transport | `the_older_transport_is_known_by_the_next_process` |
//! | `--protocol` | `auto_costs_no_probe`, `legacy_never_speaks_modern`, `modern_never_speaks_legacy`, `prefer_modern_probes_first_and_falls_back` |

#[cfg(unix)]
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use crate::program;
use mcp_bridge_testkit::{
    app::{App, Launch, initialize_line},
    fault_server::FaultServer,
    mcp::Binding,
    modern::{self, VERSION, discovery, unsupported},
    reply::{Gate, Reply},
    request::{Request, get, post, rpc},
};

/// Apps give their probe up after ten seconds.
const PATIENCE_OF_APPS: Duration = Duration::from_secs(10);

fn discover() -> mcp_bridge_testkit::request::Want {
    rpc("server/discover")
}

/// The bridge of a user who has used it before.
fn with_memory(server: &FaultServer, memory: &TempDir) -> Launch {
    let directory = memory.path().to_str().expect("a path is text");
    program::bridge_for(server).env("MCP_BRIDGE_DIR", directory)
}

fn with_protocol(server: &FaultServer, protocol: &str) -> App {
    program::bridge_for(server)
        .args(["--protocol", protocol])
        .start()
}

/// All files below a directory.
#[cfg(unix)]
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = directory.read_dir().expect("a directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

/// Requests to the server, in order.
fn asked(server: &FaultServer) -> Vec<String> {
    server
        .requests()
        .iter()
        .map(|request| match request.rpc_method() {
            method if method.is_empty() => request.method.clone(),
            method => method,
        })
        .collect()
}

fn refused(status: u16, content_type: &'static str, body: &'static str) -> Reply {
    Reply::status(status).body(content_type, body)
}

/// X-80, ST-31, ST-32
#[tokio::test]
async fn a_probe_that_hangs_is_answered_in_time_and_its_late_answer_is_only_remembered() {
    let server = FaultServer::start_as(Binding::Modern);
    let gate = Gate::closed();
    let held = gate.clone();
    server.once(discover(), move |request| {
        let body = discovery(request, &json!([VERSION]));
        Reply::status(200)
            .header("Content-Type", "application/json")
            .chunked()
            .wait(&held)
            .bytes(body)
    });
    server.always(discover(), |_| Reply::no_answer_ever());
    let mut app = program::start(&server);
    let begun = Instant::now();
    app.discover(0).await;
    assert_eq!(app.error(0).await["code"], -32601);
    assert!(begun.elapsed() < PATIENCE_OF_APPS);
    gate.open();
    // The server says nothing more, so what it said too late is the answer.
    app.discover(1).await;
    assert_eq!(
        app.result(1).await["_meta"]["io.modelcontextprotocol/serverInfo"]["name"],
        "fault-server"
    );
    assert!(app.finish().await.unread.is_empty());
}

///
#[cfg(unix)]
#[tokio::test]
async fn a_probe_that_is_killed_leaves_nothing_behind() {
    use rustix::process::Signal;
    for signal in [Signal::KILL, Signal::TERM] {
        let server = FaultServer::start_as(Binding::Dual);
        server.once(discover(), |_| Reply::no_answer_ever());
        let memory = TempDir::new().expect("a directory");
        let mut probe = with_memory(&server, &memory).start();
        probe.discover(0).await;
        server.received(discover(), 1).await;
        probe.signal(signal);
        probe.ends_by_itself().await;
        probe.finish().await;
        assert_eq!(files(memory.path()), Vec::<PathBuf>::new());
        let mut probe = with_memory(&server, &memory).start();
        probe.discover(0).await;
        probe.result(0).await;
        probe.signal(signal);
        probe.ends_by_itself().await;
        probe.finish().await;
        for file in files(memory.path()) {
            let text = std::fs::read_to_string(&file).expect("a file");
            assert!(
                serde_json::from_str::<serde_json::Value>(&text).is_ok(),
                "{file:?}: {text}"
            );
        }
        let mut app = with_memory(&server, &memory).start();
        app.initialize().await;
        app.still_served().await;
        app.finish().await;
    }
}

fn wants_a_token() -> Reply {
    Reply::status(401).header("WWW-Authenticate", "Bearer")
}

///
#[tokio::test]
async fn a_probe_that_is_refused_without_a_token_is_answered_at_once_with_what_may_be_there() {
    let server = FaultServer::start_as(Binding::Modern);
    server.once(discover(), |_| wants_a_token());
    let mut app = program::start(&server);
    app.discover(0).await;
    let presumed = app.result(0).await;
    assert_eq!(presumed["supportedVersions"], json!([VERSION]));
    assert_eq!(presumed["resultType"], "complete");
    for capability in ["tools", "prompts", "resources", "completions", "logging"] {
        assert!(presumed["capabilities"][capability].is_object());
    }
    let name = &presumed["_meta"]["io.modelcontextprotocol/serverInfo"]["name"];
    assert_eq!(*name, server.host().as_str());
    assert_eq!(server.count(&discover()), 1);
    app.still_served_modern().await;
    // What the server itself says counts for more, now and when it refuses again.
    app.discover(1).await;
    let known = app.result(1).await;
    assert_ne!(known, presumed);
    server.always(discover(), |_| wants_a_token());
    app.discover(2).await;
    assert_eq!(app.result(2).await, known);
    app.finish().await;
}

///
#[tokio::test]
async fn a_server_that_is_presumed_modern_and_is_not_serves_the_app_by_translation() {
    let server = FaultServer::start();
    server.once(discover(), |_| wants_a_token());
    let mut app = program::start(&server);
    app.discover(0).await;
    assert_eq!(app.result(0).await["supportedVersions"], json!([VERSION]));
    app.still_served_modern().await;
    assert_eq!(server.count(&rpc("initialize")), 1);
    app.finish().await;
}

/// X-82, ST-39
#[tokio::test]
async fn a_probe_opens_no_browser_and_the_next_request_does() {
    use mcp_bridge_testkit::authorization_server::AuthorizationServer;
    use mcp_bridge_testkit::browser::{BrowserDouble, HeadlessBrowser};
    let provider = AuthorizationServer::start().await;
    let home = TempDir::new().expect("a directory");
    let browser = BrowserDouble::noting(home.path());
    let mut app = program::start_signed_out(&provider, home.path(), &browser, &[]);
    app.discover(1).await;
    assert_eq!(app.result(1).await["supportedVersions"], json!([VERSION]));
    assert!(!browser.was_started().await);
    app.ask(2, "tools/list", &json!({})).await;
    let page = browser.page().await;
    HeadlessBrowser::default().visit(page).await;
    app.result(2).await;
    app.finish().await;
}

/// E-5: what a server of 2024-11-05 refused once is not asked of it at the next start, and a server that
/// has moved on since is found.
#[tokio::test]
async fn the_older_transport_is_known_by_the_next_process() {
    let memory = TempDir::new().expect("a directory");
    let server = FaultServer::start_as(Binding::HttpSse);
    let initialize = rpc("initialize");
    for expected in [2, 3] {
        let mut app = with_memory(&server, &memory).start();
        app.initialize().await;
        app.finish().await;
        assert_eq!(server.count(&initialize), expected);
    }
    server.speak(Binding::Streamable);
    let mut app = with_memory(&server, &memory).start();
    app.initialize().await;
    app.still_served().await;
    app.finish().await;
}

/// a server may want a token for one method and not for another.
#[tokio::test]
async fn each_request_is_answered_as_the_server_treats_it() {
    let server = FaultServer::start_as(Binding::Modern);
    server.always(discover(), |_| Reply::status(401));
    let mut app = program::bridge_for(&server)
        .args(["--header", "Authorization: Bearer ${KEY}"])
        .env("KEY", "known")
        .start();
    app.request(1, "server/discover", &modern::signed(&json!({})))
        .await;
    app.response(1).await;
    app.request(2, "tools/list", &modern::signed(&json!({})))
        .await;
    app.result(2).await;
    server.behave();
    server.always(rpc("tools/list"), |_| Reply::status(401));
    app.request(3, "server/discover", &modern::signed(&json!({})))
        .await;
    app.result(3).await;
    app.request(4, "tools/list", &modern::signed(&json!({})))
        .await;
    app.own_error(4, "http_status").await;
    app.finish().await;
}

/// X-82, ST-31: where something else fails than the sign-in.
#[tokio::test]
async fn a_probe_that_fails_is_answered_with_what_was_known_or_not_found() {
    let replies: [fn() -> Reply; 4] = [
        || Reply::status(500),
        || Reply::status(503),
        || Reply::status(403),
        Reply::no_answer_but_reset,
    ];
    for reply in replies {
        let server = FaultServer::start_as(Binding::Modern);
        server.always(discover(), move |_| reply());
        let mut app = program::start(&server);
        let begun = Instant::now();
        app.discover(0).await;
        assert_eq!(app.error(0).await["code"], -32601);
        assert!(begun.elapsed() < PATIENCE_OF_APPS);
        server.behave();
        app.discover(1).await;
        let known = app.result(1).await;
        server.always(discover(), move |_| reply());
        app.discover(2).await;
        assert_eq!(app.result(2).await, known);
        app.finish().await;
    }
}

/// X-83, E-2, E-3, E-4: the server is one of the legacy era, and the app goes on with `initialize`.
#[tokio::test]
async fn versions_that_are_not_modern_send_the_app_to_initialize() {
    let replies: [fn(&Request) -> Reply; 6] = [
        |request| Reply::json(discovery(request, &json!([]))),
        |request| Reply::json(discovery(request, &json!(VERSION))),
        |request| Reply::json(discovery(request, &json!(["2025-06-18", "2025-11-25"]))),
        |request| Reply::json(unsupported(request, &["2025-06-18"])),
        |request| {
            let body = unsupported(request, &["2025-06-18"]);
            Reply::status(400).body("application/json", body)
        },
        |request| Reply::json(request.error(-32000, "Server not initialized")),
    ];
    for reply in replies {
        let server = FaultServer::start();
        server.always(discover(), reply);
        let mut app = program::start(&server);
        app.discover("probe").await;
        assert_eq!(app.error("probe").await["code"], -32601);
        app.initialize().await;
        app.still_served().await;
        assert_eq!(server.count(&discover()), 1);
        app.finish().await;
    }
}

/// X-83, E-8
#[tokio::test]
async fn versions_of_the_future_are_for_the_app_to_judge() {
    let server = FaultServer::start_as(Binding::Modern);
    server.always(discover(), |request| {
        Reply::json(discovery(request, &json!(["2030-01-01"])))
    });
    let mut app = program::start(&server);
    app.discover(0).await;
    assert_eq!(
        app.result(0).await["supportedVersions"],
        json!(["2030-01-01"])
    );
    app.finish().await;
}

/// X-83, E-2
#[tokio::test]
async fn an_initialize_that_no_version_fits_is_an_error() {
    let lists = [
        json!([]),
        json!(VERSION),
        json!(["2025-06-18"]),
        json!(["2030-01-01"]),
    ];
    for versions in lists {
        let server = FaultServer::start_as(Binding::Modern);
        let listed = versions.clone();
        server.always(discover(), move |request| {
            Reply::json(discovery(request, &listed))
        });
        let mut app = program::start(&server);
        app.send(initialize_line("2025-06-18")).await;
        let error = app.error("init").await;
        let message = error["message"].as_str().unwrap_or_default();
        assert!(!message.is_empty(), "{error}");
        if versions == json!(["2030-01-01"]) {
            assert!(
                message.contains("2030-01-01") && message.contains(VERSION),
                "{error}"
            );
        }
        assert!(server.requests().len() <= 3, "{}", server.story());
        app.finish().await;
    }
}

/// X-84, HL-22: streamable HTTP, then the modern era, then HTTP+SSE.
#[tokio::test]
async fn a_refusal_that_says_nothing_leads_through_the_eras_to_the_older_transport() {
    // A bare 400 may also be about the version, so an older one is tried.
    let older = ["initialize", "GET"].as_slice();
    let replies: [fn() -> Reply; 3] = [
        || refused(400, "text/html", "<h1>Bad Request</h1>"),
        || Reply::status(400),
        || Reply::status(405),
    ];
    for (reply, then) in replies.into_iter().zip([older, older, &["GET"]]) {
        let server = FaultServer::start_as(Binding::HttpSse);
        server.always(post(), move |request| {
            request.target.starts_with("/sse").then(reply)
        });
        let mut app = program::start(&server);
        app.discover("probe").await;
        assert_eq!(app.error("probe").await["code"], -32601);
        app.initialize().await;
        app.still_served().await;
        let first = ["server/discover", "initialize", "server/discover"];
        let asked = asked(&server);
        assert_eq!(asked[..3], first);
        assert_eq!(asked[3..3 + then.len()], *then);
        app.finish().await;
    }
}

///
#[tokio::test]
async fn a_modern_server_with_odd_refusals_is_found() {
    let replies: [fn(&Request) -> Reply; 5] = [
        |_| refused(400, "text/html", "<h1>Bad Request</h1>"),
        |_| Reply::status(400),
        |_| Reply::status(404),
        |_| Reply::status(405),
        |request| Reply::json(request.error(-32601, "Method not found")),
    ];
    for reply in replies {
        let server = FaultServer::start_as(Binding::Modern);
        server.always(rpc("initialize"), reply);
        let mut app = program::initialized(&server).await;
        app.still_served().await;
        assert_eq!(asked(&server)[..2], ["initialize", "server/discover"]);
        assert_eq!(server.count(&discover()), 1);
        app.finish().await;
    }
}

/// X-84, E-3
#[tokio::test]
async fn a_page_instead_of_an_answer_is_an_error_and_no_evidence() {
    let server = FaultServer::start();
    server.always(post(), |_| refused(200, "text/html", "<h1>Welcome</h1>"));
    let mut app = program::start(&server);
    app.discover(0).await;
    assert_eq!(app.error(0).await["code"], -32601);
    app.send(initialize_line("2025-06-18")).await;
    app.own_error("init", "invalid_response").await;
    assert_eq!(asked(&server), ["server/discover", "initialize"]);
    // Nothing was concluded: the next probe is asked.
    server.behave();
    app.discover(1).await;
    app.error(1).await;
    assert_eq!(server.count(&discover()), 2);
    app.finish().await;
}

/// E-1
#[tokio::test]
async fn refusals_that_pass_are_no_evidence_of_an_era() {
    for status in [403, 407, 408, 429, 500, 503] {
        let server = FaultServer::start_as(Binding::Dual);
        server.always(post(), move |_| Reply::status(status));
        let mut app = program::bridge_for(&server).args(["--fail-fast"]).start();
        app.ask(1, "tools/list", &json!({})).await;
        app.error(1).await;
        app.send(initialize_line("2025-06-18")).await;
        app.error("init").await;
        assert_eq!(server.count(&discover()), 0, "{}", server.story());
        server.behave();
        app.still_served_modern().await;
        app.initialize().await;
        app.still_served().await;
        assert_eq!(server.count(&discover()), 0, "{}", server.story());
        app.finish().await;
    }
}

/// E-1: nor where the answer to the probe is one.
#[tokio::test]
async fn a_probe_that_is_refused_for_a_while_is_no_evidence() {
    for status in [403, 408, 429, 500] {
        let server = FaultServer::start();
        server.always(discover(), move |request| {
            let body = request.error(-32000, "not now");
            Reply::status(status).body("application/json", body)
        });
        // With one more for an older version.
        server.times(2, rpc("initialize"), |_| Reply::status(400));
        let mut app = program::bridge_for(&server).args(["--fail-fast"]).start();
        app.discover(0).await;
        assert_eq!(app.error(0).await["code"], -32601);
        app.send(initialize_line("2025-06-18")).await;
        app.error("init").await;
        server.speak(Binding::Dual);
        server.behave();
        let probes = server.count(&discover());
        app.discover(1).await;
        app.result(1).await;
        assert_eq!(server.count(&discover()), probes + 1);
        app.finish().await;
    }
}

/// X-85, E-5, E-6
#[tokio::test]
async fn a_verdict_is_there_for_the_next_process() {
    let server = FaultServer::start_as(Binding::Modern);
    let memory = TempDir::new().expect("a directory");
    let mut first = with_memory(&server, &memory).start();
    first.initialize().await;
    first.finish().await;
    let mut second = with_memory(&server, &memory).start();
    second.initialize().await;
    second.still_served().await;
    assert_eq!(server.count(&rpc("initialize")), 1);
    assert_eq!(server.count(&discover()), 2);
    second.finish().await;
}

/// X-85, E-5
#[tokio::test]
async fn a_stale_modern_verdict_is_corrected_by_one_probe() {
    let server = FaultServer::start_as(Binding::Modern);
    let memory = TempDir::new().expect("a directory");
    let mut app = with_memory(&server, &memory).start();
    app.initialize().await;
    app.finish().await;
    server.speak(Binding::Streamable);
    for probes in [2, 2] {
        let mut app = with_memory(&server, &memory).start();
        app.initialize().await;
        app.still_served().await;
        assert_eq!(server.count(&discover()), probes, "{}", server.story());
        app.finish().await;
    }
}

/// X-85, E-5
#[tokio::test]
async fn a_stale_legacy_verdict_is_corrected_by_one_probe() {
    let server = FaultServer::start();
    let memory = TempDir::new().expect("a directory");
    let mut app = with_memory(&server, &memory).start();
    app.discover(0).await;
    assert_eq!(app.error(0).await["code"], -32601);
    app.finish().await;
    server.speak(Binding::Modern);
    let mut app = with_memory(&server, &memory).start();
    app.discover(0).await;
    assert_eq!(app.error(0).await["code"], -32601);
    assert_eq!(
        server.count(&discover()),
        1,
        "the verdict is good for a day"
    );
    app.initialize().await;
    app.still_served().await;
    assert_eq!(server.count(&discover()), 2);
    // What the app's initialize brought to light counts for its probe, too.
    app.discover(1).await;
    app.result(1).await;
    app.finish().await;
}

/// the server is put back while the app is there.
#[tokio::test]
async fn a_server_that_was_put_back_is_probed_once_and_served_by_translation() {
    let server = FaultServer::start_as(Binding::Modern);
    let mut app = program::start(&server);
    app.discover(0).await;
    app.result(0).await;
    app.still_served_modern().await;
    server.speak(Binding::Streamable);
    for _ in 0..3 {
        app.still_served_modern().await;
    }
    assert_eq!(server.count(&discover()), 2, "{}", server.story());
    assert_eq!(server.count(&rpc("initialize")), 1);
    app.finish().await;
}

///
#[tokio::test]
async fn a_server_that_refuses_the_version_it_offers_is_not_asked_for_ever() {
    let server = FaultServer::start_as(Binding::Modern);
    server.always(post(), |request| {
        let body = unsupported(request, &[VERSION]);
        Reply::status(400).body("application/json", body)
    });
    let mut app = program::start(&server);
    app.send(initialize_line("2025-06-18")).await;
    let error = app.error("init").await;
    assert!(error.to_string().contains(VERSION), "{error}");
    app.discover(0).await;
    assert_eq!(app.error(0).await["data"]["supported"], json!([VERSION]));
    app.ask(1, "tools/list", &json!({})).await;
    assert_eq!(app.error(1).await["code"], -32022);
    assert!(server.requests().len() <= 5, "{}", server.story());
    app.finish().await;
}

/// X-103, ST-32
#[tokio::test]
async fn initialize_takes_the_place_of_a_probe_with_the_same_id() {
    let server = FaultServer::start_as(Binding::Dual);
    server.once(discover(), |_| Reply::no_answer_ever());
    let mut app = program::start(&server);
    app.discover("init").await;
    server.received(discover(), 1).await;
    assert!(app.initialize().await["serverInfo"].is_object());
    app.still_served().await;
    assert!(app.finish().await.unread.is_empty());
}

/// X-103, ST-30: also an `initialize` after a probe that went well, and a probe after that.
#[tokio::test]
async fn both_eras_are_served_side_by_side() {
    let server = FaultServer::start_as(Binding::Dual);
    let mut app = program::start(&server);
    app.discover("first").await;
    app.result("first").await;
    app.initialize().await;
    app.discover("second").await;
    app.result("second").await;
    let gate = Gate::closed();
    for _ in 0..2 {
        let held = gate.clone();
        server.once(rpc("tools/call"), move |request| {
            Reply::sse().wait(&held).data(request.echo())
        });
    }
    app.call(1, "echo", "legacy").await;
    app.ask_tool("1", "echo", "modern").await;
    server.received(rpc("tools/call"), 2).await;
    app.still_served().await;
    app.still_served_modern().await;
    gate.open();
    assert_eq!(app.result(1).await["content"][0]["text"], "legacy");
    assert_eq!(app.result("1").await["content"][0]["text"], "modern");
    assert_eq!(server.count(&rpc("initialize")), 1);
    app.finish().await;
}

///
#[tokio::test]
async fn a_request_of_an_unknown_version_is_for_the_server_and_a_malformed_one_is_refused() {
    const KEY: &str = "io.modelcontextprotocol/protocolVersion";
    let server = FaultServer::start_as(Binding::Modern);
    let mut app = program::start(&server);
    let mut params = modern::signed(&json!({}));
    params["_meta"][KEY] = json!(20_260_728);
    app.request(1, "tools/list", &params).await;
    assert_eq!(app.error(1).await["code"], -32602);
    assert!(server.requests().is_empty());
    params["_meta"][KEY] = json!("1900-01-01");
    app.request(2, "tools/list", &params).await;
    let error = app.error(2).await;
    assert_eq!(error["code"], -32022);
    assert_eq!(
        error["data"],
        json!({"supported": [VERSION], "requested": "1900-01-01"})
    );
    app.still_served_modern().await;
    app.finish().await;
}

/// E-6: nothing goes out but what the app says.
#[tokio::test]
async fn auto_costs_no_probe() {
    let server = FaultServer::start_as(Binding::Dual);
    let mut app = program::initialized(&server).await;
    server.received(get(), 1).await;
    app.still_served().await;
    assert_eq!(server.count(&discover()), 0);
    app.finish().await;
}

/// `--protocol legacy`
#[tokio::test]
async fn legacy_never_speaks_modern() {
    let server = FaultServer::start_as(Binding::Dual);
    let mut app = with_protocol(&server, "legacy");
    app.discover(0).await;
    assert_eq!(app.error(0).await["code"], -32601);
    app.still_served_modern().await;
    app.initialize().await;
    app.still_served().await;
    assert!(
        !server.requests().iter().any(modern::is_modern),
        "{}",
        server.story()
    );
    app.finish().await;
}

/// `--protocol modern`
#[tokio::test]
async fn modern_never_speaks_legacy() {
    let server = FaultServer::start_as(Binding::Dual);
    let mut app = with_protocol(&server, "modern");
    app.initialize().await;
    app.still_served().await;
    app.still_served_modern().await;
    assert!(
        server.requests().iter().all(modern::is_modern),
        "{}",
        server.story()
    );
    app.finish().await;
    let server = FaultServer::start();
    let mut app = with_protocol(&server, "modern");
    app.send(initialize_line("2025-06-18")).await;
    app.own_error("init", "invalid_response").await;
    assert_eq!(asked(&server), ["server/discover"]);
    app.finish().await;
}

/// `--protocol prefer-modern`
#[tokio::test]
async fn prefer_modern_probes_first_and_falls_back() {
    for (binding, handshakes) in [(Binding::Dual, 0), (Binding::Streamable, 1)] {
        let server = FaultServer::start_as(binding);
        let mut app = with_protocol(&server, "prefer-modern");
        app.initialize().await;
        app.still_served().await;
        assert_eq!(asked(&server)[0], "server/discover");
        assert_eq!(server.count(&rpc("initialize")), handshakes);
        app.finish().await;
    }
}
