//! `--keep-alive`: pings in sessions in which nothing is said.

use crate::program;
use mcp_bridge_testkit::{
    app::App,
    fault_server::FaultServer,
    mcp::Binding,
    reply::Reply,
    request::{Request, rpc},
};

const ENOUGH_REQUESTS: usize = 10_000;

fn ping() -> mcp_bridge_testkit::request::Want {
    rpc("ping")
}

/// Requests of a machine that is busy may come to more than in other tests.
fn server(binding: Binding) -> FaultServer {
    let server = FaultServer::start_as(binding);
    server.allow_requests(ENOUGH_REQUESTS);
    server
}

fn start(server: &FaultServer) -> App {
    let flags = ["--keep-alive", "--ping-interval", "0.01"];
    program::bridge_for(server).args(flags).start()
}

#[tokio::test]
async fn a_quiet_session_is_pinged_and_the_app_hears_nothing_of_it() {
    let server = server(Binding::Streamable);
    // One is refused, one fails, one is answered on a stream.
    server.once(ping(), |request: &Request| {
        Reply::json(request.error(-32601, "no ping here"))
    });
    server.once(ping(), |_: &Request| Reply::status(500));
    server.once(ping(), |request: &Request| {
        Reply::sse().event("1", request.result("{}")).close()
    });
    let mut app = start(&server);
    app.initialize().await;
    let first = server.received(ping(), 1).await;
    assert_eq!(first.message().id(), Some(r#""mcp-bridge-keepalive-1""#));
    assert!(first.header("mcp-session-id").is_some());
    server.received(ping(), 5).await;
    app.still_served().await;
    let unread = app.finish().await.unread;
    assert!(unread.is_empty(), "{unread:#?}");
}

#[tokio::test]
async fn there_is_no_ping_before_the_handshake_is_done() {
    let server = server(Binding::Streamable);
    let mut app = start(&server);
    app.initialize().await;
    server.received(ping(), 1).await;
    let requests = server.requests();
    let order: Vec<_> = requests.iter().map(Request::rpc_method).collect();
    let at = |method: &str| order.iter().position(|name| name == method);
    assert!(at("notifications/initialized") < at("ping"), "{order:?}");
    app.finish().await;
}

#[tokio::test]
async fn a_session_of_the_older_transport_is_pinged_too() {
    let server = server(Binding::HttpSse);
    let mut app = start(&server);
    app.initialize().await;
    server.received(ping(), 3).await;
    app.still_served().await;
    app.finish().await;
}

#[tokio::test]
async fn a_session_that_is_held_for_a_modern_app_is_pinged() {
    let server = server(Binding::Streamable);
    let mut app = start(&server);
    app.ask_tool(1, "echo", "a").await;
    app.result(1).await;
    server.received(ping(), 2).await;
    app.finish().await;
}

/// The modern era has no sessions, so there is nothing to keep alive. How long to look is told by a session
/// elsewhere, which is pinged many times meanwhile.
#[tokio::test]
async fn there_is_no_ping_in_the_modern_era() {
    let modern = server(Binding::Modern);
    let mut quiet = start(&modern);
    quiet.initialize().await;
    let clock = server(Binding::Streamable);
    let mut ticking = start(&clock);
    ticking.initialize().await;
    clock.received(ping(), 20).await;
    ticking.finish().await;
    quiet.finish().await;
    assert_eq!(modern.count(&ping()), 0, "{}", modern.story());
}

#[tokio::test]
async fn an_interval_of_nothing_is_refused() {
    let launch = program::bridge().args(["http://localhost:1/mcp", "--ping-interval", "0"]);
    let stderr = launch.start().refuses_to_start().await;
    assert!(stderr.contains("more than 0"), "{stderr}");
}
