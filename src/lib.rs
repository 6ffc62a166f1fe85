//! The bridge.
pub mod auth;
pub mod cli;
pub mod http;
pub mod secret;
