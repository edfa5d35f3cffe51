//! Bytes that no service should send.

use phi_types::{Assembler, Delta, ProviderErrorKind};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{decode, last, message, parts, stream, text};

/// Folds what comes out: a decoder gives every part one nature.
fn check(body: &[u8], size: usize) -> Result<(), TestCaseError> {
    let whole = decode([body]);
    prop_assert_eq!(&decode(body.chunks(size)), &whole);
    let mut assembler = Assembler::new();
    for delta in &whole.0 {
        prop_assert_eq!(assembler.push(delta), Ok(()));
    }
    prop_assert!(assembler.finish().is_some() || whole.1.is_some());
    Ok(())
}

fn odd_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z$.\\[\\]0-9\\\\\"]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let field = prop_oneof![
            Just("text"),
            Just("thought"),
            Just("thoughtSignature"),
            Just("functionCall"),
            Just("name"),
            Just("id"),
            Just("args"),
            Just("partialArgs"),
            Just("jsonPath"),
            Just("stringValue"),
            Just("willContinue"),
            Just("executableCode"),
            Just("odd"),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(field.prop_map(str::to_owned), inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(256)
    })]

    #[test]
    fn any_parts_are_read_alike_however_they_are_cut(
        odd in prop::collection::vec(odd_value(), 1..5),
        size in 1_usize..40,
    ) {
        let mut chunks: Vec<Value> = odd.iter().map(|part| parts(json!([part]))).collect();
        chunks.push(parts(json!(odd)));
        chunks.push(last(json!([text("x")]), "STOP"));
        check(stream(&chunks).as_bytes(), size)?;
        check(json!(chunks).to_string().as_bytes(), size)?;
        check(chunks[chunks.len() - 2].to_string().as_bytes(), size)?;
    }

    #[test]
    fn an_array_with_a_changed_byte_is_read_alike_however_it_is_cut(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        size in 1_usize..40,
    ) {
        let chunks = [parts(json!([text("a\u{1f600}\"]},")])), last(json!([text("b")]), "STOP")];
        let mut body = json!(chunks).to_string().into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        check(&body, size)?;
    }
}

#[test]
fn t14_half_a_character_in_a_text_is_replaced() {
    let body = concat!(
        r#"data: {"candidates":[{"content":{"parts":[{"text":"a\ud83d"}]}}]}"#,
        "\n\n",
        r#"data: {"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"k":"\ude00"}}}]},"finishReason":"STOP"}]}"#,
        "\n\n"
    );
    assert_eq!(message(body).unwrap().text(), "a\u{fffd}");
}

#[test]
fn a_field_that_comes_twice_counts_the_last_time() {
    let body = r#"{"candidates":[{"finishReason":"OTHER","finishReason":"STOP","content":{"parts":[{"text":"a","text":"b"}]}}]}"#;
    assert_eq!(message(body).unwrap().text(), "b");
}

#[test]
fn deep_json_is_an_error_and_no_overflow() {
    for (open, close) in [("{\"candidates\":", "\n\n"), ("[{\"a\":", "")] {
        let deep = format!("{open}{}", "[".repeat(200_000));
        let (_, error) = decode([format!("data: {deep}{close}").as_bytes()]);
        assert!(error.is_some());
        let (_, error) = decode([deep.as_bytes()]);
        assert!(error.is_some());
    }
}

#[test]
fn pieces_of_arguments_are_held_up_to_a_limit() {
    use phi_provider::{Limits, ResponseHead, Wire};
    let limits = Limits {
        body_bytes_max: 10_000,
        ..Limits::default()
    };
    let mut decoder = crate::wire()
        .with_limits(limits)
        .decoder(&ResponseHead::new(200));
    let mut deltas = Vec::new();
    let begin = json!([{"functionCall": {"name": "f", "willContinue": true}}]);
    let piece = json!([{"functionCall": {"willContinue": true, "partialArgs": [
        {"jsonPath": "$.k", "stringValue": "x".repeat(1_000), "willContinue": true}]}}]);
    let mut pushed = decoder.push(stream(&[parts(begin)]).as_bytes(), &mut deltas);
    for _ in 0..20 {
        let chunk = stream(&[parts(piece.clone())]);
        pushed = pushed.and_then(|()| decoder.push(chunk.as_bytes(), &mut deltas));
    }
    assert_eq!(pushed.unwrap_err().kind, ProviderErrorKind::Protocol);
}

#[test]
fn a_flood_of_parts_is_refused_in_time() {
    let call = json!({"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "s"});
    let flood: Vec<Value> = (0..20_000).map(|_| call.clone()).collect();
    let body = stream(&[last(json!(flood), "STOP")]);
    let error = message(&body).unwrap_err();
    assert_eq!(error.kind, ProviderErrorKind::Protocol);
    let fits = stream(&[last(json!(flood[..5_000]), "STOP")]);
    assert_eq!(message(&fits).unwrap().parts.len(), 5_000);
}

#[test]
fn an_array_in_small_pieces_costs_memory_linear_in_its_bytes() {
    let item = last(json!([text(&"x".repeat(1 << 20))]), "STOP");
    let body = format!("[{item}]");
    let used = allocation_counter::measure(|| {
        assert_eq!(decode(body.as_bytes().chunks(64)).1, None);
    });
    let bytes = u64::try_from(body.len()).unwrap();
    assert!(used.bytes_total < 10 * bytes, "{} bytes", used.bytes_total);
}

#[test]
fn an_empty_body_is_incomplete() {
    for body in ["", "\n", "[", "[]", "[\n]", "{", "data:"] {
        let (deltas, error) = decode([body.as_bytes()]);
        assert_eq!(
            error.unwrap().kind,
            ProviderErrorKind::Incomplete,
            "{body:?}"
        );
        assert_eq!(deltas, Vec::<Delta>::new());
    }
}
