//! Recorded sessions that changed their provider half way go on at the next one.

use std::fs;
use std::path::Path;

use phi_types::{Entry, History, UserMessage};
use serde_json::Value;

use crate::replies::speakers;
use crate::{accepted, decode, goes_on};

#[test]
fn every_session_that_changed_its_provider_goes_on() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/wire/cross-provider");
    let speakers = speakers();
    let mut turns = 0;
    for file in fs::read_dir(&root).unwrap() {
        let path = file.unwrap().path();
        if !path.to_string_lossy().ends_with(".case.json") {
            continue;
        }
        let case: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let mut view = History::new();
        view.push(Entry::User(UserMessage::text("begin").into()));
        for (turn, recorded) in case["turns"].as_array().unwrap().iter().enumerate() {
            let protocol = recorded["protocol"].as_str().unwrap();
            let speaker = speakers
                .iter()
                .find(|it| it.wire.identity().protocol == protocol);
            let speaker = speaker.unwrap_or_else(|| panic!("nobody speaks {protocol}"));
            accepted(speaker, &view);
            let body = fs::read(root.join(recorded["response_file"].as_str().unwrap())).unwrap();
            let message = decode(&*speaker.wire, speaker.model, &body);
            goes_on(&mut view, message, turn);
            for speaker in &speakers {
                accepted(speaker, &view);
            }
            turns += 1;
        }
    }
    assert!(turns > 50, "{turns} turns");
}
