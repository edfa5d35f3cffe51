//! The examples of the README, which run as doctests.
#![doc = include_str!("../../README.md")]
