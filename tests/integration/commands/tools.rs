//! `mcp-bridge tools`: what a server has to offer.

use serde_json::{Value, json};

use crate::program;
use mcp_bridge_testkit::{
    fault_server::FaultServer,
    mcp::Binding,
    modern::{complete, discovery},
    program::CommandOutput,
    reply::Reply,
    request::{Request, delete, rpc},
};

async fn tools(server: &FaultServer, flags: &[&str]) -> CommandOutput {
    let url = server.url();
    let header = format!("X-Api-Key: {}", mcp_bridge_testkit::HEADER_MARKER);
    let args = ["tools", &url, "--header", &header];
    let ran = program::command(args.into_iter().chain(flags.iter().copied()))
        .run()
        .await;
    let faults = server.faults();
    assert!(faults.is_empty(), "{faults:#?}\n{}", server.story());
    ran
}

#[tokio::test]
async fn every_page_is_listed_and_the_session_is_over_afterwards() {
    let server = FaultServer::start();
    server.always(rpc("tools/list"), |request: &Request| {
        let result = match request.params()["cursor"].as_str() {
            None => {
                r#"{"tools":[{"name":"first","description":"One.\nMore of it."}],"nextCursor":"2"}"#
            }
            Some(_) => r#"{"tools":[{"name":"second","annotations":{"destructiveHint":true}}]}"#,
        };
        Reply::json(request.result(result))
    });
    let ran = tools(&server, &[]).await;
    assert_eq!(ran.stdout, "first\n  One.\n\nsecond  (destructive)\n");
    assert_eq!((ran.stderr.as_str(), ran.status), ("", 0));
    assert_eq!(server.count(&delete()), 1, "{}", server.story());
}

#[tokio::test]
async fn json_is_what_the_server_wrote() {
    let server = FaultServer::start();
    server.always(rpc("tools/list"), |request: &Request| {
        let result = match request.params()["cursor"].as_str() {
            None => "{\"tools\":[ {\"name\":\"a\",\n\"n\":1.0, \"x\":1e400}],\"nextCursor\":\"2\"}",
            Some(_) => r#"{"tools":[{"name":"b","big":12345678901234567890123}]}"#,
        };
        Reply::json(request.result(result))
    });
    let ran = tools(&server, &["--json"]).await;
    let expected = "{\"tools\":[\n{\"name\":\"a\", \"n\":1.0, \"x\":1e400},\n\
        {\"name\":\"b\",\"big\":12345678901234567890123}\n]}\n";
    assert_eq!(ran.stdout, expected);
    assert_eq!((ran.stderr.as_str(), ran.status), ("", 0));
}

#[tokio::test]
async fn a_server_of_the_modern_era_is_listed_likewise() {
    let server = FaultServer::start_as(Binding::Modern);
    server.always(rpc("tools/list"), |request: &Request| {
        let tools: Value = json!([{"name": "modern", "inputSchema": {"type": "object"}}]);
        complete(
            request,
            &json!({"tools": tools, "ttlMs": 0, "cacheScope": "private"}),
        )
    });
    let ran = tools(&server, &[]).await;
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("modern\n", ""));
}

