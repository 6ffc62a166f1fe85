//! TLS that cannot be trusted, and HTTP/2 that breaks off.

use h2::Reason;
use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpListener, time::timeout};

use crate::program;
use mcp_bridge_testkit::{
    LIMIT,
    app::{App, Launch},
    tls_server::{OnCall, TlsServer, certificate},
};

fn launch(server: &TlsServer) -> Launch {
    let authority = certificate("authority.pem");
    program::bridge_at(&server.url()).args(["--ca-cert", &authority])
}

async fn initialized(server: &TlsServer) -> App {
    let mut app = launch(server).start();
    app.initialize().await;
    app
}

/// the certificate that the others differ from.
#[tokio::test]
async fn a_server_is_served_by_tls_and_http_2() {
    let server = TlsServer::start("good.pem", &[]).await;
    let mut app = initialized(&server).await;
    for id in 1..=5 {
        app.call(id, "echo", "").await;
        app.result(id).await;
    }
    assert_eq!(server.connections(), 1);
    app.finish().await;
}

/// A server that takes few requests on a connection gets a few more connections, and what waits for none of them still
/// gets through.
#[tokio::test]
async fn requests_over_http_2_keep_to_the_number_that_the_server_takes_at_once() {
    const STREAMS: usize = 5;
    const CONNECTIONS: usize = 4;
    // Two of twenty places are for urgent messages.
    const SENT_AT_ONCE: usize = STREAMS * CONNECTIONS - 2;
    const CALLS: usize = 100;
    let server = TlsServer::start_with_streams(5).await;
    let mut app = initialized(&server).await;
    for id in 0..CALLS {
        app.call(id, "slow", "").await;
    }
    let sent = async {
        while server.count("tools/call") < SENT_AT_ONCE {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, sent).await.expect("the calls are sent");
    app.request("late", "ping", &json!({})).await;
    app.cancel(0).await;
    for id in 1..CALLS {
        app.result(id).await;
    }
    app.result("late").await;
    assert_eq!(server.connections(), CONNECTIONS);
    assert_eq!(server.count("tools/call"), CALLS);
    app.finish().await;
}

///
#[tokio::test]
async fn a_certificate_that_cannot_be_trusted_is_named_as_the_cause() {
    for (file, word) in [
        ("expired.pem", "expired"),
        ("wrong_name.pem", "name"),
        ("self_signed.pem", "issuer"),
    ] {
        let server = TlsServer::start(file, &[]).await;
        let mut app = launch(&server).start();
        app.request(1, "tools/list", &json!({})).await;
        let error = app.error(1).await;
        assert_eq!(error["data"]["kind"], "tls", "{error}");
        let message = error["message"].as_str().expect("text").to_lowercase();
        assert!(message.contains(word), "{file}: {message}");
        assert_eq!(server.connections(), 0, "{file}");
        app.finish().await;
    }
}

/// `openssl req -x509` makes a server a certificate of its own that calls itself an authority.
#[tokio::test]
async fn the_servers_own_certificate_is_trusted_where_it_is_the_one_that_was_named() {
    for own in ["own.pem", "own_common_name.pem", "self_signed.pem"] {
        let server = TlsServer::start(own, &[]).await;
        let named = certificate(own);
        let mut app = program::bridge_at(&server.url())
            .args(["--ca-cert", &named])
            .start();
        app.initialize().await;
        app.finish().await;

        let server = TlsServer::start(own, &[]).await;
        let mut app = program::bridge_at(&server.url())
            .env("NODE_EXTRA_CA_CERTS", &named)
            .start();
        app.initialize().await;
        app.finish().await;
    }
}

#[tokio::test]
async fn the_servers_own_certificate_is_refused_where_it_is_another_or_its_name_or_dates_are_wrong()
{
    for (named, shown, word) in [
        ("own_wrong_name.pem", "own_wrong_name.pem", "name"),
        ("own_expired.pem", "own_expired.pem", "expired"),
        ("own_other.pem", "own.pem", ""),
        ("authority.pem", "own.pem", ""),
        ("own_common_name.pem", "own.pem", ""),
    ] {
        let server = TlsServer::start(shown, &[]).await;
        let named = certificate(named);
        let mut app = program::bridge_at(&server.url())
            .args(["--ca-cert", &named])
            .start();
        app.request(1, "tools/list", &json!({})).await;
        let error = app.error(1).await;
        assert_eq!(error["data"]["kind"], "tls", "{error}");
        let message = error["message"].as_str().expect("text").to_lowercase();
        assert!(message.contains(word), "{named} {shown}: {message}");
        assert_eq!(server.connections(), 0, "{named} {shown}");
        app.finish().await;
    }
}

/// The common name counts where there is no other name, and is compared as a whole.
#[tokio::test]
async fn the_common_name_of_the_servers_own_certificate_has_to_be_the_servers_name() {
    let server = TlsServer::start("own_common_name.pem", &[]).await;
    let named = certificate("own_common_name.pem");
    let url = server.url().replace("localhost", "127.0.0.1");
    let mut app = program::bridge_at(&url).args(["--ca-cert", &named]).start();
    app.request(1, "tools/list", &json!({})).await;
    app.own_error(1, "tls").await;
    assert_eq!(server.connections(), 0);
    app.finish().await;
}

///
#[tokio::test]
async fn an_authority_that_is_not_known_is_not_trusted() {
    let server = TlsServer::start("good.pem", &[]).await;
    let mut app = program::bridge_at(&server.url()).start();
    app.request(1, "tools/list", &json!({})).await;
    app.own_error(1, "tls").await;
    assert_eq!(server.connections(), 0);
    app.finish().await;
}

///
#[tokio::test]
async fn a_server_that_does_not_speak_tls_is_named_as_the_cause() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // As a plain HTTP server answers the first message of TLS.
            let refusal = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
            let _ = stream.write_all(refusal).await;
        }
    });
    let mut app = program::bridge_at(&format!("https://{address}/mcp")).start();
    app.request(1, "tools/list", &json!({})).await;
    app.own_error(1, "tls").await;
    app.finish().await;
    server.abort();
}

