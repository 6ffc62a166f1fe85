//! Sign-in as the inspector's page shows and drives it: state, dry run, sign-in, refresh, sign-out, and a client that a
//! person has registered.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;
use url::Url;

use super::live::{ConnectionAccess, Live};
use crate::commands::client::request::bare_initialize;
use mcp_bridge_auth::{
    self as auth, AuthError, Authorizer, ClientCredential, ExaminedServer, Place,
    PreRegisteredClient, Refusal, RegistrationWay, Renewal, Revocation, SignedOut,
};
use mcp_bridge_core::bridge::Memory;
use mcp_bridge_core::endpoint::Probe;
use mcp_bridge_text::secret::Secret;

/// Limit of the look at the server and its documents, some of which may have to be looked for in several places.
const LOOK_LIMIT: Duration = Duration::from_secs(40);

/// A client that the person has registered at the authorization server.
#[derive(Deserialize)]
struct TypedClient {
    id: String,
    #[serde(default)]
    secret: String,
}

/// The state of the sign-in.
pub(super) async fn overview(live: &Live) -> Value {
    let access = live.access();
    let Some(authorizer) = &access.authorizer else {
        return json!({ "way": "header" });
    };
    let auth = access.connection.auth.as_ref();
    let has_command = auth.is_some_and(|auth| auth.command.is_some());
    let overview = authorizer.overview().await;
    let place = match &overview {
        Some(overview) => place(authorizer, &overview.issuer).await,
        None => None,
    };
    let page = authorizer.pending_sign_in();
    json!({
        "way": if has_command { "command" } else { "sign-in" },
        "grant": auth.map(|auth| auth.grant.to_string()),
        "client": auth.and_then(|auth| auth.client.as_ref()).map(|client| &client.id),
        "isPending": page.is_some(),
        // The whole address has the state in it.
        "page": page.as_ref().and_then(|page| page.short()).map(Url::as_str),
        "signIn": overview,
        "place": place,
    })
}

/// Place of the secrets, in words; none where nothing is stored.
async fn place(authorizer: &Authorizer, issuer: &str) -> Option<&'static str> {
    let accounts = authorizer.accounts().await;
    let stored = accounts.iter().find(|account| account.issuer == issuer)?;
    Some(match stored.place {
        Place::File => "a file that only you can read",
        Place::Keychain => "the keychain",
        Place::Shared => "a store that other machines share",
    })
}

/// A dry run of the sign-in: what the server and its authorization server say of it.
pub(super) async fn look(live: &Live) -> Result<Value, String> {
    let access = live.access();
    let authorizer = authorizer(&access)?;
    let looked = timeout(LOOK_LIMIT, look_in_turn(&access, authorizer)).await;
    looked.unwrap_or_else(|_| {
        let limit = LOOK_LIMIT.as_secs();
        Err(format!("no end of it within {limit} s"))
    })
}

async fn look_in_turn(access: &ConnectionAccess, authorizer: &Authorizer) -> Result<Value, String> {
    let config = &access.connection.endpoint;
    let probe = Probe::new(config).map_err(|failure| failure.to_string())?;
    let reply = probe.post(&config.url, &bare_initialize()).await;
    let reply = reply.map_err(|failure| failure.to_string())?;
    let is_refused = reply.status == StatusCode::UNAUTHORIZED;
    let refusal = if is_refused {
        Refusal::new(reply.status, &reply.headers, None).from_peer(reply.peer)
    } else {
        crate::commands::doctor::leave(&probe, &reply).await;
        Refusal::new(StatusCode::UNAUTHORIZED, &HeaderMap::new(), None).from_peer(reply.peer)
    };
    let mut examination = authorizer.examine(&refusal).await;
    let status = reply.status.as_u16();
    if !examination.is_needed() {
        return Ok(json!({ "status": status, "isRefused": is_refused }));
    }
    let resource = examination
        .fetch_resource_metadata()
        .await
        .map_err(|error| told(&error))?;
    let issuer = examination.issuer();
    let server = examination.examine_server().await;
    let (server, failure, needed_client) = match server {
        Ok(server) => {
            let needed = needed_client(&server);
            (Some(described(&server)), None, needed)
        }
        Err(error) => (None, Some(told(&error)), None),
    };
    Ok(json!({
        "status": status,
        "isRefused": is_refused,
        "resource": resource.map(|it| it.found_at.to_string()),
        "issuer": issuer,
        "server": server,
        "failure": failure,
        "neededClient": needed_client,
    }))
}

fn described(server: &ExaminedServer) -> Value {
    let registration = match &server.registration {
        Ok(RegistrationWay::PreRegistered) => "the client that you have registered",
        Ok(RegistrationWay::MetadataDocument) => "by the URL of a document about this program",
        Ok(RegistrationWay::Stored) => "the client that an earlier sign-in has registered",
        Ok(RegistrationWay::Dynamic(_)) => "a client is registered with the sign-in (RFC 7591)",
        Ok(RegistrationWay::NotNeeded) => "none: the token from outside is enough",
        Err(_) => "none: the server registers no clients",
    };
    json!({
        "foundAt": server.found_at.as_ref().map(Url::as_str),
        "registration": registration,
        "scopes": server.scopes,
        "resource": server.resource,
        "revokes": server.revokes,
        "sendsIss": server.sends_iss,
        "pkce": server.pkce.as_ref().map(|pkce| pkce.as_ref().err().map(ToString::to_string)),
    })
}

