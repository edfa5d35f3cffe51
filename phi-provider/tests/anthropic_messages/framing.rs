//! T: facts of HTTP and of event streams, as this protocol meets them.

use phi_provider::ResponseHead;
use phi_types::{AssistantPart, ProviderErrorKind as Kind, StopReason};

use crate::support::{
    Answer, CLOSE, HI, START, STOP, TEXT, decode, decode_pieces, decode_with, end, json_head,
    request, stream, stream_head, user,
};

fn hello() -> String {
    stream(&[START, TEXT, HI, CLOSE, &end("end_turn"), STOP])
}

fn text_of(answer: Answer) -> String {
    answer.message().text()
}

#[test]
fn t1_lines_end_in_any_way_also_across_chunks() {
    for line_end in ["\n", "\r\n", "\r"] {
        let body = hello().replace('\n', line_end);
        let whole = decode(&body);
        let bytewise = decode_pieces(&stream_head(), body.as_bytes().chunks(1));
        assert_eq!(bytewise, whole);
        assert_eq!(text_of(whole), "hi", "{line_end:?}");
    }
}

#[test]
fn t2_a_code_point_may_be_cut() {
    let body = hello().replace("hi", "héllo 🎲");
    let bytewise = decode_pieces(&stream_head(), body.as_bytes().chunks(1));
    assert_eq!(text_of(bytewise), "héllo 🎲");
}

#[test]
fn t3_comments_mean_nothing() {
    let body = hello().replace("event:", ": keep-alive\n\n:\nevent:");
    assert_eq!(decode(&body), decode(&hello()));
}

#[test]
fn t4_data_of_several_lines_joins_and_a_byte_order_mark_may_come_first() {
    let body = hello()
        .replace("data: {\"type\":", "data:{\ndata:\"type\":\ndata:")
        .replace("event: ", "event:");
    assert_eq!(decode(&body), decode(&hello()));
    assert_eq!(decode(&format!("\u{feff}{}", hello())), decode(&hello()));
    let pieces = format!("\u{feff}{}", hello());
    let bytewise = decode_pieces(&stream_head(), pieces.as_bytes().chunks(1));
    assert_eq!(bytewise, decode(&hello()));
}

#[test]
fn t5_an_event_without_a_name_has_its_type() {
    let lines = hello();
    let unnamed = lines.lines().filter(|line| !line.starts_with("event:"));
    let body = unnamed.collect::<Vec<_>>().join("\n") + "\n\n";
    assert_eq!(decode(&body), decode(&hello()));
    let untyped = hello().replace("{\"type\":\"message_stop\"}", "{}");
    assert_eq!(decode(&untyped), decode(&hello()));
}

#[test]
fn t6_message_stop_ends_and_what_follows_is_ignored() {
    let done = format!("{}event: data\ndata: [DONE]\n\ndata: [DONE]\n\n", hello());
    assert_eq!(decode(&done), decode(&hello()));
    let twice = hello().repeat(2);
    assert_eq!(decode(&twice), decode(&hello()));
}

#[test]
fn t7_a_close_without_terminator_is_success_after_the_finish_and_incomplete_before() {
    let after = stream(&[START, TEXT, HI, CLOSE, &end("end_turn")]);
    assert_eq!(decode(&after), decode(&hello()));
    let before = decode(&stream(&[START, TEXT, HI, CLOSE]));
    assert_eq!(before.message, None);
    let error = before.error();
    assert_eq!((error.kind, error.is_retryable()), (Kind::Incomplete, true));
}

#[test]
fn t8_a_connection_that_dropped_looks_like_a_clean_end_and_the_finish_decides() {
    for body in [
        "",
        "\n",
        ": nothing but comments\n\n",
        "event: message_start\n",
    ] {
        assert_eq!(decode(body).error().kind, Kind::Incomplete, "{body:?}");
    }
    let half = hello();
    let (half, _) = half.split_at(half.len() - 200);
    assert_eq!(decode(half).error().kind, Kind::Incomplete);
}

