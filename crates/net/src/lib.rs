//! HTTP clients, TLS, proxies, and the files of a user.
//!
//! - [`backoff`]: pauses that double.
//! - [`descriptors`]: the limit on open file descriptors, and waits for them.
//! - [`http`]: HTTP clients: the way to a server, TLS settings, connections, cookies.
//! - [`mutex`]: a mutex without poisoning.
//! - [`observer`]: the interface for who records or inspects what passes.
//! - [`private_file`]: files that nobody but the user may read or have written.
//! - [`setting`]: names of the settings that errors and hints mention.
//! - [`whole_file`]: replacement of files as a whole.

pub mod backoff;
pub mod boxed;
pub mod descriptors;
pub mod http;
pub mod mutex;
pub mod observer;
mod pkcs12;
pub mod private_file;
pub mod setting;
pub mod whole_file;
