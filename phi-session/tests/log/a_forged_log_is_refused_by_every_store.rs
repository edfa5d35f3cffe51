//! Whatever a log is made to say, and whatever stands in its place, every store answers with an error
//! that names it, and keeps nothing of it.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use phi_session::{
    BadLine, BlobId, IllegalSequence, JsonlStore, Listed, MemoryStore, SessionFilter,
    SessionReader, SessionSummary, SessionWriter, SqliteStore, Store, StoreError, StoredEvent,
    StoredLine, SyncPolicy, Verification, load,
};
use phi_types::{ForkedFrom, SessionId, SessionStarted};

use crate::scene::{at, session, started, tiny_session};

/// A store that hands out lines of anybody's making.
struct Forged {
    inner: MemoryStore,
    lines: Vec<String>,
}

#[derive(Debug)]
struct ForgedReader(Vec<StoredLine>);

#[async_trait]
impl SessionReader for ForgedReader {
    async fn events(&mut self, _max: usize) -> Result<Vec<StoredEvent>, StoreError> {
        Ok(Vec::new())
    }

    async fn lines(&mut self, _max: usize) -> Result<Vec<StoredLine>, StoreError> {
        Ok(std::mem::take(&mut self.0))
    }

    fn tail_bytes(&self) -> u64 {
        0
    }
}

type Opened = Result<Arc<dyn SessionWriter>, StoreError>;

#[async_trait]
impl Store for Forged {
    async fn create(&self, id: &SessionId, by: SessionStarted, now: DateTime<Utc>) -> Opened {
        self.inner.create(id, by, now).await
    }
    async fn open(&self, id: &SessionId, now: DateTime<Utc>) -> Opened {
        self.inner.open(id, now).await
    }
    async fn reader(&self, _: &SessionId, _: u64) -> Result<Box<dyn SessionReader>, StoreError> {
        let lines = (1..).zip(&self.lines);
        let lines = lines.map(|(position, text)| StoredLine {
            position,
            text: text.clone(),
        });
        Ok(Box::new(ForgedReader(lines.collect())))
    }
    async fn list(&self, filter: &SessionFilter) -> Result<Vec<Listed>, StoreError> {
        self.inner.list(filter).await
    }
    async fn delete(&self, id: &SessionId) -> Result<(), StoreError> {
        self.inner.delete(id).await
    }
    async fn fork(&self, of: &SessionId, at: u64, id: &SessionId, now: DateTime<Utc>) -> Opened {
        self.inner.fork(of, at, id, now).await
    }
    async fn summary(&self, id: &SessionId) -> Result<SessionSummary, StoreError> {
        self.inner.summary(id).await
    }
    async fn forked_from(&self, _: &SessionId) -> Result<Option<ForkedFrom>, StoreError> {
        Ok(None)
    }
    async fn import(&self, id: &SessionId, from: &dyn Store) -> Result<u64, StoreError> {
        self.inner.import(id, from).await
    }
    async fn blob(&self, _: &SessionId, _: &BlobId) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }
    async fn blobs(&self, _: &SessionId) -> Result<Vec<BlobId>, StoreError> {
        Ok(Vec::new())
    }
    async fn verify(&self, id: &SessionId) -> Result<Verification, StoreError> {
        self.inner.verify(id).await
    }
}

fn forged(lines: &[String]) -> Forged {
    Forged {
        inner: MemoryStore::new(),
        lines: lines.to_vec(),
    }
}

fn stores(folder: &Path) -> Vec<(&'static str, Box<dyn Store>)> {
    let jsonl = JsonlStore::new(folder.join("files")).with_sync(SyncPolicy::Never);
    let sqlite = SqliteStore::new(folder.join("sessions.db")).with_sync(SyncPolicy::Never);
    vec![
        ("files", Box::new(jsonl)),
        ("database", Box::new(sqlite)),
        ("memory", Box::new(MemoryStore::new())),
    ]
}

