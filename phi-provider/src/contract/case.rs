//! A recorded body, and what is expected of it.

use std::borrow::Cow;

use phi_types::{AssistantMessage, AssistantPart, ProviderErrorKind, StopReason, ToolCall, Usage};
use serde::Deserialize;
use serde_json::Value;

use super::rule::Rule;
use crate::wire::ResponseHead;

/// A recorded body with its head, and what it means.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// The name, for failures.
    pub name: String,
    /// What came before the body.
    pub head: ResponseHead,
    /// The body, byte for byte.
    pub body: Vec<u8>,
    /// What it means, as far as it is known.
    pub expected: Option<Expected>,
    excuses: Vec<(Rule, Cow<'static, str>)>,
}

/// What a body means; `None` says nothing about a field.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expected {
    /// All text, in order.
    pub text: Option<String>,
    /// All thinking, in order.
    pub thinking: Option<String>,
    /// The calls, in order.
    pub calls: Option<Vec<ExpectedCall>>,
    /// Why the model stopped.
    pub stop_reason: Option<StopReason>,
    /// The tokens. What it does not state must not be stated.
    pub usage: Option<Usage>,
    /// The kind of the error with which the body ends; `None` for an answer.
    pub error: Option<ProviderErrorKind>,
}

/// A call as it is expected.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedCall {
    /// The id, if it matters.
    #[serde(default)]
    pub id: Option<String>,
    /// The name of the tool.
    pub name: String,
    /// The arguments as JSON; a text where they are no object.
    pub arguments: Value,
}

impl Case {
    /// Makes a case of a body that came with status 200.
    #[must_use]
    pub fn new(name: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.into(),
            head: ResponseHead::new(200),
            body: body.into(),
            expected: None,
            excuses: Vec::new(),
        }
    }

    /// Sets the status and the headers.
    #[must_use]
    pub fn with_head(self, head: ResponseHead) -> Self {
        Self { head, ..self }
    }

    /// Says what the body means.
    #[must_use]
    pub fn with_expected(self, expected: Expected) -> Self {
        let expected = Some(expected);
        Self { expected, ..self }
    }

    /// Leaves a rule out for this case, with the reason. The score card counts it.
    #[must_use]
    pub fn excused_from(mut self, rule: Rule, reason: impl Into<Cow<'static, str>>) -> Self {
        self.excuses.push((rule, reason.into()));
        self
    }

    /// Returns why a rule is left out for this case.
    #[must_use]
    pub fn excuse(&self, rule: Rule) -> Option<&str> {
        let mut excuses = self.excuses.iter();
        let excuse = excuses.find(|(excused, _)| *excused == rule);
        excuse.map(|(_, reason)| reason.as_ref())
    }
}

impl Expected {
    /// Expects an answer of text alone.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            text: Some(text.into()),
            calls: Some(Vec::new()),
            ..Self::default()
        }
    }

    /// Expects an error.
    #[must_use]
    pub fn error(kind: ProviderErrorKind) -> Self {
        Self {
            error: Some(kind),
            ..Self::default()
        }
    }

    /// Expects thinking.
    #[must_use]
    pub fn with_thinking(mut self, thinking: impl Into<String>) -> Self {
        self.thinking = Some(thinking.into());
        self
    }

    /// Expects one more call, with arguments as JSON.
    #[must_use]
    pub fn with_call(mut self, id: &str, name: &str, arguments: Value) -> Self {
        self.calls.get_or_insert_default().push(ExpectedCall {
            id: Some(id.to_owned()),
            name: name.to_owned(),
            arguments,
        });
        self
    }

    /// Expects a stop reason.
    #[must_use]
    pub fn with_stop_reason(mut self, stop_reason: StopReason) -> Self {
        self.stop_reason = Some(stop_reason);
        self
    }

    /// Expects exactly these tokens.
    #[must_use]
    pub fn with_usage(mut self, usage: Usage) -> Self {
        self.usage = Some(usage);
        self
    }

    /// Says how a message differs, if it does.
    pub(super) fn difference(&self, message: &AssistantMessage) -> Option<String> {
        let said = |wanted: &Option<String>, found: String, what: &str| {
            let wanted = wanted.as_ref().filter(|wanted| **wanted != found)?;
            Some(format!(
                "the {what} is {found:?} where {wanted:?} is expected"
            ))
        };
        let usage = self.usage.filter(|usage| *usage != message.usage);
        let stop = self.stop_reason.filter(|stop| *stop != message.stop_reason);
        said(&self.text, message.text(), "text")
            .or_else(|| said(&self.thinking, thinking_of(message), "thinking"))
            .or_else(|| self.calls_differ(message))
            .or_else(|| {
                let found = message.stop_reason;
                stop.map(|it| format!("the stop reason is {found:?} where {it:?} is expected"))
            })
            .or_else(|| {
                let found = message.usage;
                usage.map(|it| format!("the usage is {found:?} where {it:?} is expected"))
            })
    }

    fn calls_differ(&self, message: &AssistantMessage) -> Option<String> {
        let wanted = self.calls.as_ref()?;
        let found: Vec<&ToolCall> = message.tool_calls().map(|call| &**call).collect();
        if wanted.len() != found.len() {
            return Some(format!(
                "there are {} calls where {} are expected: {found:?}",
                found.len(),
                wanted.len()
            ));
        }
        let mut pairs = wanted.iter().zip(found);
        let (wanted, found) = pairs.find(|(wanted, found)| !wanted.is(found))?;
        Some(format!("a call is {found:?} where {wanted:?} is expected"))
    }
}

impl ExpectedCall {
    fn is(&self, call: &ToolCall) -> bool {
        let arguments = call.arguments.object();
        let arguments = arguments.and_then(|object| object.read::<Value>().ok());
        let arguments = arguments.unwrap_or_else(|| Value::from(call.arguments.text()));
        self.id.as_deref().is_none_or(|id| *id == *call.id)
            && self.name == *call.name
            && self.arguments == arguments
    }
}

fn thinking_of(message: &AssistantMessage) -> String {
    let texts = message.parts.iter().filter_map(|part| match part {
        AssistantPart::Thinking(part) => Some(part.text.as_str()),
        AssistantPart::Text(_) | AssistantPart::ToolCall(_) | AssistantPart::Opaque(_) => None,
    });
    texts.collect()
}
