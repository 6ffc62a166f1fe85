//! Command lines that cannot be meant as they are typed: what is said, and what is suggested.

use crate::program;

async fn refusal(line: &[&str]) -> String {
    let ran = program::command(line.iter().copied()).run().await;
    assert_eq!(
        (ran.status, ran.stdout.as_str()),
        (2, ""),
        "{line:?}: {ran:?}"
    );
    assert!(ran.stderr.starts_with("error: "), "{line:?}: {ran:?}");
    ran.stderr
}

const URL: &str = "http://localhost:1/mcp";

#[tokio::test]
async fn a_word_in_the_place_of_the_url_is_told_from_one() {
    for (line, hint) in [
        (&["sign-in"][..], "did you mean mcp-bridge login URL?"),
        (&["signin", URL], "did you mean mcp-bridge login URL?"),
        (&["lgoin", URL], "did you mean mcp-bridge login?"),
        (&["list-tools", URL], "did you mean mcp-bridge tools URL?"),
        (&["start"], "did you mean mcp-bridge URL?"),
        (&["run", URL, "--debug"], "did you mean mcp-bridge URL?"),
        (&["check", URL], "did you mean mcp-bridge doctor URL?"),
        (
            &["add", "cursor", URL],
            "did you mean mcp-bridge install --client APP NAME URL?",
        ),
        (
            &["uninstall", "x"],
            "did you mean mcp-bridge install --client APP NAME --remove?",
        ),
        (&["version"], "did you mean mcp-bridge --version?"),
        (&["whatever"], "mcp-bridge --help lists the commands"),
        (&["man", "whatever"], "mcp-bridge --help lists the commands"),
    ] {
        let stderr = refusal(line).await;
        assert!(
            stderr.starts_with("error: there is no command "),
            "{stderr}"
        );
        assert!(
            stderr.contains(&format!("\nhint: {hint}")),
            "{line:?}: {stderr}"
        );
    }
    let stderr = refusal(&[]).await;
    assert!(stderr.contains("the server's URL is missing"), "{stderr}");
    for word in ["install", "login", "tools", "doctor", "--help"] {
        assert!(stderr.contains(word), "{stderr}");
    }
}

#[tokio::test]
async fn a_url_that_lacks_its_beginning_is_completed_in_the_error() {
    for (line, meant) in [
        (&["mcp.example.com/mcp"][..], "https://mcp.example.com/mcp"),
        (&["localhost:3000/mcp"], "http://localhost:3000/mcp"),
        (&["htps://example.com/mcp"], "https://example.com/mcp"),
        (&["tools", "mcp.example.com"], "https://mcp.example.com/"),
        (
            &["login", "127.0.0.1:3001/mcp?key=marker"],
            "http://127.0.0.1:3001/mcp",
        ),
    ] {
        let stderr = refusal(line).await;
        assert!(
            stderr.contains(&format!("did you mean {meant}?")),
            "{line:?}: {stderr}"
        );
        assert!(!stderr.contains("marker"), "{stderr}");
    }
    for url in [
        "ftp://example.com/mcp",
        "/home/me/server",
        "user:secret@example.com/mcp",
    ] {
        let stderr = refusal(&[url]).await;
        assert!(!stderr.contains("did you mean"), "{url}: {stderr}");
    }
    let stderr = refusal(&["'http://localhost:1/mcp'"]).await;
    assert!(stderr.contains("quotation mark"), "{stderr}");
}