/// The lines of a session of four events, with the checksums that belong to them.
async fn lines() -> Vec<String> {
    let store = MemoryStore::new();
    let writer = store.create(&session(), started(), at(0)).await.unwrap();
    let events = tiny_session(4);
    writer.append_batch(&events[1..]).await.unwrap();
    let mut reader = store.reader(&session(), 1).await.unwrap();
    let lines = reader.lines(9).await.unwrap();
    lines.into_iter().map(|line| line.text).collect()
}

/// Names what is wrong with a line.
fn reason(error: &StoreError) -> &'static str {
    match error {
        StoreError::Empty { .. } => "empty",
        StoreError::Corrupt { reason, .. } => match reason {
            BadLine::Sequence(_) => "sequence",
            BadLine::OtherSession { .. } => "other session",
            BadLine::NotReadable { .. } => "not readable",
            BadLine::Checksum { .. } => "checksum",
            BadLine::MissingBlob { .. } => "missing blob",
            _ => "another reason",
        },
        _ => "another error",
    }
}

#[tokio::test]
async fn what_another_store_hands_out_wrong_is_not_copied() {
    let right = lines().await;
    let with = |at: usize, line: String| {
        let mut lines = right.clone();
        lines[at] = line;
        lines
    };
    let renamed =
        |name: &str| right[2].replace(r#""session":"s1""#, &format!(r#""session":"{name}""#));
    let blob = BlobId::of(b"x");
    let named = right[3].replace(
        r#"}},"crc""#,
        &format!(r#"}},"blobs":[{{"at":9,"sha256":"{blob}"}}],"crc""#),
    );
    assert_ne!(named, right[3]);
    let spliced = vec![right[0].clone(), right[2].clone(), right[1].clone()];
    let repeated = vec![right[0].clone(), right[1].clone(), right[1].clone()];
    let cases = [
        ("empty", vec![]),
        ("sequence", spliced),
        ("sequence", repeated),
        ("sequence", right[1..].to_vec()),
        ("other session", with(2, renamed("other"))),
        ("not readable", with(2, renamed("../../up"))),
        ("not readable", with(2, renamed("a/b"))),
        ("not readable", with(2, renamed("a.b"))),
        ("not readable", with(2, renamed("a\\u0000b"))),
        ("not readable", with(2, renamed(&"x".repeat(10_000)))),
        ("not readable", with(1, "no JSON".to_owned())),
        ("not readable", with(1, String::new())),
        (
            "not readable",
            with(1, right[1].replace("\"seq\":2", "\"seq\":-2")),
        ),
        ("missing blob", with(3, named)),
    ];
    for (expected, lines) in cases {
        let folder = tempfile::tempdir().unwrap();
        for (name, store) in stores(folder.path()) {
            let what = format!("{name}, {expected}: {lines:?}");
            let error = store.import(&session(), &forged(&lines)).await.unwrap_err();
            assert_eq!(reason(&error), expected, "{what}: {error}");
            assert!(!store.exists(&session()).await.unwrap(), "{what}");
            let listed = store.list(&SessionFilter::default()).await.unwrap();
            assert!(listed.is_empty(), "{what}: {listed:?}");
            // What is left of the attempt is in nobody's way.
            let copied = store.import(&session(), &forged(&right)).await.unwrap();
            assert_eq!(copied, 4, "{what}");
            assert!(store.verify(&session()).await.unwrap().is_sound(), "{what}");
        }
    }
}

#[tokio::test]
async fn events_of_a_newer_version_are_named_by_every_store() {
    let mut lines = lines().await;
    lines[0] = lines[0].replace("\"format\":1", "\"format\":99");
    let folder = tempfile::tempdir().unwrap();
    for (name, store) in stores(folder.path()) {
        store.import(&session(), &forged(&lines)).await.unwrap();
        let error = load(store.as_ref(), &session()).await.unwrap_err();
        let StoreError::Illegal { source, .. } = &error else {
            panic!("{name}: {error}")
        };
        assert!(matches!(
            source,
            IllegalSequence::NewerFormat { found: 99, .. }
        ));
        assert!(error.to_string().contains("use a newer version"), "{error}");
        assert!(
            !store.verify(&session()).await.unwrap().is_sound(),
            "{name}"
        );
    }
}

#[test]
fn a_name_that_could_leave_its_folder_reaches_no_store() {
    let long = "x".repeat(10_000);
    for name in [
        "", ".", "..", "../up", "/etc", "a/b", "a\\b", "a.b", ".a", "-a", "a\0b", "a\nb", &long,
    ] {
        let error = SessionId::new(name).unwrap_err().to_string();
        assert!(error.contains("use 1 to 128 characters"), "{error}");
        assert!(error.len() < 400, "{} bytes", error.len());
    }
}

/// A database with the sessions `s1` and `s2` of four events each.
async fn database(path: &Path) -> SqliteStore {
    let store = SqliteStore::new(path).with_sync(SyncPolicy::Never);
    for name in ["s1", "s2"] {
        let id = SessionId::new(name).unwrap();
        let writer = store.create(&id, started(), at(0)).await.unwrap();
        for event in &tiny_session(4)[1..] {
            writer
                .append_fact(event.at, event.kind.clone())
                .await
                .unwrap();
        }
    }
    store
}

#[tokio::test]
async fn rows_that_were_spliced_repeated_or_removed_are_found() {
    for (statements, events, expected) in [
        (
            "UPDATE lines SET line = (SELECT line FROM lines WHERE session = 2 AND position = 3) WHERE session = 1 AND position = 3",
            2,
            "checksum",
        ),
        (
            "UPDATE lines SET line = (SELECT line FROM lines WHERE session = 1 AND position = 2) WHERE session = 1 AND position = 3",
            2,
            "checksum",
        ),
        (
            "UPDATE lines SET line = 'x' WHERE session = 1 AND position = 4",
            3,
            "another reason",
        ),
        (
            "UPDATE lines SET line = '' WHERE session = 1 AND position = 1",
            0,
            "another reason",
        ),
        (
            "DELETE FROM lines WHERE session = 1 AND position = 2",
            1,
            "another error",
        ),
        (
            "DELETE FROM lines WHERE session = 1 AND position = 1",
            0,
            "another error",
        ),
        ("UPDATE lines SET session = 3 - session", 0, "other session"),
        (
            "UPDATE lines SET session = 9 WHERE session = 1 AND position = 3; UPDATE lines SET position = 3 WHERE session = 1 AND position = 4",
            2,
            "checksum",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sessions.db");
        let store = database(&path).await;
        let connection = rusqlite::Connection::open(&path).unwrap();
        // Rows that change places would meet each other on the way.
        let statements = statements.replace(
            "SET session = 3 - session",
            "SET session = -session; UPDATE lines SET session = 3 + session",
        );
        connection.execute_batch(&statements).unwrap();
        let found = store.verify(&session()).await.unwrap();
        assert_eq!(found.events, events, "{statements}");
        let fault = found.fault.unwrap();
        assert_eq!(reason(&fault), expected, "{statements}: {fault}");
        let opened = store.open(&session(), at(9)).await.unwrap_err();
        assert_eq!(reason(&opened), expected, "{statements}: {opened}");
    }
}

#[tokio::test]
async fn a_session_without_a_row_was_never_quite_created() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.db");
    let store = database(&path).await;
    let connection = rusqlite::Connection::open(&path).unwrap();
    let delete = "DELETE FROM lines WHERE session = 1";
    connection.execute_batch(delete).unwrap();
    let is_empty = |error: StoreError| assert_eq!(reason(&error), "empty", "{error}");
    is_empty(store.open(&session(), at(1)).await.unwrap_err());
    is_empty(store.reader(&session(), 1).await.unwrap_err());
    is_empty(store.summary(&session()).await.unwrap_err());
    assert!(!store.exists(&session()).await.unwrap());
    let created = store.open_or_create(&session(), started(), at(1)).await;
    assert_eq!(created.unwrap().position(), 1);
    connection
        .execute_batch("DELETE FROM lines WHERE session = 3")
        .unwrap();
    store.delete(&session()).await.unwrap();
    assert_eq!(
        store.list(&SessionFilter::default()).await.unwrap().len(),
        1
    );
}

#[tokio::test]
async fn what_stands_in_the_place_of_a_database_is_named_and_blocks_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("folder")).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(path("pipe"))
            .status()
            .unwrap()
            .success()
    );
    std::fs::write(path("empty"), "").unwrap();
    let newer = database(&path("newer")).await;
    let connection = rusqlite::Connection::open(path("newer")).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop((newer, connection));
    for (name, says) in [
        ("folder", "it is not a regular file; move it away"),
        ("pipe", "it is not a regular file; move it away"),
        (
            "newer",
            "has version 99 and this program knows 1; use a newer one",
        ),
    ] {
        let store = SqliteStore::new(path(name));
        let all = SessionFilter::default();
        for error in [
            store.open(&session(), at(0)).await.unwrap_err(),
            store
                .create(&session(), started(), at(0))
                .await
                .unwrap_err(),
            store.reader(&session(), 1).await.unwrap_err(),
            store.list(&all).await.unwrap_err(),
            store.delete(&session()).await.unwrap_err(),
        ] {
            assert!(error.to_string().contains(says), "{name}: {error}");
            assert!(error.to_string().contains(name), "{name}: {error}");
        }
    }
    // An empty file is a database that nobody has written to.
    let store = SqliteStore::new(path("empty"));
    assert!(
        store
            .list(&SessionFilter::default())
            .await
            .unwrap()
            .is_empty()
    );
    drop(store.create(&session(), started(), at(0)).await.unwrap());
}

