//! The JSON of the Converse protocol as it comes in, borrowed from its text.

use phi_types::Usage;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::lenient::{Count, List, Object, Str};

/// `contentBlockStart`, `contentBlockDelta` and `contentBlockStop`: each fills some of the fields.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BlockEvent<'a> {
    #[serde(default)]
    pub(super) content_block_index: Count,
    #[serde(borrow, default)]
    pub(super) start: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) delta: Option<&'a RawValue>,
}

/// `start` of a content block: the kinds that are known.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Start<'a> {
    #[serde(borrow)]
    pub(super) tool_use: Object<ToolUse<'a>>,
}

/// `delta` of a content block: the kinds that are known.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Delta<'a> {
    #[serde(borrow)]
    pub(super) text: Str<'a>,
    #[serde(borrow)]
    pub(super) tool_use: Object<ToolUse<'a>>,
    #[serde(borrow)]
    pub(super) reasoning_content: Object<ReasoningDelta<'a>>,
    #[serde(borrow)]
    pub(super) citation: Option<&'a RawValue>,
}

/// `toolUse`: whole, its beginning, or more of its `input`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ToolUse<'a> {
    #[serde(borrow)]
    pub(super) tool_use_id: Str<'a>,
    #[serde(borrow)]
    pub(super) name: Str<'a>,
    #[serde(borrow)]
    pub(super) input: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    pub(super) kind: Str<'a>,
}

impl ToolUse<'_> {
    /// Says whether the service runs the tool itself: `server_tool_use`.
    pub(super) fn is_foreign(&self) -> bool {
        !matches!(self.kind.as_str(), "" | "tool_use")
    }
}

/// `reasoningContent` of a delta: one of its fields.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ReasoningDelta<'a> {
    #[serde(borrow)]
    pub(super) text: Str<'a>,
    #[serde(borrow)]
    pub(super) signature: Str<'a>,
    #[serde(borrow)]
    pub(super) redacted_content: Str<'a>,
}

/// A whole answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer<'a> {
    #[serde(borrow, default)]
    pub(super) output: Object<Output<'a>>,
    #[serde(borrow, default)]
    pub(super) stop_reason: Str<'a>,
    #[serde(default)]
    pub(super) usage: Object<TokenCounts>,
    /// The words of AWS for an error, which an answer does not have.
    #[serde(borrow, default, alias = "Message")]
    pub(super) message: Str<'a>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Output<'a> {
    #[serde(borrow, default)]
    pub(super) message: Object<Message<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Message<'a> {
    #[serde(borrow, default)]
    pub(super) content: Option<Vec<&'a RawValue>>,
}

/// A content block of a whole answer: the kinds that are known.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Block<'a> {
    #[serde(borrow)]
    pub(super) text: Str<'a>,
    #[serde(borrow)]
    pub(super) tool_use: Object<ToolUse<'a>>,
    #[serde(borrow)]
    pub(super) reasoning_content: Object<Reasoning<'a>>,
    #[serde(borrow)]
    pub(super) citations_content: Object<CitationsContent<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reasoning<'a> {
    #[serde(borrow, default)]
    pub(super) reasoning_text: Object<ReasoningText<'a>>,
    #[serde(borrow, default)]
    pub(super) redacted_content: Str<'a>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ReasoningText<'a> {
    #[serde(borrow, default)]
    pub(super) text: Str<'a>,
    #[serde(borrow, default)]
    pub(super) signature: Str<'a>,
}

#[derive(Debug, Deserialize)]
pub(super) struct CitationsContent<'a> {
    #[serde(borrow, default)]
    pub(super) content: List<CitedText<'a>>,
    #[serde(borrow, default)]
    pub(super) citations: Option<Vec<&'a RawValue>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct CitedText<'a> {
    #[serde(borrow, default)]
    pub(super) text: Str<'a>,
}

/// `messageStop`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MessageStop<'a> {
    #[serde(borrow, default)]
    pub(super) stop_reason: Str<'a>,
}

/// `metadata`.
#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    #[serde(default)]
    pub(super) usage: Object<TokenCounts>,
}

/// What is reported of tokens; some regions spell the counts of the cache in the second way.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct TokenCounts {
    input_tokens: Count,
    output_tokens: Count,
    cache_read_input_tokens: Count,
    cache_read_input_token_count: Count,
    cache_write_input_tokens: Count,
    cache_write_input_token_count: Count,
}

impl TokenCounts {
    /// Returns the numbers that were reported; `inputTokens` excludes the cache already.
    pub(super) fn usage(self) -> Usage {
        let either = |first: Count, second: Count| first.0.or(second.0);
        Usage {
            input_tokens: self.input_tokens.0,
            cache_read_tokens: either(
                self.cache_read_input_tokens,
                self.cache_read_input_token_count,
            ),
            cache_write_tokens: either(
                self.cache_write_input_tokens,
                self.cache_write_input_token_count,
            ),
            output_tokens: self.output_tokens.0,
            reasoning_tokens: None,
        }
    }
}
