//! The shape of an event of a stream, and of a whole answer.

use std::borrow::Cow;

use phi_types::Usage;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::lenient::{Count, Few, Object, Str};

/// One event of a stream.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Event<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Str<'a>,
    /// The id of the answer, in `message-start` alone.
    #[serde(borrow)]
    pub(super) id: Str<'a>,
    pub(super) index: Count,
    #[serde(borrow)]
    pub(super) delta: Object<Delta<'a>>,
    /// Text where the service reports an error instead.
    #[serde(borrow)]
    pub(super) message: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) error: Option<&'a RawValue>,
}

/// What an event adds.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Delta<'a> {
    #[serde(borrow)]
    pub(super) message: Object<Message<'a>>,
    #[serde(borrow)]
    pub(super) finish_reason: Str<'a>,
    pub(super) usage: Object<ReportedUsage>,
    #[serde(borrow)]
    pub(super) error: Str<'a>,
}

/// A whole answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Whole<'a> {
    #[serde(borrow)]
    pub(super) id: Str<'a>,
    #[serde(borrow)]
    pub(super) message: Object<Message<'a>>,
    #[serde(borrow)]
    pub(super) finish_reason: Str<'a>,
    pub(super) usage: Object<ReportedUsage>,
}

/// The message, or the piece of it that an event holds: there, a list is one item without brackets.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Message<'a> {
    #[serde(borrow)]
    pub(super) tool_plan: Str<'a>,
    #[serde(borrow)]
    pub(super) content: Few<Block<'a>>,
    #[serde(borrow)]
    pub(super) tool_calls: Few<Call<'a>>,
    #[serde(borrow)]
    pub(super) citations: Option<&'a RawValue>,
}

/// A block of the content, or a piece of one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Block<'a> {
    #[serde(borrow)]
    pub(super) text: Str<'a>,
    #[serde(borrow)]
    pub(super) thinking: Str<'a>,
}

/// A call, or a piece of one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Call<'a> {
    #[serde(borrow)]
    pub(super) id: Str<'a>,
    #[serde(borrow)]
    pub(super) function: Object<Function<'a>>,
}

/// The function of a call, or a piece of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Function<'a> {
    #[serde(borrow)]
    pub(super) name: Str<'a>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

impl<'a> Function<'a> {
    /// Returns the text of the arguments; an object is taken as its text.
    pub(super) fn arguments(&self) -> Cow<'a, str> {
        let Some(raw) = self.arguments else {
            return Cow::Borrowed("");
        };
        if !raw.get().starts_with('"') {
            return Cow::Borrowed(raw.get());
        }
        serde_json::from_str::<Str<'a>>(raw.get()).map_or(Cow::Borrowed(raw.get()), Str::into_cow)
    }
}

/// What a citation says about its place.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CitationPlace<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Str<'a>,
    pub(super) content_index: Count,
}

/// `usage`. Beside these counts stand those of the bill, which leave out what the service adds.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ReportedUsage {
    tokens: Object<Tokens>,
    cached_tokens: Count,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Tokens {
    input_tokens: Count,
    output_tokens: Count,
    reasoning_tokens: Count,
    /// They stand beside the other tokens of the input: there may be more of them.
    image_tokens: Count,
}

impl ReportedUsage {
    /// Returns the counts in phi's terms: input without cache, output with reasoning.
    pub(super) fn usage(&self) -> Usage {
        let Some(tokens) = &self.tokens.0 else {
            return Usage {
                cache_read_tokens: self.cached_tokens.0,
                ..Usage::default()
            };
        };
        let images = tokens.image_tokens.0.unwrap_or(0);
        let input = tokens.input_tokens.0.map(|it| it.saturating_add(images));
        let cached = self.cached_tokens.0;
        Usage {
            input_tokens: input.map(|it| it.checked_sub(cached.unwrap_or(0)).unwrap_or(it)),
            cache_read_tokens: cached,
            cache_write_tokens: None,
            output_tokens: tokens.output_tokens.0,
            reasoning_tokens: tokens.reasoning_tokens.0,
        }
    }
}
