//! A log that is cut at any byte keeps every whole event, invents none, and can go on.

use std::fs;

use crate::scene::{Scratch, at, full_session, session, started, tiny_session};
use phi_session::{SqliteStore, Store, StoreError, read_events};
use phi_types::{Event, EventKind, Recovered};

/// Ends of the lines of a segment.
fn line_ends(bytes: &[u8]) -> Vec<usize> {
    (1..)
        .zip(bytes)
        .filter(|(_, byte)| **byte == b'\n')
        .map(|(end, _)| end)
        .collect()
}

/// How many whole events a cut at `at` leaves in a segment with these line ends.
fn whole_events(ends: &[usize], at: usize) -> usize {
    ends.iter()
        .filter(|end| **end <= at)
        .count()
        .saturating_sub(1)
}

#[tokio::test]
async fn every_cut_reads_as_the_events_before_it() {
    // The last of several segments, and the only one.
    let events = tiny_session(6);
    let mut cuts = 0;
    for segment_bytes_max in [400, 1 << 20] {
        let scratch = Scratch::new().with_segment_bytes_max(segment_bytes_max);
        scratch.keep(&events).await;
        let last = scratch.segments().pop().unwrap();
        let whole = fs::read(&last).unwrap();
        let ends = line_ends(&whole);
        let before = events.len() - whole_events(&ends, whole.len());
        cuts += whole.len();
        for cut in (0..whole.len()).rev() {
            fs::OpenOptions::new()
                .write(true)
                .open(&last)
                .unwrap()
                .set_len(cut as u64)
                .unwrap();
            let (read, end) = scratch.read().await;
            let kept = before + whole_events(&ends, cut);
            assert_eq!(read, events[..kept], "cut at {cut}");
            let line_start = ends
                .iter()
                .rev()
                .find(|end| **end <= cut)
                .copied()
                .unwrap_or(0);
            match end {
                Ok(tail) if kept > before || before > 0 => {
                    // A segment without an event counts as a whole that is torn.
                    let torn = if kept == before && line_start == 0 {
                        cut
                    } else {
                        cut - line_start
                    };
                    assert_eq!(tail, torn as u64, "cut at {cut}");
                }
                Err(StoreError::Empty { .. }) if kept == 0 => {}
                other => panic!("cut at {cut}: {other:?}"),
            }
        }
    }
    eprintln!("cuts: {cuts}, one at every byte, 0 whole events lost, 0 invented");
}

#[tokio::test]
async fn every_cut_can_be_opened_and_goes_on() {
    let events: Vec<Event> = tiny_session(3);
    let next = {
        let mut script = crate::scene::Script::new();
        script.start(7, None, phi_types::Continuation::Initial);
        script.events.pop().unwrap()
    };
    let model = Scratch::new();
    model.keep(&events).await;
    let whole = fs::read(&model.segments()[0]).unwrap();
    let ends = line_ends(&whole);
    for cut in 0..=whole.len() {
        let scratch = Scratch::new();
        fs::create_dir(scratch.session_folder()).unwrap();
        let path = scratch.session_folder().join("00000000000000000001.jsonl");
        fs::write(&path, &whole[..cut]).unwrap();
        let kept = whole_events(&ends, cut);
        let opened = scratch.open().await;
        let (writer, mut expected) = if kept == 0 {
            assert!(
                matches!(opened, Err(StoreError::Empty { .. })),
                "cut at {cut}: {opened:?}"
            );
            let created = scratch.store.create(&session(), started(), at(0)).await;
            (created.unwrap(), events[..1].to_vec())
        } else {
            (opened.unwrap(), events[..kept].to_vec())
        };
        let is_torn = !ends.contains(&cut) || kept == 0;
        let recovered = writer.recovered().to_vec();
        assert_eq!(recovered.len(), usize::from(is_torn), "cut at {cut}");
        for event in &recovered {
            let EventKind::Recovered(Recovered::TornTail { bytes, moved_to }) = &event.kind else {
                panic!("cut at {cut}: {event:?}")
            };
            let moved = fs::read(scratch.session_folder().join(moved_to)).unwrap();
            assert_eq!(moved.len() as u64, *bytes);
            assert!(
                whole[..cut].ends_with(&moved),
                "cut at {cut}: what was torn is kept"
            );
            assert_eq!((&event.loop_id, event.seq), (&None, kept.max(1) as u64 + 1));
        }
        expected.extend(recovered);
        writer
            .append_batch(std::slice::from_ref(&next))
            .await
            .unwrap();
        expected.push(next.clone());
        let (read, end) = scratch.read().await;
        assert_eq!(read, expected, "cut at {cut}");
        assert_eq!(end.unwrap(), 0);
        drop(writer);
        assert!(
            scratch.open().await.unwrap().recovered().is_empty(),
            "cut at {cut}"
        );
    }
}

