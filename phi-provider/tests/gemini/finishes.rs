//! Why a model stops, and what ends an answer otherwise.

use phi_types::{ProviderErrorKind, StopReason};
use serde_json::json;

use crate::{call, decode, last, message, parts, shown, stream, text};

fn reason(word: &str) -> StopReason {
    let message = message(&stream(&[last(json!([text("x")]), word)])).unwrap();
    assert_eq!(message.stop_reason_raw.as_deref(), Some(word));
    message.stop_reason
}

#[test]
fn g05_the_words_of_refusals_are_a_content_filter() {
    for word in [
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "MODEL_ARMOR",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
    ] {
        assert_eq!(reason(word), StopReason::ContentFilter, "{word}");
    }
}

#[test]
fn g05_a_word_that_is_not_known_is_no_success() {
    for word in [
        "OTHER",
        "NO_IMAGE",
        "IMAGE_OTHER",
        "TOO_MANY_TOOL_CALLS",
        "UNEXPECTED_TOOL_CALL",
        "MISSING_THOUGHT_SIGNATURE",
        "stop",
        "A_NEW_WORD",
    ] {
        assert_eq!(reason(word), StopReason::Other, "{word}");
    }
    assert_eq!(reason("STOP"), StopReason::EndTurn);
    assert_eq!(reason("MAX_TOKENS"), StopReason::MaxTokens);
}

#[test]
fn g05_a_call_that_the_service_could_not_read_is_asked_for_again() {
    for word in ["MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE"] {
        let chunk = json!({"candidates": [{"finishReason": word, "finishMessage": "print(f("}],
            "usageMetadata": {"promptTokenCount": 7}});
        for body in [stream(std::slice::from_ref(&chunk)), chunk.to_string()] {
            let (deltas, error) = decode([body.as_bytes()]);
            let error = error.unwrap();
            assert!(error.is_retryable(), "{error}");
            assert!(error.message.contains(word), "{error}");
            assert!(error.message.contains("print(f("), "{error}");
            let usage = |delta: &phi_types::Delta| matches!(delta, phi_types::Delta::Usage(_));
            assert!(deltas.iter().any(usage), "what it cost is told");
        }
    }
}

#[test]
fn g05_stop_with_calls_waits_for_their_results() {
    let body = stream(&[last(json!([call("f", json!({}))]), "STOP")]);
    assert_eq!(message(&body).unwrap().stop_reason, StopReason::ToolUse);
    let body = stream(&[
        parts(json!([call("f", json!({}))])),
        last(json!([text("")]), "STOP"),
    ]);
    assert_eq!(message(&body).unwrap().stop_reason, StopReason::ToolUse);
}

#[test]
fn g05_the_words_may_be_numbers() {
    let number =
        |n: u8| json!({"candidates": [{"finishReason": n, "content": {"parts": [text("x")]}}]});
    let reason = |n| message(&stream(&[number(n)])).unwrap().stop_reason;
    assert_eq!(reason(1), StopReason::EndTurn);
    assert_eq!(reason(2), StopReason::MaxTokens);
    assert_eq!(reason(3), StopReason::ContentFilter);
    assert_eq!(reason(77), StopReason::Other);
    let (_, error) = decode([stream(&[number(0)]).as_bytes()]);
    assert_eq!(error.unwrap().kind, ProviderErrorKind::Incomplete);
}

#[test]
fn g06_a_blocked_prompt_is_refused_by_a_filter() {
    for feedback in [
        json!({"blockReason": "SAFETY", "safetyRatings": []}),
        json!({"blockReason": "A_NEW_WORD"}),
        json!({"blockReasonMessage": "no"}),
    ] {
        for chunk in [
            json!({"promptFeedback": feedback}),
            json!({"promptFeedback": feedback, "candidates": []}),
        ] {
            for body in [
                stream(std::slice::from_ref(&chunk)),
                chunk.to_string(),
                format!("[{chunk}]"),
            ] {
                let (_, error) = decode([body.as_bytes()]);
                let error = error.unwrap();
                assert_eq!(error.kind, ProviderErrorKind::ContentFilter, "{body}");
            }
        }
    }
}

