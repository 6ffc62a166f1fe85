//! The bridge.
pub mod http;
pub mod secret;
