//! A: facts about answers.

use phi_provider::ResponseHead;
use phi_types::{Arguments, AssistantPart, Delta, ProviderErrorKind as Kind, StopReason};

use crate::support::{
    CLOSE, HI, START, STOP, TEXT, TOOL, arguments, decode, decode_with, end, json_head, stream,
};

const PING: &str = r#"{"type": "ping"}"#;

#[test]
fn a1_pings_and_what_is_not_known_mean_nothing() {
    let known = [START, TEXT, HI, CLOSE, &end("end_turn"), STOP];
    let event = r#"{"type":"new_event","delta":"not an object","index":"x"}"#;
    let delta = r#"{"type":"content_block_delta","index":0,"delta":{"type":"new_delta"}}"#;
    let mut all = vec![PING];
    for payload in known {
        all.extend([payload, event, delta]);
    }
    let answer = decode(&stream(&all));
    assert_eq!(answer.deltas, decode(&stream(&known)).deltas);
    assert_eq!(answer.message().text(), "hi");
}

#[test]
fn a1_a_block_that_is_not_known_is_kept_for_its_provider() {
    let block = r#"{"type":"new_block","z":1.50,"a":[]}"#;
    let start = format!(r#"{{"type":"content_block_start","index":0,"content_block":{block}}}"#);
    let message = decode(&stream(&[START, &start, CLOSE, &end("end_turn"), STOP])).message();
    let [AssistantPart::Opaque(part)] = &message.parts[..] else {
        panic!("{message:?}")
    };
    assert_eq!(
        (part.kind.as_str(), part.data.as_str()),
        ("new_block", block)
    );
}

#[test]
fn a2_an_error_in_mid_stream_is_the_end_and_keeps_what_came_before() {
    let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    let answer = decode(&stream(&[START, TEXT, HI, error, &end("end_turn"), STOP]));
    assert!(answer.deltas.contains(&Delta::text(0, "hi")));
    assert_eq!(answer.message, None);
    let error = answer.error();
    assert_eq!((error.kind, error.is_retryable()), (Kind::Overloaded, true));
}

#[test]
fn a3_usage_is_cumulative_and_what_the_end_omits_stays() {
    let message = decode(&stream(&[START, TEXT, HI, CLOSE, &end("end_turn"), STOP])).message();
    assert_eq!(message.usage.input_tokens, Some(7));
    assert_eq!(message.usage.output_tokens, Some(9));
    let finish = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":70,"output_tokens":9}}"#;
    let message = decode(&stream(&[START, TEXT, HI, CLOSE, finish, STOP])).message();
    assert_eq!(message.usage.input_tokens, Some(70));
}

#[test]
fn a4_input_tokens_exclude_the_cache_and_writes_are_summed_over_lifetimes() {
    let usage = |usage: &str| {
        let body = format!(
            r#"{{"type":"message","content":[],"stop_reason":"end_turn","usage":{usage}}}"#
        );
        decode_with(&json_head(), &body).message().usage
    };
    let all = usage(
        r#"{"input_tokens":3,"cache_read_input_tokens":20,"cache_creation_input_tokens":100,"output_tokens":5,"output_tokens_details":{"thinking_tokens":2}}"#,
    );
    assert_eq!(all.input_tokens, Some(3));
    assert_eq!(all.prompt_tokens(), 123);
    assert_eq!(all.reasoning_tokens, Some(2));
    let split = usage(
        r#"{"cache_creation":{"ephemeral_5m_input_tokens":1,"ephemeral_1h_input_tokens":10}}"#,
    );
    assert_eq!(split.cache_write_tokens, Some(11));
    let strange =
        usage(r#"{"input_tokens":"many","output_tokens":-1,"cache_read_input_tokens":4.0}"#);
    assert_eq!((strange.input_tokens, strange.output_tokens), (None, None));
    assert_eq!(strange.cache_read_tokens, Some(4));
}

#[test]
fn a5_the_signature_comes_as_a_delta_or_with_the_start() {
    let start = |signature: &str| {
        format!(
            r#"{{"type":"content_block_start","index":0,"content_block":{{"type":"thinking","thinking":"","signature":"{signature}"}}}}"#
        )
    };
    let hm = r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}"#;
    let signature = r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"sig"}}"#;
    let by_delta = stream(&[START, &start(""), hm, signature, CLOSE, &end("end_turn")]);
    let by_start = stream(&[START, &start("sig"), hm, CLOSE, &end("end_turn")]);
    for body in [by_delta, by_start] {
        let message = decode(&body).message();
        let [AssistantPart::Thinking(part)] = &message.parts[..] else {
            panic!("{message:?}")
        };
        assert_eq!(part.text, "hm");
        assert_eq!(part.facts.signature.as_deref(), Some("sig"));
    }
    // Models may keep their thinking to themselves: the signature alone is what goes back.
    let silent = decode(&stream(&[START, &start("sig"), CLOSE, &end("end_turn")])).message();
    assert!(matches!(&silent.parts[..], [AssistantPart::Thinking(part)] if part.text.is_empty()));
}

