//! HTTP between the bridge and the server: responses, event streams, connections, TLS, transports.

mod event_stream_format;
mod get_stream;
mod http_sse;
mod http_sse_fallback;
mod lost_connections;
mod network;
mod responses;
mod responses_elsewhere;
mod stream_resumption;
mod tls;
mod unusable_bodies;
