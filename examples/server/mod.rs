//! MCP server with OAuth, complete and offline.
//!
//! Three roles live in this one process. In a real deployment the third is usually a product
//! (your identity provider), and you write only the first two: `examples/resource-server` is that, to be
//! copied.
//!
//! ```text
//!   MCP server            mcp.rs            tools; learns from each request who authorized it
//!   resource server       resource.rs       points to the authorization server, checks tokens
//!   authorization server  authorization.rs  registers clients, asks the user, issues tokens
//! ```
//!
//! With `--issuer` the third is such a product here, too (`issuer`).
//! The last two share `dpop`: tokens that are bound to a key. `client_documents` is for clients that describe themselves instead of
//! registering.
//!
//! Read `routes.rs` first: it is the whole server at a glance. `menu.rs` has what changes,
//! `store.rs` remembers clients and tokens, `users.rs` has the people who can sign in, `pages.rs` what they
//! see. `deployment.rs` and what it names are for a server on the internet, `replicas.rs` and `relay.rs` for
//! several of them.

mod authorization;
pub(crate) mod client_documents;
mod connections;
mod cors;
pub(crate) mod deployment;
pub(crate) mod dpop;
pub(crate) mod issuer;
mod life;
mod listener;
mod mcp;
mod menu;
mod pages;
mod presented_token;
mod proxy;
mod rate_limit;
mod refusal;
mod relay;
mod replicas;
mod resource;
mod routes;
mod scope;
mod sessions;
mod signature;
mod state_file;
mod store;
mod token;
mod users;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::HeaderValue;
use mcp_bridge_net::http;
use rmcp::model::ProtocolVersion;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use client_documents::{ClientDocuments, DocumentSettings};
use connections::LIMITS;
use deployment::Deployment;
use dpop::{Dpop, DpopSettings};
use issuer::{ExternalIssuer, IssuerSettings};
use life::Life;
use listener::ServerListener;
use menu::Menu;
pub(crate) use replicas::RedisPlace;
use replicas::SharedState;
use routes::{mcp_config, router};
use scope::Scopes;
use sessions::Sessions;
use state_file::StateFile;
use store::Store;
pub(crate) use token::Token;

/// The `client_id` of the client that is known without registration, see [`Options::client_secret`].
pub(crate) const PRE_REGISTERED_CLIENT_ID: &str = "example-client";

/// The `client_id` of the resource server that may introspect tokens, see [`ResourceServer`].
pub(crate) const RESOURCE_SERVER_CLIENT_ID: &str = "resource-server";

/// Path of the MCP endpoint.
const MCP_PATH: &str = "/mcp";

/// Limit of open requests when the server stops, beside the time for draining; then they are cut off.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(2);

/// Largest form, registration or JSON-RPC message that is read, in bytes.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Settings of the server.
pub(crate) struct Options {
    /// TCP port on the loopback interface; 0 takes a free one.
    pub(crate) port: u16,
    /// Lifetime of an access token. Zero issues expired tokens.
    pub(crate) token_lifetime: Duration,
    /// Place of clients and of hashed tokens, which outlive a restart; `None` keeps them in memory.
    pub(crate) state_file: Option<PathBuf>,
    /// With a secret here, clients cannot register: there is one, [`PRE_REGISTERED_CLIENT_ID`], and
    /// this is its secret.
    pub(crate) client_secret: Option<Token>,
    /// Another MCP server that gets its tokens here.
    pub(crate) resource_server: Option<ResourceServer>,
    /// Authorization server elsewhere that issues the tokens. Then there is none here, and the settings of the own one
    /// have no effect.
    pub(crate) issuer: Option<IssuerSettings>,
    /// The Redis in which replicas of the server share their state; `None` for a server that has no replicas.
    pub(crate) redis: Option<RedisPlace>,
    /// Addresses at which the server is reached, if not on this machine alone.
    pub(crate) deployment: Deployment,
    /// Tokens that are bound to a key.
    pub(crate) dpop: DpopSettings,
    /// Clients that describe themselves in a document. Where clients cannot register, there are none.
    pub(crate) client_documents: DocumentSettings,
    /// The versions of MCP that are served.
    pub(crate) versions: &'static [ProtocolVersion],
    /// Middleware of the caller around the MCP endpoint, for requests with a good token.
    pub(crate) around_endpoint: Option<Middleware>,
}