#[tokio::test]
async fn a_database_that_was_removed_under_the_writer_takes_no_more() {
    for is_replaced in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sessions.db");
        let store = database(&path).await;
        let writer = store.open(&session(), at(0)).await.unwrap();
        let fact = || crate::scene::extension_of("x");
        writer.append_fact(at(1), fact()).await.unwrap();
        for end in ["", "-wal", "-shm"] {
            let file = folder.path().join(format!("sessions.db{end}"));
            std::fs::remove_file(file).unwrap_or_default();
        }
        if is_replaced {
            let other = folder.path().join("other.db");
            drop(database(&other).await);
            std::fs::rename(other, &path).unwrap();
        }
        let error = writer.append_fact(at(2), fact()).await.unwrap_err();
        assert!(matches!(error, StoreError::Vanished { .. }), "{error}");
        let error = writer.append_fact(at(3), fact()).await.unwrap_err();
        assert!(matches!(error, StoreError::Poisoned { .. }), "{error}");
    }
}

/// Says in which order stores of two kinds are walked.
async fn refusals(store: &dyn Store, id: &SessionId) -> Vec<String> {
    let all = SessionFilter::default();
    let listed = store.list(&all).await.unwrap();
    let listed = listed.into_iter().find(|it| it.session == *id).unwrap();
    let fork = SessionId::new("new").unwrap();
    let mut refusals = vec![
        listed.summary.unwrap_err(),
        store.summary(id).await.unwrap_err(),
        load(store, id).await.unwrap_err(),
        store.fork(id, 2, &fork, at(0)).await.unwrap_err(),
    ];
    refusals.extend(store.verify(id).await.unwrap().fault);
    assert_eq!(refusals.len(), 5);
    assert!(!store.exists(&fork).await.unwrap());
    refusals.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn forks_in_a_circle_are_found_and_a_parent_that_is_gone_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let id = |name: &str| SessionId::new(name).unwrap();
    let files = |name: &str| JsonlStore::new(folder.path().join(name));
    let (here, there, circle) = (files("here"), files("there"), files("circle"));
    for (store, root, fork) in [(&here, "a", "b"), (&there, "b", "a")] {
        drop(store.create(&id(root), started(), at(0)).await.unwrap());
        drop(store.fork(&id(root), 1, &id(fork), at(1)).await.unwrap());
    }
    std::fs::create_dir(circle.root()).unwrap();
    for (store, name) in [(&here, "b"), (&there, "a")] {
        std::fs::rename(store.root().join(name), circle.root().join(name)).unwrap();
    }
    let path = folder.path().join("circle.db");
    let database = database(&path).await;
    let own = session();
    for change in [
        "UPDATE sessions SET parent = id, parent_position = 1, parent_checksum = 7",
        "UPDATE lines SET position = position + 1000",
        "UPDATE lines SET position = position - 999",
    ] {
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.execute(change, []).unwrap();
    }
    let (a, b) = (id("a"), id("b"));
    let walked: [(&dyn Store, _); 3] = [(&circle, &a), (&circle, &b), (&database, &own)];
    for (store, id) in walked {
        for refusal in refusals(store, id).await {
            assert!(refusal.contains("it was forked from"), "{refusal}");
        }
    }

    // The same where the parent is not there at all.
    std::fs::remove_dir_all(circle.root().join("b")).unwrap();
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection
        .execute("UPDATE sessions SET parent = 'b'", [])
        .unwrap();
    for (store, id) in [(&circle as &dyn Store, &a), (&database, &own)] {
        for refusal in refusals(store, id).await {
            let says = format!("read session `{id}`: it was forked from `b` at position 1");
            assert!(refusal.contains(&says), "{refusal}");
        }
    }
}

