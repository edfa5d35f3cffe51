//! Writes the options of a request.

use phi_types::{Options, Request, SessionId, Thinking, ToolChoice, digest_of};
use serde_json::{Value, json};

use super::quirks::{CacheKey, EncryptedReasoning, OutputLimit, Quirks, Storage, Summaries};
use crate::object::Object;
use crate::request_body::{add, add_some};

/// The longest `prompt_cache_key`.
const CACHE_KEY_CHARS_MAX: usize = 64;

/// Writes what a request asks for besides its tools, its form of the answer and its conversation.
pub(super) fn write(fields: &mut Object<'_>, request: &Request, quirks: Quirks) {
    let options = &*request.options;
    match quirks.storage {
        Storage::Stateless => add(fields, "store", &false),
        Storage::Unsaid => {}
        Storage::Stored => add(fields, "store", &true),
    }
    if quirks.cache_key == CacheKey::Session {
        add(fields, "prompt_cache_key", &cache_key(&request.session));
    }
    if quirks.output_limit == OutputLimit::Said {
        add_some(fields, "max_output_tokens", options.output_tokens_max);
    }
    add_some(fields, "temperature", options.temperature);
    add_some(fields, "top_p", options.top_p);
    let reasons = may_reason(&request.model);
    add_some(fields, "reasoning", reasoning(options, quirks, reasons));
    let asks = match quirks.encrypted_reasoning {
        EncryptedReasoning::ByModel => reasons,
        EncryptedReasoning::Asked => true,
        EncryptedReasoning::NotAsked => false,
    };
    if asks {
        add(fields, "include", &["reasoning.encrypted_content"]);
    }
}

/// Returns the name of a session, or a shorter one that no other session has.
fn cache_key(session: &SessionId) -> String {
    let id = session.as_str();
    if id.chars().count() <= CACHE_KEY_CHARS_MAX {
        return id.to_owned();
    }
    let kept: String = id.chars().take(CACHE_KEY_CHARS_MAX - 17).collect();
    format!("{kept}-{:016x}", digest_of(0, id))
}

/// Says whether a model may reason. Those of OpenAI that do not reject all that has to do with it.
fn may_reason(model: &str) -> bool {
    // Gateways name the service first, as `openai/gpt-4o`; fine-tuned models begin with `ft:`.
    let name = model.rsplit('/').next().unwrap_or(model);
    let name = name.strip_prefix("ft:").unwrap_or(name);
    let name = name.strip_prefix("openai.").unwrap_or(name);
    let chats = name.starts_with("gpt-5") && name.contains("-chat");
    let older = ["gpt-3", "gpt-4", "chatgpt-4", "davinci", "babbage"];
    !chats && !older.iter().any(|older| name.starts_with(older))
}

/// `reasoning`: the protocol has words for its amount, no budget.
fn reasoning(options: &Options, quirks: Quirks, reasons: bool) -> Option<Value> {
    let thinking = options.thinking?;
    let effort = match thinking {
        // A model that cannot reason refuses to be told not to.
        Thinking::Off | Thinking::BudgetTokens(0) => {
            return reasons.then(|| json!({"effort": "none"}));
        }
        Thinking::Adaptive => None,
        Thinking::Low | Thinking::BudgetTokens(1..=4_096) => Some("low"),
        Thinking::Medium | Thinking::BudgetTokens(4_097..=16_384) => Some("medium"),
        Thinking::High | Thinking::BudgetTokens(_) => Some("high"),
    };
    let mut reasoning = serde_json::Map::new();
    if let Some(effort) = effort {
        reasoning.insert("effort".to_owned(), effort.into());
    }
    if quirks.summaries == Summaries::Auto {
        reasoning.insert("summary".to_owned(), "auto".into());
    }
    (!reasoning.is_empty()).then_some(Value::Object(reasoning))
}

/// `tool_choice`: a word, or the one tool that must be called.
pub(super) fn tool_choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Tool(name) => json!({"type": "function", "name": name}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r05_models_that_do_not_reason_are_known_by_their_names() {
        for model in [
            "gpt-4o",
            "gpt-4.1-nano",
            "openai/gpt-4o-mini",
            "ft:gpt-4.1:acme::x",
            "chatgpt-4o-latest",
            "gpt-5-chat-latest",
            "gpt-5.2-chat-latest",
        ] {
            assert!(!may_reason(model), "{model}");
        }
        for model in [
            "gpt-5",
            "o3-mini",
            "gpt-5.6-sol",
            "openai.gpt-oss-20b",
            "grok-4.3",
            "mine",
        ] {
            assert!(may_reason(model), "{model}");
        }
    }

    #[test]
    fn a_long_name_of_a_session_becomes_a_key_of_its_own() {
        let key = |id: &str| cache_key(&SessionId::new(id).unwrap());
        assert_eq!(key("s-1"), "s-1");
        let (one, two) = ("a".repeat(100), "a".repeat(101));
        assert_eq!(key(&one).len(), CACHE_KEY_CHARS_MAX);
        assert_ne!(key(&one), key(&two));
    }
}
