//! Every call that changes the disk fails once, in every scenario: what was acknowledged stays.

use std::path::Path;
use std::sync::Arc;

use chrono::DateTime;
use phi_types::{
    Arguments, Configuration, EffectClass, Event, EventKind, Extension, FORMAT, LoopId, PartFacts,
    RawJson, SessionId, SessionStarted, ToolCall, ToolEnded, ToolEnding, ToolResult, ToolStarted,
    TurnEnded, TurnStarted, TurnTrigger, Usage,
};
use rustix::io::Errno;

use crate::disk::Disk;
use crate::faults::{Fault, Faults};
use crate::read::read_events;
use crate::{JsonlStore, Store, StoreError, SyncPolicy};

fn id(name: &str) -> SessionId {
    SessionId::new(name).unwrap()
}

fn started() -> SessionStarted {
    SessionStarted {
        format: FORMAT,
        agent: None,
        spawned_by: None,
        forked_from: None,
    }
}

fn fact(text: &str) -> EventKind {
    EventKind::Extension(Extension {
        namespace: "test".to_owned(),
        name: "fact".to_owned(),
        data: RawJson::from_value(text).unwrap(),
    })
}

/// A store whose calls go through the plan.
fn store(root: &Path, faults: &Arc<Faults>, sync: SyncPolicy) -> JsonlStore {
    let mut store = JsonlStore::new(root)
        .with_sync(sync)
        .with_segment_bytes_max(700)
        .with_blob_bytes_min(300);
    store.settings.disk = Disk {
        faults: Some(Arc::clone(faults)),
    };
    store
}

/// What a scenario was told is safe, by session.
type Acknowledged = Vec<(SessionId, Vec<Event>)>;

fn acknowledge(acknowledged: &mut Acknowledged, events: &[Event]) {
    for event in events {
        let known = acknowledged.iter_mut().find(|(id, _)| *id == event.session);
        match known {
            Some((_, events)) => events.push(event.clone()),
            None => acknowledged.push((event.session.clone(), vec![event.clone()])),
        }
    }
}

/// Creates, appends, rotates, syncs, keeps blobs, opens again, forks and imports, until a call fails.
async fn scenario(store: &JsonlStore, acknowledged: &mut Acknowledged) -> Result<(), StoreError> {
    let now = DateTime::UNIX_EPOCH;
    let writer = store.create(&id("a"), started(), now).await?;
    let first = read_events(store, &id("a")).await?;
    acknowledge(acknowledged, &first);
    for n in 0..6 {
        let text = if n == 3 {
            "long ".repeat(100)
        } else {
            format!("fact {n}")
        };
        match writer.append_fact(now, fact(&text)).await {
            Ok(event) => acknowledge(acknowledged, &[event]),
            Err(error) => {
                // After a failure the writer takes nothing more.
                let again = writer.append_fact(now, fact("again")).await.unwrap_err();
                assert!(
                    matches!(again, StoreError::Poisoned { .. }),
                    "{error}: {again}"
                );
                let again = writer.sync().await.unwrap_err();
                assert!(matches!(again, StoreError::Poisoned { .. }), "{again}");
                return Err(error);
            }
        }
    }
    if let Err(error) = writer.sync().await {
        let again = writer.append_fact(now, fact("again")).await.unwrap_err();
        assert!(
            matches!(again, StoreError::Poisoned { .. }),
            "{error}: {again}"
        );
        return Err(error);
    }
    drop(writer);
    // A torn end is moved aside.
    let folder = store.folder(&id("a"));
    let last = *super::segment::segments(&folder)?.last().unwrap();
    let path = super::segment::segment_path(&folder, last);
    let mut torn = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    std::io::Write::write_all(&mut torn, b"{\"torn").unwrap();
    let writer = store.open(&id("a"), now).await?;
    acknowledge(acknowledged, writer.recovered());
    drop(writer);
    let fork = store.fork(&id("a"), 3, &id("b"), now).await?;
    fork.append_fact(now, fact("own")).await?;
    drop(fork);
    let into = JsonlStore {
        root: store.root.join("copy.d"),
        settings: store.settings.clone(),
    };
    into.import(&id("a"), store).await.map(drop)
}

/// Checks after a fault, with a disk that works again: nothing acknowledged is lost, nothing is
/// invented, and the session goes on.
async fn check(root: &Path, acknowledged: &Acknowledged, what: &str) {
    let store = JsonlStore::new(root).with_sync(SyncPolicy::Never);
    let now = DateTime::UNIX_EPOCH;
    for (session, events) in acknowledged {
        let read = read_events(&store, session).await.unwrap();
        assert!(read.len() >= events.len(), "{what}: {session} lost events");
        assert_eq!(read[..events.len()], events[..], "{what}");
        // At most the batch that was under way, which was never acknowledged.
        assert!(read.len() <= events.len() + 2, "{what}: {session} has more");
        let writer = store.open(session, now).await;
        let writer = writer.unwrap_or_else(|error| panic!("{what}: {error}"));
        writer.append_fact(now, fact("on")).await.unwrap();
        let found = store.verify(session).await.unwrap();
        assert!(found.is_sound(), "{what}: {found:?}");
    }
    let copied = JsonlStore::new(root.join("copy.d"));
    if copied.exists(&id("a")).await.unwrap() {
        assert!(copied.verify(&id("a")).await.unwrap().is_sound(), "{what}");
    }
}

