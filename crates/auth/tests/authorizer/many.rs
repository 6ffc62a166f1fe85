//! Several bridges at once, some of which are killed.

use std::time::Duration;

use mcp_bridge_auth::{Config, Interaction};
use reqwest::StatusCode;
use tempfile::tempdir;
use tokio::runtime::Runtime;
use tokio::time::Instant;

use mcp_bridge_testkit::authorization_server::{AuthorizationServer, Grants};
use mcp_bridge_testkit::browser::HeadlessBrowser;
use mcp_bridge_testkit::{listen_when_free, soon};

use crate::support::{AuthorizedClient, config};

/// A process that can be killed: all its tasks end where they are, and the kernel takes its port and locks.
struct Process(Option<Runtime>);

impl Process {
    fn start(app: &AuthorizedClient) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let app = app.clone();
        runtime.spawn(async move { app.call().await });
        Self(Some(runtime))
    }

    fn kill(mut self) {
        self.0.take().unwrap().shutdown_background();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// X-131, B2: whoever takes over continues the same flow, so the open tab stays good.
#[tokio::test]
async fn the_sign_in_of_a_killed_process_is_continued_in_the_same_tab() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let owner = AuthorizedClient::new(&provider, config(directory.path()));
    let process = Process::start(&owner);
    let page = owner.sign_in_page().await;
    process.kill();

    let apps = [(); 4].map(|()| AuthorizedClient::new(&provider, config(directory.path())));
    let calls = apps.each_ref().map(AuthorizedClient::spawn_call);
    for app in &apps {
        assert_eq!(app.sign_in_page().await, page);
    }
    let callback = HeadlessBrowser::default().approve(page).await;
    // Whoever has taken over listens where the browser was told to go.
    let (status, _) = soon("the callback", async {
        loop {
            let reached = reqwest::Client::new().get(callback.clone()).send().await;
            if let Ok(response) = reached {
                break (response.status(), response.text().await);
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(status, StatusCode::OK);
    let signed_in = Instant::now();
    for call in calls {
        assert_eq!(soon("a call", call).await.unwrap().unwrap(), StatusCode::OK);
    }
    assert!(
        signed_in.elapsed() < Duration::from_secs(2),
        "{:?}",
        signed_in.elapsed()
    );
    assert_eq!(provider.seen("/register").len(), 1);
    assert_eq!(provider.seen("/authorize").len(), 1);
}

/// A-66, B3: rotation with reuse detection, tokens of two seconds, five processes.
#[tokio::test]
async fn short_lived_rotating_tokens_survive_many_processes() {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| it.token_lifetime = Some(2));
    let directory = tempdir().unwrap();
    AuthorizedClient::new(&provider, config(directory.path()))
        .call_with_browser()
        .await
        .unwrap();
    let until = Instant::now() + Duration::from_secs(9);
    let processes = [(); 5].map(|()| {
        let app = AuthorizedClient::new(&provider, config(directory.path()));
        tokio::spawn(async move {
            let mut calls = 0;
            while Instant::now() < until {
                assert_eq!(
                    app.call_as(Interaction::Forbidden).await.unwrap(),
                    StatusCode::OK
                );
                calls += 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            calls
        })
    });
    for process in processes {
        assert!(soon("a process", process).await.unwrap() > 10);
    }
    assert_eq!(provider.seen("/authorize").len(), 1);
    let refreshes = provider.refreshes();
    assert!(
        (4..=6).contains(&refreshes),
        "one for each life of a token, not {refreshes}"
    );
}

/// what one process got, the others use without asking.
#[tokio::test]
async fn a_process_uses_the_token_that_another_one_has_obtained() {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| it.grants = Grants::AccessTokensOnly);
    let directory = tempdir().unwrap();
    let one = AuthorizedClient::new(&provider, config(directory.path()));
    let other = AuthorizedClient::new(&provider, config(directory.path()));
    assert!(other.authorizer.token().await.unwrap().is_none());
    one.call_with_browser().await.unwrap();
    assert_eq!(
        other.call_as(Interaction::Forbidden).await.unwrap(),
        StatusCode::OK
    );
    assert_eq!(provider.seen("/token").len(), 1);
}

/// another program has the port that the registration is for.
#[tokio::test]
async fn a_port_that_a_foreign_program_has_is_avoided_or_reported() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let first = AuthorizedClient::new(&provider, config(directory.path()));
    first.call_with_browser().await.unwrap();
    let registered = provider.seen("/authorize")[0].query["redirect_uri"].clone();
    let port = url::Url::parse(&registered).unwrap().port().unwrap();
    let foreign = listen_when_free(port).await;
    provider.revoke_all();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    assert_eq!(
        provider.seen("/register").len(),
        2,
        "the new redirect URI is registered"
    );
    drop(foreign);

    let foreign = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mut strict: Config = config(tempdir().unwrap().path());
    strict.callback.port = Some(foreign.local_addr().unwrap().port());
    let error = AuthorizedClient::new(&provider, strict)
        .call()
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains(&foreign.local_addr().unwrap().port().to_string())
    );
    assert!(!error.hint().is_empty());
}

/// a browser may take `localhost` for either family.
#[tokio::test]
async fn the_callback_listens_on_both_loopback_addresses_for_localhost_and_nowhere_else() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    let call = app.spawn_call();
    let callback = HeadlessBrowser::default()
        .approve(app.sign_in_page().await)
        .await;
    let port = callback.port().unwrap();
    assert!(
        tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_ok()
    );
    if tokio::net::TcpListener::bind("[::1]:0").await.is_ok() {
        assert!(tokio::net::TcpStream::connect(("::1", port)).await.is_ok());
    }
    let outside = tokio::net::TcpListener::bind(("127.0.0.2", port)).await;
    assert!(outside.is_ok(), "the wildcard address is not bound");
    call.abort();
}
