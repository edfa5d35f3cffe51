//! Bytes that nobody should send.

use phi_provider::{ResponseHead, Wire};
use phi_types::{Assembler, Delta, ProviderErrorKind};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    added, call, completed, delta, done, open_stream, origin, reasoning, said, stream, wire,
};

/// Decodes pieces, and assembles whatever comes out.
fn decode<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Delta>, Option<ProviderErrorKind>) {
    let mut decoder = wire().decoder(&ResponseHead::new(200));
    let mut deltas = Vec::new();
    let mut error = None;
    for piece in pieces {
        error = decoder.push(piece, &mut deltas).err();
        if error.is_some() {
            break;
        }
    }
    if error.is_none() {
        error = decoder.end(&mut deltas).err();
    }
    let mut assembler = Assembler::new();
    for delta in &deltas {
        assembler.push(delta).unwrap();
    }
    if error.is_none() {
        assert!(assembler.into_message(origin()).is_some());
    }
    (deltas, error.map(|error| error.kind))
}

/// A value of any type, made of the words of the protocol.
fn odd_value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(json!(null)),
        Just(json!(true)),
        (0_i64..3).prop_map(Value::from),
        "[a-z{}\"\\\\]{0,4}".prop_map(Value::from),
        prop::sample::select(vec![
            "message",
            "reasoning",
            "function_call",
            "custom_tool_call",
            "x"
        ])
        .prop_map(Value::from),
    ];
    scalar.prop_recursive(3, 24, 4, |inner| {
        let field = prop::sample::select(vec![
            "type",
            "id",
            "call_id",
            "name",
            "arguments",
            "input",
            "content",
            "summary",
            "text",
            "refusal",
            "status",
            "phase",
            "annotations",
            "encrypted_content",
            "output",
            "usage",
        ]);
        let object =
            prop::collection::btree_map(field.prop_map(str::to_owned), inner.clone(), 0..5);
        prop_oneof![
            prop::collection::vec(inner, 0..3).prop_map(Value::from),
            object.prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// An event of any kind with fields of any type.
fn odd_event() -> impl Strategy<Value = Value> {
    let kind = prop::sample::select(vec![
        "created",
        "output_item.added",
        "output_item.done",
        "output_text.delta",
        "output_text.done",
        "refusal.delta",
        "reasoning_text.delta",
        "reasoning_summary_text.done",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "new.kind",
    ]);
    let field = prop::sample::select(vec![
        "item",
        "output_index",
        "content_index",
        "summary_index",
        "item_id",
        "delta",
        "text",
        "arguments",
        "input",
        "refusal",
        "response",
    ]);
    let fields = prop::collection::btree_map(field.prop_map(str::to_owned), odd_value(), 0..6);
    (kind, fields).prop_map(|(kind, fields)| {
        let mut event = Value::Object(fields.into_iter().collect());
        event["type"] = format!("response.{kind}").into();
        event
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(256)
    })]

    #[test]
    fn any_fields_are_read_alike_however_they_are_cut(
        events in prop::collection::vec(odd_event(), 1..12),
        size in 1_usize..40,
    ) {
        let body = stream(&events);
        prop_assert_eq!(decode(body.as_bytes().chunks(size)), decode([body.as_bytes()]));
    }

    #[test]
    fn any_output_is_read_without_a_panic(output in odd_value()) {
        let body = open_stream(&[completed(output.clone())]);
        decode([body.as_bytes()]);
        decode([crate::whole(output).as_bytes()]);
    }

    #[test]
    fn a_recording_with_a_changed_byte_is_read_without_a_panic(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut body = stream(&[
            added(0, reasoning("rs_1")),
            done(0, reasoning("rs_1")),
            added(1, said("msg_1", "")),
            delta("output_text", 1, "so \u{1f600}"),
            done(1, said("msg_1", "so \u{1f600}")),
            added(2, call("a", "")),
            delta("function_call_arguments", 2, "{\"k\":1}"),
            done(2, call("a", "{\"k\":1}")),
        ])
        .into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        decode([body.as_slice()]);
    }
}

#[test]
fn a_flood_of_items_or_of_pieces_is_refused_in_time() {
    let items: Vec<Value> = (0..5_000).map(|n| added(n, call("a", ""))).collect();
    let (_, error) = decode([open_stream(&items).as_bytes()]);
    assert_eq!(error, Some(ProviderErrorKind::Protocol));
    let pieces: Vec<Value> = (0..5_000)
        .map(|n| {
            json!({"type": "response.output_text.delta", "output_index": 0, "content_index": n,
                "delta": "x"})
        })
        .collect();
    let (_, error) = decode([open_stream(&pieces).as_bytes()]);
    assert_eq!(error, Some(ProviderErrorKind::Protocol));
}

#[test]
fn an_item_of_very_many_fields_is_read_in_time() {
    use std::fmt::Write;
    for kind in ["odd", "reasoning", "function_call"] {
        let mut item = format!("{{\"type\":\"{kind}\"");
        for n in 0..200_000 {
            write!(item, ",\"f{n}\":0").unwrap();
        }
        let body = format!(
            "data: {{\"type\":\"response.output_item.done\",\"item\":{item}}}}}\n\n{}",
            stream(&[])
        );
        assert_eq!(decode([body.as_bytes()]).1, None, "{kind}");
    }
}

#[test]
fn deep_json_is_an_error_and_no_overflow() {
    let deep = format!("data: {{\"item\":{}1", "[".repeat(200_000));
    let (_, error) = decode([format!("{deep}\n\n").as_bytes()]);
    assert_eq!(error, Some(ProviderErrorKind::Protocol));
}
