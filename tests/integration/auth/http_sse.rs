//! Sign-in at a server of the HTTP+SSE transport (MCP 2024-11-05), whose event stream wants a token too.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tempfile::TempDir;
use url::Url;

use crate::program;
use mcp_bridge_testkit::authorization_server::AuthorizationServer;
use mcp_bridge_testkit::browser::{BrowserDouble, HeadlessBrowser};
use mcp_bridge_testkit::{
    app::App,
    fault_server::FaultServer,
    mcp::Binding,
    reply::Reply,
    request::{Request, Want, get, post},
};

/// Calls that wait for one sign-in.
const CALLS: usize = 8;

/// The tokens that the server has seen, and those of them that it does not take any more.
#[derive(Default)]
struct Tokens {
    seen: HashSet<String>,
    ended: HashSet<String>,
}

/// A server that wants a token of `provider` for every request.
fn server_behind(provider: &AuthorizationServer) -> (FaultServer, Arc<Mutex<Tokens>>) {
    let server = FaultServer::start_as(Binding::HttpSse);
    provider.behave(|it| it.resource_metadata = json!({ "resource": server.url() }));
    let origin = provider.origin();
    let tokens = Arc::new(Mutex::new(Tokens::default()));
    let check = |want: Want| {
        let (origin, tokens) = (origin.clone(), Arc::clone(&tokens));
        server.always(want, move |request: &Request| {
            let mut tokens = tokens.lock().expect("no test panics with it");
            if let Some(token) = request.header("authorization") {
                tokens.seen.insert(token.to_owned());
                if !tokens.ended.contains(token) {
                    return None;
                }
            }
            let metadata = format!("{origin}/.well-known/oauth-protected-resource/mcp");
            let challenge = format!("Bearer resource_metadata=\"{metadata}\"");
            Some(Reply::status(401).header("WWW-Authenticate", &challenge))
        });
    };
    check(get());
    check(post());
    (server, tokens)
}

async fn sign_in(program: &BrowserDouble) {
    let page = program.started().await.arguments.pop().expect("an address");
    let page = Url::parse(&page).expect("the page is a URL");
    let (status, _) = HeadlessBrowser::default().visit(page).await;
    assert!(status.is_success());
}

/// a server that was put up anew knows neither sessions nor tokens. The stream is opened again in the background,
/// where nobody is asked to sign in; the app's next call does that.
#[tokio::test]
async fn a_call_signs_in_where_the_stream_cannot_be_opened_again_without() {
    let provider = AuthorizationServer::start().await;
    let (server, tokens) = server_behind(&provider);
    let home = TempDir::new().expect("a directory");
    let browser = BrowserDouble::noting(home.path());
    let mut app: App = program::bridge_for(&server)
        // The server's URL has a query, which the page would show as the resource.
        .args(["--transport", "sse-only", "--disable-resource-parameter"])
        .env("BROWSER", browser.path().to_str().expect("UTF-8"))
        .env("MCP_BRIDGE_DIR", home.path().to_str().expect("UTF-8"))
        .start();
    let (_, ()) = tokio::join!(app.initialize(), sign_in(&browser));
    app.still_served().await;

    provider.revoke_all();
    {
        let mut tokens = tokens.lock().expect("no test panics with it");
        tokens.ended = tokens.seen.clone();
    }
    server.forget_sessions();
    server.received(get(), 3).await;
    for id in 1..=CALLS {
        app.call(id, "echo", "again").await;
    }
    sign_in(&browser).await;
    for id in 1..=CALLS {
        app.result(id).await;
    }
    app.still_served().await;
    app.finish().await;
    // Twice at the start and once in vain; then one that asks for the sign-in, and again with its token; and
    // the stream itself, which may have been tried once more meanwhile for each call.
    let with_token = |request: &Request| {
        let ended = &tokens.lock().expect("no test panics with it").ended;
        let token = request.header("authorization");
        token.is_some_and(|token| !ended.contains(token))
    };
    let streams = server.requests_for(&get());
    let opened = streams.iter().filter(|request| with_token(request));
    assert_eq!(opened.count(), 2, "{}", server.story());
}
