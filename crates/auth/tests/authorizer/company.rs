//! The sign-in at the identity provider of a company, for all of its servers (enterprise-managed authorization).

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use mcp_bridge_auth::{
    AuthError, ClientCredential, Config, ExternalToken, Grant, IdentityProvider, Interaction,
    IssuerUrl, PreRegisteredClient,
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use mcp_bridge_testkit::authorization_server::{AuthorizationServer, TokenReply, Trust};
use mcp_bridge_testkit::browser::HeadlessBrowser;
use mcp_bridge_testkit::identity_provider::{
    IDP_CLIENT, IDP_SECRET, OpenIdProvider, SERVER_CLIENT,
};
use mcp_bridge_testkit::soon;

use crate::support::{AuthorizedClient, config_of_registered};

const SERVER_SECRET: &str = "server-secret-MARKER";

fn client(id: &str, secret: &str) -> PreRegisteredClient {
    PreRegisteredClient {
        id: id.into(),
        credential: ClientCredential::Secret(secret.to_owned().into()),
        method: None,
    }
}

/// A company with one server, and a directory for what is stored.
struct Company {
    idp: OpenIdProvider,
    server: AuthorizationServer,
    directory: TempDir,
}

impl Company {
    async fn start() -> Self {
        let idp = OpenIdProvider::start().await;
        let server = server_of(&idp).await;
        Self {
            idp,
            server,
            directory: tempdir().unwrap(),
        }
    }

    fn config(&self) -> Config {
        company_config(self.directory.path(), &self.idp, None)
    }

    fn app(&self) -> AuthorizedClient {
        AuthorizedClient::new(&self.server, self.config())
    }

    /// Everything stored looks as if it had been stored an hour ago.
    fn wait_an_hour(&self) {
        for entry in fs::read_dir(self.directory.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|it| it != "json") {
                continue;
            }
            let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            if let Some(moment) = record["tokens"]["obtained_at"].as_u64() {
                record["tokens"]["obtained_at"] = (moment - 3_600_000).into();
                fs::write(&path, record.to_string()).unwrap();
            }
        }
    }
}

async fn server_of(idp: &OpenIdProvider) -> AuthorizationServer {
    let server = AuthorizationServer::start().await;
    server.register(SERVER_CLIENT, Some(SERVER_SECRET), "unused");
    server.behave(|it| it.trust = Some(Trust::IdentityProvider(idp.issuer())));
    server
}

fn company_config(
    directory: &Path,
    idp: &OpenIdProvider,
    id_token: Option<ExternalToken>,
) -> Config {
    Config {
        client: Some(client(SERVER_CLIENT, SERVER_SECRET)),
        grant: Grant::EnterpriseManaged(Box::new(IdentityProvider {
            issuer: IssuerUrl::parse(&idp.issuer()).unwrap(),
            client: client(IDP_CLIENT, IDP_SECRET),
            scope: None,
            id_token,
        })),
        ..config_of_registered(directory)
    }
}

fn assert_shows_no_secret(error: &AuthError) {
    let shown = format!("{error} {error:?} {}", error.hint());
    assert!(!shown.contains("MARKER"), "{shown}");
}

/// all at once, and again after all tokens were lost.
#[tokio::test]
async fn ten_servers_of_a_company_need_one_sign_in() {
    let idp = OpenIdProvider::start().await;
    let directory = tempdir().unwrap();
    let mut servers = Vec::new();
    for _ in 0..10 {
        servers.push(server_of(&idp).await);
    }
    let config = company_config(directory.path(), &idp, None);
    let apps: Vec<_> = servers
        .iter()
        .map(|server| AuthorizedClient::new(server, config.clone()))
        .collect();
    let calls: Vec<_> = apps.iter().map(AuthorizedClient::spawn_call).collect();
    let pages = apps.iter().map(|app| Box::pin(app.sign_in_page()));
    let (page, ..) = futures_select(pages.collect()).await;
    HeadlessBrowser::default().visit(page).await;
    for call in calls {
        let outcome = soon("the call", call).await.unwrap();
        assert_eq!(outcome.unwrap(), StatusCode::OK);
    }
    for server in &servers {
        let asked = &server.seen("/token")[0];
        assert_eq!(asked.form["resource"], server.mcp_url().as_str());
        assert!(server.seen("/authorize").is_empty());
        server.revoke_access_tokens();
    }
    for app in &apps {
        let outcome = app.call_as(Interaction::Forbidden).await;
        assert_eq!(outcome.unwrap(), StatusCode::OK);
    }
    assert_eq!(idp.sign_ins(), 1);
    let audiences: std::collections::HashSet<_> = idp
        .exchanges()
        .into_iter()
        .map(|form| form["audience"].clone())
        .collect();
    assert_eq!(audiences.len(), servers.len());
}

/// The first of several futures that is ready, without another crate.
async fn futures_select<F: Future + Unpin>(mut all: Vec<F>) -> (F::Output, Vec<F>) {
    std::future::poll_fn(move |context| {
        for place in 0..all.len() {
            if let std::task::Poll::Ready(output) =
                std::pin::Pin::new(&mut all[place]).poll(context)
            {
                return std::task::Poll::Ready((output, std::mem::take(&mut all)));
            }
        }
        std::task::Poll::Pending
    })
    .await
}

