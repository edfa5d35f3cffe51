//! Every call on the files fails once, in every scenario: what was acknowledged stays.

use std::path::Path;
use std::sync::Arc;

use chrono::DateTime;
use phi_types::{Configuration, EffectClass, Event, LoopId, SessionId};
use rustix::io::Errno;

use super::Settings;
use crate::faults::{Call, Fault, Faults, scratch};
use crate::laws::After;
use crate::power::Left;
use crate::scenarios::{Lab, Step, Tear, id, started, turn};
use crate::{JsonlStore, Store, StoreError, SyncPolicy};

use EffectClass::{AtMostOnce, Idempotent, Pure};
use Step::{
    Batch, Close, Create, Delete, DeleteParent, Fact, Fork, Import, List, Open, Read, Sync, Turn,
    Verify,
};

/// What is done to a store. A fact of 400 bytes is kept beside the log.
const PROGRAMS: [(&str, &[Step]); 20] = [
    (
        "facts",
        &[Create("a"), Fact("a", 9), Fact("a", 90), Fact("a", 1)],
    ),
    (
        "open again",
        &[
            Create("a"),
            Fact("a", 9),
            Close("a"),
            Open("a"),
            Fact("a", 9),
        ],
    ),
    (
        "blobs",
        &[Create("a"), Fact("a", 400), Fact("a", 400), Fact("a", 401)],
    ),
    (
        "calls",
        &[Create("a"), Turn("a", AtMostOnce), Turn("a", AtMostOnce)],
    ),
    (
        "calls that repeat",
        &[Create("a"), Turn("a", Pure), Turn("a", Idempotent)],
    ),
    (
        "batches",
        &[Create("a"), Batch("a", 1), Batch("a", 12), Batch("a", 3)],
    ),
    (
        "syncs",
        &[
            Create("a"),
            Fact("a", 400),
            Sync("a"),
            Batch("a", 2),
            Sync("a"),
            Fact("a", 9),
        ],
    ),
    (
        "a torn line",
        &[
            Create("a"),
            Fact("a", 9),
            Close("a"),
            Step::Tear("a", Tear::Line),
            Open("a"),
            Fact("a", 9),
        ],
    ),
    (
        "a torn header",
        &[
            Create("a"),
            Fact("a", 9),
            Close("a"),
            Step::Tear("a", Tear::Header),
            Open("a"),
            Turn("a", AtMostOnce),
        ],
    ),
    (
        "torn twice",
        &[
            Create("a"),
            Close("a"),
            Step::Tear("a", Tear::Line),
            Open("a"),
            Close("a"),
            Step::Tear("a", Tear::Line),
            Open("a"),
        ],
    ),
    (
        "a fork",
        &[
            Create("a"),
            Fact("a", 400),
            Fork("a", 2, "b"),
            Turn("b", AtMostOnce),
            Fact("a", 9),
        ],
    ),
    (
        "a fork of a fork",
        &[
            Create("a"),
            Batch("a", 2),
            Fork("a", 3, "b"),
            Fact("b", 9),
            Fork("b", 5, "c"),
            Turn("c", AtMostOnce),
        ],
    ),
    (
        "a copy",
        &[Create("a"), Fact("a", 400), Batch("a", 4), Import("a")],
    ),
    (
        "a copy of a fork",
        &[
            Create("a"),
            Fact("a", 9),
            Fork("a", 2, "b"),
            Fact("b", 400),
            Import("a"),
            Import("b"),
        ],
    ),
    (
        "a deletion",
        &[
            Create("a"),
            Fact("a", 400),
            Fact("a", 9),
            Close("a"),
            Delete("a"),
            Create("a"),
            Fact("a", 9),
        ],
    ),
    (
        "a fork deleted first",
        &[
            Create("a"),
            Fork("a", 1, "b"),
            Close("a"),
            Close("b"),
            Delete("b"),
            Delete("a"),
        ],
    ),
    (
        "a parent kept",
        &[
            Create("a"),
            Fact("a", 9),
            Fork("a", 2, "b"),
            Turn("b", AtMostOnce),
            Close("a"),
            DeleteParent("a"),
            Read("b"),
        ],
    ),
    (
        "lists",
        &[
            Create("a"),
            Create("b"),
            Turn("a", Pure),
            List,
            Fact("b", 9),
            List,
            List,
        ],
    ),
    (
        "lists of forks",
        &[
            Create("a"),
            Turn("a", AtMostOnce),
            Fork("a", 4, "b"),
            List,
            Fact("b", 9),
            List,
        ],
    ),
    (
        "reads",
        &[
            Create("a"),
            Fact("a", 400),
            Batch("a", 5),
            Read("a"),
            Verify("a"),
            Fact("a", 9),
            Read("a"),
        ],
    ),
];

