//! Error codes of JSON-RPC 2.0 and of MCP.

/// JSON-RPC: the text is not JSON.
pub const PARSE_ERROR: i64 = -32700;

/// JSON-RPC: the JSON is not a valid request.
pub const INVALID_REQUEST: i64 = -32600;

/// JSON-RPC: the method does not exist.
pub const METHOD_NOT_FOUND: i64 = -32601;

/// JSON-RPC: the parameters are invalid.
pub const INVALID_PARAMS: i64 = -32602;

/// JSON-RPC: internal error. The one code for the bridge's own errors, which `data.source` and `data.kind` tell apart.
pub const INTERNAL_ERROR: i64 = -32603;

/// JSON-RPC: the first of the codes for servers. MCP gives it no meaning; servers use it for what has no code of its own,
/// such as a request without a session.
pub const SERVER_ERROR: i64 = -32000;

/// MCP up to 2025-11-25: no such resource. Later revisions say [`INVALID_PARAMS`].
pub const RESOURCE_NOT_FOUND: i64 = -32002;

/// MCP 2025-11-25, "URL Elicitation Required Error": the user has to visit a page first.
pub const URL_ELICITATION_REQUIRED: i64 = -32042;

/// MCP 2026-07-28, `HeaderMismatch`: the headers of the request contradict its body.
pub const HEADER_MISMATCH: i64 = -32020;

/// MCP 2026-07-28, `MissingRequiredClientCapability`: the client does not declare a capability that the server needs.
pub const MISSING_CAPABILITY: i64 = -32021;

/// MCP 2026-07-28, `UnsupportedProtocolVersion`: the server does not support the version of the request.
pub const UNSUPPORTED_VERSION: i64 = -32022;

/// [`UNSUPPORTED_VERSION`] in drafts of MCP 2026-07-28.
pub const UNSUPPORTED_VERSION_DRAFT: i64 = -32004;

/// Returns whether only servers of MCP 2026-07-28 or later use this code.
#[must_use]
pub const fn is_modern(code: i64) -> bool {
    matches!(
        code,
        HEADER_MISMATCH | MISSING_CAPABILITY | UNSUPPORTED_VERSION
    )
}
