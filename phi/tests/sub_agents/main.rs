//! An agent as a tool: each module is named as the fact that it tests.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests fail where the tests do"
)]

mod scene;

mod a_budget_is_shared;
mod a_cancel_reaches_the_child;
mod a_child_is_a_session_of_its_own;
mod a_child_is_resumed_with_its_parent;
mod a_child_that_fails_says_so;
mod questions_reach_whoever_runs_the_root;
mod the_parent_sees_what_its_child_does;
