//! Every case written from the WHATWG text of event streams decodes as it says, cut anywhere.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail where the tests do"
)]

use phi_provider::{Limits, SseDecoder};
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
