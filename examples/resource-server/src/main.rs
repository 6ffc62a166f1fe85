//! MCP server that accepts the access tokens of any OAuth issuer. README.md has its settings.

mod authorization;
mod token;

use std::{env, error::Error, sync::Arc, time::Duration};

use authorization::{Resource, metadata, require_token};
use axum::{Router, http::request::Parts, middleware, routing::get};
use rmcp::handler::server::common::Extension;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ServerHandler, tool, tool_handler, tool_router};
use token::{Claims, Verifier};

struct Tools;

#[tool_router]
impl Tools {
    #[tool(description = "Says who is signed in", annotations(read_only_hint = true))]
    async fn whoami(&self, Extension(http): Extension<Parts>) -> String {
        // `require_token` has left the claims in this very request.
        http.extensions.get::<Claims>().map_or_else(String::new, |it| format!("signed in as {}", it.0["sub"]))
    }
}

#[tool_handler]
impl ServerHandler for Tools {}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let setting = |name| env::var(name).ok().filter(|value| !value.is_empty());
    let listener = tokio::net::TcpListener::bind(setting("LISTEN").as_deref().unwrap_or("127.0.0.1:3002")).await?;
    let port = listener.local_addr()?.port();
    let audience = setting("RESOURCE").unwrap_or_else(|| format!("http://localhost:{port}/mcp"));
    let url = url::Url::parse(&audience)?;
    let metadata_path = format!("/.well-known/oauth-protected-resource{}", url.path().trim_end_matches('/'));
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(Duration::from_secs(10));
    // Issuers in Node.js close an idle connection after five seconds; a request that meets the close is lost.
    let http = http.pool_idle_timeout(Duration::from_secs(4)).build()?;
    let resource = Arc::new(Resource {
        metadata_url: url.join(&metadata_path)?,
        scopes: setting("SCOPES").unwrap_or_default(),
        verifier: Verifier {
            issuer: setting("ISSUER").ok_or("ISSUER is missing: the URL of the authorization server")?,
            audience,
            client: setting("INTROSPECTION_CLIENT_ID").zip(setting("INTROSPECTION_CLIENT_SECRET")),
            cache: Duration::from_secs(setting("CACHE_SECONDS").map_or(Ok(10), |seconds| seconds.parse())?),
            http,
            ..Verifier::default()
        },
    });
    // No sessions: each request proves by its token who asks.
    let config =
        StreamableHttpServerConfig::default().with_legacy_session_mode(false).with_allowed_hosts([url.authority()]);
    let mcp = StreamableHttpService::new(|| Ok(Tools), Arc::new(NeverSessionManager::default()), config);
    let app = Router::new().route_service(url.path(), mcp);
    let app = app.layer(middleware::from_fn_with_state(resource.clone(), require_token));
    println!("{} at {}", resource.verifier.audience, listener.local_addr()?);
    let app = app.route(&metadata_path, get(metadata)).with_state(resource);
    Ok(axum::serve(listener, app).await?)
}
