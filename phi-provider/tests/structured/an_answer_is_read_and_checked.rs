//! An answer that was asked for in a form is read and checked.

use phi_provider::structured::{OutputFault, read_output, read_output_as};
use phi_types::{
    AssistantMessage, AssistantPart, Origin, OutputSchema, RawJson, StopReason, TextPart,
    ThinkingPart, Usage,
};
use serde_json::{Value, json};

fn reply(texts: &[&str], stop_reason: StopReason) -> AssistantMessage {
    let thinking = AssistantPart::Thinking(ThinkingPart::default());
    let texts = texts.iter().copied().map(TextPart::new);
    AssistantMessage {
        parts: [thinking]
            .into_iter()
            .chain(texts.map(AssistantPart::Text))
            .collect(),
        stop_reason,
        stop_reason_raw: None,
        usage: Usage::default(),
        origin: Origin::default(),
    }
}

fn form(schema: &Value) -> OutputSchema {
    OutputSchema {
        name: "person".to_owned(),
        schema: RawJson::from_value(schema).expect("JSON"),
    }
}

fn person() -> OutputSchema {
    form(&json!({
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name"],
        "additionalProperties": false,
    }))
}

#[track_caller]
fn fault(texts: &[&str], stop_reason: StopReason) -> OutputFault {
    let reply = reply(texts, stop_reason);
    let error = read_output(&reply, &person()).expect_err("a fault");
    assert_eq!(*error.reply, reply);
    error.fault
}

#[test]
fn json_is_found_bare_in_a_fence_and_among_words() {
    for texts in [
        &[r#" {"name":"Ada"} "#][..],
        &[r#"{"name":"#, r#""Ada"}"#],
        &["```json\n{\"name\":\"Ada\"}\n```"],
        &["```\n{\"name\":\"Ada\"}"],
        &["Here it is:\n\n```json\n{\"name\": \"Ada\"}\n```\nAnything else?"],
        &["```json\n{\"name\":1}\n```\nNo:\n```json\n{\"name\":\"Ada\"}\n```"],
        &["Let me see.", r#"{"name":"Ada"}"#],
    ] {
        let reply = reply(texts, StopReason::EndTurn);
        let value = read_output(&reply, &person()).unwrap();
        assert_eq!(value, json!({"name": "Ada"}), "{texts:?}");
    }
}

#[test]
fn a_stop_sequence_or_an_unknown_stop_is_judged_by_the_text() {
    for stop in [
        StopReason::StopSequence,
        StopReason::Other,
        StopReason::MaxTokens,
    ] {
        let reply = reply(&[r#"{"name":"Ada"}"#], stop);
        assert!(read_output(&reply, &person()).is_ok());
    }
}

#[test]
fn each_fault_has_its_kind() {
    use StopReason as S;
    let no_text = OutputFault::NoText {
        stopped: S::EndTurn,
    };
    assert_eq!(fault(&[" \n"], S::EndTurn), no_text);
    for stopped in [S::Refusal, S::ContentFilter] {
        assert_eq!(fault(&["No."], stopped), OutputFault::Refused { stopped });
    }
    for stopped in [S::MaxTokens, S::ContextWindow, S::Cancelled] {
        let cut = OutputFault::CutOff { stopped };
        assert_eq!(fault(&["{\"na"], stopped), cut);
        assert_eq!(fault(&[], stopped), cut);
    }
    let OutputFault::NotJson { reason } = fault(&["{\"name\": Ada}"], S::EndTurn) else {
        panic!("another fault")
    };
    assert!(reason.ends_with("line 1 column 10"), "{reason}");
}

#[test]
fn what_does_not_match_is_named_with_its_place() {
    let error = read_output(
        &reply(&[r#"{"age":"7","x":1}"#], StopReason::EndTurn),
        &person(),
    );
    let error = error.unwrap_err();
    let OutputFault::Mismatch { places } = &error.fault else {
        panic!("{error}")
    };
    let at: Vec<&str> = places.iter().map(|place| &*place.at).collect();
    assert_eq!(places.len(), 3, "{error}");
    assert!(at.contains(&"/age") && at.contains(&""), "{error}");
    assert!(
        error
            .to_string()
            .contains("\"name\" is a required property"),
        "{error}"
    );
    let long = format!(
        r#"{{"name":{}}}"#,
        "[1],".repeat(10_000).trim_end_matches(',')
    );
    let long = long.replacen("[1]", "[[1]", 1).replace("]}", "]]}");
    let error = read_output(&reply(&[&long], StopReason::EndTurn), &person()).unwrap_err();
    assert!(
        error.to_string().len() < 2_000,
        "{}",
        error.to_string().len()
    );
}

#[test]
fn null_counts_as_absent_where_the_schema_wants_that() {
    let schema = json!({
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "age": {"type": "integer"},
            "free": {"type": ["string", "null"]},
            "inner": {"$ref": "#/$defs/Inner"},
            "some": {"anyOf": [
                {"type": "object", "properties": {"kind": {"const": "a"}, "x": {"type": "string"}}, "required": ["kind"], "additionalProperties": false},
                {"type": "object", "properties": {"kind": {"const": "b"}, "y": {"type": "string"}}, "required": ["kind", "y"], "additionalProperties": false},
            ]},
        },
        "required": ["name"],
        "$defs": {"Inner": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}}}}},
    });
    let text = r#"{"name":"A","age":null,"free":null,"inner":[{"n":null},{"n":1}],"some":{"kind":"a","x":null}}"#;
    let value = read_output(&reply(&[text], StopReason::EndTurn), &form(&schema)).unwrap();
    let wanted = json!({"name": "A", "free": null, "inner": [{}, {"n": 1}], "some": {"kind": "a"}});
    assert_eq!(value, wanted);
    let text = r#"{"name":null}"#;
    let error = read_output(&reply(&[text], StopReason::EndTurn), &form(&schema)).unwrap_err();
    assert!(error.to_string().contains("at `/name` null"), "{error}");
    let around =
        json!({"anyOf": [{"$ref": "#"}, {"$ref": "#"}], "properties": {"a": {"type": "string"}}});
    let text = r#"{"a":1,"b":null}"#;
    assert!(read_output(&reply(&[text], StopReason::EndTurn), &form(&around)).is_err());
}

#[test]
fn an_answer_is_read_into_a_type() {
    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Person {
        name: String,
        age: Option<u8>,
    }
    let good = reply(&[r#"{"name":"Ada"}"#], StopReason::EndTurn);
    let person_read: Person = read_output_as(&good, &person()).unwrap();
    assert_eq!((&*person_read.name, person_read.age), ("Ada", None));
    let bad = reply(&[r#"{"name":"Ada","age":700}"#], StopReason::EndTurn);
    let error = read_output_as::<Person>(&bad, &person()).unwrap_err();
    assert!(matches!(error.fault, OutputFault::Type { .. }), "{error}");
}

#[test]
fn a_schema_that_is_none_is_told() {
    for schema in [json!({"type": 7}), json!({"$ref": "#/nowhere"}), json!([])] {
        let answer = reply(&["{}"], StopReason::EndTurn);
        let error = read_output(&answer, &form(&schema)).unwrap_err();
        assert!(matches!(error.fault, OutputFault::Schema { .. }), "{error}");
    }
}
