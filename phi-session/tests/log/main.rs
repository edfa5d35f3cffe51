//! What a log and its record keep to: one file for each behaviour.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod a_changed_context_loads_for_ever;
mod a_conversation_gives_way_after_a_pause;
mod a_cut_loses_nothing_acknowledged;
mod a_forged_log_is_refused_by_every_store;
mod a_fork_shares_its_past;
mod a_killed_writer_loses_nothing;
mod a_kind_that_was_added_loads_for_ever;
mod a_list_reads_no_log_twice;
mod a_log_of_every_format_loads_for_ever;
mod a_page_shows_a_session;
mod a_session_moves_between_stores;
mod a_wrong_place_is_a_typed_error;
mod blobs_that_no_line_names_are_told;
mod every_bit_flip_is_found;
mod long_strings_are_kept_once;
mod observers_see_one_order;
mod scene;
mod secrets_stay_out_of_logs;
mod the_record_holds_the_whole_task;
mod the_record_is_a_fold_of_the_log;
mod updates_are_those_of_the_protocol;
