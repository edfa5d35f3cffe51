//! Limits that a loop shares with other loops.

use serde::{Deserialize, Serialize};

use crate::outcome::LimitKind;

/// A limit that the loop shares with others is reached: nothing new starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitReached {
    /// Which.
    pub limit: LimitKind,
    /// The place of the call that was refused among the calls of its message, from 0; `None` for a
    /// model call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
}

/// Whose limit it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitScope {
    /// That of the loop itself.
    #[default]
    Loop,
    /// That of the tree of agents to which the loop belongs.
    Tree,
}

impl LimitScope {
    /// Says whether it is the limit of one loop.
    #[must_use]
    pub fn is_loop(&self) -> bool {
        *self == Self::Loop
    }
}
