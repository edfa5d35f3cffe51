//! The Gemini protocol: its recordings, its oracles, and the accepted differences.
//!
//! The recordings of the Interactions API (`gemini-interactions`) are of another protocol.

use phi_provider::Wire;
use phi_provider::gemini::Gemini;
use phi_types::{AssistantPart, ProviderErrorKind as Kind};
use serde_json::{Value, json};

use crate::cases::{Framing, Turn};
use crate::exceptions::Exception;
use crate::fields::Fields;
use crate::laws::{Laws, Subject, decode};

pub(crate) struct Google;

impl Subject for Google {
    const PROTOCOL: &'static str = "gemini";
    const FRAMING: Framing = Framing {
        names_events: false,
        last: "",
    };

    fn wire() -> Box<dyn Wire> {
        Box::new(Gemini::new())
    }

    fn is_finish(data: &str) -> bool {
        let chunk: Value = serde_json::from_str(data).unwrap_or_default();
        !chunk["candidates"][0]["finishReason"].is_null()
    }

    fn expected(oracle: &Value) -> Option<Fields> {
        // Without a finish reason the SDK hands out what came; for phi that is no answer.
        let word = oracle["stop_reason"].as_str()?;
        let mut fields = Fields::new();
        fields.insert("text", oracle["text"].clone());
        fields.insert("thinking", oracle["reasoning"].clone());
        let calls = oracle["tool_calls"].as_array().unwrap();
        let unnamed = calls
            .iter()
            .map(|call| json!({"name": call["name"], "arguments": call["arguments"]}));
        fields.insert("calls", unnamed.collect());
        insert_stop_reason(&mut fields, word, !calls.is_empty());
        insert_usage(&mut fields, &oracle["usage"]);
        fields.insert("response_model", oracle["model"].clone());
        Some(fields)
    }

