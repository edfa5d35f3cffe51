//! What the built-in tools do, one file for each fact.

#[cfg(test)]
mod a_command_runs_in_a_closed_world;
#[cfg(test)]
mod bench;
#[cfg(test)]
mod context_tools_ask_their_loop;
#[cfg(test)]
mod every_tool_keeps_the_contract;
#[cfg(test)]
mod file_tools_stay_beneath_the_workspace;
#[cfg(test)]
mod nothing_that_a_command_started_outlives_its_call;
#[cfg(test)]
mod reading_shows_lines_as_they_are;
#[cfg(test)]
mod tool_help_tells_what_is_left_out;
#[cfg(test)]
mod what_git_ignores_is_neither_listed_nor_searched;
#[cfg(test)]
mod writing_replaces_a_file_in_one_step;
#[cfg(test)]
mod wrong_arguments_are_named;
