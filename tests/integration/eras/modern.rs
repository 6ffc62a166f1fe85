//! An app and a server of MCP 2026-07-28: what the bridge adds is headers, what it takes away are tools
//! that must not be used, and everything else is what the other side wrote.
//!
//! | row | test |
//! |---|---|
//! | X-12 | `a_response_of_the_app_goes_nowhere` |
//! | X-36 | `the_response_is_found_in_an_array` |
//! | X-45 | `a_lost_call_has_an_unknown_outcome_and_is_not_sent_again`, `a_lost_request_without_side_effects_is_sent_anew_under_another_id` |
//! | X-70 | `a_request_of_the_server_is_not_handed_on` |
//! | X-87, X-91, X-100 | `results_of_every_kind_are_for_the_app_to_judge`; what the translation does with them are transcripts |
//! | X-93 | `a_subscription_that_never_was_is_not_kept`; the translation's side of it is a transcript |
//! | X-94 | `a_subscription_that_ends_at_once_makes_no_storm`, `a_subscription_that_the_server_ends_is_over`; so, too, for the translation |
//! | X-95 | `two_subscriptions_get_their_own_copies` |
//! | X-96 | `tools_with_headers_that_cannot_be_are_left_out`; every way to be wrong is a unit test of `endpoint::tool_headers` |
//! | X-97 | `arguments_are_mirrored_in_headers` |
//! | X-98 | `headers_that_are_wrong_are_healed_once_by_listing_the_tools`, `a_server_that_always_finds_headers_wrong_is_not_asked_for_ever` |
//! | X-99 | `a_list_of_tools_without_end_is_given_up`, `a_list_that_goes_in_circles_is_given_up`; the app's own lists are the app's business |
//!
//! That no session, no `Last-Event-ID` and no cancellation is sent, and that `Mcp-Method` and
//! `MCP-Protocol-Version` say what the body says, is checked in each of them by `App::finish`.

use serde_json::{Value, json};

use crate::program;
use mcp_bridge_testkit::{
    fault_server::FaultServer,
    mcp::Binding,
    modern::{self, VERSION, acknowledgement, complete, error_with_data, on_stream},
    reply::{Piece, Reply},
    request::{Request, Want, call, post, rpc},
};

/// Connections of a subscription in a row that bring nothing until it is given up, the first included.
const BARREN_LISTENS: usize = 11;

fn server() -> FaultServer {
    FaultServer::start_as(Binding::Modern)
}

fn listen() -> Want {
    rpc("subscriptions/listen")
}

fn id_of(request: &Request) -> &str {
    request.message().id().expect("it is a request")
}

fn refused(status: u16, body: String) -> Reply {
    Reply::status(status).body("application/json", body)
}

/// HM-2, HM-3, HM-4, HM-5, HM-6
#[tokio::test]
async fn headers_say_what_the_body_says() {
    let server = server();
    let mut app = program::start(&server);
    let named = [
        ("tools/call", json!({"name": "echo"}), Some("echo")),
        (
            "prompts/get",
            json!({"name": " padded "}),
            Some("=?base64?IHBhZGRlZCA=?="),
        ),
        (
            "resources/read",
            json!({"uri": "file:///日本語"}),
            Some("=?base64?ZmlsZTovLy/ml6XmnKzoqp4=?="),
        ),
        ("tasks/get", json!({"taskId": "t-1"}), Some("t-1")),
        ("resources/list", json!({"name": "not this one"}), None),
        ("vendor/mirror", json!({"uri": "nor this one"}), None),
    ];
    for (number, (method, params, name)) in named.into_iter().enumerate() {
        app.ask(number, method, &params).await;
        app.response(number).await;
        let request = server.received(rpc(method), 1).await;
        assert_eq!(request.header("mcp-name"), name, "{method}");
        assert_eq!(request.header("mcp-protocol-version"), Some(VERSION));
    }
    let method = "vendor/\u{fc}";
    app.ask("no header", method, &json!({})).await;
    app.error("no header").await;
    assert_eq!(server.count(&rpc(method)), 0);
    app.finish().await;
}

