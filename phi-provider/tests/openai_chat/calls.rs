//! Tool calls in pieces of every shape.

use phi_types::{Delta, StopReason};
use serde_json::json;

use crate::{call, calls, delta, deltas, finish, message, open_stream, stream, whole};

fn owned(expected: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    let expected = expected.iter();
    expected
        .map(|(id, name, arguments)| (id.to_string(), name.to_string(), arguments.to_string()))
        .collect()
}

#[test]
fn c01_index_keys_interleaved_calls() {
    let message = message(&stream(&[
        call(json!({"index": 0, "id": "a", "function": {"name": "x", "arguments": ""}})),
        call(json!({"index": 1, "id": "b", "function": {"name": "y", "arguments": "{\"k\""}})),
        call(json!({"index": 0, "function": {"arguments": "{}"}})),
        call(json!({"index": 1, "function": {"arguments": ":1}"}})),
        finish("tool_calls"),
    ]))
    .unwrap();
    assert_eq!(
        calls(&message),
        owned(&[("a", "x", "{}"), ("b", "y", "{\"k\":1}")])
    );
}

#[test]
fn c01_late_id_and_name() {
    let message = message(&stream(&[
        call(json!({"index": 0, "function": {"arguments": "{\"k\":"}})),
        call(json!({"index": 0, "function": {"name": "x", "arguments": "1"}})),
        call(json!({"index": 0, "id": "a", "function": {"arguments": "}"}})),
        finish("tool_calls"),
    ]))
    .unwrap();
    assert_eq!(calls(&message), owned(&[("a", "x", "{\"k\":1}")]));
}

#[test]
fn c01_an_id_that_never_comes_is_made() {
    let message = message(&stream(&[
        call(json!({"index": 0, "function": {"name": "x", "arguments": "{}"}})),
        call(json!({"index": 1, "function": {"name": "y", "arguments": "{}"}})),
        finish("tool_calls"),
    ]))
    .unwrap();
    assert_eq!(
        calls(&message),
        owned(&[("call_0", "x", "{}"), ("call_1", "y", "{}")])
    );
}

#[test]
fn c01_id_and_name_in_every_chunk_are_one_call() {
    let piece = |arguments: &str| {
        call(json!({"index": 0, "id": "a", "type": "function",
            "function": {"name": "x", "arguments": arguments}}))
    };
    let message = message(&stream(&[
        piece("{\"k\""),
        piece(":1}"),
        piece(""),
        finish("tool_calls"),
    ]))
    .unwrap();
    assert_eq!(calls(&message), owned(&[("a", "x", "{\"k\":1}")]));
}

#[test]
fn c01_empty_id_and_name_later_take_nothing_back() {
    let message = message(&stream(&[
        call(json!({"index": 0, "id": "a", "function": {"name": "x", "arguments": "{"}})),
        call(json!({"index": 0, "id": "", "function": {"name": "", "arguments": "}"}})),
        call(json!({"index": 0, "id": null, "function": {"name": null, "arguments": null}})),
        finish("tool_calls"),
    ]))
    .unwrap();
    assert_eq!(calls(&message), owned(&[("a", "x", "{}")]));
}

#[test]
fn c01_a_new_id_at_the_same_index_is_a_new_call() {
    let message = message(&stream(&[
        call(json!({"index": 0, "id": "a", "function": {"name": "x", "arguments": "{\"n\":1}"}})),
        call(json!({"index": 0, "id": "b", "function": {"name": "x", "arguments": "{\"n\":"}})),
        call(json!({"index": 0, "function": {"arguments": "2}"}})),
        finish("tool_calls"),
    ]))
    .unwrap();
    assert_eq!(
        calls(&message),
        owned(&[("a", "x", "{\"n\":1}"), ("b", "x", "{\"n\":2}")])
    );
}

#[test]
fn c01_a_new_id_for_every_piece_of_one_call_is_one_call() {
    let message = message(&stream(&[
        call(json!({"index": 0, "id": "a", "function": {"name": "x", "arguments": "{"}})),
        call(json!({"index": 0, "id": "b", "function": {"arguments": "\"k\":1"}})),
        call(json!({"index": 0, "id": "c", "function": {"arguments": "}"}})),
        finish("tool_calls"),
    ]))
    .unwrap();
    assert_eq!(calls(&message), owned(&[("a", "x", "{\"k\":1}")]));
}

