//! Bytes that no service sends.

use phi_provider::{BedrockConverse, Limits, ResponseHead, Wire};
use phi_types::{Assembler, Delta, Origin, ProviderError, ProviderErrorKind as Kind};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::frames;
use crate::support::{decode, delta, finish, start, stream, wire};

type Decoded = (Vec<Delta>, Option<ProviderError>);

fn decode_pieces<'a>(
    wire: &BedrockConverse,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Decoded {
    let mut decoder = wire.decoder(&ResponseHead::new(200));
    let mut deltas = Vec::new();
    let mut pieces = pieces.into_iter();
    let pushed = pieces.try_for_each(|piece| decoder.push(piece, &mut deltas));
    let error = pushed.and_then(|()| decoder.end(&mut deltas)).err();
    (deltas, error)
}

const NAMES: &[&str] = &[
    "messageStart",
    "contentBlockStart",
    "contentBlockDelta",
    "contentBlockDelta",
    "contentBlockStop",
    "messageStop",
    "metadata",
    "",
];

const FIELDS: &[&str] = &[
    r#""contentBlockIndex":0"#,
    r#""contentBlockIndex":1"#,
    r#""contentBlockIndex":-1"#,
    r#""start":{"toolUse":{"toolUseId":"a","name":"f"}}"#,
    r#""start":{"toolUse":{"toolUseId":"a","name":"f","type":"server_tool_use"}}"#,
    r#""start":{"toolResult":{"status":"success"}}"#,
    r#""start":{"odd":[]}"#,
    r#""delta":{"text":"x"}"#,
    r#""delta":{"text":"\ud83d"}"#,
    r#""delta":{"text":{}}"#,
    r#""delta":{"toolUse":{"input":"{"}}"#,
    r#""delta":{"toolUse":{"input":{"a":1}}}"#,
    r#""delta":{"toolResult":[{"text":"r"},null]}"#,
    r#""delta":{"reasoningContent":{"text":"hm"}}"#,
    r#""delta":{"reasoningContent":{"signature":"s"}}"#,
    r#""delta":{"reasoningContent":{"redactedContent":"r"}}"#,
    r#""delta":{"citation":{"title":"t"}}"#,
    r#""delta":{"citation":null}"#,
    r#""delta":[]"#,
    r#""stopReason":"end_turn""#,
    r#""stopReason":7"#,
    r#""usage":{"inputTokens":1e300}"#,
    r#""usage":[]"#,
    r#""message":"m""#,
];

fn events() -> impl Strategy<Value = Vec<u8>> {
    let fields = proptest::collection::vec(proptest::sample::select(FIELDS), 0..4);
    let payload = prop_oneof![
        8 => fields.prop_map(|fields| format!("{{{}}}", fields.join(","))),
        1 => "\\PC{0,12}",
    ];
    let event = (proptest::sample::select(NAMES), payload)
        .prop_map(|(name, payload)| frames::event(name, payload.as_bytes()));
    proptest::collection::vec(event, 0..12).prop_map(|events| events.concat())
}

proptest! {
    #[test]
    fn any_events_in_any_order_are_decoded_alike_wherever_they_are_cut(
        body in events(),
        size in 1_usize..80,
        flip in proptest::option::of(any::<proptest::sample::Index>()),
    ) {
        let mut body = body;
        if let Some(flip) = flip.filter(|_| !body.is_empty()) {
            let bit = flip.index(body.len() * 8);
            body[bit / 8] ^= 1 << (bit % 8);
        }
        let whole = decode_pieces(&wire(), [body.as_slice()]);
        prop_assert_eq!(&decode_pieces(&wire(), body.chunks(size)), &whole);
        let mut assembler = Assembler::new();
        for delta in &whole.0 {
            // A decoder gives every part one nature.
            prop_assert_eq!(assembler.push(delta), Ok(()));
        }
        let finished = assembler.into_message(Origin::default()).is_some();
        prop_assert!(finished != whole.1.is_some(), "a finish or an error");
    }
}

