//! The recordings of OpenAI Responses and of the services that follow it.

use phi_provider::Wire;
use phi_provider::openai_responses::OpenAiResponses;
use phi_types::{ProviderErrorKind, Usage};
use serde_json::{Value, json};

use crate::cases::{Framing, Turn};
use crate::exceptions::Exception;
use crate::fields::{Fields, insert_usage};
use crate::laws::{Laws, Subject, decode};

pub(crate) struct Responses;

impl Subject for Responses {
    const PROTOCOL: &'static str = "openai-responses";
    const FRAMING: Framing = Framing {
        names_events: true,
        last: "",
    };

    fn wire() -> Box<dyn Wire> {
        Box::new(OpenAiResponses::new("https://api.example.com/v1"))
    }

    fn is_finish(data: &str) -> bool {
        let event: Value = serde_json::from_str(data).unwrap_or_default();
        matches!(
            event["type"].as_str(),
            Some("response.completed" | "response.incomplete" | "response.failed")
        )
    }

    fn expected(oracle: &Value) -> Option<Fields> {
        assert!(oracle["error"].is_null());
        let mut fields = Fields::new();
        fields.insert("text", oracle["text"].clone());
        fields.insert("thinking", oracle["reasoning"].clone());
        fields.insert("tool_calls", oracle["tool_calls"].clone());
        let kinds = list(&oracle["item_types"]).iter().map(kind).collect();
        fields.insert("part_kinds", kinds);
        let calls = !list(&oracle["tool_calls"]).is_empty();
        let status = (&oracle["stop_reason"], &oracle["incomplete"]["reason"]);
        insert_stop_reason(&mut fields, status, calls);
        insert_usage(&mut fields, &usage(&oracle["usage"]));
        fields.insert("response_id", oracle["id"].clone());
        fields.insert("response_model", oracle["model"].clone());
        Some(fields)
    }

    fn read_whole(body: &Value) -> Option<Fields> {
        let output = body["output"].as_array()?;
        let mut fields = Fields::new();
        let (mut text, mut thoughts) = (String::new(), Vec::new());
        let (mut kinds, mut calls, mut opaque, mut encrypted) = (vec![], vec![], vec![], vec![]);
        let mut refuses = false;
        // mistral.rs puts the reasoning beside the items.
        if let Some(thought) = body["reasoning"].as_str() {
            thoughts.push(thought.to_owned());
            kinds.push(json!("thinking"));
        }
        for item in output {
            match item["type"].as_str().unwrap() {
                "message" => {
                    for piece in list(&item["content"]) {
                        kinds.push(json!("text"));
                        let said = piece["text"].as_str().or(piece["refusal"].as_str());
                        text.push_str(said.unwrap());
                        refuses |= piece["type"] == "refusal";
                    }
                }
                "reasoning" => {
                    kinds.push(json!("thinking"));
                    let pieces = list(&item["content"]).iter().chain(list(&item["summary"]));
                    let pieces: Vec<&str> = pieces.map(|it| it["text"].as_str().unwrap()).collect();
                    thoughts.push(pieces.join("\n\n"));
                    encrypted.extend(item["encrypted_content"].as_str().map(str::to_owned));
                }
                "function_call" => {
                    kinds.push(json!("tool_call"));
                    let arguments = item["arguments"].as_str().unwrap();
                    let arguments: Value = serde_json::from_str(arguments).unwrap();
                    calls.push(json!({
                        "id": item["call_id"], "name": item["name"], "arguments": arguments
                    }));
                }
                other => {
                    kinds.push(json!(other));
                    opaque.push(item.clone());
                }
            }
        }
        let calls_tools = !calls.is_empty();
        fields.insert("text", text.into());
        fields.insert("thinking", thoughts.concat().into());
        fields.insert("signatures", encrypted.into());
        fields.insert("tool_calls", calls.into());
        fields.insert("part_kinds", kinds.into());
        fields.insert("opaque", opaque.into());
        let status = (&body["status"], &body["incomplete_details"]["reason"]);
        insert_stop_reason(&mut fields, status, calls_tools);
        if refuses {
            fields.insert("stop_reason", "refusal".into());
        }
        insert_usage(&mut fields, &usage(&body["usage"]));
        fields.insert("response_id", body["id"].clone());
        fields.insert("response_model", body["model"].clone());
        Some(fields)
    }
}

/// The parts that items become.
fn kind(item: &Value) -> Value {
    match item.as_str().unwrap() {
        "message" => json!("text"),
        "reasoning" => json!("thinking"),
        "function_call" => json!("tool_call"),
        other => json!(other),
    }
}

/// The mapping of the status and of the reason why a response is incomplete.
fn insert_stop_reason(fields: &mut Fields, status: (&Value, &Value), calls: bool) {
    let (ours, raw) = match (status.0.as_str(), status.1.as_str()) {
        (Some("completed"), None) if calls => ("tool_use", "completed"),
        (Some("completed"), None) => ("end_turn", "completed"),
        (Some("incomplete"), Some("max_output_tokens")) => ("max_tokens", "max_output_tokens"),
        other => panic!("{other:?} has no place in the table"),
    };
    fields.insert("stop_reason", ours.into());
    fields.insert("stop_reason_raw", raw.into());
}

