//! Whatever stands where a log belongs, the answer is a typed error that names it: no hang, no panic.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::scene::{Scratch, at, full_session, session, short_session, started};
use phi_session::{BadLine, Chain, JsonlStore, SessionFilter, Store, StoreError};
use phi_types::{Event, SessionId};

fn text(error: &StoreError, scratch: &Scratch) -> String {
    error
        .to_string()
        .replace(scratch.folder.path().to_str().unwrap(), "STORE")
}

fn segment(scratch: &Scratch) -> std::path::PathBuf {
    scratch.session_folder().join("00000000000000000001.jsonl")
}

/// What reading and opening both answer, as text.
async fn refusal(scratch: &Scratch) -> String {
    let opened = scratch.open().await.unwrap_err();
    let (events, read) = scratch.read().await;
    assert!(events.is_empty());
    assert_eq!(text(&opened, scratch), text(&read.unwrap_err(), scratch));
    text(&opened, scratch)
}

/// Writes lines with right checksums around whatever content, as any other program could.
fn forge(scratch: &Scratch, contents: &[String]) {
    let mut previous = 0;
    let mut file = String::new();
    for (at, content) in contents.iter().enumerate() {
        let content = content.strip_suffix('}').unwrap();
        let hex = format!("{previous:08x}");
        let checksum = crc32c(&[hex.as_bytes(), content.as_bytes()].concat());
        file.push_str(&format!("{content},\"crc\":\"{checksum:08x}\"}}\n"));
        // A header is no link of the chain.
        previous = if at == 0 { 0 } else { checksum };
    }
    fs::create_dir_all(scratch.session_folder()).unwrap();
    fs::write(segment(scratch), file).unwrap();
}

/// CRC-32C bit by bit, written from its definition.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0x82f6_3b78
            } else {
                crc >> 1
            };
        }
    }
    !crc
}

fn header() -> String {
    r#"{"format":2,"session":"s1","first":1,"previous":"00000000","session_seq":0}"#.to_owned()
}

fn json(events: &[Event]) -> Vec<String> {
    events
        .iter()
        .map(|event| serde_json::to_string(event).unwrap())
        .collect()
}

#[tokio::test]
async fn a_log_written_by_another_program_from_the_description_reads_alike() {
    let events = full_session();
    let (ours, theirs) = (Scratch::new(), Scratch::new());
    ours.keep(&events).await;
    forge(&theirs, &[vec![header()], json(&events)].concat());
    assert_eq!(
        fs::read(segment(&ours)).unwrap(),
        fs::read(segment(&theirs)).unwrap()
    );
    assert_eq!(theirs.read().await.0, events);
}

#[tokio::test]
async fn a_pipe_a_folder_a_link_and_a_file_are_named() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.session_folder()).unwrap();
    let path = segment(&scratch);
    let expected = "open `STORE/s1/00000000000000000001.jsonl`: it is not a regular file; \
                    move it away";
    let made = std::process::Command::new("mkfifo")
        .arg(&path)
        .status()
        .unwrap();
    assert!(made.success());
    assert_eq!(refusal(&scratch).await, expected);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(refusal(&scratch).await, expected);
    fs::remove_dir(&path).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    assert_eq!(refusal(&scratch).await, expected);
    fs::remove_dir_all(scratch.session_folder()).unwrap();
    fs::write(scratch.session_folder(), "").unwrap();
    let expected = "open `STORE/s1`: it is not a regular folder; move it away";
    assert_eq!(refusal(&scratch).await, expected);
}

#[tokio::test]
async fn a_log_that_is_empty_newer_or_of_another_session_says_so() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.session_folder()).unwrap();
    fs::write(segment(&scratch), "").unwrap();
    let empty = "read session `s1`: its log holds no whole event; create the session again";
    assert_eq!(refusal(&scratch).await, empty);
    let events = json(&short_session(3));
    let newer = header().replace("\"format\":2", "\"format\":3,\"new\":[]");
    forge(&scratch, &[vec![newer], events.clone()].concat());
    let expected = "read session `s1`: its log has format 3 and this version knows 2; \
                    use a newer version";
    assert_eq!(refusal(&scratch).await, expected);
    forge(
        &scratch,
        &[vec![header().replace("s1", "s2")], events].concat(),
    );
    assert_eq!(
        refusal(&scratch).await,
        "use session `s1`: this belongs to session `s2`; use that one"
    );
}

