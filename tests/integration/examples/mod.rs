//! The example servers.

pub(crate) mod example_server;
#[cfg(unix)]
mod resource_server;