#[test]
fn a6_redacted_thinking_comes_whole_with_its_start() {
    let block = r#"{"type":"redacted_thinking","data":"EoYB"}"#;
    let start = format!(r#"{{"type":"content_block_start","index":0,"content_block":{block}}}"#);
    let message = decode(&stream(&[START, &start, CLOSE, &end("end_turn")])).message();
    let [AssistantPart::Opaque(part)] = &message.parts[..] else {
        panic!("{message:?}")
    };
    assert_eq!(
        (part.kind.as_str(), part.data.as_str()),
        ("redacted_thinking", block)
    );
}

fn arguments_of(body: &str) -> Arguments {
    let message = decode(body).message();
    let calls: Vec<_> = message.tool_calls().collect();
    assert_eq!(calls.len(), 1);
    assert_eq!((&*calls[0].id, &*calls[0].name), ("toolu_1", "f"));
    calls[0].arguments.clone()
}

#[test]
fn a11_arguments_of_nothing_but_empty_fragments_are_an_empty_object() {
    let none = stream(&[START, TOOL, CLOSE, &end("tool_use"), STOP]);
    let empty = stream(&[START, TOOL, &arguments(""), CLOSE, &end("tool_use"), STOP]);
    for body in [none, empty] {
        assert_eq!(arguments_of(&body), Arguments::parse("{}"));
    }
    let pieces = [
        START,
        TOOL,
        &arguments(""),
        &arguments("{\"a\""),
        &arguments(":1}"),
        CLOSE,
    ];
    let body = stream(&pieces) + &stream(&[&end("tool_use")]);
    assert_eq!(arguments_of(&body), Arguments::parse("{\"a\":1}"));
}

#[test]
fn a11_arguments_may_come_with_the_start() {
    for input in [r#"{"a":1}"#, r#""{\"a\":1}""#] {
        let tool = TOOL.replace("\"input\":{}", &format!("\"input\":{input}"));
        let body = stream(&[START, &tool, CLOSE, &end("tool_use")]);
        assert_eq!(arguments_of(&body), Arguments::parse("{\"a\":1}"));
        let both = stream(&[
            START,
            &tool,
            &arguments("{\"b\":2}"),
            CLOSE,
            &end("tool_use"),
        ]);
        assert_eq!(arguments_of(&both), Arguments::parse("{\"b\":2}"));
    }
}

#[test]
fn a12_a_call_that_the_output_limit_cut_never_has_arguments() {
    for fragment in ["", "{\"path\":\"a\"", "{\"path\":\"a\"}"] {
        let body = stream(&[START, TOOL, &arguments(fragment), &end("max_tokens"), STOP]);
        assert_eq!(arguments_of(&body), Arguments::cut_off(fragment));
    }
    let closed = stream(&[
        START,
        TOOL,
        &arguments("{}"),
        CLOSE,
        &end("max_tokens"),
        STOP,
    ]);
    assert_eq!(arguments_of(&closed), Arguments::parse("{}"));
}

#[test]
fn a13_every_stop_reason_has_its_own_meaning() {
    let reason = |word: &str| {
        let message = decode(&stream(&[START, TEXT, HI, CLOSE, &end(word), STOP])).message();
        assert_eq!(message.stop_reason_raw.as_deref(), Some(word));
        message.stop_reason
    };
    assert_eq!(reason("end_turn"), StopReason::EndTurn);
    assert_eq!(reason("max_tokens"), StopReason::MaxTokens);
    assert_eq!(reason("stop_sequence"), StopReason::StopSequence);
    assert_eq!(reason("tool_use"), StopReason::ToolUse);
    assert_eq!(reason("pause_turn"), StopReason::PauseTurn);
    assert_eq!(reason("refusal"), StopReason::Refusal);
    assert_eq!(
        reason("model_context_window_exceeded"),
        StopReason::ContextWindow
    );
    assert_eq!(reason("sensitive"), StopReason::ContentFilter);
}

#[test]
fn a13_unknown_stop_reason_is_not_success() {
    let body = stream(&[START, TEXT, HI, CLOSE, &end("because"), STOP]);
    let message = decode(&body).message();
    assert_eq!(message.stop_reason, StopReason::Other);
    assert_eq!(message.stop_reason_raw.as_deref(), Some("because"));
    let without = stream(&[START, TEXT, HI, CLOSE, STOP]);
    assert_eq!(decode(&without).error().kind, Kind::Incomplete);
}

#[test]
fn a14_the_container_of_an_answer_is_kept_beside_its_blocks() {
    let finish = r#"{"type":"message_delta","delta":{"stop_reason":"pause_turn","container":{"id":"c1","expires_at":"x"}},"usage":{}}"#;
    let message = decode(&stream(&[START, TEXT, HI, CLOSE, finish, STOP])).message();
    assert_eq!(message.stop_reason, StopReason::PauseTurn);
    assert!(matches!(&message.parts[1], AssistantPart::Opaque(part) if part.kind == "container"));
}

#[test]
fn a14_a_server_tool_is_opaque_and_whole_also_where_its_input_is_streamed() {
    let start = r#"{"type":"content_block_start","index":0,"content_block":{"type":"server_tool_use","id":"srv","name":"web_search","input":{},"caller":{"type":"direct"}}}"#;
    let body = stream(&[
        START,
        start,
        &arguments("{\"q\":"),
        &arguments("\"x\"}"),
        CLOSE,
    ]);
    let message = decode(&(body + &stream(&[&end("pause_turn")]))).message();
    assert_eq!(message.tool_calls().count(), 0);
    let [AssistantPart::Opaque(part)] = &message.parts[..] else {
        panic!("{message:?}")
    };
    assert_eq!(
        part.data.as_str(),
        r#"{"type":"server_tool_use","id":"srv","name":"web_search","input":{"q":"x"},"caller":{"type":"direct"}}"#
    );
    let cut = stream(&[START, start, &arguments("{\"q\":"), &end("max_tokens")]);
    assert_eq!(decode(&cut).message().parts, []);
}

#[test]
fn a19_fine_grained_arguments_that_are_no_json_are_malformed_and_never_empty() {
    let body = stream(&[
        START,
        TOOL,
        &arguments("{\"a\":tru"),
        CLOSE,
        &end("tool_use"),
        STOP,
    ]);
    let Arguments::Malformed { raw, error } = arguments_of(&body) else {
        panic!("the arguments were taken")
    };
    assert_eq!(&*raw, "{\"a\":tru");
    assert!(error.contains("not JSON"), "{error}");
}

#[test]
fn a22_both_overflow_phrases_are_context_overflow() {
    for message in [
        "prompt is too long: 213462 tokens > 200000 maximum",
        "input length and `max_tokens` exceed context limit: 199999 + 8192 > 200000, decrease input length or `max_tokens` and try again",
    ] {
        let body = serde_json::json!({
            "type": "error",
            "error": {"type": "invalid_request_error", "message": message}
        });
        let error = decode_with(&ResponseHead::new(400), &body.to_string()).error();
        assert_eq!(
            (error.kind, error.is_retryable()),
            (Kind::ContextOverflow, false)
        );
        assert!(error.message.starts_with(message));
    }
}

#[test]
fn citations_stay_with_their_text() {
    let cite = |n: u32| {
        format!(
            r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"citations_delta","citation":{{"n":{n}}}}}}}"#
        )
    };
    let open = [START, TEXT, HI, &cite(1), &cite(2)];
    for close in [vec![CLOSE], vec![]] {
        let body = stream(&open) + &stream(&close) + &stream(&[&end("end_turn")]);
        let message = decode(&body).message();
        let [AssistantPart::Text(part)] = &message.parts[..] else {
            panic!("{message:?}")
        };
        let extra = part.facts.extra.as_ref().unwrap();
        assert_eq!(extra.as_str(), r#"{"citations":[{"n":1},{"n":2}]}"#);
    }
}

