//! Networks between the bridge and the server: proxies, authorities, client certificates, load balancers.

use serde_json::json;
use tempfile::TempDir;

use crate::program;
use mcp_bridge_testkit::{
    app::initialize_line,
    fault_server::FaultServer,
    reply::Reply,
    request::{Want, post},
    tls_server::{TlsServer, certificate},
};

/// A proxy that answers everything itself, so that it shows what it was asked for.
fn proxy() -> FaultServer {
    let proxy = FaultServer::start();
    proxy.always(post(), |_| Reply::status(502));
    proxy.always(Want::Http("CONNECT"), |_| Reply::status(502));
    proxy
}

///
#[tokio::test]
async fn the_proxy_of_the_environment_is_used() {
    let proxy = proxy();
    let mut app = program::bridge_at("http://mcp.example/mcp")
        .args(["--allow-http", "--wait-for-auth"])
        .env("http_proxy", format!("http://{}", proxy.host()))
        .start();
    app.send(initialize_line("2025-11-25")).await;
    let error = app.own_error("init", "http_status").await;
    assert_eq!(error["httpStatus"], 502);
    assert_eq!(proxy.count(&post()), 1);
    app.finish().await;
}

///
#[tokio::test]
async fn the_proxy_of_the_flag_takes_the_place_of_the_environments() {
    let proxy = proxy();
    let nobody = FaultServer::start();
    let address = format!("http://{}", proxy.host());
    let mut app = program::bridge_at("http://mcp.example/mcp")
        .args(["--allow-http", "--wait-for-auth", "--proxy", &address])
        .env("http_proxy", format!("http://{}", nobody.host()))
        .start();
    app.send(initialize_line("2025-11-25")).await;
    app.own_error("init", "http_status").await;
    assert_eq!((proxy.count(&post()), nobody.requests().len()), (1, 0));
    app.finish().await;
}

///
#[tokio::test]
async fn this_machine_is_never_behind_a_proxy() {
    let proxy = proxy();
    let server = FaultServer::start();
    let address = format!("http://{}", proxy.host());
    let mut app = program::bridge_for(&server)
        .args(["--proxy", &address])
        .env("http_proxy", &address)
        .start();
    app.initialize().await;
    app.still_served().await;
    assert_eq!(proxy.requests().len(), 0);
    app.finish().await;
}

/// B13: a configuration that was written for a Node program serves unchanged.
#[tokio::test]
async fn the_authorities_of_node_programs_are_trusted() {
    let server = TlsServer::start("good.pem", &[]).await;
    let mut app = program::bridge_at(&server.url())
        .env("NODE_EXTRA_CA_CERTS", certificate("authority.pem"))
        .start();
    app.initialize().await;
    app.finish().await;
}

/// B13
#[tokio::test]
async fn a_server_that_wants_a_client_certificate_gets_the_one_of_the_flags() {
    let server = TlsServer::start_for("good.pem").await;
    let authority = certificate("authority.pem");
    let (cert, key) = (certificate("good.pem"), certificate("server.key"));
    let mut app = program::bridge_at(&server.url())
        .args(["--ca-cert", &authority])
        .args(["--client-cert", &cert, "--client-key", &key])
        .start();
    app.initialize().await;
    app.finish().await;

    let mut app = program::bridge_at(&server.url())
        .args(["--ca-cert", &authority])
        .start();
    app.request(1, "tools/list", &json!({})).await;
    app.error(1).await;
    app.finish().await;
}

/// Runs openssl; false, with a message, where there is none.
fn openssl(args: &[&str]) -> bool {
    let output = std::process::Command::new("openssl").args(args).output();
    let Ok(output) = output else {
        eprintln!("skipped: there is no openssl");
        return false;
    };
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {stderr}");
    true
}

