//! A log whose digests were made in an older way replays to the digests that it holds.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do"
)]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use phi_loop::{Machine, replay};
use phi_types::{Event, EventKind, HistoryDigest, LoopStarted, Transcript};

/// Folders of logs, and how their digests are made.
const OLD: [(&str, HistoryDigest); 2] = [
    ("chained-digests", HistoryDigest::Chained),
    ("combined-digests", HistoryDigest::Combined),
];

fn logs(folder: &str) -> Vec<Vec<Event>> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let files = fs::read_dir(golden.join(folder)).unwrap();
    let logs = files.map(|file| {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        let events = text.lines().map(|line| serde_json::from_str(line).unwrap());
        events.collect()
    });
    logs.collect()
}

fn started(log: &[Event]) -> &LoopStarted {
    match log.first().map(|event| &event.kind) {
        Some(EventKind::LoopStarted(started)) => started,
        _ => panic!("a log begins with the start of its loop"),
    }
}

#[test]
fn a_log_replays_with_the_digests_that_it_names() {
    for (folder, digest) in OLD {
        let (mut requests, mut blocks) = (0, 0);
        for log in logs(folder) {
            assert_eq!(started(&log).history_digest, digest);
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
        let seen = format!("{folder}: {requests} requests, {blocks} blocks");
        assert!(requests > 10 && blocks >= 3, "{seen}");
    }
}

#[test]
fn the_digests_of_a_log_are_of_the_kind_that_it_names() {
    for (folder, digest) in OLD {
        let others = [
            HistoryDigest::Chained,
            HistoryDigest::Combined,
            HistoryDigest::Packed,
        ];
        for mut log in logs(folder) {
            for other in others.into_iter().filter(|other| *other != digest) {
                let mut other_start = started(&log).clone();
                other_start.history_digest = other;
                log[0].kind = EventKind::LoopStarted(Arc::new(other_start));
                let diverged = replay(&Transcript::new(), &log).unwrap_err();
                let Some(EventKind::ModelStarted(_)) = diverged.recorded.map(|it| it.kind) else {
                    panic!("the first request has another digest")
                };
            }
        }
    }
}
