//! The shape of a chunk, and of a whole answer, which differ in one word only.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::lenient::{Count, Few, List, Object, Str};
use crate::surrogates::unescaped;

/// One event of a stream, or a whole body.
///
/// What few chunks have stands in boxes: the others are moved around for less.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Chunk<'a> {
    // Wide: a chunk of the service, with every field that some service sends.
    #[serde(borrow)]
    pub(super) id: Str<'a>,
    #[serde(borrow)]
    pub(super) model: Str<'a>,
    #[serde(borrow)]
    pub(super) object: Str<'a>,
    #[serde(borrow, rename = "type")]
    pub(super) kind: Str<'a>,
    #[serde(borrow)]
    pub(super) choices: Few<Choice<'a>>,
    pub(super) usage: Object<Box<ReportedUsage>>,
    #[serde(borrow)]
    pub(super) x_groq: Object<Box<GroqExtra<'a>>>,
    #[serde(borrow)]
    pub(super) error: Option<&'a RawValue>,
    /// Present only where a service spells an error without the key `error`.
    pub(super) message: Option<IgnoredAny>,
    /// The same, in the words of another framework.
    pub(super) detail: Option<IgnoredAny>,
}

impl Chunk<'_> {
    /// Says whether it reports an error, in any of the spellings seen.
    pub(super) fn is_error(&self) -> bool {
        self.error.is_some_and(is_stated)
            || self.object.as_str() == "error"
            || self.kind.as_str() == "error"
            || (self.choices.is_empty()
                && self.usage.0.is_none()
                && (self.message.is_some() || self.detail.is_some()))
    }
}

/// Says whether an `error` field holds an error: some services send it empty beside an answer.
pub(super) fn is_stated(error: &RawValue) -> bool {
    !matches!(error.get(), "null" | "false" | "\"\"" | "{}" | "[]")
}

/// Where Groq puts usage and errors of a stream.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct GroqExtra<'a> {
    #[serde(borrow)]
    pub(super) error: Str<'a>,
    pub(super) usage: Object<Box<ReportedUsage>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Choice<'a> {
    pub(super) index: Count,
    #[serde(borrow)]
    pub(super) delta: Object<Piece<'a>>,
    #[serde(borrow)]
    pub(super) message: Object<Box<Piece<'a>>>,
    #[serde(borrow)]
    pub(super) finish_reason: Str<'a>,
    pub(super) usage: Object<Box<ReportedUsage>>,
    #[serde(borrow)]
    pub(super) error: Option<&'a RawValue>,
}

/// What a choice adds: `delta` of a stream, `message` of a whole answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Piece<'a> {
    #[serde(borrow)]
    pub(super) content: Content<'a, Block<'a>>,
    #[serde(borrow)]
    pub(super) reasoning_content: Str<'a>,
    #[serde(borrow)]
    pub(super) reasoning: Str<'a>,
    #[serde(borrow)]
    pub(super) reasoning_details: List<Detail<'a>>,
    #[serde(borrow)]
    pub(super) refusal: Str<'a>,
    #[serde(borrow)]
    pub(super) tool_calls: List<CallEntry<'a>>,
    #[serde(borrow)]
    pub(super) function_call: Object<Box<FunctionPiece<'a>>>,
}

/// `content`: a text, or typed blocks.
#[derive(Debug, Default)]
pub(super) enum Content<'a, B> {
    #[default]
    None,
    Text(Cow<'a, str>),
    Blocks(Vec<B>),
}

impl<'de: 'a, 'a, B: Deserialize<'de>> Deserialize<'de> for Content<'a, B> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = <&RawValue>::deserialize(deserializer)?.get();
        match json.as_bytes().first() {
            Some(b'"') => Ok(Self::Text(unescaped(json))),
            Some(b'[' | b'{') => serde_json::from_str::<List<B>>(json)
                .map(|list| Self::Blocks(list.0))
                .map_err(D::Error::custom),
            Some(b'n') => Ok(Self::None),
            _ => Err(D::Error::custom(
                "the content is no text and no list of blocks",
            )),
        }
    }
}

