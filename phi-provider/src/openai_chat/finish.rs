//! What a finish reason means.

use phi_types::StopReason;
use serde_json::{Value, json};

/// What the word of a service says, before what it sent besides is looked at.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Word {
    /// The answer is complete: whether it calls tools is what it holds, not what the word says.
    Complete,
    /// The answer stopped for this reason.
    Stopped(StopReason),
    /// The service failed: the error that it would have reported.
    Failed(Value),
}

impl Word {
    /// Reads a word, in any case.
    pub(super) fn read(word: &str) -> Self {
        let lower = word.to_ascii_lowercase();
        match lower.as_str() {
            // `end`: LM Studio and Ollama behind proxies. `eos`: Together. `stop` stands for a stop
            // sequence too: the protocol does not tell them apart.
            "stop" | "end" | "eos" | "end_turn" | "tool_calls" | "tool_call" | "tool_use"
            | "function_call" => Self::Complete,
            "stop_sequence" => Self::Stopped(StopReason::StopSequence),
            "length" | "max_tokens" | "max_output_tokens" => Self::Stopped(StopReason::MaxTokens),
            // `model_length`: Mistral. The other: z.ai.
            "model_length" | "model_context_window_exceeded" => {
                Self::Stopped(StopReason::ContextWindow)
            }
            "content_filter" | "content-filter" | "safety" | "sensitive" => {
                Self::Stopped(StopReason::ContentFilter)
            }
            "refusal" => Self::Stopped(StopReason::Refusal),
            "error" | "network_error" | "server_error" => Self::failed(word, "server_error"),
            // DeepSeek.
            "insufficient_system_resource" => Self::failed(word, "overloaded_error"),
            _ => Self::Stopped(StopReason::Other),
        }
    }

    fn failed(word: &str, kind: &str) -> Self {
        let message = format!("the service ended the answer with the finish reason `{word}`");
        Self::Failed(json!({"error": {"type": kind, "message": message}}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_word_is_never_complete() {
        for word in ["", "STOPPED", "malformed_function_call", "load", "x"] {
            assert_eq!(Word::read(word), Word::Stopped(StopReason::Other), "{word}");
        }
        assert_eq!(Word::read("STOP"), Word::Complete);
    }
}
