//! `mcp-bridge prompts` and `mcp-bridge prompt`: the prompts of a server.

use serde_json::json;

use crate::program;
use mcp_bridge_testkit::{
    fault_server::FaultServer,
    mcp::Binding,
    modern::complete,
    program::CommandOutput,
    reply::Reply,
    request::{Request, rpc},
};

const PROMPTS: &str = r#"{"prompts":[{"name":"brew","title":"Brew","description":"Says how.","arguments":[{"name":"coffee","description":"Which one.","required":true},{"name":"lumps"}]},{"name":"praise"}]}"#;

async fn run(command: &str, server: &FaultServer, args: &[&str]) -> CommandOutput {
    let url = server.url();
    let header = format!("X-Api-Key: {}", mcp_bridge_testkit::HEADER_MARKER);
    let all = [command, "--header", &header, &url];
    let ran = program::command(all.into_iter().chain(args.iter().copied()))
        .run()
        .await;
    let faults = server.faults();
    assert!(faults.is_empty(), "{faults:#?}\n{}", server.story());
    ran
}

fn server() -> FaultServer {
    let server = FaultServer::start();
    server.always(rpc("prompts/list"), |request: &Request| {
        Reply::json(request.result(PROMPTS))
    });
    // Says what it was given.
    server.always(rpc("prompts/get"), |request: &Request| {
        let text = request.params()["arguments"].to_string();
        let messages = json!([
            {"role": "user", "content": {"type": "text", "text": text}},
            {"role": "user", "content": {"type": "image", "data": "AAEC", "mimeType": "image/png"}},
            {"role": "assistant", "content": {"type": "text", "text": "Well."}},
        ]);
        Reply::json(request.result(json!({ "messages": messages }).to_string()))
    });
    server
}

#[tokio::test]
async fn prompts_are_listed_with_their_arguments() {
    let server = server();
    let ran = run("prompts", &server, &[]).await;
    let expected = "\
brew
  Brew: Says how.
    coffee  required  Which one.
    lumps   optional

praise
";
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), (expected, ""));
    let ran = run("prompts", &server, &["--json"]).await;
    assert!(
        ran.stdout
            .starts_with("{\"prompts\":[\n{\"name\":\"brew\","),
        "{ran:?}"
    );
    assert_eq!(ran.stdout.lines().count(), 4);
}

#[tokio::test]
async fn a_server_that_does_not_know_prompts_has_none() {
    let server = FaultServer::start();
    server.always(rpc("prompts/list"), |request: &Request| {
        Reply::json(request.error(-32601, "Method not found"))
    });
    let ran = run("prompts", &server, &[]).await;
    assert_eq!(ran.stderr, "the server has no prompts\n");
    assert_eq!((ran.stdout.as_str(), ran.status), ("", 0));
}

#[tokio::test]
async fn a_prompt_is_filled_in_with_strings_and_shown_by_role() {
    let server = server();
    let ran = run("prompt", &server, &["brew", "coffee=42", "lumps=2"]).await;
    let expected = "\
user:
{\"coffee\":\"42\",\"lumps\":\"2\"}
[image: image/png, 3 bytes, saved by --output FILE]
assistant:
Well.
";
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), (expected, ""));
    assert_eq!(ran.status, 0);
    let ran = run("prompt", &server, &["praise", "--json"]).await;
    assert!(ran.stdout.starts_with("{\"messages\":[{"), "{ran:?}");
}

#[tokio::test]
async fn what_cannot_be_meant_is_an_error_that_says_what_could() {
    let server = server();
    let missing = format!(
        "error: the prompt \"brew\" also needs\n  coffee: Which one.\n\n\
         hint: mcp-bridge prompt {} brew coffee=…\n",
        server.url_in_hints()
    );
    for (args, expected) in [
        (&["brew", "lumps=1"][..], missing.as_str()),
        (
            &["brew", "coffe=a"],
            "error: the prompt \"brew\" has no argument coffe\n\nhint: did you mean coffee?\n",
        ),
        (
            &["bew"],
            "error: the server has no prompt \"bew\"\n\nhint: did you mean brew?\n",
        ),
    ] {
        let ran = run("prompt", &server, args).await;
        assert_eq!(ran.stderr, expected);
        assert_eq!((ran.stdout.as_str(), ran.status), ("", 2));
    }
    assert_eq!(server.count(&rpc("prompts/get")), 0, "{}", server.story());
}

#[tokio::test]
async fn an_answer_without_messages_is_an_error() {
    let server = FaultServer::start();
    server.always(rpc("prompts/list"), |request: &Request| {
        Reply::json(request.result(PROMPTS))
    });
    server.always(rpc("prompts/get"), |request: &Request| {
        Reply::json(request.result("{}"))
    });
    let ran = run("prompt", &server, &["praise"]).await;
    let expected = "error: the server's answer to prompts/get has no list of messages\n\n\
         hint: mcp-bridge doctor URL shows what is wrong with the server\n";
    assert_eq!((ran.stderr.as_str(), ran.status), (expected, 1));
}

#[tokio::test]
async fn values_of_an_argument_are_suggested_by_the_server() {
    let server = server();
    server.always(rpc("completion/complete"), |request: &Request| {
        Reply::json(request.result(r#"{"completion":{"values":["ristretto"],"total":1}}"#))
    });
    let args = ["brew", "--complete", "coffee="];
    let ran = run("prompt", &server, &args).await;
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str()),
        ("ristretto\n", "")
    );
    let asked = server.received(rpc("completion/complete"), 1).await;
    let expected = json!({
        "ref": {"type": "ref/prompt", "name": "brew"},
        "argument": {"name": "coffee", "value": ""},
    });
    assert_eq!(asked.params(), expected);
    let ran = run(
        "prompt",
        &server,
        &["brew", "--complete", "coffee=", "--json"],
    )
    .await;
    assert_eq!(
        ran.stdout,
        "{\"completion\":{\"values\":[\"ristretto\"],\"total\":1}}\n"
    );
}

#[tokio::test]
async fn a_server_of_the_modern_era_has_prompts_likewise() {
    let server = FaultServer::start_as(Binding::Modern);
    server.always(rpc("prompts/list"), |request: &Request| {
        let prompts = json!([{"name": "modern"}]);
        complete(
            request,
            &json!({"prompts": prompts, "ttlMs": 0, "cacheScope": "private"}),
        )
    });
    server.always(rpc("prompts/get"), |request: &Request| {
        let message = json!({"role": "user", "content": {"type": "text", "text": "Hello"}});
        complete(request, &json!({ "messages": [message] }))
    });
    let ran = run("prompt", &server, &["modern"]).await;
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str()),
        ("user:\nHello\n", "")
    );
}
