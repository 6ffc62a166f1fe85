//! Headers of MCP 2026-07-28 in legacy sessions (`Mcp-Method`, `Mcp-Name`, `Mcp-Param-*`), as GitHub's server
//! demands them, and `--mcp-param-headers`.

use serde_json::{Value, json};

use crate::program;
use mcp_bridge_testkit::{
    app::App,
    fault_server::FaultServer,
    mcp::Binding,
    modern::{self, complete},
    reply::{Gate, Reply},
    request::{Request, call, rpc},
};

/// A tool whose argument `text` comes in a header as well.
fn annotated(name: &str) -> Value {
    let text = json!({"type": "string", "x-mcp-header": "Text"});
    json!({"name": name, "inputSchema": {"type": "object", "properties": {"text": text}}})
}

/// Lists `echo` on the second page, with the annotation.
fn lists_echo(server: &FaultServer) {
    server.always(rpc("tools/list"), |request: &Request| {
        let page = match request.params()["cursor"].as_str() {
            None => json!({"tools": [{"name": "other", "inputSchema": {"type": "object"}}], "nextCursor": "2"}),
            Some(_) => json!({"tools": [annotated("echo")], "nextCursor": ""}),
        };
        Reply::json(request.result(page.to_string()))
    });
}

/// The refusal of a call by GitHub's server.
fn refusal(request: &Request) -> Reply {
    let text = "header mismatch: missing Mcp-Param-Text header for parameter \"text\"";
    let body = request.error(-32020, text);
    Reply::status(400).body("application/json", body)
}

/// A server of 2025-11-25 that refuses a call without its header.
fn demands_headers() -> FaultServer {
    let server = FaultServer::start();
    lists_echo(&server);
    server.always(call("echo"), |request: &Request| {
        let is_sent = request.header("mcp-param-text").is_some();
        (!is_sent && !modern::is_modern(request)).then(|| refusal(request))
    });
    server
}

/// The headers of each request that this module is about.
fn headers(requests: &[Request]) -> Vec<[Option<&str>; 3]> {
    let names = ["mcp-method", "mcp-name", "mcp-param-text"];
    let of = |request| names.map(|name| Request::header(request, name));
    requests.iter().map(of).collect()
}

async fn start(server: &FaultServer, flags: &[&str]) -> App {
    let launch = program::bridge_for(server).args(flags.iter().copied());
    let mut app = launch.start();
    app.initialize().await;
    app
}

#[tokio::test]
async fn a_listed_tool_is_called_with_the_headers_that_it_asks_for() {
    let server = demands_headers();
    let mut app = program::initialized(&server).await;
    app.request("list", "tools/list", &json!({})).await;
    app.result("list").await;
    app.call("1", "echo", "hello").await;
    assert_eq!(app.result("1").await["content"][0]["text"], "hello");
    app.call("2", "echo", "ü").await;
    server.received(call("echo"), 2).await;
    app.response("2").await;
    app.finish().await;
    let calls = server.requests_for(&call("echo"));
    let method = Some("tools/call");
    let expected = [
        [method, Some("echo"), Some("hello")],
        [method, Some("echo"), Some("=?base64?w7w=?=")],
    ];
    assert_eq!(headers(&calls)[..2], expected);
}

#[tokio::test]
async fn a_call_that_is_refused_for_its_headers_is_made_again_with_them() {
    let server = demands_headers();
    let mut app = program::initialized(&server).await;
    app.call("1", "echo", "healed").await;
    assert_eq!(app.result("1").await["content"][0]["text"], "healed");
    app.call("2", "echo", "known").await;
    assert_eq!(app.result("2").await["content"][0]["text"], "known");
    app.finish().await;
    let method = Some("tools/call");
    let expected = [
        [method, None, None],
        [method, Some("echo"), Some("healed")],
        [method, Some("echo"), Some("known")],
    ];
    assert_eq!(headers(&server.requests_for(&call("echo"))), expected);
    assert_eq!(server.count(&rpc("tools/list")), 2, "{}", server.story());
}

/// With HTTP status 200, as servers do whose error comes from the tool's own layer.
#[tokio::test]
async fn a_refusal_in_a_successful_response_is_healed_too() {
    let server = FaultServer::start();
    lists_echo(&server);
    server.always(call("echo"), |request: &Request| {
        let text = "Header mismatch: Mcp-Param-Text";
        let refused = || Reply::sse().data(request.error(-32020, text)).close();
        request.header("mcp-param-text").is_none().then(refused)
    });
    let mut app = program::initialized(&server).await;
    app.call("1", "echo", "healed").await;
    assert_eq!(app.result("1").await["content"][0]["text"], "healed");
    app.finish().await;
}

