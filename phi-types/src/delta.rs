//! Increments of an assistant message, as every provider yields them.

use serde::{Deserialize, Serialize};

use crate::json::{RawJson, deserialize_tagged};
use crate::message::StopReason;
use crate::part_facts::PartFacts;
use crate::usage::Usage;

/// One increment of an assistant message.
///
/// A part is named by an index that the provider's decoder gives out; parts may interleave and end
/// up in the order of their indices. A stream is complete once it held a [`Delta::Finish`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Delta {
    /// The provider accepted the request.
    #[serde(rename = "response_started")]
    Started(Started),
    /// More text of a text part.
    #[serde(rename = "text_delta")]
    Text(TextDelta),
    /// More reasoning of a thinking part.
    #[serde(rename = "thinking_delta")]
    Thinking(TextDelta),
    /// A tool call begins, or states its id or name later.
    #[serde(rename = "tool_call_started")]
    ToolCall(ToolCallDelta),
    /// More of the text of a call's arguments.
    #[serde(rename = "arguments_delta")]
    Arguments(TextDelta),
    /// What the provider wants back with a part.
    PartFacts(PartFactsDelta),
    /// A whole item of the provider's own.
    #[serde(rename = "opaque_part")]
    Opaque(OpaqueDelta),
    /// A part is complete: nothing more comes for it. A call that never was is cut off.
    PartEnded(PartEnded),
    /// Tokens of this attempt so far; it replaces what an earlier report stated.
    Usage(Usage),
    /// The model stopped. A later one corrects it: the last counts.
    #[serde(rename = "finished")]
    Finish(Finish),
}

deserialize_tagged!(Delta, "type" {
    "response_started" => Started,
    "text_delta" => Text,
    "thinking_delta" => Thinking,
    "tool_call_started" => ToolCall,
    "arguments_delta" => Arguments,
    "part_facts" => PartFacts,
    "opaque_part" => Opaque,
    "part_ended" => PartEnded,
    "usage" => Usage,
    "finished" => Finish,
});

/// The provider accepted the request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The provider's id of the response.
    pub response_id: Option<String>,
    /// The model that answers, as the provider names it.
    pub model: Option<String>,
}

/// More text of one part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextDelta {
    /// The part.
    pub part: u32,
    /// What is new.
    pub text: String,
}

/// A tool call begins, or states its id or name later: an empty field states nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCallDelta {
    /// The part.
    pub part: u32,
    /// The model's id of the call.
    pub id: String,
    /// The tool's name.
    pub name: String,
}

/// What the provider wants back with a part. It creates no part by itself except a thinking part
/// where there is none, because encrypted reasoning may come without any text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartFactsDelta {
    /// The part.
    pub part: u32,
    /// What is stated; it replaces what was stated before.
    pub facts: PartFacts,
}

/// A whole item of the provider's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpaqueDelta {
    /// The part.
    pub part: u32,
    /// The provider's word for the item.
    pub kind: String,
    /// The item.
    pub data: RawJson,
}

/// A part is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartEnded {
    /// The part.
    pub part: u32,
}

/// The model stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finish {
    /// Why.
    pub stop_reason: StopReason,
    /// The provider's own word for it.
    pub raw: Option<String>,
}

impl Delta {
    /// Makes more text of a text part.
    #[must_use]
    pub fn text(part: u32, text: impl Into<String>) -> Self {
        Self::Text(TextDelta {
            part,
            text: text.into(),
        })
    }

    /// Makes more reasoning of a thinking part.
    #[must_use]
    pub fn thinking(part: u32, text: impl Into<String>) -> Self {
        Self::Thinking(TextDelta {
            part,
            text: text.into(),
        })
    }

    /// Makes the beginning of a tool call.
    #[must_use]
    pub fn tool_call(part: u32, id: impl Into<String>, name: impl Into<String>) -> Self {
        Self::ToolCall(ToolCallDelta {
            part,
            id: id.into(),
            name: name.into(),
        })
    }

    /// Makes more of the text of a call's arguments.
    #[must_use]
    pub fn arguments(part: u32, text: impl Into<String>) -> Self {
        Self::Arguments(TextDelta {
            part,
            text: text.into(),
        })
    }

    /// Makes the end of a part.
    #[must_use]
    pub fn part_ended(part: u32) -> Self {
        Self::PartEnded(PartEnded { part })
    }

    /// Makes the finish, without the provider's own word.
    #[must_use]
    pub fn finish(stop_reason: StopReason) -> Self {
        Self::Finish(Finish {
            stop_reason,
            raw: None,
        })
    }

    /// Says whether it shows output of the model: from then on an attempt is not silent any more.
    #[must_use]
    pub fn is_output(&self) -> bool {
        match self {
            Self::Text(_)
            | Self::Thinking(_)
            | Self::ToolCall(_)
            | Self::Arguments(_)
            | Self::Opaque(_) => true,
            Self::Started(_)
            | Self::PartFacts(_)
            | Self::PartEnded(_)
            | Self::Usage(_)
            | Self::Finish(_) => false,
        }
    }
}
