//! An answer becomes a value, or an error that holds it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail where the tests do"
)]

mod an_answer_that_does_not_fit_is_repaired;
mod every_protocol_repairs_alike;
