//! JSON-RPC messages kept as text, and the translation between the two eras of MCP.
//!
//! - [`codes`]: error codes.
//! - [`lists`]: the lists of a server that may change.
//! - [`message`]: the JSON-RPC envelope, kept byte for byte.
//! - [`era`]: state machines that translate between an app and a server of different eras.
//!
//! Nothing here has IO, a clock or a runtime.

pub mod codes;
pub mod era;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod lists;
pub mod message;
