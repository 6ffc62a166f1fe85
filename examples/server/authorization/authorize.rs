//! The authorization endpoint: asks the user, and sends the browser back with the answer.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use url::Url;

use super::super::client_documents::FetchedClient;
use super::super::resource::BASIC_SCOPES;
use super::super::scope::Scopes;
use super::super::store::{ConsentPage, Full};
use super::super::token::Digest;
use super::super::{App, pages, users};
use super::client::{Client, is_plain_loopback};
use super::cookie;
use super::error::{ErrorCode, OAuthError};
use super::parameters::Parameters;

/// Longest query of an authorization request. What the page needs of it is kept until the user answers.
const MAX_QUERY_BYTES: usize = 16 * 1024;

/// Said of a redirect URI that was registered and is no URL.
const NO_ADDRESS: &str = "The app wants you sent to an address that is none.";

/// A valid authorization request (RFC 6749 §4.1.1).
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct AuthorizationRequest {
    /// Client that asks.
    pub(crate) client_id: String,
    /// Checked address of the answer.
    pub(crate) redirect_uri: String,
    /// To be returned as it came, so that the client recognises its own request.
    state: Option<String>,
    /// Hash of the verifier that the token request must show (RFC 7636 §4.3).
    pub(crate) code_challenge: Digest,
    /// Requested scopes.
    pub(crate) scopes: Scopes,
    /// Resource for which the tokens are (RFC 8707 §2).
    pub(crate) resource: String,
    /// The key that the code is bound to, if the client has said so (`dpop_jkt`, RFC 9449 §10).
    #[serde(default)]
    pub(crate) bound_to: Option<Digest>,
}

/// Answers `GET /authorize` (RFC 6749 §4.1.1) with a page that asks the user.
pub(crate) async fn authorize(
    State(app): State<Arc<App>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    RawQuery(query): RawQuery,
    fetched: Option<Extension<FetchedClient>>,
) -> Response {
    let query = query.unwrap_or_default();
    if query.len() > MAX_QUERY_BYTES {
        return pages::error("The app sent you here with a request that is too long.");
    }
    if let Some(Extension(FetchedClient(client))) = fetched
        && let Err(Full) = app.store().register(client)
    {
        return pages::error("Too many apps are known here. Try again later.");
    }
    let (parameters, client) = match parse_client(&app, &query) {
        Ok(parsed) => parsed,
        Err(error) => return pages::error(&error.description),
    };
    // From here on the client may be told of an error (RFC 6749 §4.1.2.1).
    let refuse = |error| {
        let redirect_uri = parameters.get("redirect_uri").unwrap_or_default();
        refuse(&app, &client, redirect_uri, parameters.get("state"), error)
    };
    let request = match AuthorizationRequest::parse(&app, &client, &parameters) {
        Ok(request) => request,
        Err(error) => return refuse(error),
    };
    let opened = app.store().open_consent(request.clone(), address.ip());
    let Ok(ConsentPage {
        form_token,
        browser_token,
    }) = opened
    else {
        let description = "too many sign-ins are open";
        let error = OAuthError::new(ErrorCode::TemporarilyUnavailable, description);
        return refuse(error);
    };
    let form_token = form_token.into_inner();
    let page = pages::Consent {
        client_name: &client.name,
        client_host: client.host(),
        scopes: request.scopes.clone(),
        redirect_uri: &request.redirect_uri,
        form_token: &form_token,
    };
    let cookie = cookie::set(&app, &form_token, browser_token);
    ([(header::SET_COOKIE, cookie)], page.render()).into_response()
}

/// Answers `POST /consent`, the form of the page, with a redirect to the client (RFC 6749 §4.1.2).
///
/// Only the page itself may send it, in the browser that it was made for. The form's token shows the
/// first: another site cannot read the page, and what it submits carries its own `Origin`. The cookie
/// shows the second: somebody who opens a page and makes another person's browser submit its form
/// would otherwise have that person sign in for him (RFC 9700 §4.7).
pub(crate) async fn consent(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let origin = headers.get(header::ORIGIN);
    if origin.is_some_and(|origin| origin != app.origin.as_str()) {
        return pages::error("This answer does not come from the sign-in page.");
    }
    let form = match Parameters::parse(&body) {
        Ok(form) => form,
        Err(error) => return pages::error(&error.description),
    };
    let form_token = form.get("form_token").unwrap_or_default();
    let browser_token = cookie::get(&app, &headers, form_token).unwrap_or_default();
    let Some(request) = app.store().close_consent(form_token, browser_token) else {
        return pages::error(
            "This page was answered before, it waited for too long, or the browser kept no cookie of it.",
        );
    };
    let user = form.get("user").and_then(users::find);
    let (redirect_uri, state) = (request.redirect_uri.clone(), request.state.clone());
    let answer = match (form.get("decision"), user) {
        (Some("allow"), Some(user)) => Ok(app.store().grant(request, user.id).into_inner()),
        _ => Err(OAuthError::new(ErrorCode::AccessDenied, "the user said no")),
    };
    redirect(&app, &redirect_uri, state.as_deref(), &answer)
}