#[tokio::test]
async fn every_call_may_fail_and_nothing_acknowledged_is_lost() {
    for sync in [SyncPolicy::Effect, SyncPolicy::Never] {
        let whole = tempfile::tempdir().unwrap();
        let faults = Arc::new(Faults::default());
        let done = scenario(&store(whole.path(), &faults, sync), &mut Vec::new()).await;
        done.unwrap();
        let calls = faults.take_calls();
        assert!(calls.len() > 20, "{calls:?}");
        for (at, call) in calls.iter().enumerate() {
            for fault in [
                Fault::Error(Errno::IO),
                Fault::Error(Errno::NOSPC),
                Fault::Short(0, Errno::NOSPC),
                Fault::Short(7, Errno::IO),
                Fault::Short(150, Errno::NOSPC),
            ] {
                let is_write = call.starts_with("write");
                if matches!(fault, Fault::Short(..)) && !is_write {
                    continue;
                }
                let folder = tempfile::tempdir().unwrap();
                let faults = Arc::new(Faults::default());
                faults.fail_at(at, fault);
                let mut acknowledged = Vec::new();
                let store = store(folder.path(), &faults, sync);
                let ended = scenario(&store, &mut acknowledged).await;
                let what = format!("{sync:?}, call {at} `{call}`, {fault:?}");
                // Removing a draft that is not there, and nothing else, is allowed to fail.
                assert!(ended.is_err(), "{what}: the fault was swallowed");
                check(folder.path(), &acknowledged, &what).await;
            }
        }
    }
}

#[tokio::test]
async fn a_loss_of_power_takes_nothing_that_was_synced() {
    let folder = tempfile::tempdir().unwrap();
    for synced in 0..8 {
        let root = folder.path().join(synced.to_string());
        let faults = Arc::new(Faults::default());
        let store = store(&root, &faults, SyncPolicy::Effect);
        let now = DateTime::UNIX_EPOCH;
        let writer = store.create(&id("a"), started(), now).await.unwrap();
        let mut events = read_events(&store, &id("a")).await.unwrap();
        for n in 0..8 {
            let text = if n % 3 == 1 {
                "long ".repeat(90)
            } else {
                n.to_string()
            };
            events.push(writer.append_fact(now, fact(&text)).await.unwrap());
            if n == synced {
                writer.sync().await.unwrap();
            }
        }
        drop(writer);
        faults.lose_power(&store.folder(&id("a")));
        let read = read_events(&store, &id("a")).await.unwrap();
        assert!(read.len() >= synced + 2, "{synced}: {}", read.len());
        assert_eq!(read, events[..read.len()]);
        drop(store.open(&id("a"), now).await.unwrap());
        assert!(store.verify(&id("a")).await.unwrap().is_sound());
    }
}

/// One event of a loop.
fn of_loop(seq: u64, kind: EventKind) -> Event {
    let loop_id = LoopId::numbered(&id("a"), &Configuration::default().id, 1);
    Event {
        session: id("a"),
        loop_id: Some(loop_id),
        seq,
        at: DateTime::UNIX_EPOCH,
        kind,
    }
}

/// A turn with one call of a class, each event on its own.
fn turn(class: EffectClass) -> [(&'static str, EventKind); 4] {
    let call = Arc::new(ToolCall {
        id: "c".into(),
        name: "bash".into(),
        arguments: Arguments::parse("{}"),
        facts: PartFacts::default(),
    });
    let usage = Usage::default();
    let trigger = TurnTrigger::Prompt;
    [
        (
            "turn started",
            EventKind::TurnStarted(TurnStarted { index: 1, trigger }),
        ),
        (
            "tool started",
            EventKind::ToolStarted(ToolStarted {
                index: 0,
                call,
                effect_class: class,
            }),
        ),
        (
            "tool ended",
            EventKind::ToolEnded(ToolEnded {
                index: 0,
                call_id: "c".into(),
                started: Some(2),
                ending: ToolEnding::Finished,
                result: Arc::new(ToolResult::text("done")),
                child: None,
            }),
        ),
        (
            "turn ended",
            EventKind::TurnEnded(TurnEnded { index: 1, usage }),
        ),
    ]
}

#[tokio::test]
async fn each_policy_syncs_when_it_says_and_at_no_other_time() {
    let effects = ["tool started", "tool ended"];
    let cases: [(SyncPolicy, EffectClass, &[&str]); 6] = [
        (SyncPolicy::Effect, EffectClass::AtMostOnce, &effects),
        (SyncPolicy::Effect, EffectClass::Idempotent, &[]),
        (SyncPolicy::Effect, EffectClass::Pure, &[]),
        (SyncPolicy::Turn, EffectClass::AtMostOnce, &["turn ended"]),
        (SyncPolicy::Turn, EffectClass::Pure, &["turn ended"]),
        (SyncPolicy::Never, EffectClass::AtMostOnce, &[]),
    ];
    for (sync, class, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let faults = Arc::new(Faults::default());
        let store = store(folder.path(), &faults, sync).with_segment_bytes_max(1 << 20);
        let created = store
            .create(&id("a"), started(), DateTime::UNIX_EPOCH)
            .await;
        let writer = created.unwrap();
        let created = faults.take_calls();
        let is_sync = |call: &String| call.starts_with("sync");
        assert_eq!(
            created.iter().any(is_sync),
            sync != SyncPolicy::Never,
            "{created:?}"
        );
        let mut synced = Vec::new();
        for (seq, (name, kind)) in (1..).zip(turn(class)) {
            writer.append_batch(&[of_loop(seq, kind)]).await.unwrap();
            let calls = faults.take_calls();
            // One write for each batch, and the sync after it.
            assert!(
                calls[0].starts_with("write") && calls.len() <= 2,
                "{calls:?}"
            );
            synced.extend(calls.iter().any(is_sync).then_some(name));
        }
        assert_eq!(synced, expected, "{sync:?} {class:?}");
        writer.sync().await.unwrap();
        assert!(
            faults.take_calls().iter().any(is_sync),
            "whoever asks for it gets it"
        );
    }
}
