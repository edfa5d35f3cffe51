//! Calls: their ids, their signatures, and the pieces that they come in.

use phi_types::{Arguments, StopReason};
use serde_json::{Value, json};

use crate::{call, decode, last, message, parts, shown, stream, text};

#[test]
fn g02_a_call_without_an_id_gets_one_that_no_other_response_has() {
    let chunks = |id: &str| {
        let mut first = parts(json!([call("f", json!({})), call("f", json!({}))]));
        first["responseId"] = id.into();
        let mut second = last(json!([call("f", json!({}))]), "STOP");
        second["responseId"] = id.into();
        stream(&[first, second])
    };
    let ids = |body: &str| -> Vec<String> {
        let message = message(body).unwrap();
        message
            .tool_calls()
            .map(|call| call.id.to_string())
            .collect()
    };
    assert_eq!(ids(&chunks("a-1")), ["a-1_0", "a-1_1", "a-1_2"]);
    assert_eq!(ids(&chunks("b")), ["b_0", "b_1", "b_2"]);
    assert_eq!(ids(&chunks("")), ["call_0", "call_1", "call_2"]);
    let given =
        json!([{"functionCall": {"id": "own", "name": "f", "args": {}}}, call("f", json!({}))]);
    assert_eq!(ids(&stream(&[last(given, "STOP")])), ["own", "r_1"]);
}

#[test]
fn g02_the_id_that_the_service_gave_is_marked_as_its_own() {
    let body = stream(&[last(
        json!([{"functionCall": {"id": "own", "name": "f", "args": {}}}, call("g", json!({}))]),
        "STOP",
    )]);
    let message = message(&body).unwrap();
    let marks: Vec<_> = message
        .tool_calls()
        .map(|call| call.facts.item_id.clone())
        .collect();
    assert_eq!(marks, [Some("own".to_owned()), None]);
}

#[test]
fn g03_a_signature_stays_on_the_part_that_it_came_on() {
    let signed = |part: Value, signature: &str| {
        let mut part = part;
        part["thoughtSignature"] = signature.into();
        part
    };
    let body = stream(&[
        parts(json!([{"text": "hm", "thought": true}])),
        parts(json!([text("a")])),
        parts(json!([signed(text("b"), "s1")])),
        parts(json!([text("c")])),
        parts(json!([
            signed(call("f", json!({"k": 1})), "s2"),
            call("g", json!({}))
        ])),
        last(json!([signed(text(""), "s3")]), "STOP"),
    ]);
    assert_eq!(
        shown(&message(&body).unwrap()),
        [
            "thinking hm",
            "text a",
            "text b [s1]",
            "text c",
            "call r_0 f {\"k\":1} [s2]",
            "call r_1 g {}",
            "text  [s3]",
        ]
    );
}

#[test]
fn g03_a_signature_may_stand_on_thoughts_and_on_nothing() {
    let body = stream(&[
        parts(json!([{"text": "hm", "thought": true, "thoughtSignature": "s1"}])),
        parts(json!([{"text": "more", "thought": true}])),
        last(json!([{"thoughtSignature": "s2"}]), "STOP"),
    ]);
    assert_eq!(
        shown(&message(&body).unwrap()),
        ["thinking hm [s1]", "thinking more", "text  [s2]"]
    );
}

fn piece(path: &str, text: &str, goes_on: bool) -> Value {
    let mut arg = json!({"jsonPath": path, "stringValue": text});
    if goes_on {
        arg["willContinue"] = true.into();
    }
    json!([{"functionCall": {"partialArgs": [arg], "willContinue": true}}])
}

fn begin(name: &str) -> Value {
    parts(json!([{"functionCall": {"name": name, "willContinue": true}, "thoughtSignature": "s"}]))
}