#[tokio::test]
async fn forks_in_a_long_row_are_read_like_one() {
    let folder = tempfile::tempdir().unwrap();
    let never = SyncPolicy::Never;
    let files = JsonlStore::new(folder.path().join("files")).with_sync(never);
    let database = SqliteStore::new(folder.path().join("sessions.db")).with_sync(never);
    let memory = MemoryStore::new();
    let id = |n: u64| SessionId::new(&format!("f{n:04}")).unwrap();
    let stores: [(&dyn Store, u64); 3] = [(&memory, 200), (&files, 20), (&database, 20)];
    for (store, forks) in stores {
        drop(store.create(&id(0), started(), at(0)).await.unwrap());
        for n in 1..=forks {
            // Every second one begins in what its parent shares.
            let position = n.div_ceil(2);
            let fork = store.fork(&id(n - 1), position, &id(n), at(0)).await;
            drop(fork.unwrap());
        }
        let last = id(forks);
        let events = phi_session::read_events(store, &last).await.unwrap();
        assert_eq!(events.len() as u64, forks / 2 + 1);
        let listed = store.list(&SessionFilter::default()).await.unwrap();
        assert!(listed.iter().all(|it| it.summary.is_ok()));
        assert!(store.verify(&last).await.unwrap().fault.is_none());
    }
}