/// Puts layers around a router.
pub(crate) type Middleware = Box<dyn FnOnce(Router) -> Router + Send>;

/// An MCP server elsewhere whose authorization server this is, such as `examples/resource-server`. It asks the
/// introspection endpoint about tokens, as [`RESOURCE_SERVER_CLIENT_ID`].
#[derive(Clone)]
pub(crate) struct ResourceServer {
    /// URL of its MCP endpoint, the audience of its tokens.
    pub(crate) url: String,
    /// Its client secret.
    pub(crate) secret: Token,
}

/// A running server. Dropping it stops it without waiting; [`Server::stop`] waits.
pub(crate) struct Server {
    url: String,
    address: SocketAddr,
    stop_limit: Duration,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    /// Opens the port and serves in a task of the current tokio runtime.
    ///
    /// Fails if the port is taken, or if the state file is there and cannot be read.
    pub(crate) async fn start(mut options: Options) -> io::Result<Self> {
        let deployment = &options.deployment;
        let listener = match deployment.bind {
            Some(address) => ServerListener::bind_at(address).await?,
            None => ServerListener::bind_loopback(options.port).await?,
        };
        let address = listener.address()?;
        let origin = match &deployment.public_url {
            Some(url) => url.origin(),
            None => format!("http://localhost:{}", address.port()),
        };
        let state_file = options.state_file.take().map(StateFile::new);
        let store = match &state_file {
            Some(file) => file.read()?,
            None => Store::default(),
        };
        let around_endpoint = options.around_endpoint.take();
        let shared = options.redis.take().map(SharedState::new);
        let shared = shared.transpose().map_err(io::Error::other)?;
        let app = App::new(origin, options, store, state_file, shared);
        let app = Arc::new(app.map_err(io::Error::other)?);
        let url = app.resource.clone();

        let config = mcp_config(&app);
        let stop_sessions = config.cancellation_token.clone();
        let sessions = Arc::new(LocalSessionManager::default());
        if let Some(shared) = app.shared.clone() {
            let deliver = relay::deliver(shared, sessions.clone());
            let stopped = stop_sessions.clone();
            tokio::spawn(async move { stopped.run_until_cancelled(deliver).await });
        }
        let life = app.life.clone();
        let (notice, drain) = (app.deployment.notice, app.deployment.drain);
        let (stop, stopped) = oneshot::channel();
        let serve = connections::serve(
            listener,
            router(&app, config, sessions, around_endpoint),
            LIMITS,
            async move {
                // An error means that `Server` was dropped: stop as well.
                let _ = stopped.await;
                life.leave();
                tokio::time::sleep(notice).await;
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(drain, life.is_idle()).await;
                    // Ends the event streams, which would otherwise stay open for as long as clients listen.
                    stop_sessions.cancel();
                });
            },
        );
        let task = tokio::spawn(serve);
        Ok(Self {
            url,
            address,
            stop_limit: SHUTDOWN_LIMIT + notice + drain,
            stop,
            task,
        })
    }

    /// The URL of the MCP endpoint, such as `http://localhost:3001/mcp`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The address at which the server listens.
    #[allow(
        dead_code,
        reason = "only tests need it, and their copy of this module is another"
    )]
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening, gives open requests time to end, and closes the port.
    pub(crate) async fn stop(self) {
        let Self {
            stop,
            mut task,
            stop_limit,
            ..
        } = self;
        drop(stop);
        if tokio::time::timeout(stop_limit, &mut task).await.is_err() {
            task.abort();
        }
    }
}