#[test]
fn c01_the_same_id_at_two_indices_is_two_calls() {
    let message = message(&stream(&[
        call(json!({"index": 0, "id": "a", "function": {"name": "x", "arguments": "{\"n\":1"}})),
        call(json!({"index": 1, "id": "a", "function": {"name": "y", "arguments": "{\"n\":2"}})),
        call(json!({"index": 0, "id": "a", "function": {"arguments": "}"}})),
        call(json!({"index": 1, "id": "a", "function": {"arguments": "}"}})),
        finish("tool_calls"),
    ]))
    .unwrap();
    assert_eq!(
        calls(&message),
        owned(&[("a", "x", "{\"n\":1}"), ("a_1", "y", "{\"n\":2}")])
    );
}

#[test]
fn c01_without_index_and_id_whole_entries_are_calls_of_their_own() {
    let entry = |n: u8| json!({"function": {"name": "x", "arguments": format!("{{\"n\":{n}}}")}});
    let message = message(&stream(&[
        delta(json!({"tool_calls": [entry(1), entry(2)]})),
        finish("tool_calls"),
    ]))
    .unwrap();
    assert_eq!(
        calls(&message),
        owned(&[("call_0", "x", "{\"n\":1}"), ("call_1", "x", "{\"n\":2}")])
    );
}

#[test]
fn c01_an_index_that_does_not_start_at_zero_is_fine() {
    let message = message(&stream(&[
        delta(json!({"content": "Reading it."})),
        call(json!({"index": 7, "id": "a", "function": {"name": "x", "arguments": "{}"}})),
        finish("tool_calls"),
    ]))
    .unwrap();
    assert_eq!(message.text(), "Reading it.");
    assert_eq!(calls(&message), owned(&[("a", "x", "{}")]));
}

#[test]
fn c02_several_entries_and_content_in_one_chunk() {
    let message = message(&stream(&[
        delta(json!({
            "reasoning_content": "hm",
            "content": "so",
            "tool_calls": [
                {"index": 0, "id": "a", "function": {"name": "x", "arguments": "{}"}},
                {"index": 1, "id": "b", "function": {"name": "y", "arguments": "{}"}},
            ],
        })),
        finish("tool_calls"),
    ]))
    .unwrap();
    assert_eq!(
        (crate::thinking(&message).as_str(), message.text().as_str()),
        ("hm", "so")
    );
    assert_eq!(
        calls(&message),
        owned(&[("a", "x", "{}"), ("b", "y", "{}")])
    );
}

#[test]
fn c07_empty_arguments_are_an_empty_object() {
    for arguments in [json!(""), json!(null), json!(" "), json!("null")] {
        let message = message(&stream(&[
            call(json!({"index": 0, "id": "a", "function": {"name": "x", "arguments": arguments}})),
            finish("tool_calls"),
        ]))
        .unwrap();
        assert_eq!(calls(&message), owned(&[("a", "x", "{}")]), "{arguments}");
    }
}

#[test]
fn c07_a_call_is_not_closed_before_its_arguments_are_whole() {
    let (deltas, _) = deltas(&open_stream(&[
        call(json!({"index": 0, "id": "a", "function": {"name": "x", "arguments": ""}})),
        call(json!({"index": 1, "id": "b", "function": {"name": "y", "arguments": "{\"k\":{}"}})),
        call(json!({"index": 2, "id": "c", "function": {"name": "z", "arguments": "{}"}})),
        call(json!({"index": 3, "id": "d", "function": {"name": "z", "arguments": "{}"}})),
    ]));
    let closed: Vec<u32> = deltas
        .iter()
        .filter_map(|delta| match delta {
            Delta::PartEnded(ended) => Some(ended.part),
            _ => None,
        })
        .collect();
    // The third is whole and another call came after it.
    assert_eq!(closed, [2]);
}

#[test]
fn c07_arguments_that_come_as_an_object_are_taken() {
    let message = message(&stream(&[
        call(json!({"index": 0, "id": "a", "function": {"name": "x", "arguments": {"k": [1]}}})),
        finish("tool_calls"),
    ]))
    .unwrap();
    assert_eq!(calls(&message), owned(&[("a", "x", "{\"k\":[1]}")]));
}

