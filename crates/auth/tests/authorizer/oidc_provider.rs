//! npm's oidc-provider, certified for OpenID Connect, as the authorization server. Skipped, with a message,
//! where npm can't be reached. The default is short; `OIDC_PROVIDER_SECONDS=120` makes it a long run.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use mcp_bridge_auth::{
    ClientCredential, Config, Grant, IdentityProvider, Interaction, IssuerUrl, PreRegisteredClient,
    SignInSharing,
};
use reqwest::StatusCode;
use serde_json::Value;
use tempfile::tempdir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::Instant;
use url::Url;

use mcp_bridge_testkit::{LIMIT, soon};

use crate::support::{AuthorizedClient, config, config_of_registered};

/// The first start downloads it.
const START_LIMIT: Duration = Duration::from_secs(180);

/// The script's status when there is no npm, or no way to its registry.
const UNAVAILABLE: i32 = 75;

struct OidcProvider {
    mcp_url: Url,
    child: Child,
}

impl OidcProvider {
    /// None, with a message, if it can't be had here.
    async fn start() -> Option<Self> {
        Self::start_with(&[]).await
    }

    /// The same with these variables in its environment.
    async fn start_with(environment: &[(&str, &str)]) -> Option<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../tests/foreign/servers/oidc-provider/start.sh");
        let mut child = Command::new(script)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(START_LIMIT, lines.next_line()).await;
        let Some(line) = line.expect("oidc-provider starts in time").unwrap() else {
            let status = child.wait().await.unwrap();
            assert_eq!(
                status.code(),
                Some(UNAVAILABLE),
                "oidc-provider does not start"
            );
            eprintln!(
                "skipped: npm or its registry can't be reached, so there is no oidc-provider"
            );
            return None;
        };
        // It ends when nobody reads what it prints.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Some(Self {
            mcp_url: Url::parse(&line).unwrap(),
            child,
        })
    }

    async fn counts(&self) -> Value {
        let url = self.mcp_url.join("/counts").unwrap();
        let text = reqwest::get(url).await.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap()
    }

    async fn stop(mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait().await;
    }
}