/// Segments that are full after an event or two.
const SMALL: u64 = 300;
/// Segments that are never full.
const LARGE: u64 = 1 << 20;

/// One program under one policy with segments of one size.
struct Scenario {
    name: &'static str,
    steps: &'static [Step],
    policy: SyncPolicy,
    /// With these segments.
    settings: Settings,
}

fn store(policy: SyncPolicy, segment_bytes: u64) -> JsonlStore {
    JsonlStore::new("")
        .with_sync(policy)
        .with_segment_bytes_max(segment_bytes)
        .with_blob_bytes_min(300)
}

impl Scenario {
    fn all(policy: SyncPolicy) -> impl Iterator<Item = Self> {
        let sizes: &[u64] = match policy {
            SyncPolicy::Effect => &[SMALL, LARGE],
            SyncPolicy::Turn | SyncPolicy::Never => &[SMALL],
        };
        sizes.iter().flat_map(move |segment_bytes| {
            PROGRAMS.into_iter().map(move |(name, steps)| Self {
                name,
                steps,
                policy,
                settings: store(policy, *segment_bytes).settings,
            })
        })
    }

    fn store(&self, root: &Path, name: &str) -> JsonlStore {
        JsonlStore {
            root: root.join(name),
            settings: self.settings.clone(),
        }
    }

    fn lab(&self, root: &Path) -> Lab {
        let (store, other) = (self.store(root, "store"), self.store(root, "other"));
        let torn = store.clone();
        let tear = move |session: &SessionId, tear| leave_torn(&torn.folder(session), tear);
        Lab::new(Arc::new(store), Arc::new(other), self.policy, tear)
    }

    /// Runs it with a fault at one call, and checks what is left.
    async fn fail(&self, at: usize, fault: Fault, call: &Call) -> usize {
        let what = format!(
            "{}, {:?}, segments of {}: call {at} {call:?} fails with {fault:?}",
            self.name, self.policy, self.settings.segment_bytes_max
        );
        let _told = Told(&what);
        let folder = scratch();
        let root = folder.path().join("root");
        std::fs::create_dir(&root).unwrap();
        let faults = Faults::install(&root);
        faults.fail_at(at, fault);
        let mut lab = self.lab(&root);
        match lab.run(self.steps).await {
            Err(error) => assert_typed(&error, &root),
            // Who reads may try again, and what was read is compared.
            Ok(()) => assert!(call.only_looks() || call.is_dispensable(), "swallowed"),
        }
        let mut checks = Vec::new();
        if fault == Fault::Death {
            for left in [Left::Forced, Left::LOOSE[at % Left::LOOSE.len()]] {
                let path = folder.path().join(format!("{left:?}"));
                faults.lose_power(left, &path);
                checks.push((path, After::PowerLoss(left)));
            }
        }
        checks.push((root, After::Fault));
        faults.heal();
        let count = checks.len();
        for (root, after) in checks {
            let what = format!("then {after:?}");
            let _told = Told(&what);
            let (store, other) = (self.store(&root, "store"), self.store(&root, "other"));
            lab.check(&store, &other, after).await;
        }
        count
    }
}

/// Says what was tried when a check fails.
struct Told<'a>(&'a str);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0);
        }
    }
}

/// Leaves what a write of a process that was killed may leave.
fn leave_torn(folder: &Path, tear: Tear) {
    let names = std::fs::read_dir(folder).unwrap();
    let names = names.map(|it| it.unwrap().file_name().into_string().unwrap());
    let last = names.filter(|it| it.ends_with(".jsonl")).max().unwrap();
    let path = folder.join(&last);
    let last: u64 = last[..20].parse().unwrap();
    match tear {
        Tear::Line => {
            let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
            std::io::Write::write_all(&mut file, b"{\"torn").unwrap();
        }
        Tear::Header => {
            let lines = std::fs::read_to_string(&path).unwrap().lines().count() as u64;
            // A segment is forced to the disk before the next one begins.
            crate::faults::forced(&path);
            let next = super::segment::segment_path(folder, last + lines - 1);
            std::fs::write(next, b"{\"format\":2,\"ses").unwrap();
        }
    }
}

