//! The way to the server.

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{Doctor, SILENCE};
use mcp_bridge_testkit::fault_server::FaultServer;
use mcp_bridge_testkit::mcp::Binding;
use mcp_bridge_testkit::reply::Reply;
use mcp_bridge_testkit::request::{Want, post};
use mcp_bridge_testkit::tls_server::{TlsServer, certificate};

#[tokio::test]
async fn a_port_that_nobody_listens_on() {
    let server = FaultServer::start_down(Binding::Streamable);
    let report = Doctor::of(&server.url()).examine().await;
    report.fails("ipv4", "refused", "check that the server is running");
    report.skips("tls", "there is no connection");
    report.skips("endpoint", "there is no connection");
}

#[tokio::test]
async fn a_name_that_does_not_exist() {
    let report = Doctor::of("https://mcp.invalid/mcp").examine().await;
    report.fails("dns", "mcp.invalid has no address", "check the host name");
    report.skips("ipv4", "the name has no address");
}

#[tokio::test]
async fn a_servers_own_certificate() {
    let server = TlsServer::start("own.pem", &[]).await;
    let named = certificate("own.pem");
    let doctor = Doctor::of(&server.url()).args(["--ca-cert", &named]);
    doctor
        .examine()
        .await
        .passes("tls", "good until 2120-01-01");

    let other = certificate("own_other.pem");
    let doctor = Doctor::of(&server.url()).args(["--ca-cert", &other]);
    doctor
        .examine()
        .await
        .fails("tls", "by mcp-bridge test own", "");
}

#[tokio::test]
async fn certificates_that_cannot_be_trusted() {
    let authority = certificate("authority.pem");
    for (file, found, fix) in [
        ("expired.pem", "good until 2021-01-01", "has to renew"),
        ("wrong_name.pem", "for elsewhere.example", "use a host name"),
        ("self_signed.pem", "by mcp-bridge test", "--ca-cert"),
    ] {
        let server = TlsServer::start(file, &[]).await;
        let doctor = Doctor::of(&server.url()).args(["--ca-cert", &authority]);
        let report = doctor.examine().await;
        report.fails("tls", found, fix);
        report.skips("endpoint", "no trusted connection");
    }
}

#[tokio::test]
async fn an_authority_that_this_machine_does_not_know() {
    let server = TlsServer::start("good.pem", &[]).await;
    let report = Doctor::of(&server.url()).examine().await;
    report.fails("tls", "by mcp-bridge test ca_extensions", "--ca-cert");
}

#[tokio::test]
async fn a_certificate_that_is_trusted_is_told_of() {
    let server = TlsServer::start("good.pem", &[]).await;
    let authority = certificate("authority.pem");
    let doctor = Doctor::of(&server.url()).args(["--ca-cert", &authority]);
    let report = doctor.examine().await;
    let found = "TLS 1.3, the certificate is for localhost, 127.0.0.1, \
                 by mcp-bridge test ca_extensions, good until 2120-01-01";
    report.passes("tls", found);
    report.passes("endpoint", "200 OK");
}

#[tokio::test]
async fn a_port_that_does_not_speak_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // As a plain HTTP server answers the first message of TLS.
            let refusal = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
            let _ = stream.write_all(refusal).await;
        }
    });
    let doctor = Doctor::of(&format!("https://{address}/mcp"));
    let report = doctor.examine().await;
    report.fails("tls", "corrupt message", "does not speak TLS");
    server.abort();
}

#[tokio::test]
async fn a_server_that_takes_the_connection_and_says_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let doctor = |scheme| Doctor::of(&format!("{scheme}://{address}/mcp")).args(SILENCE);
    let report = doctor("http").examine().await;
    report.fails("endpoint", "no answer within 0.5 s", "does not answer");
    let report = doctor("https").examine().await;
    report.fails("tls", "no certificate: no answer", "speaks TLS");
}

