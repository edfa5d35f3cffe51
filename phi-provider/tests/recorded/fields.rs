//! The table through which messages of phi are compared with an oracle, field by field.

use std::collections::BTreeMap;

use phi_types::{Arguments, AssistantMessage, AssistantPart, Usage};
use serde_json::{Value, json};

/// Fields by name. An oracle that does not speak of a field leaves it out.
pub(crate) type Fields = BTreeMap<&'static str, Value>;

/// Says everything about a message that an oracle may know.
pub(crate) fn fields_of(message: &AssistantMessage) -> Fields {
    let mut fields = Fields::new();
    fields.insert("text", message.text().into());
    let mut thinking = String::new();
    let mut signatures = Vec::new();
    let mut kinds = Vec::new();
    let mut calls = Vec::new();
    let mut opaque = Vec::new();
    for part in &message.parts {
        match part {
            AssistantPart::Text(_) => kinds.push("text".to_owned()),
            AssistantPart::Thinking(part) => {
                thinking.push_str(&part.text);
                signatures.extend(part.facts.signature.clone());
                kinds.push("thinking".to_owned());
            }
            AssistantPart::ToolCall(call) => {
                kinds.push("tool_call".to_owned());
                let arguments = match &call.arguments {
                    Arguments::Object(object) => object.read().unwrap(),
                    Arguments::Malformed { raw, .. } => json!({ "malformed": raw }),
                };
                calls.push(json!({"id": &*call.id, "name": &*call.name, "arguments": arguments}));
            }
            AssistantPart::Opaque(part) => {
                // What stands beside the blocks of an answer is no block of it.
                if part.kind != "container" {
                    kinds.push(part.kind.clone());
                }
                opaque.push(part.data.read::<Value>().unwrap());
            }
        }
    }
    fields.insert("thinking", thinking.into());
    fields.insert("signatures", signatures.into());
    fields.insert("part_kinds", kinds.into());
    let unnamed = calls
        .iter()
        .map(|call| json!({"name": call["name"], "arguments": call["arguments"]}));
    fields.insert("calls", unnamed.collect());
    fields.insert("tool_calls", calls.into());
    fields.insert("opaque", opaque.into());
    fields.insert("stop_reason", json!(message.stop_reason));
    fields.insert("stop_reason_raw", json!(message.stop_reason_raw));
    fields.insert("response_id", json!(message.origin.response_id));
    fields.insert("response_model", json!(message.origin.response_model));
    insert_usage(&mut fields, &message.usage);
    fields
}

/// Says every number of a usage; `null` is "not reported".
pub(crate) fn insert_usage(fields: &mut Fields, usage: &Usage) {
    fields.insert("usage.input", json!(usage.input_tokens));
    fields.insert("usage.cache_read", json!(usage.cache_read_tokens));
    fields.insert("usage.cache_write", json!(usage.cache_write_tokens));
    fields.insert("usage.output", json!(usage.output_tokens));
    fields.insert("usage.reasoning", json!(usage.reasoning_tokens));
}

/// Lists the fields of which the oracle says something else: name, and both values.
pub(crate) fn differences(oracle: &Fields, ours: &Fields) -> Vec<(&'static str, String)> {
    let differing = oracle
        .iter()
        .filter(|(name, value)| ours.get(*name) != Some(value));
    differing
        .map(|(name, value)| {
            let ours = ours.get(name).map(Value::to_string).unwrap_or_default();
            (*name, format!("expected {value}, got {ours}"))
        })
        .collect()
}