#[tokio::test]
async fn spliced_repeated_and_missing_events_with_right_checksums_are_found() {
    let events = json(&short_session(5));
    let cases = [
        ("repeated", vec![0, 1, 2, 2, 3], 4),
        ("missing", vec![0, 1, 3, 4], 3),
        ("exchanged", vec![0, 1, 3, 2, 4], 3),
        ("late start", vec![1, 2, 0], 3),
    ];
    for (what, order, position) in cases {
        let scratch = Scratch::new();
        let chosen = order.iter().map(|at| events[*at].clone());
        let contents: Vec<String> = std::iter::once(header()).chain(chosen).collect();
        forge(&scratch, &contents);
        let (read, end) = scratch.read().await;
        if what == "late start" {
            // Streams are independent: the store takes it.
            assert_eq!((read.len(), end.unwrap()), (3, 0));
            continue;
        }
        let opened = scratch.open().await.unwrap_err();
        for error in [end.unwrap_err(), opened] {
            let StoreError::Corrupt {
                position: found,
                reason,
                ..
            } = error
            else {
                panic!("{what}: {error}")
            };
            assert!(matches!(reason, BadLine::Sequence(_)), "{what}: {reason}");
            assert_eq!(
                (found, read.len() as u64),
                (position, position - 1),
                "{what}"
            );
        }
    }
    let scratch = Scratch::new();
    let foreign = events[2].replace("\"session\":\"s1\"", "\"session\":\"s2\"");
    forge(
        &scratch,
        &[header(), events[0].clone(), events[1].clone(), foreign],
    );
    let (read, end) = scratch.read().await;
    assert_eq!(read.len(), 2);
    assert!(
        end.unwrap_err()
            .to_string()
            .contains("belongs to session `s2`")
    );
}

#[tokio::test]
async fn lines_that_were_removed_repeated_or_taken_from_elsewhere_are_found() {
    let scratch = Scratch::new();
    scratch.keep(&short_session(6)).await;
    let whole = fs::read_to_string(segment(&scratch)).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    for order in [
        vec![0, 1, 2, 3, 3],
        vec![0, 1, 2, 4],
        vec![0, 2, 1, 3, 4, 5],
        vec![0, 1, 2, 4, 5],
    ] {
        let changed: String = order.iter().map(|at| format!("{}\n", lines[*at])).collect();
        fs::write(segment(&scratch), &changed).unwrap();
        let error = scratch.open().await.unwrap_err();
        assert!(
            matches!(error, StoreError::Corrupt { .. }),
            "{order:?}: {error}"
        );
        assert!(
            matches!(scratch.read().await.1, Err(StoreError::Corrupt { .. })),
            "{order:?}"
        );
        assert_eq!(
            fs::read_to_string(segment(&scratch)).unwrap(),
            changed,
            "nothing is changed"
        );
        assert!(scratch.torn().is_empty());
    }
}

#[tokio::test]
async fn a_segment_that_is_missing_or_in_a_wrong_place_is_found() {
    let events = full_session();
    let scratch = Scratch::new().with_segment_bytes_max(2_000);
    scratch.keep(&events).await;
    let segments = scratch.segments();
    assert!(segments.len() > 3);
    let aside = scratch.folder.path().join("aside");
    fs::rename(&segments[1], &aside).unwrap();
    let (read, end) = scratch.read().await;
    assert_eq!(read, events[..read.len()]);
    assert!(matches!(end, Err(StoreError::Missing { .. })), "{end:?}");
    fs::copy(&segments[2], &segments[1]).unwrap();
    let (again, end) = scratch.read().await;
    assert_eq!((again.len(), read.len()), (read.len(), read.len()));
    assert!(matches!(end, Err(StoreError::Corrupt { .. })), "{end:?}");
    fs::rename(&aside, &segments[1]).unwrap();
    fs::remove_file(&segments[0]).unwrap();
    let (read, end) = scratch.read().await;
    assert!(read.is_empty() && matches!(end, Err(StoreError::Missing { expected: 1, .. })));
}