#[tokio::test]
async fn a_proxy_that_wants_a_password() {
    let proxy = FaultServer::start();
    let refusal = |_: &_| Reply::status(407);
    proxy.always(Want::Http("CONNECT"), refusal);
    proxy.always(post(), refusal);
    let address = format!("http://user:secret@{}", proxy.host());
    for (url, variable) in [
        ("http://mcp.example/mcp", "HTTP_PROXY"),
        ("https://mcp.example/mcp", "HTTPS_PROXY"),
    ] {
        let doctor = Doctor::of(url).args(["--allow-http"]);
        let report = doctor.env(variable, &address).examine().await;
        let by = format!(
            "http://{}/, by the environment variable {variable}",
            proxy.host()
        );
        report.fails("proxy", &by, "the proxy's credentials");
        report.passes("dns", "the proxy");
        assert!(!report.0.to_string().contains("secret"), "{report:?}");
    }
}

/// Behind a proxy the certificate is seen by the request alone.
#[tokio::test]
async fn a_certificate_behind_a_proxy() {
    let server = TlsServer::start("good.pem", &[]).await;
    let port = url::Url::parse(&server.url()).expect("a URL").port();
    let target = ("127.0.0.1", port.expect("it has one"));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let proxy = format!("http://{}", listener.local_addr().expect("it is bound"));
    let tunnels = tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await?);
                }
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                let mut server = TcpStream::connect(target).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    let authority = certificate("authority.pem");
    let doctor = Doctor::of("https://mcp.example/mcp")
        .args(["--ca-cert", &authority])
        .args(["--proxy", &proxy]);
    let report = doctor.examine().await;
    report.fails("tls", "localhost", "use a host name");
    report.passes("proxy", "by --proxy");
    tunnels.abort();
}

#[tokio::test]
async fn the_proxy_in_use_is_told_with_its_reason() {
    let proxy = FaultServer::start_as(Binding::Stateless);
    let address = format!("http://{}", proxy.host());
    let doctor = || Doctor::of("http://mcp.example/mcp").args(["--allow-http"]);
    let report = doctor().args(["--proxy", &address]).examine().await;
    report.passes("proxy", &format!("{address}/, by --proxy"));
    report.warns("tls", "can be read in transit", "https://");
    let report = doctor().env("http_proxy", &address).examine().await;
    report.passes("proxy", "by the environment variable http_proxy");
}

#[tokio::test]
async fn no_proxy_is_told_with_its_reason() {
    let doctor = Doctor::of("http://127.0.0.1:1/mcp").env("HTTP_PROXY", "http://127.0.0.1:2");
    doctor.examine().await.fails("ipv4", "127.0.0.1:1:", "");

    let server = FaultServer::start();
    let doctor = Doctor::of(&server.url()).env("HTTP_PROXY", "http://127.0.0.1:2");
    let report = doctor.examine().await;
    report.passes("proxy", "loopback is never proxied");

    // An address of this machine that is no loopback address by its looks.
    let url = server.url().replace("127.0.0.1", "0.0.0.0");
    let doctor = || Doctor::of(&url).args(["--allow-http"]);
    let report = doctor().examine().await;
    report.passes("proxy", "none");
    let excluded = doctor()
        .env("HTTP_PROXY", "http://127.0.0.1:2")
        .env("NO_PROXY", "0.0.0.0");
    excluded
        .examine()
        .await
        .passes("proxy", "NO_PROXY lists this server");
}

/// B13
#[tokio::test]
async fn a_client_certificate_is_told_with_its_end() {
    let server = TlsServer::start_for("good.pem").await;
    let (authority, key) = (certificate("authority.pem"), certificate("server.key"));
    for (file, expected) in [("good.pem", "passed"), ("expired.pem", "failed")] {
        let client = certificate(file);
        let doctor = Doctor::of(&server.url()).args([
            "--ca-cert",
            &authority,
            "--client-cert",
            &client,
            "--client-key",
            &key,
        ]);
        let report: Value = serde_json::from_str(&doctor.run(&["--json"]).await.stdout).unwrap();
        let checks = report["checks"].as_array().unwrap();
        let row = checks
            .iter()
            .find(|check| check["name"] == "client_certificate")
            .unwrap();
        assert_eq!(row["outcome"], expected, "{row}");
        let found = row["found"].as_str().unwrap();
        assert!(
            found.contains("shown to the server") && found.contains("until"),
            "{row}"
        );
    }
}
