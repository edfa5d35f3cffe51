//! The binary does what its contract says.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail where the tests do"
)]

mod a_body_decodes_to_every_key;
mod a_call_is_asked_for_on_a_terminal;
mod a_closed_stdout_ends_quietly;
mod a_cut_off_loop_goes_on_first;
mod a_cut_off_loop_is_resumed;
mod a_failing_service_is_one_clear_line;
mod a_hostile_log_is_one_clear_line;
mod a_page_shows_a_session;
mod a_request_is_explained;
mod a_run_works_with_real_tools;
mod a_running_loop_is_steered;
mod a_session_is_checked_and_forked;
mod a_tool_call_prints_its_result;
mod a_wrong_request_is_one_clear_line;
mod an_interrupted_run_is_stored;
mod models_are_listed;
mod sessions_are_kept_in_each_store;
mod sessions_are_listed_shown_and_deleted;
mod support;
mod the_demo_repairs_a_project;
mod what_was_open_at_a_kill_is_settled;
