//! How streams are framed and what else stands in them.

use phi_types::{ProviderErrorKind, StopReason};
use serde_json::json;

use crate::{decode, last, message, parts, shown, stream, text};

fn chunks() -> Vec<serde_json::Value> {
    vec![
        parts(json!([text("h")])),
        parts(json!([text("é😀")])),
        last(json!([text("!")]), "STOP"),
    ]
}

#[test]
fn g01_a_stream_ends_its_lines_with_carriage_returns_too() {
    let body = stream(&chunks());
    assert!(body.contains("\r\n\r\n"));
    for end in ["\r\n", "\n", "\r"] {
        let body = body.replace("\r\n", end);
        assert_eq!(message(&body).unwrap().text(), "hé😀!");
        for size in [1, 2, 3, 7] {
            let cut = decode(body.as_bytes().chunks(size));
            assert_eq!(
                cut,
                decode([body.as_bytes()]),
                "{end:?} in pieces of {size}"
            );
        }
    }
}

#[test]
fn g01_a_stream_may_come_as_an_array_and_each_item_counts_when_it_is_complete() {
    let items: Vec<String> = chunks().iter().map(|it| format!("{it:#}")).collect();
    let array = format!("[{}\n]\n", items.join("\n,\r\n"));
    assert_eq!(
        decode([array.as_bytes()]),
        decode([stream(&chunks()).as_bytes()])
    );
    for size in [1, 5, 64] {
        let cut = decode(array.as_bytes().chunks(size));
        assert_eq!(cut, decode([array.as_bytes()]), "in pieces of {size}");
    }
    let half = format!("[{},{}", items[0], &items[1][..20]);
    let (deltas, error) = decode([half.as_bytes()]);
    assert_eq!(error.unwrap().kind, ProviderErrorKind::Incomplete);
    assert!(deltas.contains(&phi_types::Delta::text(0, "h")));
    let unclosed = format!("[{}", items.join(","));
    assert_eq!(message(&unclosed).unwrap().text(), "hé😀!");
}

#[test]
fn t06_the_end_of_the_body_ends_the_stream_and_a_last_event_may_lack_its_empty_line() {
    for end in ["", "\r\n", "\n"] {
        let body = stream(&chunks());
        let body = format!("{}{end}", body.trim_end());
        let message = message(&body).unwrap();
        assert_eq!(message.text(), "hé😀!", "{end:?}");
        assert_eq!(message.stop_reason, StopReason::EndTurn);
    }
    let body = stream(&chunks());
    let (_, error) = decode([&body.as_bytes()[..body.len() - 10]]);
    assert_eq!(error.unwrap().kind, ProviderErrorKind::Incomplete);
}

#[test]
fn t06_a_gateway_may_end_the_stream_with_done() {
    let body = stream(&chunks()) + "data: [DONE]\n\n" + &stream(&chunks());
    assert_eq!(message(&body).unwrap().text(), "hé😀!");
    let (_, error) = decode([b"data: [DONE]\n\n".as_slice()]);
    assert_eq!(error.unwrap().kind, ProviderErrorKind::Incomplete);
}

#[test]
fn t03_comments_and_events_without_data_are_skipped() {
    let noisy = stream(&chunks()).replace("\r\n\r\n", "\r\n\r\n: keep-alive\r\n\r\ndata:\r\n\r\n");
    assert_eq!(message(&noisy).unwrap().text(), "hé😀!");
}

#[test]
fn texts_of_several_chunks_are_one_part_and_thoughts_another() {
    let thought = |text: &str| json!([{"text": text, "thought": true}]);
    let body = stream(&[
        parts(thought("a")),
        parts(thought("b")),
        parts(json!([text("c"), text("")])),
        parts(json!([text("")])),
        parts(json!([text("d")])),
        last(json!([text("")]), "STOP"),
    ]);
    assert_eq!(shown(&message(&body).unwrap()), ["thinking ab", "text cd"]);
}

#[test]
fn other_candidates_are_not_read() {
    let other = json!({"candidates": [
        {"index": 1, "content": {"parts": [text("x")]}, "finishReason": "SAFETY"},
        {"index": 0, "content": {"parts": [text("y")]}, "finishReason": "STOP"}
    ]});
    let message = message(&stream(&[other])).unwrap();
    assert_eq!(shown(&message), ["text y"]);
    assert_eq!(message.stop_reason, StopReason::EndTurn);
}

#[test]
fn fields_may_be_spelled_in_snake_case() {
    let chunk = json!({"response_id": "r", "model_version": "v",
        "usage_metadata": {"prompt_token_count": 3},
        "candidates": [{"finish_reason": "STOP", "content": {"parts": [
            {"text": "x", "thought_signature": "s"},
            {"function_call": {"name": "f", "args": {}}}]}}]});
    let message = message(&stream(&[chunk])).unwrap();
    assert_eq!(shown(&message), ["text x [s]", "call r_0 f {}"]);
    assert_eq!(message.usage.input_tokens, Some(3));
    assert_eq!(message.origin.response_model.as_deref(), Some("v"));
}
