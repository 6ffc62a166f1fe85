//! `mcp-bridge call`: calls one tool of a server.

use serde_json::{Value, json};

use crate::program;
#[cfg(unix)]
use mcp_bridge_testkit::request::delete;
use mcp_bridge_testkit::{
    fault_server::FaultServer,
    mcp::Binding,
    modern::{self, complete, discovery},
    program::{CommandOutput, Program},
    reply::{Gate, Reply},
    request::{Request, answer_to, call, rpc},
};

const TOOLS: &str = r#"{"tools":[
    {"name":"order-coffee","inputSchema":{"type":"object","properties":{
        "coffee":{"type":"string","description":"Which one."},
        "lumps":{"type":"integer","description":"Of sugar."},
        "milk":{"type":"boolean"},"extras":{"type":"array","items":{"type":"string"}}},
        "required":["coffee","lumps"]}},
    {"name":"echo","inputSchema":{"type":"object"}}]}"#;

fn server() -> FaultServer {
    let server = FaultServer::start();
    server.always(rpc("tools/list"), |request: &Request| {
        Reply::json(request.result(TOOLS.replace('\n', " ")))
    });
    // Says what it was given.
    server.always(call("order-coffee"), |request: &Request| {
        let text = request.params()["arguments"].to_string();
        let content = json!({"content": [{"type": "text", "text": text}]});
        Reply::json(request.result(content.to_string()))
    });
    server
}

fn prepared(server: &FaultServer, args: &[&str]) -> Program {
    let url = server.url();
    let header = format!("X-Api-Key: {}", mcp_bridge_testkit::HEADER_MARKER);
    let all = ["call", "--header", &header, &url];
    program::command(all.into_iter().chain(args.iter().copied()))
}

async fn run(server: &FaultServer, args: &[&str]) -> CommandOutput {
    let ran = prepared(server, args).run().await;
    let faults = server.faults();
    assert!(faults.is_empty(), "{faults:#?}\n{}", server.story());
    ran
}

/// The result of every call of `echo`.
fn echoes(server: &FaultServer, result: Value) {
    server.always(call("echo"), move |request: &Request| {
        Reply::json(request.result(result.to_string()))
    });
}

#[tokio::test]
async fn arguments_get_the_types_of_the_tools_schema() {
    let server = server();
    let args = [
        "order-coffee",
        "coffee=42",
        "lumps=2",
        "milk=true",
        r#"extras=["a"]"#,
    ];
    let ran = run(&server, &args).await;
    let expected = r#"{"coffee":"42","extras":["a"],"lumps":2,"milk":true}"#;
    assert_eq!(ran.stdout, format!("{expected}\n"));
    assert_eq!((ran.stderr.as_str(), ran.status), ("", 0));
}

#[tokio::test]
async fn arguments_come_as_json_from_the_line_a_file_or_stdin() {
    let server = server();
    let json = r#"{"coffee":"ristretto","lumps":0,"more":[1]}"#;
    let expected = r#"{"coffee":"ristretto","lumps":0,"more":[1]}"#;
    let ran = run(&server, &["order-coffee", json]).await;
    assert_eq!(ran.stdout, format!("{expected}\n"));
    let stdin = prepared(&server, &["order-coffee", "-"]).stdin(json);
    assert_eq!(stdin.run().await.stdout, format!("{expected}\n"));
    let file = prepared(&server, &["order-coffee", "@order.json"]);
    std::fs::write(file.directory().join("order.json"), json).expect("it is ours");
    assert_eq!(file.run().await.stdout, format!("{expected}\n"));
}

#[tokio::test]
async fn missing_arguments_are_named_before_anything_is_called() {
    let server = server();
    let ran = run(&server, &["order-coffee", "milk=true"]).await;
    let url = server.url_in_hints();
    let expected = format!(
        "error: the tool \"order-coffee\" also needs\n  coffee (string): Which one.\n  \
         lumps (integer): Of sugar.\n\nhint: mcp-bridge call {url} order-coffee coffee=… lumps=…\n",
    );
    assert_eq!(ran.stderr, expected);
    assert_eq!((ran.stdout.as_str(), ran.status), ("", 2));
    assert_eq!(server.count(&rpc("tools/call")), 0, "{}", server.story());
}

