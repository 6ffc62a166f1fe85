//! See the function of this name behind `mcp_bridge::command::fuzzing`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mcp_bridge::command::fuzzing::config_file(data));