    fn read_whole(body: &Value) -> Option<Fields> {
        let candidate = &body["candidates"][0];
        let word = match &candidate["finishReason"] {
            Value::String(word) => word.clone(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        let mut fields = Fields::new();
        let (mut text, mut thinking) = (String::new(), String::new());
        let (mut calls, mut ids) = (vec![], vec![]);
        let parts = candidate["content"]["parts"].as_array();
        for part in parts.into_iter().flatten() {
            let said = part["text"].as_str().unwrap_or_default();
            if part["thought"] == true {
                thinking.push_str(said);
            } else {
                text.push_str(said);
            }
            if let Some(call) = part.get("functionCall") {
                // A call without arguments may leave the field out.
                let arguments = call.get("args").cloned().unwrap_or(json!({}));
                calls.push(json!({"name": call["name"], "arguments": arguments}));
                ids.push(match call["id"].as_str() {
                    Some(id) => id.to_owned(),
                    None => {
                        let made = body["responseId"].as_str();
                        let made = made.map_or("call".to_owned(), str::to_owned);
                        format!("{made}_{}", ids.len())
                    }
                });
            }
        }
        insert_stop_reason(&mut fields, &word, !calls.is_empty());
        let named = calls.iter().zip(&ids).map(
            |(call, id)| json!({"id": id, "name": call["name"], "arguments": call["arguments"]}),
        );
        fields.insert("tool_calls", named.collect());
        fields.insert("text", text.into());
        fields.insert("thinking", thinking.into());
        insert_usage(&mut fields, &body["usageMetadata"]);
        fields.insert("response_id", body["responseId"].clone());
        fields.insert("response_model", body["modelVersion"].clone());
        Some(fields)
    }
}

/// The mapping of finish reasons; every word of a recording must stand here.
fn insert_stop_reason(fields: &mut Fields, word: &str, has_calls: bool) {
    let ours = match word {
        "STOP" | "1" if has_calls => "tool_use",
        "STOP" | "1" => "end_turn",
        "MAX_TOKENS" => "max_tokens",
        "SAFETY" | "RECITATION" | "MODEL_ARMOR" => "content_filter",
        "OTHER" | "UNEXPECTED_TOOL_CALL" | "FAKE_ENUM" | "FAKE_NEW_FINISH_REASON" => "other",
        other => panic!("the finish reason {other:?} has no place in the table"),
    };
    fields.insert("stop_reason", ours.into());
    fields.insert("stop_reason_raw", word.into());
}

/// The mapping of usage: what the service's own tools read is input, thoughts are output, and the
/// cached tokens are part of the prompt.
fn insert_usage(fields: &mut Fields, usage: &Value) {
    let count = |name: &str| usage[name].as_u64();
    let sum = |a: Option<u64>, b: Option<u64>| match (a, b) {
        (None, None) => None,
        (a, b) => Some(a.unwrap_or(0) + b.unwrap_or(0)),
    };
    let cached = count("cachedContentTokenCount");
    let prompt = sum(count("promptTokenCount"), count("toolUsePromptTokenCount"));
    let thoughts = count("thoughtsTokenCount");
    let input = prompt.map(|prompt| prompt - cached.unwrap_or(0));
    fields.insert("usage.input", json!(input));
    fields.insert("usage.cache_read", json!(cached));
    fields.insert("usage.cache_write", Value::Null);
    let output = sum(count("candidatesTokenCount"), thoughts);
    fields.insert("usage.output", json!(output));
    fields.insert("usage.reasoning", json!(thoughts));
}

#[test]
fn any_cut_decodes_alike() {
    Laws::<Google>::new().any_cut_decodes_alike();
}

#[test]
fn a_cut_stream_is_never_a_short_answer() {
    let (before, after) = Laws::<Google>::new().cut_short(CUTS);
    println!("cut before the finish: {before}, after it: {after}");
    assert!(before > 200 && after > 60, "{before} and {after} cuts");
}

#[test]
fn streams_mean_what_the_official_sdk_made_of_them() {
    let compared = Laws::<Google>::new().streams_agree(STREAMS);
    println!("compared {compared} streams");
    assert!(compared > 70, "{compared}");
}

#[test]
fn whole_answers_mean_what_their_json_says() {
    let compared = Laws::<Google>::new().whole_answers_agree(&[]);
    println!("compared {compared} whole answers");
    assert!(compared > 200, "{compared}");
}

#[test]
fn error_bodies_are_classified() {
    let kind = |turn: &Turn| match turn.head.status {
        400 | 404 => Some(Kind::InvalidRequest),
        429 => Some(Kind::RateLimited),
        _ => None,
    };
    let compared = Laws::<Google>::new().errors_are_classified(kind);
    println!("compared {compared} error bodies");
    assert_eq!(compared, 5);
}

/// The chunks of a body, however they are framed.
fn chunks(turn: &Turn) -> Vec<Value> {
    if !turn.is_stream {
        return vec![turn.json()];
    }
    let text = String::from_utf8_lossy(&turn.body).replace('\r', "\n");
    let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
    data.map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

#[test]
fn a_stream_that_comes_as_an_array_is_the_same_answer() {
    let mut compared = 0;
    let wire = Google::wire();
    for turn in Laws::<Google>::new().turns {
        if !turn.is_stream {
            continue;
        }
        let items: Vec<String> = chunks(&turn).iter().map(Value::to_string).collect();
        let array = format!("[{}\r\n]", items.join("\r\n,\r\n"));
        for size in [1, 11, array.len()] {
            let decoded = decode(&*wire, &turn.head, array.as_bytes().chunks(size));
            let streamed = items.iter().map(|item| format!("data: {item}\r\n\r\n"));
            let streamed = streamed.collect::<String>();
            let streamed = decode(&*wire, &turn.head, [streamed.as_bytes()]);
            assert_eq!(decoded, streamed, "{}", turn.name());
        }
        for cut in 1..=items.len() {
            let array = format!("[{}", items[..cut].join(","));
            let streamed = items[..cut].iter().map(|item| format!("data: {item}\n\n"));
            let decoded = decode(&*wire, &turn.head, [array.as_bytes()]);
            let streamed = streamed.collect::<String>();
            let streamed = decode(&*wire, &turn.head, [streamed.as_bytes()]);
            assert_eq!(decoded, streamed, "{} cut", turn.name());
            compared += 1;
        }
    }
    println!("compared {compared} cut arrays");
    assert!(compared > 400, "{compared}");
}

#[test]
fn every_signature_stays_on_its_part_and_every_part_of_the_service_stays() {
    let (mut signatures, mut opaque) = (0, 0);
    let wire = Google::wire();
    for turn in Laws::<Google>::new().turns {
        let decoded = decode(&*wire, &turn.head, [turn.body.as_slice()]);
        let Some(message) = decoded.message(wire.identity(), "m") else {
            continue;
        };
        if decoded.error.is_some() {
            continue;
        }
        let mut theirs = Vec::new();
        for chunk in chunks(&turn) {
            let parts = chunk["candidates"][0]["content"]["parts"].clone();
            for part in parts.as_array().into_iter().flatten() {
                let signature = part["thoughtSignature"].as_str();
                let mut kind = part.as_object().unwrap().keys();
                let own = ["text", "thought", "functionCall", "thoughtSignature"];
                let own = kind.find(|kind| !own.contains(&kind.as_str()));
                if signature.is_some() || own.is_some() {
                    let kind = match part["functionCall"]["name"].as_str() {
                        Some(name) => name,
                        None => part["text"].as_str().unwrap_or_default(),
                    };
                    theirs.push((kind.to_owned(), signature.map(str::to_owned)));
                }
            }
        }
        let ours = message.parts.iter().filter_map(|part| {
            let (said, facts) = match part {
                AssistantPart::Text(part) => (part.text.clone(), &part.facts),
                AssistantPart::Thinking(part) => (part.text.clone(), &part.facts),
                AssistantPart::ToolCall(call) => (call.name.to_string(), &call.facts),
                AssistantPart::Opaque(part) => {
                    if part.kind.ends_with("Metadata") {
                        return None;
                    }
                    opaque += 1;
                    let data: Value = part.data.read().unwrap();
                    let signature = data["thoughtSignature"].as_str();
                    return Some((String::new(), signature.map(str::to_owned)));
                }
            };
            let signature = facts.signature.clone()?;
            signatures += 1;
            Some((said, Some(signature)))
        });
        assert_eq!(ours.collect::<Vec<_>>(), theirs, "{}", turn.name());
    }
    println!("compared {signatures} signatures and {opaque} parts of the service");
    assert!(signatures > 90 && opaque > 40, "{signatures} {opaque}");
}

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

const TWICE: &str = "the turn states a finish reason, runs code of the service, and goes on to \
    state another one: cut between the two, it is incomplete";
const ALWAYS: &str = "an old model states `STOP` in every chunk: a stream that is cut between two \
    of them cannot be told from a complete one";
const PIECES: &str = "the SDK hands out the pieces of a call as they come, phi joins them";

const CUTS: &[Exception] = &[
    differs(
        "google/rig--gemini-stream-terminal-matrix-two-terminal-stream-*",
        "cut",
        TWICE,
    ),
    differs(
        "vertex/firebase--vertexai-streaming-success-citations",
        "cut",
        ALWAYS,
    ),
    differs(
        "vertex/firebase--vertexai-streaming-failure-unknown-finish-enum",
        "cut",
        ALWAYS,
    ),
];

const STREAMS: &[Exception] = &[
    differs("google/vercel--google-stream-tool-call-*", "calls", PIECES),
    differs(
        "google/vercel--google-vertex-stream-tool-call-arguments-nested",
        "calls",
        PIECES,
    ),
];
