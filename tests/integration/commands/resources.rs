//! `mcp-bridge resources` and `mcp-bridge read`: the resources of a server.

use serde_json::{Value, json};

use crate::program;
use mcp_bridge_testkit::{
    fault_server::FaultServer,
    mcp::Binding,
    modern::complete,
    program::{CommandOutput, Program},
    reply::Reply,
    request::{Request, delete, rpc},
};

fn prepared(command: &str, server: &FaultServer, args: &[&str]) -> Program {
    let url = server.url();
    let header = format!("X-Api-Key: {}", mcp_bridge_testkit::HEADER_MARKER);
    let all = [command, "--header", &header, &url];
    program::command(all.into_iter().chain(args.iter().copied()))
}

async fn run(command: &str, server: &FaultServer, args: &[&str]) -> CommandOutput {
    let ran = prepared(command, server, args).run().await;
    let faults = server.faults();
    assert!(faults.is_empty(), "{faults:#?}\n{}", server.story());
    ran
}

/// Answers requests for the method with results, one after the other by their cursors.
fn answers(server: &FaultServer, method: &'static str, pages: &'static [&'static str]) {
    server.always(rpc(method), move |request: &Request| {
        let cursor = request.params()["cursor"].as_str().map(str::to_owned);
        let page = cursor.map_or(0, |it| it.parse::<usize>().expect("a cursor of the test"));
        Reply::json(request.result(pages[page]))
    });
}

/// The contents of every resource.
fn contents(server: &FaultServer, contents: Value) {
    server.always(rpc("resources/read"), move |request: &Request| {
        Reply::json(request.result(json!({ "contents": contents }).to_string()))
    });
}

#[tokio::test]
async fn resources_and_templates_are_listed_with_all_their_pages() {
    let server = FaultServer::start();
    answers(
        &server,
        "resources/list",
        &[
            r#"{"resources":[{"uri":"x://menu","name":"menu","title":"Menu","description":"Of today.\nMore.","mimeType":"text/plain","size":2048,"annotations":{"audience":["user","assistant"],"priority":0.8,"lastModified":"2026-01-02T03:04:05Z"}}],"nextCursor":"1"}"#,
            r#"{"resources":[{"uri":"x://logo","name":"logo"}]}"#,
        ],
    );
    answers(
        &server,
        "resources/templates/list",
        &[
            r#"{"resourceTemplates":[{"uriTemplate":"x://coffee/{name}","name":"coffee","mimeType":"application/json"}]}"#,
        ],
    );
    let ran = run("resources", &server, &[]).await;
    let expected = "\
x://menu  (text/plain, 2.0 KiB, for the user and the assistant, priority 0.8, changed 2026-01-02T03:04:05Z)
  Menu: Of today.

x://logo
  logo

x://coffee/{name}  (template, application/json)
  coffee
";
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), (expected, ""));
    assert_eq!(ran.status, 0);
    assert_eq!(server.count(&delete()), 1, "{}", server.story());
}

