//! Answers: streamed, whole, cut and failed.

use phi_provider::ResponseHead;
use phi_types::{Arguments, AssistantPart, Delta, ProviderErrorKind as Kind, StopReason};
use serde_json::{Value, json};

use crate::frames;
use crate::support::{
    decode, decode_whole, decode_with, delta, finish, hi, metadata, start, stop, stream,
};

fn parts(message: &phi_types::AssistantMessage) -> Vec<String> {
    let parts = message.parts.iter().map(|part| match part {
        AssistantPart::Text(part) => format!("text {}", part.text),
        AssistantPart::Thinking(part) => {
            let signature = part.facts.signature.as_deref().unwrap_or("-");
            format!("thinking {} {signature}", part.text)
        }
        AssistantPart::ToolCall(call) => {
            let arguments = match &call.arguments {
                Arguments::Object(object) => object.as_str().to_owned(),
                Arguments::Malformed { raw, .. } => format!("malformed {raw}"),
            };
            format!("call {} {} {arguments}", call.id, call.name)
        }
        AssistantPart::Opaque(part) => format!("{} {}", part.kind, part.data.as_str()),
    });
    parts.collect()
}

#[test]
fn b01_an_exception_in_the_stream_is_its_error() {
    for (name, kind) in [
        ("throttlingException", Kind::RateLimited),
        ("modelStreamErrorException", Kind::Server),
        ("internalServerException", Kind::Server),
        ("serviceUnavailableException", Kind::Overloaded),
        ("modelTimeoutException", Kind::Timeout),
        ("validationException", Kind::InvalidRequest),
    ] {
        let mut body = stream(&[hi()]);
        body.extend(frames::exception(name, br#"{"message":"it broke"}"#));
        let answer = decode_with(&ResponseHead::new(200), &body);
        assert_eq!(answer.deltas.last(), Some(&Delta::text(0, "hi")), "{name}");
        let error = answer.error();
        assert_eq!(error.kind, kind, "{name}");
        let expected = format!("it broke ({})", name.to_lowercase());
        assert_eq!(error.message, expected);
    }
    let overflow = br#"{"message":"Input is too long for requested model."}"#;
    let body = frames::exception("validationException", overflow);
    let error = decode_with(&ResponseHead::new(200), &body).error();
    assert_eq!(error.kind, Kind::ContextOverflow);
    let headers = [
        frames::text_header(":message-type", "error"),
        frames::text_header(":error-code", "InternalError"),
        frames::text_header(":error-message", "nobody knows"),
    ];
    let body = frames::message(&headers.concat(), b"");
    let error = decode_with(&ResponseHead::new(200), &body).error();
    assert_eq!(error.kind, Kind::Server);
    assert_eq!(error.message, "nobody knows (internalerror)");
}

#[test]
fn b01_a_wrong_checksum_is_an_error_of_the_protocol_that_says_where() {
    let mut body = stream(&[hi(), finish("end_turn")]);
    let sum = frames::crc32(b"123456789");
    assert_eq!(sum, 0xcbf4_3926, "the check value of this checksum");
    body[90] ^= 1;
    let error = decode_with(&ResponseHead::new(200), &body).error();
    assert_eq!(error.kind, Kind::Protocol);
    assert!(
        error
            .message
            .starts_with("message 0 of the event stream, at byte 0: "),
        "{error}"
    );
}

#[test]
fn b02_text_and_reasoning_need_no_beginning() {
    let answer = decode(&[
        ("messageStart", json!({"role": "assistant"})),
        delta(0, &json!({"reasoningContent": {"text": "hm"}})),
        delta(0, &json!({"reasoningContent": {"signature": "sig"}})),
        stop(0),
        delta(1, &json!({"text": "a"})),
        delta(1, &json!({"text": ""})),
        delta(1, &json!({"text": "b"})),
        delta(2, &json!({"text": "c"})),
        finish("end_turn"),
        metadata(),
    ]);
    let message = answer.message();
    assert_eq!(parts(&message), ["thinking hm sig", "text ab", "text c"]);
    assert_eq!(message.stop_reason, StopReason::EndTurn);
    assert_eq!(message.usage.input_tokens, Some(7));
    assert_eq!(message.usage.reasoning_tokens, None);
}

#[test]
fn b02_the_first_event_may_be_any_of_them_and_starts_the_answer_once() {
    let head = ResponseHead::new(200).with_header("x-amzn-RequestId", "req-1");
    let body = stream(&[
        hi(),
        ("messageStart", json!({"role": "assistant"})),
        ("messageStart", Value::Null),
        finish("end_turn"),
    ]);
    let answer = decode_with(&head, &body);
    let started = answer.deltas.iter();
    let started = started.filter(|delta| matches!(delta, Delta::Started(_)));
    assert_eq!(started.count(), 1);
    let message = answer.message();
    assert_eq!(message.origin.response_id.as_deref(), Some("req-1"));
}

#[test]
fn b03_the_finish_is_message_stop_and_the_usage_comes_after_it() {
    let all = [hi(), stop(0), finish("max_tokens"), metadata()];
    let whole = decode(&all).message();
    assert_eq!(whole.stop_reason, StopReason::MaxTokens);
    assert_eq!(whole.usage.output_tokens, Some(2));
    let without = decode(&all[..3]).message();
    assert_eq!(without.text(), whole.text());
    assert_eq!(without.usage, phi_types::Usage::default());
    for cut in 0..3 {
        let error = decode(&all[..cut]).error();
        assert_eq!(error.kind, Kind::Incomplete, "{cut}");
    }
    // A message that is cut in the middle is no error of the protocol.
    let body = stream(&all);
    let before = stream(&all[..2]).len();
    let error = decode_with(&ResponseHead::new(200), &body[..before + 20]).error();
    assert_eq!(error.kind, Kind::Incomplete);
    // Usage without a finish is no finish.
    let error = decode(&[hi(), metadata()]).error();
    assert_eq!(error.kind, Kind::Incomplete);
}

#[test]
fn b03_nothing_after_the_finish_unmakes_the_answer() {
    let good = decode(&[hi(), finish("end_turn")]).message();
    let with = |rest: &[u8]| {
        let body = [&stream(&[hi(), finish("end_turn")]), rest].concat();
        decode_with(&ResponseHead::new(200), &body).message()
    };
    assert_eq!(with(&frames::exception("throttlingException", b"{}")), good);
    assert_eq!(with(&[0xff; 40]), good);
    assert_eq!(with(b"<html>gateway timeout</html>"), good);
    assert_eq!(with(&stream(&[delta(0, &json!({"text": "more"}))])), good);
    assert_eq!(with(&stream(&[finish("max_tokens")])), good);
    assert_eq!(with(&stream(&[("metadata", json!([1]))])), good);
}

#[test]
fn b03_after_the_usage_nobody_waits() {
    let mut decoder = phi_provider::Wire::decoder(&crate::support::wire(), &ResponseHead::new(200));
    let mut deltas = Vec::new();
    let mut over = Vec::new();
    for event in [hi(), finish("end_turn"), metadata()] {
        decoder.push(&stream(&[event]), &mut deltas).unwrap();
        over.push(decoder.is_over());
    }
    assert_eq!(over, [false, false, true]);
}

#[test]
fn b06_the_input_of_a_call_is_an_object_whatever_its_pieces() {
    let call = |pieces: &[&str]| {
        let id = json!({"toolUse": {"toolUseId": "t1", "name": "f", "type": "tool_use"}});
        let mut events = vec![start(0, &id)];
        for piece in pieces {
            events.push(delta(0, &json!({"toolUse": {"input": piece}})));
        }
        events.extend([stop(0), finish("tool_use")]);
        parts(&decode(&events).message()).join(";")
    };
    assert_eq!(call(&[]), "call t1 f {}");
    assert_eq!(call(&[""]), "call t1 f {}");
    assert_eq!(call(&["{\"a\"", ":1}"]), r#"call t1 f {"a":1}"#);
    assert_eq!(call(&["{\"a\""]), r#"call t1 f malformed {"a""#);
    let whole = json!([{"toolUse": {"toolUseId": "t1", "name": "f", "input": {"a": [1]}}}]);
    let message = decode_whole(&whole, "tool_use").message();
    assert_eq!(parts(&message), [r#"call t1 f {"a":[1]}"#]);
    let whole = json!([{"toolUse": {"toolUseId": "t1", "name": "f"}}]);
    let message = decode_whole(&whole, "tool_use").message();
    assert_eq!(parts(&message), ["call t1 f {}"]);
}

#[test]
fn b06_a_call_that_the_limit_cut_is_cut_off() {
    let id = json!({"toolUse": {"toolUseId": "t1", "name": "f"}});
    let answer = decode(&[
        start(0, &id),
        delta(0, &json!({"toolUse": {"input": "{}"}})),
        finish("max_tokens"),
    ]);
    let message = answer.message();
    let call = message.tool_calls().next().unwrap();
    assert!(matches!(call.arguments, Arguments::Malformed { .. }));
}

#[test]
fn b07_redacted_reasoning_is_kept_as_it_came() {
    let block = r#"{"reasoningContent":{"redactedContent":"RXU4"}}"#;
    let whole = json!([serde_json::from_str::<Value>(block).unwrap(), {"text": "x"}]);
    let message = decode_whole(&whole, "end_turn").message();
    assert_eq!(
        parts(&message),
        [&format!("redactedContent {block}"), "text x"]
    );
    let streamed = decode(&[
        delta(0, &json!({"reasoningContent": {"redactedContent": "RXU4"}})),
        stop(0),
        delta(1, &json!({"text": "x"})),
        finish("end_turn"),
    ]);
    assert_eq!(parts(&streamed.message()), parts(&message));
}

#[test]
fn tools_that_the_service_runs_are_kept_and_are_no_calls() {
    let answer = decode(&[
        start(
            0,
            &json!({"toolUse": {"toolUseId": "t1", "name": "grounding", "type": "server_tool_use"}}),
        ),
        delta(0, &json!({"toolUse": {"input": "{\"q\":"}})),
        delta(0, &json!({"toolUse": {"input": "1}"}})),
        stop(0),
        start(
            1,
            &json!({"toolResult": {"toolUseId": "t1", "status": "success", "type": "grounding_result"}}),
        ),
        delta(1, &json!({"toolResult": [{"text": "a"}]})),
        delta(1, &json!({"toolResult": [{"json": {"b": 1}}]})),
        stop(1),
        delta(2, &json!({"text": "c"})),
        delta(3, &json!({"citation": {"location": {"web": {"url": "u"}}}})),
        stop(3),
        delta(4, &json!({"citation": {"title": "t"}})),
        delta(4, &json!({"text": "d"})),
        stop(4),
        start(5, &json!({"image": {"format": "png"}})),
        delta(5, &json!({"image": {"source": {"bytes": "AA=="}}})),
        finish("end_turn"),
    ]);
    let message = answer.message();
    assert_eq!(
        parts(&message),
        [
            r#"server_tool_use {"toolUse":{"name":"grounding","toolUseId":"t1","type":"server_tool_use","input":{"q":1}}}"#,
            r#"grounding_result {"toolResult":{"status":"success","toolUseId":"t1","type":"grounding_result","content":[{"text":"a"},{"json":{"b":1}}]}}"#,
            "text c",
            r#"citationsContent {"citationsContent":{"citations":[{"location":{"web":{"url":"u"}}}]}}"#,
            "text d",
            r#"image {"image":{"format":"png","source":{"bytes":"AA=="}}}"#,
        ]
    );
    let AssistantPart::Text(cited) = &message.parts[4] else {
        panic!("{message:?}");
    };
    let extra = cited.facts.extra.as_ref().unwrap();
    assert_eq!(extra.as_str(), r#"{"citations":[{"title":"t"}]}"#);
    assert_eq!(message.tool_calls().count(), 0);
}

#[test]
fn every_word_for_the_stop_has_its_reason_and_an_unknown_one_is_no_success() {
    for (word, reason) in [
        ("end_turn", StopReason::EndTurn),
        ("tool_use", StopReason::ToolUse),
        ("max_tokens", StopReason::MaxTokens),
        ("stop_sequence", StopReason::StopSequence),
        ("guardrail_intervened", StopReason::ContentFilter),
        ("content_filtered", StopReason::ContentFilter),
        ("model_context_window_exceeded", StopReason::ContextWindow),
        ("refusal", StopReason::Refusal),
        ("malformed_tool_use", StopReason::Other),
        ("malformed_model_output", StopReason::Other),
        ("a_new_word", StopReason::Other),
    ] {
        let streamed = decode(&[hi(), finish(word)]).message();
        assert_eq!(streamed.stop_reason, reason, "{word}");
        assert_eq!(streamed.stop_reason_raw.as_deref(), Some(word));
        let whole = decode_whole(&json!([{"text": "hi"}]), word).message();
        assert_eq!(whole, streamed);
    }
    let nothing = decode(&[hi(), ("messageStop", json!({"stopReason": null}))]).message();
    assert_eq!(nothing.stop_reason, StopReason::Other);
    let nothing = decode_with(
        &ResponseHead::new(200),
        br#"{"output":{"message":{"content":[{"text":"a"}]}}}"#,
    );
    assert_eq!(nothing.error().kind, Kind::Incomplete);
}

#[test]
fn usage_excludes_the_cache_and_what_is_not_reported_is_not_zero() {
    let usage = |usage: Value| {
        let events = [
            hi(),
            finish("end_turn"),
            ("metadata", json!({ "usage": usage })),
        ];
        let usage = decode(&events).message().usage;
        [
            usage.input_tokens,
            usage.cache_read_tokens,
            usage.cache_write_tokens,
            usage.output_tokens,
        ]
    };
    let all = json!({
        "inputTokens": 3, "outputTokens": 4, "totalTokens": 22,
        "cacheReadInputTokens": 5, "cacheWriteInputTokens": 10
    });
    assert_eq!(usage(all), [Some(3), Some(5), Some(10), Some(4)]);
    let counts = json!({"cacheReadInputTokenCount": 5, "cacheWriteInputTokenCount": 0});
    assert_eq!(usage(counts), [None, Some(5), Some(0), None]);
    let odd = json!({"inputTokens": null, "outputTokens": "4", "cacheReadInputTokens": -1});
    assert_eq!(usage(odd), [None, None, None, Some(4)]);
    assert_eq!(usage(Value::Null), [None; 4]);
}

#[test]
fn unknown_events_fields_and_blocks_are_read_over() {
    let answer = decode(&[
        ("messageStart", json!({"role": "assistant", "new": [1]})),
        ("somethingNew", json!({"x": 1})),
        (
            "contentBlockDelta",
            json!({"contentBlockIndex": "0", "delta": {"text": "a", "x": {}}}),
        ),
        ("contentBlockDelta", json!({"delta": {"text": "b"}})),
        (
            "contentBlockDelta",
            json!({"contentBlockIndex": 0, "delta": null}),
        ),
        (
            "contentBlockDelta",
            json!({"contentBlockIndex": 0, "delta": {"text": null}}),
        ),
        (
            "contentBlockDelta",
            json!({"contentBlockIndex": 0, "delta": {"somethingNew": 1}}),
        ),
        (
            "contentBlockStart",
            json!({"contentBlockIndex": 1, "start": null}),
        ),
        ("contentBlockStop", json!({})),
        finish("end_turn"),
    ]);
    assert_eq!(parts(&answer.message()), ["text ab"]);
    let whole = json!([{"text": "a"}, {"videoNew": {"uri": "u"}}, {"text": "b", "type": "text"}]);
    let message = decode_whole(&whole, "end_turn").message();
    let kept = r#"videoNew {"videoNew":{"uri":"u"}}"#;
    assert_eq!(parts(&message), ["text a", kept, "text b"]);
}

#[test]
fn half_of_a_surrogate_pair_is_replaced() {
    let event = |payload: &str| frames::event("contentBlockDelta", payload.as_bytes());
    let body = [
        event(r#"{"contentBlockIndex":0,"delta":{"text":"a\ud83d"}}"#),
        event(r#"{"contentBlockIndex":1,"delta":{"toolUse":{"input":"{\"a\":\"\ud83d\"}"}}}"#),
        stream(&[stop(1), finish("tool_use")]),
    ];
    let message = decode_with(&ResponseHead::new(200), &body.concat()).message();
    assert_eq!(
        parts(&message),
        ["text a\u{fffd}", "call call_0 unnamed {\"a\":\"\u{fffd}\"}"]
    );
}

#[test]
fn a_forced_tool_for_the_form_of_the_answer_becomes_its_text() {
    let id = json!({"toolUse": {"toolUseId": "t1", "name": "phi_structured_output"}});
    let answer = decode(&[
        start(0, &id),
        delta(0, &json!({"toolUse": {"input": "{\"age\":7}"}})),
        stop(0),
        finish("tool_use"),
        metadata(),
    ]);
    let message = answer.message();
    assert_eq!(parts(&message), [r#"text {"age":7}"#]);
    assert_eq!(message.stop_reason, StopReason::EndTurn);
}

#[test]
fn b01_errors_before_the_stream_are_classified_by_status_header_and_body() {
    let error = |status: u16, code: &str, body: &str| {
        let head = ResponseHead::new(status).with_header("x-amzn-ErrorType", code);
        decode_with(&head, body.as_bytes()).error()
    };
    let invalid = "ValidationException:http://internal.amazon.com/coral/com.amazon.bedrock/";
    let overflow = r#"{"message":"The model returned the following errors: prompt is too long: 213462 tokens > 200000 maximum"}"#;
    assert_eq!(error(400, invalid, overflow).kind, Kind::ContextOverflow);
    assert_eq!(error(400, invalid, "{}").kind, Kind::InvalidRequest);
    let expired = error(403, "ExpiredTokenException", r#"{"message":"expired"}"#);
    assert_eq!((expired.kind, expired.status), (Kind::Auth, Some(403)));
    let slow = error(429, "ThrottlingException", overflow);
    assert_eq!(slow.kind, Kind::RateLimited);
    assert_eq!(error(424, "ModelErrorException", "{}").kind, Kind::Server);
    let in_success = decode_with(
        &ResponseHead::new(200),
        br#"{"__type":"x#ThrottlingException","message":"slow down"}"#,
    );
    assert_eq!(in_success.error().kind, Kind::RateLimited);
    let page = decode_with(&ResponseHead::new(200), b"<html><title>Portal</title>");
    assert_eq!(page.error().kind, Kind::Protocol);
    let other = decode_with(&ResponseHead::new(200), br#"{"choices":[]}"#);
    assert_eq!(other.error().kind, Kind::Protocol);
}
