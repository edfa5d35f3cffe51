//! Answers that shall have a form.

use std::sync::Arc;

use phi_provider::structured::OUTPUT_TOOL;
use phi_provider::{AnswerForm, AnthropicMessages, Wire};
use phi_types::{
    EffectClass, Options, OutputSchema, Request, StopReason, Thinking, ToolKind, ToolSpec,
};
use serde_json::{Value, json};

use crate::support::{START, STOP, body, decode, end, plain, raw, request, stream, user};

fn asked(model: &str, thinking: Option<Thinking>) -> Request {
    let schema = r#"{"type":"object","properties":{"z":{"type":"string"},"a":{"type":"integer","minimum":1}}}"#;
    Request {
        model: model.into(),
        options: Arc::new(Options {
            output: Some(OutputSchema {
                name: "person".to_owned(),
                schema: raw(schema),
            }),
            thinking,
            ..Options::default()
        }),
        ..request([user("who?")])
    }
}

#[test]
fn a_model_that_knows_forms_is_asked_by_format() {
    let body = body(&plain(), &asked("claude-opus-4-7", Some(Thinking::High)));
    assert_eq!(body["output_config"]["effort"], "high");
    let format = &body["output_config"]["format"];
    assert_eq!(format["type"], "json_schema");
    assert_eq!(format["schema"]["additionalProperties"], false);
    assert_eq!(format["schema"]["properties"]["a"].get("minimum"), None);
    assert_eq!(body.get("tools"), None);
    let encoded = plain().encode(&asked("claude-sonnet-4-5", None)).unwrap();
    let bytes = String::from_utf8(encoded.request.body_bytes()).unwrap();
    let (z, a) = (bytes.find("\"z\":{"), bytes.find("\"a\":{"));
    assert!(z.is_some() && z < a, "properties keep their order: {bytes}");
}

#[test]
fn another_model_must_call_a_tool() {
    for (wire, model) in [
        (plain(), "claude-3-7-sonnet-20250219"),
        (plain(), "kimi-k2"),
        (
            plain().with_answer_form(AnswerForm::Tool),
            "claude-opus-4-7",
        ),
    ] {
        let body = body(&wire, &asked(model, Some(Thinking::High)));
        assert_eq!(body["tools"][0]["name"], OUTPUT_TOOL, "{model}");
        assert_eq!(
            body["tool_choice"],
            json!({"type": "tool", "name": OUTPUT_TOOL})
        );
        assert_eq!(
            body.get("thinking"),
            None,
            "a forced tool excludes thinking"
        );
        assert_eq!(body.get("output_config"), None);
    }
    let mut with_tools = asked("kimi-k2", None);
    with_tools.tools = Arc::from([ToolSpec {
        name: "look".into(),
        description: "looks".into(),
        input_schema: raw("{}"),
        kind: ToolKind::Read,
        effect_class: EffectClass::Pure,
    }]);
    let body = body(&plain(), &with_tools);
    assert_eq!(body["tools"][1]["name"], OUTPUT_TOOL);
    assert_eq!(body["tool_choice"], json!({"type": "any"}));
}

#[test]
fn the_form_can_be_asked_for_by_format_whatever_the_model_is_called() {
    let wire = AnthropicMessages::new().with_answer_form(AnswerForm::Format);
    let body = body(&wire, &asked("some-model", None));
    assert_eq!(body["output_config"]["format"]["type"], "json_schema");
}

#[test]
fn the_call_of_the_tool_is_the_text_of_the_answer() {
    let start = json!({"type": "content_block_start", "index": 0,
        "content_block": {"type": "tool_use", "id": "toolu_1", "name": OUTPUT_TOOL, "input": {}}});
    let piece = |json: &str| {
        json!({"type": "content_block_delta", "index": 0,
            "delta": {"type": "input_json_delta", "partial_json": json}})
    };
    let stop = json!({"type": "content_block_stop", "index": 0});
    let events: Vec<String> = [start, piece("{\"a\":"), piece("7}"), stop]
        .iter()
        .map(Value::to_string)
        .collect();
    let end = end("tool_use");
    let mut all = vec![START];
    all.extend(events.iter().map(String::as_str));
    all.extend([end.as_str(), STOP]);
    let message = decode(&stream(&all)).message();
    assert_eq!(message.text(), r#"{"a":7}"#);
    assert_eq!(message.tool_calls().count(), 0);
    assert_eq!(message.stop_reason, StopReason::EndTurn);
}