#[test]
fn a_whole_answer_is_folded_as_a_streamed_one() {
    let streamed = stream(&[
        START,
        TEXT,
        HI,
        CLOSE,
        &TOOL.replace("\"index\":0", "\"index\":1"),
        &arguments("{\"a\":1}").replace("\"index\":0", "\"index\":1"),
        &CLOSE.replace('0', "1"),
        &end("tool_use"),
        STOP,
    ]);
    let whole = r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-x",
        "content":[{"type":"text","text":"hi"},{"type":"tool_use","id":"toolu_1","name":"f","input":{"a":1}}],
        "stop_reason":"tool_use","usage":{"input_tokens":7,"output_tokens":9}}"#;
    assert_eq!(
        decode_with(&json_head(), whole).message(),
        decode(&streamed).message()
    );
}

#[test]
fn a_second_message_in_mid_stream_does_not_mix_with_the_first() {
    let first = [START, TOOL, &arguments("{\"a\":")];
    let second = [
        START,
        TOOL,
        &arguments("{\"b\":2}"),
        CLOSE,
        &end("tool_use"),
        STOP,
    ];
    let message = decode(&(stream(&first) + &stream(&second))).message();
    let arguments: Vec<_> = message.tool_calls().map(|call| &call.arguments).collect();
    assert!(matches!(arguments[0], Arguments::Malformed { .. }));
    assert_eq!(arguments[1], &Arguments::parse("{\"b\":2}"));
}