#[test]
fn nonsense_in_a_known_event_is_an_error_that_names_it() {
    let error = decode(&[("contentBlockDelta", json!("x"))]).error();
    assert_eq!(error.kind, Kind::Protocol);
    assert!(
        error
            .message
            .starts_with("the event `contentBlockDelta` is not"),
        "{error}"
    );
    let body = frames::event("messageStop", b"\xff\xfe");
    let (_, error) = decode_pieces(&wire(), [body.as_slice()]);
    assert_eq!(error.unwrap().kind, Kind::Protocol);
}

#[test]
fn more_open_blocks_than_anyone_has_are_refused() {
    let call = json!({"toolUse": {"toolUseId": "a", "name": "f"}});
    let events: Vec<_> = (0..300).map(|index| start(index, &call)).collect();
    let error = decode(&events).error();
    assert_eq!(error.kind, Kind::Protocol);
    assert!(error.message.contains("256"), "{error}");
}

#[test]
fn what_is_collected_until_a_block_ends_has_a_limit() {
    let wire = wire().with_limits(Limits {
        body_bytes_max: 1_000,
        ..Limits::default()
    });
    let cited = |_| delta(0, &json!({"citation": {"title": "x".repeat(90)}}));
    let events: Vec<(&str, Value)> = (0..20).map(cited).collect();
    let (_, error) = decode_pieces(&wire, [stream(&events).as_slice()]);
    assert_eq!(error.unwrap().kind, Kind::Protocol);
    let own = json!({"toolUse": {"toolUseId": "a", "name": "f", "type": "server_tool_use"}});
    let mut events = vec![start(0, &own)];
    events.extend((0..20).map(|_| delta(0, &json!({"toolUse": {"input": "x".repeat(90)}}))));
    let (_, error) = decode_pieces(&wire, [stream(&events).as_slice()]);
    assert_eq!(error.unwrap().kind, Kind::Protocol);
}

#[test]
fn a_stream_of_events_in_text_is_refused_at_its_first_bytes() {
    let body = b"event: messageStart\ndata: {\"role\":\"assistant\"}\n\n";
    let (_, error) = decode_pieces(&wire(), [body.as_slice()]);
    let error = error.unwrap();
    assert_eq!(error.kind, Kind::Protocol);
    assert!(
        error.message.contains("its prelude has the checksum"),
        "{error}"
    );
}

/// Work is counted, not timed: bytes allocated, because every copy is one into new memory.
fn assert_linear(body: &[u8], piece: usize) {
    let mut error = None;
    let counted = allocation_counter::measure(|| {
        error = decode_pieces(&wire(), body.chunks(piece)).1;
    });
    assert_eq!(error, None);
    let (bytes, allocated) = (body.len() as u64, counted.bytes_total);
    assert!(
        allocated < 16 * bytes,
        "{allocated} bytes allocated for {bytes}"
    );
}

#[test]
fn the_work_of_framing_grows_with_the_bytes_and_not_with_their_shape() {
    let end = stream(&[finish("end_turn")]);
    let long = stream(&[delta(0, &json!({ "text": "x".repeat(8 << 20) }))]);
    assert_linear(&[&long[..], &end].concat(), 1 << 10);
    let short = stream(&[delta(0, &json!({"text": "some text"}))]);
    assert_linear(&[&short.repeat(20_000)[..], &end].concat(), usize::MAX);
    assert_linear(&[&short.repeat(1_000)[..], &end].concat(), 1);
}

#[test]
fn a_delta_of_text_costs_at_most_two_allocations() {
    let event = stream(&[delta(0, &json!({"text": " some\n text"}))]);
    let mut decoder = wire().decoder(&ResponseHead::new(200));
    let mut deltas = Vec::new();
    // The first events make the decoder ready.
    decoder.push(&event.repeat(4), &mut deltas).unwrap();
    deltas.clear();
    let body = event.repeat(1_000);
    let mut seen = 0;
    let counted = allocation_counter::measure(|| {
        for piece in body.chunks(4 << 10) {
            decoder.push(piece, &mut deltas).unwrap();
            seen += deltas.len();
            deltas.clear();
        }
    });
    assert_eq!(seen, 1_000);
    let count = counted.count_total;
    assert!(count <= 2_000, "{count} allocations for a thousand deltas");
    println!("{count} allocations for a thousand deltas of bedrock-converse");
}