/// with rotating refresh tokens.
#[tokio::test]
async fn an_identity_that_has_expired_is_renewed_without_a_person() {
    let company = Company::start().await;
    let app = company.app();
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    for round in 1..=2 {
        company.wait_an_hour();
        company.server.revoke_access_tokens();
        let later = company.app();
        let outcome = later.call_as(Interaction::Forbidden).await;
        assert_eq!(outcome.unwrap(), StatusCode::OK);
        assert_eq!(company.idp.refreshes(), round);
    }
    assert_eq!(company.idp.sign_ins(), 1);
}

///
#[tokio::test]
async fn a_refresh_token_is_exchanged_where_refreshes_bring_no_id_token() {
    let company = Company::start().await;
    company.idp.behave(|it| it.renews_id_tokens = false);
    assert_eq!(
        company.app().call_with_browser().await.unwrap(),
        StatusCode::OK
    );
    company.wait_an_hour();
    company.server.revoke_access_tokens();
    let outcome = company.app().call_as(Interaction::Forbidden).await;
    assert_eq!(outcome.unwrap(), StatusCode::OK);
    let last = company.idp.exchanges().pop().unwrap();
    assert!(last["subject_token_type"].ends_with(":refresh_token"));
}

/// a person is asked, but not by a request that nobody wished for.
#[tokio::test]
async fn an_identity_that_cannot_be_renewed_asks_for_a_person_once() {
    let company = Company::start().await;
    company.idp.behave(|it| it.issues_refresh_tokens = false);
    assert_eq!(
        company.app().call_with_browser().await.unwrap(),
        StatusCode::OK
    );
    company.wait_an_hour();
    company.server.revoke_access_tokens();
    let error = company.app().call_as(Interaction::Forbidden).await;
    assert_eq!(error.unwrap_err().kind(), "auth_required");
    assert_eq!(company.idp.sign_ins(), 1);
    assert_eq!(
        company.app().call_with_browser().await.unwrap(),
        StatusCode::OK
    );
    assert_eq!(company.idp.sign_ins(), 2);
}

/// by policy. Another sign-in would not change it.
#[tokio::test]
async fn a_refusal_of_the_identity_provider_is_told_without_another_sign_in() {
    let company = Company::start().await;
    let refusal = ("access_denied", "your group may not use this server");
    company.idp.behave(|it| it.exchange_outage = Some(refusal));
    let app = company.app();
    let error = app.call_with_browser().await.unwrap_err();
    for _ in 0..3 {
        let again = app.call().await.unwrap_err();
        assert_eq!(again.kind(), "auth_identity_refused");
    }
    let shown = error.to_string();
    assert!(shown.contains(refusal.1), "{shown}");
    assert!(shown.contains(&company.idp.issuer()), "{shown}");
    assert!(shown.contains(&company.server.origin()), "{shown}");
    assert_shows_no_secret(&error);
    assert_eq!(company.idp.sign_ins(), 1);
    // What was stored is good as soon as the policy is.
    company.idp.behave(|it| it.exchange_outage = None);
    assert_eq!(company.app().call().await.unwrap(), StatusCode::OK);
    assert_eq!(company.idp.sign_ins(), 1);
}

/// once, for an identity that is not new, and not again and again.
#[tokio::test]
async fn an_identity_provider_that_wants_the_person_gets_one_sign_in() {
    let company = Company::start().await;
    assert_eq!(
        company.app().call_with_browser().await.unwrap(),
        StatusCode::OK
    );
    company.idp.behave(|it| {
        it.issues_refresh_tokens = false;
        it.lifetime = 100_000;
    });
    company.server.revoke_access_tokens();
    let wish = ("interaction_required", "sign in again");
    // A new identity: the next one would be refused, too.
    company.idp.behave(|it| it.exchange_errors = vec![wish]);
    let error = company.app().call().await.unwrap_err();
    assert!(error.to_string().contains("sign in again"), "{error}");
    assert_eq!(company.idp.sign_ins(), 1);

    company.wait_an_hour();
    company.idp.behave(|it| it.exchange_outage = Some(wish));
    let app = company.app();
    // The refresh that the age leads to brings an identity that is new.
    let error = app.call().await.unwrap_err();
    assert_eq!(error.kind(), "auth_identity_refused");
    company.wait_an_hour();
    let error = company.app().call_with_browser().await.unwrap_err();
    assert_eq!(error.kind(), "auth_identity_refused");
    assert_eq!(company.idp.sign_ins(), 2);
    for _ in 0..3 {
        let error = company.app().call().await.unwrap_err();
        assert_eq!(error.kind(), "auth_identity_refused");
    }
    assert_eq!(company.idp.sign_ins(), 2);
}