#[tokio::test]
async fn what_could_hold_a_database_up_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let changes = [
        "ALTER TABLE lines RENAME TO l; CREATE VIEW lines AS WITH RECURSIVE c(x) AS
             (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT 1 AS session, x AS position,
             'x' AS line FROM c",
        "CREATE TRIGGER t BEFORE INSERT ON lines BEGIN SELECT 1; END",
        "DROP TABLE blobs",
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let store = database(&path(&format!("changed-{n}.db"))).await;
        let connection = rusqlite::Connection::open(store.path()).unwrap();
        connection.execute_batch(change).unwrap();
        let error = store.reader(&session(), 1).await.unwrap_err().to_string();
        assert!(error.contains("not those of sessions"), "{change}: {error}");
    }
    for end in ["-journal", "-wal", "-shm"] {
        let store = database(&path(&format!("beside{end}.db"))).await;
        let beside = path(&format!("beside{end}.db{end}"));
        let made = Command::new("mkfifo").arg(&beside).status();
        assert!(made.unwrap().success());
        let error = store.reader(&session(), 1).await.unwrap_err();
        let wanted = matches!(&error, StoreError::WrongKind { path, .. } if *path == beside);
        assert!(wanted, "{error}");
    }
    let store = database(&path("spoilt.db")).await;
    let bytes = std::fs::read(store.path()).unwrap();
    std::fs::write(store.path(), &bytes[..bytes.len() / 2]).unwrap();
    let error = store.reader(&session(), 1).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
}