/// HM-1, E-8: of a version of the future, too.
#[tokio::test]
async fn a_request_and_its_result_are_carried_as_they_were_written() {
    const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
    let server = server();
    for version in [VERSION, "2031-12-31"] {
        server.once(rpc("vendor/mirror"), |request| {
            Reply::json(request.result(request.message().params().unwrap_or("null")))
        });
        let mut app = program::start(&server);
        let inside = r#""n":1.0,"e":1e400,"big":12345678901234567890123,"u":"\u0061\ud83d\ude00""#;
        let params = format!(
            r#"{{"_meta":{{"{VERSION_KEY}":"{version}","io.modelcontextprotocol/clientCapabilities":{{}},"progressToken":1}},{inside}}}"#
        );
        let line = format!(
            r#"{{ "jsonrpc":"2.0","method":"vendor/mirror","id":"\u0031","params":{params} }}"#
        );
        app.send(&line).await;
        let answer = app.response_to(r#""\u0031""#).await;
        assert_eq!(answer.message.result(), Some(params.as_str()));
        let requests = server.requests_for(&rpc("vendor/mirror"));
        assert_eq!(requests.last().map(Request::text), Some(line.trim()));
        app.finish().await;
    }
}

/// X-87, X-91, X-100, HM-15
#[tokio::test]
async fn results_of_every_kind_are_for_the_app_to_judge() {
    let state = format!(r#""{}\u00e9\ud83d\ude00\"\/""#, "x".repeat(100_000));
    let results = [
        format!(r#"{{"resultType":"input_required","requestState":{state}}}"#),
        r#"{"resultType":"input_required","inputRequests":{"k":{"method":"roots/list","params":{}}}}"#.to_owned(),
        r#"{"resultType":"input_required"}"#.to_owned(),
        r#"{"resultType":"vendor"}"#.to_owned(),
        r#"{"resultType":7}"#.to_owned(),
        "{}".to_owned(),
    ];
    let server = server();
    let mut app = program::start(&server);
    for (number, result) in results.into_iter().enumerate() {
        let answered = result.clone();
        server.once(call("any"), move |request| {
            Reply::json(request.result(&answered))
        });
        app.ask_tool(number, "any", "").await;
        let answer = app.response(number).await;
        assert_eq!(answer.message.result(), Some(result.as_str()));
    }
    // The app's own retry is a request like any other.
    let retry = format!(
        r#"{{"jsonrpc":"2.0","id":"retry","method":"vendor/mirror","params":{{"requestState":{state},"_meta":{}}}}}"#,
        modern::meta()
    );
    app.send(&retry).await;
    app.result("retry").await;
    assert_eq!(server.received(rpc("vendor/mirror"), 1).await.text(), retry);
    assert_eq!(server.count(&call("any")), 6);
    app.finish().await;
}

/// HC-10: errors that come with a status of HTTP are the app's.
#[tokio::test]
async fn errors_of_the_server_reach_the_app_unchanged() {
    let server = server();
    let mut app = program::start(&server);
    for (number, (status, code)) in [
        (400, -32021),
        (400, -32022),
        (404, -32601),
        (400, -32602),
        (200, -32603),
    ]
    .into_iter()
    .enumerate()
    {
        server.once(rpc("prompts/list"), move |request| {
            let data = json!({"supported": [VERSION], "extra": 1.5});
            refused(status, error_with_data(request, code, &data))
        });
        app.ask(number, "prompts/list", &json!({})).await;
        let error = app.error(number).await;
        assert_eq!(error["code"], code);
        assert_eq!(error["data"]["extra"], 1.5, "{error}");
    }
    app.still_served_modern().await;
    assert_eq!(server.count(&rpc("initialize")), 0);
    app.finish().await;
}

/// X-12, ST-9
#[tokio::test]
async fn a_response_of_the_app_goes_nowhere() {
    let server = server();
    let mut app = program::start(&server);
    app.still_served_modern().await;
    app.send(r#"{"jsonrpc":"2.0","id":"q","result":{}}"#).await;
    app.send(r#"{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":"no"}}"#)
        .await;
    app.still_served_modern().await;
    assert_eq!(server.requests().len(), 2, "{}", server.story());
    app.finish().await;
}

/// X-36
#[tokio::test]
async fn the_response_is_found_in_an_array() {
    let server = server();
    server.once(call("any"), |request| {
        let other = r#"{"jsonrpc":"2.0","id":"somebody","result":{}}"#;
        Reply::json(format!("[{other},{}]", request.echo()))
    });
    let mut app = program::start(&server);
    app.ask_tool(1, "any", "found").await;
    assert_eq!(app.result(1).await["content"][0]["text"], "found");
    assert!(app.finish().await.unread.is_empty());
}

/// X-70, HM-12
#[tokio::test]
async fn a_request_of_the_server_is_not_handed_on() {
    let server = server();
    server.once(call("any"), |request| {
        Reply::sse()
            .data(r#"{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{}}"#)
            .data(r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}"#)
            .data(request.echo())
    });
    let mut app = program::start(&server);
    app.ask_tool(1, "any", "answered").await;
    assert_eq!(app.result(1).await["content"][0]["text"], "answered");
    app.server_sent("notifications/message").await;
    assert_eq!(server.requests().len(), 1);
    let finished = app.finish().await;
    assert!(finished.unread.is_empty());
    assert!(finished.stderr.contains("sampling/createMessage"));
}

/// Ways in which a stream ends before its response.
const LOST: [fn() -> Reply; 3] = [
    || Reply::sse().bytes("id: 7\ndata: \n\n").close(),
    || Reply::sse().bytes("id: 7\ndata: \n\n"),
    || Reply::sse().bytes(": still there\n\n").reset(),
];

/// X-45, HM-14
#[tokio::test]
async fn a_lost_call_has_an_unknown_outcome_and_is_not_sent_again() {
    for lost in LOST {
        let server = server();
        server.always(call("any"), move |_| lost());
        let mut app = program::start(&server);
        app.ask_tool(1, "any", "").await;
        let data = app.own_error(1, "connection_lost|no_response").await;
        assert_eq!(data["outcomeUnknown"], true);
        assert_eq!(server.requests().len(), 1, "{}", server.story());
        app.finish().await;
    }
}

/// X-45, HM-14
#[tokio::test]
async fn a_lost_request_without_side_effects_is_sent_anew_under_another_id() {
    let methods = [
        "tools/list",
        "resources/read",
        "prompts/get",
        "completion/complete",
    ];
    for (lost, method) in LOST.into_iter().cycle().zip(methods) {
        let server = server();
        server.once(rpc(method), move |_| lost());
        server.once(rpc(method), |request| {
            complete(request, &json!({"second": true}))
        });
        let mut app = program::start(&server);
        app.ask(1, method, &json!({"name": "n", "uri": "a:b"}))
            .await;
        assert_eq!(app.result(1).await["second"], true);
        let requests = server.requests_for(&rpc(method));
        assert_eq!(requests.len(), 2);
        assert_eq!(id_of(&requests[0]), "1");
        assert_ne!(id_of(&requests[1]), "1");
        assert_eq!(requests[0].params(), requests[1].params());
        server.always(rpc(method), move |_| lost());
        app.ask(2, method, &json!({"name": "n", "uri": "a:b"}))
            .await;
        app.own_error(2, "connection_lost|no_response").await;
        assert!(server.count(&rpc(method)) <= 6, "{}", server.story());
        app.finish().await;
    }
}

/// HM-8: a server hears of a cancellation by the end of the stream.
#[tokio::test]
async fn a_cancelled_request_closes_its_stream_and_nothing_is_posted() {
    let server = server();
    server.once(call("any"), |_| {
        let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}"#;
        Reply::sse().data(progress).stall()
    });
    server.once(listen(), |request| {
        Reply::sse().data(acknowledgement(request)).stall()
    });
    let mut app = program::start(&server);
    app.ask_tool(1, "any", "").await;
    app.server_sent("notifications/progress").await;
    app.cancel(1).await;
    server.aborted(1).await;
    app.ask(
        2,
        "subscriptions/listen",
        &json!({"notifications": {"toolsListChanged": true}}),
    )
    .await;
    app.server_sent("notifications/subscriptions/acknowledged")
        .await;
    app.cancel(2).await;
    server.aborted(2).await;
    app.still_served_modern().await;
    assert_eq!(server.requests().len(), 3, "{}", server.story());
    assert!(app.finish().await.unread.is_empty());
}

fn tool(name: &str, properties: &Value) -> Value {
    json!({"name": name, "inputSchema": {"type": "object", "properties": properties}})
}

/// X-96, HM-33
#[tokio::test]
async fn tools_with_headers_that_cannot_be_are_left_out() {
    let annotated = |kind: &str, header: Value| json!({"type": kind, "x-mcp-header": header});
    let named = json!({"x-mcp-header": {"type": "number"}});
    let many: Value = (0..200)
        .map(|number| {
            (
                format!("p{number}"),
                annotated("string", json!(format!("P{number}"))),
            )
        })
        .collect::<serde_json::Map<_, _>>()
        .into();
    let nested = json!({"type": "object", "properties": {"in": annotated("integer", json!("In"))}});
    let kept = [
        tool("plain", &json!({})),
        tool(
            "annotated",
            &json!({"r": annotated("string", json!("Region"))}),
        ),
        tool("nested", &json!({"o": nested})),
        tool("named", &named),
        tool("many", &many),
    ];
    let left_out = [
        tool("empty", &json!({"r": annotated("string", json!(""))})),
        tool("spaced", &json!({"r": annotated("string", json!("A B"))})),
        tool(
            "injected",
            &json!({"r": annotated("string", json!("X\r\nEvil: 1"))}),
        ),
        tool("not text", &json!({"r": annotated("string", json!(1))})),
        tool("number", &json!({"r": annotated("number", json!("R"))})),
        tool(
            "twice",
            &json!({"a": annotated("string", json!("Region")), "b": annotated("string", json!("region"))}),
        ),
        tool(
            "items",
            &json!({"a": {"type": "array", "items": annotated("string", json!("R"))}}),
        ),
        tool(
            "anyOf",
            &json!({"a": {"anyOf": [annotated("string", json!("R"))]}}),
        ),
        json!({"name": "ref", "inputSchema": {
            "type": "object",
            "properties": {"a": {"$ref": "#/$defs/a"}},
            "$defs": {"a": annotated("string", json!("R"))},
        }}),
    ];
    let all: Vec<_> = left_out.iter().chain(&kept).cloned().collect();
    let server = server();
    server.once(rpc("tools/list"), move |request| {
        complete(
            request,
            &json!({"tools": all, "ttlMs": 7, "cacheScope": "public", "nextCursor": ""}),
        )
    });
    let launch = program::bridge_for(&server).args(["--list-pages", "pass"]);
    let mut app = launch.start();
    app.ask(1, "tools/list", &json!({})).await;
    let result = app.result(1).await;
    assert_eq!(result["tools"], json!(kept));
    assert_eq!(
        (&result["ttlMs"], &result["nextCursor"]),
        (&json!(7), &json!(""))
    );
    let finished = app.finish().await;
    for tool in &left_out {
        let name = tool["name"].as_str().expect("a name");
        assert!(finished.stderr.contains(name), "{name} is logged");
    }
}

/// X-97, HM-34
#[tokio::test]
async fn arguments_are_mirrored_in_headers() {
    let annotated = |kind: &str, header: &str| json!({"type": kind, "x-mcp-header": header});
    let listed = tool(
        "echo",
        &json!({
            "text": annotated("string", "Text"),
            "count": annotated("integer", "Count"),
            "flag": annotated("boolean", "Flag"),
            "outer": {"type": "object", "properties": {"inner": annotated("string", "Inner")}},
        }),
    );
    let server = server();
    server.always(rpc("tools/list"), move |request| {
        complete(request, &json!({"tools": [listed]}))
    });
    let mut app = program::start(&server);
    app.ask("list", "tools/list", &json!({})).await;
    app.result("list").await;
    let cases = [
        (json!({"text": "us west 1"}), "text", Some("us west 1")),
        (json!({"text": ""}), "text", Some("")),
        (json!({"text": " x"}), "text", Some("=?base64?IHg=?=")),
        (json!({"text": "日本"}), "text", Some("=?base64?5pel5pys?=")),
        (
            json!({"text": "a\r\nEvil: 1"}),
            "text",
            Some("=?base64?YQ0KRXZpbDogMQ==?="),
        ),
        (
            json!({"text": "=?base64?literal?="}),
            "text",
            Some("=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
        ),
        (json!({"text": null}), "text", None),
        (json!({"text": ["a"]}), "text", None),
        (json!({}), "text", None),
        (json!({"count": 42}), "count", Some("42")),
        (json!({"count": 42.0}), "count", Some("42")),
        (json!({"count": -7}), "count", Some("-7")),
        (
            json!({"count": 9_007_199_254_740_991_i64}),
            "count",
            Some("9007199254740991"),
        ),
        (json!({"count": 1_i64 << 60}), "count", None),
        (json!({"count": 1.5}), "count", None),
        (json!({"flag": true}), "flag", Some("true")),
        (json!({"flag": false}), "flag", Some("false")),
        (json!({"outer": {"inner": "deep"}}), "inner", Some("deep")),
        (json!({"outer": {}}), "inner", None),
        (json!({"outer": 1}), "inner", None),
        (json!({}), "inner", None),
    ];
    for (number, (arguments, header, expected)) in cases.into_iter().enumerate() {
        app.ask(
            number,
            "tools/call",
            &json!({"name": "echo", "arguments": arguments}),
        )
        .await;
        app.result(number).await;
        let request = server.received(call("echo"), number + 1).await;
        let header = format!("mcp-param-{header}");
        assert_eq!(request.header(&header), expected, "{arguments}");
        assert_eq!(request.header("evil"), None);
    }
    app.finish().await;
}

fn mismatch(request: &Request) -> Reply {
    refused(
        400,
        error_with_data(request, -32020, &json!({"header": "Mcp-Param-Text"})),
    )
}

/// X-98, HM-35: the app calls a tool that it has not listed, or whose schema has changed.
#[tokio::test]
async fn headers_that_are_wrong_are_healed_once_by_listing_the_tools() {
    let server = server();
    let listed = tool(
        "echo",
        &json!({"text": {"type": "string", "x-mcp-header": "Text"}}),
    );
    server.always(rpc("tools/list"), move |request| {
        // On the second page, whose cursor is empty and a cursor all the same.
        match request.params()["cursor"].as_str() {
            None => complete(request, &json!({"tools": [], "nextCursor": ""})),
            Some(_) => complete(request, &json!({"tools": [listed]})),
        }
    });
    server.always(call("echo"), |request| {
        request
            .header("mcp-param-text")
            .is_none()
            .then(|| mismatch(request))
    });
    let mut app = program::start(&server);
    app.ask_tool(1, "echo", "healed").await;
    assert_eq!(app.result(1).await["content"][0]["text"], "healed");
    app.still_served_modern().await;
    let calls = server.requests_for(&call("echo"));
    let headers: Vec<_> = calls
        .iter()
        .map(|request| request.header("mcp-param-text"))
        .collect();
    assert_eq!(headers, [None, Some("healed"), Some("still served")]);
    let lists = server.requests_for(&rpc("tools/list"));
    assert_eq!(lists.len(), 2);
    assert_eq!(lists[0].params()["_meta"], modern::meta());
    assert!(app.finish().await.unread.is_empty());
}

/// X-98
#[tokio::test]
async fn a_server_that_always_finds_headers_wrong_is_not_asked_for_ever() {
    let server = server();
    server.always(call("any"), mismatch);
    let mut app = program::start(&server);
    for (number, id) in [1, 2].into_iter().enumerate() {
        app.ask_tool(id, "any", "").await;
        assert_eq!(app.error(id).await["code"], -32020);
        assert_eq!(server.count(&call("any")), 2 * (number + 1));
        assert_eq!(server.count(&rpc("tools/list")), number + 1);
    }
    app.finish().await;
}

/// X-99
#[tokio::test]
async fn a_list_of_tools_without_end_is_given_up() {
    const TOOLS_A_PAGE: usize = 100;
    let server = server();
    server.allow_requests(150);
    let mut page = 0;
    server.always(rpc("tools/list"), move |request| {
        page += 1;
        let tools: Vec<_> = (0..TOOLS_A_PAGE)
            .map(|number| tool(&format!("t-{page}-{number}"), &json!({})))
            .collect();
        complete(
            request,
            &json!({"tools": tools, "nextCursor": page.to_string()}),
        )
    });
    server.always(call("any"), mismatch);
    let mut app = program::start(&server);
    app.ask_tool(1, "any", "").await;
    assert_eq!(app.error(1).await["code"], -32020);
    assert_eq!(server.count(&rpc("tools/list")), 100);
    assert_eq!(server.count(&call("any")), 2);
    app.finish().await;
}

/// X-99
#[tokio::test]
async fn a_list_that_goes_in_circles_is_given_up() {
    let server = server();
    server.always(rpc("tools/list"), |request| {
        complete(request, &json!({"tools": [], "nextCursor": "again"}))
    });
    server.always(call("any"), mismatch);
    let mut app = program::start(&server);
    app.ask_tool(1, "any", "").await;
    assert_eq!(app.error(1).await["code"], -32020);
    assert_eq!(server.count(&rpc("tools/list")), 2);
    // A list of the app's own is given to it as it is.
    app.ask(2, "tools/list", &json!({"cursor": "again"})).await;
    assert_eq!(app.result(2).await["nextCursor"], "again");
    app.finish().await;
}

fn everything() -> Value {
    json!({"notifications": {
        "toolsListChanged": true,
        "promptsListChanged": true,
        "resourcesListChanged": false,
        "resourceSubscriptions": ["a:1"],
    }})
}

fn subscription_of(line: &Value) -> &Value {
    &line["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"]
}

/// HM-24: the app does not notice, and what it may have missed is announced.
#[tokio::test]
async fn a_subscription_outlives_its_connections() {
    let server = server();
    let mut app = program::start(&server);
    app.ask("sub", "subscriptions/listen", &everything()).await;
    app.server_sent("notifications/subscriptions/acknowledged")
        .await;
    for (number, end) in [Piece::Reset, Piece::End, Piece::Reset]
        .into_iter()
        .enumerate()
    {
        server.push_piece(end);
        let opened = server.received(listen(), number + 2).await;
        let first = &server.requests_for(&listen())[0];
        assert_eq!(opened.text(), first.text());
        for method in [
            "tools/list_changed",
            "prompts/list_changed",
            "resources/updated",
        ] {
            let line = app
                .server_sent(&format!("notifications/{method}"))
                .await
                .value();
            assert_eq!(subscription_of(&line), "sub");
        }
        let note = on_stream(
            &opened,
            "notifications/prompts/list_changed",
            &json!({"real": number}),
        );
        server.push(&note);
        assert_eq!(
            app.server_sent("notifications/prompts/list_changed")
                .await
                .text,
            note
        );
    }
    app.still_served_modern().await;
    app.cancel("sub").await;
    server.aborted(1).await;
    let finished = app.finish().await;
    assert!(finished.unread.is_empty(), "{:?}", finished.unread);
}

/// X-94, HM-22: with the server's own response.
#[tokio::test]
async fn a_subscription_that_the_server_ends_is_over() {
    let server = server();
    server.once(listen(), |request| {
        let end = request.result(r#"{"resultType":"complete"}"#);
        Reply::sse().data(acknowledgement(request)).data(end)
    });
    let mut app = program::start(&server);
    app.ask("sub", "subscriptions/listen", &everything()).await;
    app.server_sent("notifications/subscriptions/acknowledged")
        .await;
    assert_eq!(app.result("sub").await["resultType"], "complete");
    app.still_served_modern().await;
    assert_eq!(server.count(&listen()), 1);
    app.finish().await;
}

/// X-94: not more than one connection for each of the app's requests, or after a growing pause.
#[tokio::test]
async fn a_subscription_that_ends_at_once_makes_no_storm() {
    const CALLS: usize = 5;
    let server = server();
    server.always(listen(), |request| {
        Reply::sse().data(acknowledgement(request))
    });
    let mut app = program::start(&server);
    app.ask("sub", "subscriptions/listen", &everything()).await;
    app.server_sent("notifications/subscriptions/acknowledged")
        .await;
    for _ in 0..CALLS {
        app.still_served_modern().await;
    }
    assert!(server.count(&listen()) <= 2 * CALLS, "{}", server.story());
    app.cancel("sub").await;
    app.finish().await;
}

/// HM-22: an app hears of the end of a subscription that it was told of.
#[tokio::test]
async fn a_subscription_without_hope_is_cancelled() {
    let endings: [(usize, fn() -> Reply); 3] = [
        (2, || Reply::status(404)),
        (2, || Reply::status(405)),
        (BARREN_LISTENS, Reply::sse),
    ];
    for (connections, ending) in endings {
        let server = server();
        server.allow_requests(1_000);
        server.once(listen(), |request| {
            Reply::sse().data(acknowledgement(request))
        });
        server.always(listen(), move |_| ending());
        let mut app = program::start(&server);
        app.ask("sub", "subscriptions/listen", &everything()).await;
        app.server_sent("notifications/subscriptions/acknowledged")
            .await;
        // Each request is a reason to try again at once.
        while server.count(&listen()) < connections {
            app.still_served_modern().await;
        }
        let cancelled = app.server_sent("notifications/cancelled").await.value();
        assert_eq!(cancelled["params"]["requestId"], "sub");
        let tried = server.count(&listen());
        app.still_served_modern().await;
        assert_eq!(server.count(&listen()), tried);
        // The app takes note, as it would of any other cancellation.
        app.cancel("sub").await;
        app.finish().await;
    }
}

/// HM-22: the server's era is known, so a refusal is no reason to ask for it, nor to speak the other one.
#[tokio::test]
async fn a_refusal_of_a_lost_subscription_leads_to_no_probe() {
    for status in [400, 404, 406] {
        let server = server();
        server.once(listen(), |request| {
            Reply::sse().data(acknowledgement(request)).reset()
        });
        server.always(listen(), move |_| Reply::status(status));
        let mut app = program::start(&server);
        app.ask("sub", "subscriptions/listen", &everything()).await;
        app.server_sent("notifications/subscriptions/acknowledged")
            .await;
        let cancelled = app.server_sent("notifications/cancelled").await.value();
        assert_eq!(cancelled["params"]["requestId"], "sub");
        assert_eq!(server.count(&post()), 2, "{}", server.story());
        app.cancel("sub").await;
        app.still_served_modern().await;
        app.finish().await;
    }
}

/// HM-24: an app that waits for the server's own acknowledgement gets that, and the rest is the same.
#[tokio::test]
async fn a_subscription_of_an_app_that_waits_for_the_server_outlives_its_connection() {
    let server = server();
    let mut app = program::bridge_for(&server)
        .args(["--wait-for-auth"])
        .start();
    app.ask("sub", "subscriptions/listen", &everything()).await;
    app.server_sent("notifications/subscriptions/acknowledged")
        .await;
    server.push_piece(Piece::Reset);
    for method in [
        "tools/list_changed",
        "prompts/list_changed",
        "resources/updated",
    ] {
        app.server_sent(&format!("notifications/{method}")).await;
    }
    assert_eq!(server.count(&listen()), 2);
    app.cancel("sub").await;
    server.aborted(1).await;
    let finished = app.finish().await;
    assert!(finished.unread.is_empty(), "{:?}", finished.unread);
}

/// X-93
#[tokio::test]
async fn a_subscription_that_never_was_is_not_kept() {
    let endings: [fn(&Request) -> Reply; 3] = [
        |_| Reply::sse(),
        |_| Reply::sse().reset(),
        |request| refused(404, request.error(-32601, "Method not found")),
    ];
    for ending in endings {
        let server = server();
        server.always(listen(), ending);
        let mut app = program::start(&server);
        app.ask("sub", "subscriptions/listen", &everything()).await;
        app.error("sub").await;
        app.still_served_modern().await;
        assert!(app.finish().await.unread.is_empty());
    }
}

/// X-95
#[tokio::test]
async fn two_subscriptions_get_their_own_copies() {
    let server = server();
    let mut app = program::start(&server);
    for id in [json!(1), json!("1")] {
        app.ask(id, "subscriptions/listen", &everything()).await;
        app.server_sent("notifications/subscriptions/acknowledged")
            .await;
    }
    for stream in server.requests_for(&listen()) {
        let id: Value = serde_json::from_str(id_of(&stream)).expect("an id");
        let note = on_stream(&stream, "notifications/tools/list_changed", &json!({}));
        server.push(&note);
        let line = app.server_sent("notifications/tools/list_changed").await;
        assert_eq!(*subscription_of(&line.value()), id);
        assert_eq!(line.text, note);
    }
    for id in [json!(1), json!("1")] {
        app.cancel(id).await;
    }
    server.aborted(2).await;
    assert_eq!(server.count(&post()), 2);
    assert!(app.finish().await.unread.is_empty());
}
