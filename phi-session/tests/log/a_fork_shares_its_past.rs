//! A fork reads its past from its parent, goes on alone, and keeps its parent from being deleted.

use crate::scene::{Scratch, at, extension_of, full_session, session};
use phi_session::{
    JsonlStore, MemoryStore, SessionFilter, SqliteStore, Store, StoreError, load, read_events,
};
use phi_types::{Event, EventKind, SessionId};

fn id(name: &str) -> SessionId {
    SessionId::new(name).unwrap()
}

async fn keep(store: &dyn Store, events: &[Event]) {
    let EventKind::SessionStarted(started) = &events[0].kind else {
        panic!("a session starts with its start")
    };
    let created = store
        .create(&events[0].session, started.clone(), events[0].at)
        .await;
    created.unwrap().append_batch(&events[1..]).await.unwrap();
}

fn stores(folder: &std::path::Path) -> Vec<Box<dyn Store>> {
    let jsonl = JsonlStore::new(folder.join("files"));
    vec![
        Box::new(jsonl.with_segment_bytes_max(900).with_blob_bytes_min(100)),
        Box::new(SqliteStore::new(folder.join("sessions.db")).with_blob_bytes_min(100)),
        Box::new(MemoryStore::new().with_blob_bytes_min(100)),
    ]
}

#[tokio::test]
async fn a_fork_at_every_position_holds_what_was_before_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let events = full_session();
    for store in stores(folder.path()) {
        let store = store.as_ref();
        keep(store, &events).await;
        for position in 1..=events.len() {
            let fork = id(&format!("f{position}"));
            let writer = store
                .fork(&session(), position as u64, &fork, at(700))
                .await
                .unwrap();
            assert_eq!(writer.position(), position as u64 + 1);
            let fact = writer
                .append_fact(at(701), extension_of("own"))
                .await
                .unwrap();
            drop(writer);
            let read = read_events(store, &fork).await.unwrap();
            let inherited: Vec<Event> = events[..position]
                .iter()
                .cloned()
                .map(|event| Event {
                    session: fork.clone(),
                    ..event
                })
                .collect();
            assert_eq!(read[..position], inherited);
            let EventKind::SessionStarted(started) = &read[position].kind else {
                panic!("a fork starts with its start: {:?}", read[position])
            };
            let origin = started.forked_from.as_ref().unwrap();
            assert_eq!(
                (&origin.session, origin.position),
                (&session(), position as u64)
            );
            assert_eq!(
                store.forked_from(&fork).await.unwrap().as_ref(),
                Some(origin)
            );
            assert_eq!(read[position + 1..], [fact]);
            let recorder = load(store, &fork).await.unwrap();
            assert_eq!(recorder.session().created_at, Some(at(700)));
            assert_eq!(recorder.session().events, position as u64 + 2);
            // It opens again, and reads from any position.
            let writer = store.open(&fork, at(702)).await.unwrap();
            assert_eq!(writer.position(), position as u64 + 2);
            for from in [1, position, position + 1, position + 2, position + 3] {
                let mut reader = store.reader(&fork, from as u64).await.unwrap();
                let mut count = 0;
                loop {
                    let chunk = reader.events(5).await.unwrap();
                    if chunk.is_empty() {
                        break;
                    }
                    assert_eq!(chunk[0].position, (from + count) as u64);
                    count += chunk.len();
                }
                assert_eq!(count, position + 3 - from);
            }
            assert!(store.verify(&fork).await.unwrap().is_sound());
        }
        // The parent is as it was.
        assert_eq!(read_events(store, &session()).await.unwrap(), events);
        for entry in store.list(&SessionFilter::default()).await.unwrap() {
            let loaded = load(store, &entry.session).await.unwrap();
            assert_eq!(entry.summary.unwrap(), loaded.session().summary());
        }
    }
}

#[tokio::test]
async fn forks_of_forks_and_of_running_sessions_keep_their_parents() {
    let folder = tempfile::tempdir().unwrap();
    let events = full_session();
    for store in stores(folder.path()) {
        let store = store.as_ref();
        keep(store, &events).await;
        let running = store.open(&session(), at(500)).await.unwrap();
        let child = store
            .fork(&session(), 20, &id("child"), at(501))
            .await
            .unwrap();
        running
            .append_fact(at(502), extension_of("later"))
            .await
            .unwrap();
        child
            .append_fact(at(503), extension_of("child"))
            .await
            .unwrap();
        let grandchild = store
            .fork(&id("child"), 22, &id("grandchild"), at(504))
            .await
            .unwrap();
        let early = store
            .fork(&id("child"), 5, &id("early"), at(505))
            .await
            .unwrap();
        assert_eq!((grandchild.position(), early.position()), (23, 6));
        drop((running, child, grandchild, early));
        assert_eq!(
            read_events(store, &id("grandchild")).await.unwrap().len(),
            23
        );
        assert_eq!(read_events(store, &id("early")).await.unwrap().len(), 6);
        for (name, forks) in [
            ("s1", vec!["child"]),
            ("child", vec!["early", "grandchild"]),
        ] {
            let error = store.delete(&id(name)).await.unwrap_err();
            let StoreError::HasForks { forks: found, .. } = error else {
                panic!("{error}")
            };
            assert_eq!(
                found.iter().map(SessionId::as_str).collect::<Vec<_>>(),
                forks
            );
        }
        for name in ["early", "grandchild", "child", "s1"] {
            store.delete(&id(name)).await.unwrap();
        }
        assert!(
            store
                .list(&SessionFilter::default())
                .await
                .unwrap()
                .is_empty()
        );
    }
}

#[tokio::test]
async fn a_fork_that_cannot_be_is_a_typed_error_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for store in stores(folder.path()) {
        let store = store.as_ref();
        keep(store, &full_session()[..3]).await;
        for position in [0, 4, u64::MAX] {
            let error = store
                .fork(&session(), position, &id("f"), at(0))
                .await
                .unwrap_err();
            assert!(
                matches!(error, StoreError::NoSuchPosition { .. }),
                "{error}"
            );
        }
        let error = store
            .fork(&id("none"), 1, &id("f"), at(0))
            .await
            .unwrap_err();
        assert!(matches!(error, StoreError::Unknown { .. }), "{error}");
        assert!(!store.exists(&id("f")).await.unwrap());
        let error = store
            .fork(&session(), 2, &session(), at(0))
            .await
            .unwrap_err();
        assert!(matches!(error, StoreError::Exists { .. }), "{error}");
        drop(store.fork(&session(), 2, &id("f"), at(0)).await.unwrap());
        let error = store
            .fork(&session(), 2, &id("f"), at(0))
            .await
            .unwrap_err();
        assert!(matches!(error, StoreError::Exists { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_parent_that_is_gone_or_another_is_found() {
    let scratch = Scratch::new();
    scratch.keep(&full_session()).await;
    drop(
        scratch
            .store
            .fork(&session(), 7, &id("f"), at(0))
            .await
            .unwrap(),
    );
    std::fs::remove_dir_all(scratch.session_folder()).unwrap();
    let found = scratch.store.verify(&id("f")).await.unwrap();
    assert!(
        matches!(found.fault, Some(StoreError::OtherParent { .. })),
        "{found:?}"
    );
    let mut other = full_session();
    other[3].at = at(9_999);
    scratch.keep(&other).await;
    let found = scratch.store.verify(&id("f")).await.unwrap();
    assert!(
        matches!(found.fault, Some(StoreError::OtherParent { .. })),
        "{found:?}"
    );
}
