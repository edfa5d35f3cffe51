//! What a log and its record keep to: one file for each behaviour.

mod a_cut_loses_nothing_acknowledged;
mod common;
mod every_bit_flip_is_found;
