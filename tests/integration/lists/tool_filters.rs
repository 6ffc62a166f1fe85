//! Tools that the user does not want an app to see or call: `--ignore-tool`, `--allow-tool`, `--read-only`.

use serde_json::{Value, json};

use crate::program;
use mcp_bridge_testkit::{
    app::App,
    fault_server::FaultServer,
    mcp::Binding,
    modern::complete,
    reply::{Gate, Reply},
    request::{Request, call, rpc},
};

/// Two that only read, one that writes, one that says nothing; spelled so that a parser would spell them
/// otherwise.
const TOOLS: &str = r#"[ {"name":"read_a","inputSchema":{"type":"object"}, "annotations":{"readOnlyHint":true},"n":1.0} ,
  {"name":"\u0064elete_all","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":false},"x":[1e400,"],["]},
{"name":"echo","inputSchema":{"type":"object"},"big":12345678901234567890123},{"name":"read_b","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}} ]"#;

/// The result that the app sees, with only these pieces in its list.
fn list(tools: &str) -> String {
    format!(r#"{{ "tools" :{tools},"ttlMs":1.0,"_meta":{{"z":1,"a":2}}}}"#)
}

fn serves_tools() -> FaultServer {
    let server = FaultServer::start();
    server.always(rpc("tools/list"), |request: &Request| {
        Reply::json(request.result(list(TOOLS)))
    });
    server
}

async fn start(server: &FaultServer, flags: &[&str]) -> App {
    let launch = program::bridge_for(server).args(flags.iter().copied());
    let mut app = launch.start();
    app.initialize().await;
    app
}

/// The text behind `"result":` in a line.
fn result(line: &str) -> &str {
    let (_, result) = line.split_once(r#""result":"#).expect("a result");
    result.strip_suffix('}').expect("the end of the message")
}

fn names(result: &Value) -> Vec<&str> {
    let tools = result["tools"].as_array().expect("a list");
    let names = tools.iter().map(|tool| tool["name"].as_str());
    names.map(|name| name.expect("a name")).collect()
}

/// The refusal of a call, whose hint names the flag.
async fn is_refused(app: &mut App, id: &str, tool: &str, flag: &str) {
    let error = app.error(id).await;
    assert_eq!(error["code"], -32603);
    assert_eq!(
        error["message"],
        format!("Tool \"{tool}\" is not available")
    );
    assert_eq!(error["data"]["source"], "mcp-bridge");
    assert_eq!(error["data"]["kind"], "tool_not_available");
    let hint = error["data"]["hint"].as_str().expect("a hint");
    assert!(hint.contains(flag), "{hint}");
}

#[tokio::test]
async fn ignored_tools_are_cut_out_of_the_list_and_every_other_byte_stays() {
    let server = serves_tools();
    let mut app = start(&server, &["--ignore-tool", "DELETE*", "--ignore-tool=e*o"]).await;
    app.request("list", "tools/list", &json!({})).await;
    let line = app.response("list").await.text;
    // Line ends become blanks, as always.
    let expected = r#"[ {"name":"read_a","inputSchema":{"type":"object"}, "annotations":{"readOnlyHint":true},"n":1.0},{"name":"read_b","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}} ]"#;
    assert_eq!(result(&line), list(expected));
    app.finish().await;
}

#[tokio::test]
async fn a_list_in_an_event_stream_is_cut_likewise() {
    let server = FaultServer::start();
    server.once(rpc("tools/list"), |request: &Request| {
        let list = list(&TOOLS.replace('\n', " "));
        Reply::sse().event("1", request.result(list)).close()
    });
    let mut app = start(&server, &["--allow-tool", "read*"]).await;
    app.request("list", "tools/list", &json!({})).await;
    let line = app.response("list").await.text;
    let expected = r#"[ {"name":"read_a","inputSchema":{"type":"object"}, "annotations":{"readOnlyHint":true},"n":1.0},{"name":"read_b","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}} ]"#;
    assert_eq!(result(&line), list(expected));
    app.finish().await;
}

#[tokio::test]
async fn every_page_of_a_list_is_cut() {
    let server = FaultServer::start();
    server.always(rpc("tools/list"), |request: &Request| {
        let result = match request.params()["cursor"].as_str() {
            None => r#"{"tools":[{"name":"delete","inputSchema":{"type":"object"}},{"name":"a","inputSchema":{"type":"object"}}],"nextCursor":"2"}"#,
            Some(_) => r#"{"tools":[{"name":"b","inputSchema":{"type":"object"}},{"name":"delete","inputSchema":{"type":"object"}}]}"#,
        };
        Reply::json(request.result(result))
    });
    let mut app = start(
        &server,
        &["--ignore-tool", "delete", "--list-pages", "pass"],
    )
    .await;
    app.request(1, "tools/list", &json!({})).await;
    let first = app.response(1).await.text;
    assert_eq!(
        result(&first),
        r#"{"tools":[{"name":"a","inputSchema":{"type":"object"}}],"nextCursor":"2"}"#
    );
    app.request(2, "tools/list", &json!({"cursor": "2"})).await;
    let second = app.response(2).await.text;
    assert_eq!(
        result(&second),
        r#"{"tools":[{"name":"b","inputSchema":{"type":"object"}}]}"#
    );
    app.finish().await;
}

#[tokio::test]
async fn a_call_of_a_hidden_tool_does_not_reach_the_server() {
    let server = serves_tools();
    let flags = [
        "--ignore-tool",
        "del*",
        "--allow-tool",
        "del*",
        "--allow-tool",
        "echo",
    ];
    let mut app = start(&server, &flags).await;
    app.call("ignored", "Delete_All", "").await;
    is_refused(&mut app, "ignored", "Delete_All", "--ignore-tool").await;
    app.call("not allowed", "read_a", "").await;
    is_refused(&mut app, "not allowed", "read_a", "--allow-tool").await;
    app.request("nameless", "tools/call", &json!({"name": 7}))
        .await;
    is_refused(&mut app, "nameless", "", "name").await;
    app.send(r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"delete_all"}}"#)
        .await;
    app.still_served().await;
    app.finish().await;
    assert_eq!(server.count(&rpc("tools/call")), 1, "{}", server.story());
}

#[tokio::test]
async fn with_read_only_the_tools_are_listed_before_the_first_call() {
    let server = serves_tools();
    server.always(call("read_a"), |request: &Request| {
        Reply::json(request.echo())
    });
    let mut app = start(&server, &["--read-only"]).await;
    app.call("one", "read_a", "read").await;
    app.call("two", "delete_all", "").await;
    app.call("three", "echo", "").await;
    app.call("four", "unheard-of", "").await;
    assert_eq!(app.result("one").await["content"][0]["text"], "read");
    is_refused(&mut app, "two", "delete_all", "--read-only").await;
    is_refused(&mut app, "three", "echo", "--read-only").await;
    is_refused(&mut app, "four", "unheard-of", "--read-only").await;
    app.call("again", "read_a", "known").await;
    assert_eq!(app.result("again").await["content"][0]["text"], "known");
    app.request("list", "tools/list", &json!({})).await;
    let line = app.response("list").await.text;
    let expected = r#"[ {"name":"read_a","inputSchema":{"type":"object"}, "annotations":{"readOnlyHint":true},"n":1.0},{"name":"read_b","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}} ]"#;
    assert_eq!(result(&line), list(expected));
    app.finish().await;
    assert_eq!(server.count(&rpc("tools/call")), 2, "{}", server.story());
    assert_eq!(server.count(&rpc("tools/list")), 2, "{}", server.story());
}

/// Apps with a form for settings set a variable to the words of a switch, and to nothing if it was not touched.
#[tokio::test]
async fn read_only_is_a_variable_as_well() {
    for (word, is_read_only) in [("true", true), ("false", false), ("", false)] {
        let server = serves_tools();
        let launch = program::bridge_for(&server).env("MCP_BRIDGE_READ_ONLY", word);
        let mut app = launch.start();
        app.initialize().await;
        app.request("list", "tools/list", &json!({})).await;
        let line = app.response("list").await.text;
        assert_eq!(!line.contains(r#""name":"echo""#), is_read_only, "{word:?}");
        app.finish().await;
    }
}

/// The second page says what the call has to wait for; a list that changes meanwhile is read anew.
#[tokio::test]
async fn with_read_only_a_call_waits_for_all_pages_and_for_a_list_that_changes() {
    let server = FaultServer::start();
    let gate = Gate::closed();
    let wait = gate.clone();
    server.once(rpc("tools/list"), move |request: &Request| {
        let page =
            r#"{"tools":[{"name":"late","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}}],"nextCursor":"x"}"#;
        Reply::sse()
            .wait(&wait)
            .event("1", request.result(page))
            .close()
    });
    server.always(rpc("tools/list"), |request: &Request| {
        let result = match request.params()["cursor"].as_str() {
            None => r#"{"tools":[{"name":"late","inputSchema":{"type":"object"},"annotations":{}}],"nextCursor":"2"}"#,
            Some(_) => r#"{"tools":[{"name":"echo","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}}]}"#,
        };
        Reply::json(request.result(result))
    });
    let mut app = start(&server, &["--read-only"]).await;
    app.call("echo", "echo", "waited").await;
    app.call("late", "late", "").await;
    app.call("cancelled", "echo", "").await;
    app.cancel("cancelled").await;
    server.received(rpc("tools/list"), 1).await;
    server.received(mcp_bridge_testkit::request::get(), 1).await;
    server.push(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
    app.server_sent("notifications/tools/list_changed").await;
    gate.open();
    assert_eq!(app.result("echo").await["content"][0]["text"], "waited");
    is_refused(&mut app, "late", "late", "--read-only").await;
    app.finish().await;
    assert_eq!(server.count(&rpc("tools/list")), 3, "{}", server.story());
    assert_eq!(server.count(&rpc("tools/call")), 1, "{}", server.story());
}

#[tokio::test]
async fn with_read_only_a_list_that_fails_is_the_answer_to_the_calls_that_wait() {
    let server = FaultServer::start();
    server.always(rpc("tools/list"), |request: &Request| {
        Reply::json(request.error(-32001, "no list today"))
    });
    let mut app = start(&server, &["--read-only"]).await;
    app.call("one", "echo", "").await;
    let error = app.error("one").await;
    assert_eq!(
        (&error["code"], &error["message"]),
        (&json!(-32001), &json!("no list today"))
    );
    app.finish().await;
    assert_eq!(server.count(&rpc("tools/call")), 0, "{}", server.story());
}

#[tokio::test]
async fn a_list_without_end_is_given_up() {
    let server = FaultServer::start();
    server.allow_requests(150);
    let mut page = 0;
    server.always(rpc("tools/list"), move |request: &Request| {
        page += 1;
        Reply::json(request.result(format!(r#"{{"tools":[],"nextCursor":"{page}"}}"#)))
    });
    let mut app = start(&server, &["--read-only"]).await;
    app.call("one", "echo", "").await;
    is_refused(&mut app, "one", "echo", "--read-only").await;
    app.finish().await;
    assert_eq!(server.count(&rpc("tools/list")), 100);
}

#[tokio::test]
async fn with_read_only_a_cursor_that_is_empty_or_comes_again_ends_the_list() {
    for (cursor, requests) in [("", 1), ("same", 2)] {
        let server = FaultServer::start();
        server.always(rpc("tools/list"), move |request: &Request| {
            let tool = json!({"name": "echo", "annotations": {"readOnlyHint": true}});
            let result = json!({"tools": [tool], "nextCursor": cursor});
            Reply::json(request.result(result.to_string()))
        });
        let mut app = start(&server, &["--read-only"]).await;
        app.call("one", "echo", "read").await;
        assert_eq!(app.result("one").await["content"][0]["text"], "read");
        app.finish().await;
        assert_eq!(server.count(&rpc("tools/list")), requests, "{cursor:?}");
    }
}

#[tokio::test]
async fn an_app_and_a_server_of_the_modern_era_are_filtered_as_well() {
    let server = FaultServer::start_as(Binding::Modern);
    server.always(rpc("tools/list"), |request: &Request| {
        let tools: Value = json!([
            {"name": "echo", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": true}},
            {"name": "write", "inputSchema": {"type": "object"}},
        ]);
        complete(request, &json!({"tools": tools, "ttlMs": 0, "cacheScope": "private"}))
    });
    let mut app = program::bridge_for(&server).args(["--read-only"]).start();
    app.discover("discover").await;
    app.result("discover").await;
    app.ask_tool("call", "echo", "modern").await;
    assert_eq!(app.result("call").await["content"][0]["text"], "modern");
    app.ask_tool("write", "write", "").await;
    is_refused(&mut app, "write", "write", "--read-only").await;
    app.ask("list", "tools/list", &json!({})).await;
    let result = app.result("list").await;
    assert_eq!(names(&result), ["echo"]);
    assert_eq!(result["cacheScope"], "private");
    app.still_served_modern().await;
    app.finish().await;
    assert_eq!(server.count(&call("write")), 0, "{}", server.story());
}

#[tokio::test]
async fn a_legacy_app_at_a_modern_server_is_filtered() {
    let server = FaultServer::start_as(Binding::Modern);
    server.always(rpc("tools/list"), |request: &Request| {
        let tools = json!([
            {"name": "echo", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": true}},
            {"name": "write", "inputSchema": {"type": "object"}},
        ]);
        complete(request, &json!({"tools": tools, "ttlMs": 0, "cacheScope": "private"}))
    });
    let mut app = start(&server, &["--read-only"]).await;
    app.call("call", "echo", "translated").await;
    assert_eq!(app.result("call").await["content"][0]["text"], "translated");
    app.call("write", "write", "").await;
    is_refused(&mut app, "write", "write", "--read-only").await;
    app.request("list", "tools/list", &json!({})).await;
    assert_eq!(names(&app.result("list").await), ["echo"]);
    app.finish().await;
    assert_eq!(server.count(&call("write")), 0, "{}", server.story());
}

#[tokio::test]
async fn a_modern_app_at_a_legacy_server_is_filtered() {
    let server = FaultServer::start();
    server.always(rpc("tools/list"), |request: &Request| {
        let tools = json!([
            {"name": "echo", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": true}},
            {"name": "write", "inputSchema": {"type": "object"}},
        ]);
        Reply::json(request.result(json!({ "tools": tools }).to_string()))
    });
    let mut app = program::bridge_for(&server).args(["--read-only"]).start();
    app.ask_tool("call", "echo", "translated").await;
    assert_eq!(app.result("call").await["content"][0]["text"], "translated");
    app.ask_tool("write", "write", "").await;
    is_refused(&mut app, "write", "write", "--read-only").await;
    app.ask("list", "tools/list", &json!({})).await;
    assert_eq!(names(&app.result("list").await), ["echo"]);
    app.finish().await;
    assert_eq!(server.count(&call("write")), 0, "{}", server.story());
}

/// At the end nothing is answered that the app has not asked.
#[tokio::test]
async fn a_list_that_does_not_come_is_not_answered_at_the_end() {
    let server = FaultServer::start();
    server.once(rpc("tools/list"), |_: &Request| Reply::no_answer_ever());
    let mut app = start(&server, &["--read-only", "--drain-timeout", "0"]).await;
    app.call("one", "echo", "").await;
    server.received(rpc("tools/list"), 1).await;
    app.close_stdin();
    app.own_error("one", "shutting_down").await;
    app.finish().await;
}
