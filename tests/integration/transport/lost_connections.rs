//! Connections that end at a bad moment, and addresses that change.

use serde_json::json;

use crate::program;
use mcp_bridge_testkit::{
    HEADER_MARKER,
    fault_server::FaultServer,
    reply::Reply,
    request::{Request, call, post, rpc},
};

///
#[tokio::test]
async fn a_connection_that_the_server_closes_between_requests_is_replaced() {
    let server = FaultServer::start();
    server.always(call("last"), |request| Reply::json(request.echo()).close());
    let mut app = program::initialized(&server).await;
    for id in 0..10 {
        app.call(id, "last", "on this connection").await;
        app.result(id).await;
    }
    assert_eq!(server.count(&call("last")), 10);
    app.finish().await;
}

///
#[tokio::test]
async fn a_reset_on_a_used_connection_is_retried_only_where_it_is_safe() {
    let server = FaultServer::start();
    server.once(rpc("tools/list"), |_| Reply::no_answer_but_reset());
    server.once(call("faulty"), |_| Reply::no_answer_but_reset());
    let mut app = program::initialized(&server).await;
    app.still_served().await;
    app.request(1, "tools/list", &json!({})).await;
    app.result(1).await;
    app.still_served().await;
    app.call(2, "faulty", "").await;
    assert_eq!(
        app.own_error(2, "connection_lost").await["outcomeUnknown"],
        true
    );
    assert_eq!(server.count(&rpc("tools/list")), 2);
    assert_eq!(server.count(&call("faulty")), 1);
    app.still_served().await;
    app.finish().await;
}

/// Requests one after another need one connection, not one each.
#[tokio::test]
async fn connections_are_used_again() {
    let server = FaultServer::start();
    let mut app = program::initialized(&server).await;
    for _ in 0..20 {
        app.still_served().await;
    }
    let connections = server.connections();
    assert!(connections <= 4, "{connections} connections");
    app.finish().await;
}

/// a request that meets the end of a connection may have been seen, and is not sent again.
#[tokio::test]
async fn a_connection_is_left_before_the_server_closes_it_as_announced() {
    let server = FaultServer::start();
    server.always(call("last"), |request| {
        Reply::json(request.echo()).header("Keep-Alive", "timeout=0, max=100")
    });
    let mut app = program::initialized(&server).await;
    app.still_served().await;
    let before = server.connections();
    for id in 0..10 {
        app.call(id, "last", "on this connection").await;
        app.result(id).await;
    }
    let more = server.connections() - before;
    assert!(more >= 9, "{more} connections");
    app.finish().await;
}

/// X-54, HC-14
#[tokio::test]
async fn a_redirect_within_the_origin_keeps_method_body_and_headers() {
    for status in [307, 308] {
        let server = FaultServer::start();
        server.always(post(), move |request: &Request| {
            let moved = || Reply::status(status).header("Location", "/mcp/");
            (!request.target.starts_with("/mcp/")).then(moved)
        });
        let mut app = program::initialized(&server).await;
        app.still_served().await;
        let calls = server.requests_for(&call("echo"));
        let last = calls.last().expect("a call");
        assert_eq!(last.target, "/mcp/");
        assert_eq!(last.header("x-api-key"), Some(HEADER_MARKER));
        assert_eq!(last.body, calls[0].body);
        app.finish().await;
    }
}

/// X-54, I3
#[tokio::test]
async fn a_redirect_to_another_origin_is_an_error_and_nothing_goes_there() {
    let elsewhere = FaultServer::start();
    let other_port = format!("http://{}/mcp", elsewhere.host());
    for location in [
        other_port.as_str(),
        "http://169.254.169.254/latest/meta-data",
        "https://mcp.example/mcp",
        "//mcp.example/mcp",
        "ftp://localhost/",
        "javascript:alert(1)",
    ] {
        for status in [301, 302, 303, 307, 308] {
            let server = FaultServer::start();
            let location = location.to_owned();
            server.once(call("moved"), move |_| {
                Reply::status(status).header("Location", &location)
            });
            let mut app = program::initialized(&server).await;
            app.call(1, "moved", "").await;
            app.own_error(1, "redirect").await;
            app.still_served().await;
            app.finish().await;
        }
    }
    assert_eq!(elsewhere.connections(), 0);
}

///
#[tokio::test]
async fn a_redirect_that_would_turn_a_post_into_a_get_is_an_error() {
    for status in [300, 301, 302, 303, 304] {
        let server = FaultServer::start();
        server.once(call("moved"), move |_| {
            Reply::status(status).header("Location", "/other")
        });
        let mut app = program::initialized(&server).await;
        app.call(1, "moved", "").await;
        app.own_error(1, "redirect|http_status").await;
        assert_eq!(server.count(&call("moved")), 1);
        app.still_served().await;
        app.finish().await;
    }
}

/// X-54, I4
#[tokio::test]
async fn a_redirect_that_leads_nowhere_is_given_up() {
    const HOPS: usize = 6;
    for location in [Some("/mcp"), Some("http://[bad"), Some(""), None] {
        let server = FaultServer::start();
        server.always(call("moved"), move |_| {
            let reply = Reply::status(307);
            match location {
                Some(location) => reply.header("Location", location),
                None => reply,
            }
        });
        let mut app = program::initialized(&server).await;
        app.call(1, "moved", "").await;
        app.own_error(1, "redirect|http_status|invalid_response")
            .await;
        assert!(server.count(&call("moved")) <= HOPS);
        app.still_served().await;
        app.finish().await;
    }
}
