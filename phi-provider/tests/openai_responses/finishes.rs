//! How an answer ends, well or not.

use phi_provider::{ResponseHead, Wire};
use phi_types::{ProviderErrorKind as Kind, StopReason};
use serde_json::{Value, json};

use crate::{
    added, call, called, calls, completed, delta, deltas, done, message, open_stream, said, stream,
    whole, wire,
};

/// A stream that ends with an event.
fn ends(events: &[Value], kind: &str, response: Value) -> String {
    let last = json!({"type": kind, "response": response});
    open_stream(events) + &open_stream(&[last])
}

fn incomplete(reason: &str) -> Value {
    json!({"status": "incomplete", "incomplete_details": {"reason": reason}})
}

#[test]
fn r06_an_incomplete_answer_says_why_and_keeps_its_calls() {
    let events = [done(0, call("a", "{\"n\":1}")), added(1, call("b", ""))];
    for (reason, expected) in [
        ("max_output_tokens", StopReason::MaxTokens),
        ("content_filter", StopReason::ContentFilter),
        ("something_new", StopReason::Other),
    ] {
        let body = ends(&events, "response.incomplete", incomplete(reason));
        let message = message(&body).unwrap();
        assert_eq!(message.stop_reason, expected);
        assert_eq!(message.stop_reason_raw.as_deref(), Some(reason));
        assert_eq!(calls(&message)[0], called("a", "{\"n\":1}"));
    }
    let unsaid = ends(
        &[],
        "response.incomplete",
        json!({"incomplete_details": null}),
    );
    assert_eq!(message(&unsaid).unwrap().stop_reason, StopReason::Other);
}

#[test]
fn r06_a_call_that_was_cut_off_is_never_run() {
    let mut cut = call("b", "{\"n\"");
    cut["status"] = "incomplete".into();
    for events in [
        vec![
            added(0, call("b", "")),
            delta("function_call_arguments", 0, "{\"n\""),
        ],
        vec![done(0, cut)],
    ] {
        let body = ends(
            &events,
            "response.incomplete",
            incomplete("max_output_tokens"),
        );
        assert_eq!(
            calls(&message(&body).unwrap()),
            [called("b", "malformed: {\"n\"")]
        );
    }
}

#[test]
fn r06_a_response_that_failed_is_an_error_in_the_words_of_the_service() {
    for (code, expected) in [
        ("server_error", Kind::Server),
        ("rate_limit_exceeded", Kind::RateLimited),
        ("insufficient_quota", Kind::Billing),
        ("usage_limit_reached", Kind::Billing),
        ("context_length_exceeded", Kind::ContextOverflow),
        ("invalid_prompt", Kind::InvalidRequest),
        ("image_content_policy_violation", Kind::ContentFilter),
    ] {
        let error = json!({"code": code, "message": "because"});
        let failed = json!({"status": "failed", "error": error});
        let bodies = [
            ends(&[], "response.failed", failed.clone()),
            open_stream(&[json!({"type": "error", "code": code, "message": "because"})]),
            format!("event: error\ndata: {}\n\n", json!({"error": error})),
            failed.to_string(),
        ];
        for body in bodies {
            let error = message(&body).unwrap_err();
            assert_eq!(error.kind, expected, "{body}");
            assert!(error.message.contains("because"), "{error}");
        }
    }
    let silent = ends(
        &[],
        "response.failed",
        json!({"status": "failed", "error": null}),
    );
    assert_eq!(message(&silent).unwrap_err().kind, Kind::Server);
}

#[test]
fn r06_what_follows_the_end_changes_nothing() {
    let body = stream(&[done(0, said("msg_1", "so"))])
        + &open_stream(&[
            json!({"type": "error", "code": "server_error", "message": "late"}),
            delta("output_text", 0, "more"),
        ])
        + "data: [DONE]\n\n";
    let message = message(&body).unwrap();
    assert_eq!(message.text(), "so");
    assert_eq!(message.stop_reason, StopReason::EndTurn);
}

#[test]
fn r07_a_refusal_is_named_and_its_text_is_kept() {
    let item = json!({"type": "message", "id": "msg_1", "role": "assistant",
        "content": [{"type": "refusal", "refusal": "I can't."}]});
    let streamed = [
        added(0, said("msg_1", "")),
        delta("refusal", 0, "I "),
        delta("refusal", 0, "can't."),
        json!({"type": "response.refusal.done", "output_index": 0, "refusal": "I can't."}),
        done(0, item.clone()),
    ];
    for body in [stream(&streamed), whole(json!([item]))] {
        let message = message(&body).unwrap();
        assert_eq!(message.text(), "I can't.");
        assert_eq!(message.stop_reason, StopReason::Refusal);
    }
}

