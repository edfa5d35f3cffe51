//! What each protocol answers: thinking and parallel calls, text alone, and a call alone.

use phi_provider::gemini::Gemini;
use phi_provider::openai_chat::OpenAiChat;
use phi_provider::openai_responses::OpenAiResponses;
use phi_provider::{AnthropicMessages, BedrockConverse, CohereChat, OllamaChat, Wire};
use serde_json::{Value, json};

use crate::read::{self, Read, Rules};

pub(crate) struct Speaker {
    pub(crate) wire: Box<dyn Wire>,
    pub(crate) model: &'static str,
    pub(crate) replies: Vec<String>,
    /// What only the author gets back.
    pub(crate) signature: Option<&'static str>,
    pub(crate) read: fn(&Value) -> Read,
    pub(crate) rules: Rules,
}

const SIGNATURE: &str = "c2lnbmF0dXJlLW9m";
const URL: &str = "https://api.example.com/v1";
const STRICT: Rules = Rules {
    id_chars_max: 64,
    plain_ids: true,
    alternates: true,
};
const LOOSE: Rules = Rules {
    id_chars_max: 64,
    plain_ids: false,
    alternates: false,
};

fn whole(values: [Value; 3]) -> Vec<String> {
    values.map(|value| value.to_string()).into()
}

pub(crate) fn speakers() -> Vec<Speaker> {
    let speaker = |wire: Box<dyn Wire>, model, replies, read, rules| Speaker {
        wire,
        model,
        replies,
        signature: None,
        read,
        rules,
    };
    let signed = |speaker: Speaker| Speaker {
        signature: Some(SIGNATURE),
        ..speaker
    };
    vec![
        signed(speaker(
            Box::new(AnthropicMessages::new()),
            "claude-sonnet-4-5",
            anthropic(),
            read::anthropic,
            STRICT,
        )),
        speaker(
            Box::new(OpenAiChat::new(URL)),
            "gpt-5",
            chat(),
            read::chat,
            Rules {
                id_chars_max: 40,
                ..LOOSE
            },
        ),
        signed(speaker(
            Box::new(OpenAiResponses::new(URL)),
            "gpt-5",
            responses(),
            read::responses,
            LOOSE,
        )),
        signed(speaker(
            Box::new(Gemini::new()),
            "gemini-3-pro-preview",
            gemini(),
            read::gemini,
            STRICT,
        )),
        signed(speaker(
            Box::new(BedrockConverse::new("us-east-1")),
            "anthropic.claude-sonnet-4-5-20250929-v1:0",
            bedrock(),
            read::bedrock,
            STRICT,
        )),
        speaker(
            Box::new(CohereChat::new()),
            "command-a",
            cohere(),
            read::chat,
            LOOSE,
        ),
        speaker(
            Box::new(OllamaChat::new("http://localhost")),
            "qwen3",
            ollama(),
            read::ollama,
            LOOSE,
        ),
    ]
}

fn anthropic() -> Vec<String> {
    let call =
        |id: &str| json!({"type": "tool_use", "id": id, "name": "lookup", "input": {"q": 1}});
    let message = |content: Value, why: &str| {
        json!({"type": "message", "role": "assistant", "id": "msg_1", "model": "m",
            "content": content, "stop_reason": why, "usage": {"input_tokens": 1, "output_tokens": 1}})
    };
    whole([
        message(
            json!([
                {"type": "thinking", "thinking": "hm", "signature": SIGNATURE},
                {"type": "redacted_thinking", "data": "cmVkYWN0ZWQ="},
                {"type": "text", "text": "Looking."},
                call("toolu_1"), call("toolu_2"),
            ]),
            "tool_use",
        ),
        message(json!([{"type": "text", "text": "Done. "}]), "end_turn"),
        message(json!([call("toolu_1")]), "tool_use"),
    ])
}

