//! Conversations, and the wires that write them.

use std::sync::Arc;

use phi_provider::openai_chat::{
    AfterResults, CallIds, OpenAiChat, Prefill, PromptCache, Quirks, ToolsForHistory,
};
use phi_provider::openai_responses::OpenAiResponses;
use phi_provider::{AnthropicMessages, BedrockConverse, CohereChat, OllamaChat, Wire};
use phi_types::{
    Arguments, AssistantMessage, AssistantPart, CallResult, Content, Entry, History, Origin,
    PartFacts, RawJson, Request, SessionId, StopReason, TextPart, ToolCall, ToolResult, Usage,
    UserMessage,
};

/// Makes one wire of each protocol, each time a fresh one.
pub(crate) fn wires() -> Vec<fn() -> Box<dyn Wire>> {
    vec![
        || Box::new(AnthropicMessages::new()),
        || Box::new(BedrockConverse::new("us-east-1")),
        || Box::new(CohereChat::new()),
        || Box::new(OllamaChat::default()),
        || Box::new(OpenAiChat::new("https://api.example.com/v1")),
        || {
            // The words of a dialect that look at neighbours or change what was written.
            let quirks = Quirks {
                after_results: AfterResults::Bridge,
                call_ids: CallIds::Alphanumeric9,
                prefill: Prefill::Prefix,
                prompt_cache: PromptCache::CacheControl,
                tools_for_history: ToolsForHistory::Placeholder,
                ..Quirks::default()
            };
            Box::new(OpenAiChat::new("https://api.example.com/v1").with_quirks(quirks))
        },
        || Box::new(OpenAiResponses::new("https://api.example.com/v1")),
    ]
}

pub(crate) fn request(view: History) -> Request {
    Request {
        session: SessionId::new("s").unwrap(),
        model: "m".into(),
        system: "be brief".into(),
        tools: Arc::from([]),
        view,
        options: Arc::default(),
    }
}

pub(crate) fn user(text: &str) -> Entry {
    Entry::User(Arc::new(UserMessage::text(text)))
}

pub(crate) fn answer(text: &str) -> Entry {
    assistant(vec![AssistantPart::Text(TextPart::new(text))])
}

/// Calls with these ids, and their results.
pub(crate) fn called(ids: &[&str], fails: bool) -> [Entry; 2] {
    let calls: Vec<Arc<ToolCall>> = ids
        .iter()
        .map(|id| {
            Arc::new(ToolCall {
                id: Arc::from(*id),
                name: Arc::from("look"),
                arguments: Arguments::Object(RawJson::parse(r#"{"at":1}"#).unwrap()),
                facts: PartFacts::default(),
            })
        })
        .collect();
    let results = calls.iter().map(|call| CallResult {
        call: Arc::clone(call),
        result: Arc::new(ToolResult {
            content: vec![Content::text("seen")],
            is_error: fails,
            ..ToolResult::default()
        }),
    });
    let results = Entry::Results(results.collect());
    let parts = calls.into_iter().map(AssistantPart::ToolCall).collect();
    [assistant(parts), results]
}

fn assistant(parts: Vec<AssistantPart>) -> Entry {
    Entry::Assistant(Arc::new(AssistantMessage {
        parts,
        stop_reason: StopReason::EndTurn,
        stop_reason_raw: None,
        usage: Usage::default(),
        origin: Origin::default(),
    }))
}
