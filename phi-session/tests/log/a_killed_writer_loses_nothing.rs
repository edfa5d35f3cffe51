//! A process that is killed, or that meets a full disk, loses nothing that it was told is safe.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::scene::{Scratch, Script, at, session, started};
use phi_session::{JsonlStore, SqliteStore, Store, StoreError, read_events};
use phi_types::{Continuation, Event, EventKind, Extension, RawJson};

/// Set for a process that this test starts: the store that it writes to.
const CHILD: &str = "PHI_SESSION_TEST_STORE";

/// A database if the name says so, and else a folder.
fn store_at(place: &Path) -> Arc<dyn Store> {
    if place.extension().is_some_and(|it| it == "sqlite") {
        return Arc::new(SqliteStore::new(place));
    }
    Arc::new(JsonlStore::new(place).with_segment_bytes_max(20_000))
}

fn extension(n: u64) -> EventKind {
    let data = RawJson::from_value(&"x".repeat(usize::try_from(n % 300).unwrap())).unwrap();
    EventKind::Extension(Extension {
        namespace: "test".into(),
        name: n.to_string(),
        data,
    })
}

/// Batches of one to four events, without end.
fn batches() -> impl Iterator<Item = Vec<Event>> {
    let mut script = Script::new();
    script.start(1, None, Continuation::Initial);
    script.events.remove(0);
    let mut n = 0;
    std::iter::from_fn(move || {
        for _ in 0..=n % 4 {
            n += 1;
            script.event(1, extension(n));
        }
        Some(std::mem::take(&mut script.events))
    })
}

/// The body of the process that is killed: appends, and tells each position once it is safe.
#[tokio::test]
async fn writes_until_it_is_killed_if_it_was_started_for_that() {
    let Some(place) = std::env::var_os(CHILD) else {
        return;
    };
    let store = store_at(Path::new(&place));
    let writer = store
        .open_or_create(&session(), started(), at(0))
        .await
        .unwrap();
    let mut acks = std::io::stdout().lock();
    for batch in batches() {
        match writer.append_batch(&batch).await {
            Ok(position) => writeln!(acks, "ack {position}").unwrap(),
            Err(error) => {
                writeln!(acks, "failed {error}").unwrap();
                let again = writer.append_batch(&batch).await.unwrap_err();
                assert!(matches!(again, StoreError::Poisoned { .. }), "{again}");
                writeln!(acks, "poisoned").unwrap();
                return;
            }
        }
        acks.flush().unwrap();
    }
}

fn child(place: &Path, program: &mut Command) -> std::process::Child {
    let name =
        "a_killed_writer_loses_nothing::writes_until_it_is_killed_if_it_was_started_for_that";
    program.args([name, "--exact", "--nocapture", "--test-threads=1"]);
    program
        .env(CHILD, place)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    program.spawn().unwrap()
}

fn acks(text: &str) -> u64 {
    // What was cut off in mid-line was never told.
    let whole = text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    let positions = whole.filter_map(|line| line.split_once("ack ")?.1.trim().parse().ok());
    positions.max().unwrap_or(0)
}

/// The events that a reader must find, as far as they go.
fn expected(count: usize) -> Vec<Event> {
    let mut events = Script::new().events;
    events.extend(batches().take(count).flatten());
    events.truncate(count);
    events
}

#[tokio::test]
async fn what_was_acknowledged_before_a_kill_is_there_and_nothing_else() {
    let (mut kills, mut acknowledged) = (0, 0);
    for name in ["folder", "database.sqlite"] {
        for cycle in 0..24_u64 {
            let scratch = Scratch::new();
            let place = scratch.folder.path().join(name);
            let mut child = child(&place, &mut Command::new(std::env::current_exe().unwrap()));
            let mut output = BufReader::new(child.stdout.take().unwrap());
            let mut text = String::new();
            // Killed after a number of acknowledgements that differs from cycle to cycle.
            while acks(&text) <= cycle * 7 {
                assert_ne!(
                    output.read_line(&mut text).unwrap(),
                    0,
                    "the writer ended early"
                );
            }
            let store = store_at(&place);
            let locked = store.open(&session(), at(0)).await.unwrap_err();
            let StoreError::Locked { owner, .. } = locked else {
                panic!("{locked}")
            };
            assert_eq!(owner, Some(child.id()));
            child.kill().unwrap();
            child.wait().unwrap();
            output.read_to_string(&mut text).unwrap();

            let before = read_events(store.as_ref(), &session()).await.unwrap();
            assert_eq!(
                before,
                expected(before.len()),
                "{name}, cycle {cycle}: events were invented or lost"
            );
            assert!(
                before.len() as u64 >= acks(&text),
                "{name}, cycle {cycle}: acknowledged events are lost"
            );
            let writer = store.open(&session(), at(0)).await.unwrap();
            let recovered = writer.recovered().len();
            assert_eq!(writer.position(), (before.len() + recovered) as u64);
            writer.append_fact(at(9), extension(0)).await.unwrap();
            (kills, acknowledged) = (kills + 1, acknowledged + acks(&text));
        }
    }
    eprintln!("killed writers: {kills}, {acknowledged} acknowledged events, 0 lost, 0 invented");
}

#[tokio::test]
async fn a_full_disk_fails_an_append_to_a_database_and_leaves_what_was_acknowledged() {
    for blocks in [300, 400, 600] {
        let scratch = Scratch::new();
        let place = scratch.folder.path().join("database.sqlite");
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        let mut shell = Command::new("sh");
        shell
            .arg("-c")
            .arg(script)
            .arg(std::env::current_exe().unwrap());
        let output = child(&place, &mut shell).wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.contains("failed write to") && text.contains("poisoned"),
            "{text}"
        );
        let store = store_at(&place);
        let events = read_events(store.as_ref(), &session()).await.unwrap();
        assert!(acks(&text) > 0 && events.len() as u64 >= acks(&text));
        assert_eq!(events, expected(events.len()));
        let writer = store.open(&session(), at(0)).await.unwrap();
        writer.append_fact(at(9), extension(0)).await.unwrap();
        assert!(store.verify(&session()).await.unwrap().is_sound());
    }
}

#[tokio::test]
async fn a_full_disk_fails_the_append_and_leaves_whole_lines_alone() {
    for blocks in [3, 5, 8, 13] {
        let scratch = Scratch::new();
        // A limit on file size stops a write half way, as a full disk does.
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        let mut shell = Command::new("sh");
        shell
            .arg("-c")
            .arg(script)
            .arg(std::env::current_exe().unwrap());
        let output = child(scratch.folder.path(), &mut shell)
            .wait_with_output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.contains("failed write") && text.contains("poisoned"),
            "{text}"
        );
        let acknowledged = acks(&text);
        assert!(acknowledged > 0);
        let events = read_events(&scratch.store, &session()).await.unwrap();
        assert_eq!(events.len() as u64, acknowledged);
        assert_eq!(events, expected(events.len()));
        assert!(scratch.open().await.unwrap().recovered().is_empty());
        assert_eq!(fs::read_dir(scratch.session_folder()).unwrap().count(), 2);
    }
}
