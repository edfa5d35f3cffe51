//! What a finish reason means.

use phi_types::StopReason;
use serde_json::{Value, json};

/// What the word of the service says, before what it sent besides is looked at.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Word {
    /// Nothing: the default of the enumeration.
    Unstated,
    /// The answer is complete: whether it calls tools is what it holds, not what the word says.
    Complete,
    /// The answer stopped for this reason.
    Stopped(StopReason),
    /// The model wrote something that the service could not read: asked again, it mostly does not.
    /// The error that the service would have reported.
    Failed(Value),
}

impl Word {
    /// Reads a word of `FinishReason`, or its number where the enumeration is written so.
    ///
    /// Of the numbers only those are known that mean the same at both services.
    pub(super) fn read(word: &str, message: &str) -> Self {
        match word {
            "" | "0" | "FINISH_REASON_UNSPECIFIED" => Self::Unstated,
            "STOP" | "1" => Self::Complete,
            "MAX_TOKENS" | "2" => Self::Stopped(StopReason::MaxTokens),
            "SAFETY"
            | "3"
            | "RECITATION"
            | "4"
            | "LANGUAGE"
            | "BLOCKLIST"
            | "PROHIBITED_CONTENT"
            | "SPII"
            | "MODEL_ARMOR"
            | "IMAGE_SAFETY"
            | "IMAGE_PROHIBITED_CONTENT"
            | "IMAGE_RECITATION" => Self::Stopped(StopReason::ContentFilter),
            "MALFORMED_FUNCTION_CALL" | "MALFORMED_RESPONSE" => Self::failed(word, message),
            // Among them `UNEXPECTED_TOOL_CALL`, whose call is answered like every other, and
            // `OTHER`, `NO_IMAGE`, `IMAGE_OTHER`, `TOO_MANY_TOOL_CALLS`.
            _ => Self::Stopped(StopReason::Other),
        }
    }

    fn failed(word: &str, message: &str) -> Self {
        let mut text = format!("the service ended the answer with the finish reason `{word}`");
        if !message.is_empty() {
            text.push_str(": ");
            text.push_str(message);
        }
        Self::Failed(json!({"error": {"type": "server_error", "message": text}}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_word_is_never_complete() {
        for word in ["stop", "5", "FAKE_ENUM", "OTHER", "UNEXPECTED_TOOL_CALL"] {
            let expected = Word::Stopped(StopReason::Other);
            assert_eq!(Word::read(word, ""), expected, "{word}");
        }
    }
}