#[tokio::test]
async fn what_cannot_be_meant_is_an_error_that_says_what_could() {
    let server = server();
    for (args, expected) in [
        (
            &["order-cofee"][..],
            "error: the server has no tool \"order-cofee\"\n\nhint: did you mean order-coffee?\n",
        ),
        (
            &["tea"],
            "error: the server has no tool \"tea\"\n\nhint: it has order-coffee, echo\n",
        ),
        (
            &["order-coffee", "coffee=a", "lumps=two"],
            "error: lumps has to be of type integer, not \"two\"\n",
        ),
        (
            &["order-coffee", "coffee=a", "lump=2"],
            "error: the tool \"order-coffee\" has no argument lump\n\nhint: did you mean lumps?\n",
        ),
        (
            &["order-coffee", "ristretto"],
            "error: \"ristretto\" is not of the form NAME=VALUE\n\n\
             hint: write text=hello, or '{\"text\":\"hello\"}'\n",
        ),
    ] {
        let ran = run(&server, args).await;
        assert_eq!(ran.stderr, expected);
        assert_eq!((ran.stdout.as_str(), ran.status), ("", 2));
    }
    assert_eq!(server.count(&rpc("tools/call")), 0, "{}", server.story());
}

#[tokio::test]
async fn a_tool_that_fails_is_status_1() {
    let server = server();
    let text = json!([{"type": "text", "text": "no milk"}]);
    echoes(&server, json!({"content": text, "isError": true}));
    let ran = run(&server, &["echo"]).await;
    assert_eq!(ran.stdout, "no milk\n");
    assert_eq!(ran.stderr, "error: the tool \"echo\" says that it failed\n");
    assert_eq!(ran.status, 1);
    let ran = run(&server, &["echo", "--json"]).await;
    assert_eq!(
        ran.stdout,
        "{\"content\":[{\"text\":\"no milk\",\"type\":\"text\"}],\"isError\":true}\n"
    );
    assert_eq!(ran.status, 1);
}

#[tokio::test]
async fn an_error_of_the_server_is_told_as_that() {
    let server = server();
    server.always(call("echo"), |request: &Request| {
        Reply::json(request.error(-32602, "text is missing"))
    });
    let ran = run(&server, &["echo"]).await;
    assert_eq!(
        ran.stderr,
        "error: the server says: text is missing (-32602)\n"
    );
    assert_eq!((ran.stdout.as_str(), ran.status), ("", 1));
}

#[tokio::test]
async fn an_image_is_described_and_can_be_saved() {
    let server = server();
    let image = json!({"type": "image", "mimeType": "image/png", "data": "iVBORw=="});
    echoes(&server, json!({"content": [image]}));
    let ran = run(&server, &["echo"]).await;
    let expected = "[image: image/png, 4 bytes, saved by --output FILE]\n";
    assert_eq!((ran.stdout.as_str(), ran.status), (expected, 0));
    let directory = tempfile::TempDir::new().expect("a directory");
    let file = directory.path().join("it.png");
    let path = file.to_str().expect("a path in UTF-8");
    let ran = run(&server, &["echo", "--output", path]).await;
    assert_eq!((ran.stdout.as_str(), ran.status), ("", 0));
    assert_eq!(ran.stderr, format!("wrote 4 bytes to {path}\n"));
    assert_eq!(std::fs::read(file).expect("it is there"), b"\x89PNG");
}

#[tokio::test]
async fn a_result_of_another_shape_is_printed_as_json() {
    for (result, expected) in [
        (
            json!({"toolResult": {"x": 44}}),
            "{\n  \"toolResult\": {\n    \"x\": 44\n  }\n}\n",
        ),
        (
            json!({"content": "plain"}),
            "{\n  \"content\": \"plain\"\n}\n",
        ),
        (json!({}), "{}\n"),
    ] {
        let server = server();
        echoes(&server, result);
        let ran = run(&server, &["echo"]).await;
        assert_eq!(
            (ran.stdout.as_str(), ran.status),
            (expected, 0),
            "{}",
            ran.stderr
        );
    }
}

