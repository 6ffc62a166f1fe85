//! Apps and servers of both eras of MCP, and of several revisions.

#[cfg(unix)]
mod all_pairs;
mod detection;
mod modern;
mod param_headers;
#[cfg(unix)]
mod revisions;
mod translation;
mod undeclared_requests;
