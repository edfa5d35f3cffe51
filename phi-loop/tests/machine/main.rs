//! The rules of the machine, driven by data alone: each module is named as the fact that it tests.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

#[path = "../support/mod.rs"]
mod support;

mod facts;

mod a_cancelled_answer_keeps_what_was_shown;
mod a_change_of_models_leaves_the_call_in_flight_alone;
mod a_changed_prefix_is_reported;
mod a_compaction_must_help;
mod a_grace_turn_has_no_tools;
mod a_limit_ends_the_loop;
mod a_log_folds_to_its_machine;
mod a_model_takes_back_nothing_that_the_user_said;
mod a_pure_call_may_start_early;
mod a_repeated_call_is_stuck;
mod a_resume_repeats_nothing_that_must_not;
mod a_shared_limit_ends_the_loop;
mod a_stop_keeps_its_reason;
mod a_stop_waits_and_a_cancel_aborts;
mod a_sub_agent_counts_for_its_parent;
mod a_transcript_is_always_accepted;
mod a_verdict_that_does_not_fit_is_refused;
mod an_answer_may_hold_for_the_session;
mod an_ended_machine_absorbs_everything;
mod an_overflow_compacts_once;
mod any_input_in_any_order_is_survived;
mod approvals_are_bound_to_the_exact_call;
mod calls_are_matched_by_effect;
mod calls_run_in_their_order;
mod each_attempt_is_logged_and_billed;
mod events_come_before_what_they_announce;
mod every_call_is_answered;
mod failed_attempts_are_sent_again_or_fall_back;
mod gates_stand_before_loops_turns_and_ends;
mod hooks_decide_before_the_announcement;
mod inputs_are_filtered_before_they_join;
mod messages_join_one_at_a_time_or_all;
mod only_an_answer_is_success;
mod outcomes_are_distinct;
mod steering_joins_before_the_next_model_call;
mod the_context_changes_between_loops;
mod the_context_changes_on_request;
mod truncated_output_runs_no_half_call;
mod usage_sums_every_attempt;
mod wall_time_counts_work_alone;
mod wrong_inputs_change_nothing;