#[tokio::test]
async fn calls_that_are_refused_together_list_the_tools_once() {
    let server = demands_headers();
    let mut app = program::initialized(&server).await;
    let ids: Vec<_> = (0..5).map(|number| format!("call-{number}")).collect();
    for id in &ids {
        app.call(id.as_str(), "echo", id).await;
    }
    for id in &ids {
        assert_eq!(app.result(id.as_str()).await["content"][0]["text"], **id);
    }
    app.finish().await;
    assert_eq!(server.count(&rpc("tools/list")), 2, "{}", server.story());
}

#[tokio::test]
async fn a_server_that_is_never_content_is_asked_twice_at_most() {
    let server = FaultServer::start();
    lists_echo(&server);
    server.always(call("echo"), refusal);
    let mut app = program::initialized(&server).await;
    for id in ["1", "2", "3"] {
        app.call(id, "echo", "x").await;
        assert_eq!(app.error(id).await["code"], -32020);
    }
    app.finish().await;
    // What is listed anew says nothing new, so only the first call is worth another try.
    assert_eq!(server.count(&call("echo")), 4, "{}", server.story());
}

/// A listing that says nothing new serves all calls that waited for it.
#[tokio::test]
async fn calls_that_are_refused_together_share_a_listing_that_says_nothing_new() {
    const CALLS: usize = 6;
    for binding in [Binding::Streamable, Binding::Modern] {
        let server = FaultServer::start_as(binding);
        let gate = Gate::closed();
        let until_all_are_refused = gate.clone();
        let mut app = program::start(&server);
        let is_modern = binding == Binding::Modern;
        if is_modern {
            app.still_served_modern().await;
        } else {
            app.initialize().await;
        }
        // The server is known to read headers, and has told of all it reads.
        server.once(call("echo"), refusal);
        ask_echo(&mut app, "first", is_modern).await;
        app.response("first").await;
        let listed = server.count(&rpc("tools/list"));
        server.always(call("echo"), refusal);
        server.once(rpc("tools/list"), move |request: &Request| {
            let tools = json!({"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]});
            let body = if modern::is_modern(request) {
                complete(request, &tools).written()
            } else {
                request.result(tools.to_string()).into_bytes()
            };
            let reply = Reply::status(200).header("Content-Type", "application/json");
            reply.chunked().wait(&until_all_are_refused).bytes(body)
        });
        let before = server.count(&call("echo"));
        let ids: Vec<_> = (0..CALLS).map(|number| format!("call-{number}")).collect();
        for id in &ids {
            ask_echo(&mut app, id, is_modern).await;
        }
        server.received(call("echo"), before + CALLS).await;
        server.received(rpc("tools/list"), listed + 1).await;
        // The refusals have been read when a request that was sent behind them is answered.
        app.request("behind", "vendor/mirror", &modern_if(is_modern))
            .await;
        app.response("behind").await;
        gate.open();
        for id in &ids {
            assert_eq!(app.error(id.as_str()).await["code"], -32020);
        }
        let lists = server.count(&rpc("tools/list")) - listed;
        assert_eq!(lists, 1, "{}", server.story());
        app.finish().await;
    }
}

async fn ask_echo(app: &mut App, id: &str, is_modern: bool) {
    if is_modern {
        app.ask_tool(id, "echo", id).await;
    } else {
        app.call(id, "echo", id).await;
    }
}

fn modern_if(is_modern: bool) -> Value {
    if is_modern {
        modern::signed(&json!({}))
    } else {
        json!({})
    }
}

/// In the legacy era the code belongs to the server, and may come from a tool that has done its work.
#[tokio::test]
async fn an_error_of_a_tool_that_has_the_same_code_passes() {
    let server = FaultServer::start();
    lists_echo(&server);
    server.always(call("echo"), |request: &Request| {
        Reply::json(request.error(-32020, "out of coffee"))
    });
    let mut app = program::initialized(&server).await;
    app.call("1", "echo", "x").await;
    assert_eq!(app.error("1").await["message"], "out of coffee");
    app.finish().await;
    assert_eq!(server.count(&call("echo")), 1, "{}", server.story());
    assert_eq!(server.count(&rpc("tools/list")), 0, "{}", server.story());
}

/// A gateway that wants to know what a prompt is called, and an argument whose name sounds like a session.
#[tokio::test]
async fn a_name_that_was_missing_is_sent_from_then_on() {
    let server = FaultServer::start();
    server.always(rpc("prompts/get"), |request: &Request| {
        let refused = || {
            let body = request.error(-32020, "missing Mcp-Name header (session)");
            Reply::status(400).body("application/json", body)
        };
        Some(match request.header("mcp-name") {
            None => refused(),
            Some(_) => Reply::json(request.result(r#"{"messages":[]}"#)),
        })
    });
    let mut app = program::initialized(&server).await;
    for id in ["1", "2"] {
        app.request(id, "prompts/get", &json!({"name": "hello"}))
            .await;
        assert_eq!(app.result(id).await, json!({"messages": []}));
    }
    app.finish().await;
    let asked = server.requests_for(&rpc("prompts/get"));
    let names: Vec<_> = asked.iter().map(|it| it.header("mcp-name")).collect();
    assert_eq!(names, [None, Some("hello"), Some("hello")]);
    assert_eq!(server.count(&rpc("initialize")), 1, "{}", server.story());
    assert_eq!(server.count(&rpc("tools/list")), 0, "{}", server.story());
}

#[tokio::test]
async fn a_server_that_asks_for_no_headers_gets_the_method_alone() {
    let server = FaultServer::start();
    let mut app = program::initialized(&server).await;
    app.request("list", "tools/list", &json!({})).await;
    app.result("list").await;
    app.call("1", "echo", "x").await;
    app.result("1").await;
    app.finish().await;
    let calls = server.requests_for(&call("echo"));
    assert_eq!(headers(&calls), [[Some("tools/call"), None, None]]);
}

#[tokio::test]
async fn always_names_what_each_request_is_about() {
    let server = demands_headers();
    let mut app = start(&server, &["--mcp-param-headers", "always"]).await;
    app.call("1", "echo", "x").await;
    app.result("1").await;
    app.request("2", "resources/read", &json!({"uri": "a:b"}))
        .await;
    app.response("2").await;
    app.finish().await;
    let method = Some("tools/call");
    let expected = [
        [method, Some("echo"), None],
        [method, Some("echo"), Some("x")],
    ];
    assert_eq!(headers(&server.requests_for(&call("echo"))), expected);
    let reads = server.requests_for(&rpc("resources/read"));
    assert_eq!(
        headers(&reads),
        [[Some("resources/read"), Some("a:b"), None]]
    );
}

#[tokio::test]
async fn off_sends_none_and_heals_nothing() {
    let server = demands_headers();
    let mut app = start(&server, &["--mcp-param-headers", "off"]).await;
    app.request("list", "tools/list", &json!({})).await;
    app.result("list").await;
    app.call("1", "echo", "x").await;
    assert_eq!(app.error("1").await["code"], -32020);
    app.finish().await;
    let calls = server.requests_for(&call("echo"));
    assert_eq!(headers(&calls), [[None, None, None]]);
}

/// The modern era demands the method and the name; that arguments stay out of headers is the user's will.
#[tokio::test]
async fn off_keeps_what_the_modern_era_demands() {
    let server = FaultServer::start_as(Binding::Modern);
    server.always(rpc("tools/list"), |request: &Request| {
        complete(request, &json!({"tools": [annotated("echo")]}))
    });
    let launch = program::bridge_for(&server).args(["--mcp-param-headers", "off"]);
    let mut app = launch.start();
    app.ask("list", "tools/list", &json!({})).await;
    app.result("list").await;
    app.ask_tool("1", "echo", "private").await;
    app.result("1").await;
    app.finish().await;
    let calls = server.requests_for(&call("echo"));
    assert_eq!(headers(&calls), [[Some("tools/call"), Some("echo"), None]]);
}

/// A list of a legacy server reaches the app whole: the era has no rules for annotations.
#[tokio::test]
async fn wrong_annotations_of_a_legacy_server_change_nothing() {
    let server = FaultServer::start();
    let list = r#"{"tools":[ {"name":"echo","inputSchema":{"properties":{"text":{"type":"number","x-mcp-header":"A B"}}}} ]}"#;
    server.always(rpc("tools/list"), move |request: &Request| {
        Reply::json(request.result(list))
    });
    let mut app = program::initialized(&server).await;
    app.request("list", "tools/list", &json!({})).await;
    let line = app.response("list").await.text;
    assert!(line.ends_with(&format!(r#""result":{list}}}"#)), "{line}");
    app.call("1", "echo", "x").await;
    app.result("1").await;
    app.finish().await;
    let calls = server.requests_for(&call("echo"));
    assert_eq!(headers(&calls), [[Some("tools/call"), None, None]]);
}

#[tokio::test]
async fn a_modern_app_at_a_legacy_server_is_healed_too() {
    let server = demands_headers();
    let mut app = program::start(&server);
    app.ask_tool(1, "echo", "healed").await;
    assert_eq!(app.result(1).await["content"][0]["text"], "healed");
    app.finish().await;
}