#[tokio::test]
async fn an_option_of_another_program_is_told_by_its_name_here_and_nothing_unlike_is_suggested() {
    for (line, hint) in [
        (&[URL, "--verbose"][..], "did you mean --debug?"),
        (&["-v"], "did you mean --debug?"),
        (&[URL, "-H", "X: y"], "did you mean --header"),
        (&[URL, "--headers", "X: y"], "did you mean --header"),
        (&[URL, "--token", "marker"], "did you mean --bearer-env VAR"),
        (&[URL, "--api-key=marker"], "did you mean --bearer-env VAR"),
        (
            &[URL, "--port", "8765"],
            "did you mean the port after the URL?",
        ),
        (&["--url", URL], "did you mean the URL without an option?"),
        (
            &[URL, "--timeout", "30"],
            "did you mean --request-timeout SECONDS?",
        ),
        (&[URL, "--insecure"], "did you mean --ca-cert FILE"),
        (&[URL, "--allow-htp"], "did you mean --allow-http?"),
        (
            &[URL, "--frobnicate"],
            "mcp-bridge help all shows all options",
        ),
        (&["doctor", URL, "--jsn"], "did you mean --json?"),
        (&["logout", "--alll"], "did you mean --all?"),
        (
            &["status", "--verbose"],
            "mcp-bridge status --help shows what it takes",
        ),
        (
            &["tools", URL, "--read-only"],
            "mcp-bridge tools --help shows what it takes",
        ),
        (
            &["call", URL, "echo", "--text", "hi"],
            "did you mean text=VALUE",
        ),
    ] {
        let stderr = refusal(line).await;
        assert!(
            stderr.contains(&format!("\nhint: {hint}")),
            "{line:?}: {stderr}"
        );
        assert!(
            !stderr.contains("marker") && !stderr.contains("-- -"),
            "{line:?}: {stderr}"
        );
    }
    let stderr = refusal(&["completions", "ksh"]).await;
    assert!(!stderr.contains("similar"), "{stderr}");
    let stderr = refusal(&["store", "keyring"]).await;
    assert!(stderr.contains("'keychain'"), "{stderr}");
}

#[tokio::test]
async fn a_word_too_many_is_told_as_that() {
    for (line, expected) in [
        (&[URL, "8765", "9999"][..], "\"9999\" is one word too many"),
        (&["status", URL], "is one word too many"),
        (&[URL, "http://localhost:2/mcp"], "is a second URL"),
        (&["login", URL, "http://localhost:2/mcp"], "is a second URL"),
        (
            &["call", "echo", URL],
            "mcp-bridge call http://localhost:1/mcp echo",
        ),
        (&["login", URL, "abc"], "a port is a number up to 65535"),
        (&["doctor", URL, "99999"], "a port is at most 65535"),
        (&["help", "tool"], "did you mean mcp-bridge help tools?"),
    ] {
        let stderr = refusal(line).await;
        assert!(stderr.contains(expected), "{line:?}: {stderr}");
    }
}

/// A token that was taken for the variable's name must not stand in the app's log.
#[tokio::test]
async fn a_secret_in_the_place_of_a_variables_name_is_not_shown() {
    for secret in [
        "sk-marker-0123",
        "ghp_marker0123456789abcdef",
        "Bearer marker",
    ] {
        let header = format!("X-Key={secret}");
        for line in [
            &[URL, "--bearer-env", secret][..],
            &[URL, "--client-id", "x", "--client-secret-env", secret],
            &[URL, "--header-env", &header],
        ] {
            let stderr = refusal(line).await;
            assert!(!stderr.contains("marker"), "{line:?}: {stderr}");
        }
    }
    let stderr = refusal(&[URL, "--bearer-env", "EXAMPLE_KEY"]).await;
    assert!(stderr.contains("EXAMPLE_KEY, which is not set"), "{stderr}");
}

/// In a terminal nobody speaks JSON-RPC, and a program that says nothing seems to hang.
#[cfg(unix)]
#[tokio::test]
async fn the_bridge_says_on_a_terminal_what_it_waits_for_and_nothing_in_a_pipe() {
    use mcp_bridge_testkit::terminal::Terminal;

    let terminal = Terminal::open();
    let running = program::command([URL])
        .stdin_from(terminal.other_end())
        .spawn();
    // Ctrl-D is the end of the input.
    terminal.types("\u{4}");
    let ran = running.ends().await;
    assert_eq!((ran.status, ran.stdout.as_str()), (0, ""));
    assert_eq!(ran.stderr.lines().count(), 3, "{ran:?}");
    for word in [
        "standard input",
        "configuration",
        "install",
        "login",
        "tools",
        "doctor",
    ] {
        assert!(ran.stderr.contains(word), "{ran:?}");
    }
    let ran = program::command([URL]).run().await;
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
}