#[tokio::test]
async fn progress_and_logs_go_to_stderr() {
    let server = server();
    server.always(call("echo"), |request: &Request| {
        let token = &request.params()["_meta"]["progressToken"];
        let told = |method: &str, params: Value| {
            json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string()
        };
        let progress = |progress: f64, total: Value, text: &str| {
            let mut params = json!({"progressToken": token, "progress": progress, "message": text});
            if !total.is_null() {
                params["total"] = total;
            }
            told("notifications/progress", params)
        };
        let log = json!({"level": "warning", "logger": "kitchen", "data": "hot\u{1b}[2J"});
        Reply::sse()
            .data(progress(1.0, json!(4), "grinding"))
            .data(told("notifications/message", log))
            .data(told(
                "notifications/message",
                json!({"level": "info", "data": {"a": 1}}),
            ))
            .data(progress(7.5, Value::Null, ""))
            .data(request.result(r#"{"content":[{"type":"text","text":"done"}]}"#))
            .close()
    });
    let ran = run(&server, &["echo"]).await;
    assert_eq!((ran.stdout.as_str(), ran.status), ("done\n", 0));
    let lines: Vec<_> = ran.stderr.lines().collect();
    assert_eq!(
        lines,
        [
            " 25 %  grinding",
            "warning (kitchen): hot\u{fffd}[2J",
            "info: {\"a\":1}",
            "  7.5",
        ]
    );
}

#[tokio::test]
async fn a_json_object_is_sent_as_it_was_typed() {
    let server = server();
    echoes(&server, json!({"content": []}));
    let typed = r#"{"lumps": 12345678901234567890123, "coffee":"b", "milk":1.0}"#;
    run(&server, &["echo", typed]).await;
    let called = server.received(call("echo"), 1).await;
    let sent = format!(r#""arguments":{typed}"#);
    assert!(called.text().contains(&sent), "{}", called.text());
}

/// A tool whose `execution.taskSupport` is "required".
fn server_with_a_slow_tool() -> FaultServer {
    let server = FaultServer::start();
    server.always(rpc("tools/list"), |request: &Request| {
        let tool = r#"{"name":"roast","inputSchema":{},"execution":{"taskSupport":"required"}}"#;
        Reply::json(request.result(format!(r#"{{"tools":[{tool}]}}"#)))
    });
    server.always(call("roast"), |request: &Request| {
        let now = "2026-01-01T00:00:00Z";
        let task = json!({"taskId": "t1", "status": "working", "createdAt": now,
            "lastUpdatedAt": now, "ttl": null});
        let answer = if request.params()["task"].is_object() {
            request.result(json!({ "task": task }).to_string())
        } else {
            request.error(-32601, "only as a task")
        };
        Reply::json(answer)
    });
    server
}

#[tokio::test]
async fn a_tool_that_wants_to_be_a_task_is_called_as_one() {
    let server = server_with_a_slow_tool();
    server.always(rpc("tasks/result"), |request: &Request| {
        assert_eq!(request.params()["taskId"], "t1");
        let related = json!({"io.modelcontextprotocol/related-task": {"taskId": "t1"}});
        let content = json!([{"type": "text", "text": "roasted"}]);
        Reply::json(request.result(json!({"content": content, "_meta": related}).to_string()))
    });
    let ran = run(&server, &["roast"]).await;
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str()),
        ("roasted\n", "")
    );
    assert_eq!(ran.status, 0);
}

/// A server of 2026-07-28 with the tasks extension decides by itself what becomes a task.
#[tokio::test]
async fn a_call_that_a_modern_server_makes_a_task_of_is_waited_for() {
    let server = FaultServer::start_as(Binding::Modern);
    server.always(rpc("server/discover"), |request: &Request| {
        let mut answer: Value =
            serde_json::from_str(&discovery(request, &json!([modern::VERSION]))).expect("JSON");
        answer["result"]["capabilities"]["extensions"] =
            json!({"io.modelcontextprotocol/tasks": {}});
        Reply::json(answer.to_string())
    });
    let now = "2026-01-01T00:00:00Z";
    let task = move |status: &str| {
        json!({"taskId": "t1", "status": status, "createdAt": now, "lastUpdatedAt": now,
            "ttlMs": null, "pollIntervalMs": 1})
    };
    server.always(call("echo"), move |request: &Request| {
        let mut created = task("working");
        created["resultType"] = "task".into();
        Reply::json(request.result(created.to_string()))
    });
    server.always(rpc("tasks/get"), move |request: &Request| {
        assert_eq!(request.params()["taskId"], "t1");
        let mut state = task("completed");
        state["result"] = json!({"content": [{"type": "text", "text": "done"}]});
        complete(request, &state)
    });
    let ran = run(&server, &["echo"]).await;
    assert_eq!((ran.stdout.as_str(), ran.status), ("done\n", 0), "{ran:?}");
    assert_eq!(server.count(&rpc("tools/call")), 1, "{}", server.story());
}

#[cfg(unix)]
#[tokio::test]
async fn an_interrupt_cancels_the_task_of_a_call() {
    let server = server_with_a_slow_tool();
    server.always(rpc("tasks/result"), |_: &Request| Reply::no_answer_ever());
    server.always(rpc("tasks/cancel"), |request: &Request| {
        Reply::json(request.result("{}"))
    });
    let running = prepared(&server, &["roast"]).spawn();
    server.received(rpc("tasks/result"), 1).await;
    running.interrupt();
    let cancelled = server.received(rpc("tasks/cancel"), 1).await;
    assert_eq!(cancelled.params()["taskId"], "t1");
    let ran = running.ends().await;
    assert_eq!(
        (ran.stderr.as_str(), ran.status),
        ("error: cancelled\n", 130)
    );
}

/// Nobody runs a model or shares directories here.
#[tokio::test]
async fn requests_of_the_server_are_answered_or_refused_while_a_call_runs() {
    let server = server();
    let gate = Gate::closed();
    let wait = gate.clone();
    server.always(call("echo"), move |request: &Request| {
        let asked = |id: &str, method: &str| {
            json!({"jsonrpc": "2.0", "id": id, "method": method, "params": {}}).to_string()
        };
        Reply::sse()
            .data(asked("r", "roots/list"))
            .data(asked("s", "sampling/createMessage"))
            .data(asked("p", "ping"))
            .wait(&wait)
            .data(request.result(r#"{"content":[]}"#))
            .close()
    });
    let running = prepared(&server, &["echo"]).spawn();
    let not_found = json!({"code": -32601, "message": "Method not found"});
    for (id, expected) in [
        (r#""r""#, json!({"error": not_found})),
        (r#""s""#, json!({"error": not_found})),
        (r#""p""#, json!({"result": {}})),
    ] {
        let answer = server.received(answer_to(id), 1).await;
        let answer: Value = serde_json::from_str(answer.text()).expect("JSON");
        for member in ["result", "error"] {
            assert_eq!(answer.get(member), expected.get(member), "{id}");
        }
    }
    gate.open();
    assert_eq!(running.ends().await.status, 0);
}

/// Without a terminal nobody can be asked.
#[tokio::test]
async fn a_question_is_declined_where_there_is_no_terminal() {
    let server = server();
    let gate = Gate::closed();
    let wait = gate.clone();
    server.always(call("echo"), move |request: &Request| {
        let params = json!({
            "message": "Which coffee?",
            "requestedSchema": {"type": "object", "properties": {"coffee": {"type": "string"}}}
        });
        let question =
            json!({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": params});
        let result = r#"{"content":[{"type":"text","text":"no coffee, then"}]}"#;
        Reply::sse()
            .data(question.to_string())
            .wait(&wait)
            .data(request.result(result))
            .close()
    });
    let running = prepared(&server, &["echo"]).spawn();
    let answer = server.received(answer_to(r#""q""#), 1).await;
    gate.open();
    let answer: Value = serde_json::from_str(answer.text()).expect("JSON");
    assert_eq!(answer["result"], json!({"action": "decline"}));
    let ran = running.ends().await;
    assert_eq!((ran.stdout.as_str(), ran.status), ("no coffee, then\n", 0));
    assert_eq!(
        ran.stderr,
        "the server asks: Which coffee?\ndeclined: there is no terminal to answer on\n"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn an_interrupt_cancels_the_call() {
    let server = server();
    server.always(call("echo"), |_: &Request| Reply::no_answer_ever());
    let running = prepared(&server, &["echo"]).spawn();
    let called = server.received(call("echo"), 1).await;
    running.interrupt();
    let cancelled = server.received(rpc("notifications/cancelled"), 1).await;
    let id: Value = serde_json::from_str(called.message().id().expect("an id")).expect("JSON");
    assert_eq!(cancelled.params()["requestId"], id);
    let ran = running.ends().await;
    assert_eq!(ran.stderr, "error: cancelled\n");
    assert_eq!((ran.stdout.as_str(), ran.status), ("", 130));
}

#[cfg(unix)]
#[tokio::test]
async fn an_interrupt_ends_a_command_that_has_no_answer_yet() {
    let server = FaultServer::start();
    server.always(rpc("initialize"), |_: &Request| Reply::no_answer_ever());
    let running = prepared(&server, &["echo"]).spawn();
    server.received(rpc("initialize"), 1).await;
    running.interrupt();
    let ran = running.ends().await;
    assert_eq!(
        (ran.stderr.as_str(), ran.status),
        ("error: cancelled\n", 130)
    );
}

/// The first interrupt counts in every phase: here the server does not let the session go, and nobody reads
/// what is printed.
#[cfg(unix)]
#[tokio::test]
async fn an_interrupt_ends_a_command_that_has_its_result() {
    const MORE_THAN_A_PIPE_HOLDS: usize = 1024 * 1024;
    for is_deleted in [true, false] {
        let server = server();
        server.always(call("echo"), |request: &Request| {
            let content = json!([{"type": "text", "text": "x".repeat(MORE_THAN_A_PIPE_HOLDS)}]);
            Reply::json(request.result(json!({ "content": content }).to_string()))
        });
        if !is_deleted {
            server.always(delete(), |_: &Request| Reply::no_answer_ever());
        }
        let running = prepared(&server, &["echo"]).spawn();
        server.received(delete(), 1).await;
        running.interrupt();
        assert_eq!(running.ends_unread().await, 130);
    }
}
