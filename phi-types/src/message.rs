//! Messages and their parts: what a user says, what a model answers, what applications add.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::json::{RawJson, deserialize_tagged};
use crate::part_facts::PartFacts;
use crate::tool::ToolCall;
use crate::usage::Usage;

/// A message as a log records it. A tool result never is one: see [`crate::ToolEnded`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub enum Message {
    /// What the user, or somebody on the user's behalf, says.
    User(Arc<UserMessage>),
    /// What the model answers.
    Assistant(Arc<AssistantMessage>),
    /// What an application keeps in the conversation and no model reads.
    Extension(Arc<ExtensionMessage>),
}

deserialize_tagged!(Message, "role" {
    "user" => User,
    "assistant" => Assistant,
    "extension" => Extension,
});

/// What the user says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UserMessage {
    /// Text and images in order.
    pub content: Vec<Content>,
}

impl UserMessage {
    /// Makes a message of one text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            content: vec![Content::Text { text: text.into() }],
        }
    }
}

impl From<&str> for UserMessage {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for UserMessage {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

/// What an application keeps in the conversation and no model reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExtensionMessage {
    /// Who defines the message, as a crate or product name.
    pub namespace: String,
    /// What it is, inside the namespace.
    pub name: String,
    /// The content, which only its owner understands.
    pub data: RawJson,
}

/// One piece of what a user says or a tool returns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Content {
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// An image.
    Image {
        /// The media type, as `image/png`.
        media_type: String,
        /// Where the bytes are.
        source: ImageSource,
    },
}

impl Content {
    /// Makes a text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into() }
    }
}

/// Where the bytes of an image are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageSource {
    /// The bytes themselves, in standard base64 with padding.
    Base64(String),
    /// An address that the provider can fetch.
    Url(String),
}

/// What the model answers in one turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AssistantMessage {
    /// The parts in the order in which the model produced them.
    pub parts: Vec<AssistantPart>,
    /// Why the model stopped.
    pub stop_reason: StopReason,
    /// The provider's own word for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_reason_raw: Option<String>,
    /// What the provider reported for this attempt.
    pub usage: Usage,
    /// Who wrote it.
    pub origin: Origin,
}

impl AssistantMessage {
    /// Joins the text parts without a separator.
    #[must_use]
    pub fn text(&self) -> String {
        let texts = self.parts.iter().filter_map(|part| match part {
            AssistantPart::Text(part) => Some(part.text.as_str()),
            AssistantPart::Thinking(_) | AssistantPart::ToolCall(_) | AssistantPart::Opaque(_) => {
                None
            }
        });
        texts.collect()
    }

    /// Iterates over the tool calls in order.
    pub fn tool_calls(&self) -> impl Iterator<Item = &Arc<ToolCall>> {
        self.parts.iter().filter_map(|part| match part {
            AssistantPart::ToolCall(call) => Some(call),
            AssistantPart::Text(_) | AssistantPart::Thinking(_) | AssistantPart::Opaque(_) => None,
        })
    }
}

/// Who wrote an assistant message: thinking, signatures and opaque parts are valid only there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// The wire protocol, as `anthropic-messages`.
    pub protocol: Arc<str>,
    /// The service, as `anthropic` or `openrouter`.
    pub provider: Arc<str>,
    /// The model that was asked for.
    pub model: Arc<str>,
    /// The provider's id of the response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_id: Option<String>,
    /// The model that answered, where the provider names it and it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_model: Option<String>,
}

/// One part of an assistant message.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AssistantPart {
    /// Text for the user.
    Text(TextPart),
    /// Reasoning, with what the provider needs to accept it again.
    Thinking(ThinkingPart),
    /// A tool call that the loop answers.
    ToolCall(Arc<ToolCall>),
    /// A provider's own item, sent back to the same provider unchanged.
    Opaque(OpaquePart),
}

deserialize_tagged!(AssistantPart, "type" {
    "text" => Text,
    "thinking" => Thinking,
    "tool_call" => ToolCall,
    "opaque" => Opaque,
});