/// An error says what was tried where and how it failed.
fn assert_typed(error: &StoreError, root: &Path) {
    let root = root.to_str().unwrap();
    let text = error.to_string();
    match error {
        StoreError::Io { action, source, .. } => {
            let errno = source.raw_os_error().map(Errno::from_raw_os_error);
            assert!(matches!(errno, Some(Errno::IO | Errno::NOSPC)), "{text}");
            assert!(text.starts_with(action) && text.contains(root), "{text}");
        }
        // A blob that cannot be read makes its line one that cannot be.
        StoreError::Corrupt { place, reason, .. } => {
            assert!(place.contains("position") || text.contains(root), "{text}");
            assert!(reason.to_string().contains("os error 5"), "{text}");
        }
        _ => panic!("not what a disk does: {error:?}"),
    }
}

/// How a call can fail.
fn ways(call: &Call) -> Vec<Fault> {
    let mut ways = vec![Fault::Error(Errno::IO)];
    match call.word {
        "write" => ways.extend([
            Fault::Short(0, Errno::NOSPC),
            Fault::Short(7, Errno::IO),
            Fault::Short(150, Errno::NOSPC),
        ]),
        "create" | "make folder" | "rename" => ways.push(Fault::Error(Errno::NOSPC)),
        _ => {}
    }
    if !call.only_looks() {
        ways.push(Fault::Death);
    }
    ways
}

/// Lets every call of every scenario of a policy fail in every way.
async fn every_call_fails(policy: SyncPolicy) {
    let (mut scenarios, mut calls_made, mut injected, mut checks) = (0, 0, 0, 0);
    for scenario in Scenario::all(policy) {
        let folder = scratch();
        let faults = Faults::install(folder.path());
        let mut whole = scenario.lab(folder.path());
        whole.run(scenario.steps).await.unwrap();
        let calls = faults.take_calls();
        drop(faults);
        for (at, call) in calls.iter().enumerate() {
            for fault in ways(call) {
                checks += scenario.fail(at, fault, call).await;
                injected += 1;
            }
        }
        (scenarios, calls_made) = (scenarios + 1, calls_made + calls.len());
    }
    assert!(calls_made > 20 * scenarios, "{calls_made}");
    eprintln!(
        "faults of files, {policy:?}: {scenarios} scenarios, {calls_made} calls, {injected} faults, \
         {checks} disks checked"
    );
}

#[tokio::test]
async fn every_call_may_fail_when_effects_are_forced_to_the_disk() {
    every_call_fails(SyncPolicy::Effect).await;
}

#[tokio::test]
async fn every_call_may_fail_when_turns_are_forced_to_the_disk() {
    every_call_fails(SyncPolicy::Turn).await;
}

#[tokio::test]
async fn every_call_may_fail_when_nothing_is_forced_to_the_disk() {
    every_call_fails(SyncPolicy::Never).await;
}

#[tokio::test]
async fn each_policy_syncs_when_it_says_and_at_no_other_time() {
    let names = [
        "turn started",
        "answer",
        "tool started",
        "tool ended",
        "turn ended",
    ];
    let effects = ["tool started", "tool ended"];
    let cases: [(SyncPolicy, EffectClass, &[&str]); 6] = [
        (SyncPolicy::Effect, AtMostOnce, &effects),
        (SyncPolicy::Effect, Idempotent, &[]),
        (SyncPolicy::Effect, Pure, &[]),
        (SyncPolicy::Turn, AtMostOnce, &["turn ended"]),
        (SyncPolicy::Turn, Pure, &["turn ended"]),
        (SyncPolicy::Never, AtMostOnce, &[]),
    ];
    for (sync, class, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let faults = Faults::install(folder.path());
        let store = JsonlStore::new(folder.path()).with_sync(sync);
        let now = DateTime::UNIX_EPOCH;
        let writer = store.create(&id("a"), started(), now).await.unwrap();
        let is_sync = |call: &Call| call.word.starts_with("sync");
        let created = faults.take_calls();
        assert_eq!(created.iter().any(is_sync), sync != SyncPolicy::Never);
        let mut synced = Vec::new();
        for ((seq, name), kind) in (1..).zip(names).zip(turn(class, 1)) {
            let event = Event {
                session: id("a"),
                loop_id: Some(LoopId::numbered(&id("a"), &Configuration::default().id, 1)),
                seq,
                at: DateTime::UNIX_EPOCH,
                kind,
            };
            writer.append_batch(&[event]).await.unwrap();
            let mut calls = faults.take_calls();
            calls.retain(|call| !call.only_looks());
            // One write for each batch, and the sync after it.
            assert_eq!(calls[0].word, "write");
            assert!(calls.len() <= 2, "{calls:?}");
            synced.extend(calls.iter().any(is_sync).then_some(name));
        }
        assert_eq!(synced, expected, "{sync:?} {class:?}");
        writer.sync().await.unwrap();
        let calls = faults.take_calls();
        assert!(calls.iter().any(is_sync), "whoever asks for it gets it");
    }
}