#[test]
fn g06_feedback_without_a_block_says_nothing() {
    let mut chunk = last(json!([text("x")]), "STOP");
    chunk["promptFeedback"] = json!({"blockReason": "SAFETY"});
    assert_eq!(message(&stream(&[chunk])).unwrap().text(), "x");
    let rated = json!({"promptFeedback": {"safetyRatings": [{"category": "X"}]}});
    let body = stream(&[rated, last(json!([text("x")]), "STOP")]);
    assert_eq!(message(&body).unwrap().text(), "x");
}

#[test]
fn g07_no_candidates_no_content_and_no_parts_are_nothing() {
    for empty in [
        json!({"candidates": []}),
        json!({"candidates": null}),
        json!({"candidates": [null]}),
        json!({"candidates": [{}]}),
        json!({"candidates": [{"content": null}]}),
        json!({"candidates": [{"content": {}}]}),
        json!({"candidates": [{"content": {"parts": null}}]}),
        json!({"candidates": [{"content": {"parts": []}}]}),
        json!({"candidates": [{"content": {"parts": [{}, null]}}]}),
        json!({"candidates": [{"content": {"role": "model"}, "index": 0}]}),
        json!({}),
    ] {
        let body = stream(&[empty.clone(), parts(json!([text("h")])), empty.clone()]);
        let (_, error) = decode([body.as_bytes()]);
        assert_eq!(
            error.unwrap().kind,
            ProviderErrorKind::Incomplete,
            "{empty}"
        );
        let finish = json!({"candidates": [{"finishReason": "STOP"}]});
        assert_eq!(message(&(body + &stream(&[finish]))).unwrap().text(), "h");
    }
}

#[test]
fn g07_a_whole_answer_without_a_candidate_is_incomplete_and_something_else_is_no_answer() {
    let kind = |body: serde_json::Value| {
        let (_, error) = decode([body.to_string().as_bytes()]);
        error.unwrap().kind
    };
    let empty = json!({"candidates": [], "usageMetadata": {"promptTokenCount": 1}});
    assert_eq!(kind(empty), ProviderErrorKind::Incomplete);
    assert_eq!(kind(json!({"this": ["is"]})), ProviderErrorKind::Protocol);
}

#[test]
fn g07_an_empty_answer_that_stops_is_an_answer_without_parts() {
    let message = message(&stream(&[last(json!([text("")]), "STOP")])).unwrap();
    assert!(message.parts.is_empty());
    assert_eq!(message.stop_reason, StopReason::EndTurn);
}

#[test]
fn a_turn_that_runs_code_may_finish_twice_and_counts_at_the_second_time() {
    let code = json!([{"executableCode": {"language": "PYTHON", "code": "1"}}]);
    let output = json!([{"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}]);
    let chunks = [
        last(code, "STOP"),
        parts(output),
        parts(json!([text("so 1")])),
        last(json!([text(".")]), "STOP"),
    ];
    let whole = message(&stream(&chunks)).unwrap();
    assert_eq!(whole.text(), "so 1.");
    assert_eq!(whole.parts.len(), 3);
    for cut in 0..chunks.len() {
        let (_, error) = decode([stream(&chunks[..cut]).as_bytes()]);
        assert_eq!(error.unwrap().kind, ProviderErrorKind::Incomplete, "{cut}");
    }
}

#[test]
fn t07_after_the_finish_reason_nothing_makes_the_answer_an_error() {
    let answer = stream(&[last(json!([text("x")]), "STOP")]);
    for junk in [
        "data: {\"error\":{\"code\":503,\"message\":\"busy\",\"status\":\"UNAVAILABLE\"}}\n\n",
        "event: error\ndata: nonsense\n\n",
        "data: {\"candidates\":\n\n",
        "data: 7\n\n",
        "garbage",
    ] {
        let message = message(&format!("{answer}{junk}")).unwrap();
        assert_eq!(shown(&message), ["text x"], "{junk}");
    }
}

#[test]
fn the_default_of_the_finish_reasons_is_none() {
    let unstated = last(json!([text("h")]), "FINISH_REASON_UNSPECIFIED");
    let (_, error) = decode([stream(std::slice::from_ref(&unstated)).as_bytes()]);
    assert_eq!(error.unwrap().kind, ProviderErrorKind::Incomplete);
    let body = stream(&[unstated, last(json!([text("i")]), "STOP")]);
    assert_eq!(message(&body).unwrap().text(), "hi");
}