/// Text for the user.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TextPart {
    /// The text.
    pub text: String,
    /// What the provider wants back with it.
    #[serde(default, skip_serializing_if = "PartFacts::is_empty")]
    pub facts: PartFacts,
}

impl TextPart {
    /// Makes a part of text alone.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            facts: PartFacts::default(),
        }
    }
}

/// Reasoning that the provider disclosed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ThinkingPart {
    /// The reasoning or its summary; empty where the provider keeps it to itself.
    pub text: String,
    /// The signature or the encrypted form without which it is not accepted again.
    #[serde(default, skip_serializing_if = "PartFacts::is_empty")]
    pub facts: PartFacts,
}

/// A provider's own item: redacted thinking, a call that the provider ran itself, and the like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpaquePart {
    /// The provider's word for the item, as `redacted_thinking` or `server_tool_use`.
    pub kind: String,
    /// The whole item as the provider wants it back.
    pub data: RawJson,
}

/// Why a model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The answer is complete.
    EndTurn,
    /// The model waits for tool results.
    ToolUse,
    /// The output limit was reached.
    MaxTokens,
    /// A stop sequence of the request appeared.
    StopSequence,
    /// The provider paused a long turn; sending the message back continues it.
    PauseTurn,
    /// The model refused.
    Refusal,
    /// A filter of the provider stopped the output.
    ContentFilter,
    /// The context window was full.
    ContextWindow,
    /// The loop was cancelled while the model answered.
    Cancelled,
    /// A word that is not known here; never taken for success.
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_with_raw_json_inside_reads_back() {
        let message = Message::Assistant(Arc::new(AssistantMessage {
            parts: vec![
                AssistantPart::Text(TextPart::new("hi")),
                AssistantPart::Opaque(OpaquePart {
                    kind: "redacted_thinking".into(),
                    data: RawJson::parse(r#"{"z":1,"a":1e3}"#).unwrap(),
                }),
            ],
            stop_reason: StopReason::EndTurn,
            stop_reason_raw: None,
            usage: Usage::default(),
            origin: Origin::default(),
        }));
        let text = serde_json::to_string(&message).unwrap();
        assert!(text.starts_with(r#"{"role":"assistant","parts":[{"type":"text","text":"hi"}"#));
        assert_eq!(serde_json::from_str::<Message>(&text).unwrap(), message);
    }

    #[test]
    fn a_part_whose_type_comes_later_reads_alike() {
        let first = r#"{"type":"opaque","kind":"k\"","data":{"z": 1.0}}"#;
        let part: AssistantPart = serde_json::from_str(first).unwrap();
        for later in [
            r#"{"kind":"k\"","type":"opaque","data":{"z": 1.0}}"#,
            r#"{"data":{"z": 1.0},"kind":"k\"","typ\u0065":"opaqu\u0065"}"#,
        ] {
            assert_eq!(serde_json::from_str::<AssistantPart>(later).unwrap(), part);
        }
        for (wrong, named) in [
            (r#"{"kind":"k","data":1}"#, "missing field `type`"),
            (r#"{"kind":"k","type":"song"}"#, "song"),
            (
                r#"{"kind":"k","type":"opaque"}"#,
                "opaque: missing field `data`",
            ),
            (
                r#"{"type":"opaque","kind":"k"}"#,
                "opaque: missing field `data`",
            ),
            (r#"{"type":7}"#, "a word"),
            ("[]", "an object with the key `type`"),
        ] {
            let error = serde_json::from_str::<AssistantPart>(wrong).unwrap_err();
            assert!(error.to_string().contains(named), "{wrong}: {error}");
        }
    }

    #[test]
    fn an_unknown_part_is_an_error_that_names_it() {
        let error = serde_json::from_str::<AssistantPart>(r#"{"type":"song"}"#).unwrap_err();
        assert!(error.to_string().contains("song"), "{error}");
    }
}
