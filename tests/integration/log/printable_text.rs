//! Text of servers and authorization servers on a person's terminal and in the log: nothing that a terminal
//! obeys, nothing invisible, and no line that the bridge has not written.

use serde_json::json;

use crate::program;
use mcp_bridge_testkit::authorization_server::{AuthorizationServer, Behaviour, Challenge};
use mcp_bridge_testkit::{
    fault_server::FaultServer,
    program::CommandOutput,
    reply::Reply,
    request::{Request, call, rpc},
};

/// An escape sequence, an override of the direction, an invisible character, a tag character, line breaks of
/// three kinds, and a line that looks like one of ours.
const HOSTILE: &str =
    "x\u{1b}[31m\u{9b}2J\u{202e}\u{200b}\u{e0041}\u{2028}\u{85}\r\nerror: forged\u{7}";

/// The same as a URL, where the parser would leave some of it out.
fn hostile_url() -> String {
    format!("https://a.example/{HOSTILE}")
}

/// Characters that must not be shown.
fn unprintable(text: &str) -> Vec<char> {
    let is_meant = |letter: &char| {
        let format = "\u{ad}\u{61c}\u{feff}".contains(*letter)
            || ('\u{200b}'..='\u{200f}').contains(letter)
            || ('\u{2028}'..='\u{202e}').contains(letter)
            || ('\u{2060}'..='\u{206f}').contains(letter)
            || ('\u{e0000}'..='\u{e0fff}').contains(letter);
        format || letter.is_control() && !matches!(letter, '\n' | '\t')
    };
    text.chars().filter(is_meant).collect()
}

/// Both outputs are printable, and no line begins as the stranger wanted it to.
fn is_clean(case: &str, ran: &CommandOutput) {
    for text in [&ran.stdout, &ran.stderr] {
        let found = unprintable(text);
        assert!(found.is_empty(), "{case}: {found:?} in {text}");
        let forged = text.lines().any(|line| line.starts_with("error: forged"));
        assert!(!forged, "{case}: {text}");
    }
}

/// Output of `command` where the authorization server behaves so.
async fn signing_in(command: &[&str], change: impl FnOnce(&mut Behaviour)) -> CommandOutput {
    let provider = AuthorizationServer::start().await;
    provider.behave(change);
    let url = provider.mcp_url();
    let (name, options) = command.split_first().expect("a command");
    let args = [*name, url.as_str()].into_iter();
    program::command(args.chain(options.iter().copied()))
        .run()
        .await
}

type Change = fn(&mut Behaviour);

#[tokio::test]
async fn what_a_sign_in_shows_of_a_stranger_is_printable() {
    let cases: [(&str, Change); 9] = [
        ("resource", |it| {
            it.resource_metadata = json!({ "resource": HOSTILE });
        }),
        ("resource URL", |it| {
            it.resource_metadata = json!({ "resource": hostile_url() });
        }),
        ("issuers", |it| {
            it.resource_metadata = json!({ "authorization_servers": [hostile_url()] });
        }),
        ("issuer", |it| {
            it.server_metadata = json!({ "issuer": hostile_url() });
        }),
        ("endpoint", |it| {
            it.server_metadata = json!({ "authorization_endpoint": format!("ftp://{HOSTILE}") });
        }),
        ("challenge", |it| {
            it.challenge = Challenge::Missing;
            it.resource_metadata = json!({ "resource": HOSTILE });
        }),
        ("registration", |it| {
            it.registration_status = Some(400);
            it.registration_reply = json!({ "error": HOSTILE, "error_description": HOSTILE });
        }),
        ("client", |it| {
            it.registration_reply = json!({ "client_id": HOSTILE });
        }),
        ("page instead of a document", |it| {
            let path = "/.well-known/oauth-authorization-server";
            it.broken_paths
                .insert(path.into(), (200, HOSTILE.to_owned()));
        }),
    ];
    for (case, change) in cases {
        let ran = signing_in(&["login", "--no-browser", "--auth-timeout", "1"], change).await;
        assert_ne!(ran.status, 0, "{case}: {ran:?}");
        is_clean(case, &ran);
        let ran = signing_in(&["doctor"], change).await;
        is_clean(case, &ran);
        let ran = signing_in(&["doctor", "--json"], change).await;
        is_clean(case, &ran);
    }
}

#[tokio::test]
async fn a_device_code_and_its_page_are_printable_or_refused() {
    for (case, expected, mut reply) in [
        (
            "page",
            "an identifier has neither white space",
            json!({ "user_code": "A-B", "verification_uri": hostile_url() }),
        ),
        (
            "code",
            "enter the code x",
            json!({ "user_code": HOSTILE, "verification_uri": "https://a.example/" }),
        ),
        (
            "refusal",
            "[31m",
            json!({ "error": HOSTILE, "error_description": HOSTILE }),
        ),
    ] {
        reply["device_code"] = "secret-device-code".into();
        reply["expires_in"] = 1.into();
        reply["interval"] = 1.into();
        let provider = AuthorizationServer::start().await;
        let endpoint = format!("{}/device", provider.origin());
        provider.behave(|it| {
            it.server_metadata = json!({ "device_authorization_endpoint": endpoint });
            let status = if case == "refusal" { 400 } else { 200 };
            it.broken_paths
                .insert("/device".into(), (status, reply.to_string()));
        });
        let url = provider.mcp_url();
        let args = [
            "login",
            "--device-code",
            "--auth-timeout",
            "1",
            url.as_str(),
        ];
        let ran = program::command(args).run().await;
        assert!(ran.stderr.contains(expected), "{case}: {ran:?}");
        assert_ne!(ran.status, 0, "{case}: {ran:?}");
        is_clean(case, &ran);
    }
}

