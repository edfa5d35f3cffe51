//! What a part of this protocol carries besides its text, in the words of the protocol.

use phi_types::{Facts, PartFacts, RawJson};
use serde::{Deserialize, Serialize};

/// What the service sent beside a part and wants back with it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Extra {
    /// Where the reasoning stood.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) field: Option<ReasoningField>,
    /// OpenRouter's form of the reasoning, which goes back verbatim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reasoning_details: Option<RawJson>,
    /// What stood beside a call: Gemini's signature behind this protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) extra_content: Option<RawJson>,
}

/// Where a service puts its reasoning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ReasoningField {
    /// DeepSeek, llama.cpp.
    ReasoningContent,
    /// Groq, Ollama and other hosts.
    Reasoning,
    /// Mistral: typed blocks of `content`.
    Content,
    /// Servers that leave `<think>` tags in the text. No service wants it back.
    Tags,
}

impl Extra {
    /// Reads what a part carries; what this protocol did not write reads as nothing.
    pub(super) fn of(facts: &PartFacts) -> Self {
        let extra = facts.extra.as_ref();
        extra
            .and_then(|extra| extra.read().ok())
            .unwrap_or_default()
    }

    /// Makes the facts of a part.
    pub(super) fn facts(&self) -> PartFacts {
        PartFacts::from(Facts {
            extra: RawJson::from_value(self).ok(),
            ..Facts::default()
        })
    }
}
