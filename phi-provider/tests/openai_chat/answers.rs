//! Whole answers, which the decoder of streams reads too.

use phi_types::{ProviderErrorKind, StopReason};
use serde_json::json;

use crate::{message, whole};

#[test]
fn a_whole_answer_is_the_message_that_a_stream_would_have_been() {
    let at_once = json!({"id": "r", "model": "m2", "choices": [{"index": 0, "finish_reason":
        "tool_calls", "message": {"role": "assistant", "content": "so", "reasoning_content": "hm",
        "tool_calls": [{"id": "a", "type": "function",
            "function": {"name": "x", "arguments": "{\"k\":1}"}}]}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}});
    let streamed = crate::stream(&[
        json!({"id": "r", "model": "m2", "choices": [{"index": 0,
            "delta": {"role": "assistant", "reasoning_content": "h"}}]}),
        json!({"choices": [{"index": 0, "delta": {"reasoning_content": "m"}}]}),
        json!({"choices": [{"index": 0, "delta": {"content": "so"}}]}),
        crate::call(
            json!({"index": 0, "id": "a", "function": {"name": "x", "arguments": "{\"k\""}}),
        ),
        crate::call(json!({"index": 0, "function": {"arguments": ":1}"}})),
        crate::finish("tool_calls"),
        json!({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4,
            "total_tokens": 7}}),
    ]);
    let message_at_once = message(&at_once.to_string()).unwrap();
    assert_eq!(message(&streamed).unwrap(), message_at_once);
    assert_eq!(message_at_once.stop_reason, StopReason::ToolUse);
}

#[test]
fn white_space_before_and_after_an_answer_is_skipped() {
    let body = whole(json!({"content": "hi"}), "stop");
    let message = message(&format!("\n   \n\r\n{body}\n\n")).unwrap();
    assert_eq!(message.text(), "hi");
}

#[test]
fn a_whole_answer_that_is_cut_is_incomplete() {
    let body = whole(json!({"content": "hi"}), "stop");
    for end in 1..body.len() {
        let error = message(&body[..end]).unwrap_err();
        assert_eq!(error.kind, ProviderErrorKind::Incomplete, "{end}");
    }
}

#[test]
fn an_answer_without_a_choice_is_incomplete() {
    for body in [
        json!({"id": "x", "choices": []}),
        json!({"id": "x"}),
        json!({}),
    ] {
        let error = message(&body.to_string()).unwrap_err();
        assert_eq!(error.kind, ProviderErrorKind::Incomplete, "{body}");
    }
}

#[test]
fn an_empty_answer_that_finished_is_an_empty_message() {
    let message = message(&whole(json!({"content": ""}), "stop")).unwrap();
    assert_eq!(message.parts, []);
    assert_eq!(message.stop_reason, StopReason::EndTurn);
}

#[test]
fn audio_and_what_else_is_not_known_is_ignored() {
    let message = message(&whole(
        json!({"content": "hi", "audio": {"id": "x", "data": "AAAA"}, "annotations": [{}],
            "executed_tools": [{"type": "search"}], "padding": "xx"}),
        "stop",
    ))
    .unwrap();
    assert_eq!((message.text().as_str(), message.parts.len()), ("hi", 1));
}

#[test]
fn choices_of_one_index_are_one_answer() {
    let body = json!({"choices": [
        {"index": 0, "message": {"content": "so"}, "finish_reason": "tool_calls"},
        {"index": 0, "message": {"tool_calls": [{"id": "a",
            "function": {"name": "x", "arguments": "{}"}}]}, "finish_reason": "tool_calls"},
    ]});
    let message = message(&body.to_string()).unwrap();
    assert_eq!(message.text(), "so");
    assert_eq!(crate::calls(&message).len(), 1);
}
