//! A log from before histories combined their digests replays to the digests that it holds.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use phi_loop::{Machine, replay};
use phi_types::{Event, EventKind, HistoryDigest, Transcript};

fn logs() -> Vec<Vec<Event>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/chained-digests");
    let files = fs::read_dir(folder).unwrap();
    let logs = files.map(|file| {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        let events = text.lines().map(|line| serde_json::from_str(line).unwrap());
        events.collect()
    });
    logs.collect()
}

#[test]
fn a_log_that_does_not_name_its_digest_replays_as_chained() {
    let (mut requests, mut blocks) = (0, 0);
    for log in logs() {
        let replayed = replay(&Transcript::new(), &log);
        let restored = Machine::restore(&Transcript::new(), &log).unwrap();
        assert_eq!(
            replayed.unwrap_or_else(|diverged| panic!("{diverged:#?}")),
            restored
        );
        for event in &log {
            match &event.kind {
                EventKind::ModelStarted(_) => requests += 1,
                EventKind::CompactionEnded(ended) if ended.block.is_some() => blocks += 1,
                _ => {}
            }
        }
    }
    assert!(
        requests > 10 && blocks >= 3,
        "{requests} requests, {blocks} blocks"
    );
}

#[test]
fn the_digests_of_a_log_are_of_the_kind_that_it_names() {
    for mut log in logs() {
        let Some(EventKind::LoopStarted(started)) = log.first().map(|event| &event.kind) else {
            panic!("a log begins with the start of its loop")
        };
        assert_eq!(started.history_digest, HistoryDigest::Chained);
        let mut combined = started.as_ref().clone();
        combined.history_digest = HistoryDigest::Combined;
        if let Some(first) = log.first_mut() {
            first.kind = EventKind::LoopStarted(Arc::new(combined));
        }
        let diverged = replay(&Transcript::new(), &log).unwrap_err();
        let Some(EventKind::ModelStarted(_)) = diverged.recorded.map(|it| it.kind) else {
            panic!("the first request has another digest")
        };
    }
}
