//! Credential store: files, damage, accounts, import from mcp-remote.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use mcp_bridge_auth::{Config, Interaction};
use mcp_bridge_text::secret::Secret;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::tempdir;

use mcp_bridge_testkit::authorization_server::AuthorizationServer;
use mcp_bridge_testkit::mcp_remote::leave_credentials;
use mcp_bridge_testkit::soon;

use crate::support::{AuthorizedClient, assert_discovered_once, config};

fn credential_file(directory: &Path) -> PathBuf {
    let files = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut credentials = files.filter(|path| path.extension().is_some_and(|it| it == "json"));
    let found = credentials.next().expect("a credential is stored");
    assert!(credentials.next().is_none());
    found
}

/// none of it is fatal, and none of it is believed.
#[tokio::test]
async fn a_damaged_or_foreign_credential_file_is_ignored() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 6] = [
        ("empty", |path| fs::write(path, "").unwrap()),
        ("half", |path| {
            let text = fs::read(path).unwrap();
            fs::write(path, &text[..text.len() / 2]).unwrap();
        }),
        ("wrong type", |path| fs::write(path, "[1,2]").unwrap()),
        ("a later version", |path| {
            let mut text: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
            text["version"] = 99.into();
            fs::write(path, text.to_string()).unwrap();
        }),
        ("a directory", |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }),
        ("a link", |path| {
            let target = path.with_extension("elsewhere");
            fs::rename(path, &target).unwrap();
            symlink(target, path).unwrap();
        }),
    ];
    for (name, damage) in damages {
        let provider = AuthorizationServer::start().await;
        let directory = tempdir().unwrap();
        AuthorizedClient::new(&provider, config(directory.path()))
            .call_with_browser()
            .await
            .unwrap();
        damage(&credential_file(directory.path()));
        let app = AuthorizedClient::new(&provider, config(directory.path()));
        let error = app.call_as(Interaction::Forbidden).await.unwrap_err();
        assert_eq!(error.kind(), "auth_required", "{name}");
        assert_eq!(
            app.call_with_browser().await.unwrap(),
            StatusCode::OK,
            "{name}"
        );
    }
}

///
#[tokio::test]
async fn a_file_that_others_could_read_is_made_private_and_used() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    AuthorizedClient::new(&provider, config(directory.path()))
        .call_with_browser()
        .await
        .unwrap();
    let file = credential_file(directory.path());
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    assert_eq!(
        app.call_as(Interaction::Forbidden).await.unwrap(),
        StatusCode::OK
    );
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

/// The second refresh needs what the first one brought.
async fn keep_calling_until_refreshed_twice(
    app: &AuthorizedClient,
    provider: &AuthorizationServer,
) {
    soon("two refreshes", async {
        while provider.refreshes() < 2 {
            let answer = app.call_as(Interaction::Forbidden).await;
            assert_eq!(answer.unwrap(), StatusCode::OK);
        }
    })
    .await;
}

/// no directory, one that can't be made, one that can't be written.
#[tokio::test]
async fn without_a_usable_directory_the_sign_in_lasts_for_the_run_and_rotation_is_not_lost() {
    let directory = tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    for place in [
        None,
        Some(file.join("below")),
        Some(PathBuf::from("/proc/nothing/here")),
    ] {
        let provider = AuthorizationServer::start().await;
        provider.behave(|it| it.token_lifetime = Some(1));
        let config = Config {
            directory: place.clone(),
            ..config(directory.path())
        };
        let app = AuthorizedClient::new(&provider, config);
        assert_eq!(
            app.call_with_browser().await.unwrap(),
            StatusCode::OK,
            "{place:?}"
        );
        keep_calling_until_refreshed_twice(&app, &provider).await;
    }
}

/// the place is taken by something that can't be replaced, as on a full disk.
#[tokio::test]
async fn a_rotated_token_that_cannot_be_saved_is_used_and_leaves_no_partial_file() {
    let provider = AuthorizationServer::start().await;
    provider.behave(|it| it.token_lifetime = Some(1));
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    app.call_with_browser().await.unwrap();
    let file = credential_file(directory.path());
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let before = fs::read_dir(directory.path()).unwrap().count();
    keep_calling_until_refreshed_twice(&app, &provider).await;
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), before);
}

/// X-139, B20
#[tokio::test]
async fn accounts_are_kept_apart() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let account = |profile: &str, tenant: &str| {
        let mut config = config(directory.path());
        config.profile = Some(profile.into());
        config.identity_headers = Secret::new(vec![("x-tenant".into(), tenant.into())]);
        config
    };
    AuthorizedClient::new(&provider, account("one", "a"))
        .call_with_browser()
        .await
        .unwrap();
    for other in [
        account("two", "a"),
        account("one", "b"),
        config(directory.path()),
    ] {
        let app = AuthorizedClient::new(&provider, other);
        assert!(app.authorizer.token().await.unwrap().is_none());
    }
    assert!(
        AuthorizedClient::new(&provider, account("one", "a"))
            .authorizer
            .token()
            .await
            .unwrap()
            .is_some()
    );
    for entry in fs::read_dir(directory.path()).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!text.contains("x-tenant"));
    }
}

/// a server that wants no sign-in leaves no trace.
#[tokio::test]
async fn nothing_is_written_before_a_sign_in() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let store = directory.path().join("store");
    assert!(
        AuthorizedClient::new(&provider, config(&store))
            .authorizer
            .token()
            .await
            .unwrap()
            .is_none()
    );
    assert!(!store.exists());
}

