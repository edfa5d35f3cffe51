//! Whole answers, usage, and fields of other types.

use phi_types::Usage;
use serde_json::{Value, json};

use crate::{completed, message, open_stream, said, thinking, whole};

fn usage(usage: Value) -> Usage {
    let mut end = completed(json!([]));
    end["response"]["usage"] = usage;
    message(&open_stream(&[end])).unwrap().usage
}

#[test]
fn usage_is_input_without_cache_and_output_with_reasoning() {
    let stated = json!({"input_tokens": 100, "output_tokens": 50, "total_tokens": 150,
        "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
        "output_tokens_details": {"reasoning_tokens": 40}});
    let expected = Usage {
        input_tokens: Some(10),
        cache_read_tokens: Some(60),
        cache_write_tokens: Some(30),
        output_tokens: Some(50),
        reasoning_tokens: Some(40),
    };
    assert_eq!(usage(stated), expected);
}

#[test]
fn t15_usage_that_is_not_stated_is_not_zero() {
    let stated = json!({"input_tokens": 7, "output_tokens": null, "input_tokens_details": null});
    let expected = Usage {
        input_tokens: Some(7),
        ..Usage::default()
    };
    assert_eq!(usage(stated), expected);
    assert_eq!(usage(Value::Null), Usage::default());
    assert_eq!(usage(json!("many")), Usage::default());
}

#[test]
fn usage_beside_the_total_is_added_and_names_of_another_protocol_are_read() {
    let beside = json!({"input_tokens": 10, "output_tokens": 5, "total_tokens": 35,
        "output_tokens_details": {"reasoning_tokens": 20}});
    assert_eq!(usage(beside).output_tokens, Some(25));
    let named = usage(json!({"prompt_tokens": 3, "completion_tokens": "4"}));
    assert_eq!(
        (named.input_tokens, named.output_tokens),
        (Some(3), Some(4))
    );
}

#[test]
fn reasoning_beside_the_items_comes_first() {
    let body = json!({"object": "response", "status": "completed", "reasoning": "hm",
        "output": [said("msg_1", "so")]});
    let message = message(&body.to_string()).unwrap();
    assert_eq!(thinking(&message), "hm");
    assert_eq!(message.text(), "so");
    assert!(matches!(
        message.parts[0],
        phi_types::AssistantPart::Thinking(_)
    ));
    let options = json!({"object": "response", "status": "completed",
        "reasoning": {"effort": "low"}, "output": [said("msg_1", "so")]});
    assert_eq!(thinking(&crate::message(&options.to_string()).unwrap()), "");
}

#[test]
fn fields_of_another_type_do_no_harm() {
    let item = json!({"type": "message", "id": null, "content": "plain", "status": 7});
    let odd = json!([null, 3, {"type": 5}, item,
        {"type": "function_call", "call_id": "a", "name": "x", "arguments": {"n": 1}},
        {"type": "reasoning", "summary": null, "content": "none"}]);
    let message = message(&whole(odd)).unwrap();
    assert_eq!(message.text(), "plain");
    assert_eq!(crate::calls(&message), [crate::called("a", "{\"n\":1}")]);
}

#[test]
fn t14_half_of_a_surrogate_pair_is_replaced() {
    let body = "data: {\"type\":\"response.output_text.delta\",\"delta\":\"a\\ud83d\"}\n\n"
        .to_owned()
        + "data: {\"type\":\"response.output_item.done\",\"output_index\":1,\"item\":{\"type\":\"odd\",\"x\":\"\\ude00\"}}\n\n"
        + &crate::stream(&[]);
    let message = message(&body).unwrap();
    assert_eq!(message.text(), "a\u{fffd}");
    let phi_types::AssistantPart::Opaque(part) = &message.parts[1] else {
        unreachable!("the odd item comes second")
    };
    assert_eq!(part.data.read::<Value>().unwrap()["x"], "\u{fffd}");
}

#[test]
fn a_field_that_comes_twice_counts_once() {
    let body = "data: {\"type\":\"response.output_text.delta\",\"delta\":\"a\",\"delta\":\"b\"}\n\n"
        .to_owned() + &crate::stream(&[]);
    assert_eq!(message(&body).unwrap().text(), "b");
}
