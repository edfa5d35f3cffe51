//! Registered secrets, and what looks like a key, never reach a log.

use std::fs;

use crate::scene::{at, extension_of, session, started};
use phi_session::{JsonlStore, MemoryStore, Redactor, SqliteStore, Store, read_events};
use phi_types::{EventKind, Extension, SessionId};

#[tokio::test]
async fn no_store_writes_a_secret_in_a_line_or_a_blob() {
    let folder = tempfile::tempdir().unwrap();
    let redactor = || Redactor::new().with_secret("hunter2-is-it").unwrap();
    let stores: [Box<dyn Store>; 3] = [
        Box::new(
            JsonlStore::new(folder.path().join("files"))
                .with_redactor(redactor())
                .with_blob_bytes_min(500),
        ),
        Box::new(
            SqliteStore::new(folder.path().join("s.db"))
                .with_redactor(redactor())
                .with_blob_bytes_min(500),
        ),
        Box::new(
            MemoryStore::new()
                .with_redactor(redactor())
                .with_blob_bytes_min(500),
        ),
    ];
    let key = "sk-ant-api03-abcdefghijklmnopqrstuvwxyz0123456789";
    for store in &stores {
        let writer = store.create(&session(), started(), at(0)).await.unwrap();
        for text in [
            format!("the password is hunter2-is-it\nthe key {key}"),
            format!("hunter2-is-it {} {key}", "long ".repeat(300)),
        ] {
            writer
                .append_fact(at(1), extension_of(&text))
                .await
                .unwrap();
        }
        drop(writer);
        let events = read_events(store.as_ref(), &session()).await.unwrap();
        let EventKind::Extension(Extension { data, .. }) = &events[1].kind else {
            panic!("{:?}", events[1])
        };
        let expected = r#""the password is [redacted]\nthe key [redacted]""#;
        assert_eq!(data.as_str(), expected);
        let all = serde_json::to_string(&events).unwrap();
        assert!(!all.contains("hunter2") && !all.contains("api03"), "{all}");
        assert!(store.verify(&session()).await.unwrap().is_sound());
    }
    let mut folders = vec![folder.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let content = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            assert!(
                !content.contains("hunter2") && !content.contains("api03"),
                "{}",
                path.display()
            );
        }
    }
}

#[tokio::test]
async fn a_session_whose_name_reads_like_a_secret_keeps_it() {
    let name = "sk-0123456789-0123456789-0123456789";
    let (named, folder) = (SessionId::new(name).unwrap(), tempfile::tempdir().unwrap());
    let store = JsonlStore::new(folder.path());
    let writer = store.create(&named, started(), at(0)).await.unwrap();
    let fact = extension_of(name);
    writer.append_fact(at(1), fact).await.unwrap();
    let events = read_events(&store, &named).await.unwrap();
    let EventKind::Extension(Extension { data, .. }) = &events[1].kind else {
        panic!("{:?}", events[1])
    };
    assert_eq!(
        (events[1].session.as_str(), data.as_str()),
        (name, r#""[redacted]""#)
    );
}
