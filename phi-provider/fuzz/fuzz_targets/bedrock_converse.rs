//! Fuzzes the target `bedrock_converse`; what is checked stands in `bodies.rs`.
#![no_main]

#[path = "../bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::run("bedrock_converse", data));
