//! A session is the same in every store: copied back and forth it keeps every byte of its lines.

use std::fs;

use crate::scene::{Scratch, at, extension_of, full_session, session, tiny_session};
use phi_session::{
    JsonlStore, MemoryStore, SessionFilter, SqliteStore, Store, StoreError, SyncPolicy, load,
    read_events,
};
use phi_types::SessionId;

async fn lines(store: &dyn Store, session: &SessionId) -> Vec<String> {
    let mut reader = store.reader(session, 1).await.unwrap();
    let mut lines = Vec::new();
    loop {
        let chunk = reader.lines(7).await.unwrap();
        if chunk.is_empty() {
            return lines;
        }
        lines.extend(chunk.into_iter().map(|line| line.text));
    }
}

fn stores(folder: &std::path::Path) -> Vec<Box<dyn Store>> {
    let jsonl = JsonlStore::new(folder.join("files")).with_segment_bytes_max(900);
    let sqlite = SqliteStore::new(folder.join("sessions.db")).with_sync(SyncPolicy::Never);
    vec![
        Box::new(jsonl.with_blob_bytes_min(300)),
        Box::new(sqlite.with_blob_bytes_min(300)),
        Box::new(MemoryStore::new().with_blob_bytes_min(300)),
    ]
}

#[tokio::test]
async fn a_copy_has_the_same_lines_blobs_and_record_in_every_direction() {
    let folder = tempfile::tempdir().unwrap();
    let events = full_session();
    let origin = Scratch::new().with_blob_bytes_min(300);
    origin.keep(&events).await;
    let writer = origin.open().await.unwrap();
    let fact = writer
        .append_fact(at(600), extension_of(&"long ".repeat(200)))
        .await
        .unwrap();
    drop(writer);
    let fork = SessionId::new("fork").unwrap();
    let forked = origin
        .store
        .fork(&session(), 9, &fork, at(700))
        .await
        .unwrap();
    forked
        .append_fact(at(701), extension_of(&"more ".repeat(200)))
        .await
        .unwrap();
    drop(forked);
    let expected = [
        lines(&origin.store, &session()).await,
        lines(&origin.store, &fork).await,
    ];
    assert!(expected[0].last().unwrap().contains(r#""blobs":["#));

    let mut chain = stores(&folder.path().join("1"));
    chain.extend(stores(&folder.path().join("2")));
    let mut from: &dyn Store = &origin.store;
    for store in &chain {
        let into = store.as_ref();
        let error = into.import(&fork, from).await.unwrap_err();
        assert!(matches!(error, StoreError::Unknown { .. }), "{error}");
        for (id, expected) in [session(), fork.clone()].iter().zip(&expected) {
            let position = into.import(id, from).await.unwrap();
            assert_eq!(position, expected.len() as u64);
            assert_eq!(&lines(into, id).await, expected);
            let error = into.import(id, from).await.unwrap_err();
            assert!(matches!(error, StoreError::Exists { .. }), "{error}");
            assert!(into.verify(id).await.unwrap().is_sound());
            let there = load(&origin.store, id).await.unwrap();
            assert_eq!(load(into, id).await.unwrap().session(), there.session());
            let listed = into.list(&SessionFilter::default()).await.unwrap();
            let summary = listed.iter().find(|it| it.session == *id).unwrap();
            assert_eq!(
                summary.summary.as_ref().unwrap(),
                &there.session().summary()
            );
        }
        assert_eq!(into.forked_from(&fork).await.unwrap().unwrap().position, 9);
        let read = read_events(into, &session()).await.unwrap();
        assert_eq!(read[..events.len()], events);
        assert_eq!(read.last(), Some(&fact));
        from = into;
    }
    // Beside the sessions nothing is left over.
    let names = fs::read_dir(folder.path().join("1/files")).unwrap();
    assert_eq!(names.count(), 3);
}

#[tokio::test]
async fn a_log_of_format_1_is_copied_with_every_event() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/format-1");
    let from = JsonlStore::new(golden);
    let expected = read_events(&from, &session()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    for store in stores(folder.path()) {
        store.import(&session(), &from).await.unwrap();
        assert_eq!(
            read_events(store.as_ref(), &session()).await.unwrap(),
            expected
        );
        let writer = store.open(&session(), at(0)).await.unwrap();
        writer.append_fact(at(1), extension_of("x")).await.unwrap();
    }
}

#[tokio::test]
async fn a_database_takes_many_writers_and_tells_what_is_wrong_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.db");
    let store = SqliteStore::new(&path);
    let events = tiny_session(4);
    let from = Scratch::new();
    from.keep(&events).await;
    store.import(&session(), &from.store).await.unwrap();
    let mut writers = Vec::new();
    for n in 0..8 {
        let id = SessionId::new(&format!("w{n}")).unwrap();
        writers.push(
            store
                .create(&id, crate::scene::started(), at(0))
                .await
                .unwrap(),
        );
    }
    std::thread::scope(|scope| {
        for writer in &writers {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .build()
                    .unwrap();
                for _ in 0..20 {
                    let appended = runtime.block_on(writer.append_fact(at(1), extension_of("x")));
                    appended.unwrap();
                }
            });
        }
    });
    for writer in &writers {
        assert_eq!(writer.position(), 21);
        assert!(store.verify(writer.session()).await.unwrap().is_sound());
    }
    assert!(store.verify(&session()).await.unwrap().is_sound());

    let line =
        "UPDATE lines SET line = replace(line, 'test', 'tost') WHERE session = 1 AND position = 3";
    rusqlite_execute(&path, line);
    let found = store.verify(&session()).await.unwrap();
    assert_eq!((found.events, found.is_sound()), (2, false));
    let opened = store.open(&session(), at(9)).await.unwrap_err();
    assert!(
        matches!(opened, StoreError::Corrupt { position: 3, .. }),
        "{opened}"
    );
    rusqlite_execute(
        &path,
        "DELETE FROM lines WHERE session = 1 AND position = 3",
    );
    let found = store.verify(&session()).await.unwrap();
    assert!(matches!(
        found.fault,
        Some(StoreError::Missing {
            expected: 3,
            found: 4,
            ..
        })
    ));

    fs::write(
        folder.path().join("text.db"),
        "no database, but longer than its header is".repeat(9),
    )
    .unwrap();
    let other = SqliteStore::new(folder.path().join("text.db"));
    let error = other.list(&SessionFilter::default()).await.unwrap_err();
    assert!(error.to_string().contains("text.db"), "{error}");
}

fn rusqlite_execute(path: &std::path::Path, statement: &str) {
    let connection = rusqlite::Connection::open(path).unwrap();
    assert_eq!(connection.execute(statement, []).unwrap(), 1);
}
