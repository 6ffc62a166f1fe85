//! Lists that come in pages: collected into one answer for the app, unless `--list-pages pass` says otherwise.

use serde_json::{Value, json};

use crate::program;
use mcp_bridge_testkit::{
    app::App,
    fault_server::FaultServer,
    mcp::Binding,
    modern::{self, complete},
    reply::{Gate, Reply},
    request::{Request, rpc},
};

/// The four lists and the members of their results.
const LISTS: [(&str, &str); 4] = [
    ("tools/list", "tools"),
    ("prompts/list", "prompts"),
    ("resources/list", "resources"),
    ("resources/templates/list", "resourceTemplates"),
];

/// Answers the list `method` with these results, one per cursor, in sessions alone.
fn serve(server: &FaultServer, method: &str, pages: &'static [(Option<&str>, &str)]) {
    server.always(rpc(method), move |request: &Request| {
        if modern::is_modern(request) {
            return None;
        }
        let params = request.params();
        let cursor = params["cursor"].as_str();
        let page = pages.iter().find(|(at, _)| *at == cursor);
        Some(Reply::json(match page {
            Some((_, result)) => request.result(result),
            None => request.error(-32602, "no such cursor"),
        }))
    });
}

/// The text behind `"result":` in a line.
fn result(line: &str) -> &str {
    let (_, result) = line.split_once(r#""result":"#).expect("a result");
    result.strip_suffix('}').expect("the end of the message")
}

async fn list(app: &mut App, id: &str, method: &str, params: &Value) -> String {
    app.request(id, method, params).await;
    result(&app.response(id).await.text).to_owned()
}

#[tokio::test]
async fn the_pages_of_each_list_become_one_answer_whose_items_keep_their_bytes() {
    let server = FaultServer::start();
    for (method, member) in LISTS {
        server.always(rpc(method), move |request: &Request| {
            let page = match request.params()["cursor"].as_str() {
                None => format!(
                    r#"{{ "z":1.0,"{member}" : [ {{"name":"a", "n":1.0}} ] ,"nextCursor":"two" , "_meta":{{"b":1e400}}}}"#
                ),
                Some("two") => format!(
                    r#"{{"{member}":[{{"name":"\u0062","big":12345678901234567890123}}],"nextCursor":"three"}}"#
                ),
                Some(_) => format!(r#"{{"{member}":[ {{"name":"c","x":"\ud800"}} ]}}"#),
            };
            Reply::json(request.result(page))
        });
    }
    let mut app = program::initialized(&server).await;
    for (method, member) in LISTS {
        let expected = format!(
            r#"{{ "z":1.0,"{member}" : [ {{"name":"a", "n":1.0}},{{"name":"\u0062","big":12345678901234567890123}},{{"name":"c","x":"\ud800"}} ] , "_meta":{{"b":1e400}}}}"#
        );
        assert_eq!(list(&mut app, method, method, &json!({})).await, expected);
        let cursors: Vec<_> = server.requests_for(&rpc(method));
        let cursors: Vec<_> = cursors
            .iter()
            .map(|it| it.params()["cursor"].clone())
            .collect();
        assert_eq!(cursors, [Value::Null, json!("two"), json!("three")]);
    }
    app.finish().await;
}

#[tokio::test]
async fn a_list_of_one_page_passes_byte_for_byte() {
    let server = FaultServer::start();
    let page = r#"{ "tools" : [ {"name":"a","description":"nextCursor"} ],"nextCursor":null }"#;
    server.always(rpc("tools/list"), move |request: &Request| {
        Reply::json(request.result(page))
    });
    let mut app = program::initialized(&server).await;
    assert_eq!(list(&mut app, "1", "tools/list", &json!({})).await, page);
    app.finish().await;
    assert_eq!(server.count(&rpc("tools/list")), 1);
}

#[tokio::test]
async fn an_app_that_asks_for_a_page_or_does_without_merging_gets_that_page() {
    const PAGES: &[(Option<&str>, &str)] = &[
        (None, r#"{"tools":[{"name":"a"}],"nextCursor":"2"}"#),
        (Some("2"), r#"{"tools":[{"name":"b"}],"nextCursor":"3"}"#),
    ];
    let server = FaultServer::start();
    serve(&server, "tools/list", PAGES);
    let mut app = program::initialized(&server).await;
    let page = list(&mut app, "1", "tools/list", &json!({"cursor": "2"})).await;
    assert_eq!(page, PAGES[1].1);
    app.finish().await;

    let mut app = program::bridge_for(&server)
        .args(["--list-pages", "pass"])
        .start();
    app.initialize().await;
    assert_eq!(
        list(&mut app, "1", "tools/list", &json!({})).await,
        PAGES[0].1
    );
    app.finish().await;
    assert_eq!(server.count(&rpc("tools/list")), 2, "{}", server.story());
}

/// GitHub's cursors end so, and servers in Go write an empty one behind the last page.
#[tokio::test]
async fn a_cursor_that_is_empty_or_comes_again_ends_the_list() {
    let server = FaultServer::start();
    serve(
        &server,
        "tools/list",
        &[(
            None,
            r#"{"tools":[{"name":"a","inputSchema":{"type":"object"}}],"nextCursor":""}"#,
        )],
    );
    serve(
        &server,
        "prompts/list",
        &[
            (None, r#"{"prompts":[{"name":"a"}],"nextCursor":"same"}"#),
            (
                Some("same"),
                r#"{"prompts":[{"name":"a"}],"nextCursor":"same"}"#,
            ),
        ],
    );
    serve(
        &server,
        "resources/list",
        &[
            (
                None,
                r#"{"resources":[{"uri":"a:1","name":"1"}],"nextCursor":"1"}"#,
            ),
            (
                Some("1"),
                r#"{"resources":[{"uri":"a:2","name":"2"}],"nextCursor":"2"}"#,
            ),
            (
                Some("2"),
                r#"{"resources":[{"uri":"a:3","name":"3"}],"nextCursor":"1"}"#,
            ),
        ],
    );
    let mut app = program::initialized(&server).await;
    let tools = list(&mut app, "1", "tools/list", &json!({})).await;
    assert_eq!(
        tools,
        r#"{"tools":[{"name":"a","inputSchema":{"type":"object"}}]}"#
    );
    let prompts = list(&mut app, "2", "prompts/list", &json!({})).await;
    assert_eq!(prompts, r#"{"prompts":[{"name":"a"}]}"#);
    let resources = list(&mut app, "3", "resources/list", &json!({})).await;
    assert_eq!(
        resources,
        r#"{"resources":[{"uri":"a:1","name":"1"},{"uri":"a:2","name":"2"},{"uri":"a:3","name":"3"}]}"#
    );
    app.finish().await;
    let counts = LISTS.map(|(method, _)| server.count(&rpc(method)));
    assert_eq!(counts, [1, 2, 3, 0], "{}", server.story());
}

#[tokio::test]
async fn on_trouble_the_app_gets_the_first_page_with_its_cursor() {
    const FIRST: &str =
        r#"{"tools":[{"name":"a","inputSchema":{"type":"object"}}],"nextCursor":"2"}"#;
    let troubles: [fn(&Request) -> Reply; 5] = [
        |request| Reply::json(request.error(-32602, "Invalid cursor")),
        |_| Reply::status(500),
        |request| Reply::json(request.result(r#"{"items":[]}"#)),
        |request| Reply::json(request.result("null")),
        |_| Reply::no_answer_but_close(),
    ];
    for trouble in troubles {
        let server = FaultServer::start();
        server.always(rpc("tools/list"), move |request: &Request| {
            match request.params()["cursor"].as_str() {
                None => Reply::json(request.result(FIRST)),
                Some(_) => trouble(request),
            }
        });
        let mut app = program::initialized(&server).await;
        assert_eq!(list(&mut app, "1", "tools/list", &json!({})).await, FIRST);
        // The app can go on by itself.
        app.request("2", "tools/list", &json!({"cursor": "2"}))
            .await;
        app.response("2").await;
        app.still_served().await;
        app.finish().await;
    }
}

#[tokio::test]
async fn a_list_without_end_is_given_up_once() {
    let server = FaultServer::start();
    server.allow_requests(150);
    let mut page = 0;
    server.always(rpc("tools/list"), move |request: &Request| {
        page = request.params()["cursor"].as_str().map_or(0, |_| page + 1);
        Reply::json(request.result(format!(
            r#"{{"tools":[{{"name":"t{page}"}}],"nextCursor":"{page}"}}"#
        )))
    });
    let mut app = program::initialized(&server).await;
    for id in ["1", "2"] {
        let first = list(&mut app, id, "tools/list", &json!({})).await;
        assert_eq!(first, r#"{"tools":[{"name":"t0"}],"nextCursor":"0"}"#);
    }
    app.finish().await;
    assert_eq!(server.count(&rpc("tools/list")), 101);
}

#[tokio::test]
async fn other_messages_are_not_held_up_and_a_cancelled_list_is_not_answered() {
    let server = FaultServer::start();
    let gate = Gate::closed();
    let wait = gate.clone();
    server.always(rpc("tools/list"), move |request: &Request| {
        match request.params()["cursor"].as_str() {
            None => Reply::json(request.result(
                r#"{"tools":[{"name":"a","inputSchema":{"type":"object"}}],"nextCursor":"2"}"#,
            )),
            Some(_) => Reply::sse()
                .wait(&wait)
                .data(request.result(r#"{"tools":[{"name":"b","inputSchema":{"type":"object"}}]}"#))
                .close(),
        }
    });
    let mut app = program::initialized(&server).await;
    app.request("waits", "tools/list", &json!({})).await;
    app.request("cancelled", "tools/list", &json!({})).await;
    server.received(rpc("tools/list"), 4).await;
    app.still_served().await;
    let pages = server.requests_for(&rpc("tools/list"));
    let own: Vec<_> = pages
        .iter()
        .filter(|page| page.params()["cursor"] == "2")
        .filter_map(|page| page.message().id().map(str::to_owned))
        .collect();
    app.cancel("cancelled").await;
    let cancelled = server.received(rpc("notifications/cancelled"), 1).await;
    assert!(
        own.contains(&cancelled.params()["requestId"].to_string()),
        "{own:?}"
    );
    gate.open();
    let line = app.response("waits").await.text;
    assert_eq!(
        result(&line),
        r#"{"tools":[{"name":"a","inputSchema":{"type":"object"}},{"name":"b","inputSchema":{"type":"object"}}]}"#
    );
    app.finish().await;
}

#[tokio::test]
async fn further_pages_are_asked_for_as_the_app_asked_but_without_its_progress_token() {
    let server = FaultServer::start();
    serve(
        &server,
        "tools/list",
        &[
            (
                None,
                r#"{"tools":[{"name":"a","inputSchema":{"type":"object"}}],"nextCursor":"2"}"#,
            ),
            (
                Some("2"),
                r#"{"tools":[{"name":"b","inputSchema":{"type":"object"}}]}"#,
            ),
        ],
    );
    let mut app = program::initialized(&server).await;
    let params = json!({"vendor": [1], "_meta": {"progressToken": 7, "trace": "t"}});
    list(&mut app, "1", "tools/list", &params).await;
    app.finish().await;
    let lists = server.requests_for(&rpc("tools/list"));
    assert_eq!(lists[0].params(), params);
    let expected = json!({"vendor": [1], "_meta": {"trace": "t"}, "cursor": "2"});
    assert_eq!(lists[1].params(), expected);
}

#[tokio::test]
async fn tools_are_hidden_in_the_merged_list() {
    let server = FaultServer::start();
    serve(
        &server,
        "tools/list",
        &[
            (
                None,
                r#"{"tools":[{"name":"delete","inputSchema":{"type":"object"}},{"name":"a","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}}],"nextCursor":"2"}"#,
            ),
            (
                Some("2"),
                r#"{"tools":[{"name":"b","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}},{"name":"c","inputSchema":{"type":"object"}}],"nextCursor":""}"#,
            ),
        ],
    );
    for (flags, expected) in [
        (&["--ignore-tool", "delete"][..], vec!["a", "b", "c"]),
        (&["--allow-tool", "b"], vec!["b"]),
        (&["--read-only"], vec!["a", "b"]),
    ] {
        let launch = program::bridge_for(&server).args(flags.iter().copied());
        let mut app = launch.start();
        app.initialize().await;
        app.request("list", "tools/list", &json!({})).await;
        let result = app.result("list").await;
        let tools = result["tools"].as_array().expect("a list");
        let names: Vec<_> = tools
            .iter()
            .filter_map(|tool| tool["name"].as_str())
            .collect();
        assert_eq!(names, expected, "{flags:?}");
        assert!(result.get("nextCursor").is_none(), "{flags:?}");
        app.finish().await;
    }
}

/// In 2026-07-28 an empty cursor is one like any other.
fn modern_pages() -> FaultServer {
    let server = FaultServer::start_as(Binding::Modern);
    server.always(rpc("tools/list"), |request: &Request| {
        let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
        let page = match request.params()["cursor"].as_str() {
            None => json!({"tools": [tool("a")], "nextCursor": "", "ttlMs": 5, "cacheScope": "private"}),
            Some("") => json!({"tools": [tool("b")], "nextCursor": "3", "ttlMs": 5, "cacheScope": "private"}),
            Some(_) => json!({"tools": [tool("c")], "ttlMs": 5, "cacheScope": "private"}),
        };
        complete(request, &page)
    });
    server
}

fn names(result: &Value) -> Vec<&str> {
    let tools = result["tools"].as_array().expect("a list");
    tools
        .iter()
        .filter_map(|tool| tool["name"].as_str())
        .collect()
}

#[tokio::test]
async fn an_app_of_the_modern_era_gets_all_pages_too() {
    let server = modern_pages();
    let mut app = program::start(&server);
    app.ask(1, "tools/list", &json!({})).await;
    let result = app.result(1).await;
    assert_eq!(names(&result), ["a", "b", "c"]);
    assert_eq!(result["cacheScope"], "private");
    assert!(result.get("nextCursor").is_none());
    app.finish().await;
    let lists = server.requests_for(&rpc("tools/list"));
    assert_eq!(lists.len(), 3, "{}", server.story());
    assert_eq!(lists[2].params()["_meta"], modern::meta());
}

#[tokio::test]
async fn a_legacy_app_at_a_modern_server_gets_all_pages_too() {
    let server = modern_pages();
    let mut app = program::initialized(&server).await;
    app.request(1, "tools/list", &json!({})).await;
    let result = app.result(1).await;
    assert_eq!(names(&result), ["a", "b", "c"]);
    assert!(result.get("nextCursor").is_none());
    app.finish().await;
    assert_eq!(server.count(&rpc("tools/list")), 3, "{}", server.story());
}

#[tokio::test]
async fn a_modern_app_at_a_legacy_server_gets_all_pages_too() {
    let server = FaultServer::start();
    serve(
        &server,
        "tools/list",
        &[
            (
                None,
                r#"{"tools":[{"name":"a","inputSchema":{"type":"object"}}],"nextCursor":"2"}"#,
            ),
            (
                Some("2"),
                r#"{"tools":[{"name":"b","inputSchema":{"type":"object"}}],"nextCursor":""}"#,
            ),
        ],
    );
    let mut app = program::start(&server);
    app.ask(1, "tools/list", &json!({})).await;
    let result = app.result(1).await;
    assert_eq!(names(&result), ["a", "b"]);
    assert!(result.get("nextCursor").is_none());
    app.ask(2, "tools/list", &json!({})).await;
    assert_eq!(names(&app.result(2).await), ["a", "b"]);
    app.finish().await;
    // The first of them shows that the server is of the other era.
    assert_eq!(server.count(&rpc("tools/list")), 5, "{}", server.story());
}

/// At the end of the input what is there is handed over, and nothing that the app has not asked for.
#[tokio::test]
async fn at_the_end_the_first_page_is_the_answer() {
    let server = FaultServer::start();
    server.always(rpc("tools/list"), |request: &Request| {
        match request.params()["cursor"].as_str() {
            None => Reply::json(request.result(r#"{"tools":[{"name":"a"}],"nextCursor":"2"}"#)),
            Some(_) => Reply::no_answer_ever(),
        }
    });
    let launch = program::bridge_for(&server).args(["--drain-timeout", "0"]);
    let mut app = launch.start();
    app.initialize().await;
    app.request("1", "tools/list", &json!({})).await;
    server.received(rpc("tools/list"), 2).await;
    app.close_stdin();
    let line = app.response("1").await.text;
    assert_eq!(
        result(&line),
        r#"{"tools":[{"name":"a"}],"nextCursor":"2"}"#
    );
    app.finish().await;
}
