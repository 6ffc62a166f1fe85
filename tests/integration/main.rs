//! The parts together, over real HTTP and real files.

mod support_auth;

mod auth_callback;
mod auth_sign_in;
mod auth_tokens;