/// Finds out who asks and whether the browser may be sent there. If not, the error must stay on this
/// side (RFC 6749 §4.1.2.1): redirecting to an address that anybody can put into a link would make
/// this an open redirector.
fn parse_client(app: &App, query: &str) -> Result<(Parameters, Client), OAuthError> {
    let parameters = Parameters::parse(query.as_bytes())?;
    let invalid = |description| OAuthError::new(ErrorCode::InvalidRequest, description);
    let client_id = parameters.require("client_id")?;
    let client = app.store().client(client_id).cloned();
    // What was known by a document is not known any more where documents do not count.
    let counts = |client: &Client| client.fresh_until.is_none() || app.documents.is_some();
    let client = client.filter(counts);
    let client = client.ok_or_else(|| invalid("The app is not registered here (client_id)."))?;
    if !client.may_redirect_to(parameters.require("redirect_uri")?) {
        return Err(invalid(
            "The app did not register the address it wants you sent to (redirect_uri).",
        ));
    }
    Ok((parameters, client))
}

impl AuthorizationRequest {
    fn parse(app: &App, client: &Client, parameters: &Parameters) -> Result<Self, OAuthError> {
        let invalid = |code, description: &str| Err(OAuthError::new(code, description));
        if parameters.require("response_type")? != "code" {
            return invalid(
                ErrorCode::UnsupportedResponseType,
                "response_type must be code",
            );
        }
        // RFC 7636 §4.4.1. Without a method it would be `plain`, which protects nothing.
        if parameters.get("code_challenge_method") != Some("S256") {
            return invalid(
                ErrorCode::InvalidRequest,
                "code_challenge_method must be S256",
            );
        }
        let Some(code_challenge) = Digest::parse(parameters.require("code_challenge")?) else {
            return invalid(
                ErrorCode::InvalidRequest,
                "code_challenge is no SHA-256 hash",
            );
        };
        let bound_to = parameters.get("dpop_jkt").map(Digest::parse);
        if let Some(None) = bound_to {
            return invalid(ErrorCode::InvalidRequest, "dpop_jkt is no SHA-256 hash");
        }
        let resource = parameters.get("resource").unwrap_or_default();
        if !app.issues_for(resource) {
            let description = format!("resource must be {}", app.resource);
            return invalid(ErrorCode::InvalidTarget, &description);
        }
        let scopes = match parameters.get("scope").map(Scopes::parse) {
            None => Scopes::from(BASIC_SCOPES),
            Some(Ok(scopes)) => scopes,
            Some(Err(unknown)) => {
                return invalid(
                    ErrorCode::InvalidScope,
                    &format!("there is no scope {unknown}"),
                );
            }
        };
        Ok(Self {
            client_id: client.id.clone(),
            redirect_uri: parameters.require("redirect_uri")?.to_owned(),
            state: parameters.get("state").map(str::to_owned),
            code_challenge,
            scopes,
            resource: resource.to_owned(),
            bound_to: bound_to.flatten(),
        })
    }
}

/// Tells the client of an error before a user has had a say.
///
/// Anybody may register a client with an address of their choice and send people a link to here. So
/// the browser goes there by itself only if that is this machine, or a user has granted the client
/// something; otherwise the user sees where it would go (RFC 9700 §4.11.2).
fn refuse(
    app: &App,
    client: &Client,
    redirect_uri: &str,
    state: Option<&str>,
    error: OAuthError,
) -> Response {
    let is_loopback = Url::parse(redirect_uri).is_ok_and(|uri| is_plain_loopback(&uri));
    if is_loopback || app.store().is_trusted(client) {
        return redirect(app, redirect_uri, state, &Err(error));
    }
    let description = error.description.clone();
    match answer_address(app, redirect_uri, state, &Err(error)) {
        Some(address) => pages::refused(&description, address.as_str()),
        None => pages::error(NO_ADDRESS),
    }
}

/// Sends the browser to the client with a code, or with an error (RFC 6749 §4.1.2).
///
/// 303 makes the browser use `GET`: a 307 would repeat the form to the client (RFC 9700 §4.12).
fn redirect(
    app: &App,
    redirect_uri: &str,
    state: Option<&str>,
    answer: &Result<String, OAuthError>,
) -> Response {
    let Some(location) = answer_address(app, redirect_uri, state, answer) else {
        return pages::error(NO_ADDRESS);
    };
    let headers = [
        (header::LOCATION, location.to_string()),
        // The address has a secret in it.
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    (StatusCode::SEE_OTHER, headers).into_response()
}

/// The redirect URI with the answer in its query. `iss` tells the client which server answered
/// (RFC 9207 §2).
fn answer_address(
    app: &App,
    redirect_uri: &str,
    state: Option<&str>,
    answer: &Result<String, OAuthError>,
) -> Option<Url> {
    let mut address = Url::parse(redirect_uri).ok()?;
    {
        let mut query = address.query_pairs_mut();
        match answer {
            Ok(code) => query.append_pair("code", code),
            Err(error) => query
                .append_pair("error", &error.code.to_string())
                .append_pair("error_description", &error.description),
        };
        if let Some(state) = state {
            query.append_pair("state", state);
        }
        query.append_pair("iss", &app.origin);
    }
    Some(address)
}
