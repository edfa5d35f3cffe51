//! The contract of wires: every wire of ours keeps it on all recordings, and wrong wires are caught.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests fail where the tests do"
)]
#![expect(clippy::print_stdout, reason = "the tests print the score cards")]

#[path = "../recorded/cases.rs"]
#[expect(dead_code, reason = "the contract needs bodies and heads alone")]
mod cases;
mod every_wire_keeps_the_contract;
mod recordings_are_read_from_a_folder;
mod what_breaks_is_told_from_what_is_wrong;
mod wrong_wires_are_caught;
