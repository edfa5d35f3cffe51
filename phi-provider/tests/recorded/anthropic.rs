//! The Anthropic Messages protocol: its recordings, its oracles, and the accepted differences.

use phi_provider::{AnthropicMessages, Wire};
use phi_types::ProviderErrorKind as Kind;
use serde_json::{Value, json};

use crate::cases::{Framing, Turn};
use crate::exceptions::Exception;
use crate::fields::Fields;
use crate::laws::{Laws, Subject};

pub(crate) struct Anthropic;

impl Subject for Anthropic {
    const PROTOCOL: &'static str = "anthropic-messages";
    const FRAMING: Framing = Framing {
        names_events: true,
        last: "",
    };

    fn wire() -> Box<dyn Wire> {
        Box::new(AnthropicMessages::default())
    }

    fn is_finish(data: &str) -> bool {
        let event: Value = serde_json::from_str(data).unwrap_or_default();
        event["type"] == "message_delta" && event["delta"]["stop_reason"].is_string()
    }

    fn expected(oracle: &Value) -> Option<Fields> {
        if oracle["sdk_raises"].is_string() {
            return None;
        }
        let mut fields = Fields::new();
        fields.insert("text", oracle["text"].clone());
        fields.insert("thinking", oracle["reasoning"].clone());
        fields.insert("signatures", oracle["signatures"].clone());
        fields.insert("tool_calls", oracle["tool_calls"].clone());
        let kinds = oracle["block_types"].as_array().unwrap().iter();
        let kinds = kinds.map(|kind| {
            if kind == "tool_use" {
                json!("tool_call")
            } else {
                kind.clone()
            }
        });
        fields.insert("part_kinds", kinds.collect());
        insert_stop_reason(&mut fields, &oracle["stop_reason"]);
        insert_usage(&mut fields, &oracle["usage"]);
        fields.insert("response_id", oracle["id"].clone());
        fields.insert("response_model", oracle["model"].clone());
        Some(fields)
    }

    fn read_whole(body: &Value) -> Option<Fields> {
        if body["type"] != "message" {
            return None;
        }
        let mut fields = Fields::new();
        let (mut text, mut thinking) = (String::new(), String::new());
        let (mut kinds, mut calls, mut signatures, mut opaque) = (vec![], vec![], vec![], vec![]);
        for block in body["content"].as_array().unwrap() {
            match block["type"].as_str().unwrap() {
                "text" => {
                    text.push_str(block["text"].as_str().unwrap());
                    kinds.push(json!("text"));
                }
                "thinking" => {
                    thinking.push_str(block["thinking"].as_str().unwrap());
                    signatures.push(block["signature"].clone());
                    kinds.push(json!("thinking"));
                }
                "tool_use" => {
                    calls.push(json!({
                        "id": block["id"], "name": block["name"], "arguments": block["input"]
                    }));
                    kinds.push(json!("tool_call"));
                }
                other => {
                    kinds.push(json!(other));
                    opaque.push(block.clone());
                }
            }
        }
        if let Some(container) = body.get("container").filter(|it| !it.is_null()) {
            opaque.push(container.clone());
        }
        fields.insert("text", text.into());
        fields.insert("thinking", thinking.into());
        fields.insert("signatures", signatures.into());
        fields.insert("tool_calls", calls.into());
        fields.insert("part_kinds", kinds.into());
        fields.insert("opaque", opaque.into());
        insert_stop_reason(&mut fields, &body["stop_reason"]);
        insert_usage(&mut fields, &body["usage"]);
        fields.insert("response_id", body["id"].clone());
        fields.insert("response_model", body["model"].clone());
        Some(fields)
    }
}

/// The mapping of stop reasons; every word of a recording must stand here.
fn insert_stop_reason(fields: &mut Fields, word: &Value) {
    let ours = match word.as_str() {
        Some("end_turn") => "end_turn",
        Some("tool_use") => "tool_use",
        Some("max_tokens") => "max_tokens",
        Some("stop_sequence") => "stop_sequence",
        Some("pause_turn" | "compaction") => "pause_turn",
        Some("refusal") => "refusal",
        Some("model_context_window_exceeded") => "context_window",
        other => panic!("the stop reason {other:?} has no place in the table"),
    };
    fields.insert("stop_reason", ours.into());
    fields.insert("stop_reason_raw", word.clone());
}