fn chat() -> Vec<String> {
    let call = |id: &str| {
        json!({"id": id, "type": "function",
            "function": {"name": "lookup", "arguments": "{\"q\":1}"}})
    };
    let answer = |message: Value, why: &str| {
        json!({"id": "r", "model": "m", "choices": [{"index": 0, "message": message,
            "finish_reason": why}]})
    };
    let long = "call|of+a/backend=".repeat(30);
    whole([
        answer(
            json!({"content": "Looking.", "reasoning_content": "hm",
                "tool_calls": [call("call_1"), call(&long)]}),
            "tool_calls",
        ),
        answer(json!({"content": "Done."}), "stop"),
        answer(
            json!({"content": null, "tool_calls": [call("")]}),
            "tool_calls",
        ),
    ])
}

fn responses() -> Vec<String> {
    let call = |id: &str, call: &str| {
        json!({"type": "function_call", "id": id, "call_id": call, "name": "lookup",
            "arguments": "{\"q\":1}", "status": "completed"})
    };
    let text = |text: &str| {
        json!({"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": text, "annotations": []}]})
    };
    let reasoning = json!({"type": "reasoning", "id": "rs_1", "encrypted_content": SIGNATURE,
        "summary": [{"type": "summary_text", "text": "hm"}]});
    let answer = |output: Value| {
        json!({"object": "response", "id": "resp_1", "model": "gpt-5", "status": "completed",
            "output": output, "usage": {"input_tokens": 1, "output_tokens": 1}})
    };
    whole([
        answer(json!([
            reasoning,
            call("fc_1", "call_1"),
            call("fc_2", "call_2")
        ])),
        answer(json!([text("Done.")])),
        answer(json!([text("Looking."), call("fc_1", "call_1")])),
    ])
}

fn gemini() -> Vec<String> {
    let call = || json!({"functionCall": {"name": "lookup", "args": {"q": 1}}});
    let mut first = call();
    first["thoughtSignature"] = json!(SIGNATURE);
    let answer = |parts: Value| {
        json!({"candidates": [{"content": {"role": "model", "parts": parts},
            "finishReason": "STOP", "index": 0}], "responseId": "r"})
    };
    whole([
        answer(json!([{"text": "hm", "thought": true}, first.clone(), call()])),
        answer(json!([{"text": "Done."}])),
        answer(json!([{"text": "Looking."}, first])),
    ])
}

fn bedrock() -> Vec<String> {
    let call =
        |id: &str| json!({"toolUse": {"toolUseId": id, "name": "lookup", "input": {"q": 1}}});
    let answer = |content: Value, why: &str| {
        json!({"output": {"message": {"role": "assistant", "content": content}},
            "stopReason": why, "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}})
    };
    let thinking = json!({"reasoningContent": {"reasoningText": {"text": "hm",
        "signature": SIGNATURE}}});
    whole([
        answer(
            json!([thinking, {"text": "Looking."}, call("tooluse_1"), call("tooluse_2")]),
            "tool_use",
        ),
        answer(json!([{"text": "Done.\n"}]), "end_turn"),
        answer(json!([call("tooluse_1")]), "tool_use"),
    ])
}

fn cohere() -> Vec<String> {
    let call = |id: &str| {
        json!({"id": id, "type": "function",
            "function": {"name": "lookup", "arguments": "{\"q\":1}"}})
    };
    let answer =
        |message: Value, why: &str| json!({"id": "r", "message": message, "finish_reason": why});
    whole([
        answer(
            json!({"role": "assistant", "tool_plan": "I look.",
                "tool_calls": [call("lookup_1"), call("lookup_2")]}),
            "TOOL_CALL",
        ),
        answer(
            json!({"role": "assistant", "content": [{"type": "text", "text": "Done."}]}),
            "COMPLETE",
        ),
        answer(
            json!({"role": "assistant", "tool_calls": [call("lookup_1")]}),
            "TOOL_CALL",
        ),
    ])
}

fn ollama() -> Vec<String> {
    let call = || json!({"function": {"name": "lookup", "arguments": {"q": 1}}});
    let answer = |message: Value| json!({"model": "m", "message": message, "done": true, "done_reason": "stop"});
    whole([
        answer(json!({"role": "assistant", "content": "", "thinking": "hm",
            "tool_calls": [call(), call()]})),
        answer(json!({"role": "assistant", "content": "Done."})),
        answer(json!({"role": "assistant", "content": "Looking.", "tool_calls": [call()]})),
    ])
}
