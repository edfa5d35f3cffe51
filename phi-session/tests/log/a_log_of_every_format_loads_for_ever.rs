//! A stored log of every format that ever was loads and folds to what it did then.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::scene::{Scratch, at, contents, extension_of, full_session, session};
use phi_session::{JsonlStore, LoopRecord, Session, Store, load, read_events};
use phi_types::SessionId;

fn golden(format: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/format-{format}"))
}

/// What a session came to, in words of this test alone, so that a new field changes nothing.
fn describe(session: &Session) -> String {
    let mut text = String::new();
    let (created, updated) = (session.created_at.unwrap(), session.updated_at.unwrap());
    writeln!(
        text,
        "session {} agent {:?}",
        session.id,
        session.agent.as_deref()
    )
    .unwrap();
    writeln!(
        text,
        "  from {created} to {updated}, ended {:?}",
        session.ended_at
    )
    .unwrap();
    let (status, usage) = (session.status().as_str(), session.usage());
    writeln!(text, "  {status}, {} events, {usage:?}", session.events).unwrap();
    for group in &session.groups {
        let loops: Vec<&str> = group.loops.iter().map(phi_types::LoopId::as_str).collect();
        writeln!(text, "  group {loops:?} winner {:?}", group.winner).unwrap();
    }
    for recovery in &session.recoveries {
        writeln!(
            text,
            "  recovered {} bytes in {}",
            recovery.bytes, recovery.moved_to
        )
        .unwrap();
    }
    for record in &session.loops {
        describe_loop(record, &mut text);
    }
    text
}

fn describe_loop(record: &LoopRecord, text: &mut String) {
    let history = record.transcript.history();
    writeln!(
        text,
        "loop {} parent {:?} {:?}",
        record.id,
        record.parent(),
        record.outcome
    )
    .unwrap();
    writeln!(
        text,
        "  {} entries, {} in view, {} compactions, {} notices",
        history.len(),
        record.transcript.view().len(),
        record.compactions.len(),
        record.notices.len()
    )
    .unwrap();
    for turn in &record.turns {
        let answer = turn.answer.as_ref().map(|answer| answer.text());
        let (attempts, input) = (turn.attempts.len(), turn.input.len());
        writeln!(
            text,
            "  turn {} {:?}: {input} messages, {attempts} attempts, answer {answer:?}",
            turn.index, turn.trigger
        )
        .unwrap();
        for call in &turn.calls {
            let end = call
                .end
                .as_ref()
                .map(|end| (end.ending, &end.result.content));
            writeln!(
                text,
                "    call {} {}: {end:?}",
                call.call.name,
                call.call.arguments.text()
            )
            .unwrap();
        }
    }
}

#[tokio::test]
async fn a_log_of_format_1_folds_to_what_it_did() {
    let store = JsonlStore::new(golden(1));
    let recorder = load(&store, &session()).await.unwrap();
    let expected = fs::read_to_string(golden(1).join("s1.txt")).unwrap();
    assert_eq!(describe(recorder.session()), expected);
}

#[tokio::test]
async fn a_log_of_format_1_encodes_to_the_same_events_again() {
    let store = JsonlStore::new(golden(1));
    let events = read_events(&store, &session()).await.unwrap();
    let copy = Scratch::new().with_segment_bytes_max(6_000);
    copy.keep(&events).await;
    let segments = copy.segments();
    assert_eq!(segments.len(), 2);
    for path in segments {
        let name = path.file_name().unwrap();
        let then = fs::read_to_string(golden(1).join("s1").join(name)).unwrap();
        let now = fs::read_to_string(&path).unwrap();
        assert_eq!(contents(&now), contents(&then), "{}", name.display());
    }
    let mut reader = store.reader(&session(), 1).await.unwrap();
    let lines = reader.lines(1_000).await.unwrap();
    assert_eq!(lines.len(), events.len());
}

fn fork() -> SessionId {
    SessionId::new("s2").unwrap()
}

/// A session of two segments, and a fork of it with a long string beside its log.
async fn keep_format_2() -> Scratch {
    let scratch = Scratch::new()
        .with_segment_bytes_max(6_000)
        .with_blob_bytes_min(200);
    scratch.keep(&full_session()).await;
    let forked = scratch
        .store
        .fork(&session(), 20, &fork(), at(500))
        .await
        .unwrap();
    let long = extension_of(&"a long text, with \"escapes\"\n".repeat(9));
    forked.append_fact(at(501), long).await.unwrap();
    scratch
}

#[tokio::test]
async fn a_log_of_format_2_folds_to_what_it_did() {
    let store = JsonlStore::new(golden(2));
    for session in [session(), fork()] {
        let recorder = load(&store, &session).await.unwrap();
        let expected = fs::read_to_string(golden(2).join(format!("{session}.txt"))).unwrap();
        assert_eq!(describe(recorder.session()), expected);
        assert!(store.verify(&session).await.unwrap().is_sound());
    }
}

#[tokio::test]
async fn a_log_of_format_2_encodes_to_the_same_bytes_again() {
    let scratch = keep_format_2().await;
    let (mut folders, mut count) = (vec![golden(2).join("s1"), golden(2).join("s2")], 0);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let now = scratch
                .store
                .root()
                .join(path.strip_prefix(golden(2)).unwrap());
            let is_same = fs::read(&path).unwrap() == fs::read(&now).unwrap();
            assert!(is_same, "{}", path.display());
            count += 1;
        }
    }
    assert_eq!(count, 4);
}

#[tokio::test]
async fn a_log_of_format_1_goes_on_in_the_newest_format() {
    let scratch = Scratch::new();
    let folder = scratch.session_folder();
    fs::create_dir(&folder).unwrap();
    for name in ["00000000000000000001.jsonl", "00000000000000000026.jsonl"] {
        fs::copy(golden(1).join("s1").join(name), folder.join(name)).unwrap();
    }
    let before = read_events(&scratch.store, &session()).await.unwrap();
    let writer = scratch.open().await.unwrap();
    let fact = writer
        .append_fact(at(900), extension_of("new"))
        .await
        .unwrap();
    writer
        .append_fact(at(901), extension_of("newer"))
        .await
        .unwrap();
    drop(writer);
    let after = read_events(&scratch.store, &session()).await.unwrap();
    assert_eq!(after[..before.len()], before);
    assert_eq!(after[before.len()], fact);
    assert_eq!(
        (after.len(), scratch.segments().len()),
        (before.len() + 2, 3)
    );
    assert!(scratch.open().await.unwrap().recovered().is_empty());
    assert!(scratch.store.verify(&session()).await.unwrap().is_sound());
}

#[tokio::test]
async fn the_log_of_format_1_holds_every_kind_of_event() {
    let store = JsonlStore::new(golden(1));
    let events = read_events(&store, &session()).await.unwrap();
    let kind = |event: &phi_types::Event| {
        let json = serde_json::to_value(event).unwrap();
        json["kind"]["type"].as_str().unwrap().to_owned()
    };
    let then: std::collections::BTreeSet<String> = events.iter().map(kind).collect();
    let now: std::collections::BTreeSet<String> = full_session().iter().map(kind).collect();
    assert!(
        now.is_subset(&then),
        "a new kind belongs into a new golden log: {now:?} {then:?}"
    );
}