/// The mapping of usage: the provider's numbers are the same ones.
fn insert_usage(fields: &mut Fields, usage: &Value) {
    fields.insert("usage.input", usage["input_tokens"].clone());
    fields.insert("usage.cache_read", usage["cache_read_input_tokens"].clone());
    fields.insert(
        "usage.cache_write",
        usage["cache_creation_input_tokens"].clone(),
    );
    fields.insert("usage.output", usage["output_tokens"].clone());
    fields.insert(
        "usage.reasoning",
        usage["output_tokens_details"]["thinking_tokens"].clone(),
    );
}

#[test]
fn any_cut_decodes_alike() {
    Laws::<Anthropic>::new().any_cut_decodes_alike();
}

#[test]
fn a_cut_stream_is_never_a_short_answer() {
    let (before, after) = Laws::<Anthropic>::new().cut_short(&[]);
    println!("cut before the finish: {before}, after it: {after}");
    assert!(before > 1000 && after > 100, "{before} and {after} cuts");
}

#[test]
fn streams_mean_what_the_official_sdk_made_of_them() {
    let compared = Laws::<Anthropic>::new().streams_agree(STREAMS);
    println!("compared {compared} streams");
    assert!(compared > 60, "{compared}");
}

#[test]
fn whole_answers_mean_what_their_json_says() {
    let compared = Laws::<Anthropic>::new().whole_answers_agree(&[]);
    println!("compared {compared} whole answers");
    assert!(compared > 150, "{compared}");
}

#[test]
fn error_bodies_are_classified() {
    let kind = |turn: &Turn| match turn.head.status {
        400 | 404 => Some(Kind::InvalidRequest),
        401 => Some(Kind::Auth),
        _ => None,
    };
    let compared = Laws::<Anthropic>::new().errors_are_classified(kind);
    println!("compared {compared} error bodies");
    assert_eq!(compared, 10);
}

const SPLICED: &str = "a gateway spliced a second attempt into the first: the SDK gives the \
    second signature to the first thinking, repairs half a call and loses the arguments of the other";
const CONCATENATED: &str = "the recording holds several answers, one after the other: phi ends \
    with the first `message_stop`, the SDK mixes the blocks of all";
const DONE: &str = "a gateway ends the stream with `[DONE]`, at which the SDK raises";

/// An accepted difference of one field.
pub(crate) const fn differs(
    case: &'static str,
    field: &'static str,
    reason: &'static str,
) -> Exception {
    Exception {
        case,
        turn: None,
        field,
        reason,
    }
}

const STREAMS: &[Exception] = &[
    differs(
        "anthropic/vercel--spliced-message-start",
        "signatures",
        SPLICED,
    ),
    differs(
        "anthropic/vercel--spliced-message-start",
        "tool_calls",
        SPLICED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-bm25",
        "part_kinds",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-bm25",
        "stop_reason",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-bm25",
        "stop_reason_raw",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-bm25",
        "text",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-bm25",
        "usage.input",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-bm25",
        "usage.output",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-regex",
        "part_kinds",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-regex",
        "stop_reason",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-regex",
        "stop_reason_raw",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-regex",
        "usage.input",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-regex",
        "usage.output",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-deferred-bm25",
        "part_kinds",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-deferred-bm25",
        "stop_reason",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-deferred-bm25",
        "stop_reason_raw",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-deferred-bm25",
        "text",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-deferred-bm25",
        "tool_calls",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-deferred-bm25",
        "usage.input",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-deferred-bm25",
        "usage.output",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-programmatic-tool-calling",
        "part_kinds",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-programmatic-tool-calling",
        "stop_reason",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-programmatic-tool-calling",
        "stop_reason_raw",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-programmatic-tool-calling",
        "usage.input",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-programmatic-tool-calling",
        "usage.output",
        CONCATENATED,
    ),
    differs(
        "anthropic/rig--anthropic-streaming-gateway-message-delta-metadata",
        "error",
        DONE,
    ),
];
