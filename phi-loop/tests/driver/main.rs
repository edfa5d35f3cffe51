//! The driver on tokio: each module is named as the fact that it tests.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

#[path = "../support/mod.rs"]
mod support;

mod facts;

mod a_budget_stops_a_tree;
mod a_compaction_is_paid_from_the_ledger;
mod a_compaction_keeps_what_must_stay;
mod a_context_changes_between_loops;
mod a_failed_append_starts_nothing;
mod a_handle_changes_what_a_model_reads;
mod a_handle_speaks_to_a_run;
mod a_ledger_is_never_overdrawn;
mod a_model_cannot_break_a_run;
mod a_provider_cannot_break_a_run;
mod a_request_is_explained_by_its_log;
mod a_resumed_loop_keeps_to_the_ledger;
mod a_run_moves_only_when_it_is_pulled;
mod a_tool_cannot_break_a_run;
mod an_exact_counter_is_believed;
mod an_overflow_is_survived;
mod calls_start_while_the_model_speaks;
mod gates_fail_closed;
mod hooks_combine_in_order;
mod lies_about_usage_break_nothing;
mod long_loops_and_wide_turns_work;
mod observers_change_nothing;
mod the_gates_of_a_loop_work_in_a_run;
mod the_table_of_hooks_holds;
mod what_a_call_leaves_is_finished;
