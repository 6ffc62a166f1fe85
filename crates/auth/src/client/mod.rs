//! OAuth client: its registration (RFC 7591) and its authentication (RFC 6749 §2.3, RFC 7523).

mod assertion;
pub(crate) mod authentication;
pub(crate) mod probe;
pub(crate) mod registration;
pub(crate) mod registration_request;