///
#[tokio::test]
async fn a_refusal_of_the_servers_authorization_server_is_told_as_such() {
    let company = Company::start().await;
    let reply = json!({"error": "invalid_grant", "error_description": "nobody knows 17 here"});
    let reply = TokenReply::json(400, &reply);
    company.server.behave(|it| it.token_outage = Some(reply));
    let error = company.app().call_with_browser().await.unwrap_err();
    let shown = error.to_string();
    assert_eq!(error.kind(), "auth_identity_refused");
    let start = format!(
        "{} refused the grant of the identity provider {}",
        company.server.origin(),
        company.idp.issuer()
    );
    assert!(shown.starts_with(&start), "{shown}");
    assert!(shown.contains("nobody knows 17 here"), "{shown}");
    assert_shows_no_secret(&error);
    company.server.behave(|it| it.token_outage = None);
    assert_eq!(company.app().call().await.unwrap(), StatusCode::OK);
    assert_eq!(company.idp.sign_ins(), 1);
}

/// an access token of the identity provider is nothing for others.
#[tokio::test]
async fn another_token_type_than_a_grant_is_sent_to_nobody() {
    let company = Company::start().await;
    company
        .idp
        .behave(|it| it.issued_token_type = "access_token");
    let error = company.app().call_with_browser().await.unwrap_err();
    assert!(error.to_string().contains("token-type:access_token"));
    assert_shows_no_secret(&error);
    assert!(company.server.seen("/token").is_empty());
}

///
#[tokio::test]
async fn an_id_token_that_is_not_ours_is_refused_and_not_kept() {
    for (claims, reason) in [
        (json!({"nonce": "another"}), "nonce"),
        (json!({"nonce": null}), "nonce"),
        (json!({"iss": "https://idp.example"}), "https://idp.example"),
        (json!({"aud": "another"}), "another client"),
        (json!({"exp": 1}), "expired"),
    ] {
        let company = Company::start().await;
        company.idp.behave(|it| it.claims = claims);
        let error = company.app().call_with_browser().await.unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(error.kind(), "auth_identity_refused");
        assert_shows_no_secret(&error);
        assert!(company.idp.exchanges().is_empty());
    }
    let company = Company::start().await;
    company.idp.behave(|it| it.signs_with_other_key = true);
    let error = company.app().call_with_browser().await.unwrap_err();
    assert!(error.to_string().contains("signature"), "{error}");
    assert!(company.idp.exchanges().is_empty());
}

/// the token was issued just now, and is over by the clock of this machine.
#[tokio::test]
async fn a_wrong_clock_is_told_with_how_far_it_is_off() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.unwrap().as_secs();
    let company = Company::start().await;
    let claims = json!({"iat": now - 7230, "exp": now - 3600});
    company.idp.behave(|it| it.claims = claims);
    let error = company.app().call_with_browser().await.unwrap_err();
    assert_eq!(error.kind(), "auth_identity_refused");
    assert!(error.to_string().contains("expired"), "{error}");
    let hint = error.hint();
    let expected = "the clock of this machine is 2 h ahead of that of";
    assert!(hint.starts_with(expected), "{hint}");
    // One that is late does no harm.
    let claims = json!({"iat": now + 1800, "exp": now + 3600});
    company.idp.behave(|it| it.claims = claims);
    let outcome = company.app().call_with_browser().await;
    assert_eq!(outcome.unwrap(), StatusCode::OK);
}

/// from another program, in a file.
#[tokio::test]
async fn an_id_token_from_outside_replaces_the_sign_in() {
    let company = Company::start().await;
    let file = company.directory.path().join("id-token");
    fs::write(&file, format!("{}\n", company.idp.id_token())).unwrap();
    let source = Some(ExternalToken::File(file.clone()));
    let config = company_config(company.directory.path(), &company.idp, source);
    let app = AuthorizedClient::new(&company.server, config);
    let outcome = app.call_as(Interaction::Forbidden).await;
    assert_eq!(outcome.unwrap(), StatusCode::OK);

    company
        .idp
        .behave(|it| it.claims = json!({"exp": 1_000_000}));
    fs::write(&file, company.idp.id_token()).unwrap();
    company.server.revoke_access_tokens();
    let error = app.call().await.unwrap_err();
    assert_eq!(error.kind(), "auth_no_external_token");
    assert!(error.to_string().contains("expired"), "{error}");
    assert_eq!(company.idp.sign_ins(), 0);
}

/// with the client of either side.
#[tokio::test]
async fn a_wrong_secret_is_told_with_the_side_that_refuses_it() {
    let company = Company::start().await;
    let config = Config {
        client: Some(client(SERVER_CLIENT, "wrong-MARKER")),
        ..company.config()
    };
    let app = AuthorizedClient::new(&company.server, config);
    let error = app.call_with_browser().await.unwrap_err();
    assert_eq!(error.kind(), "auth_client_rejected");
    assert!(error.to_string().contains(&company.server.origin()));
    assert_shows_no_secret(&error);
    // The identity was not lost.
    assert_eq!(company.app().call().await.unwrap(), StatusCode::OK);
    assert_eq!(company.idp.sign_ins(), 1);
}
