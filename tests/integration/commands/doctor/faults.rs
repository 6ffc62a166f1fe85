//! Diagnosis of wrong addresses and faulty servers.

use serde_json::json;

use super::{Doctor, SILENCE};
use mcp_bridge_testkit::fault_server::FaultServer;
use mcp_bridge_testkit::mcp::{Binding, initialize_result};
use mcp_bridge_testkit::reply::Reply;
use mcp_bridge_testkit::request::{get, post, rpc};

#[tokio::test]
async fn a_web_page_instead_of_a_server() {
    let server = FaultServer::start();
    let page = |_: &_| Reply::status(200).body("text/html; charset=utf-8", "<html>Hello</html>");
    server.always(post(), page);
    server.always(get(), page);
    let report = Doctor::of(&server.url()).examine().await;
    report.fails("endpoint", "200 OK with a web page", "login page");
}

#[tokio::test]
async fn a_wrong_path_with_the_right_one_beside_it() {
    let server = FaultServer::start();
    server.always(post(), |request| {
        let is_endpoint = request.target.starts_with("/mcp");
        (!is_endpoint).then(|| Reply::status(404))
    });
    for path in ["/", "/wrong"] {
        let url = server.url().replace("/mcp", path);
        let report = Doctor::of(&url).examine().await;
        let right = format!("answers at http://{}/mcp:", server.host());
        report.fails("endpoint", "404 Not Found", &right);
    }
    let sessions = server.count(&rpc("initialize"));
    assert!(sessions > 0);
}

#[tokio::test]
async fn a_wrong_path_with_nothing_beside_it() {
    let server = FaultServer::start();
    server.always(post(), |_| Reply::status(404));
    server.always(get(), |_| Reply::status(404));
    let report = Doctor::of(&server.url()).examine().await;
    report.fails("endpoint", "404 Not Found", "check the path");
}

#[tokio::test]
async fn a_redirect_to_somewhere_else() {
    let server = FaultServer::start();
    server.always(post(), |_| {
        Reply::status(308).header("Location", "https://elsewhere.example/mcp?key=1")
    });
    let report = Doctor::of(&server.url()).examine().await;
    let found = "redirects to https://elsewhere.example/mcp, which is not followed";
    report.fails("endpoint", found, "put it in the place of the URL");
}

#[tokio::test]
async fn a_redirect_within_the_server() {
    let server = FaultServer::start();
    server.always(post(), |request| {
        let is_old = request.target.starts_with("/old");
        is_old.then(|| Reply::status(308).header("Location", "/mcp?key=1"))
    });
    let url = server.url().replace("/mcp", "/old");
    let report = Doctor::of(&url).examine().await;
    let found = format!("redirects to http://{}/mcp", server.host());
    report.warns("endpoint", &found, "use that URL instead");
    report.passes("tools", "1 tool");
}

#[tokio::test]
async fn an_event_stream_whose_address_for_messages_is_of_no_use() {
    let cases = [
        (
            "http://app.internal:8000/messages?id=1",
            "names http://app.internal:8000/messages as",
        ),
        (
            "/lost",
            "/lost for messages, and a message there is refused: the server answered 405",
        ),
    ];
    for (address, found) in cases {
        let server = FaultServer::start_as(Binding::HttpSse);
        server.always(get(), move |_| {
            let event = format!("event: endpoint\ndata: {address}\n\n");
            Reply::sse().bytes(event).stall()
        });
        let report = Doctor::of(&server.url()).examine().await;
        let name = if address.starts_with('/') {
            "era"
        } else {
            "transport"
        };
        report.fails(
            name,
            found,
            "the server's operator has to configure its public",
        );
    }
}

#[tokio::test]
async fn a_server_that_fails() {
    let server = FaultServer::start();
    server.always(post(), |_| {
        Reply::status(500).body("text/plain", "no database")
    });
    server.always(get(), |_| Reply::status(500));
    let report = Doctor::of(&server.url()).examine().await;
    report.fails("endpoint", "no database", "finds more in its log");
}

#[tokio::test]
async fn a_server_that_forbids_it() {
    let server = FaultServer::start();
    server.always(post(), |_| Reply::status(403));
    let report = Doctor::of(&server.url()).examine().await;
    report.fails("endpoint", "403 Forbidden", "the account, or a header");
}

#[tokio::test]
async fn a_server_that_refuses_the_users_own_header() {
    let server = FaultServer::start();
    server.always(post(), |_| Reply::status(401));
    server.always(get(), |_| Reply::status(401));
    let doctor = Doctor::of(&server.url());
    let doctor = doctor.args(["--header", "Authorization: Bearer ${API_KEY}"]);
    let report = doctor.examine().await;
    report.fails("endpoint", "401 Unauthorized", "given by --header");
}

#[tokio::test]
async fn a_server_that_falls_silent_later() {
    let server = FaultServer::start();
    server.always(rpc("tools/list"), |_| Reply::no_answer_ever());
    server.always(get(), |_| Reply::no_answer_ever());
    let report = Doctor::of(&server.url()).args(SILENCE).examine().await;
    report.fails("tools", "no answer within 0.5 s", "");
    report.warns("get_stream", "no answer", "send its headers at once");
}

