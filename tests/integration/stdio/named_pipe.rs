//! Standard output as a named pipe of Windows: apps on Node give such pipes to their children.

use std::fs::OpenOptions;

use tokio::net::windows::named_pipe::ServerOptions;

use crate::program;
use mcp_bridge_testkit::app::initialize_line;
use mcp_bridge_testkit::fault_server::FaultServer;

/// An app that ends disconnects its end before it closes it, and a write then fails in a way of its own.
#[tokio::test]
async fn a_disconnected_pipe_is_a_closed_stdout() {
    let name = format!(r"\\.\pipe\mcp-bridge-test-{}", std::process::id());
    let app = ServerOptions::new()
        .first_pipe_instance(true)
        .create(&name)
        .expect("a pipe");
    let output = OpenOptions::new().write(true).open(&name);
    app.connect().await.expect("the test has opened it");
    app.disconnect().expect("it is connected");

    let server = FaultServer::start();
    let program = program::program().args([server.url(), "--allow-http".to_owned()]);
    let program = program.stdin_open().stdout_to(output.expect("a pipe"));
    let mut bridge = program.spawn();
    bridge.write_line(&initialize_line("2025-06-18")).await;
    assert_eq!(bridge.status().await, 0);
}
