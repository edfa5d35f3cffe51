//! A session goes on, whatever ended the loop before.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail where the tests do"
)]

mod a_changed_context_stays_changed;
mod a_context_changes_between_loops;
mod a_loop_is_repeated_or_begins_smaller;
mod a_loop_that_was_cut_off_is_resumed;
mod a_rerun_is_filtered_once;
mod a_resume_settles_what_was_open;
mod a_session_continues_its_conversation;
mod scene;
