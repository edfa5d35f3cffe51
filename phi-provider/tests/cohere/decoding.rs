//! What comes back.

use phi_provider::{CohereChat, Limits, ResponseHead, Wire};
use phi_types::{
    Arguments, AssistantPart, Delta, PartFacts, ProviderErrorKind as Kind, StopReason, Usage,
};
use serde_json::{Value, json};

use crate::support::{decode, error, message};
use crate::wire;

/// Frames events, named as their type.
fn events(all: &[Value]) -> String {
    all.iter()
        .map(|event| {
            format!(
                "event: {}\ndata: {event}\n\n",
                event["type"].as_str().unwrap_or("")
            )
        })
        .collect()
}

fn event(kind: &str, index: u64, message: Value) -> Value {
    json!({"type": kind, "index": index, "delta": {"message": message}})
}

fn start() -> Value {
    json!({"id": "r", "type": "message-start", "delta": {"message":
        {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}}})
}

fn said(index: u64, text: &str) -> Value {
    event("content-delta", index, json!({"content": {"text": text}}))
}

fn plan(text: &str) -> Value {
    json!({"type": "tool-plan-delta", "delta": {"message": {"tool_plan": text}}})
}

fn called(index: u64, id: &str) -> Value {
    event(
        "tool-call-start",
        index,
        json!({"tool_calls":
        {"id": id, "type": "function", "function": {"name": "f", "arguments": ""}}}),
    )
}

fn arguments(index: u64, text: &str) -> Value {
    let call = json!({"function": {"arguments": text}});
    event("tool-call-delta", index, json!({ "tool_calls": call }))
}

fn ended(kind: &str, index: u64) -> Value {
    json!({"type": kind, "index": index})
}

fn end(reason: &str) -> Value {
    json!({"type": "message-end", "delta": {"finish_reason": reason, "usage":
        {"billed_units": {"input_tokens": 1, "output_tokens": 2},
         "tokens": {"input_tokens": 100, "output_tokens": 20, "reasoning_tokens": 5},
         "cached_tokens": 60}}})
}

fn cited(citation: Value) -> Value {
    event("citation-start", 0, json!({ "citations": citation }))
}

#[test]
fn t6_message_end_ends_the_stream_and_nothing_after_it_counts() {
    let body = events(&[start(), said(0, "a"), end("COMPLETE"), said(0, "b")])
        + "data: {\"message\":\"late\"}\n\ndata: garbage\n\ndata: [DONE]\n\n";
    let message = message(&wire(), &body);
    assert_eq!(message.text(), "a");
    assert_eq!(message.origin.response_id.as_deref(), Some("r"));
    let mut decoder = wire().decoder(&ResponseHead::new(200));
    let mut deltas = Vec::new();
    decoder
        .push(events(&[said(0, "a")]).as_bytes(), &mut deltas)
        .unwrap();
    assert!(!decoder.is_over());
    decoder
        .push(events(&[end("COMPLETE")]).as_bytes(), &mut deltas)
        .unwrap();
    assert!(decoder.is_over());
}

#[test]
fn t7_a_stream_without_its_reason_to_stop_is_incomplete() {
    let without = json!({"type": "message-end", "delta": {}});
    for body in [
        String::new(),
        events(&[start(), said(0, "a")]),
        events(&[start(), said(0, "a"), without]) + "data: [DONE]\n\n",
        r#"{"id":"r","message":{"content":[{"type":"text","text":"a"}]}}"#.to_owned(),
    ] {
        assert_eq!(error(&wire(), 200, &body).kind, Kind::Incomplete, "{body}");
    }
}

#[test]
fn t5_the_type_in_the_data_counts_and_the_name_of_the_event_where_there_is_none() {
    let body = "data: {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"text\":\"a\"}}}}\n\n\
        event: content-delta\ndata: {\"index\":0,\"delta\":{\"message\":{\"content\":{\"text\":\"b\"}}}}\n\n\
        event: message-end\ndata: {\"delta\":{\"finish_reason\":\"COMPLETE\"}}\n\n";
    let message = message(&wire(), body);
    assert_eq!(message.text(), "ab");
    assert_eq!(message.usage, Usage::default());
}

