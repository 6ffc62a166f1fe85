//! Headers for a gateway before the MCP server, on the requests of the sign-in that go to the server's origin.

use std::fmt;
use std::pin::Pin;

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
    headers: Box<dyn GatewayHeaders>,
}

impl Gateway {
    /// The gateway before `server`.
    pub(crate) fn before(server: &Url, headers: Box<dyn GatewayHeaders>) -> Self {
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