/// One typed block of `content`, as Mistral sends them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Block<'a> {
    #[serde(borrow)]
    pub(super) text: Str<'a>,
    #[serde(borrow)]
    pub(super) refusal: Str<'a>,
    #[serde(borrow)]
    pub(super) thinking: Content<'a, ThinkingBlock<'a>>,
}

/// One block inside a thinking block.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ThinkingBlock<'a> {
    #[serde(borrow)]
    pub(super) text: Str<'a>,
}

/// One entry of `tool_calls`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CallEntry<'a> {
    pub(super) index: Count,
    #[serde(borrow)]
    pub(super) id: Str<'a>,
    #[serde(borrow)]
    pub(super) function: Object<FunctionPiece<'a>>,
    #[serde(borrow)]
    pub(super) custom: Object<Box<CustomPiece<'a>>>,
    #[serde(borrow)]
    pub(super) extra_content: Option<&'a RawValue>,
}

/// The function of a call: in `tool_calls`, or alone as the legacy `function_call`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FunctionPiece<'a> {
    #[serde(borrow)]
    pub(super) name: Str<'a>,
    #[serde(borrow)]
    pub(super) arguments: Option<&'a RawValue>,
}

impl<'a> FunctionPiece<'a> {
    /// Returns the text of the arguments. Some services send the object itself instead.
    pub(super) fn arguments(&self) -> Result<Cow<'a, str>, serde_json::Error> {
        let Some(raw) = self.arguments else {
            return Ok(Cow::Borrowed(""));
        };
        if raw.get().starts_with('"') {
            return serde_json::from_str::<Str<'a>>(raw.get()).map(Str::into_cow);
        }
        Ok(Cow::Borrowed(raw.get()))
    }
}

/// A call of a tool that takes text instead of JSON.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CustomPiece<'a> {
    #[serde(borrow)]
    pub(super) name: Str<'a>,
    #[serde(borrow)]
    pub(super) input: Str<'a>,
}

/// One entry of `reasoning_details`, with the fields that pieces of it are merged by.
#[derive(Debug, Default)]
pub(super) struct Detail<'a> {
    pub(super) kind: Str<'a>,
    pub(super) index: Option<u64>,
    pub(super) fields: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Detail<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Details;
        impl<'de> Visitor<'de> for Details {
            type Value = Detail<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                use serde::de::Error as _;
                let mut detail = Detail::default();
                while let Some(name) = map.next_key::<Str<'de>>()? {
                    let value: &'de RawValue = map.next_value()?;
                    match name.as_str() {
                        "type" => {
                            detail.kind =
                                serde_json::from_str(value.get()).map_err(A::Error::custom)?;
                        }
                        "index" => {
                            let count: Count =
                                serde_json::from_str(value.get()).map_err(A::Error::custom)?;
                            detail.index = count.0;
                        }
                        _ => {}
                    }
                    detail.fields.push((name.into_cow(), value));
                }
                Ok(detail)
            }
        }
        deserializer.deserialize_map(Details)
    }
}

/// `usage` in all its spellings.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct ReportedUsage {
    // Wide: a report of the service, with every field that some service sends.
    pub(super) prompt_tokens: Count,
    pub(super) completion_tokens: Count,
    pub(super) total_tokens: Count,
    pub(super) prompt_tokens_details: Option<PromptDetails>,
    pub(super) completion_tokens_details: Option<CompletionDetails>,
    /// DeepSeek.
    pub(super) prompt_cache_hit_tokens: Count,
    /// Moonshot, some hosts at Hugging Face.
    pub(super) cached_tokens: Count,
    /// Mistral.
    pub(super) num_cached_tokens: Count,
    /// Gateways to Anthropic.
    pub(super) cache_read_input_tokens: Count,
    /// Gateways to Anthropic.
    pub(super) cache_creation_input_tokens: Count,
    /// GitHub Copilot, Perplexity.
    pub(super) reasoning_tokens: Count,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct PromptDetails {
    pub(super) cached_tokens: Count,
    /// OpenRouter, Doubleword.
    pub(super) cache_write_tokens: Count,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct CompletionDetails {
    pub(super) reasoning_tokens: Count,
}
