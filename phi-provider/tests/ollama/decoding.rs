//! What comes back.

use std::collections::HashSet;

use phi_provider::{Limits, OllamaChat, ResponseHead, Wire};
use phi_types::{Arguments, AssistantPart, Delta, ProviderErrorKind as Kind, StopReason, Usage};

use crate::support::{decode, error, message};
use crate::wire;

const DONE: &str = r#"{"model":"m","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","prompt_eval_count":7,"eval_count":9}"#;

fn said(content: &str) -> String {
    format!(
        r#"{{"model":"m","created_at":"2026-01-01T00:00:00Z","message":{{"role":"assistant","content":"{content}"}},"done":false}}"#
    )
}

fn calls(calls: &str) -> String {
    format!(
        r#"{{"model":"m","created_at":"2026-01-01T00:00:01Z","message":{{"role":"assistant","content":"","tool_calls":[{calls}]}},"done":false}}"#
    )
}

/// Joins lines as a stream.
fn lines(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn t1_lines_may_end_with_a_carriage_return_and_empty_ones_mean_nothing() {
    let plain = decode(&wire(), 200, &lines(&[&said("a"), &said("b"), DONE]));
    let odd = format!("\r\n{}\r\n\r\n{}\r\n \n{DONE}", said("a"), said("b"));
    assert_eq!(decode(&wire(), 200, &odd), plain);
    assert_eq!(plain.1, None);
}

#[test]
fn t2_a_character_may_be_cut_between_pieces() {
    let body = lines(&[&said("Zürich 🎲"), DONE]);
    let whole = decode(&wire(), 200, &body);
    for cut in 0..body.len() {
        let mut decoder = wire().decoder(&ResponseHead::new(200));
        let mut deltas = Vec::new();
        decoder.push(&body.as_bytes()[..cut], &mut deltas).unwrap();
        decoder.push(&body.as_bytes()[cut..], &mut deltas).unwrap();
        decoder.end(&mut deltas).unwrap();
        assert_eq!((deltas, None), whole);
    }
}

#[test]
fn t6_a_line_that_is_done_ends_the_stream_and_nothing_after_it_counts() {
    let body = lines(&[
        &said("a"),
        DONE,
        &said("b"),
        r#"{"error":"late"}"#,
        "garbage",
    ]);
    assert_eq!(message(&wire(), &body).text(), "a");
    let mut decoder = wire().decoder(&ResponseHead::new(200));
    let mut deltas = Vec::new();
    decoder.push(said("a").as_bytes(), &mut deltas).unwrap();
    decoder.push(b"\n", &mut deltas).unwrap();
    assert!(!decoder.is_over());
    decoder
        .push(lines(&[DONE]).as_bytes(), &mut deltas)
        .unwrap();
    assert!(decoder.is_over());
}

#[test]
fn t7_a_stream_without_its_last_line_is_incomplete() {
    for body in [
        String::new(),
        lines(&[&said("a")]),
        lines(&[&said("a")]) + r#"{"model":"m","message":{"content":"x"},"done":tr"#,
        DONE[..40].to_owned(),
    ] {
        assert_eq!(error(&wire(), 200, &body).kind, Kind::Incomplete, "{body}");
    }
}

#[test]
fn t9_a_web_page_is_no_answer() {
    let page = "<html><title>proxy</title></html>";
    assert_eq!(error(&wire(), 200, page).kind, Kind::Protocol);
}

#[test]
fn t10_an_error_line_in_a_stream_is_an_error_with_what_came_before_it() {
    let body = lines(&[
        &said("a"),
        r#"{"error":"llama runner process no longer running"}"#,
    ]);
    let (deltas, error) = decode(&wire(), 200, &body);
    assert!(deltas.contains(&Delta::text(0, "a")));
    let error = error.unwrap();
    assert_eq!(error.kind, Kind::Server);
    assert_eq!(error.message, "llama runner process no longer running");
    for (line, kind) in [
        (
            r#"{"error":"prompt too long; exceeded max context length by 12 tokens"}"#,
            Kind::ContextOverflow,
        ),
        (
            r#"{"error":{"message":"busy","code":503}}"#,
            Kind::Overloaded,
        ),
    ] {
        assert_eq!(self::error(&wire(), 200, line).kind, kind, "{line}");
    }
}

#[test]
fn statuses_say_what_the_caller_can_do() {
    for (status, body, kind) in [
        (
            404,
            r#"{"error":"model \"x\" not found, try pulling it first"}"#,
            Kind::InvalidRequest,
        ),
        (
            400,
            r#"{"error":"registry.ollama.ai/library/gemma:2b does not support tools"}"#,
            Kind::InvalidRequest,
        ),
        (
            400,
            r#"{"error":"\"llama3\" does not support thinking"}"#,
            Kind::InvalidRequest,
        ),
        (401, r#"{"error":"unauthorized"}"#, Kind::Auth),
        (
            500,
            r#"{"error":"model requires more system memory (9 GiB) than is available (4 GiB)"}"#,
            Kind::Server,
        ),
        (
            503,
            r#"{"error":"server busy, please try again.  maximum pending requests exceeded"}"#,
            Kind::Overloaded,
        ),
        (
            429,
            r#"{"error":"you have reached your hourly usage limit"}"#,
            Kind::RateLimited,
        ),
    ] {
        assert_eq!(error(&wire(), status, body).kind, kind, "{body}");
    }
}

#[test]
fn t15_counts_that_are_null_or_missing_are_not_reported() {
    for (counts, input, output) in [
        (r#""prompt_eval_count":7,"eval_count":9"#, Some(7), Some(9)),
        (
            r#""prompt_eval_count":null,"eval_count":"9""#,
            None,
            Some(9),
        ),
        (r#""eval_count":-1"#, None, None),
    ] {
        let body =
            format!(r#"{{"message":{{"content":"a"}},"done":true,"done_reason":"stop",{counts}}}"#);
        let expected = Usage {
            input_tokens: input,
            output_tokens: output,
            ..Usage::default()
        };
        assert_eq!(message(&wire(), &body).usage, expected, "{counts}");
    }
}

#[test]
fn arguments_are_an_object_and_calls_are_complete_when_they_come() {
    let call = r#"{"function":{"name":"f","arguments":{"z":1.0, "a":"\n"}}}"#;
    let body = lines(&[&said("so"), &calls(call)]);
    let mut decoder = wire().decoder(&ResponseHead::new(200));
    let mut deltas = Vec::new();
    decoder.push(body.as_bytes(), &mut deltas).unwrap();
    assert_eq!(deltas[1], Delta::text(0, "so"));
    assert_eq!(deltas[2], Delta::part_ended(0));
    assert_eq!(deltas[4], Delta::arguments(1, r#"{"z":1.0, "a":"\n"}"#));
    assert_eq!(deltas[5], Delta::part_ended(1));
}

#[test]
fn arguments_may_be_text_missing_or_null() {
    for (field, expected) in [
        (
            r#","arguments":"{\"a\":1}""#,
            Arguments::parse(r#"{"a":1}"#),
        ),
        ("", Arguments::parse("{}")),
        (r#","arguments":{}"#, Arguments::parse("{}")),
        (r#","arguments":null"#, Arguments::parse("{}")),
        (r#","arguments":[1]"#, Arguments::parse("[1]")),
    ] {
        let body = lines(&[
            &calls(&format!(r#"{{"function":{{"name":"f"{field}}}}}"#)),
            DONE,
        ]);
        let message = message(&wire(), &body);
        let call = message.tool_calls().next().unwrap();
        assert_eq!(call.arguments, expected, "{field}");
        assert_eq!(message.stop_reason, StopReason::ToolUse);
    }
}

#[test]
fn calls_without_ids_get_ids_that_no_other_call_has() {
    let call = r#"{"function":{"name":"f","arguments":{}}}"#;
    let twice = calls(&format!("{call},{call}"));
    let later = twice.replace(":01Z", ":02Z");
    let body = lines(&[&twice, &later, DONE]);
    let ids = |body: &str| -> Vec<String> {
        let message = message(&wire(), body);
        message
            .tool_calls()
            .map(|call| call.id.to_string())
            .collect()
    };
    let made = ids(&body);
    assert_eq!(made.len(), 4);
    assert_eq!(made.iter().collect::<HashSet<_>>().len(), 4);
    assert_eq!(ids(&body), made, "the same answer has the same ids");
    let named = calls(r#"{"id":"call_7","function":{"index":3,"name":"f","arguments":{}}}"#);
    assert_eq!(ids(&lines(&[&named, DONE])), ["call_7"]);
}

#[test]
fn thinking_has_a_field_of_its_own() {
    let thinks = r#"{"message":{"role":"assistant","content":"","thinking":"hm"},"done":false}"#;
    let message = message(&wire(), &lines(&[thinks, thinks, &said("so"), DONE]));
    let AssistantPart::Thinking(thinking) = &message.parts[0] else {
        panic!("{message:?}");
    };
    assert_eq!(
        (thinking.text.as_str(), message.text().as_str()),
        ("hmhm", "so")
    );
    assert_eq!(message.parts.len(), 2);
}

#[test]
fn the_reason_to_stop_is_never_taken_for_success_if_it_is_not_known() {
    for (reason, expected) in [
        (r#","done_reason":"stop""#, StopReason::EndTurn),
        (r#","done_reason":"length""#, StopReason::MaxTokens),
        (r#","done_reason":"load""#, StopReason::Other),
        (r#","done_reason":"unload""#, StopReason::Other),
        (r#","done_reason":"STOP""#, StopReason::Other),
        (r#","done_reason":"""#, StopReason::Other),
        (r#","done_reason":null"#, StopReason::Other),
        ("", StopReason::Other),
    ] {
        let body = format!(r#"{{"message":{{"content":"a"}},"done":true{reason}}}"#);
        assert_eq!(message(&wire(), &body).stop_reason, expected, "{reason}");
    }
}

#[test]
fn an_answer_that_was_cut_off_keeps_its_calls_which_are_whole() {
    let call = calls(r#"{"function":{"name":"f","arguments":{"a":1}}}"#);
    let message = message(&wire(), &lines(&[&call, &DONE.replace("stop", "length")]));
    assert_eq!(message.stop_reason, StopReason::MaxTokens);
    let call = message.tool_calls().next().unwrap();
    assert_eq!(call.arguments, Arguments::parse(r#"{"a":1}"#));
}

#[test]
fn a_whole_answer_may_be_spread_over_lines() {
    let body =
        "{\n \"message\": {\"content\": \"a\"},\n \"done\": true, \"done_reason\": \"stop\"\n}\n";
    assert_eq!(message(&wire(), body).text(), "a");
}

#[test]
fn fields_of_other_types_and_unknown_fields_do_not_fail() {
    for line in [
        r#"{"message":{"content":["x"],"thinking":7,"tool_calls":{}},"done":"yes"}"#,
        r#"{"message":"x","model":null,"done":0,"logprobs":[{}]}"#,
        r#"{"message":{"tool_calls":[null,1,{"function":null},{"id":1}]}}"#,
        r#"{"error":null}"#,
        "{}",
    ] {
        let body = lines(&[line, &said("a"), DONE]);
        assert!(message(&wire(), &body).text().ends_with('a'), "{line}");
    }
    for line in ["null", "[]", "7", "\"x\"", "{\"a\" 1}"] {
        let body = lines(&[&said("a"), line, DONE]);
        assert_eq!(error(&wire(), 200, &body).kind, Kind::Protocol, "{line}");
    }
}

#[test]
fn t14_half_of_a_character_is_replaced_and_of_a_field_twice_the_last_counts() {
    let body = lines(&[
        &said(r"x\ud83d"),
        r#"{"done":false,"done":true,"done_reason":"stop"}"#,
    ]);
    assert_eq!(message(&wire(), &body).text(), "x\u{fffd}");
}

#[test]
fn a_line_without_end_and_calls_without_end_are_refused() {
    let limits = Limits {
        line_bytes_max: 1_000,
        ..Limits::default()
    };
    let wire = OllamaChat::default().with_limits(limits);
    let endless = lines(&[&said("a"), &said(&"x".repeat(2_000))]);
    assert_eq!(error(&wire, 200, &endless).kind, Kind::Protocol);
    let many = vec![r#"{"function":{"name":"f","arguments":{}}}"#; 5_000].join(",");
    assert_eq!(
        error(&self::wire(), 200, &calls(&many)).kind,
        Kind::Protocol
    );
}

#[test]
fn events_of_a_proxy_are_read_like_lines() {
    let body = format!("data: {}\n\ndata: {DONE}\n\ndata: [DONE]\n\n", said("a"));
    assert_eq!(message(&wire(), &body).text(), "a");
}
