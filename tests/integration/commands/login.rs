//! `mcp-bridge login`: the visit that shows that the server takes the token.

use crate::program;
use mcp_bridge_testkit::{
    fault_server::FaultServer,
    mcp::Binding,
    modern::complete,
    program::CommandOutput,
    reply::Reply,
    request::{Request, delete, rpc},
};
use serde_json::json;

async fn login(server: &FaultServer) -> CommandOutput {
    let url = server.url();
    let header = format!("X-Api-Key: {}", mcp_bridge_testkit::HEADER_MARKER);
    let ran = program::command(["login", "--header", &header, &url])
        .run()
        .await;
    // Metadata of authorization servers is looked for without a session, and is no business of the endpoint.
    let is_of_endpoint = |fault: &String| !fault.starts_with("GET : ");
    let faults: Vec<_> = server.faults().into_iter().filter(is_of_endpoint).collect();
    assert!(faults.is_empty(), "{faults:#?}\n{}", server.story());
    ran
}

#[tokio::test]
async fn login_counts_the_tools_of_all_pages_and_ends_the_session() {
    let server = FaultServer::start();
    server.always(rpc("tools/list"), |request: &Request| {
        let result = match request.params()["cursor"].as_str() {
            None => json!({"tools": [{"name": "a"}, {"name": "b"}], "nextCursor": "2"}),
            Some(_) => json!({"tools": [{"name": "c"}]}),
        };
        Reply::json(request.result(result.to_string()))
    });
    let ran = login(&server).await;
    assert!(ran.stdout.ends_with(" and offers 3 tools.\n"), "{ran:?}");
    assert_eq!((ran.stderr.as_str(), ran.status), ("", 0));
    assert_eq!(server.count(&delete()), 1, "{}", server.story());
}

#[tokio::test]
async fn login_counts_the_tools_of_a_modern_server() {
    let server = FaultServer::start_as(Binding::Modern);
    server.always(rpc("tools/list"), |request: &Request| {
        let tools = json!([{"name": "a", "inputSchema": {"type": "object"}}]);
        let result = json!({"tools": tools, "ttlMs": 0, "cacheScope": "private"});
        complete(request, &result)
    });
    let ran = login(&server).await;
    assert!(ran.stdout.ends_with(" and offers 1 tool.\n"), "{ran:?}");
    assert_eq!((ran.stderr.as_str(), ran.status), ("", 0));
}

/// The server has taken the token, which is all that is to be shown.
#[tokio::test]
async fn login_is_content_with_a_server_that_lists_no_tools() {
    let answers: [fn(&Request) -> Reply; 2] = [
        |request| Reply::json(request.error(-32601, "Method not found")),
        |request| Reply::json(request.result("{}")),
    ];
    for answer in answers {
        let server = FaultServer::start();
        server.always(rpc("tools/list"), answer);
        let ran = login(&server).await;
        assert!(ran.stdout.contains("\nThe server is "), "{ran:?}");
        assert!(!ran.stdout.contains("tool"), "{ran:?}");
        assert_eq!((ran.stderr.as_str(), ran.status), ("", 0));
    }
}

#[tokio::test]
async fn login_fails_with_the_reason_where_the_visit_fails() {
    let server = FaultServer::start();
    server.always(rpc("tools/list"), |_: &Request| {
        Reply::status(200).body("text/html", "<html>")
    });
    let ran = login(&server).await;
    let error = format!(
        "error: {}: the answer is not valid: it is of type text/html",
        server.host()
    );
    assert!(ran.stderr.starts_with(&error), "{ran:?}");
    assert!(ran.stderr.contains("\n\nhint: "), "{ran:?}");
    assert_eq!((ran.stdout.as_str(), ran.status), ("", 1));
    let server = FaultServer::start();
    server.always(rpc("initialize"), |request: &Request| {
        Reply::json(request.error(-32603, "not today"))
    });
    let ran = login(&server).await;
    let error = "error: the server says: not today (-32603)\n\nhint: ";
    assert!(ran.stderr.starts_with(error), "{ran:?}");
    assert_eq!((ran.stdout.as_str(), ran.status), ("", 1));
}
