//! Library interface: a bridge by its server's URL and what may be chosen about it.

use std::time::Duration;

use mcp_bridge_auth as auth;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncRead, AsyncWrite};
use url::Url;

use crate::bridge::{self, End, ToolFilter};
use crate::endpoint;

/// A bridge between an MCP client on a pipe and a remote MCP server.
#[derive(Debug, Clone)]
pub struct Bridge {
    config: bridge::Config,
}

/// Settings of a [`Bridge`]. What is not set is as in the program without flags, except that nobody is asked to
/// sign in and nothing is stored.
#[derive(Debug, Clone)]
pub struct BridgeBuilder {
    config: bridge::Config,
}

impl Bridge {
    /// Begins with the URL of the server's MCP endpoint.
    #[must_use]
    pub fn builder(url: Url) -> BridgeBuilder {
        BridgeBuilder {
            config: bridge::Config::new(endpoint::EndpointConfig::new(url)),
        }
    }

    /// Carries messages, one a line, between the client and the server, until the client closes `input` or stops
    /// reading `output`, or `stop` resolves. Needs a Tokio runtime.
    pub async fn run<I, O>(self, input: I, output: O, stop: impl Future<Output = ()>) -> End
    where
        I: AsyncRead + Unpin,
        O: AsyncWrite + Unpin + Send + 'static,
    {
        bridge::run(self.config, input, output, stop).await
    }
}

impl From<bridge::Config> for Bridge {
    fn from(config: bridge::Config) -> Self {
        Self { config }
    }
}

impl BridgeBuilder {
    /// Adds a header to each request to the server. A header `Authorization` takes the place of a sign-in.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.config.endpoint.headers.append(name, value);
        self
    }

    /// Replaces the headers that each request to the server has.
    #[must_use]
    pub fn headers(mut self, headers: HeaderMap) -> Self {
        self.config.endpoint.headers = headers;
        self
    }

    /// Signs in by OAuth where the server wants a token.
    #[must_use]
    pub fn sign_in(mut self, auth: auth::Config) -> Self {
        self.config.auth = Some(auth);
        self
    }

    /// Lets the client see and call these tools only.
    #[must_use]
    pub fn tools(mut self, filter: ToolFilter) -> Self {
        self.config.tools = Some(filter);
        self
    }

    /// Limits the time that a request may go without an answer or a sign of progress. Without it there is no limit.
    #[must_use]
    pub const fn request_timeout(mut self, limit: Duration) -> Self {
        self.config.endpoint.request_timeout = Some(limit);
        self
    }

    /// Limits the size of a message in either direction, in bytes.
    #[must_use]
    pub const fn max_message_size(mut self, bytes: usize) -> Self {
        self.config.max_message = bytes;
        self.config.endpoint.max_message = bytes;
        self
    }

    /// The bridge. Nothing is sent before the client's first message.
    #[must_use]
    pub fn build(self) -> Bridge {
        Bridge::from(self.config)
    }
}
