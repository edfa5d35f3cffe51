//! Evaluations on scripted models: each module is a fact about them.

#[cfg(test)]
mod a_choice_that_cannot_be_is_a_typed_error;
#[cfg(test)]
mod a_panic_in_one_branch_touches_no_other;
#[cfg(test)]
mod branches_run_at_once;
#[cfg(test)]
mod branches_share_their_history;
#[cfg(test)]
mod every_branch_comes_back;
#[cfg(test)]
mod support;
#[cfg(test)]
mod the_log_names_the_branches;
