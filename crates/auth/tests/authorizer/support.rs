//! A client that gets its tokens from an [`Authorizer`], as the bridge does.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use mcp_bridge_auth::{
    self as auth, AccessToken, AuthError, Authorizer, Config, Interaction, Refusal,
};
use mcp_bridge_net::http::Options;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use reqwest::{Client, Method, Response, StatusCode};
use tokio::task::JoinHandle;
use url::Url;

use mcp_bridge_testkit::authorization_server::AuthorizationServer;
use mcp_bridge_testkit::browser::HeadlessBrowser;
use mcp_bridge_testkit::{LIMIT, free_port, soon};

/// A message that every MCP server takes.
const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"app-double","version":"1"}}}"#;

/// A configuration for tests: nothing outside `directory`, no real browser, no fixed port.
pub(crate) fn config(directory: &Path) -> Config {
    Config {
        directory: Some(directory.to_owned()),
        browser: auth::Browser::None,
        timeout: LIMIT,
        ..Config::default()
    }
}

/// The same for a registered client, whose callback port is fixed: a connection of another program may have the derived one.
pub(crate) fn config_of_registered(directory: &Path) -> Config {
    let mut config = config(directory);
    config.callback.port = Some(free_port());
    config
}

/// Checks that no metadata document was asked for twice.
pub(crate) fn assert_discovered_once(provider: &AuthorizationServer) {
    let paths = provider.paths();
    let documents: Vec<_> = paths
        .iter()
        .filter(|it| it.contains(".well-known"))
        .collect();
    assert!(!documents.is_empty());
    let different: HashSet<_> = documents.iter().collect();
    assert_eq!(documents.len(), different.len(), "{documents:?}");
}

/// Client of an [`Authorizer`], as the bridge is: it sends, and on a refusal gets another token and sends again.
#[derive(Clone)]
pub(crate) struct AuthorizedClient {
    pub(crate) authorizer: Arc<Authorizer>,
    server: Url,
    client: Client,
}

impl AuthorizedClient {
    pub(crate) fn new(provider: &AuthorizationServer, config: Config) -> Self {
        Self::for_server(provider.mcp_url(), config)
    }

    pub(crate) fn for_server(server: Url, config: Config) -> Self {
        Self {
            authorizer: Arc::new(Authorizer::new(server.clone(), config, Options::default())),
            client: plain_client(),
            server,
        }
    }

    /// One request, with one retry.
    pub(crate) async fn call(&self) -> Result<StatusCode, AuthError> {
        self.call_as(Interaction::Allowed).await
    }

    pub(crate) async fn call_as(&self, interaction: Interaction) -> Result<StatusCode, AuthError> {
        let token = self.authorizer.token().await?;
        match self.send(token).await {
            Ok(status) => Ok(status),
            Err(refusal) => {
                self.authorizer.authorize(refusal, interaction).await?;
                let token = self.authorizer.token().await?;
                Ok(match self.send(token).await {
                    Ok(status) => status,
                    Err(refusal) => refusal.status,
                })
            }
        }
    }

    /// One request without retry.
    pub(crate) async fn send(&self, token: Option<AccessToken>) -> Result<StatusCode, Refusal> {
        let response = self.post(token.as_ref()).await;
        let status = response.status();
        let refusal = Refusal::new(status, response.headers(), token.clone());
        if let (Some(objection), Some(token)) = (refusal.objection(), &token)
            && token.answers(objection, &self.server, response.headers())
        {
            let response = self.post(Some(token)).await;
            let status = response.status();
            let refusal = Refusal::new(status, response.headers(), Some(token.clone()));
            return if status.is_success() {
                Ok(status)
            } else {
                Err(refusal)
            };
        }
        if refusal.is_about_the_token() {
            return Err(refusal);
        }
        Ok(status)
    }

    async fn post(&self, token: Option<&AccessToken>) -> Response {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            token.authorize(
                &Method::POST,
                &self.server,
                INITIALIZE.as_bytes(),
                &mut headers,
            );
        }
        let request = self.client.post(self.server.clone());
        let request = request
            .header(ACCEPT, "application/json, text/event-stream")
            .header(CONTENT_TYPE, "application/json")
            .headers(headers)
            .body(INITIALIZE);
        let response = request.send().await.unwrap();
        if let Some(token) = token {
            token.read_answer(&self.server, response.headers());
        }
        response
    }

    /// The page that waits for a person.
    pub(crate) async fn sign_in_page(&self) -> Url {
        let mut page = self.authorizer.watch_sign_in();
        let shown = soon(
            "a sign-in page",
            page.wait_for(|stage| stage.page().is_some()),
        )
        .await;
        shown.unwrap().page().unwrap().url().clone()
    }

    /// Runs [`AuthorizedClient::call`] while a browser signs in. It must be needed.
    pub(crate) async fn call_with_browser(&self) -> Result<StatusCode, AuthError> {
        let mut call = self.spawn_call();
        let page = tokio::select! {
            page = self.sign_in_page() => page,
            outcome = &mut call => panic!("no page was shown: {outcome:?}"),
        };
        HeadlessBrowser::default().visit(page).await;
        soon("the call", call).await.unwrap()
    }

    /// [`AuthorizedClient::call`] in the background.
    pub(crate) fn spawn_call(&self) -> JoinHandle<Result<StatusCode, AuthError>> {
        let app = self.clone();
        tokio::spawn(async move { app.call().await })
    }
}

fn plain_client() -> Client {
    let url = Url::parse("http://localhost/").unwrap();
    let builder = Options::default().builder(&url).unwrap();
    builder.cookie_store(true).build().unwrap()
}