#[test]
fn g18_the_pieces_of_arguments_become_one_object() {
    let scalars = json!([{"functionCall": {"partialArgs": [
        {"jsonPath": "$.n", "numberValue": 0.5},
        {"jsonPath": "$.on", "boolValue": true},
        {"jsonPath": "$.list[1]", "stringValue": "second"},
        {"jsonPath": "$.nothing", "nullValue": "NULL_VALUE"},
        {"jsonPath": "$['a.b'][0].c", "stringValue": "deep"}
    ], "willContinue": true}}]);
    let body = stream(&[
        begin("f"),
        parts(piece("$.city", "San ", true)),
        parts(piece("$.city", "Francisco", true)),
        parts(piece("$.city", "", false)),
        parts(scalars),
        parts(json!([{"functionCall": {"willContinue": true}}])),
        parts(json!([{"functionCall": {}}])),
        begin("g"),
        last(json!([{"functionCall": {}}]), "STOP"),
    ]);
    let message = message(&body).unwrap();
    assert_eq!(
        shown(&message),
        [
            r#"call r_0 f {"a.b":[{"c":"deep"}],"city":"San Francisco","list":[null,"second"],"n":0.5,"nothing":null,"on":true} [s]"#,
            "call r_1 g {} [s]",
        ]
    );
    assert_eq!(message.stop_reason, StopReason::ToolUse);
}

#[test]
fn g18_a_call_whose_end_is_not_stated_ends_with_what_follows_it() {
    for next in [text("so"), call("g", json!({}))] {
        let body = stream(&[
            begin("f"),
            parts(piece("$.k", "v", false)),
            last(json!([next]), "STOP"),
        ]);
        let shown = shown(&message(&body).unwrap());
        assert_eq!(shown[0], r#"call r_0 f {"k":"v"} [s]"#);
        assert_eq!(shown.len(), 2);
    }
    let body = stream(&[
        begin("f"),
        parts(piece("$.k", "v", true)),
        last(json!([text("")]), "STOP"),
    ]);
    assert_eq!(
        shown(&message(&body).unwrap()),
        [r#"call r_0 f {"k":"v"} [s]"#]
    );
}

#[test]
fn g18_a_call_that_the_output_limit_cuts_off_never_runs() {
    let body = stream(&[begin("f"), last(piece("$.k", "v", true), "MAX_TOKENS")]);
    let message = message(&body).unwrap();
    let call = message.tool_calls().next().unwrap();
    assert_eq!(call.arguments, Arguments::cut_off(r#"{"k":"v"}"#));
}

#[test]
fn g18_a_piece_without_a_place_is_an_error() {
    let long = format!("$.a[{}]", u32::MAX);
    let deep = format!("${}", "[0]".repeat(1_000));
    for path in ["", "k", "$.", "$[x]", "$['k", &long, &deep] {
        let body = stream(&[begin("f"), parts(piece(path, "v", false))]);
        let (_, error) = decode([body.as_bytes()]);
        let error = error.unwrap();
        assert_eq!(error.kind, phi_types::ProviderErrorKind::Protocol, "{path}");
    }
}

#[test]
fn a_call_may_leave_out_its_arguments_or_send_them_as_text() {
    let body = stream(&[last(
        json!([
            {"functionCall": {"name": "f"}},
            {"functionCall": {"name": "g", "args": null}},
            {"functionCall": {"name": "h", "args": "{\"k\":\"v\"}"}},
            {"functionCall": {"name": "i", "args": [1]}},
        ]),
        "STOP",
    )]);
    assert_eq!(
        shown(&message(&body).unwrap()),
        [
            "call r_0 f {}",
            "call r_1 g {}",
            r#"call r_2 h {"k":"v"}"#,
            "call r_3 i malformed [1]",
        ]
    );
}

#[test]
fn a_complete_call_runs_also_where_the_output_limit_was_reached_after_it() {
    let body = stream(&[
        parts(json!([call("f", json!({"k": 1}))])),
        last(json!([text("and")]), "MAX_TOKENS"),
    ]);
    let message = message(&body).unwrap();
    let call = message.tool_calls().next().unwrap();
    assert_eq!(call.arguments, Arguments::parse(r#"{"k":1}"#));
    assert_eq!(message.stop_reason, StopReason::MaxTokens);
}
