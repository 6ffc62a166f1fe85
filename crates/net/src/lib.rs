//! HTTP clients, TLS, proxies, and the files of a user.
//!
//! - [`http`]: HTTP clients: the way to a server, TLS settings, connections, cookies.
//! - [`private_file`]: files that nobody but the user may read or have written.
//! - [`setting`]: names of the settings that errors and hints mention.

pub mod http;
pub mod private_file;
pub mod setting;
