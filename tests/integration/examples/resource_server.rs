//! `examples/resource-server` behind the bridge, with the example server as its authorization server. It is a crate of
//! its own: where it is not built (`.ci/run` does it), this is skipped, with a message.

#![expect(
    clippy::unwrap_used,
    reason = "a double that cannot do its part fails the test"
)]

use std::path::{Path, PathBuf};
use std::process::Stdio;

use reqwest::StatusCode;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::auth::sign_in::rmcp_client::App;
use crate::auth::sign_in::user::User;
use crate::examples::example_server::client::{Client, challenge, form, initialize, options, with};
use crate::server::{Options, RESOURCE_SERVER_CLIENT_ID, ResourceServer, Server, Token};

/// The program, if it is built.
fn program() -> Option<PathBuf> {
    let directory = Path::new(crate::program::path()).parent()?;
    let program = directory.join(format!("resource-server{}", std::env::consts::EXE_SUFFIX));
    if program.is_file() {
        return Some(program);
    }
    eprintln!("skipped: {} is not built", program.display());
    None
}

/// Starts the program for this resource, and returns the address that it listens at.
async fn start(program: &Path, issuer: &str, resource: &ResourceServer) -> (Child, String) {
    let mut process = Command::new(program)
        .env("ISSUER", issuer)
        .env("RESOURCE", &resource.url)
        .env("LISTEN", "127.0.0.1:0")
        .env("SCOPES", "profile")
        .env("CACHE_SECONDS", "0")
        .env("INTROSPECTION_CLIENT_ID", RESOURCE_SERVER_CLIENT_ID)
        .env("INTROSPECTION_CLIENT_SECRET", resource.secret.expose())
        .env("NO_PROXY", "localhost,127.0.0.1")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut line = String::new();
    let stdout = process.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).await.unwrap();
    let (_, address) = line.trim().split_once(" at ").unwrap();
    (process, address.to_owned())
}

/// Carries connections on to the address.
async fn relay(listener: TcpListener, address: String) {
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = TcpStream::connect(&address).await.unwrap();
        tokio::spawn(async move {
            // A connection that breaks off is no concern of the others.
            let _ = copy_bidirectional(&mut client, &mut server).await;
        });
    }
}

/// The program and its authorization server.
struct Servers {
    issuer: Server,
    resource: ResourceServer,
    _process: Child,
    relay: JoinHandle<()>,
}

impl Servers {
    /// None where the program is not built.
    async fn start() -> Option<Self> {
        let program = program()?;
        // Each of the two has to know the address of the other before it starts.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let resource = ResourceServer {
            url: format!("http://localhost:{port}/mcp"),
            secret: Token::from("a secret: with % and +".to_owned()),
        };
        let issuer = Server::start(Options {
            resource_server: Some(resource.clone()),
            ..options()
        });
        let issuer = issuer.await.unwrap();
        let origin = issuer.url().trim_end_matches("/mcp");
        let (process, address) = start(&program, origin, &resource).await;
        Some(Self {
            issuer,
            resource,
            _process: process,
            relay: tokio::spawn(relay(listener, address)),
        })
    }

    async fn stop(self) {
        self.relay.abort();
        self.issuer.stop().await;
    }
}

#[tokio::test]
async fn the_bridge_signs_in_at_a_resource_server_that_introspects_its_tokens() {
    let Some(servers) = Servers::start().await else {
        return;
    };
    let mut user = User::new();
    let app = App::start(&mut user, &servers.resource.url).await;
    let said = app.call("whoami", json!({})).await;
    let text = &said.content[0].as_text().expect("a text").text;
    assert_eq!(text, r#"signed in as "ada""#);
    app.leave().await;
    servers.stop().await;
}

#[tokio::test]
async fn a_revoked_token_ends_at_the_resource_server_too() {
    let Some(servers) = Servers::start().await else {
        return;
    };
    let url = servers.resource.url.as_str();
    let client = Client::registered(&servers.issuer).await;
    let request = with(client.authorization_request(), "resource", url);
    let code = client.code_for(&request, "ada").await;
    let exchange = with(client.code_exchange(&code), "resource", url);
    let token = client.token(&exchange).await.tokens().access;
    let call = async || {
        let request = client.mcp_at(url, &token, &initialize());
        let answer = request.send().await.unwrap();
        (answer.status(), challenge(&answer))
    };
    assert_eq!(call().await.0, StatusCode::OK);

    let revocation = [("token", token.clone()), ("client_id", client.id.clone())];
    let revoked = form(client.post("/revoke"), &revocation).send().await;
    assert_eq!(revoked.unwrap().status(), StatusCode::OK);
    let (status, challenge) = call().await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(
        challenge.contains(r#"error="invalid_token""#),
        "{challenge}"
    );
    servers.stop().await;
}