#[tokio::test]
async fn a_segment_that_was_torn_in_its_header_is_moved_aside_whole() {
    let events = full_session();
    let scratch = Scratch::new().with_segment_bytes_max(4_000);
    scratch.keep(&events).await;
    let last = scratch.segments().pop().unwrap();
    fs::OpenOptions::new()
        .write(true)
        .open(&last)
        .unwrap()
        .set_len(9)
        .unwrap();
    let (before, end) = scratch.read().await;
    assert_eq!(
        (before.as_slice(), end.unwrap()),
        (&events[..before.len()], 9)
    );
    let writer = scratch.open().await.unwrap();
    assert_eq!(writer.recovered().len(), 1);
    assert_eq!(writer.position(), before.len() as u64 + 1);
    assert_eq!(fs::read(&scratch.torn()[0]).unwrap().len(), 9);
    let (read, end) = scratch.read().await;
    assert_eq!((read.len(), end.unwrap()), (before.len() + 1, 0));
}

/// A loss of power takes the end of the file that a database writes ahead, from what was forced to the
/// disk on. That is as far as a test of its files goes: it calls them on its own.
#[tokio::test]
async fn a_database_that_lost_the_end_of_its_changes_keeps_what_was_forced_to_the_disk() {
    let events = full_session();
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("database");
    let ahead = folder.path().join("database-wal");
    let store = SqliteStore::new(&place);
    let writer = store.create(&session(), started(), at(0)).await.unwrap();
    for event in &events[1..10] {
        let event = std::slice::from_ref(event);
        writer.append_batch(event).await.unwrap();
    }
    writer.sync().await.unwrap();
    let forced = fs::metadata(&ahead).unwrap().len();
    for event in &events[10..20] {
        let event = std::slice::from_ref(event);
        writer.append_batch(event).await.unwrap();
    }
    let (main, whole) = (fs::read(&place).unwrap(), fs::read(&ahead).unwrap());
    let mut kept = Vec::new();
    let cuts = (usize::try_from(forced).unwrap()..whole.len()).step_by(701);
    for cut in cuts.chain([whole.len()]) {
        let lost = tempfile::tempdir().unwrap();
        let left = lost.path().join("database");
        fs::write(&left, &main).unwrap();
        fs::write(lost.path().join("database-wal"), &whole[..cut]).unwrap();
        let store = SqliteStore::new(&left);
        let read = read_events(&store, &session()).await.unwrap();
        assert!(read.len() >= 10, "cut at {cut}: {}", read.len());
        assert_eq!(read, events[..read.len()], "cut at {cut}");
        kept.push(read.len());
        let writer = store.open(&session(), at(0)).await.unwrap();
        let next = std::slice::from_ref(&events[read.len()]);
        writer.append_batch(next).await.unwrap();
        assert!(store.verify(&session()).await.unwrap().is_sound());
    }
    assert_eq!((kept[0], kept.last()), (10, Some(&20)));
    assert!(kept.is_sorted(), "{kept:?}");
}
