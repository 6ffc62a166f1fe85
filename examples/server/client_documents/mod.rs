//! Client ID metadata documents: an app whose `client_id` is the URL of a document that describes it needs no registration (MCP,
//! Client Registration; draft-ietf-oauth-client-id-metadata-document).
//!
//! | file | |
//! |---|---|
//! | `location.rs` | URLs and addresses that a document may be at |
//! | `fetch.rs` | the request, with its limits |
//! | `document.rs` | the document's content |
//! | `freshness.rs` | time until it is fetched again |
//!
//! Whoever opens the sign-in page makes this server fetch a URL of their choice. So it connects to no address that it could reach
//! and they could not, follows no redirects, and reads little and not for long.

mod document;
mod fetch;
mod freshness;
mod location;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use clap::ValueEnum;
use mcp_bridge_net::http::{self, Names, Roots};
use tokio::sync::Semaphore;
use url::form_urlencoded;

use super::authorization::{Client, OAuthError};
use super::rate_limit::RateLimit;
use super::{App, pages};
use location::DocumentUrl;

/// Most documents that are fetched at a time. Others wait.
const MAX_FETCHES: usize = 8;

/// Choices of the operator.
#[derive(Debug, Clone, Default)]
pub(crate) struct DocumentSettings {
    /// Places that documents may be at.
    pub(crate) reach: DocumentReach,
    /// Authorities to trust beside those of the system.
    pub(crate) authorities: Vec<Roots>,
    /// Source of the addresses of hosts.
    pub(crate) names: Names,
}

/// Places that documents may be at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum DocumentReach {
    /// None: apps have to register
    Off,
    /// Hosts on the public internet
    #[default]
    Public,
    /// This machine as well, for development
    Loopback,
}

/// Reason why a document describes no client here. A person reads it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DocumentRefusal {
    #[error(
        "its address must be https, have a path, and be written as browsers write it, without user name and fragment"
    )]
    Url,
    #[error("its host is inside of a private network or on the machine of this server")]
    Inside,
    #[error("its host cannot be reached, or does not answer in time")]
    Unreachable,
    #[error("its host answers with status {0} instead of 200; redirects are not followed")]
    Status(u16),
    #[error("its content type must be application/json")]
    ContentType,
    #[error("it is larger than {0} bytes")]
    TooLarge(usize),
    #[error("it is no JSON object")]
    Json,
    #[error("client_id in it is not the address that it was fetched from")]
    OtherClient,
    #[error("client_name is missing")]
    Unnamed,
    #[error("it must have no client_secret: everybody can read it")]
    Secret,
    #[error("token_endpoint_auth_method must be none: this server knows no keys of apps")]
    Authentication,
    #[error("{}", .0.description)]
    Metadata(OAuthError),
    #[error("too many apps were looked up from your address; try again in {0} s")]
    TooMany(u64),
    #[error("HTTP cannot be set up: {0}")]
    Setup(#[from] http::Error),
}

/// Source of clients that describe themselves.
pub(crate) struct ClientDocuments {
    settings: DocumentSettings,
    limit: Option<Arc<RateLimit>>,
    places: Semaphore,
}

impl ClientDocuments {
    /// `None` if there is to be none.
    pub(crate) fn new(settings: DocumentSettings, limit: Option<NonZeroU32>) -> Option<Self> {
        (settings.reach != DocumentReach::Off).then(|| Self {
            settings,
            limit: limit.map(RateLimit::new),
            places: Semaphore::new(MAX_FETCHES),
        })
    }

    /// The client with this identifier, for a browser at this address.
    async fn client(&self, id: &str, address: IpAddr) -> Result<Client, DocumentRefusal> {
        let url = DocumentUrl::parse(id, self.settings.reach)?;
        if let Some(limit) = &self.limit {
            let taken = limit.take(address, Instant::now());
            taken.map_err(|wait| DocumentRefusal::TooMany(wait.as_secs() + 1))?;
        }
        // The semaphore is never closed.
        let _place = self.places.acquire().await.ok();
        let (body, lifetime) = fetch::fetch(&self.settings, &url).await?;
        let metadata = document::parse(&body, url.text())?;
        let fresh_until = SystemTime::now() + lifetime;
        Ok(metadata.into_described_client(url.text(), address, fresh_until))
    }
}

/// A client whose document was just fetched, as extension of the request.
#[derive(Clone)]
pub(crate) struct FetchedClient(pub(crate) Client);

/// Fetches the document of a client that is not known, or not any more, before an authorization request is looked at.
///
/// This is outside of the transaction on the shared store: others need not wait for the document's host.
pub(crate) async fn fetch_client(
    State(app): State<Arc<App>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(documents) = &app.documents else {
        return next.run(request).await;
    };
    let query = request.uri().query().unwrap_or_default();
    let mut parameters = form_urlencoded::parse(query.as_bytes());
    let id = parameters.find(|(name, _)| name == "client_id");
    let id = id.map(|(_, id)| id.into_owned()).unwrap_or_default();
    if !location::looks_like_url(&id) || is_fresh(&app, &id) {
        return next.run(request).await;
    }
    match documents.client(&id, address.ip()).await {
        Ok(client) => {
            request.extensions_mut().insert(FetchedClient(client));
            next.run(request).await
        }
        Err(refusal) => pages::error(&format!(
            "The app describes itself in a document that cannot be used ({id}): {refusal}."
        )),
    }
}

/// Returns whether the client is known by a document that need not be fetched again.
fn is_fresh(app: &App, id: &str) -> bool {
    let store = app.store();
    let until = store.client(id).and_then(|client| client.fresh_until);
    until.is_some_and(|until| SystemTime::now() < until)
}