#[tokio::test]
async fn what_the_log_shows_of_a_server_is_printable_at_every_level() {
    let server = FaultServer::start();
    server.always(rpc("tools/list"), |request: &Request| {
        let tool = json!({ "name": HOSTILE, "description": HOSTILE, "inputSchema": {
            "type": "object", "properties": { HOSTILE: { "type": HOSTILE, "description": HOSTILE } } } });
        Reply::json(request.result(json!({ "tools": [tool] }).to_string()))
    });
    server.always(call("echo"), |_: &Request| {
        let error = json!({ "error_description": HOSTILE }).to_string();
        Reply::status(500).body("application/json", error)
    });
    server.always(call("page"), |_: &Request| {
        Reply::status(200).body("x\u{202e}/y", HOSTILE)
    });
    server.always(call("noise"), |request: &Request| {
        let log = json!({ "jsonrpc": "2.0", "method": "notifications/message",
            "params": { "level": "error", "data": HOSTILE } });
        Reply::sse()
            .data(HOSTILE.replace(['\r', '\n'], " "))
            .bytes(format!(
                "event: {}\ndata: x\n\n",
                HOSTILE.replace(['\r', '\n'], " ")
            ))
            .data(log.to_string())
            .data(request.error(
                -32000,
                &HOSTILE.escape_debug().to_string().replace("\\u", "u"),
            ))
    });
    let url = server.url();
    let header = format!("X-Api-Key: {}", mcp_bridge_testkit::HEADER_MARKER);
    for level in ["warn", "debug", "trace"] {
        for tool in ["echo", "page", "noise"] {
            let args = [
                "call",
                &url,
                tool,
                "--log-level",
                level,
                "--header",
                &header,
            ];
            let ran = program::command(args).run().await;
            assert_ne!(ran.status, 0, "{ran:?}");
            is_clean(&format!("{tool} at {level}"), &ran);
        }
        let ran = program::command(["tools", &url, "--log-level", level, "--header", &header]);
        is_clean("tools", &ran.run().await);
    }
    for command in ["doctor", "status"] {
        let mut args = vec![command];
        args.extend((command == "doctor").then_some(url.as_str()));
        is_clean(command, &program::command(args).run().await);
    }
}

/// A pseudo-terminal that nobody has given a size, as `script` and CI systems have.
#[cfg(unix)]
#[tokio::test]
async fn a_terminal_without_a_size_is_one() {
    use mcp_bridge_testkit::terminal::Terminal;

    let server = FaultServer::start();
    server.always(call("echo"), |request: &Request| {
        let content = json!({ "content": [{ "type": "text", "text": HOSTILE }] });
        Reply::json(request.result(content.to_string()))
    });
    let terminal = Terminal::open();
    let url = server.url();
    let header = format!("X-Api-Key: {}", mcp_bridge_testkit::HEADER_MARKER);
    let ran = program::command(["call", &url, "echo", "--header", &header])
        .stdout_to(terminal.other_end())
        .run()
        .await;
    assert_eq!(ran.status, 0, "{ran:?}");
    let shown = terminal.shows();
    let found = unprintable(&shown);
    assert!(
        found.is_empty() && shown.contains("[31m"),
        "{found:?}: {shown}"
    );
}

/// A URL that no server takes is refused, and what makes it so long is named.
#[tokio::test]
async fn a_url_that_is_too_long_names_its_parameter() {
    let long: Vec<_> = (0..2_000)
        .map(|number| format!("scope:number-{number}"))
        .collect();
    let scopes = json!({ "scopes_supported": long });
    let ran = signing_in(&["login", "--no-browser", "--auth-timeout", "5"], |it| {
        it.resource_metadata = scopes;
    })
    .await;
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(
        ran.stderr
            .contains("above 16384: its parameter `scope` has "),
        "{ran:?}"
    );
    assert!(
        ran.stderr.contains("hint: ") && ran.stderr.contains("--scope"),
        "{ran:?}"
    );
    assert!(ran.stderr.len() < 2_000, "{ran:?}");

    let ran = signing_in(&["login", "--no-browser", "--auth-timeout", "5"], |it| {
        let page = format!("https://a.example/?padding={}", "x".repeat(20_000));
        it.server_metadata = json!({ "authorization_endpoint": page });
    })
    .await;
    assert!(
        ran.stderr.contains("its parameter `padding` has 20008"),
        "{ran:?}"
    );

    let url = format!("https://a.example/{}", "x".repeat(20_000));
    let ran = program::command(["tools", &url]).run().await;
    assert_eq!(ran.status, 2);
    assert!(
        ran.stderr
            .contains("the server's URL is longer than 16 KiB"),
        "{ran:?}"
    );
}
