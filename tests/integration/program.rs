//! The program under test, and apps that start it.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use mcp_bridge_testkit::app::{App, Launch};
use mcp_bridge_testkit::authorization_server::AuthorizationServer;
use mcp_bridge_testkit::browser::BrowserDouble;
use mcp_bridge_testkit::fault_server::FaultServer;
use mcp_bridge_testkit::program::Program;
use tempfile::TempDir;

/// Path of the program: the one that was built with the tests, or another, such as one for another system.
pub(crate) fn path() -> &'static str {
    static PATH: LazyLock<String> = LazyLock::new(|| {
        let other = std::env::var("MCP_BRIDGE_TEST_PROGRAM");
        other.unwrap_or_else(|_| installed(Path::new(env!("CARGO_BIN_EXE_mcp-bridge"))))
    });
    &PATH
}

/// Another path of the program that was built. `install` warns of one in a build directory.
fn installed(built: &Path) -> String {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("installed");
    fs::create_dir_all(&directory).expect("a directory of the tests");
    let path = directory.join(built.file_name().expect("a file"));
    let staging = TempDir::new_in(&directory).expect("a directory of the tests");
    let link = staging.path().join("program");
    // Another run of the tests may use the one that is there, so it is replaced at once.
    fs::hard_link(built, &link).expect("a link to the program");
    fs::rename(&link, &path).expect("the directory is of the tests");
    path.to_str().expect("UTF-8").to_owned()
}

/// The program in a home of its own.
pub(crate) fn program() -> Program {
    Program::new(path())
}

/// The program with these arguments.
pub(crate) fn command<'a>(args: impl IntoIterator<Item = &'a str>) -> Program {
    program().args(args)
}

/// A bridge without arguments, as an app starts it.
pub(crate) fn bridge() -> Launch {
    Launch::new(program())
}

/// A bridge for this URL, with a secret header and at its most talkative.
pub(crate) fn bridge_at(url: &str) -> Launch {
    Launch::at_url(program(), url)
}

/// The same for this server.
pub(crate) fn bridge_for(server: &FaultServer) -> Launch {
    Launch::at_server(program(), server)
}

/// An app that has started a bridge for this server.
pub(crate) fn start(server: &FaultServer) -> App {
    bridge_for(server).start()
}

/// The same, with the handshake made.
pub(crate) async fn initialized(server: &FaultServer) -> App {
    let mut app = start(server);
    app.initialize().await;
    app
}

/// Signs in by `login` in a browser, with the credentials in this directory.
pub(crate) async fn sign_in(provider: &AuthorizationServer, store: &Path) {
    let directory = TempDir::new().expect("a directory for the test");
    let browser = BrowserDouble::signing_in(directory.path());
    let login = command(["login", provider.mcp_url().as_str()]).env("MCP_BRIDGE_DIR", store);
    let login = login.browser(&browser).search_path().run().await;
    assert!(login.succeeded(), "{}", login.stderr);
}

/// A bridge of somebody with this home and browser, for the MCP server that belongs to an authorization server.
pub(crate) fn start_signed_out(
    provider: &AuthorizationServer,
    home: &Path,
    browser: &BrowserDouble,
    flags: &[&str],
) -> App {
    let launch = bridge().with(|program| program.home(home).browser(browser).search_path());
    launch
        .env("MCP_BRIDGE_CLIENT_SECRET", "secret-MARKER")
        .args([provider.mcp_url().as_str()])
        .args(flags)
        .leaves_orphans()
        .start()
}
