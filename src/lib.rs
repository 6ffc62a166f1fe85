//! The bridge.
pub mod http;
pub mod message;
pub mod secret;
pub mod stdio;
