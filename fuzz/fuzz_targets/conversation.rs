//! See the function of this name behind `mcp_bridge_protocol::fuzzing`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mcp_bridge_protocol::fuzzing::conversation(data));