/// State of all request handlers.
pub(crate) struct App {
    /// Origin of this server: identifier of its authorization server and prefix of the endpoints (RFC 8414 §2).
    origin: String,
    /// The authorization server, if it is elsewhere.
    issuer: Option<ExternalIssuer>,
    /// Identifier of the protected resource: the URL of the MCP endpoint (RFC 8707 §2).
    resource: String,
    /// Identifier of another resource that tokens are issued for.
    other_resource: Option<String>,
    /// Lifetime of an access token.
    token_lifetime: Duration,
    /// True if clients may register themselves (RFC 7591).
    registration: Registration,
    documents: Option<ClientDocuments>,
    deployment: Deployment,
    dpop: Dpop,
    life: Life,
    sessions: Sessions,
    store: Mutex<Store>,
    /// The clients that the operator knows.
    known_clients: Vec<authorization::Client>,
    shared: Option<Arc<SharedState>>,
    state_file: Option<StateFile>,
    versions: &'static [ProtocolVersion],
    menu: Menu,
}

/// Ways in which clients become known to the authorization server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Registration {
    /// They register themselves (RFC 7591).
    Dynamic,
    /// Somebody registered them by hand.
    BeforehandOnly,
}

impl App {
    fn new(
        origin: String,
        options: Options,
        store: Store,
        state_file: Option<StateFile>,
        shared: Option<Arc<SharedState>>,
    ) -> Result<Self, http::Error> {
        let resource = format!("{origin}{MCP_PATH}");
        let issuer = options.issuer.map(|it| ExternalIssuer::new(it, &resource));
        let mut known_clients = Vec::new();
        let registration = match &options.client_secret {
            Some(secret) => {
                known_clients.push(authorization::pre_registered_client(secret.expose()));
                Registration::BeforehandOnly
            }
            None => Registration::Dynamic,
        };
        if let Some(server) = &options.resource_server {
            known_clients.push(authorization::resource_server(server.secret.expose()));
        }
        let app = Self {
            other_resource: options.resource_server.map(|server| server.url),
            resource,
            origin,
            issuer: issuer.transpose()?,
            token_lifetime: options.token_lifetime,
            registration,
            documents: match registration {
                Registration::Dynamic => {
                    ClientDocuments::new(options.client_documents, options.deployment.rate_limit)
                }
                Registration::BeforehandOnly => None,
            },
            deployment: options.deployment,
            dpop: Dpop::new(options.dpop, shared.clone()),
            life: Life::default(),
            sessions: Sessions::new(shared.clone()),
            store: Mutex::default(),
            known_clients,
            shared,
            state_file,
            versions: options.versions,
            menu: Menu::default(),
        };
        app.replace_store(store);
        Ok(app)
    }

    /// Goes on with another store, in which the clients that the operator knows are added.
    fn replace_store(&self, mut store: Store) {
        for client in &self.known_clients {
            store.pre_register(client.clone());
        }
        *self.store() = store;
    }

    /// Takes over what other replicas have changed. Without an answer, what is known here has to do.
    async fn catch_up(&self) {
        if let Some(shared) = &self.shared
            && let Err(error) = shared.catch_up(self).await
        {
            tracing::warn!(%error, "changes of other replicas are not known");
        }
    }

    /// Returns whether tokens for this resource can be had here (RFC 8707 §2).
    fn issues_for(&self, resource: &str) -> bool {
        resource == self.resource || self.other_resource.as_deref() == Some(resource)
    }

    /// Returns whether clients reach the server by https alone.
    fn is_https(&self) -> bool {
        self.origin.starts_with("https:")
    }

    /// Returns whether pages of this origin may use the server: its own, and those that were named.
    fn is_allowed_origin(&self, origin: &HeaderValue) -> bool {
        let allowed = &self.deployment.allowed_origins;
        origin == self.origin.as_str() || allowed.iter().any(|it| origin == it.as_str())
    }

    /// Returns when the changes so far would survive a restart, if anything does.
    async fn save(&self) {
        if let Some(file) = &self.state_file {
            file.save(self).await;
        }
    }

    /// The scopes as a client has to ask for them, with spaces between.
    fn scope_names(&self, scopes: &Scopes) -> String {
        match &self.issuer {
            Some(issuer) => issuer.names_of(scopes),
            None => scopes.to_string(),
        }
    }

    /// The store, for a moment: the guard must not live across an `await`.
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
