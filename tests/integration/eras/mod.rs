//! Apps and servers of both eras of MCP, and of several revisions.

mod all_pairs;
mod detection;
mod modern;
mod param_headers;
mod revisions;
mod trace_context;
mod translation;
mod undeclared_requests;
