//! Which item the pieces of a stream belong to, and what becomes of it.

use phi_types::{AssistantPart, Delta, ProviderErrorKind, StopReason};
use serde_json::{Value, json};

use crate::{
    added, call, called, calls, completed, delta, deltas, done, message, open_stream, reasoning,
    said, stream, thinking, whole,
};

#[test]
fn r01_the_pieces_of_two_calls_are_told_apart_by_their_place() {
    let events = [
        added(0, call("a", "")),
        added(1, call("b", "")),
        delta("function_call_arguments", 0, "{\"n\":"),
        delta("function_call_arguments", 1, "{\"n\":"),
        delta("function_call_arguments", 1, "2}"),
        delta("function_call_arguments", 0, "1}"),
        done(1, call("b", "{\"n\":2}")),
        done(0, call("a", "{\"n\":1}")),
    ];
    let message = message(&stream(&events)).unwrap();
    assert_eq!(
        calls(&message),
        [called("a", "{\"n\":1}"), called("b", "{\"n\":2}")]
    );
    assert_eq!(message.stop_reason, StopReason::ToolUse);
}

#[test]
fn r01_arguments_may_come_all_at_the_end_or_before_their_call() {
    let at_the_end = [added(0, call("a", "")), done(0, call("a", "{\"n\":1}"))];
    let in_their_event = [
        added(0, call("a", "")),
        json!({"type": "response.function_call_arguments.done", "output_index": 0,
            "arguments": "{\"n\":1}"}),
        done(0, call("a", "{\"n\":1}")),
    ];
    let before = [
        delta("function_call_arguments", 0, "{\"n\""),
        added(0, call("a", "")),
        delta("function_call_arguments", 0, ":1}"),
        done(0, call("a", "{\"n\":1}")),
    ];
    let without_end = [
        added(0, call("a", "")),
        delta("function_call_arguments", 0, "{\"n\":1}"),
    ];
    let missing_piece = [
        added(0, call("a", "")),
        delta("function_call_arguments", 0, "{\"n\""),
        done(0, call("a", "{\"n\":1}")),
    ];
    for events in [
        &at_the_end[..],
        &in_their_event,
        &before,
        &without_end,
        &missing_piece,
    ] {
        let message = message(&stream(events)).unwrap();
        assert_eq!(calls(&message), [called("a", "{\"n\":1}")], "{events:?}");
    }
    let nothing = open_stream(&[completed(json!([call("a", "{\"n\":1}")]))]);
    let message = message(&nothing).unwrap();
    assert_eq!(calls(&message), [called("a", "{\"n\":1}")]);
}

#[test]
fn r01_pieces_that_the_end_of_a_call_does_not_confirm_are_never_run() {
    let events = |pieces: &str, end: &str| {
        let events = [
            added(0, call("a", "")),
            delta("function_call_arguments", 0, pieces),
            done(0, call("a", end)),
        ];
        message(&stream(&events))
    };
    let error = events("{\"n\":1}", "{\"n\":2}").unwrap_err();
    assert_eq!(error.kind, ProviderErrorKind::Protocol);
    assert!(error.message.contains("`x`"), "{error}");
    let same = events("{\"n\": 1}", "{\"n\":1}").unwrap();
    assert_eq!(calls(&same), [called("a", "{\"n\": 1}")]);
    let unsaid = events("{\"n\":1}", "").unwrap();
    assert_eq!(calls(&unsaid), [called("a", "{\"n\":1}")]);
}

#[test]
fn r01_an_item_is_found_by_its_id_where_no_place_is_stated_and_by_neither() {
    let by_id = [
        json!({"type": "response.output_item.added", "item": call("a", "")}),
        json!({"type": "response.output_item.added", "item": call("b", "")}),
        json!({"type": "response.function_call_arguments.delta", "item_id": "fc_a",
            "delta": "{\"n\":1}"}),
        json!({"type": "response.output_item.done", "item": call("a", "")}),
        json!({"type": "response.output_item.done", "item": call("b", "{\"n\":2}")}),
    ];
    let message = message(&stream(&by_id)).unwrap();
    assert_eq!(
        calls(&message),
        [called("a", "{\"n\":1}"), called("b", "{\"n\":2}")]
    );
    let by_neither = [
        json!({"type": "response.output_text.delta", "delta": "he"}),
        json!({"type": "response.output_text.delta", "delta": "llo"}),
    ];
    assert_eq!(
        crate::message(&stream(&by_neither)).unwrap().text(),
        "hello"
    );
}

#[test]
fn r01_items_that_all_claim_the_same_place_stay_apart() {
    let events = [
        added(0, reasoning("rs_1")),
        done(0, reasoning("rs_1")),
        added(0, call("a", "")),
        delta("function_call_arguments", 0, "{\"n\":1}"),
        done(0, call("a", "{\"n\":1}")),
        added(0, call("b", "")),
        delta("function_call_arguments", 0, "{\"n\":2}"),
        done(0, call("b", "{\"n\":2}")),
    ];
    let message = message(&stream(&events)).unwrap();
    assert_eq!(
        calls(&message),
        [called("a", "{\"n\":1}"), called("b", "{\"n\":2}")]
    );
    assert_eq!(message.parts.len(), 3);
}

