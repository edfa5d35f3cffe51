//! Fuzzes the target `anthropic_messages`; what is checked stands in `bodies.rs`.
#![no_main]

#[path = "../bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::run("anthropic_messages", data));
