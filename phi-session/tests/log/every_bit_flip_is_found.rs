//! A stored log with one bit changed is never taken for whole, and never reads as another event.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::scene::{Scratch, full_session, tiny_session};
use phi_session::StoreError;
use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

/// Writes a log with one bit changed over the log that is there.
fn flip(path: &Path, whole: &[u8], at: usize) -> Vec<u8> {
    let mut changed = whole.to_vec();
    changed[at / 8] ^= 1 << (at % 8);
    restore(path, &changed);
    changed
}

/// Overwrites in place: to cut the file first would make some file systems flush each time.
fn restore(path: &Path, whole: &[u8]) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(whole, 0).unwrap();
    if file.metadata().unwrap().len() > whole.len() as u64 {
        file.set_len(whole.len() as u64).unwrap();
    }
}

/// Checks what is read from a log in which something was changed.
async fn assert_found(scratch: &Scratch, events: &[phi_types::Event], what: &str) {
    let (read, end) = scratch.read().await;
    assert!(
        events.starts_with(&read),
        "{what}: a changed event was read"
    );
    if let Ok(tail) = end {
        assert!(tail > 0, "{what}: nothing was found");
        assert!(
            read.len() < events.len(),
            "{what}: found beside a whole log"
        );
    }
}

#[tokio::test]
async fn every_flip_of_every_bit_is_found_by_a_reader() {
    let events = tiny_session(6);
    let scratch = Scratch::new().with_segment_bytes_max(400);
    scratch.keep(&events).await;
    let segments = scratch.segments();
    assert!(segments.len() > 1);
    let mut flips = 0;
    for path in segments {
        let whole = fs::read(&path).unwrap();
        flips += whole.len() * 8;
        for at in 0..whole.len() * 8 {
            flip(&path, &whole, at);
            assert_found(&scratch, &events, &format!("{} bit {at}", path.display())).await;
        }
        restore(&path, &whole);
    }
    let (read, end) = scratch.read().await;
    assert_eq!((read, end.unwrap()), (events, 0));
    eprintln!("changed bits: {flips}, every one of a log, {flips} found");
}

#[tokio::test]
async fn every_flip_of_every_bit_is_found_by_a_writer() {
    let events = tiny_session(3);
    let scratch = Scratch::new();
    scratch.keep(&events).await;
    let path = scratch.segments().remove(0);
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() * 8 {
        let changed = flip(&path, &whole, at);
        match scratch.open().await {
            Ok(writer) => {
                assert_eq!(writer.recovered().len(), 1, "bit {at}");
                let torn = scratch.torn().pop().unwrap();
                let moved = fs::read(&torn).unwrap();
                assert!(
                    changed.ends_with(&moved),
                    "bit {at}: what does not fit is kept"
                );
                fs::remove_file(torn).unwrap();
            }
            // Nothing was changed on the disk.
            Err(StoreError::Empty { .. }) => panic!("bit {at}: whole events were taken for none"),
            Err(_) => assert_eq!(fs::read(&path).unwrap(), changed, "bit {at}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_change_of_a_full_log_is_found(
        spot in any::<proptest::sample::Index>(),
        length in 0_usize..200,
        filling in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let events = full_session();
        let scratch = Scratch::new();
        runtime.block_on(scratch.keep(&events));
        let path = scratch.segments().remove(0);
        let whole = fs::read(&path).unwrap();
        let start = spot.index(whole.len());
        let end = (start + length).min(whole.len());
        let mut changed = whole.clone();
        changed.splice(start..end, filling);
        fs::write(&path, &changed).unwrap();
        let (read, end) = runtime.block_on(scratch.read());
        prop_assert!(events.starts_with(&read));
        if changed == whole {
            prop_assert_eq!(end.unwrap(), 0);
        } else if read.len() == events.len() {
            // Only what follows the last line was changed.
            prop_assert!(changed.starts_with(&whole) && !matches!(end, Ok(0)));
        } else if matches!(end, Ok(0)) {
            // A cut between two lines is a shorter log and nothing else.
            prop_assert!(whole.starts_with(&changed));
        }
    }
}