/// A-66, B3: three-second tokens and reuse detection; one sign-in, one refresh at a time, no revoked family.
#[tokio::test]
async fn five_processes_live_with_rotating_tokens_of_oidc_provider() {
    let Some(provider) = OidcProvider::start().await else {
        return;
    };
    let seconds = std::env::var("OIDC_PROVIDER_SECONDS").map_or(10, |it| it.parse().unwrap());
    let directory = tempdir().unwrap();
    let first = AuthorizedClient::for_server(provider.mcp_url.clone(), config(directory.path()));
    assert_eq!(first.call_with_browser().await.unwrap(), StatusCode::OK);

    let until = Instant::now() + Duration::from_secs(seconds);
    let processes = [(); 5].map(|()| {
        let app = AuthorizedClient::for_server(provider.mcp_url.clone(), config(directory.path()));
        tokio::spawn(async move {
            while Instant::now() < until {
                let answer = app.call_as(Interaction::Forbidden).await;
                assert_eq!(answer.unwrap(), StatusCode::OK);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
    });
    for process in processes {
        process.await.unwrap();
    }
    let counts = provider.counts().await;
    assert_eq!(counts["sign_ins"], 1, "{counts}");
    assert_eq!(counts["registrations"], 1, "{counts}");
    assert_eq!(counts["revoked_families"], 0, "{counts}");
    let refreshes = counts["refreshes"].as_u64().unwrap();
    assert!(
        refreshes >= seconds / 4 && refreshes <= seconds / 2 + 1,
        "{counts}"
    );
    provider.stop().await;
}

/// bound tokens and nonces of both servers, from the sign-in to the refresh of another process.
#[tokio::test]
async fn tokens_of_oidc_provider_are_bound_to_a_key_with_nonces() {
    let Some(provider) = OidcProvider::start_with(&[("DPOP", "1")]).await else {
        return;
    };
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::for_server(provider.mcp_url.clone(), config(directory.path()));
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    assert!(app.authorizer.token().await.unwrap().unwrap().is_bound());
    let begun = Instant::now();
    let next = AuthorizedClient::for_server(provider.mcp_url.clone(), config(directory.path()));
    while provider.counts().await["refreshes"] == 0 {
        let answer = next.call_as(Interaction::Forbidden).await;
        assert_eq!(answer.unwrap(), StatusCode::OK);
        assert!(begun.elapsed() < LIMIT, "no refresh");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let counts = provider.counts().await;
    assert_eq!(counts["sign_ins"], 1, "{counts}");
    assert_eq!(counts["revoked_families"], 0, "{counts}");
    provider.stop().await;
}

///
#[tokio::test]
async fn client_credentials_work_with_oidc_provider() {
    let Some(provider) = OidcProvider::start().await else {
        return;
    };
    let directory = tempdir().unwrap();
    let config = Config {
        grant: Grant::ClientCredentials {
            token_endpoint: None,
        },
        client: Some(PreRegisteredClient {
            id: "robot".into(),
            credential: ClientCredential::Secret("robot-secret".to_owned().into()),
            method: None,
        }),
        ..config(directory.path())
    };
    let app = AuthorizedClient::for_server(provider.mcp_url.clone(), config);
    assert_eq!(app.call().await.unwrap(), StatusCode::OK);
    provider.stop().await;
}

/// it is the identity provider, and takes its own grants at the same endpoint.
#[tokio::test]
async fn an_identity_of_oidc_provider_serves_all_accounts() {
    let Some(provider) = OidcProvider::start().await else {
        return;
    };
    let directory = tempdir().unwrap();
    let client = |id: &str, secret: &str| PreRegisteredClient {
        id: id.into(),
        credential: ClientCredential::Secret(secret.to_owned().into()),
        method: None,
    };
    let origin = provider.mcp_url.origin().ascii_serialization();
    let first = Config {
        grant: Grant::EnterpriseManaged(Box::new(IdentityProvider {
            issuer: IssuerUrl::parse(&origin).unwrap(),
            client: client("employee", "employee-secret"),
            scope: None,
            id_token: None,
        })),
        client: Some(client("employee at the server", "server-secret")),
        ..config_of_registered(directory.path())
    };
    let second = Config {
        scope: Some("mcp:use".into()),
        ..first.clone()
    };
    let app = AuthorizedClient::for_server(provider.mcp_url.clone(), first);
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    // Another account with an identity of the same company.
    let app = AuthorizedClient::for_server(provider.mcp_url.clone(), second);
    let answer = app.call_as(Interaction::Forbidden).await;
    assert_eq!(answer.unwrap(), StatusCode::OK);
    assert_eq!(provider.counts().await["sign_ins"], 1);
    provider.stop().await;
}

/// it gives tokens only for resources that the authorization request has named, in JWTs or with introspection.
#[tokio::test]
async fn servers_of_oidc_provider_share_a_sign_in() {
    for format in ["jwt", "opaque"] {
        let Some(provider) = OidcProvider::start_with(&[("TOKEN_FORMAT", format)]).await else {
            return;
        };
        let directory = tempdir().unwrap();
        let client = |name: &str| {
            let config = Config {
                sharing: SignInSharing::OneIssuer,
                ..config(directory.path())
            };
            let server = provider.mcp_url.join(&format!("/mcp/{name}")).unwrap();
            AuthorizedClient::for_server(server, config)
        };
        let (one, other) = (client("a"), client("b"));
        assert_eq!(one.call_with_browser().await.unwrap(), StatusCode::OK);
        // Its page names both.
        assert_eq!(other.call_with_browser().await.unwrap(), StatusCode::OK);
        let before = provider.counts().await;
        let begun = Instant::now();
        // Other processes, with the one refresh token.
        let (one, other) = (client("a"), client("b"));
        let refreshes = |counts: &Value| counts["refreshes"].as_u64().unwrap();
        while refreshes(&provider.counts().await) < refreshes(&before) + 4 {
            for app in [&one, &other] {
                let answer = app.call_as(Interaction::Forbidden).await;
                assert_eq!(answer.unwrap(), StatusCode::OK, "{format}");
            }
            assert!(begun.elapsed() < LIMIT, "no refresh");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let counts = provider.counts().await;
        assert_eq!(counts["sign_ins"], 2, "{counts}");
        assert_eq!(counts["registrations"], 1, "{counts}");
        assert_eq!(counts["revoked_families"], 0, "{counts}");
        provider.stop().await;
    }
}

/// oidc-provider refuses device codes to clients that are not registered for that grant.
#[tokio::test]
async fn a_device_signs_in_at_oidc_provider() {
    let Some(provider) = OidcProvider::start().await else {
        return;
    };
    let directory = tempdir().unwrap();
    // A client of the browser is stored already.
    let in_browser =
        AuthorizedClient::for_server(provider.mcp_url.clone(), config(directory.path()));
    assert_eq!(
        in_browser.call_with_browser().await.unwrap(),
        StatusCode::OK
    );
    in_browser.authorizer.sign_out().await.unwrap();

    let config = Config {
        grant: Grant::DeviceCode,
        ..config(directory.path())
    };
    let app = AuthorizedClient::for_server(provider.mcp_url.clone(), config);
    let call = app.spawn_call();
    agree_to_everything(app.sign_in_page().await).await;
    let outcome = soon("the call", call).await.unwrap();
    assert_eq!(outcome.unwrap(), StatusCode::OK);
    provider.stop().await;
}

/// A person who presses the button of every form.
async fn agree_to_everything(page: Url) {
    const MOST_FORMS: usize = 5;
    let browser = reqwest::Client::builder()
        .cookie_store(true)
        .build()
        .unwrap();
    let mut text = browser.get(page.clone()).send().await.unwrap();
    for _ in 0..MOST_FORMS {
        let html = text.text().await.unwrap();
        let Some(action) = attribute(&html, "action") else {
            return;
        };
        let inputs: Vec<_> = html
            .split("<input")
            .skip(1)
            .filter_map(|tag| Some((attribute(tag, "name")?, attribute(tag, "value")?)))
            .collect();
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(inputs)
            .finish();
        let request = browser
            .post(page.join(action).unwrap())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        text = request.send().await.unwrap();
    }
    panic!("forms without end");
}

fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let (_, value) = tag.split_once(&format!("{name}=\""))?;
    value.split_once('"').map(|(value, _)| value)
}
