//! The pages of `docs` say what the code does: each module is named after the page that it checks.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

mod events;
mod guarantees;
mod hooks;
mod sources;