/// Facts with which a person can register a client by hand.
fn needed_client(server: &ExaminedServer) -> Option<Value> {
    match &server.registration {
        Err(AuthError::ClientRequired {
            issuer,
            redirect_uri,
        }) => Some(json!({ "issuer": issuer, "redirectUri": redirect_uri })),
        Ok(_) | Err(_) => None,
    }
}

/// Signs in. Returns what to tell the person.
pub(super) async fn sign_in(live: &Live) -> Result<Value, String> {
    let access = live.access();
    let authorizer = authorizer(&access)?;
    live.connect().await?;
    if token_of(authorizer).await? {
        return Ok(said("Signed in."));
    }
    // The answer to a request says better than any document what the server wants.
    live.ask("tools/list", "{}").await?;
    if token_of(authorizer).await?
        || authorizer
            .volunteer()
            .await
            .map_err(|error| told(&error))?
            .is_some()
    {
        return Ok(said("Signed in."));
    }
    Ok(said(
        "The server wants no sign-in: it answers without one, and offers none.",
    ))
}

async fn token_of(authorizer: &Authorizer) -> Result<bool, String> {
    let token = authorizer.token().await.map_err(|error| told(&error))?;
    Ok(token.is_some())
}

/// Replaces the token.
pub(super) async fn refresh(live: &Live) -> Result<Value, String> {
    let access = live.access();
    match authorizer(&access)?.renew().await {
        Ok(Renewal::Done) => Ok(said("The token was replaced.")),
        Ok(Renewal::NeedsSignIn) => Err(
            "there is nothing to refresh with: the authorization server gave no refresh token, or refuses it. \
             Sign in again"
                .to_owned(),
        ),
        Err(error) => Err(told(&error)),
    }
}

/// Ends the session, revokes the tokens and deletes them.
pub(super) async fn sign_out(live: &Live) -> Result<Value, String> {
    let access = live.access();
    let authorizer = authorizer(&access)?;
    live.depart().await;
    let ended = authorizer.sign_out().await.map_err(|error| told(&error))?;
    let config = &access.connection;
    if let (Some(directory), Some(auth)) = (&config.endpoint.directory, &config.auth) {
        let account = auth::account_name(&config.endpoint.url, auth);
        Memory::of_account(directory, &account).forget();
    }
    if ended.is_empty() {
        return Ok(said("Nobody was signed in."));
    }
    let lines: Vec<_> = ended.iter().map(outcome).collect();
    Ok(said(&lines.join(" ")))
}

fn outcome(ended: &SignedOut) -> String {
    let issuer = &ended.issuer;
    let revoked = match &ended.revocation {
        Revocation::Done => format!("{issuer} has revoked the tokens"),
        Revocation::NoToken => "there was no token to revoke".to_owned(),
        Revocation::NotOffered => {
            format!("{issuer} offers no revocation, so the tokens are good until their end")
        }
        Revocation::Failed(reason) => format!("{issuer} has not revoked the tokens: {reason}"),
        Revocation::Shared(_) => format!("other servers go on with the sign-in at {issuer}"),
    };
    let deleted = match &ended.forgotten {
        Ok(()) => "nothing of it is kept here".to_owned(),
        Err(error) => format!("what is kept here could not be deleted: {error}"),
    };
    format!("Signed out: {revoked}; {deleted}.")
}

/// Takes the client that a person has registered.
pub(super) async fn take_client(live: &Live, typed: &[u8]) -> Result<Value, String> {
    // The reason may quote what was typed.
    let typed: TypedClient =
        serde_json::from_slice(typed).map_err(|_| "not a client: id and secret are texts")?;
    let id = typed.id.trim().to_owned();
    if id.is_empty() {
        return Err("the client id is missing".to_owned());
    }
    authorizer(&live.access())?;
    let credential = if typed.secret.is_empty() {
        ClientCredential::None
    } else {
        ClientCredential::Secret(Secret::new(typed.secret))
    };
    live.use_client(PreRegisteredClient {
        id,
        credential,
        method: None,
    })
    .await;
    Ok(said(
        "The client is used from now on. Its secret is kept until the inspector ends.",
    ))
}

/// Hands in the address at which the browser of the sign-in ended.
pub(super) async fn paste(live: &Live, pasted: &[u8]) -> Result<Value, String> {
    let access = live.access();
    let pasted = String::from_utf8_lossy(pasted);
    let submitted = authorizer(&access)?.submit(pasted.trim()).await;
    submitted.map_err(|error| format!("not accepted: {error}"))?;
    Ok(said("Accepted."))
}

fn authorizer(access: &ConnectionAccess) -> Result<&Authorizer, String> {
    let none = "your own Authorization header is the way in, so there is no sign-in";
    access.authorizer.as_deref().ok_or_else(|| none.to_owned())
}

fn told(error: &AuthError) -> String {
    format!("{error}\nhint: {}", error.hint())
}

fn said(text: &str) -> Value {
    json!({ "said": text })
}
