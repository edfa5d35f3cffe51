//! What finish reasons mean.

use phi_types::{ProviderErrorKind, StopReason};
use serde_json::{Value, json};

use crate::{call, delta, finish, message, open_stream, stream, whole};

fn stop_of(chunks: &[Value]) -> (StopReason, Option<String>) {
    let message = message(&stream(chunks)).unwrap();
    (message.stop_reason, message.stop_reason_raw)
}

fn a_call() -> Value {
    call(json!({"index": 0, "id": "a", "function": {"name": "x", "arguments": "{}"}}))
}

fn a_text() -> Value {
    delta(json!({"content": "hi"}))
}

#[test]
fn c06_stop_although_tools_were_called_is_tool_use() {
    for word in ["stop", "end", "eos", "tool_calls", "function_call", "STOP"] {
        assert_eq!(
            stop_of(&[a_call(), finish(word)]),
            (StopReason::ToolUse, Some(word.to_owned()))
        );
    }
}

#[test]
fn c06_tool_calls_without_any_is_the_end() {
    for word in ["tool_calls", "function_call", "stop", "end", "eos"] {
        let chunks = [a_text(), delta(json!({"tool_calls": []})), finish(word)];
        assert_eq!(stop_of(&chunks).0, StopReason::EndTurn, "{word}");
    }
}

#[test]
fn c06_the_other_words_keep_their_meaning() {
    for (word, expected) in [
        ("length", StopReason::MaxTokens),
        ("content_filter", StopReason::ContentFilter),
        ("model_length", StopReason::ContextWindow),
        ("model_context_window_exceeded", StopReason::ContextWindow),
    ] {
        for piece in [a_text(), a_call()] {
            assert_eq!(
                stop_of(&[piece, finish(word)]),
                (expected, Some(word.to_owned()))
            );
        }
    }
}

#[test]
fn c06_an_unknown_word_is_not_success() {
    assert_eq!(
        stop_of(&[a_text(), finish("because")]),
        (StopReason::Other, Some("because".to_owned()))
    );
}

#[test]
fn c06_error_is_an_error() {
    for (word, kind) in [
        ("error", ProviderErrorKind::Server),
        (
            "insufficient_system_resource",
            ProviderErrorKind::Overloaded,
        ),
    ] {
        let error = message(&stream(&[a_text(), finish(word)])).unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.is_retryable());
        assert!(error.message.contains(word), "{error}");
    }
}

#[test]
fn c06_null_at_the_very_end_is_not_success() {
    let last = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": null}]});
    assert_eq!(
        stop_of(&[a_text(), last.clone()]),
        (StopReason::Other, None)
    );
    // What a service waits for is clear where it called tools and says that it is done.
    assert_eq!(stop_of(&[a_call(), last]), (StopReason::ToolUse, None));
    let body = whole(json!({"content": "hi"}), "");
    assert_eq!(message(&body).unwrap().stop_reason, StopReason::Other);
}

#[test]
fn c06_done_without_any_output_or_finish_is_incomplete() {
    for body in [stream(&[]), stream(&[delta(json!({"role": "assistant"}))])] {
        let error = message(&body).unwrap_err();
        assert_eq!(error.kind, ProviderErrorKind::Incomplete);
    }
}

#[test]
fn t07_a_close_without_done_after_the_finish_is_success() {
    let message = message(&open_stream(&[a_text(), finish("stop")])).unwrap();
    assert_eq!(
        (message.text().as_str(), message.stop_reason),
        ("hi", StopReason::EndTurn)
    );
}

#[test]
fn t07_a_close_before_the_finish_is_truncation() {
    for chunks in [&[][..], &[a_text()], &[a_text(), a_call()]] {
        let error = message(&open_stream(chunks)).unwrap_err();
        assert_eq!(error.kind, ProviderErrorKind::Incomplete);
        assert!(error.is_retryable());
    }
}

#[test]
fn a_finish_that_comes_again_says_nothing_new() {
    let null = json!({"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": null}]});
    let (deltas, error) = crate::deltas(&stream(&[a_text(), finish("stop"), finish("stop"), null]));
    assert_eq!(error, None);
    let finishes = deltas
        .iter()
        .filter(|delta| matches!(delta, phi_types::Delta::Finish(_)));
    assert_eq!(finishes.count(), 1);
}

#[test]
fn a_call_after_the_finish_is_still_a_call() {
    let chunks = [a_text(), finish("stop"), a_call()];
    assert_eq!(stop_of(&chunks).0, StopReason::ToolUse);
}

#[test]
fn c17_a_refusal_is_shown_and_is_no_success() {
    let streamed = stream(&[
        delta(json!({"role": "assistant", "content": "", "refusal": null})),
        delta(json!({"refusal": "I can"})),
        delta(json!({"refusal": "not"})),
        finish("stop"),
    ]);
    let at_once = whole(json!({"content": null, "refusal": "I cannot"}), "stop");
    for body in [streamed, at_once] {
        let message = message(&body).unwrap();
        assert_eq!(message.text(), "I cannot");
        assert_eq!(message.stop_reason, StopReason::Refusal);
        assert_eq!(message.stop_reason_raw.as_deref(), Some("stop"));
    }
}
