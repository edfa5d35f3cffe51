//! Bytes that nobody should send.

use phi_provider::{ResponseHead, Wire};
use phi_types::{Assembler, Delta, ProviderErrorKind};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{call, delta, deltas, finish, origin, stream, wire};

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

/// A delta with any field of any type.
fn odd_delta() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(json!(null)),
        Just(json!(true)),
        any::<i64>().prop_map(Value::from),
        "[a-z{}\"\\\\]{0,4}".prop_map(Value::from),
    ];
    let value = scalar.prop_recursive(3, 16, 3, |inner| {
        let field = prop_oneof![
            Just("index"),
            Just("id"),
            Just("function"),
            Just("name"),
            Just("arguments"),
            Just("type"),
            Just("text"),
            Just("thinking"),
            Just("data"),
        ];
        let object =
            prop::collection::btree_map(field.prop_map(str::to_owned), inner.clone(), 0..4);
        prop_oneof![
            prop::collection::vec(inner, 0..3).prop_map(Value::from),
            object.prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    });
    let field = prop_oneof![
        Just("content"),
        Just("reasoning"),
        Just("reasoning_content"),
        Just("reasoning_details"),
        Just("refusal"),
        Just("tool_calls"),
        Just("function_call"),
        Just("role"),
    ];
    prop::collection::btree_map(field.prop_map(str::to_owned), value, 0..4)
        .prop_map(|fields| Value::Object(fields.into_iter().collect()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        decode([bytes.as_slice()]);
        let mut framed = b"data: {\"choices\":[{\"delta\":{\"content\":".to_vec();
        framed.extend_from_slice(&bytes);
        framed.extend_from_slice(b"}}]}\n\n");
        decode([framed.as_slice()]);
    }

    #[test]
    fn any_fields_are_read_alike_however_they_are_cut(
        odd in prop::collection::vec(odd_delta(), 1..6),
        size in 1_usize..40,
    ) {
        let mut chunks: Vec<Value> = odd.into_iter().map(delta).collect();
        chunks.push(finish("stop"));
        let body = stream(&chunks);
        prop_assert_eq!(decode(body.as_bytes().chunks(size)), decode([body.as_bytes()]));
    }

    #[test]
    fn a_recording_with_a_changed_byte_is_read_without_a_panic(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut body = stream(&[
            delta(json!({"role": "assistant", "content": "", "reasoning_content": "hm"})),
            delta(json!({"content": "so \u{1f600}"})),
            call(json!({"index": 0, "id": "a", "function": {"name": "x", "arguments": "{\"k\":1}"}})),
            finish("tool_calls"),
        ])
        .into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        decode([body.as_slice()]);
    }
}

#[test]
fn a_flood_of_calls_is_refused_in_time() {
    let flood: String = (0..5_000)
        .map(|n| {
            let entry = json!({"index": n, "id": n.to_string(), "function": {"name": "x"}});
            format!("data: {}\n\n", call(entry))
        })
        .collect();
    let (_, error) = decode([flood.as_bytes()]);
    assert_eq!(error, Some(ProviderErrorKind::Protocol));
}

#[test]
fn a_flood_of_reasoning_details_is_refused_in_time() {
    let details: Vec<Value> = (0..5_000)
        .map(|n| json!({"type": "t", "index": n}))
        .collect();
    let body = stream(&[delta(json!({"reasoning_details": details})), finish("stop")]);
    let (_, error) = decode([body.as_bytes()]);
    assert_eq!(error, Some(ProviderErrorKind::Protocol));
}

#[test]
fn deep_json_is_an_error_and_no_overflow() {
    let deep = format!("data: {{\"choices\":{}1", "[".repeat(200_000));
    let (_, error) = decode([format!("{deep}\n\n").as_bytes()]);
    assert_eq!(error, Some(ProviderErrorKind::Protocol));
}

#[test]
fn endless_garbage_behind_arguments_is_not_held() {
    let garbage = format!("{{}}<{}", "x".repeat(10_000));
    let entry = json!({"index": 0, "id": "a", "function": {"name": "x", "arguments": garbage}});
    let (deltas, _) = deltas(&crate::open_stream(&[call(entry)]));
    let shown: usize = deltas
        .iter()
        .map(|delta| match delta {
            Delta::Arguments(text) => text.text.len(),
            _ => 0,
        })
        .sum();
    assert_eq!(shown, garbage.len());
}
