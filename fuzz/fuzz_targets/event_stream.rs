//! See the function of this name behind `mcp_bridge_core::endpoint::fuzzing`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mcp_bridge_core::endpoint::fuzzing::event_stream(data));
