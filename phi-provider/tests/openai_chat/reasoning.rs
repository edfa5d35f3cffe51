//! Reasoning under all its names, and how it goes back.

use phi_provider::openai_chat::{Quirks, ThinkTags};
use phi_provider::{ResponseHead, Wire};
use phi_types::{AssistantMessage, AssistantPart};
use serde_json::{Value, json};

use crate::requests::{sent_after, with_tools};
use crate::{delta, finish, message, stream, thinking, whole};

/// The assistant message of the request that follows an answer.
fn sent_back(answer: AssistantMessage) -> Value {
    let body = sent_after(&crate::wire(), answer, with_tools);
    body["messages"][1].clone()
}

#[test]
fn c08_reasoning_under_either_name_is_shown_and_goes_back_under_it() {
    for name in ["reasoning_content", "reasoning"] {
        let message = message(&stream(&[
            delta(json!({name: "let ", "content": null})),
            delta(json!({name: "me", "content": ""})),
            delta(json!({"content": "so", name: null})),
            finish("stop"),
        ]))
        .unwrap();
        assert_eq!(thinking(&message), "let me");
        assert_eq!(message.text(), "so");
        assert!(matches!(message.parts[0], AssistantPart::Thinking(_)));
        assert_eq!(
            sent_back(message),
            json!({"role": "assistant", "content": "so", name: "let me"})
        );
    }
}

#[test]
fn c08_reasoning_under_both_names_is_shown_once() {
    let message = message(&stream(&[
        delta(json!({"reasoning_content": "let ", "reasoning": "let "})),
        delta(json!({"reasoning_content": "me", "reasoning": "me"})),
        finish("stop"),
    ]))
    .unwrap();
    assert_eq!(thinking(&message), "let me");
}

#[test]
fn c08_details_are_merged_by_index_and_type_and_go_back_verbatim() {
    let detail = |detail: Value, text: &str| {
        delta(json!({"reasoning": text, "reasoning_details": [detail]}))
    };
    let streamed = stream(&[
        detail(
            json!({"type": "reasoning.text", "text": "let ", "index": 0, "format": "f"}),
            "let ",
        ),
        detail(
            json!({"type": "reasoning.text", "text": "me", "index": 0}),
            "me",
        ),
        delta(json!({"reasoning": null, "reasoning_details": [
            {"type": "reasoning.text", "signature": "sig", "index": 0, "format": "f"}]})),
        delta(json!({"reasoning_details": [
            {"type": "reasoning.encrypted", "data": "xyz", "id": "rs_1", "index": 0}]})),
        delta(json!({"content": "so", "reasoning_details": []})),
        finish("stop"),
    ]);
    let message = message(&streamed).unwrap();
    assert_eq!(thinking(&message), "let me");
    let back = sent_back(message);
    assert_eq!(
        back["reasoning_details"],
        json!([
            {"type": "reasoning.text", "text": "let me", "index": 0, "format": "f",
                "signature": "sig"},
            {"type": "reasoning.encrypted", "data": "xyz", "id": "rs_1", "index": 0},
        ])
    );
    assert_eq!(back.get("reasoning"), None);
}

#[test]
fn c08_details_of_two_indices_or_ids_stay_apart() {
    let details = json!([
        {"type": "reasoning.encrypted", "data": "a", "id": "1", "index": 0},
        {"type": "reasoning.encrypted", "data": "b", "id": "2", "index": 0},
        {"type": "reasoning.summary", "summary": "c", "index": 0},
        {"type": "reasoning.summary", "summary": "d", "index": 1},
    ]);
    let message = message(&whole(
        json!({"content": "so", "reasoning_details": details}),
        "stop",
    ))
    .unwrap();
    assert_eq!(thinking(&message), "cd");
    assert_eq!(sent_back(message)["reasoning_details"], details);
}

#[test]
fn c08_typed_blocks_keep_their_order_and_go_back_typed() {
    let think =
        |text: &str| json!({"type": "thinking", "thinking": [{"type": "text", "text": text}]});
    let streamed = stream(&[
        delta(json!({"content": [think("let ")]})),
        delta(json!({"content": [think("me")]})),
        delta(json!({"content": "s"})),
        delta(json!({"content": [{"type": "text", "text": "o"}]})),
        finish("stop"),
    ]);
    let at_once = whole(
        json!({"content": [think("let me"), {"type": "text", "text": "so"}]}),
        "stop",
    );
    for body in [streamed, at_once] {
        let message = message(&body).unwrap();
        assert_eq!(
            (thinking(&message).as_str(), message.text().as_str()),
            ("let me", "so")
        );
        assert_eq!(
            sent_back(message)["content"],
            json!([think("let me"), {"type": "text", "text": "so"}])
        );
    }
}

#[test]
fn c08_reasoning_between_texts_is_a_part_of_its_own_where_blocks_say_so() {
    let think = |text: &str| json!({"type": "thinking", "thinking": text});
    let words = |text: &str| json!({"type": "text", "text": text});
    let content = json!([words("0"), think("a"), words("b"), think("c"), words("d")]);
    let message = message(&whole(json!({"content": content}), "stop")).unwrap();
    let kinds: Vec<&str> = message
        .parts
        .iter()
        .map(|part| match part {
            AssistantPart::Thinking(part) => part.text.as_str(),
            AssistantPart::Text(part) => part.text.as_str(),
            AssistantPart::ToolCall(_) | AssistantPart::Opaque(_) => "",
        })
        .collect();
    assert_eq!(kinds, ["0", "a", "b", "c", "d"]);
}

#[test]
fn c08_tags_in_the_text_are_text() {
    let message = message(&whole(json!({"content": "<think>hm</think>so"}), "stop")).unwrap();
    assert_eq!(message.text(), "<think>hm</think>so");
    assert_eq!(thinking(&message), "");
}

#[test]
fn c08_tags_are_reasoning_where_the_wire_is_told_so() {
    let wire = crate::wire().with_quirks(Quirks {
        think_tags: ThinkTags::Thinking,
        ..Quirks::default()
    });
    let body = stream(&[
        delta(json!({"content": "<th"})),
        delta(json!({"content": "ink>h"})),
        delta(json!({"content": "m</think"})),
        delta(json!({"content": ">so"})),
        finish("stop"),
    ]);
    let mut decoder = wire.decoder(&ResponseHead::new(200));
    let mut deltas = Vec::new();
    decoder.push(body.as_bytes(), &mut deltas).unwrap();
    decoder.end(&mut deltas).unwrap();
    let mut assembler = phi_types::Assembler::new();
    for delta in &deltas {
        assembler.push(delta).unwrap();
    }
    let message = assembler.into_message(crate::origin()).unwrap();
    assert_eq!(
        (thinking(&message).as_str(), message.text().as_str()),
        ("hm", "so")
    );
    assert_eq!(
        sent_back(message),
        json!({"role": "assistant", "content": "so"})
    );
}

#[test]
fn g19_what_stands_beside_a_call_goes_back_with_it() {
    let extra = json!({"google": {"thought_signature": "sig=="}});
    let message = message(&stream(&[
        crate::call(json!({"index": 0, "id": "a", "extra_content": extra,
            "function": {"name": "x", "arguments": "{}"}})),
        finish("stop"),
    ]))
    .unwrap();
    assert_eq!(sent_back(message)["tool_calls"][0]["extra_content"], extra);
}