#[test]
fn events_that_break_the_protocol_name_what_is_wrong() {
    for (data, names) in [
        (
            r#"{"type":"content_block_start","index":0}"#,
            "content_block_start",
        ),
        (
            r#"{"type":"content_block_delta","index":0}"#,
            "content_block_delta",
        ),
        (r#"{"type":"message_start"}"#, "message_start"),
        (
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":5}}"#,
            "content_block_delta",
        ),
        (r#"{"type":"content_block_st"#, "message"),
        ("nonsense", "message"),
    ] {
        let body = format!("data: {data}\n\n");
        let error = decode(&body).error();
        assert_eq!(error.kind, Kind::Protocol, "{data}");
        assert!(error.message.contains(names), "{data}: {error}");
    }
    // An event of a kind that is not known may hold anything.
    let strange = format!(
        "event: telemetry\ndata: up=1\n\n{}",
        stream(&[START, TEXT, HI, CLOSE, &end("end_turn")])
    );
    assert_eq!(decode(&strange).message().text(), "hi");
}

#[test]
fn an_error_comes_again_with_every_call() {
    use phi_provider::{AnthropicMessages, Wire};
    let mut decoder = AnthropicMessages::new().decoder(&json_head());
    let mut deltas = Vec::new();
    let first = decoder
        .push(b"event: x\ndata: y\n\ndata: nonsense\n\n", &mut deltas)
        .unwrap_err();
    assert_eq!(
        decoder.push(b"data: {}\n\n", &mut deltas),
        Err(first.clone())
    );
    assert_eq!(decoder.end(&mut deltas), Err(first));
}