#[test]
fn t05_the_type_names_an_event_and_its_line_does_where_there_is_none() {
    let named = "event: response.output_text.delta\ndata: {\"delta\":\"so\"}\n\n";
    let body = named.to_owned() + &stream(&[]);
    assert_eq!(message(&body).unwrap().text(), "so");
}

#[test]
fn t06_the_end_is_the_event_that_says_so_and_nothing_is_waited_for() {
    let mut decoder = wire().decoder(&ResponseHead::new(200));
    let mut out = Vec::new();
    decoder
        .push(open_stream(&[said("msg_1", "x")]).as_bytes(), &mut out)
        .unwrap();
    assert!(!decoder.is_over());
    decoder.push(stream(&[]).as_bytes(), &mut out).unwrap();
    assert!(decoder.is_over());
}

#[test]
fn t07_a_close_without_the_end_is_incomplete_and_retryable() {
    let events = [
        added(0, said("msg_1", "")),
        delta("output_text", 0, "so far"),
    ];
    for tail in ["", "data: [DONE]\n\n"] {
        let error = message(&(open_stream(&events) + tail)).unwrap_err();
        assert_eq!(error.kind, Kind::Incomplete, "{tail}");
        assert!(error.is_retryable());
    }
    let working = json!({"object": "response", "status": "in_progress", "output": []});
    assert_eq!(
        message(&working.to_string()).unwrap_err().kind,
        Kind::Incomplete
    );
}

#[test]
fn t08_a_connection_that_broke_after_the_end_left_a_whole_answer() {
    let body = stream(&[done(0, said("msg_1", "so"))]);
    let cut = body.trim_end().to_owned() + "\n\ndata: {\"type\":\"resp";
    assert_eq!(message(&cut).unwrap().text(), "so");
}

#[test]
fn the_event_counts_where_the_response_states_no_end() {
    let body = ends(&[], "response.completed", json!({"status": "in_progress"}));
    assert_eq!(message(&body).unwrap().stop_reason, StopReason::EndTurn);
    let body = ends(&[], "response.completed", incomplete("max_output_tokens"));
    assert_eq!(message(&body).unwrap().stop_reason, StopReason::MaxTokens);
}

#[test]
fn a_status_that_is_not_known_is_never_success() {
    let body = json!({"object": "response", "status": "paused", "output": [said("msg_1", "x")]});
    let message = message(&body.to_string()).unwrap();
    assert_eq!(message.stop_reason, StopReason::Other);
    assert_eq!(message.stop_reason_raw.as_deref(), Some("paused"));
}

#[test]
fn t09_json_that_is_no_response_says_what_to_check() {
    let error = message("{\"hello\":1}").unwrap_err();
    assert_eq!(error.kind, Kind::Protocol);
    assert!(error.message.contains("base URL"), "{error}");
    let page = message("<html><title>Sign in</title>").unwrap_err();
    assert_eq!(page.kind, Kind::Protocol);
}

#[test]
fn t10_errors_of_other_spellings_are_errors() {
    for data in [
        "{\"object\":\"error\",\"message\":\"boom\",\"code\":400}",
        "{\"error\":{\"message\":\"boom\"}}",
        "[{\"error\":{\"message\":\"boom\"}}]",
        "{\"type\":\"response.error\",\"error\":{\"message\":\"boom\"}}",
    ] {
        let error = message(&format!("data: {data}\n\n")).unwrap_err();
        assert!(error.message.contains("boom"), "{error}");
    }
}

#[test]
fn ids_and_models_that_come_late_are_taken() {
    let created = json!({"type": "response.created", "response": {"id": "resp_0"}});
    let (deltas, _) = deltas(&open_stream(&[created, completed(json!([]))]));
    let mut assembler = phi_types::Assembler::new();
    for delta in &deltas {
        assembler.push(delta).unwrap();
    }
    let message = assembler
        .into_message(phi_types::Origin::default())
        .unwrap();
    assert_eq!(message.origin.response_id.as_deref(), Some("resp_1"));
    assert_eq!(message.origin.response_model.as_deref(), Some("m"));
}