#[tokio::test]
async fn a_line_or_a_file_of_garbage_ends_in_bounded_memory() {
    let scratch = Scratch::new();
    scratch.keep(&short_session(3)).await;
    // A line far over the limit, sparse on the disk.
    let file = fs::OpenOptions::new()
        .append(true)
        .open(segment(&scratch))
        .unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length + 100 * (1 << 20)).unwrap();
    let (read, end) = scratch.read().await;
    assert_eq!((read.len(), end.unwrap()), (3, 100 << 20));
}

#[tokio::test]
async fn an_unusable_store_names_the_path_and_the_reason() {
    for root in ["/dev/null/store", "/proc/no/store"] {
        let store = JsonlStore::new(root);
        let error = store
            .create(&session(), started(), at(0))
            .await
            .unwrap_err();
        assert!(
            matches!(
                error,
                StoreError::Io {
                    action: "create",
                    ..
                }
            ),
            "{error}"
        );
        assert!(error.to_string().contains(root), "{error}");
    }
    let store = JsonlStore::new("/dev/null");
    assert!(store.list(&SessionFilter::default()).await.is_err());
}

#[tokio::test]
async fn files_are_for_their_owner_alone_and_strangers_in_the_store_are_passed_over() {
    let scratch = Scratch::new();
    scratch.keep(&short_session(2)).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&scratch.session_folder()), 0o700);
    for entry in fs::read_dir(scratch.session_folder()).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
    fs::write(scratch.folder.path().join("file"), "x").unwrap();
    fs::create_dir(scratch.folder.path().join("begun")).unwrap();
    fs::create_dir(scratch.folder.path().join("no.session")).unwrap();
    let bad = scratch.folder.path().join("bad");
    fs::create_dir(&bad).unwrap();
    fs::write(bad.join("00000000000000000001.jsonl"), "{}\n").unwrap();
    let listed = scratch.store.list(&SessionFilter::default()).await.unwrap();
    let found: Vec<(&str, bool)> = listed
        .iter()
        .map(|entry| (entry.session.as_str(), entry.summary.is_ok()))
        .collect();
    assert_eq!(found, [("bad", false), ("s1", true)]);
}

#[tokio::test]
async fn a_log_that_was_removed_or_cut_under_the_writer_takes_no_more() {
    for is_removed in [true, false] {
        let scratch = Scratch::new();
        scratch.keep(&short_session(2)).await;
        let writer = scratch.open().await.unwrap();
        if is_removed {
            fs::remove_dir_all(scratch.session_folder()).unwrap();
        } else {
            fs::write(segment(&scratch), "").unwrap();
        }
        let next = &short_session(3)[2..];
        let error = writer.append_batch(next).await.unwrap_err();
        assert!(matches!(error, StoreError::Vanished { .. }), "{error}");
        let error = writer.append_batch(next).await.unwrap_err();
        assert!(matches!(error, StoreError::Poisoned { .. }), "{error}");
    }
}

#[test]
fn an_event_that_fits_no_line_changes_nothing() {
    let mut chain = Chain::new(SessionId::new("s1").unwrap(), 0);
    let rules = phi_session::LineRules::default();
    let mut encoded = phi_session::Encoded {
        lines: b"before".to_vec(),
        blobs: Vec::new(),
    };
    let mut script = crate::scene::Script::new();
    let big = "x".repeat(phi_session::LINE_BYTES_MAX);
    script.fact(phi_types::EventKind::Extension(phi_types::Extension {
        namespace: big,
        name: String::new(),
        data: phi_types::RawJson::empty_object(),
    }));
    let error = chain
        .encode(&script.events, &rules, &mut encoded)
        .unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { .. }), "{error}");
    assert_eq!(
        (encoded.lines.as_slice(), chain.position(), chain.checksum()),
        (&b"before"[..], 0, 0)
    );
    assert!(encoded.blobs.is_empty());
    chain
        .encode(&script.events[..1], &rules, &mut encoded)
        .unwrap();
    assert_eq!(chain.position(), 1);
}
