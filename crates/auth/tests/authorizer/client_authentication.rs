//! Client authentication at the token, device authorization and revocation endpoints.

use std::fs;

use mcp_bridge_auth::{
    ClientAuthentication, ClientCredential, Config, Grant, Interaction, PreRegisteredClient,
    Revocation,
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::tempdir;

use mcp_bridge_testkit::authorization_server::{
    Authentication, AuthorizationServer, Behaviour, Device,
};
use mcp_bridge_testkit::{free_port, soon};

use crate::support::{AuthorizedClient, config};

/// A server: the methods that it lists, the one that it accepts, and its answer to a registration.
struct Server {
    lists: Value,
    accepts: Authentication,
    registers_no_public_client: bool,
    registration_reply: Value,
}

impl Server {
    fn new(lists: Value, accepts: Authentication) -> Self {
        Self {
            lists,
            accepts,
            registers_no_public_client: false,
            registration_reply: json!({}),
        }
    }

    fn refusing_public_clients(self) -> Self {
        Self {
            registers_no_public_client: true,
            ..self
        }
    }

    fn answering(self, registration_reply: Value) -> Self {
        Self {
            registration_reply,
            ..self
        }
    }

    async fn start(self) -> AuthorizationServer {
        let provider = AuthorizationServer::start().await;
        let revocation = format!("{}/revoke", provider.origin());
        let device = format!("{}/device", provider.origin());
        provider.behave(|it: &mut Behaviour| {
            it.server_metadata = json!({
                "token_endpoint_auth_methods_supported": self.lists,
                "revocation_endpoint": revocation,
                "device_authorization_endpoint": device,
            });
            it.authentication = self.accepts;
            it.registers_no_public_client = self.registers_no_public_client;
            it.registration_reply = self.registration_reply;
        });
        provider
    }
}

fn secrets_only() -> Value {
    json!(["client_secret_post", "client_secret_basic"])
}

/// Signs in, refreshes in another process and signs out. Returns how many requests each step took.
async fn lifecycle(provider: &AuthorizationServer) -> (usize, usize, usize) {
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(provider, config(directory.path()));
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    let signed_in = provider.seen("/token").len();
    provider.revoke_access_tokens();
    let next = AuthorizedClient::new(provider, config(directory.path()));
    let answer = next.call_as(Interaction::Forbidden).await.unwrap();
    assert_eq!(answer, StatusCode::OK);
    let refreshes = provider.refreshes();
    let ended = next.authorizer.sign_out().await.unwrap();
    assert_eq!(ended[0].revocation, Revocation::Done);
    (signed_in, refreshes, provider.seen("/revoke").len())
}

fn asked_methods(provider: &AuthorizationServer) -> Vec<String> {
    let asked = provider.seen("/register").into_iter();
    asked
        .map(|seen| {
            let body: Value = serde_json::from_str(&seen.body).unwrap();
            body["token_endpoint_auth_method"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect()
}

/// `FastMCP`, and every server with the provider of the Python SDK: public clients are not listed and work; the
/// revocation endpoint wants an empty secret from them.
#[tokio::test]
async fn a_public_client_is_asked_for_also_where_it_is_not_listed() {
    let provider = Server::new(secrets_only(), Authentication::LikePythonSdk)
        .start()
        .await;
    assert_eq!(lifecycle(&provider).await, (1, 1, 2));
    assert_eq!(asked_methods(&provider), ["none"]);
    assert_eq!(provider.seen("/revoke")[1].form["client_secret"], "");
}

/// The Python SDK wants the id in the body also with Basic.
#[tokio::test]
async fn the_id_is_put_into_the_body_beside_basic_where_it_is_missed() {
    let provider = Server::new(
        json!(["client_secret_basic"]),
        Authentication::LikePythonSdk,
    )
    .refusing_public_clients()
    .start()
    .await;
    let (signed_in, refreshes, _) = lifecycle(&provider).await;
    assert_eq!((signed_in, refreshes), (2, 1), "what worked is remembered");
    assert_eq!(
        asked_methods(&provider),
        ["none", "client_secret_basic"],
        "what is listed is the second choice"
    );
    let requests = provider.seen("/token");
    assert!(!requests[0].form.contains_key("client_id"));
    assert!(requests[1].form.contains_key("client_id"));
    assert_eq!(
        requests[0].form["code"], requests[1].form["code"],
        "the same code does"
    );
    assert_eq!(provider.seen("/authorize").len(), 1);
}

/// Other servers refuse the id in the body beside Basic.
#[tokio::test]
async fn basic_alone_comes_before_basic_with_the_id_in_the_body() {
    let provider = Server::new(json!(["client_secret_basic"]), Authentication::OnlyBasic)
        .refusing_public_clients()
        .start()
        .await;
    assert_eq!(lifecycle(&provider).await, (1, 1, 1));
}

/// A method that was agreed on in the registration, and is refused all the same.
#[tokio::test]
async fn the_other_methods_are_tried_also_where_one_was_agreed_on() {
    for (lists, accepts) in [
        (json!(["client_secret_basic"]), Authentication::OnlyPost),
        (json!(["client_secret_post"]), Authentication::OnlyBasic),
    ] {
        let provider = Server::new(lists, accepts)
            .refusing_public_clients()
            .start()
            .await;
        let (signed_in, refreshes, revocations) = lifecycle(&provider).await;
        assert!((2..=4).contains(&signed_in), "{signed_in}");
        assert_eq!(
            (refreshes, revocations),
            (1, 1),
            "what worked is remembered"
        );
        assert_eq!(provider.seen("/authorize").len(), 1);
    }
}

/// canaille registers `none`, sends a secret with it, and means `none`.
#[tokio::test]
async fn a_registration_that_says_none_means_it_although_a_secret_comes_with_it() {
    let reply = json!({ "client_secret": "unused", "token_endpoint_auth_method": "none" });
    let provider = Server::new(secrets_only(), Authentication::OnlyId)
        .answering(reply)
        .start()
        .await;
    assert_eq!(lifecycle(&provider).await, (1, 1, 1));
    assert!(
        !provider.seen("/token")[0]
            .form
            .contains_key("client_secret")
    );
}

/// A server that sends a secret instead of the public client that was asked for.
#[tokio::test]
async fn a_secret_that_was_not_asked_for_is_used() {
    for method in [json!(null), json!("client_secret_post"), json!("x")] {
        let reply = json!({ "client_secret": "s3", "token_endpoint_auth_method": method });
        let provider = Server::new(json!(null), Authentication::OnlyPost)
            .answering(reply)
            .start()
            .await;
        let (_, refreshes, revocations) = lifecycle(&provider).await;
        assert_eq!((refreshes, revocations), (1, 1), "{method}");
    }
}

/// A server that registers public clients and then refuses them: one with a secret is registered, in the same tab.
#[tokio::test]
async fn a_public_client_that_is_refused_is_replaced_by_one_with_a_secret() {
    let provider = Server::new(secrets_only(), Authentication::OnlyConfidential)
        .start()
        .await;
    let (_, refreshes, revocations) = lifecycle(&provider).await;
    assert_eq!((refreshes, revocations), (1, 1));
    assert_eq!(asked_methods(&provider), ["none", "client_secret_post"]);
    assert_eq!(provider.seen("/authorize").len(), 2);
}

/// A code that the server has taken although it refused the client is replaced, and the next one is not wasted.
#[tokio::test]
async fn a_code_that_was_lost_by_trying_is_asked_for_again_in_the_same_tab() {
    let provider = Server::new(json!(["client_secret_basic"]), Authentication::OnlyPost)
        .refusing_public_clients()
        .start()
        .await;
    provider.behave(|it| it.loses_codes_of_refused_clients = true);
    let (_, refreshes, _) = lifecycle(&provider).await;
    assert_eq!(refreshes, 1);
    assert_eq!(provider.seen("/authorize").len(), 2);
}

/// The method that the user configures comes first, and a later word of theirs counts again.
#[tokio::test]
async fn the_method_that_the_user_named_is_tried_first() {
    let provider = Server::new(secrets_only(), Authentication::OnlyPost)
        .start()
        .await;
    let directory = tempdir().unwrap();
    let port = free_port();
    let uri = format!("http://localhost:{port}/oauth/callback");
    provider.register("mine", Some("s3"), &uri);
    let with = |method| {
        let mut config = config(directory.path());
        config.callback.port = Some(port);
        config.client = Some(PreRegisteredClient {
            id: "mine".into(),
            credential: ClientCredential::Secret("s3".to_owned().into()),
            method: Some(method),
        });
        config
    };
    let app = AuthorizedClient::new(&provider, with(ClientAuthentication::ClientSecretBasic));
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    let has_basic = |place: usize| {
        provider.seen("/token")[place]
            .headers
            .contains_key("authorization")
    };
    assert!(has_basic(0));
    drop(app);

    let before = provider.seen("/token").len();
    provider.revoke_access_tokens();
    provider.behave(|it| it.authentication = Authentication::Any);
    let app = AuthorizedClient::new(&provider, with(ClientAuthentication::ClientSecretBasic));
    app.call_as(Interaction::Forbidden).await.unwrap();
    assert_eq!(provider.seen("/token").len(), before + 1);
    assert!(!has_basic(before), "what worked comes before what was said");
}

/// Secrets are taken out of the server's text, and its error codes are none.
#[tokio::test]
async fn a_secret_that_is_a_word_does_not_hide_that_the_grant_is_dead() {
    for secret in ["grant", "invalid", "invalid_grant"] {
        let provider = AuthorizationServer::start().await;
        let directory = tempdir().unwrap();
        let port = free_port();
        let uri = format!("http://localhost:{port}/oauth/callback");
        provider.register("mine", Some(secret), &uri);
        let mut config = config(directory.path());
        config.callback.port = Some(port);
        config.client = Some(PreRegisteredClient {
            id: "mine".into(),
            credential: ClientCredential::Secret(secret.to_owned().into()),
            method: Some(ClientAuthentication::ClientSecretPost),
        });
        let app = AuthorizedClient::new(&provider, config);
        assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
        provider.revoke_all();
        let error = app.call_as(Interaction::Forbidden).await.unwrap_err();
        assert_eq!(error.kind(), "auth_required", "{secret}: {error}");
    }
}

/// RFC 8628 at a server like oidc-provider: the grant has to be registered, and a client of the browser is not used.
#[tokio::test]
async fn a_client_for_devices_is_registered_for_the_device_grant() {
    let provider = Server::new(secrets_only(), Authentication::LikePythonSdk)
        .start()
        .await;
    provider.behave(|it| it.device = Device::Approved);
    let directory = tempdir().unwrap();
    let in_browser = AuthorizedClient::new(&provider, config(directory.path()));
    in_browser.call_with_browser().await.unwrap();
    provider.revoke_all();

    let config = Config {
        grant: Grant::DeviceCode,
        ..config(directory.path())
    };
    let app = AuthorizedClient::new(&provider, config.clone());
    assert_eq!(soon("the call", app.call()).await.unwrap(), StatusCode::OK);
    let asked: Value = serde_json::from_str(&provider.seen("/register")[1].body).unwrap();
    let grants = asked["grant_types"].as_array().unwrap();
    assert!(grants.contains(&json!("urn:ietf:params:oauth:grant-type:device_code")));
    assert!(grants.contains(&json!("refresh_token")));

    // The next sign-in uses it again.
    provider.revoke_all();
    let next = AuthorizedClient::new(&provider, config.clone());
    assert_eq!(soon("the call", next.call()).await.unwrap(), StatusCode::OK);
    assert_eq!(provider.seen("/register").len(), 2);

    // And one that the server has forgotten is made anew.
    provider.revoke_all();
    provider.forget_clients();
    let next = AuthorizedClient::new(&provider, config);
    assert_eq!(soon("the call", next.call()).await.unwrap(), StatusCode::OK);
    assert_eq!(provider.seen("/register").len(), 3);
}

/// Methods are tried at the device authorization endpoint and while the person is waited for, too.
#[tokio::test]
async fn devices_try_the_other_methods_as_well() {
    let provider = Server::new(
        json!(["client_secret_basic"]),
        Authentication::LikePythonSdk,
    )
    .refusing_public_clients()
    .start()
    .await;
    let directory = tempdir().unwrap();
    let config = Config {
        grant: Grant::DeviceCode,
        ..config(directory.path())
    };
    let app = AuthorizedClient::new(&provider, config.clone());
    let call = app.spawn_call();
    app.sign_in_page().await;
    provider.behave(|it| it.device = Device::Approved);
    let outcome = soon("the call", call).await.unwrap();
    assert_eq!(outcome.unwrap(), StatusCode::OK);
    assert_eq!(provider.seen("/device").len(), 2);
    provider.revoke_access_tokens();
    let next = AuthorizedClient::new(&provider, config);
    next.call_as(Interaction::Forbidden).await.unwrap();
    assert_eq!(provider.refreshes(), 1, "what worked is remembered");
}

/// Credentials that an older version stored have another note about the method.
#[tokio::test]
async fn a_credential_of_an_older_version_is_read() {
    let provider = Server::new(json!(null), Authentication::Any).start().await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    app.call_with_browser().await.unwrap();
    let mut changed = 0;
    for entry in fs::read_dir(directory.path()).unwrap() {
        let path = entry.unwrap().path();
        let Ok(mut record) = serde_json::from_str::<Value>(&fs::read_to_string(&path).unwrap())
        else {
            continue;
        };
        if record.get("quirks").is_none() {
            continue;
        }
        record["quirks"] = json!({ "no_resource": false, "other_authentication": true });
        let client = record["client"].as_object_mut().unwrap();
        assert!(client.remove("grant_types").is_some());
        fs::write(&path, record.to_string()).unwrap();
        changed += 1;
    }
    assert_eq!(changed, 1);
    provider.revoke_access_tokens();
    let next = AuthorizedClient::new(&provider, config(directory.path()));
    next.call_as(Interaction::Forbidden).await.unwrap();
    assert_eq!(provider.refreshes(), 1);
}