#[tokio::test]
async fn json_lists_are_what_the_server_wrote() {
    let server = FaultServer::start();
    let resources = r#"{"resources":[{"uri":"x://a", "n":1.0}]}"#;
    answers(&server, "resources/list", Box::leak(Box::new([resources])));
    answers(
        &server,
        "resources/templates/list",
        &[r#"{"resourceTemplates":[]}"#],
    );
    let ran = run("resources", &server, &["--json"]).await;
    let expected =
        "{\"resources\":[\n{\"uri\":\"x://a\", \"n\":1.0}\n],\n\"resourceTemplates\":[\n\n]}\n";
    assert_eq!(ran.stdout, expected);
}

#[tokio::test]
async fn a_server_that_does_not_know_resources_has_none() {
    let server = FaultServer::start();
    for method in ["resources/list", "resources/templates/list"] {
        server.always(rpc(method), |request: &Request| {
            Reply::json(request.error(-32601, "Method not found"))
        });
    }
    let ran = run("resources", &server, &[]).await;
    assert_eq!(ran.stderr, "the server has no resources\n");
    assert_eq!((ran.stdout.as_str(), ran.status), ("", 0));
}

#[tokio::test]
async fn an_error_of_a_list_is_told_as_the_servers() {
    let server = FaultServer::start();
    server.always(rpc("resources/list"), |request: &Request| {
        Reply::json(request.error(-32000, "closed today"))
    });
    let ran = run("resources", &server, &[]).await;
    assert_eq!(
        ran.stderr,
        "error: the server says: closed today (-32000)\n"
    );
    assert_eq!((ran.stdout.as_str(), ran.status), ("", 1));
}

#[tokio::test]
async fn the_one_content_of_a_resource_is_printed_byte_for_byte() {
    for (content, expected) in [
        (
            json!({"uri": "x://a", "text": "no end of line"}),
            &b"no end of line"[..],
        ),
        (
            json!({"uri": "x://a", "blob": "AP8Bgg=="}),
            &[0, 255, 1, 130],
        ),
    ] {
        let server = FaultServer::start();
        contents(&server, json!([content]));
        let file = tempfile::NamedTempFile::new().expect("a file for the test");
        let output = file.reopen().expect("it is there");
        let program = prepared("read", &server, &["x://a"]).stdout_to(output);
        let ran = program.run().await;
        assert_eq!((ran.stderr.as_str(), ran.status), ("", 0));
        assert_eq!(std::fs::read(file.path()).expect("it is there"), expected);
        let read = server.received(rpc("resources/read"), 1).await;
        assert_eq!(read.params()["uri"], "x://a");
    }
}

#[tokio::test]
async fn several_contents_are_printed_one_after_the_other() {
    let server = FaultServer::start();
    contents(
        &server,
        json!([
            {"uri": "x://a/1", "text": "one"},
            {"uri": "x://a/2", "blob": "AAEC", "mimeType": "image/png"},
        ]),
    );
    let ran = run("read", &server, &["x://a"]).await;
    let expected = "one\n[resource x://a/2: image/png, 3 bytes, saved by --output FILE]\n";
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), (expected, ""));
}

#[tokio::test]
async fn a_resource_is_saved_in_a_file() {
    let server = FaultServer::start();
    contents(
        &server,
        json!([{"uri": "x://a", "blob": "AAEC", "mimeType": "image/png"}]),
    );
    let home = tempfile::TempDir::new().expect("a directory for the test");
    let program = prepared("read", &server, &["x://a", "--output", "it.png"]).home(home.path());
    let ran = program.run().await;
    assert_eq!(ran.stderr, "wrote 3 bytes to it.png\n");
    assert_eq!((ran.stdout.as_str(), ran.status), ("", 0));
    let saved = std::fs::read(home.path().join("it.png")).expect("it was saved");
    assert_eq!(saved, [0, 1, 2]);
}

#[tokio::test]
async fn a_resource_as_json_is_what_the_server_wrote() {
    let server = FaultServer::start();
    answers(
        &server,
        "resources/read",
        &[r#"{"contents":[ {"uri":"x://a","text":"t"}],"x":1.0}"#],
    );
    let ran = run("read", &server, &["x://a", "--json"]).await;
    assert_eq!(
        ran.stdout,
        "{\"contents\":[ {\"uri\":\"x://a\",\"text\":\"t\"}],\"x\":1.0}\n"
    );
}

#[tokio::test]
async fn a_template_is_filled_in_by_its_values() {
    let server = FaultServer::start();
    contents(&server, json!([{"uri": "x://a", "text": "found"}]));
    let args = [
        "x://coffee/{name}{?milk,lumps}",
        "name=flat white",
        "lumps=2",
    ];
    let ran = run("read", &server, &args).await;
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("found", ""));
    let read = server.received(rpc("resources/read"), 1).await;
    assert_eq!(read.params()["uri"], "x://coffee/flat%20white?lumps=2");
}

