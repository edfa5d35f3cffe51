//! Images and long results are kept once each beside the log and come back unchanged.

use std::fs;

use crate::scene::{Scratch, at, extension_of, session, started};
use phi_session::{BadLine, BlobId, SessionFilter, Store, StoreError, read_events};
use phi_types::{EventKind, ToolEnded, ToolEnding, ToolResult};

fn blobs(scratch: &Scratch) -> Vec<std::path::PathBuf> {
    let folder = scratch.session_folder().join("blobs");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .map(|entries| entries.map(|entry| entry.unwrap().path()).collect())
        .unwrap_or_default();
    paths.sort();
    paths
}

async fn kept() -> (Scratch, Vec<phi_types::Event>) {
    let scratch = Scratch::new().with_blob_bytes_min(1_000);
    let writer = scratch
        .store
        .create(&session(), started(), at(0))
        .await
        .unwrap();
    let mut script = crate::scene::Script::new();
    script.start(1, None, phi_types::Continuation::Initial);
    for n in 0..6 {
        let text = format!("{} \"{}\"\n", "é\\".repeat(900), n % 2);
        let ended = ToolEnded {
            index: n,
            call_id: "c".into(),
            started: None,
            ending: ToolEnding::Finished,
            result: std::sync::Arc::new(ToolResult::text(text)),
            child: None,
            spent: None,
        };
        script.event(1, EventKind::ToolEnded(ended));
    }
    script.fact(extension_of("short"));
    writer.append_batch(&script.events[1..]).await.unwrap();
    (scratch, script.events)
}

#[tokio::test]
async fn a_text_is_kept_once_and_read_back_wherever_it_stood() {
    let (scratch, events) = kept().await;
    assert_eq!(blobs(&scratch).len(), 2);
    let log: u64 = scratch
        .segments()
        .iter()
        .map(|path| fs::metadata(path).unwrap().len())
        .sum();
    assert!(log < 4_000, "{log}");
    assert_eq!(
        read_events(&scratch.store, &session()).await.unwrap(),
        events
    );
    for path in blobs(&scratch) {
        let content = fs::read(&path).unwrap();
        let id = BlobId::of(&content);
        assert_eq!(path.file_name().unwrap().to_str().unwrap(), id.to_string());
        assert_eq!(
            scratch.store.blob(&session(), &id).await.unwrap(),
            Some(content)
        );
    }
    assert!(scratch.open().await.unwrap().recovered().is_empty());
    scratch.store.delete(&session()).await.unwrap();
    assert!(!scratch.session_folder().exists(), "nothing is left of it");
}

#[tokio::test]
async fn a_missing_an_altered_and_an_unreadable_blob_are_typed_errors() {
    for what in ["missing", "altered", "cut", "folder"] {
        let (scratch, events) = kept().await;
        let path = blobs(&scratch).remove(0);
        let content = fs::read(&path).unwrap();
        match what {
            "missing" => fs::remove_file(&path).unwrap(),
            "altered" => fs::write(&path, content.to_ascii_uppercase()).unwrap(),
            "cut" => fs::write(&path, &content[..10]).unwrap(),
            _ => {
                fs::remove_file(&path).unwrap();
                fs::create_dir(&path).unwrap();
            }
        }
        let (read, end) = scratch.read().await;
        assert_eq!(read, events[..read.len()]);
        assert!((2..4).contains(&read.len()), "{what}");
        let Err(StoreError::Corrupt {
            reason, position, ..
        }) = end
        else {
            panic!("{what}: {end:?}")
        };
        assert_eq!(position, read.len() as u64 + 1);
        let is_right = match what {
            "missing" => matches!(reason, BadLine::MissingBlob { .. }),
            "folder" => matches!(reason, BadLine::UnreadableBlob { .. }),
            _ => matches!(reason, BadLine::AlteredBlob { .. }),
        };
        assert!(is_right, "{what}: {reason}");
        let found = scratch.store.verify(&session()).await.unwrap();
        assert_eq!((found.events, found.is_sound()), (read.len() as u64, false));
        // The session is listed, and can be deleted.
        let listed = scratch.store.list(&SessionFilter::default()).await.unwrap();
        assert!(listed[0].summary.is_ok());
        scratch.store.delete(&session()).await.unwrap();
    }
}
