//! Servers that are well, and the whole report on them.

use serde_json::Value;

use super::{Doctor, normalised};
use crate::auth::sign_in::user::User;
use crate::examples::example_server::client::options;
use crate::server::Server;
use mcp_bridge_testkit::app::initialize_line;
use mcp_bridge_testkit::fault_server;
use mcp_bridge_testkit::request::rpc;

async fn server() -> Server {
    Server::start(options()).await.unwrap()
}

fn port(url: &str) -> u16 {
    url::Url::parse(url).unwrap().port().unwrap()
}

#[tokio::test]
async fn the_example_server_before_a_sign_in() {
    let server = server().await;
    let text = Doctor::of(server.url()).text().await;
    let expected = include_str!("before_sign_in.txt");
    assert_eq!(normalised(&text, port(server.url())), expected);
}

#[tokio::test]
async fn the_example_server_after_a_sign_in() {
    let server = server().await;
    let user = User::new();
    let mut app = user.launch(server.url()).start();
    app.send(initialize_line("2025-11-25")).await;
    user.window().await.sign_in().await;
    app.result("init").await;
    app.finish().await;

    // The header is a part of the account, so it has to be the same.
    let doctor = Doctor::of(server.url()).store(&user.store());
    let text = doctor.text().await;
    let expected = include_str!("after_sign_in.txt");
    assert_eq!(normalised(&text, port(server.url())), expected);
    user.saw_every_window();

    let mut document = doctor.examine().await.0;
    for check in document["checks"].as_array_mut().unwrap() {
        if ["dns", "ipv4", "ipv6"].contains(&check["name"].as_str().unwrap()) {
            check["found"] = "....".into();
            check["outcome"] = "....".into();
        }
    }
    document["program"] = "mcp-bridge VERSION".into();
    let document = document.to_string();
    let document = document.replace(&port(server.url()).to_string(), "PORT");
    let document: Value = serde_json::from_str(&document).unwrap();
    let expected: Value = serde_json::from_str(include_str!("after_sign_in.json")).unwrap();
    assert_eq!(document, expected, "{document:#}");
}

#[tokio::test]
async fn a_server_without_a_sign_in() {
    let server = fault_server::FaultServer::start();
    let report = Doctor::of(&server.url()).examine().await;
    report.passes("endpoint", "200 OK, and a response to initialize");
    report.skips("challenge", "the server asks for none");
    report.passes("session", "gives an id");
    report.passes("tools", "1 tool");
    report.passes("session_end", "DELETE ends the session");
    assert_eq!(server.count(&rpc("tools/list")), 1);
}