#[test]
fn c22_special_tokens_behind_the_arguments_are_dropped() {
    for garbage in ["<|endoftext|>", " <|im_end|>\n", "</s>", "<|a|><|b|>"] {
        for cut in [0, 3] {
            let (first, second) = garbage.split_at(cut);
            let message = message(&stream(&[
                call(json!({"index": 0, "id": "a", "function": {"name": "x",
                    "arguments": format!("{{\"k\":\"}}\"}}{first}")}})),
                call(json!({"index": 0, "function": {"arguments": second}})),
                finish("tool_calls"),
            ]))
            .unwrap();
            assert_eq!(calls(&message), owned(&[("a", "x", "{\"k\":\"}\"}")]));
        }
    }
}

#[test]
fn c22_other_garbage_makes_the_arguments_malformed_and_is_kept() {
    for arguments in [
        "{}{}",
        "{} and more",
        "{\"k\":1,}",
        "{\"k\":1",
        "[1]",
        "{}<|x",
    ] {
        let message = message(&stream(&[
            call(json!({"index": 0, "id": "a", "function": {"name": "x", "arguments": arguments}})),
            finish("tool_calls"),
        ]))
        .unwrap();
        let expected = format!("malformed: {arguments}");
        assert_eq!(calls(&message), owned(&[("a", "x", &expected)]));
    }
}

#[test]
fn a_piece_that_comes_twice_counts_once() {
    let piece = call(json!({"index": 0, "id": "a",
        "function": {"name": "x", "arguments": "{\"k\":1}"}}));
    let message = message(&stream(&[piece.clone(), piece, finish("tool_calls")])).unwrap();
    assert_eq!(calls(&message), owned(&[("a", "x", "{\"k\":1}")]));
}

#[test]
fn a_length_stop_cuts_the_open_call_and_keeps_the_closed_one() {
    let message = message(&stream(&[
        call(json!({"index": 0, "id": "a", "function": {"name": "x", "arguments": "{}"}})),
        call(json!({"index": 1, "id": "b", "function": {"name": "y", "arguments": "{\"k\":"}})),
        finish("length"),
    ]))
    .unwrap();
    assert_eq!(message.stop_reason, StopReason::MaxTokens);
    assert_eq!(
        calls(&message),
        owned(&[("a", "x", "{}"), ("b", "y", "malformed: {\"k\":")])
    );
}

#[test]
fn a_length_stop_before_the_arguments_never_runs_the_call_without_them() {
    let message = message(&stream(&[
        call(json!({"index": 0, "id": "a", "function": {"name": "x", "arguments": ""}})),
        finish("length"),
    ]))
    .unwrap();
    assert_eq!(calls(&message), owned(&[("a", "x", "malformed: ")]));
}

#[test]
fn the_legacy_function_call_is_a_call() {
    let streamed = stream(&[
        delta(json!({"function_call": {"name": "x", "arguments": ""}})),
        delta(json!({"function_call": {"arguments": "{\"k\""}})),
        delta(json!({"function_call": {"arguments": ":1}"}})),
        finish("function_call"),
    ]);
    let at_once = whole(
        json!({"content": null, "function_call": {"name": "x", "arguments": "{\"k\":1}"}}),
        "function_call",
    );
    for body in [streamed, at_once] {
        let message = message(&body).unwrap();
        assert_eq!(message.stop_reason, StopReason::ToolUse);
        assert_eq!(calls(&message), owned(&[("call_0", "x", "{\"k\":1}")]));
    }
}

#[test]
fn empty_calls_beside_an_answer_are_none() {
    let message = message(&whole(
        json!({"content": "hi", "tool_calls": [{}], "function_call": {"name": "", "arguments": ""}}),
        "stop",
    ))
    .unwrap();
    assert_eq!(message.stop_reason, StopReason::EndTurn);
    assert_eq!(message.parts.len(), 1);
}

#[test]
fn a_custom_tool_call_keeps_its_text() {
    let message = message(&whole(
        json!({"content": null, "tool_calls": [{"id": "a", "type": "custom",
            "custom": {"name": "x", "input": "free text"}}]}),
        "tool_calls",
    ))
    .unwrap();
    assert_eq!(
        calls(&message),
        owned(&[("a", "x", "malformed: free text")])
    );
}
