//! `initialize` of a legacy app, answered from `server/discover` (MCP 2025-11-25, "Lifecycle"; MCP 2026-07-28,
//! "Discovery").

use crate::era::filter::Filter;
use crate::era::json::Json;
use crate::era::object::Object;
use crate::era::request_meta::{
    self, CLIENT_CAPABILITIES, CLIENT_INFO, LOG_LEVEL, MODERN_VERSION, NEWEST_LEGACY,
    PROTOCOL_VERSION, SERVER_INFO, TASKS_EXTENSION,
};
use crate::message::Message;

const LEGACY_VERSIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", NEWEST_LEGACY];

/// The first version whose apps can be asked by a form.
const FIRST_WITH_ELICITATION: &str = "2025-06-18";

/// The legacy app, as a modern server gets to know it.
#[derive(Debug)]
pub(super) struct LegacyApp {
    /// The version spoken with it.
    pub(super) version: &'static str,
    capabilities: Object,
    /// Members of the `_meta` of each request: who asks.
    signature: Object,
    /// The same as the text of an object, for a request without other members.
    signature_json: Json,
}

impl LegacyApp {
    /// The app that sent this `initialize`.
    pub(super) fn from_initialize(initialize: &Message) -> Self {
        let asked: Option<String> = initialize.param("protocolVersion");
        let version = LEGACY_VERSIONS
            .into_iter()
            .find(|known| asked.as_deref() == Some(known))
            .unwrap_or(NEWEST_LEGACY);
        let mut capabilities: Object = initialize.param("capabilities").unwrap_or_default();
        capabilities.remove("tasks");
        if version < FIRST_WITH_ELICITATION {
            capabilities.remove("elicitation");
        }
        if capabilities.object("roots").is_some() {
            capabilities.set_object("roots", &Object::default());
        }
        let info: Option<Object> = initialize.param("clientInfo");
        let info = info.map_or_else(
            || request_meta::anonymous().to_string(),
            |info| info.to_json(),
        );
        let mut signature = Object::default();
        signature.set(PROTOCOL_VERSION, &MODERN_VERSION);
        signature.set_json(CLIENT_INFO, &info);
        signature.set_object(CLIENT_CAPABILITIES, &capabilities);
        Self {
            version,
            capabilities,
            signature_json: signature.to_json().into(),
            signature,
        }
    }

    /// From now on each request carries this level.
    pub(super) fn set_log_level(&mut self, level: &str) {
        self.signature.set(LOG_LEVEL, &level);
        self.signature_json = self.signature.to_json().into();
    }

    /// Returns whether the app declared the capability at `path`.
    pub(super) fn declares(&self, path: &[&str]) -> bool {
        self.capabilities.declares(path)
    }

    /// Returns whether the server may answer with a task.
    pub(super) fn accepts_tasks(&self) -> bool {
        self.declares(&["extensions", TASKS_EXTENSION])
    }

    /// Lets the server answer with a task, where it says that it may.
    pub(super) fn accept_tasks(&mut self) {
        let mut extensions = self.capabilities.object("extensions").unwrap_or_default();
        extensions.set_object(TASKS_EXTENSION, &Object::default());
        self.capabilities.set_object("extensions", &extensions);
        self.signature
            .set_object(CLIENT_CAPABILITIES, &self.capabilities);
        self.signature_json = self.signature.to_json().into();
    }

    /// Puts into the `_meta` of params who asks.
    pub(super) fn sign(&self, params: &mut Object) {
        let Some(mut meta) = params.object("_meta") else {
            return params.put("_meta", self.signature_json.clone());
        };
        meta.remove(LOG_LEVEL);
        meta.put_all(&self.signature);
        params.set_object("_meta", &meta);
    }
}

/// The modern server, as far as the translation asks for it.
#[derive(Debug)]
pub(super) struct ModernServer {
    capabilities: Object,
}

impl ModernServer {
    /// The changes that the server says it tells of.
    pub(super) fn tells_of(&self) -> Filter {
        Filter::declared(&self.capabilities)
    }

    /// Returns whether the server declared the capability at `path`.
    pub(super) fn declares(&self, path: &[&str]) -> bool {
        self.capabilities.declares(path)
    }
}

/// Makes the `InitializeResult` of the `DiscoverResult`. Members that neither defines are kept.
pub(super) fn initialize_result(
    app: &mut LegacyApp,
    discover: &Message,
    host: &str,
) -> (ModernServer, Object) {
    let discovered = discover.result_json().and_then(Object::parse);
    let mut result = discovered.unwrap_or_default();
    let info = result
        .object("_meta")
        .and_then(|meta| meta.object(SERVER_INFO));
    let info = info.unwrap_or_else(|| {
        let mut info = Object::default();
        info.set("name", &host);
        info.set("version", &"unknown");
        info
    });
    let mut capabilities = result.object("capabilities").unwrap_or_default();
    let server = ModernServer {
        capabilities: capabilities.clone(),
    };
    capabilities.remove("tasks");
    capabilities.edit("extensions", |extensions| {
        if extensions.remove(TASKS_EXTENSION).is_some() {
            app.accept_tasks();
        }
    });
    result.retain(|name| {
        !matches!(
            name,
            "supportedVersions" | "resultType" | "ttlMs" | "cacheScope"
        )
    });
    request_meta::strip_modern(&mut result);
    result.set("protocolVersion", &app.version);
    result.set_object("capabilities", &capabilities);
    result.set_object("serverInfo", &info);
    (server, result)
}
