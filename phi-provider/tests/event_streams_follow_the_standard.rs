//! Every case written from the WHATWG text of event streams decodes as it says, cut anywhere.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail where the tests do"
)]

use eventsource_stream::Eventsource;
use futures_util::{FutureExt, StreamExt};
use phi_provider::{Limits, SseDecoder};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    name: String,
    input: String,
    events: Vec<Event>,
}

#[derive(Deserialize, Debug, PartialEq)]
struct Event {
    #[serde(rename = "type")]
    name: String,
    data: String,
}

fn decode(input: &str, size: usize) -> Vec<Event> {
    let mut decoder = SseDecoder::new(Limits::default());
    let mut events = Vec::new();
    for piece in input.as_bytes().chunks(size) {
        decoder
            .push(piece, |event| {
                events.push(Event {
                    name: event.name.to_owned(),
                    data: event.data.to_owned(),
                });
                Ok(())
            })
            .unwrap();
    }
    events
}

#[test]
fn every_case_decodes_as_the_standard_says_cut_anywhere() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/wire/sse-spec/cases.json"
    );
    let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(cases.len(), 25);
    for case in cases {
        for size in [usize::MAX, 1, 2, 3, 7] {
            let events = decode(&case.input, size);
            assert_eq!(events, case.events, "{} in pieces of {size}", case.name);
        }
    }
}

/// Frames a stream with the library that agents in Rust use for it.
fn by_the_library(input: &str) -> Vec<Event> {
    let bytes = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(input.as_bytes())]);
    let events = bytes.eventsource().map(|event| event.unwrap());
    let events = events.map(|event| Event {
        name: event.event,
        data: event.data,
    });
    events.collect::<Vec<_>>().now_or_never().unwrap()
}

proptest! {
    #[test]
    fn any_stream_is_framed_as_the_library_frames_it(
        lines in prop::collection::vec(
            prop_oneof![
                Just(String::new()),
                Just("data".to_owned()),
                Just(":".to_owned()),
                "data:[ a-z:é]{0,6}",
                "event:[ a-z]{0,4}",
                "(id|retry|x): ?[0-9]{0,2}",
                "[ a-z:]{0,6}",
            ],
            0..24,
        ),
        end in prop_oneof![Just("\n"), Just("\r\n"), Just("\r")],
        size in 1..40_usize,
    ) {
        let mut input = lines.join(end);
        // The library holds a lone carriage return back until it sees what follows.
        input.push_str(end);
        input.push_str(":\n");
        prop_assert_eq!(decode(&input, size), by_the_library(&input));
    }
}
