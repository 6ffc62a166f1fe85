//! The example servers.

pub(crate) mod example_server;
mod resource_server;
