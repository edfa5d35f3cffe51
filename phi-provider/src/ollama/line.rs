//! The shape of a line of a stream, and of a whole answer, which is the same.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::lenient::{Count, List, Object, Str};

/// One line of a stream, or a whole body.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Line<'a> {
    #[serde(borrow)]
    pub(super) model: Str<'a>,
    #[serde(borrow)]
    pub(super) created_at: Str<'a>,
    #[serde(borrow)]
    pub(super) message: Object<Message<'a>>,
    #[serde(borrow)]
    pub(super) done: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) done_reason: Str<'a>,
    pub(super) prompt_eval_count: Count,
    pub(super) eval_count: Count,
    #[serde(borrow)]
    pub(super) error: Option<&'a RawValue>,
}

impl Line<'_> {
    /// Says whether it is the last line.
    pub(super) fn is_done(&self) -> bool {
        match self.done {
            Some(done) => done.get() == "true",
            None => !self.done_reason.is_empty(),
        }
    }
}

/// What a line adds to the answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Message<'a> {
    #[serde(borrow)]
    pub(super) thinking: Str<'a>,
    #[serde(borrow)]
    pub(super) content: Str<'a>,
    #[serde(borrow)]
    pub(super) tool_calls: List<Call<'a>>,
}

/// One call, which always comes whole.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Call<'a> {
    /// Servers before 0.12.10 sent none.
    #[serde(borrow)]
    pub(super) id: Str<'a>,
    #[serde(borrow)]
    pub(super) function: Object<Function<'a>>,
}

/// The function of a call.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Function<'a> {
    #[serde(borrow)]
    pub(super) name: Str<'a>,
    #[serde(borrow)]
    pub(super) arguments: Option<&'a RawValue>,
}

impl<'a> Function<'a> {
    /// Returns the text of the arguments, which are an object; text of one is taken too.
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
