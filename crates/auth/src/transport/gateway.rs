//! Headers of a gateway before the MCP server, for the documents of the sign-in that lie behind it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use reqwest::Request;
use reqwest::header::HeaderMap;
use url::{Origin, Url};

use crate::error::AuthError;

/// Headers, once they are there.
pub(crate) type Coming<'a> =
    Pin<Box<dyn Future<Output = Result<HeaderMap, AuthError>> + Send + 'a>>;

/// Source of the headers that a gateway wants.
pub(crate) trait GatewayHeaders: fmt::Debug + Send + Sync {
    fn headers(&self) -> Coming<'_>;
}

/// A gateway before all of one origin.
#[derive(Debug)]
pub(crate) struct Gateway {
    origin: Origin,
    headers: Arc<dyn GatewayHeaders>,
}

impl Gateway {
    /// The gateway before `server`.
    pub(crate) fn before(server: &Url, headers: Arc<dyn GatewayHeaders>) -> Self {
        Self {
            origin: server.origin(),
            headers,
        }
    }

    /// Adds the headers to a request that passes the gateway. They go to no other origin.
    pub(crate) async fn equip(&self, request: &mut Request) -> Result<(), AuthError> {
        if request.url().origin() != self.origin {
            return Ok(());
        }
        let headers = self.headers.headers().await?;
        request.headers_mut().extend(headers);
        Ok(())
    }
}
