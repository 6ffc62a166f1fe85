//! The `mcp-bridge` program. Everything it does is in the library: [`mcp_bridge::main`].

use std::process::ExitCode;

fn main() -> ExitCode {
    mcp_bridge::main(std::env::args_os())
}