#[test]
fn ids_that_change_with_every_event_do_not_matter() {
    let named = |mut event: Value, id: &str| {
        event["item_id"] = id.into();
        event
    };
    let events = [
        added(0, said("msg_1", "")),
        named(delta("output_text", 0, "he"), "msg_2"),
        named(delta("output_text", 0, "llo"), "msg_3"),
        done(0, said("msg_4", "hello")),
        completed(json!([said("msg_5", "hello")])),
    ];
    let message = message(&open_stream(&events)).unwrap();
    assert_eq!(message.text(), "hello");
    assert_eq!(message.parts.len(), 1);
}

#[test]
fn r02_the_id_that_pairs_a_result_is_not_the_id_of_the_item() {
    let message = message(&whole(json!([call("call_1", "{}")]))).unwrap();
    let call = message.tool_calls().next().unwrap();
    assert_eq!(&*call.id, "call_1");
    assert_eq!(call.facts.item_id.as_deref(), Some("fc_call_1"));
}

#[test]
fn r08_reasoning_and_its_summary_are_read_and_paragraphs_stay_apart() {
    let piece = |kind: &str, index: u64, text: &str| {
        json!({"type": format!("response.{kind}.delta"), "output_index": 0,
            "summary_index": index, "content_index": index, "delta": text})
    };
    for kind in ["reasoning_summary_text", "reasoning_text"] {
        let events = [
            added(0, json!({"type": "reasoning", "id": "rs_1", "summary": []})),
            piece(kind, 0, "first"),
            piece(kind, 0, " of all"),
            piece(kind, 1, "then"),
        ];
        let message = message(&stream(&events)).unwrap();
        assert_eq!(thinking(&message), "first of all\n\nthen", "{kind}");
    }
    let texts =
        json!([{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}]);
    let item = json!({"type": "reasoning", "id": "rs_1", "summary": texts});
    assert_eq!(thinking(&message(&whole(json!([item]))).unwrap()), "a\n\nb");
}

#[test]
fn r08_reasoning_that_also_has_a_summary_is_shown_once() {
    let item = json!({"type": "reasoning", "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "short"}],
        "content": [{"type": "reasoning_text", "text": "all of it"}]});
    assert_eq!(
        thinking(&message(&whole(json!([item]))).unwrap()),
        "all of it"
    );
}

#[test]
fn r11_the_input_of_a_custom_tool_is_an_argument() {
    let item = |input: &str| {
        json!({"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_1", "name": "x",
            "input": input})
    };
    let text = "say \"hi\"\n\u{1f600}";
    let expected = [called("call_1", &json!({"input": text}).to_string())];
    let streamed = [
        added(0, item("")),
        delta("custom_tool_call_input", 0, "say \"h"),
        delta("custom_tool_call_input", 0, "i\"\n\u{1f600}"),
        done(0, item(text)),
    ];
    let message = message(&stream(&streamed)).unwrap();
    assert_eq!(calls(&message), expected);
    assert_eq!(message.stop_reason, StopReason::ToolUse);
    let whole_answer = whole(json!([item(text)]));
    assert_eq!(calls(&crate::message(&whole_answer).unwrap()), expected);
    let empty = crate::message(&whole(json!([item("")]))).unwrap();
    assert_eq!(calls(&empty), [called("call_1", "{\"input\":\"\"}")]);
}

#[test]
fn r12_items_of_the_service_are_kept_as_they_came() {
    let compaction = json!({"type": "compaction", "id": "cmp_1", "encrypted_content": "sealed"});
    let search = json!({"type": "web_search_call", "id": "ws_1", "status": "completed",
        "action": {"type": "search", "query": "q"}});
    let message = message(&whole(json!([compaction, search, said("msg_1", "so")]))).unwrap();
    let opaque: Vec<(String, Value)> = message
        .parts
        .iter()
        .filter_map(|part| match part {
            AssistantPart::Opaque(part) => Some((part.kind.clone(), part.data.read().unwrap())),
            _ => None,
        })
        .collect();
    let expected = [
        ("compaction".to_owned(), compaction),
        ("web_search_call".to_owned(), search),
    ];
    assert_eq!(opaque, expected);
    assert_eq!(message.stop_reason, StopReason::EndTurn);
}

#[test]
fn items_keep_the_order_in_which_they_began() {
    let search = json!({"type": "web_search_call", "id": "ws_1"});
    let events = [
        added(0, search.clone()),
        added(1, said("msg_1", "")),
        delta("output_text", 1, "so"),
        done(1, said("msg_1", "so")),
        done(0, search),
    ];
    let message = message(&stream(&events)).unwrap();
    assert!(matches!(message.parts[0], AssistantPart::Opaque(_)));
    assert!(matches!(message.parts[1], AssistantPart::Text(_)));
}

#[test]
fn the_text_of_the_end_fills_what_the_stream_left_out() {
    let events = [
        added(0, said("msg_1", "")),
        delta("output_text", 0, "Got it"),
        json!({"type": "response.output_text.done", "output_index": 0, "text": "Got it, wait"}),
        done(0, said("msg_1", "Got it, wait.")),
    ];
    assert_eq!(message(&stream(&events)).unwrap().text(), "Got it, wait.");
}

#[test]
fn text_is_shown_as_it_comes_and_never_twice() {
    let events = [
        added(0, said("msg_1", "")),
        delta("output_text", 0, "a"),
        delta("output_text", 0, "b"),
        done(0, said("msg_1", "ab")),
        completed(json!([said("msg_1", "ab")])),
    ];
    let (deltas, error) = deltas(&open_stream(&events));
    assert_eq!(error, None);
    let shown: Vec<&str> = deltas
        .iter()
        .filter_map(|delta| match delta {
            Delta::Text(text) => Some(text.text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(shown, ["a", "b"]);
}