#[tokio::test]
async fn a_server_without_tools_has_none() {
    let server = FaultServer::start();
    server.always(rpc("tools/list"), |request: &Request| {
        Reply::json(request.result(r#"{"tools":[]}"#))
    });
    let ran = tools(&server, &[]).await;
    assert_eq!(ran.stdout, "");
    assert_eq!(ran.stderr, "the server has no tools\n");
    assert_eq!(ran.status, 0);
}

#[tokio::test]
async fn a_list_without_end_is_given_up() {
    let server = FaultServer::start();
    // The bridge looks for the end, and then the command.
    server.allow_requests(250);
    let mut page = 0;
    server.always(rpc("tools/list"), move |request: &Request| {
        page += 1;
        let result = format!(r#"{{"tools":[{{"name":"a"}}],"nextCursor":"{page}"}}"#);
        Reply::json(request.result(result))
    });
    let ran = tools(&server, &[]).await;
    assert_eq!(ran.stdout, "");
    let expected = "error: the server's list of tools has no end: 100 pages were read\n\n\
         hint: mcp-bridge doctor URL shows what is wrong with the server\n";
    assert_eq!(ran.stderr, expected);
    assert_eq!(ran.status, 1);
}

#[tokio::test]
async fn a_cursor_that_is_empty_or_comes_again_ends_the_list() {
    for (cursor, requests) in [("", 1), ("same", 2)] {
        let server = FaultServer::start();
        server.always(rpc("tools/list"), move |request: &Request| {
            let result = json!({"tools": [{"name": "a"}], "nextCursor": cursor});
            Reply::json(request.result(result.to_string()))
        });
        let ran = tools(&server, &[]).await;
        assert_eq!((ran.stdout.as_str(), ran.status), ("a\n", 0));
        assert_eq!(server.count(&rpc("tools/list")), requests, "{cursor:?}");
    }
}

/// Answers to `initialize` that open no session, and the error that a person reads then.
#[tokio::test]
async fn a_session_that_cannot_be_opened_is_an_error_with_a_hint() {
    type Answer = fn(&Request) -> Reply;
    let doctor = "mcp-bridge doctor URL shows what is wrong with the server";
    let answers: [(Answer, &str, &str); 7] = [
        (
            |_| Reply::status(500).body("text/plain", "boom"),
            "the server answered 500 Internal Server Error: boom",
            "the server, or a proxy in front of it, has failed",
        ),
        (
            |_| Reply::status(403),
            "the server answered 403 Forbidden",
            "the server forbids this",
        ),
        (
            |_| Reply::status(200).body("text/html", "<html>"),
            "it is of type text/html",
            "check that the URL",
        ),
        (
            |_| Reply::json("{"),
            "the server's answer cannot be used: not JSON",
            "the operator of the server",
        ),
        (
            |_| Reply::no_answer_but_close(),
            "the connection broke",
            "check whether",
        ),
        (
            |request| Reply::json(request.error(-32603, "not today")),
            "the server says: not today (-32603)",
            doctor,
        ),
        (
            |request| Reply::json(request.result("{}")),
            "the server's answer to initialize is not valid",
            doctor,
        ),
    ];
    for (answer, error, hint) in answers {
        let server = FaultServer::start();
        server.always(rpc("initialize"), answer);
        let ran = tools(&server, &["--transport", "http-only"]).await;
        assert!(ran.stderr.starts_with("error: "), "{ran:?}");
        assert!(ran.stderr.contains(error), "{ran:?}");
        assert!(ran.stderr.contains(&format!("\n\nhint: {hint}")), "{ran:?}");
        assert_eq!((ran.stdout.as_str(), ran.status), ("", 1));
    }
}

#[tokio::test]
async fn a_server_that_speaks_no_version_of_the_bridge_is_an_error_of_the_bridge() {
    let server = FaultServer::start_as(Binding::Modern);
    server.always(rpc("server/discover"), |request: &Request| {
        Reply::json(discovery(request, &json!(["2031-01-01"])))
    });
    let ran = tools(&server, &["--protocol", "modern"]).await;
    let host = server.host();
    let error =
        format!("error: {host}: the server speaks 2031-01-01, and the bridge 2026-07-28\n\nhint: ");
    assert!(ran.stderr.starts_with(&error), "{ran:?}");
    assert_eq!((ran.stdout.as_str(), ran.status), ("", 1));
}

#[tokio::test]
async fn an_error_of_the_server_is_told_as_that() {
    let server = FaultServer::start();
    server.always(rpc("tools/list"), |request: &Request| {
        Reply::json(request.error(-32601, "Method\u{1b}[2J not found"))
    });
    let ran = tools(&server, &[]).await;
    let expected = "error: the server says: Method\u{fffd}[2J not found (-32601)\n";
    assert_eq!(ran.stderr, expected);
    assert_eq!((ran.stdout.as_str(), ran.status), ("", 1));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_with_a_hint() {
    let server = FaultServer::start_down(Binding::Streamable);
    let ran = tools(&server, &[]).await;
    let error = format!("error: {}: could not connect: ", server.host());
    let hint = "\n\nhint: check that the server is running and that the port in the URL is right\n";
    assert!(ran.stderr.starts_with(&error), "{ran:?}");
    assert!(ran.stderr.ends_with(hint), "{ran:?}");
    assert_eq!(ran.stderr.lines().count(), 3, "{ran:?}");
    assert_eq!((ran.stdout.as_str(), ran.status), ("", 1));
}

#[tokio::test]
async fn a_tool_with_members_of_wrong_types_is_listed_all_the_same() {
    let server = FaultServer::start();
    server.always(rpc("tools/list"), |request: &Request| {
        let tool = r#"{"name":"odd","inputSchema":[],"icons":7,"title":null,"x":"\ud800"}"#;
        Reply::json(request.result(format!(r#"{{"tools":[{tool}]}}"#)))
    });
    let ran = tools(&server, &[]).await;
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("odd\n", ""));
}

#[tokio::test]
async fn arguments_that_make_no_sense_are_refused_before_anything_is_sent() {
    let ran = program::command(["tools", "ftp://localhost/"]).run().await;
    assert_eq!((ran.stdout.as_str(), ran.status), ("", 2));
    assert!(
        ran.stderr.starts_with("error: the server's URL "),
        "{ran:?}"
    );
}
