//! The JSON of the Anthropic Messages protocol as it comes in, borrowed from its text.

use std::borrow::Cow;

use phi_types::Usage;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::surrogates::unescaped;

/// Text that is borrowed where it holds no escape.
#[derive(Debug, Default)]
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = <&RawValue>::deserialize(deserializer)?.get();
        if json.starts_with('"') {
            Ok(Self(unescaped(json)))
        } else {
            Err(D::Error::custom("a text is expected"))
        }
    }
}

impl Text<'_> {
    pub(super) fn into_string(self) -> String {
        self.0.into_owned()
    }
}

/// Any event of a stream; each kind fills some of the fields.
#[derive(Debug, Deserialize)]
pub(super) struct Event<'a> {
    #[serde(borrow, rename = "type", default)]
    pub(super) kind: Text<'a>,
    #[serde(default)]
    pub(super) index: Option<u64>,
    #[serde(borrow, default)]
    pub(super) message: Option<Message<'a>>,
    #[serde(borrow, default)]
    pub(super) content_block: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) delta: Option<Delta<'a>>,
    #[serde(default)]
    pub(super) usage: Option<TokenCounts>,
    #[serde(borrow, default)]
    pub(super) error: Option<&'a RawValue>,
}

/// A message: the head of a stream, or a whole answer.
#[derive(Debug, Deserialize)]
pub(super) struct Message<'a> {
    #[serde(borrow, rename = "type", default)]
    pub(super) kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) id: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) model: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) content: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    pub(super) stop_reason: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) container: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) usage: Option<TokenCounts>,
}

impl Message<'_> {
    /// Says whether it calls itself a message.
    pub(super) fn is_message(&self) -> bool {
        self.kind.as_ref().is_some_and(|kind| kind.0 == "message")
    }
}

/// The `delta` of a content block or of the message.
#[derive(Debug, Deserialize)]
pub(super) struct Delta<'a> {
    #[serde(borrow, rename = "type", default)]
    pub(super) kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) text: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) thinking: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) signature: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) partial_json: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) citation: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) stop_reason: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) container: Option<&'a RawValue>,
}

/// The kind of a content block.
#[derive(Debug, Deserialize)]
pub(super) struct BlockKind<'a> {
    #[serde(borrow, rename = "type", default)]
    pub(super) kind: Text<'a>,
}

/// A text block.
#[derive(Debug, Deserialize)]
pub(super) struct TextBlock<'a> {
    #[serde(borrow, default)]
    pub(super) text: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) citations: Option<Vec<&'a RawValue>>,
}

/// A thinking block.
#[derive(Debug, Deserialize)]
pub(super) struct ThinkingBlock<'a> {
    #[serde(borrow, default)]
    pub(super) thinking: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) signature: Option<Text<'a>>,
}

/// A call of a tool that the client runs.
#[derive(Debug, Deserialize)]
pub(super) struct ToolUseBlock<'a> {
    #[serde(borrow, default)]
    pub(super) id: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) name: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) input: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) caller: Option<&'a RawValue>,
}

/// What is reported of tokens. A field that is missing or null was not reported.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(super) struct TokenCounts {
    #[serde(default)]
    input_tokens: Count,
    #[serde(default)]
    output_tokens: Count,
    #[serde(default)]
    cache_creation_input_tokens: Count,
    #[serde(default)]
    cache_read_input_tokens: Count,
    #[serde(default)]
    cache_creation: Option<CacheCreation>,
    #[serde(default)]
    output_tokens_details: Option<OutputDetails>,
}

/// Tokens written to the cache, by how long they live.
#[derive(Debug, Clone, Copy, Deserialize)]
struct CacheCreation {
    #[serde(default)]
    ephemeral_5m_input_tokens: Count,
    #[serde(default)]
    ephemeral_1h_input_tokens: Count,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct OutputDetails {
    #[serde(default)]
    thinking_tokens: Count,
}

/// A number of tokens; anything that is no number, as `null`, was not reported.
#[derive(Debug, Clone, Copy, Default)]
struct Count(Option<u64>);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        let whole = raw.parse::<u64>().ok();
        // Some gateways write whole numbers as `12.0`.
        Ok(Self(whole.or_else(|| raw.strip_suffix(".0")?.parse().ok())))
    }
}

impl TokenCounts {
    /// Returns the numbers that were reported; `input_tokens` excludes the cache already.
    pub(super) fn usage(self) -> Usage {
        let by_life = self.cache_creation.and_then(|cache| {
            let short = cache.ephemeral_5m_input_tokens.0;
            let long = cache.ephemeral_1h_input_tokens.0;
            let sum = short.unwrap_or(0).saturating_add(long.unwrap_or(0));
            (short.is_some() || long.is_some()).then_some(sum)
        });
        Usage {
            input_tokens: self.input_tokens.0,
            cache_read_tokens: self.cache_read_input_tokens.0,
            cache_write_tokens: self.cache_creation_input_tokens.0.or(by_life),
            output_tokens: self.output_tokens.0,
            reasoning_tokens: self
                .output_tokens_details
                .and_then(|details| details.thinking_tokens.0),
        }
    }
}