#[tokio::test]
async fn a_server_of_the_older_transport() {
    let server = FaultServer::start_as(Binding::HttpSse);
    let report = Doctor::of(&server.url()).examine().await;
    assert_eq!(report.names("failed"), [""; 0]);
    report.warns("transport", "HTTP+SSE", "streamable HTTP");
    report.passes("era", "2025-11-25");
    report.passes("tools", "1 tool");

    let doctor = Doctor::of(&server.url()).args(["--transport", "http-only"]);
    doctor
        .examine()
        .await
        .fails("transport", "HTTP+SSE", "http-first");
}

#[tokio::test]
async fn a_server_of_the_modern_era_alone() {
    let server = FaultServer::start_as(Binding::Modern);
    let report = Doctor::of(&server.url()).examine().await;
    assert_eq!(report.names("failed"), [""; 0]);
    report.passes("era", "2026-07-28");
    report.passes("tools", "1 tool");
    report.skips("session", "not part of 2026-07-28");

    let doctor = Doctor::of(&server.url()).args(["--protocol", "legacy"]);
    doctor
        .examine()
        .await
        .fails("era", "2026-07-28", "drop --protocol");
}

#[tokio::test]
async fn a_server_of_both_eras() {
    let server = FaultServer::start_as(Binding::Dual);
    let report = Doctor::of(&server.url()).examine().await;
    report.passes("era", "2025-11-25 by handshake, and 2026-07-28");
    report.passes("transport", "streamable HTTP");
}

#[tokio::test]
async fn a_server_of_a_version_that_nobody_here_knows() {
    let server = FaultServer::start();
    server.always(rpc("initialize"), |request| {
        Reply::status(400).body("application/json", request.error(-32600, "no"))
    });
    server.always(rpc("server/discover"), |request| {
        let result = json!({ "supportedVersions": ["2031-01-01"], "capabilities": {} });
        Reply::json(request.result(result.to_string()))
    });
    let report = Doctor::of(&server.url()).examine().await;
    report.fails("era", "2031-01-01", "the bridge speaks 2026-07-28");
}

/// Each of these works with the bridge, and not with every client.
#[tokio::test]
async fn what_the_specification_demands_is_named_with_its_place() {
    let server = FaultServer::start();
    server.always(rpc("initialize"), |request| {
        let result = initialize_result(&"2025-11-25".into());
        Reply::status(200)
            .bytes(request.result(result))
            .header("Mcp-Session-Id", "one")
    });
    server.always(rpc("notifications/initialized"), |_| Reply::json("{}"));
    server.always(rpc("tools/list"), |request| {
        Reply::json(request.result(r#"{"tools":[{},{}],"nextCursor":"3"}"#))
    });
    server.always(rpc("ping"), |request| Reply::json(request.result("{}")));
    server.always(get(), |_| Reply::json("{}"));
    server.always(mcp_bridge_testkit::request::delete(), |_| {
        Reply::status(500)
    });
    let report = Doctor::of(&server.url()).examine().await;
    report.passes("tools", "2 tools, and more");
    for (name, found, fix) in [
        ("content_type", "no Content-Type", "application/json"),
        ("notification", "200 OK", "202"),
        ("get_stream", "200 OK to GET", "405"),
        ("version_header", "200 OK", "400"),
        ("origin", "200 OK to a foreign Origin", "403"),
        ("session_end", "500", "405"),
    ] {
        report.warns(name, found, fix);
        let place = report.check(name)["specification"].as_str();
        assert!(place.is_some_and(|place| place.starts_with("MCP 2025-11-25, Transports")));
    }
}

#[tokio::test]
async fn a_session_id_that_no_header_should_carry() {
    let server = FaultServer::start();
    server.always(rpc("initialize"), |request| {
        let result = initialize_result(&"2025-11-25".into());
        Reply::json(request.result(result)).header("Mcp-Session-Id", "two words")
    });
    let report = Doctor::of(&server.url()).examine().await;
    report.fails("session", "characters", "visible ASCII");
}

/// The session that the examination opens is ended again.
#[tokio::test]
async fn nothing_is_left_behind() {
    let server = FaultServer::start();
    Doctor::of(&server.url()).examine().await;
    assert_eq!(server.count(&mcp_bridge_testkit::request::delete()), 1);
    let calls = server.count(&rpc("tools/call"));
    assert_eq!(calls, 0);
}

/// A terminal does what control characters say.
#[tokio::test]
async fn what_a_server_says_is_shown_on_one_line() {
    let server = FaultServer::start();
    server.always(post(), |request| {
        let body = request.error(-32000, "\u{1b}[2J\nfake  ok   endpoint");
        Reply::json(body)
    });
    server.always(get(), |_| Reply::status(405));
    let text = Doctor::of(&server.url()).text().await;
    assert!(text.contains("the error -32000"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
    assert!(!text.lines().any(|line| line.starts_with("fake")), "{text}");
}
