//! What a log and its record keep to: one file for each behaviour.

mod a_cut_loses_nothing_acknowledged;
mod a_killed_writer_loses_nothing;
mod a_wrong_place_is_a_typed_error;
mod common;
mod every_bit_flip_is_found;
mod the_record_is_a_fold_of_the_log;
