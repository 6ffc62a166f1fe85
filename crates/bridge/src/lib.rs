//! The bridge between an MCP client on a pipe and a remote MCP server.
//!
//! ```text
//!  app ── line ──▶ stdio ── Message ──▶ bridge ── Message ──▶ endpoint ── POST ──▶ server
//!  app ◀── line ── stdio ◀── Message ── bridge ◀── Inbound ── endpoint ◀── JSON, events ──┘
//!                                                                 │
//!                                                                auth ──▶ browser, authorization server
//! ```
//!
//! - [`bridge`]: the pump between the two sides. Read this first.
//! - [`stdio`]: newline-delimited frames.
//! - [`endpoint`]: the MCP endpoint over HTTP: exchanges, event streams, sessions.

pub mod bridge;
pub mod endpoint;
pub mod stdio;