/// what the server refused to look at may be sent again, even a call.
#[tokio::test]
async fn a_call_that_the_server_refused_to_process_is_sent_again() {
    let server = TlsServer::start("good.pem", &[OnCall::Reset(Reason::REFUSED_STREAM)]).await;
    let mut app = initialized(&server).await;
    app.call(1, "echo", "").await;
    app.result(1).await;
    assert_eq!(server.count("tools/call"), 2);
    app.finish().await;
}

///
#[tokio::test]
async fn a_call_that_is_broken_off_is_reported_with_its_outcome_unknown() {
    for fault in [
        OnCall::Reset(Reason::INTERNAL_ERROR),
        OnCall::Reset(Reason::CANCEL),
        OnCall::GoAway(Reason::INTERNAL_ERROR),
    ] {
        let server = TlsServer::start("good.pem", &[fault]).await;
        let mut app = initialized(&server).await;
        app.call(1, "echo", "").await;
        let data = app.own_error(1, "connection_lost").await;
        assert_eq!(data["outcomeUnknown"], true, "{data}");
        assert_eq!(server.count("tools/call"), 1);
        app.call(2, "echo", "").await;
        app.result(2).await;
        app.finish().await;
    }
}

///
#[tokio::test]
async fn a_connection_that_the_server_winds_up_is_replaced() {
    let server = TlsServer::start("good.pem", &[OnCall::AnswerAndGoAway; 3]).await;
    let mut app = initialized(&server).await;
    for id in 1..=4 {
        app.call(id, "echo", "").await;
        app.result(id).await;
    }
    assert_eq!(server.count("tools/call"), 4);
    assert_eq!(server.connections(), 4);
    app.finish().await;
}
