//! The shape of a chunk of a stream, and of a whole answer, which is the same.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::lenient::{Count, Few, Object, Str};

/// One chunk of a stream, or a whole body: `GenerateContentResponse`.
///
/// Fields may be spelled in snake case, as every JSON of a protocol buffer.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Chunk<'a> {
    #[serde(borrow)]
    pub(super) candidates: Few<Candidate<'a>>,
    #[serde(borrow, alias = "prompt_feedback")]
    pub(super) prompt_feedback: Object<Feedback<'a>>,
    #[serde(alias = "usage_metadata")]
    pub(super) usage_metadata: Object<UsageMetadata>,
    #[serde(borrow, alias = "model_version")]
    pub(super) model_version: Str<'a>,
    #[serde(borrow, alias = "response_id")]
    pub(super) response_id: Str<'a>,
    #[serde(borrow)]
    pub(super) error: Option<&'a RawValue>,
}

/// What became of the prompt.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Feedback<'a> {
    #[serde(borrow, alias = "block_reason")]
    pub(super) block_reason: Str<'a>,
    #[serde(borrow, alias = "block_reason_message")]
    pub(super) block_reason_message: Str<'a>,
}

/// The tokens so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct UsageMetadata {
    #[serde(alias = "prompt_token_count")]
    pub(super) prompt_token_count: Count,
    #[serde(alias = "candidates_token_count")]
    pub(super) candidates_token_count: Count,
    #[serde(alias = "thoughts_token_count")]
    pub(super) thoughts_token_count: Count,
    #[serde(alias = "cached_content_token_count")]
    pub(super) cached_content_token_count: Count,
    #[serde(alias = "tool_use_prompt_token_count")]
    pub(super) tool_use_prompt_token_count: Count,
}

/// One of the answers.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Candidate<'a> {
    pub(super) index: Count,
    #[serde(borrow)]
    pub(super) content: Object<Content<'a>>,
    #[serde(borrow, alias = "finish_reason")]
    pub(super) finish_reason: Str<'a>,
    #[serde(borrow, alias = "finish_message")]
    pub(super) finish_message: Str<'a>,
    #[serde(borrow, alias = "citation_metadata")]
    pub(super) citation_metadata: Option<&'a RawValue>,
    #[serde(borrow, alias = "grounding_metadata")]
    pub(super) grounding_metadata: Option<&'a RawValue>,
    #[serde(borrow, alias = "url_context_metadata")]
    pub(super) url_context_metadata: Option<&'a RawValue>,
}

/// The parts of an answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Content<'a> {
    #[serde(borrow)]
    pub(super) parts: Few<Part<'a>>,
}

/// One part. Its kind is the name of the field that it has.
#[derive(Debug, Default)]
pub(super) struct Part<'a> {
    pub(super) text: Option<Str<'a>>,
    /// The text is a summary of thoughts.
    pub(super) is_thought: bool,
    pub(super) signature: Str<'a>,
    pub(super) call: Option<FunctionCall<'a>>,
    /// Every other field, in order.
    pub(super) others: Vec<(Cow<'a, str>, &'a RawValue)>,
}

/// A call, or a piece of one.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct FunctionCall<'a> {
    #[serde(borrow)]
    pub(super) id: Str<'a>,
    #[serde(borrow)]
    pub(super) name: Str<'a>,
    #[serde(borrow)]
    pub(super) args: Option<&'a RawValue>,
    #[serde(borrow, alias = "partial_args")]
    pub(super) partial_args: Few<PartialArg<'a>>,
    #[serde(alias = "will_continue")]
    pub(super) will_continue: Flag,
}

/// A piece of one argument.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PartialArg<'a> {
    #[serde(borrow, alias = "json_path")]
    pub(super) json_path: Str<'a>,
    #[serde(borrow, alias = "string_value")]
    pub(super) string_value: Option<Str<'a>>,
    #[serde(borrow, alias = "number_value")]
    pub(super) number_value: Option<&'a RawValue>,
    #[serde(borrow, alias = "bool_value")]
    pub(super) bool_value: Option<&'a RawValue>,
    #[serde(alias = "will_continue")]
    pub(super) will_continue: Flag,
}

/// `true`, or anything else.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Flag(pub(super) bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        Ok(Self(raw.get() == "true"))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Part<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts;
        impl<'de> Visitor<'de> for Parts {
            type Value = Part<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a part")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Part<'de>, A::Error> {
                let mut part = Part::default();
                while let Some(name) = map.next_key::<Str<'de>>()? {
                    match name.as_str() {
                        "text" => part.text = Some(map.next_value()?),
                        "thought" => part.is_thought = map.next_value::<Flag>()?.0,
                        "thoughtSignature" | "thought_signature" => {
                            part.signature = map.next_value()?;
                        }
                        "functionCall" | "function_call" => {
                            part.call = map.next_value::<Object<FunctionCall<'de>>>()?.0;
                        }
                        _ => {
                            let value: &'de RawValue = map.next_value()?;
                            if value.get() != "null" {
                                part.others.push((name.into_cow(), value));
                            }
                        }
                    }
                }
                Ok(part)
            }
        }
        deserializer.deserialize_map(Parts)
    }
}
