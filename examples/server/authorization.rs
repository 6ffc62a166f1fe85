//! The authorization server (OAuth 2.1): registration, consent, tokens.
//!
//! In the order in which a client meets it:
//!
//! | endpoint | file | RFC |
//! |---|---|---|
//! | `/.well-known/oauth-authorization-server` | `metadata.rs` | 8414 |
//! | `/register` | `registration.rs`, `client_metadata.rs` | 7591 |
//! | `/authorize`, then `/consent` from the page | `authorize.rs` | 6749 §4.1, 7636, 8707, 9207 |
//! | `/token`, `/revoke` | `grants.rs` | 6749 §4.1.3 and §6, 7636, 7009, 9449 |
//! | `/introspect`, for resource servers | `introspection.rs` | 7662 |

mod authorize;
mod client;
mod client_metadata;
mod cookie;
mod error;
mod grants;
mod introspection;
mod metadata;
mod parameters;
mod registration;

pub(crate) use authorize::{AuthorizationRequest, authorize, consent};
pub(crate) use client::{Client, is_plain_loopback, pre_registered_client, resource_server};
pub(crate) use client_metadata::ClientMetadata;
pub(crate) use error::{OAuthError, no_store};
pub(crate) use grants::{revoke, token};
pub(crate) use introspection::introspect;
pub(crate) use metadata::metadata;
pub(crate) use registration::register;
