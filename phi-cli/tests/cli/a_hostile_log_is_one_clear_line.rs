//! A log that was cut, damaged or put in a wrong place is told apart, and what is right of it stays.

use std::fs;
use std::path::PathBuf;

use phi::types::EventKind;

use crate::support::{Ran, Scratch};

const SCRIPT: &str = r#"[
    {"text":"First.","tool_calls":[{"name":"bash","arguments":{"command":"echo x >> count"}},
                    {"name":"list_files","arguments":{}}]},
    {"text":"Done."},
    {"text":"Second."}
]"#;

fn log(scratch: &Scratch, session: &str) -> PathBuf {
    scratch.path(&format!("store/{session}/00000000000000000001.jsonl"))
}

/// A session of one loop that completed, and the bytes of its log.
fn completed(scratch: &Scratch) -> Vec<u8> {
    let ran = scratch.scripted("s", SCRIPT, &["--yes"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    fs::read(log(scratch, "s")).unwrap()
}

fn resume(scratch: &Scratch, session: &str) -> Ran {
    let script = scratch.path("script.json");
    let script = script.to_str().unwrap();
    scratch.phi(["resume", session, "--yes", "--script", script])
}

/// Cuts the log in the middle and at the end of every line.
fn cuts(whole: &[u8]) -> Vec<usize> {
    let mut start = 0;
    let mut cuts = Vec::new();
    for line in whole.split_inclusive(|byte| *byte == b'\n') {
        cuts.extend([start + line.len() / 2, start + line.len()]);
        start += line.len();
    }
    cuts
}

#[test]
fn a_log_that_was_cut_anywhere_is_resumed_to_the_same_answer() {
    let scratch = Scratch::new();
    let whole = completed(&scratch);
    let events = scratch.stored("s");
    for cut in cuts(&whole) {
        fs::remove_dir_all(scratch.path("store/s")).unwrap();
        fs::create_dir(scratch.path("store/s")).unwrap();
        fs::write(log(&scratch, "s"), &whole[..cut]).unwrap();
        let lines = whole[..cut].iter().filter(|byte| **byte == b'\n').count();
        let ran = resume(&scratch, "s");
        if lines < 2 {
            assert!(ran.failure(2).contains("no whole event"), "cut at {cut}");
            continue;
        }
        assert_eq!(ran.code, Some(0), "cut at {cut}: {ran:?}");
        let stored = scratch.stored("s");
        assert_eq!(stored[..lines - 1], events[..lines - 1], "cut at {cut}");
        // Without its prompt a loop is nothing to go on with.
        let is_prompted = lines >= 5;
        let is_over = lines > events.len();
        assert_eq!(
            ran.out.contains("Done."),
            is_prompted && !is_over,
            "cut at {cut}"
        );
        assert_eq!(
            ran.err.contains("nothing is outstanding"),
            !is_prompted || is_over
        );
        for question in ["verify", "replay"] {
            let ran = scratch.phi(["sessions", question, "s"]);
            assert_eq!(ran.code, Some(0), "cut at {cut}: {ran:?}");
        }
        let again = resume(&scratch, "s");
        assert_eq!((again.code, again.out.as_str()), (Some(0), ""));
    }
}

#[test]
fn a_changed_bit_stops_everything_but_reading_what_is_before_it() {
    let scratch = Scratch::new();
    let whole = completed(&scratch);
    let ends: Vec<usize> = (1..)
        .zip(&whole)
        .filter(|(_, it)| **it == b'\n')
        .map(|(at, _)| at)
        .collect();
    // In the middle of the line of event 5, and of the last one.
    for event in [5, ends.len() - 1] {
        let mut changed = whole.clone();
        changed[(ends[event - 1] + ends[event]) / 2] ^= 4;
        fs::write(log(&scratch, "s"), &changed).unwrap();
        let position = format!("position {event}");
        let script = scratch.path("script.json");
        let script = script.to_str().unwrap();
        let asked: [&[&str]; 5] = [
            &["resume", "s", "--yes", "--script", script],
            &["run", "More.", "--session", "s", "--script", script],
            &["sessions", "replay", "s"],
            &["sessions", "verify", "s"],
            &["sessions", "events", "s"],
        ];
        for words in asked {
            let ran = scratch.phi(words);
            let line = ran.failure(1);
            assert!(
                line.contains(&position) && line.contains("checksum"),
                "{words:?}: {line}"
            );
            let lines = ran
                .out
                .lines()
                .filter(|line| line.starts_with("{\"session\""))
                .count();
            let expected = if words[1] == "events" { event - 1 } else { 0 };
            assert_eq!(lines, expected, "{words:?}");
        }
        let beyond = event.to_string();
        let ran = scratch.phi(["sessions", "fork", "s", "--at", &beyond]);
        assert!(ran.failure(1).contains(&position), "{ran:?}");
        assert_eq!(
            fs::read(log(&scratch, "s")).unwrap(),
            changed,
            "nothing was changed"
        );

        let last = (event - 1).to_string();
        let ran = scratch.phi(["sessions", "fork", "s", "--at", &last]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let fork = ran.out.trim();
        let ran = resume(&scratch, fork);
        assert_eq!(
            (ran.code, ran.out.ends_with("Done.\n")),
            (Some(0), true),
            "{ran:?}"
        );
        let ran = scratch.phi(["sessions", "replay", fork]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
}

#[test]
fn a_log_in_the_folder_of_another_session_is_refused() {
    let scratch = Scratch::new();
    let whole = completed(&scratch);
    fs::create_dir(scratch.path("store/t")).unwrap();
    fs::write(log(&scratch, "t"), &whole).unwrap();
    for words in [
        &["resume", "t"][..],
        &["sessions", "events", "t"],
        &["sessions", "replay", "t"],
        &["sessions", "verify", "t"],
        &["sessions", "fork", "t", "--at", "2"],
    ] {
        let ran = scratch.phi(words);
        let line = ran.failure(1);
        assert!(
            line.contains("`t`") && line.contains("session `s`"),
            "{line}"
        );
        assert_eq!(
            ran.out.lines().filter(|line| line.contains("seq")).count(),
            0
        );
    }
    assert_eq!(fs::read(log(&scratch, "t")).unwrap(), whole);
    let ran = scratch.phi(["sessions", "verify", "s"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[test]
fn a_replay_that_parts_from_its_log_shows_both_sides() {
    let scratch = Scratch::new();
    completed(&scratch);
    // The same session with right checksums and another number of a turn.
    let mut events = scratch.stored("s");
    for event in &mut events {
        if let EventKind::TurnEnded(ended) = &mut event.kind {
            ended.index += 7;
        }
    }
    scratch.rewrite(&events);
    let ran = scratch.phi(["sessions", "replay", "s"]);
    assert!(ran.failure(1).contains("does not replay"), "{ran:?}");
    let lines: Vec<&str> = ran.out.lines().collect();
    let side = |line: &str, name: &str| -> serde_json::Value {
        serde_json::from_str(line.strip_prefix(name).unwrap()).unwrap()
    };
    let (recorded, replayed) = (side(lines[0], "recorded: "), side(lines[1], "replayed: "));
    assert_eq!(recorded["kind"]["index"], 8);
    assert_eq!(replayed["kind"]["index"], 1);
    assert_eq!(recorded["seq"], replayed["seq"]);
}