/// A-73, B20
#[tokio::test]
async fn signing_out_forgets_tokens_and_clients() {
    let provider = AuthorizationServer::start().await;
    let directory = tempdir().unwrap();
    let app = AuthorizedClient::new(&provider, config(directory.path()));
    assert!(app.authorizer.sign_out().await.unwrap().is_empty());
    app.call_with_browser().await.unwrap();
    assert_eq!(app.authorizer.sign_out().await.unwrap().len(), 1);
    assert!(app.authorizer.token().await.unwrap().is_none());
    assert!(
        AuthorizedClient::new(&provider, config(directory.path()))
            .authorizer
            .token()
            .await
            .unwrap()
            .is_none()
    );
    for entry in fs::read_dir(directory.path()).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!text.contains("MARKER"));
    }
}

/// Credentials as mcp-remote leaves them, for its user alone.
fn leave_private_credentials(
    provider: &AuthorizationServer,
    directory: &Path,
    tokens: &Value,
    client: &Value,
) {
    let paths = leave_credentials(directory, provider.mcp_url().as_str(), tokens, client);
    for path in paths {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// B20: who changes over from mcp-remote does not sign in again.
#[tokio::test]
async fn credentials_that_mcp_remote_left_are_used() {
    for expired in [false, true] {
        let provider = AuthorizationServer::start().await;
        let theirs = tempdir().unwrap();
        let first = tempdir().unwrap();
        AuthorizedClient::new(&provider, config(first.path()))
            .call_with_browser()
            .await
            .unwrap();
        let stored: Value =
            serde_json::from_slice(&fs::read(credential_file(first.path())).unwrap()).unwrap();
        let tokens = json!({
            "access_token": stored["tokens"]["access_token"],
            "refresh_token": stored["tokens"]["refresh_token"],
            "token_type": "Bearer",
            "expires_at": if expired { 1000.0 } else { 4e12 },
            "issuer": provider.origin(),
        });
        let client = json!({
            "client_id": stored["client"]["client_id"],
            "redirect_uris": [stored["client"]["redirect_uri"]],
            "issuer": provider.origin(),
        });
        leave_private_credentials(&provider, theirs.path(), &tokens, &client);

        let ours = tempdir().unwrap();
        let config = Config {
            mcp_remote_directory: Some(theirs.path().to_owned()),
            ..config(ours.path())
        };
        let app = AuthorizedClient::new(&provider, config.clone());
        assert_eq!(
            app.call().await.unwrap(),
            StatusCode::OK,
            "expired: {expired}"
        );
        assert_eq!(provider.refreshes(), usize::from(expired));
        assert_eq!(provider.seen("/authorize").len(), 1);
        let next = AuthorizedClient::new(
            &provider,
            Config {
                mcp_remote_directory: None,
                ..config
            },
        );
        assert_eq!(
            next.call_as(Interaction::Forbidden).await.unwrap(),
            StatusCode::OK
        );
    }
}

/// B20, A-27: but not at another authorization server, and not where nobody knows at which.
#[tokio::test]
async fn credentials_that_mcp_remote_left_for_another_issuer_or_an_unknown_one_are_not_used() {
    let other = Some("https://other.example".to_owned());
    for (of_tokens, of_client) in [
        (other.clone(), None),
        (None, None),
        (None, Some(())),
        (Some(String::new()), None),
    ] {
        let provider = AuthorizationServer::start().await;
        let origin = provider.origin();
        not_used(&provider, of_tokens, of_client.map(|()| origin)).await;
    }
    for of_client in [other, None] {
        let provider = AuthorizationServer::start().await;
        let origin = provider.origin();
        not_used(&provider, Some(origin), of_client).await;
    }
}

/// Signs in anew although `mcp-remote` has left credentials of these issuers.
async fn not_used(
    provider: &AuthorizationServer,
    of_tokens: Option<String>,
    of_client: Option<String>,
) {
    let theirs = tempdir().unwrap();
    let mut tokens = json!({ "access_token": "theirs", "refresh_token": "theirs" });
    let mut client = json!({ "client_id": "theirs", "client_secret": "theirs" });
    for (stored, issuer) in [(&mut tokens, of_tokens), (&mut client, of_client)] {
        if let Some(issuer) = issuer {
            stored["issuer"] = issuer.into();
        }
    }
    leave_private_credentials(provider, theirs.path(), &tokens, &client);
    let ours = tempdir().unwrap();
    let config = Config {
        mcp_remote_directory: Some(theirs.path().to_owned()),
        ..config(ours.path())
    };
    let app = AuthorizedClient::new(provider, config);
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    for request in provider.paths() {
        let seen = format!("{:?}", provider.seen(&request));
        assert!(!seen.contains("theirs"), "{seen}");
    }
    assert_discovered_once(provider);
}

/// Somebody else can have put other tokens there.
#[tokio::test]
async fn credentials_of_mcp_remote_that_others_can_write_are_not_used() {
    let provider = AuthorizationServer::start().await;
    let theirs = tempdir().unwrap();
    let issuer = provider.origin();
    let tokens = json!({ "access_token": "theirs", "refresh_token": "theirs", "issuer": issuer });
    let client = json!({ "client_id": "theirs", "issuer": issuer });
    leave_private_credentials(&provider, theirs.path(), &tokens, &client);
    for entry in fs::read_dir(theirs.path().join("mcp-remote-v1")).unwrap() {
        fs::set_permissions(entry.unwrap().path(), fs::Permissions::from_mode(0o664)).unwrap();
    }
    let ours = tempdir().unwrap();
    let config = Config {
        mcp_remote_directory: Some(theirs.path().to_owned()),
        ..config(ours.path())
    };
    let app = AuthorizedClient::new(&provider, config);
    assert_eq!(app.call_with_browser().await.unwrap(), StatusCode::OK);
    for request in provider.paths() {
        let seen = format!("{:?}", provider.seen(&request));
        assert!(!seen.contains("theirs"), "{seen}");
    }
}
