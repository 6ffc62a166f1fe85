//! Every route of the server, and the layers around them.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post};
use rmcp::model::ProtocolVersion;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use url::Url;

use super::rate_limit::{self, RateLimit};
use super::replicas::{self, SharedSessions};
use super::{
    App, MAX_BODY_BYTES, MCP_PATH, Middleware, Registration, authorization, client_documents, cors,
    dpop, life, mcp, pages, proxy, relay, resource,
};

/// Every route of the server.
pub(crate) fn router(
    app: &Arc<App>,
    config: StreamableHttpServerConfig,
    sessions: Arc<LocalSessionManager>,
    around_endpoint: Option<Middleware>,
) -> Router {
    let open = match &app.issuer {
        Some(_) => Router::new(),
        None => authorization_server(app),
    };
    let open = open
        .route("/", get(pages::welcome))
        .route(
            "/.well-known/oauth-protected-resource/mcp",
            get(resource::metadata),
        )
        // Where clients look that were not told (MCP, authorization: Protected Resource Metadata Discovery).
        .route(
            "/.well-known/oauth-protected-resource",
            get(resource::metadata),
        );
    // Those who ask know no name of the server, and are no browsers.
    let probes = Router::new()
        .route("/healthz", get(life::health))
        .route("/readyz", get(life::readiness));
    mcp_endpoint(app, config, sessions, around_endpoint)
        .merge(open.with_state(app.clone()))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn_with_state(app.clone(), life::count_calls))
        .layer(from_fn_with_state(app.clone(), cors::allow_origins))
        .layer(from_fn_with_state(app.clone(), proxy::see_through))
        .merge(probes.with_state(app.clone()))
}

/// The MCP endpoint behind the check of the token.
fn mcp_endpoint(
    app: &Arc<App>,
    config: StreamableHttpServerConfig,
    sessions: Arc<LocalSessionManager>,
    around_endpoint: Option<Middleware>,
) -> Router {
    let (versions, menu) = (app.versions, app.menu.clone());
    let mcp = StreamableHttpService::new(
        move || Ok(mcp::ExampleServer::new(versions, menu.clone())),
        sessions,
        config,
    );
    let endpoint = Router::new().route_service(MCP_PATH, mcp);
    let endpoint = match around_endpoint {
        Some(add_layers) => add_layers(endpoint),
        None => endpoint,
    };
    // The last layer sees a request first: a browser is greeted before it is asked for a token.
    endpoint
        .layer(from_fn_with_state(app.clone(), relay::pass_on))
        .layer(from_fn_with_state(app.clone(), resource::require_token))
        .layer(from_fn_with_state(app.clone(), dpop::hand_out_nonces))
        .layer(from_fn_with_state(app.clone(), pages::greet_browsers))
}

/// Routes of the authorization server that is in this process.
fn authorization_server(app: &Arc<App>) -> Router<Arc<App>> {
    let mut endpoints = Router::new()
        .route("/consent", post(authorization::consent))
        .route("/revoke", post(authorization::revoke));
    if app.other_resource.is_some() {
        endpoints = endpoints.route("/introspect", post(authorization::introspect));
    }
    if app.registration == Registration::Dynamic {
        let register = limited(app, post(authorization::register));
        endpoints = endpoints.route("/register", register);
    }
    // All that reads or changes the store.
    let in_turn = from_fn_with_state(app.clone(), replicas::in_turn);
    let token = post(authorization::token)
        .layer(in_turn.clone())
        .layer(from_fn_with_state(app.clone(), dpop::prove_key));
    let authorize = get(authorization::authorize)
        .layer(in_turn.clone())
        .layer(from_fn_with_state(
            app.clone(),
            client_documents::fetch_client,
        ));
    endpoints
        .layer(in_turn)
        .route("/authorize", authorize)
        .route("/token", limited(app, token))
        .route(
            "/.well-known/oauth-authorization-server",
            get(authorization::metadata),
        )
}

/// The same handler for a bounded number of requests, if there is a limit.
fn limited(app: &App, handler: MethodRouter<Arc<App>>) -> MethodRouter<Arc<App>> {
    match app.deployment.rate_limit {
        Some(limit) => handler.layer(from_fn_with_state(RateLimit::new(limit), rate_limit::limit)),
        None => handler,
    }
}

/// An origin with its port, also where that is the scheme's: rmcp takes one without for all ports.
fn with_port(origin: &str) -> String {
    let url = Url::parse(origin).ok();
    let port = url.and_then(|url| {
        Some((
            url.host_str()?.to_owned(),
            url.port_or_known_default()?,
            url,
        ))
    });
    match port {
        Some((host, port, url)) => format!("{}://{host}:{port}", url.scheme()),
        None => origin.to_owned(),
    }
}

pub(crate) fn mcp_config(app: &App) -> StreamableHttpServerConfig {
    // rmcp checks `Host` by itself. `Origin` must be asked for: a page of another origin has no
    // business here (MCP, transports: Security Warning).
    let allowed = app.deployment.allowed_origins.iter();
    let origins = allowed.map(|origin| with_port(origin.as_str()));
    let mut config = StreamableHttpServerConfig::default()
        .with_allowed_origins(origins.chain([with_port(&app.origin)]))
        .with_max_request_body_bytes(MAX_BODY_BYTES);
    if let Some(shared) = &app.shared {
        config.session_store = Some(Arc::new(SharedSessions(shared.clone())));
    }
    if let Some(public) = &app.deployment.public_url {
        config = config.with_allowed_hosts([public.authority()]);
    }
    if app.versions.iter().any(ProtocolVersion::has_initialize) {
        return config;
    }
    // From 2026-07-28 on there are no sessions, and each request says who asks.
    config
        .with_legacy_session_mode(false)
        .with_stateless_protocol_metadata_required(true)
}