fn usage(usage: &Value) -> Usage {
    let read = usage["input_tokens_details"]["cached_tokens"].as_u64();
    let write = usage["input_tokens_details"]["cache_write_tokens"].as_u64();
    Usage {
        input_tokens: usage["input_tokens"]
            .as_u64()
            .map(|all| all - read.unwrap_or(0) - write.unwrap_or(0)),
        cache_read_tokens: read,
        cache_write_tokens: write,
        output_tokens: usage["output_tokens"].as_u64(),
        reasoning_tokens: usage["output_tokens_details"]["reasoning_tokens"].as_u64(),
    }
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

const CONCATENATED: &str = "the recording holds several answers, one after the other: phi ends \
    with the first `response.completed`, the SDK with the last";
const ONLY_SUMMARIES: &str = "the SDK's reasoning is its summary, and here the service shows the \
    reasoning itself";
const REFUSED: &str = "the SDK keeps a refusal apart from the text; phi shows it and names it";
const ELIDED: &str = "whoever recorded it cut most deltas out: the SDK joins the rest, and phi takes \
    the whole text from `response.output_text.done`";

const STREAMS: &[Exception] = &[
    differs(
        "azure/vercel--azure-reasoning-encrypted-content",
        "part_kinds",
        CONCATENATED,
    ),
    differs(
        "azure/vercel--azure-reasoning-encrypted-content",
        "response_id",
        CONCATENATED,
    ),
    differs(
        "azure/vercel--azure-reasoning-encrypted-content",
        "text",
        CONCATENATED,
    ),
    differs(
        "azure/vercel--azure-reasoning-encrypted-content",
        "thinking",
        CONCATENATED,
    ),
    differs(
        "azure/vercel--azure-reasoning-encrypted-content",
        "usage.input",
        CONCATENATED,
    ),
    differs(
        "azure/vercel--azure-reasoning-encrypted-content",
        "usage.output",
        CONCATENATED,
    ),
    differs(
        "deepseek/pyai--test-deepseek-responses-test-deepseek-responses-text-stream",
        "thinking",
        ONLY_SUMMARIES,
    ),
    differs(
        "open-responses/vercel--lmstudio-tool-call",
        "thinking",
        ONLY_SUMMARIES,
    ),
    differs(
        "open-responses/vercel--lmstudio-tool-call-2",
        "thinking",
        ONLY_SUMMARIES,
    ),
    differs(
        "openai/rig--openai-refusal-matrix-responses-streaming-refusal-delta-surfaces",
        "stop_reason",
        REFUSED,
    ),
    differs(
        "openai/rig--openai-refusal-matrix-responses-streaming-refusal-delta-surfaces",
        "text",
        REFUSED,
    ),
    differs(
        "openai/rig--openai-refusal-matrix-responses-agent-streaming-refusal-surfaces",
        "stop_reason",
        REFUSED,
    ),
    differs(
        "openai/rig--openai-refusal-matrix-responses-agent-streaming-refusal-surfaces",
        "text",
        REFUSED,
    ),
    differs("openai/vercel--openai-phase", "text", ELIDED),
];

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

#[test]
fn any_cut_decodes_alike() {
    Laws::<Responses>::new().any_cut_decodes_alike();
}

#[test]
fn a_cut_stream_is_incomplete_before_its_finish_and_the_same_message_after() {
    let (before, after) = Laws::<Responses>::new().cut_short(&[]);
    println!("{before} cuts before the finish, {after} after it");
    assert!(before > 2_000 && after > 90, "{before} {after}");
}

#[test]
fn streams_mean_what_the_official_sdk_made_of_them() {
    let compared = Laws::<Responses>::new().streams_agree(STREAMS);
    println!("{compared} streams");
    assert!(compared > 90, "{compared}");
}

#[test]
fn whole_answers_mean_what_their_json_says() {
    let compared = Laws::<Responses>::new().whole_answers_agree(&[]);
    println!("{compared} whole answers");
    assert!(compared > 200, "{compared}");
}

/// Says what a caller can do about the error of a turn.
fn kind_of_error(turn: &Turn) -> ProviderErrorKind {
    let overflow = "openai/rubyllm--chat-real-error-scenarios-openai-gpt-5-nano-handles-context-length-exceeded-errors";
    match turn.head.status {
        400 if turn.case == overflow => ProviderErrorKind::ContextOverflow,
        // xAI refuses a key with the status of a wrong request.
        400 if turn.case.contains("auth") => ProviderErrorKind::Auth,
        400 => ProviderErrorKind::InvalidRequest,
        401 => ProviderErrorKind::Auth,
        status => panic!("the status {status}"),
    }
}

#[test]
fn error_bodies_say_what_the_caller_can_do() {
    let compared = Laws::<Responses>::new().errors_are_classified(|turn| Some(kind_of_error(turn)));
    println!("{compared} error bodies");
    assert!(compared >= 12, "{compared}");
}

#[test]
fn errors_under_a_status_of_success_say_what_the_caller_can_do() {
    let laws = Laws::<Responses>::new();
    let success = laws.turns.iter().filter(|turn| turn.head.is_success());
    let failed: Vec<(String, ProviderErrorKind)> = success
        .filter_map(|turn| {
            let decoded = decode(&*Responses::wire(), &turn.head, [turn.body.as_slice()]);
            decoded.error.map(|error| (turn.case.clone(), error.kind))
        })
        .collect();
    let expected = (
        "openai/vercel--reasoning-model-temperature-error".to_owned(),
        ProviderErrorKind::InvalidRequest,
    );
    assert_eq!(failed, [expected]);
}
