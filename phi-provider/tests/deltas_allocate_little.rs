//! A delta costs at most two allocations: its text, and room in the list that it joins.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail where the tests do"
)]
#![expect(clippy::print_stdout, reason = "the tests say what they counted")]

use phi_provider::Gemini;
use phi_provider::openai_chat::OpenAiChat;
use phi_provider::openai_responses::OpenAiResponses;
use phi_provider::{AnthropicMessages, CohereChat, OllamaChat, ResponseHead, Wire};

const DELTAS: u64 = 1_000;

/// Decodes an event over and over and returns the allocations for one delta.
fn allocations(wire: &dyn Wire, before: &str, event: &str) -> u64 {
    let mut decoder = wire.decoder(&ResponseHead::new(200));
    let mut deltas = Vec::new();
    decoder.push(before.as_bytes(), &mut deltas).unwrap();
    // The first events make the decoder ready.
    decoder
        .push(event.repeat(4).as_bytes(), &mut deltas)
        .unwrap();
    let body = event.repeat(DELTAS.try_into().unwrap());
    deltas.clear();
    let mut seen = 0;
    let counted = allocation_counter::measure(|| {
        for piece in body.as_bytes().chunks(4 << 10) {
            decoder.push(piece, &mut deltas).unwrap();
            seen += deltas.len();
            deltas.clear();
        }
    });
    assert_eq!(
        u64::try_from(seen).unwrap(),
        DELTAS,
        "one delta for each event"
    );
    println!(
        "{}: {} allocations for {DELTAS} deltas",
        wire.identity().protocol,
        counted.count_total
    );
    counted.count_total / DELTAS
}

#[test]
fn a_delta_of_text_costs_at_most_two_allocations() {
    let wires: [(Box<dyn Wire>, &str, &str); 6] = [
        (
            Box::new(AnthropicMessages::new()),
            concat!(
                "event: message_start\n",
                r#"data: {"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"m","content":[],"usage":{"input_tokens":1,"output_tokens":1}}}"#,
                "\n\nevent: content_block_start\n",
                r#"data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
                "\n\n"
            ),
            concat!(
                "event: content_block_delta\n",
                r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" some\n text"}}"#,
                "\n\n"
            ),
        ),
        (
            Box::new(OpenAiChat::new("https://api.example.com/v1")),
            "",
            concat!(
                r#"data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":" some\n text"},"logprobs":null,"finish_reason":null}]}"#,
                "\n\n"
            ),
        ),
        (
            Box::new(Gemini::new()),
            "",
            concat!(
                r#"data: {"candidates":[{"content":{"parts":[{"text":" some\n text"}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":9},"modelVersion":"m","responseId":"r"}"#,
                "\r\n\r\n"
            ),
        ),
        (
            Box::new(CohereChat::new()),
            concat!(
                "event: content-start\n",
                r#"data: {"type":"content-start","index":0,"delta":{"message":{"content":{"type":"text","text":""}}}}"#,
                "\n\n"
            ),
            concat!(
                "event: content-delta\n",
                r#"data: {"type":"content-delta","index":0,"delta":{"message":{"content":{"text":" some\n text"}}}}"#,
                "\n\n"
            ),
        ),
        (
            Box::new(OllamaChat::default()),
            "",
            concat!(
                r#"{"model":"m","created_at":"2026-08-17T08:22:53.078901Z","message":{"role":"assistant","content":" some\n text"},"done":false}"#,
                "\n"
            ),
        ),
        (
            Box::new(OpenAiResponses::new("https://api.example.com/v1")),
            concat!(
                r#"data: {"type":"response.output_item.added","output_index":0,"item":{"id":"msg_1","type":"message","role":"assistant","content":[]}}"#,
                "\n\n"
            ),
            concat!(
                "event: response.output_text.delta\n",
                r#"data: {"type":"response.output_text.delta","content_index":0,"delta":" some\n text","item_id":"msg_1","logprobs":[],"obfuscation":"x","output_index":0,"sequence_number":9}"#,
                "\n\n"
            ),
        ),
    ];
    for (wire, before, event) in wires {
        assert!(allocations(&*wire, before, event) <= 2);
    }
}

#[test]
fn a_delta_of_thinking_or_arguments_costs_at_most_two_allocations() {
    let wires: [(Box<dyn Wire>, &str, &str); 6] = [
        (
            Box::new(AnthropicMessages::new()),
            concat!(
                r#"data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
                "\n\n"
            ),
            concat!(
                r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":" some\n text"}}"#,
                "\n\n"
            ),
        ),
        (
            Box::new(AnthropicMessages::new()),
            concat!(
                r#"data: {"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"toolu_1","name":"look","input":{}}}"#,
                "\n\n"
            ),
            concat!(
                r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"\"some\\n text"}}"#,
                "\n\n"
            ),
        ),
        (
            Box::new(OpenAiChat::new("https://api.example.com/v1")),
            "",
            concat!(
                r#"data: {"id":"c","choices":[{"index":0,"delta":{"reasoning_content":" some\n text"},"finish_reason":null}]}"#,
                "\n\n"
            ),
        ),
        (
            Box::new(OpenAiChat::new("https://api.example.com/v1")),
            concat!(
                r#"data: {"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"look","arguments":"{"}}]}}]}"#,
                "\n\n"
            ),
            concat!(
                r#"data: {"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\"some\\n text"}}]}}]}"#,
                "\n\n"
            ),
        ),
        (
            Box::new(OpenAiResponses::new("https://api.example.com/v1")),
            concat!(
                r#"data: {"type":"response.output_item.added","output_index":0,"item":{"type":"reasoning","id":"rs_1","summary":[]}}"#,
                "\n\n",
                r#"data: {"type":"response.reasoning_summary_part.added","item_id":"rs_1","output_index":0,"summary_index":0,"part":{"type":"summary_text","text":""}}"#,
                "\n\n"
            ),
            concat!(
                r#"data: {"type":"response.reasoning_summary_text.delta","item_id":"rs_1","output_index":0,"summary_index":0,"delta":" some\n text"}"#,
                "\n\n"
            ),
        ),
        (
            Box::new(OpenAiResponses::new("https://api.example.com/v1")),
            concat!(
                r#"data: {"type":"response.output_item.added","output_index":0,"item":{"type":"function_call","id":"fc_1","call_id":"call_1","name":"look","arguments":""}}"#,
                "\n\n"
            ),
            concat!(
                r#"data: {"type":"response.function_call_arguments.delta","item_id":"fc_1","output_index":0,"delta":"\"some\\n text"}"#,
                "\n\n"
            ),
        ),
    ];
    for (wire, before, event) in wires {
        assert!(allocations(&*wire, before, event) <= 2, "{event}");
    }
}