#[test]
fn t10_errors_in_a_stream_are_errors() {
    let stated = |reason: &str, error: &str| json!({"type": "message-end", "delta": {"finish_reason": reason, "error": error}});
    for (event, kind) in [
        (end("ERROR"), Kind::Server),
        (
            stated("ERROR", "too many tokens: size limit exceeded by 7 tokens"),
            Kind::ContextOverflow,
        ),
        (stated("", "it broke"), Kind::Server),
        (end("TIMEOUT"), Kind::Timeout),
        (
            json!({"id": "r", "message": "internal server error"}),
            Kind::Server,
        ),
        (
            json!({"type": "error", "error": {"message": "x", "code": 429}}),
            Kind::RateLimited,
        ),
    ] {
        let body = events(&[start(), said(0, "a"), event.clone()]);
        let (deltas, error) = decode(&wire(), 200, &body);
        assert!(deltas.contains(&Delta::text(0, "a")));
        assert_eq!(error.map(|error| error.kind), Some(kind), "{event}");
    }
}

#[test]
fn t9_an_error_may_come_whole_with_a_status_of_success() {
    let error = error(&wire(), 200, r#"{"id":"r","message":"it broke"}"#);
    assert_eq!(
        (error.kind, error.message.as_str()),
        (Kind::Server, "it broke")
    );
}

#[test]
fn statuses_say_what_the_caller_can_do() {
    for (status, body, kind) in [
        (
            400,
            r#"{"error_type":"TOO_MANY_TOKENS","id":"r","message":"too long"}"#,
            Kind::ContextOverflow,
        ),
        (
            400,
            r#"{"message":"too many tokens: size limit exceeded by 7 tokens."}"#,
            Kind::ContextOverflow,
        ),
        (
            400,
            r#"{"message":"invalid request: message must be at least 1 token long"}"#,
            Kind::InvalidRequest,
        ),
        (401, r#"{"message":"invalid api token"}"#, Kind::Auth),
        (
            402,
            r#"{"message":"please add a payment method"}"#,
            Kind::Billing,
        ),
        (
            404,
            r#"{"message":"model 'x' not found"}"#,
            Kind::InvalidRequest,
        ),
        (
            422,
            r#"{"message":"no valid response could be generated"}"#,
            Kind::InvalidRequest,
        ),
        (
            429,
            r#"{"message":"You are using a Trial key, which is limited to 40 API calls / minute."}"#,
            Kind::RateLimited,
        ),
        (500, r#"{"message":"internal server error"}"#, Kind::Server),
        (503, "", Kind::Overloaded),
        (504, "", Kind::Timeout),
    ] {
        assert_eq!(error(&wire(), status, body).kind, kind, "{body}");
    }
}

#[test]
fn the_counts_are_those_of_the_model_and_not_those_of_the_bill() {
    let usage = |usage: Value| {
        let body = json!({"message": {}, "finish_reason": "COMPLETE", "usage": usage});
        message(&wire(), &body.to_string()).usage
    };
    let stated = message(&wire(), &events(&[start(), said(0, "a"), end("COMPLETE")])).usage;
    assert_eq!(
        stated,
        Usage {
            input_tokens: Some(40),
            cache_read_tokens: Some(60),
            cache_write_tokens: None,
            output_tokens: Some(20),
            reasoning_tokens: Some(5),
        }
    );
    assert_eq!(usage(json!(null)), Usage::default());
    assert_eq!(
        usage(json!({"billed_units": {"input_tokens": 3}})),
        Usage::default()
    );
    let odd = usage(json!({"tokens": {"input_tokens": 3.0, "output_tokens": null}}));
    assert_eq!((odd.input_tokens, odd.output_tokens), (Some(3), None));
    let image =
        usage(json!({"tokens": {"input_tokens": 34, "image_tokens": 259}, "cached_tokens": 0}));
    assert_eq!(
        (image.input_tokens, image.cache_read_tokens),
        (Some(293), Some(0))
    );
}

#[test]
fn the_reason_to_stop_is_never_taken_for_success_if_it_is_not_known() {
    for (reason, expected) in [
        ("COMPLETE", StopReason::EndTurn),
        ("complete", StopReason::EndTurn),
        ("TOOL_CALL", StopReason::EndTurn),
        ("STOP_SEQUENCE", StopReason::StopSequence),
        ("MAX_TOKENS", StopReason::MaxTokens),
        ("ERROR_LIMIT", StopReason::ContextWindow),
        ("ERROR_TOXIC", StopReason::ContentFilter),
        ("USER_CANCEL", StopReason::Other),
        ("COMPLETED", StopReason::Other),
    ] {
        let message = message(&wire(), &events(&[start(), said(0, "a"), end(reason)]));
        assert_eq!(message.stop_reason, expected, "{reason}");
        assert_eq!(message.stop_reason_raw.as_deref(), Some(reason));
    }
    let body = events(&[
        start(),
        called(0, "a"),
        ended("tool-call-end", 0),
        end("COMPLETE"),
    ]);
    assert_eq!(message(&wire(), &body).stop_reason, StopReason::ToolUse);
}

#[test]
fn a_tool_plan_is_thinking_with_a_place_of_its_own() {
    let body = events(&[
        start(),
        plan("I "),
        plan("will"),
        called(0, "a"),
        arguments(0, "{\"x\":"),
        arguments(0, "1}"),
        ended("tool-call-end", 0),
        end("TOOL_CALL"),
    ]);
    let streamed = message(&wire(), &body);
    let [AssistantPart::Thinking(plan), AssistantPart::ToolCall(call)] = &*streamed.parts else {
        panic!("{streamed:?}");
    };
    assert_eq!(plan.text, "I will");
    assert_eq!(
        plan.facts.extra.as_ref().unwrap().as_str(),
        r#"{"tool_plan":true}"#
    );
    assert_eq!(call.arguments, Arguments::parse(r#"{"x":1}"#));
    let whole = json!({"id": "r", "message": {"role": "assistant", "tool_plan": "I will",
        "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{\"x\":1}"}}]},
        "finish_reason": "TOOL_CALL", "usage": end("")["delta"]["usage"]});
    assert_eq!(message(&wire(), &whole.to_string()), streamed);
}

#[test]
fn thinking_and_text_are_blocks_of_their_own() {
    let thinks = |text: &str| event("content-delta", 0, json!({"content": {"thinking": text}}));
    let body = events(&[
        start(),
        event(
            "content-start",
            0,
            json!({"content": {"type": "thinking", "thinking": "h"}}),
        ),
        thinks("m"),
        ended("content-end", 0),
        event(
            "content-start",
            1,
            json!({"content": {"type": "text", "text": ""}}),
        ),
        said(1, "so"),
        ended("content-end", 1),
        end("COMPLETE"),
    ]);
    let streamed = message(&wire(), &body);
    let [AssistantPart::Thinking(thinking), AssistantPart::Text(text)] = &*streamed.parts else {
        panic!("{streamed:?}");
    };
    assert_eq!((&*thinking.text, &*text.text), ("hm", "so"));
    assert_eq!(thinking.facts, PartFacts::default());
    // A server that forgets the ends, or counts everything as 0, means the same.
    let lax = events(&[start(), thinks("hm"), said(0, "so"), end("COMPLETE")]);
    assert_eq!(message(&wire(), &lax), streamed);
}

#[test]
fn calls_may_interleave_and_an_index_may_come_again() {
    let body = events(&[
        start(),
        called(0, "a"),
        called(1, "b"),
        arguments(0, "{\"x\":"),
        arguments(1, "{\"y\":"),
        arguments(0, "1}"),
        arguments(1, "2}"),
        ended("tool-call-end", 1),
        called(0, "c"),
        arguments(0, "{}"),
        end("TOOL_CALL"),
    ]);
    let message = message(&wire(), &body);
    let calls: Vec<_> = message
        .tool_calls()
        .map(|call| (&*call.id, call.arguments.text()))
        .collect();
    assert_eq!(calls, [("a", "{\"x\":1}"), ("b", "{\"y\":2}"), ("c", "{}")]);
}

#[test]
fn a_call_without_arguments_says_nothing_or_null() {
    for pieces in [
        &["", ""][..],
        &["null"],
        &["nu", "ll"],
        &[" null", "\n"],
        &["{}"],
        &[],
    ] {
        let mut all = vec![start(), called(0, "a")];
        all.extend(pieces.iter().map(|piece| arguments(0, piece)));
        all.extend([ended("tool-call-end", 0), end("TOOL_CALL")]);
        let message = message(&wire(), &events(&all));
        let call = message.tool_calls().next().unwrap();
        assert_eq!(call.arguments, Arguments::parse("{}"), "{pieces:?}");
    }
    let all = [
        start(),
        called(0, "a"),
        arguments(0, "nu"),
        arguments(0, "ts"),
        end("TOOL_CALL"),
    ];
    let message = message(&wire(), &events(&all));
    assert_eq!(
        message.tool_calls().next().unwrap().arguments.text(),
        "nuts"
    );
}

#[test]
fn a_call_that_was_cut_off_never_runs() {
    let cut = [
        start(),
        called(0, "a"),
        arguments(0, "{}"),
        end("MAX_TOKENS"),
    ];
    let closed = [
        start(),
        called(0, "a"),
        arguments(0, "{}"),
        ended("tool-call-end", 0),
        end("MAX_TOKENS"),
    ];
    for (all, expected) in [
        (&cut[..], Arguments::cut_off("{}")),
        (&closed[..], Arguments::parse("{}")),
    ] {
        let message = message(&wire(), &events(all));
        assert_eq!(message.tool_calls().next().unwrap().arguments, expected);
    }
}

#[test]
fn citations_stand_beside_the_text_that_they_are_about() {
    let first =
        json!({"start": 0, "end": 1, "type": "TEXT_CONTENT", "sources": [{"z": 1.0, "a": 2}]});
    let second = json!({"start": 1, "end": 2, "content_index": 0});
    let of_plan = json!({"start": 0, "end": 1, "type": "PLAN"});
    let body = events(&[
        start(),
        plan("p"),
        cited(of_plan.clone()),
        said(0, "a"),
        cited(first.clone()),
        json!({"type": "citation-end", "index": 0}),
        said(0, "b"),
        ended("content-end", 0),
        said(1, "c"),
        cited(second.clone()),
        end("COMPLETE"),
    ]);
    let message = message(&wire(), &body);
    let facts: Vec<Option<Value>> = message
        .parts
        .iter()
        .map(|part| match part {
            AssistantPart::Text(part) => part.facts.extra.as_ref(),
            AssistantPart::Thinking(part) => part.facts.extra.as_ref(),
            _ => None,
        })
        .map(|extra| extra.map(|extra| extra.read().unwrap()))
        .collect();
    assert_eq!(
        facts,
        [
            Some(json!({"tool_plan": true, "citations": [of_plan]})),
            Some(json!({"citations": [first, second]})),
            None
        ]
    );
    let stray = events(&[
        start(),
        cited(json!({"start": 0})),
        said(0, "a"),
        end("COMPLETE"),
    ]);
    assert_eq!(self::message(&wire(), &stray).parts.len(), 1);
}

#[test]
fn a_list_of_citations_is_said_at_most_twice() {
    let mut all = vec![said(0, "a")];
    for _ in 0..1_000 {
        all.extend([cited(json!({"start": 0})), ended("content-end", 0)]);
    }
    all.push(end("COMPLETE"));
    let (deltas, _) = decode(&wire(), 200, &events(&all));
    let facts = deltas.iter().filter(|it| matches!(it, Delta::PartFacts(_)));
    assert_eq!(facts.count(), 2);
}

#[test]
fn arguments_of_white_space_alone_are_not_held() {
    let mut all = vec![start(), called(0, "a")];
    all.extend((0..100).map(|_| arguments(0, "    ")));
    all.extend([arguments(0, "{}"), end("TOOL_CALL")]);
    let message = message(&wire(), &events(&all));
    assert_eq!(
        message.tool_calls().next().unwrap().arguments.text().trim(),
        "{}"
    );
}

#[test]
fn unknown_events_and_fields_of_other_types_do_not_fail() {
    for odd in [
        json!({"type": "debug", "prompt": "x"}),
        json!({"type": "content-delta", "index": null, "delta": null}),
        json!({"type": "content-delta", "index": "0", "delta": {"message": {"content": "x"}}}),
        json!({"type": "tool-call-delta", "delta": {"message": {"tool_calls": [null, 7]}}}),
        json!({"type": "citation-start", "delta": {"message": {"citations": [7, "x", {}]}}}),
        json!({"type": "message-start", "delta": {"message": []}, "id": 7}),
        json!({"error": null}),
    ] {
        let body = events(&[odd.clone(), said(0, "a"), end("COMPLETE")]);
        assert_eq!(message(&wire(), &body).text(), "a", "{odd}");
    }
    for odd in ["data: null\n\n", "data: [\n\n", "data: 7\n\n"] {
        let body = events(&[said(0, "a")]) + odd;
        assert_eq!(error(&wire(), 200, &body).kind, Kind::Protocol, "{odd}");
    }
}

#[test]
fn t14_half_of_a_character_is_replaced_and_of_a_field_twice_the_last_counts() {
    let half = events(&[said(0, "x")]).replace("\"x\"", r#""x\ud83d""#);
    let twice = half.replace("\"index\":0", "\"index\":7,\"index\":0");
    let body = half + &twice + &events(&[end("COMPLETE")]);
    assert_eq!(message(&wire(), &body).text(), "x\u{fffd}x\u{fffd}");
}

#[test]
fn blocks_and_citations_without_end_are_refused() {
    let many: Vec<Value> = (0..5_000).map(|index| said(index, "x")).collect();
    assert_eq!(error(&wire(), 200, &events(&many)).kind, Kind::Protocol);
    let wire = CohereChat::new().with_limits(Limits {
        body_bytes_max: 1_000,
        ..Limits::default()
    });
    let citation = cited(json!({"text": "x".repeat(600)}));
    let body = events(&[said(0, "a"), citation.clone(), citation, end("COMPLETE")]);
    assert_eq!(error(&wire, 200, &body).kind, Kind::Protocol);
}
