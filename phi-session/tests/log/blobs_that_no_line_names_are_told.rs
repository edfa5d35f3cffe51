//! A blob that no line names is the rest of a write that failed: it is told, and it is no damage.

use std::fs;

use crate::scene::{Scratch, at, extension_of, session, started};
use phi_session::{BlobId, SqliteStore, Store, SyncPolicy, Verification};

async fn keep(store: &dyn Store) {
    let writer = store.create(&session(), started(), at(0)).await.unwrap();
    for text in ["named ".repeat(300), "short".to_owned()] {
        writer
            .append_fact(at(1), extension_of(&text))
            .await
            .unwrap();
    }
}

fn assert_told(found: &Verification, rest: &[u8]) {
    assert!(found.is_sound(), "{found:?}");
    assert_eq!(found.events, 3);
    assert_eq!(found.unnamed_blobs, [BlobId::of(rest)]);
}

#[tokio::test]
async fn a_blob_on_files_that_no_line_names_is_told() {
    let scratch = Scratch::new().with_blob_bytes_min(1_000);
    keep(&scratch.store).await;
    let sound = scratch.store.verify(&session()).await.unwrap();
    assert_eq!(sound.unnamed_blobs, []);
    assert_eq!(scratch.store.blobs(&session()).await.unwrap().len(), 1);

    let blobs = scratch.session_folder().join("blobs");
    let rest = b"\"the write of its line failed\"";
    fs::write(blobs.join(BlobId::of(rest).to_string()), rest).unwrap();
    // What is no blob by its name is passed over.
    fs::write(blobs.join("notes.txt"), "x").unwrap();
    fs::write(blobs.join(format!("{}.new", BlobId::of(b"x"))), "x").unwrap();
    assert_told(&scratch.store.verify(&session()).await.unwrap(), rest);

    // A fork names those of its own lines; what it shares is its parent's.
    let fork = phi_types::SessionId::new("fork").unwrap();
    drop(
        scratch
            .store
            .fork(&session(), 2, &fork, at(2))
            .await
            .unwrap(),
    );
    let found = scratch.store.verify(&fork).await.unwrap();
    assert!(found.is_sound() && found.unnamed_blobs.is_empty());
}

#[tokio::test]
async fn a_blob_in_a_database_that_no_line_names_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.db");
    let store = SqliteStore::new(&path).with_sync(SyncPolicy::Never);
    let store = store.with_blob_bytes_min(1_000);
    keep(&store).await;
    let rest = b"\"the write of its line failed\"";
    let row = (BlobId::of(rest).to_string(), rest);
    let connection = rusqlite::Connection::open(&path).unwrap();
    let insert = "INSERT INTO blobs SELECT key, ?1, ?2 FROM sessions";
    connection.execute(insert, row).unwrap();
    drop(connection);
    assert_told(&store.verify(&session()).await.unwrap(), rest);
}
