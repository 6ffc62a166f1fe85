//! A server that cannot be reached: the app is told why, and the bridge heals by itself.

use serde_json::json;

use crate::program;
use mcp_bridge_testkit::{
    app::{INITIALIZED, initialize_line},
    fault_server::FaultServer,
    mcp::Binding,
    reply::Reply,
    request::{call, rpc},
};

/// Requests that are to fail wait for a moment only.
const IMPATIENT: [&str; 2] = ["--patience", "0.1"];

///
#[tokio::test]
async fn a_name_that_does_not_exist_is_named_as_the_cause() {
    let launch = program::bridge_at("https://no-such-host.invalid/mcp").args(IMPATIENT);
    let mut app = launch.start();
    app.request(1, "tools/list", &json!({})).await;
    let data = app.own_error(1, "dns").await;
    assert_eq!(data["host"], "no-such-host.invalid");
    app.finish().await;
}

///
#[tokio::test]
async fn a_port_where_nobody_listens_is_named_as_the_cause() {
    let server = FaultServer::start_down(Binding::Stateless);
    let mut app = program::bridge_for(&server).args(IMPATIENT).start();
    app.call(1, "echo", "").await;
    let data = app.own_error(1, "refused").await;
    assert_eq!(data["host"], server.host());
    assert_eq!(data.get("outcomeUnknown"), None, "{data}");
    server.come_up();
    app.still_served().await;
    app.finish().await;
}

/// B18
#[tokio::test]
async fn a_server_that_is_not_yet_up_is_waited_for() {
    let server = FaultServer::start_down(Binding::Streamable);
    let mut app = program::start(&server);
    app.send(initialize_line("2025-06-18")).await;
    // The answer of the bridge itself shows that it has read the line before.
    app.send("not JSON").await;
    app.error_without_id().await;
    server.come_up();
    app.result("init").await;
    app.send(INITIALIZED).await;
    app.still_served().await;
    app.finish().await;
}

/// X-30, B4, B18
#[tokio::test]
async fn a_server_that_goes_down_and_comes_back_needs_no_restart_of_the_bridge() {
    let server = FaultServer::start();
    let mut app = program::bridge_for(&server).args(IMPATIENT).start();
    app.initialize().await;
    server.go_down().await;
    app.call(1, "echo", "").await;
    app.own_error(1, "refused|connection_lost").await;
    app.request(2, "tools/list", &json!({})).await;
    assert_eq!(app.result(2).await, json!({"tools": []}));
    server.come_up();
    app.still_served().await;
    assert_eq!(server.count(&rpc("initialize")), 2);
    app.finish().await;
}

///
#[tokio::test]
async fn a_proxy_that_wants_a_password_is_named_as_the_cause() {
    let proxy = FaultServer::start();
    proxy.always(mcp_bridge_testkit::request::Want::Http("CONNECT"), |_| {
        Reply::status(407).header("Proxy-Authenticate", "Basic realm=\"proxy\"")
    });
    let mut app = program::bridge_at("https://mcp.example/mcp")
        .env("https_proxy", format!("http://{}", proxy.host()))
        .start();
    app.send(initialize_line("2025-06-18")).await;
    app.own_error("init", "proxy").await;
    app.finish().await;
}

/// none of these tells anything about the server's revision of the protocol.
#[tokio::test]
async fn a_failure_before_the_session_does_not_lead_to_another_transport() {
    type Respond = fn(&mcp_bridge_testkit::request::Request) -> Reply;
    let replies: [Respond; 4] = [
        |_| Reply::status(500),
        |_| Reply::status(429),
        |_| Reply::no_answer_but_reset(),
        |_| Reply::status(200).body("text/html", "<p>welcome</p>"),
    ];
    for respond in replies {
        let server = FaultServer::start();
        server.always(rpc("initialize"), respond);
        let launch = program::bridge_for(&server).args(["--wait-for-auth"]);
        let mut app = launch.start();
        app.send(initialize_line("2025-06-18")).await;
        app.error("init").await;
        let others = server
            .requests()
            .iter()
            .filter(|request| request.method != "POST")
            .count();
        assert_eq!(others, 0, "{}", server.story());
        server.behave();
        app.initialize().await;
        app.still_served().await;
        app.finish().await;
    }
}

/// `--fail-fast`: for scripts.
#[tokio::test]
async fn with_fail_fast_a_server_that_is_down_ends_the_process() {
    let server = FaultServer::start_down(Binding::Streamable);
    let mut app = program::bridge_for(&server).args(["--fail-fast"]).start();
    app.send(initialize_line("2025-06-18")).await;
    app.own_error("init", "refused").await;
    let status = app.ends_by_itself().await;
    assert!(!status.success());
    app.finish().await;
}

/// X-44, HL-18: a call that may have been carried out is never carried out twice.
#[tokio::test]
async fn a_tool_call_whose_connection_is_lost_is_reported_with_its_outcome_unknown() {
    for reply in [Reply::no_answer_but_reset, Reply::no_answer_but_close] {
        let server = FaultServer::start();
        server.always(call("faulty"), move |_| reply());
        let mut app = program::initialized(&server).await;
        app.call(1, "faulty", "").await;
        let data = app.own_error(1, "connection_lost").await;
        assert_eq!(data["outcomeUnknown"], true);
        assert_eq!(server.count(&call("faulty")), 1);
        app.still_served().await;
        app.finish().await;
    }
}
