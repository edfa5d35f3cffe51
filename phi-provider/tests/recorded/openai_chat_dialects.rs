//! The recorded requests again, written in the dialect of their service.

use phi_provider::openai_chat::{Dialects, OpenAiChat};
use phi_provider::{Delivery, Wire};
use phi_types::{AssistantMessage, Request};
use serde_json::Value;

use crate::cases::Turn;
use crate::exceptions::Exception;
use crate::laws::Subject;
use crate::openai_chat::{Chat, ChatReplay};
use crate::pairs::{Replay, requests_agree};

/// The same comparison with what phi knows of each service.
struct DialectReplay;

impl Replay for DialectReplay {
    fn wire(turn: &Turn) -> Box<dyn Wire> {
        let folder = turn.case.split('/').next().unwrap();
        let table = Dialects::builtin();
        let asks = turn.request.as_ref().is_some_and(|it| it["stream"] == true);
        let wire = OpenAiChat::dialect(table.get(folder).unwrap());
        Box::new(wire.with_delivery(if asks {
            Delivery::Streamed
        } else {
            Delivery::Whole
        }))
    }

    fn continues(first: &Value, second: &Value) -> bool {
        ChatReplay::continues(first, second)
    }

    fn build(first: &Value, answer: AssistantMessage, second: &Value) -> Result<Request, String> {
        ChatReplay::build(first, answer, second)
    }

    fn normalise(request: &mut Value) {
        ChatReplay::normalise(request);
        // The clients of the recordings name no session.
        request
            .as_object_mut()
            .map(|it| it.remove("prompt_cache_key"));
    }
}

const DIALECTS: &[Exception] = &[
    Exception {
        case: "deepseek/rubyllm--chat-string-tool-results-deepseek-deepseek-chat-preserves-strings-returned-from-tools",
        turn: None,
        field: "messages[].reasoning_content",
        reason: "an empty text for an answer without reasoning, which only thinking models want",
    },
    Exception {
        case: "deepseek/rig--deepseek-streaming-tools-*",
        turn: None,
        field: "messages[].reasoning_content",
        reason: "an empty text, which the model wants as soon as it thinks and takes while it does not",
    },
    Exception {
        case: "deepseek/rig--deepseek-reasoning-roundtrip-nonstreaming",
        turn: None,
        field: "messages[].reasoning_content",
        reason: "reasoning sent back without tools, which older models reject",
    },
    Exception {
        case: "deepseek/pyai--test-deepseek-test-deepseek-deferred-capability-with-thinking",
        turn: None,
        field: "vocabulary",
        reason: "two system messages",
    },
    Exception {
        case: "groq/pyai--test-groq-test-tool-use-failed-error*",
        turn: None,
        field: "answer",
        reason: "an error has no answer",
    },
    Exception {
        case: "groq/pyai--test-groq-test-*",
        turn: None,
        field: "messages[].content",
        reason: "the client sends reasoning as tags",
    },
    Exception {
        case: "groq/pyai--test-groq-test-tool-use-failed-error*",
        turn: None,
        field: "messages[].reasoning",
        reason: "the client sends reasoning as tags",
    },
    Exception {
        case: "groq/rig--groq-agent-tool-sessions-parallel-tool-calls-single-turn-streaming",
        turn: None,
        field: "messages[].tool_calls[].function.arguments",
        reason: "the client says `null` for no arguments, which are no object",
    },
    Exception {
        case: "mistral/pyai--test-tool-choice-matrix-test-tool-choice-matrix-auto-mistral",
        turn: None,
        field: "vocabulary",
        reason: "a tool without a type",
    },
    Exception {
        case: "mistral/rig--mistral-multimodal-content-streaming-image-with-a-tool-configured",
        turn: None,
        field: "messages[].content[].image_url.detail",
        reason: "the vocabulary has no detail of images; `auto` is the default",
    },
    Exception {
        case: "mistral/rig--*",
        turn: None,
        field: "messages[].tool_calls[].id",
        reason: "the mask of the recordings is no id of nine characters",
    },
    Exception {
        case: "mistral/rig--*",
        turn: None,
        field: "messages[].tool_call_id",
        reason: "the mask of the recordings is no id of nine characters",
    },
    Exception {
        case: "mistral/pyai--test-mistral-test-mistral-history-uses-prompt-cache",
        turn: None,
        field: "messages[].tool_calls",
        reason: "an empty list says what its absence says",
    },
    Exception {
        case: "openrouter/rubyllm--chat-*",
        turn: None,
        field: "vocabulary",
        reason: "a developer message in the middle of the conversation",
    },
    Exception {
        case: "openrouter/rig--openrouter-reasoning-tool-order-matrix-streaming-signed-agent-roundtrip",
        turn: None,
        field: "messages[].reasoning_details[].format",
        reason: "the client lost the format; the service wants it back as it came",
    },
    Exception {
        case: "openrouter/rig--openrouter-reasoning-tool-order-matrix-streaming-signed-agent-roundtrip",
        turn: None,
        field: "messages[].reasoning_details[].id",
        reason: "the client added an id that the service did not send",
    },
    Exception {
        case: "openrouter/rubyllm--chat-openrouter-reasoning-details-round-trip-replays-reasoning-details-across-tool-calls-a",
        turn: None,
        field: "messages[].reasoning_details",
        reason: "the test keeps the facts of the latest answer alone",
    },
];

#[test]
fn the_next_request_is_the_recorded_one_in_the_dialect_of_the_service() {
    let turns = crate::cases::turns_of(Chat::PROTOCOL, &Chat::FRAMING);
    let folders = [
        "openai",
        "copilot",
        "deepseek",
        "groq",
        "llamacpp",
        "mistral",
        "openrouter",
    ];
    let compared = requests_agree::<DialectReplay>(&turns, &folders, DIALECTS);
    println!("{compared} pairs in dialects");
    assert!(compared >= 60, "{compared}");
}
