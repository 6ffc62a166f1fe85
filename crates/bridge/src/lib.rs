//! The bridge between an MCP client on a pipe and a remote MCP server.
//!
//! ```text
//!  app ── line ──▶ stdio ── Message ──▶ bridge ── Message ──▶ endpoint ── POST ──▶ server
//!  app ◀── line ── stdio ◀── Message ── bridge ◀── Event ──── endpoint ◀── JSON, events ──┘
//!                                                                 │
//!                                                                auth ──▶ browser, authorization server
//! ```
//!
//! A client at the other end of an in-memory pipe, and a server:
//!
//! ```
//! use mcp_bridge_core::{Bridge, End};
//! use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let port = server.local_addr()?.port();
//! # std::thread::spawn(move || {
//! #     use std::io::{BufRead, Read, Write};
//! #     let (mut connection, _) = server.accept().unwrap();
//! #     let mut request = std::io::BufReader::new(connection.try_clone().unwrap());
//! #     let mut length = 0;
//! #     for line in request.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
//! #         if let Some(value) = line.to_lowercase().strip_prefix("content-length: ") {
//! #             length = value.parse().unwrap();
//! #         }
//! #     }
//! #     request.read_exact(&mut vec![0; length]).unwrap();
//! #     let body = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
//! #     let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
//! #     connection.write_all((head + body).as_bytes()).unwrap();
//! # });
//! let url = format!("http://127.0.0.1:{port}/mcp").parse()?;
//! let (client, pipe) = tokio::io::duplex(64 * 1024);
//! let (input, output) = tokio::io::split(pipe);
//! let bridge = Bridge::builder(url).build().run(input, output, std::future::pending());
//!
//! let talk = async {
//!     let (reader, mut writer) = tokio::io::split(client);
//!     writer.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n").await?;
//!     let mut answer = String::new();
//!     BufReader::new(reader).read_line(&mut answer).await?;
//!     writer.shutdown().await?;
//!     Ok::<_, std::io::Error>(answer)
//! };
//! let (end, answer) = tokio::join!(bridge, talk);
//! assert_eq!(answer?.trim_end(), r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
//! assert_eq!(end, End::AppLeft);
//! # Ok(())
//! # }
//! ```
//!
//! - [`Bridge`]: the interface of this crate.
//! - [`bridge`]: the pump between the two sides. Read this first.
//! - [`stdio`]: newline-delimited frames.
//! - [`endpoint`]: the MCP endpoint over HTTP: exchanges, event streams, sessions.

pub mod bridge;
mod builder;
pub mod endpoint;
pub mod stdio;

pub use bridge::End;
pub use builder::{Bridge, BridgeBuilder};