#[test]
fn t9_a_status_of_success_with_an_error_body_is_an_error() {
    let overloaded = r#"{"type":"error","error":{"type":"overloaded_error","message":"busy"}}"#;
    for head in [json_head(), stream_head(), ResponseHead::new(200)] {
        let error = decode_with(&head, overloaded).error();
        assert_eq!(error.kind, Kind::Overloaded);
        assert_eq!(error.message, "busy (overloaded_error)");
        let error = decode_with(&head, r#"{"error":"model not loaded"}"#).error();
        assert_eq!(error.message, "model not loaded");
    }
    let page = "<!DOCTYPE html><html><head><title>Sign in</title></head></html>";
    for head in [
        ResponseHead::new(200).with_header("content-type", "text/html"),
        json_head(),
        stream_head(),
    ] {
        let error = decode_with(&head, page).error();
        assert_eq!(error.kind, Kind::Protocol);
        assert!(error.message.contains("Sign in"), "{error}");
    }
}

#[test]
fn t9_the_body_tells_what_it_is_where_the_content_type_is_wrong() {
    assert_eq!(decode_with(&json_head(), &hello()), decode(&hello()));
    let whole = r#"{"type":"message","role":"assistant","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn"}"#;
    for head in [json_head(), stream_head(), ResponseHead::new(200)] {
        assert_eq!(text_of(decode_with(&head, whole)), "hi");
    }
}

#[test]
fn t9_json_of_something_else_is_a_protocol_error_and_half_of_it_is_incomplete() {
    for body in [
        "{}",
        "[]",
        r#"{"choices":[]}"#,
        r#"{"content":5,"stop_reason":"end_turn"}"#,
    ] {
        assert_eq!(
            decode_with(&json_head(), body).error().kind,
            Kind::Protocol,
            "{body}"
        );
    }
    let half = r#"{"type":"message","content":[{"type":"te"#;
    assert_eq!(
        decode_with(&json_head(), half).error().kind,
        Kind::Incomplete
    );
}

#[test]
fn t10_every_shape_of_an_error_in_a_stream_is_an_error() {
    let shapes = [
        (
            "event: error\n",
            r#"{"type":"error","error":{"type":"api_error","message":"gone"}}"#,
        ),
        ("", r#"{"error":{"message":"gone","code":500}}"#),
        ("event: error\n", r#"{"message":"gone"}"#),
        ("event: error\n", "gone"),
        ("", r#"{"object":"error","message":"gone","code":500}"#),
        (
            "",
            r#"{"error":{"code":503,"message":"gone","status":"UNAVAILABLE"}}"#,
        ),
    ];
    for (name, data) in shapes {
        let body = format!("{}{name}data: {data}\n\n", stream(&[START, TEXT, HI]));
        let answer = decode(&body);
        assert_eq!(answer.message, None, "{data}");
        let error = answer.error();
        assert!(error.message.starts_with("gone"), "{data}: {error}");
        assert!(error.is_retryable(), "{data}: {error}");
    }
}

#[test]
fn t11_the_wait_is_read_from_the_head_of_an_error() {
    let head = ResponseHead::new(429)
        .with_header("Retry-After", "12")
        .with_header("content-type", "application/json");
    let body = r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}"#;
    let error = decode_with(&head, body).error();
    assert_eq!(
        (error.kind, error.status, error.retry_after_ms),
        (Kind::RateLimited, Some(429), Some(12_000))
    );
    let head = ResponseHead::new(429)
        .with_header("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT")
        .with_header("date", "Wed, 21 Oct 2015 07:28:00 GMT");
    assert_eq!(
        decode_with(&head, body).error().retry_after_ms,
        Some(30_000)
    );
}

#[test]
fn t13_the_status_decides_before_the_words() {
    let body = r#"{"type":"error","error":{"type":"x","message":"prompt is too long: 2 tokens > 1 maximum"}}"#;
    let kind = |status| decode_with(&ResponseHead::new(status), body).error().kind;
    assert_eq!(kind(400), Kind::ContextOverflow);
    assert_eq!(kind(429), Kind::RateLimited);
    assert_eq!(kind(529), Kind::Overloaded);
}

#[test]
fn t14_half_a_character_is_replaced_on_the_way_in() {
    let answer = decode(&hello().replace("hi", "a\\ud83d"));
    assert_eq!(text_of(answer), "a\u{fffd}");
}

#[test]
fn t14_half_a_character_never_goes_out() {
    use crate::support::{assistant, body, call, plain, raw, results};
    use phi_types::OpaquePart;
    let half = call("a", r#"{"x":"\ud83d"}"#);
    let opaque = AssistantPart::Opaque(OpaquePart {
        kind: "server_tool_use".to_owned(),
        data: raw(r#"{"type":"server_tool_use","input":"\ude00"}"#),
    });
    let request = request([
        user("u"),
        assistant(vec![opaque, AssistantPart::ToolCall(half.clone())]),
        results(&[(&half, "r")]),
    ]);
    // Reading the body fails where half a character is left.
    let body = body(&plain(), &request);
    assert_eq!(body["messages"][1]["content"][1]["input"]["x"], "\u{fffd}");
    assert_eq!(body["messages"][1]["content"][0]["input"], "\u{fffd}");
}

#[test]
fn t15_usage_that_is_null_or_missing_is_not_zero() {
    let start = START.replace(
        r#"{"input_tokens":7,"output_tokens":1}"#,
        r#"{"input_tokens":null,"cache_read_input_tokens":0}"#,
    );
    let finish = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":null}}"#;
    let message = decode(&stream(&[&start, TEXT, HI, CLOSE, finish, STOP])).message();
    assert_eq!(message.usage.input_tokens, None);
    assert_eq!(message.usage.output_tokens, None);
    assert_eq!(message.usage.cache_read_tokens, Some(0));
    assert_eq!(message.usage.cache_write_tokens, None);
    assert_eq!(message.usage.reasoning_tokens, None);
    let without = start.replace(
        r#","usage":{"input_tokens":null,"cache_read_input_tokens":0}"#,
        "",
    );
    let finish = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#;
    let message = decode(&stream(&[&without, TEXT, HI, CLOSE, finish, STOP])).message();
    assert_eq!(message.usage, phi_types::Usage::default());
    assert_eq!(message.stop_reason, StopReason::EndTurn);
}
