//! The example server, tried without the bridge: it is the other end in many tests, so it must be
//! as strict as a client may find servers to be.

#![expect(
    clippy::unwrap_used,
    reason = "a double that fails fails its test, whose name and line say the rest"
)]

pub(crate) mod client;
mod client_documents;
mod deployment;
mod discovery;
mod document_host;
mod dpop;
mod eras;
mod introspection;
mod issuer;
mod issuer_double;
mod prover;
#[cfg(unix)]
mod replicas;
mod sign_in;
mod tokens;
mod tools;