/// B13: the encryptions of openssl today, of Windows and macOS, of old programs, and none; with a wide password, and with
/// the certificates in another order.
#[tokio::test]
async fn a_client_certificate_may_be_a_pkcs12_file() {
    let server = TlsServer::start_for("good.pem").await;
    let (authority, good) = (certificate("authority.pem"), certificate("good.pem"));
    let key = certificate("server.key");
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("client.p12").display().to_string();
    let secret = directory.path().join("password").display().to_string();
    let legacy: [&[&str]; 7] = [
        &[],
        &[
            "-keypbe",
            "AES-128-CBC",
            "-certpbe",
            "AES-192-CBC",
            "-macalg",
            "sha512",
        ],
        &[
            "-keypbe",
            "PBE-SHA1-3DES",
            "-certpbe",
            "PBE-SHA1-3DES",
            "-macalg",
            "sha1",
        ],
        &["-legacy"],
        &[
            "-legacy",
            "-keypbe",
            "PBE-SHA1-RC2-128",
            "-certpbe",
            "PBE-SHA1-RC2-128",
        ],
        &["-keypbe", "NONE", "-certpbe", "NONE", "-nomac"],
        &["-certfile", &authority],
    ];
    for (number, more) in legacy.into_iter().enumerate() {
        let password = ["hunter2", "pässword ☃", ""][number % 3];
        let pass = format!("pass:{password}");
        let mut args = vec![
            "pkcs12", "-export", "-in", &good, "-inkey", &key, "-out", &file,
        ];
        args.extend(["-passout", &pass]);
        args.extend(more);
        if !openssl(&args) {
            return;
        }
        std::fs::write(&secret, format!("{password}\n")).expect("the directory is ours");
        let mut app = program::bridge_at(&server.url())
            .args(["--ca-cert", &authority, "--client-cert", &file])
            .args(["--client-cert-password-file", &secret])
            .start();
        app.initialize().await;
        app.finish().await;
    }
}

/// B13
#[tokio::test]
async fn a_pkcs12_file_that_cannot_be_opened_is_refused_with_the_reason() {
    let directory = TempDir::new().expect("a directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (file, certificates, cut) = (path("a.p12"), path("b.p12"), path("c.p12"));
    let (good, key) = (certificate("good.pem"), certificate("server.key"));
    let make = [
        "pkcs12",
        "-export",
        "-in",
        &good,
        "-passout",
        "pass:hunter2",
        "-out",
    ];
    if !openssl(&[&make[..], &[&file, "-inkey", &key]].concat()) {
        return;
    }
    openssl(&[&make[..], &[&certificates, "-nokeys"]].concat());
    let whole = std::fs::read(&file).expect("openssl has written it");
    std::fs::write(&cut, &whole[..whole.len() / 2]).expect("the directory is ours");
    for (name, password, expected) in [
        (&file, "wrong", "cannot be opened with this password"),
        (&file, "", "--client-cert-password-env"),
        (&certificates, "hunter2", "holds no private key"),
        (
            &cut,
            "hunter2",
            "neither a PEM file nor a whole PKCS #12 file",
        ),
        (&good, "hunter2", "--client-key"),
    ] {
        let app = program::bridge_at("https://mcp.example/mcp")
            .args(["--client-cert", name])
            .args(["--client-cert-password-env", "P12_PASSWORD"])
            .env(
                "P12_PASSWORD",
                if password.is_empty() { "x" } else { password },
            );
        let words = app.start().refuses_to_start().await;
        assert!(
            words.contains(expected) && words.contains("error: "),
            "{words}"
        );
        assert!(!words.contains("hunter2"), "{words}");
    }
}

/// B13: a file that does not hold what the flag is for is named before anything is sent.
#[tokio::test]
async fn a_certificate_file_without_certificates_is_refused() {
    let key = certificate("server.key");
    for args in [
        vec!["--ca-cert", key.as_str()],
        vec!["--ca-cert", "/nonexistent.pem"],
        vec!["--client-cert", key.as_str()],
    ] {
        let app = program::bridge_at("https://mcp.example/mcp").args(args);
        let words = app.start().refuses_to_start().await;
        assert!(words.contains("error: "), "{words}");
    }
}

/// Load balancers send a client where it was before by a cookie.
#[tokio::test]
async fn cookies_of_the_server_go_back_to_it_unless_they_are_unwanted() {
    for (args, expected) in [(vec![], Some("route=a")), (vec!["--disable-cookies"], None)] {
        let server = FaultServer::start();
        server.always(post(), |request| {
            let reply = Reply::json(request.echo());
            Some(reply.header("Set-Cookie", "route=a; Path=/"))
        });
        let mut app = program::bridge_for(&server).args(args).start();
        for id in 1..=2 {
            app.call(id, "echo", "").await;
            app.result(id).await;
        }
        let requests = server.requests_for(&post());
        assert_eq!(requests[0].header("cookie"), None);
        assert_eq!(requests[1].header("cookie"), expected);
        app.finish().await;
    }
}

/// A network in which IPv6 leads nowhere.
#[tokio::test]
async fn the_bridge_can_be_told_to_use_ipv4_alone() {
    let server = FaultServer::start();
    let mut app = program::bridge_for(&server).args(["--ipv4"]).start();
    app.initialize().await;
    app.still_served().await;
    app.finish().await;
}
