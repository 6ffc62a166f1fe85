//! `initialize` handshake with a legacy server on behalf of a modern app (MCP 2025-11-25, "Lifecycle").

use serde_json::json;

use crate::era::object::Object;
use crate::era::request_meta::{
    self, CLIENT_CAPABILITIES, CLIENT_INFO, MODERN_VERSION, NEWEST_LEGACY, SERVER_INFO,
    TASKS_EXTENSION,
};
use crate::message::{Message, RequestId};

/// A modern app as it describes itself in the `_meta` of a request. Requests that differ in this need sessions of their
/// own, for a legacy server is told once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ModernClient {
    info: String,
    capabilities: String,
}

impl ModernClient {
    /// The client that a modern request names.
    #[must_use]
    pub fn from_request(request: &Message) -> Self {
        let meta = request.param::<Object>("_meta").unwrap_or_default();
        let info = meta.object(CLIENT_INFO);
        let capabilities = meta.object(CLIENT_CAPABILITIES).unwrap_or_default();
        Self {
            info: info.map_or_else(
                || request_meta::anonymous().to_string(),
                |info| info.to_json(),
            ),
            capabilities: capabilities.to_json(),
        }
    }

    /// Returns whether a modern request names this client, spelled as it is kept. Where it is spelled otherwise,
    /// [`Self::from_request`] tells.
    #[must_use]
    pub fn is_spelled_in(&self, request: &Message) -> bool {
        request.meta_json(CLIENT_INFO) == Some(&*self.info)
            && request.meta_json(CLIENT_CAPABILITIES) == Some(&*self.capabilities)
    }

    /// The `initialize` request, with the id `id`, for a session of this client.
    #[must_use]
    pub fn initialize_request(&self, id: &RequestId) -> Message {
        let mut capabilities = self.capabilities();
        if capabilities.object("roots").is_some() {
            // Nobody says in the modern era that roots have changed.
            capabilities.set("roots", &json!({ "listChanged": false }));
        }
        capabilities.edit("extensions", |extensions| {
            extensions.remove(TASKS_EXTENSION);
        });
        let mut params = Object::default();
        params.set("protocolVersion", &NEWEST_LEGACY);
        params.set_object("capabilities", &capabilities);
        params.set_json("clientInfo", &self.info);
        Message::request(id, "initialize", &params.to_json())
    }

    pub(super) fn capabilities(&self) -> Object {
        Object::parse(&self.capabilities).unwrap_or_default()
    }
}

/// The legacy server, as its `InitializeResult` tells of it.
#[derive(Debug)]
pub(super) struct LegacyServer {
    pub(super) capabilities: Object,
    info: Object,
    instructions: Option<String>,
}

impl LegacyServer {
    /// The server that sent this response to `initialize`; `None` if that is an error.
    pub(super) fn from_response(response: &Message, host: &str) -> Option<Self> {
        let result = Object::parse(response.result_json()?)?;
        let info = result.object("serverInfo").unwrap_or_else(|| {
            let mut info = Object::default();
            info.set("name", &host);
            info.set("version", &"unknown");
            info
        });
        Some(Self {
            capabilities: result.object("capabilities").unwrap_or_default(),
            info,
            instructions: result.read("instructions"),
        })
    }

    /// Returns whether the server declared the capability at `path`.
    pub(super) fn declares(&self, path: &[&str]) -> bool {
        self.capabilities.declares(path)
    }

    /// The answer of a modern server to `server/discover`.
    pub(super) fn discovered(&self) -> Object {
        let mut capabilities = self.capabilities.clone();
        capabilities.remove("tasks");
        let mut meta = Object::default();
        meta.set_object(SERVER_INFO, &self.info);
        let mut result = Object::default();
        result.set("resultType", &"complete");
        result.set("supportedVersions", &[MODERN_VERSION]);
        result.set_object("capabilities", &capabilities);
        if let Some(instructions) = &self.instructions {
            result.set("instructions", instructions);
        }
        result.set("ttlMs", &0);
        result.set("cacheScope", &"private");
        result.set_object("_meta", &meta);
        result
    }
}
