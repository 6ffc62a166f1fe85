//! The authorization server: registers clients, asks the user, issues tokens (OAuth 2.1).
//!
//! In the order in which a client meets it:
//!
//! | endpoint | file | RFC |
//! |---|---|---|
//! | `/.well-known/oauth-authorization-server` | `metadata.rs` | 8414 |
//! | `/register` | `registration.rs` | 7591 |
//! | `/authorize`, then `/consent` from the page | `authorize.rs` | 6749 §4.1, 7636, 8707, 9207 |
//! | `/token`, `/revoke` | `grants.rs` | 6749 §4.1.3 and §6, 7636, 7009 |

mod authorize;
mod client;
mod cookie;
mod error;
mod grants;
mod metadata;
mod parameters;
mod registration;

pub(crate) use authorize::{AuthorizationRequest, authorize, consent};
pub(crate) use client::{Client, pre_registered_client};
pub(crate) use error::no_store;
pub(crate) use grants::{revoke, token};
pub(crate) use metadata::metadata;
pub(crate) use registration::register;