#[tokio::test]
async fn an_address_that_cannot_be_meant_is_refused_before_anything_is_sent() {
    let server = FaultServer::start();
    for (args, expected) in [
        (
            &["x://coffee/{name}{?milk}"][..],
            "error: the address is a template, which needs values\n\nhint: add name=…\n",
        ),
        (
            &["x://coffee/{name}", "nam=a"],
            "error: the address has no {nam}\n\nhint: it has name\n",
        ),
        (
            &["x://coffee", "name=a"],
            "error: the address has no {name}\n",
        ),
        (
            &["x://{coffee"],
            "error: \"x://{coffee\" is no address: { without }\n",
        ),
    ] {
        let ran = run("read", &server, args).await;
        assert_eq!(ran.stderr, expected);
        assert_eq!((ran.stdout.as_str(), ran.status), ("", 2));
    }
    assert_eq!(server.count(&rpc("initialize")), 0, "{}", server.story());
}

#[tokio::test]
async fn a_resource_that_does_not_exist_is_an_error_with_a_hint() {
    let server = FaultServer::start();
    server.always(rpc("resources/read"), |request: &Request| {
        Reply::json(request.error(-32002, "Resource not found"))
    });
    let ran = run("read", &server, &["x://none"]).await;
    let expected = format!(
        "error: the server says: Resource not found (-32002)\n\n\
         hint: mcp-bridge resources {} lists them\n",
        server.url_in_hints()
    );
    assert_eq!(ran.stderr, expected);
    assert_eq!((ran.stdout.as_str(), ran.status), ("", 1));
}

#[tokio::test]
async fn contents_that_cannot_be_used_are_an_error() {
    let server = FaultServer::start();
    contents(&server, json!([{"uri": "x://a", "blob": "?"}]));
    let ran = run("read", &server, &["x://a"]).await;
    let expected = "error: resource x://a: of no type, which is no base64\n";
    assert_eq!((ran.stderr.as_str(), ran.status), (expected, 1));
    let server = FaultServer::start();
    answers(&server, "resources/read", &[r#"{"content":[]}"#]);
    let ran = run("read", &server, &["x://a"]).await;
    let expected = "error: the server's answer to resources/read has no contents\n\n\
         hint: mcp-bridge doctor URL shows what is wrong with the server\n";
    assert_eq!((ran.stderr.as_str(), ran.status), (expected, 1));
    let server = FaultServer::start();
    contents(&server, json!([]));
    let ran = run("read", &server, &["x://a"]).await;
    assert_eq!(ran.stderr, "the resource has no contents\n");
    assert_eq!((ran.stdout.as_str(), ran.status), ("", 0));
}

#[tokio::test]
async fn values_of_a_template_are_suggested_by_the_server() {
    let server = FaultServer::start();
    answers(
        &server,
        "completion/complete",
        &[r#"{"completion":{"values":["flat white","flat black"],"hasMore":true}}"#],
    );
    let args = ["x://{size}/{name}", "size=big", "--complete", "name=flat"];
    let ran = run("read", &server, &args).await;
    assert_eq!(ran.stdout, "flat white\nflat black\n");
    assert_eq!(
        (ran.stderr.as_str(), ran.status),
        ("the server has more values\n", 0)
    );
    let asked = server.received(rpc("completion/complete"), 1).await;
    assert_eq!(
        asked.params(),
        json!({
            "ref": {"type": "ref/resource", "uri": "x://{size}/{name}"},
            "argument": {"name": "name", "value": "flat"},
            "context": {"arguments": {"size": "big"}},
        })
    );
}

#[tokio::test]
async fn a_server_of_the_modern_era_is_read_likewise() {
    let server = FaultServer::start_as(Binding::Modern);
    server.always(rpc("resources/list"), |request: &Request| {
        let resources = json!([{"uri": "x://modern", "name": "modern"}]);
        complete(
            request,
            &json!({"resources": resources, "ttlMs": 0, "cacheScope": "private"}),
        )
    });
    server.always(rpc("resources/read"), |request: &Request| {
        let contents = json!([{"uri": "x://modern", "text": "both"}]);
        complete(
            request,
            &json!({"contents": contents, "ttlMs": 0, "cacheScope": "private"}),
        )
    });
    let ran = run("resources", &server, &[]).await;
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str()),
        ("x://modern\n  modern\n", "")
    );
    let ran = run("read", &server, &["x://modern"]).await;
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("both", ""));
}
