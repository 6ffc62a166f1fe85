//! See the function of this name behind `mcp_bridge::commands::fuzzing`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mcp_bridge::commands::fuzzing::config_file(data));
