//! Live increments: what an observer sees between events and no log holds.

use serde::Serialize;

use crate::delta::Delta;
use crate::id::EffectId;
use crate::tool::ToolProgress;

/// One live increment of an effect. Nothing is ever rebuilt from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Live {
    /// The model call or tool call.
    pub effect: EffectId,
    /// The number of the increment in its effect, from 0.
    pub index: u64,
    /// What is new.
    pub increment: Increment,
}

/// What is new.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type")]
pub enum Increment {
    /// Progress of a tool.
    #[serde(rename = "tool_progress")]
    Progress(ToolProgress),
    /// More of an assistant message; its `type` is the delta's own.
    #[serde(untagged)]
    Delta(Delta),
}

/// `{"effect":{…},"index":0,"type":"text_delta",…}`: the increment's fields stand beside its name.
impl Serialize for Live {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Flat<'a> {
            effect: &'a EffectId,
            index: u64,
            #[serde(flatten)]
            increment: &'a Increment,
        }
        let Self {
            effect,
            index,
            increment,
        } = self;
        Flat {
            effect,
            index: *index,
            increment,
        }
        .serialize(serializer)
    }
}
