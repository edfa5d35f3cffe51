//! The database fails at any instruction of any statement, and is full at any page: what was acknowledged stays.
//!
//! The faults are those of the engine itself: an interrupt between two of its instructions, and a
//! limit on its pages. Its calls on files are its own and are not failed here.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use phi_types::EffectClass;
use rusqlite::Connection;

use crate::laws::After;
use crate::scenarios::{Lab, Step};
use crate::{SqliteStore, StoreError, SyncPolicy};

use EffectClass::{AtMostOnce, Pure};
use Step::{
    Batch, Close, Create, Delete, DeleteParent, Fact, Fork, Import, List, Open, Read, Sync, Turn,
    Verify,
};

/// When the engine is interrupted, counted in its instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interrupt {
    Never,
    Once(u64),
    From(u64),
}

thread_local! {
    static INSTRUCTIONS: Cell<u64> = const { Cell::new(0) };
    static INTERRUPT: Cell<Interrupt> = const { Cell::new(Interrupt::Never) };
    static PAGES_MAX: Cell<Option<u32>> = const { Cell::new(None) };
}

fn is_interrupted() -> bool {
    if crate::faults::is_paused() {
        return false;
    }
    let now = INSTRUCTIONS.get();
    INSTRUCTIONS.set(now + 1);
    match INTERRUPT.get() {
        Interrupt::Never => false,
        Interrupt::Once(at) => now == at,
        Interrupt::From(at) => now >= at,
    }
}

/// Lets the faults of this thread befall a connection.
pub(super) fn watch(connection: &Connection) {
    connection.progress_handler(1, Some(is_interrupted));
    if let Some(pages) = PAGES_MAX.get() {
        let limited = connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()));
        limited.unwrap();
    }
}

/// What is done to a store.
const PROGRAMS: [&[Step]; 14] = [
    &[Create("a"), Fact("a", 9), Fact("a", 90)],
    &[
        Create("a"),
        Fact("a", 9),
        Close("a"),
        Open("a"),
        Fact("a", 9),
    ],
    &[Create("a"), Fact("a", 400), Fact("a", 400), Fact("a", 401)],
    &[Create("a"), Turn("a", AtMostOnce), Turn("a", AtMostOnce)],
    &[Create("a"), Batch("a", 1), Batch("a", 12), Turn("a", Pure)],
    &[
        Create("a"),
        Fact("a", 400),
        Sync("a"),
        Batch("a", 2),
        Sync("a"),
    ],
    &[
        Create("a"),
        Fact("a", 400),
        Fork("a", 2, "b"),
        Turn("b", AtMostOnce),
        Fact("a", 9),
    ],
    &[
        Create("a"),
        Batch("a", 2),
        Fork("a", 3, "b"),
        Fact("b", 9),
        Fork("b", 5, "c"),
        Fact("c", 9),
    ],
    &[Create("a"), Fact("a", 400), Batch("a", 4), Import("a")],
    &[
        Create("a"),
        Fork("a", 1, "b"),
        Fact("b", 400),
        Import("a"),
        Import("b"),
    ],
    &[
        Create("a"),
        Fact("a", 400),
        Close("a"),
        Delete("a"),
        Create("a"),
        Fact("a", 9),
    ],
    &[
        Create("a"),
        Fork("a", 1, "b"),
        Close("a"),
        DeleteParent("a"),
        Read("b"),
    ],
    &[
        Create("a"),
        Turn("a", Pure),
        List,
        Fork("a", 4, "b"),
        List,
        Fact("b", 9),
        List,
    ],
    &[
        Create("a"),
        Fact("a", 400),
        Batch("a", 5),
        Read("a"),
        Verify("a"),
        Fact("a", 9),
        Read("a"),
    ],
];

/// How many places of one program are interrupted.
const PLACES: u64 = 24;

fn store(root: &Path, name: &str, policy: SyncPolicy) -> SqliteStore {
    let store = SqliteStore::new(root.join(name)).with_sync(policy);
    store.with_blob_bytes_min(300)
}

/// Runs a program with what is planned for this thread, and checks what is left.
async fn run(steps: &[Step], policy: SyncPolicy) -> (Result<(), StoreError>, u64) {
    let folder = crate::faults::scratch();
    let stores = || {
        let name = |name| Arc::new(store(folder.path(), name, policy));
        (name("store"), name("other"))
    };
    let (first, second) = stores();
    let mut lab = Lab::new(first, second, policy, |_, _| {});
    let done = lab.run(steps).await;
    let instructions = INSTRUCTIONS.get();
    INTERRUPT.set(Interrupt::Never);
    PAGES_MAX.set(None);
    let (first, second) = stores();
    lab.check(first.as_ref(), second.as_ref(), After::Fault)
        .await;
    (done, instructions)
}

#[tokio::test]
async fn a_database_may_fail_at_any_instruction() {
    let (mut scenarios, mut injected, mut instructions) = (0, 0, 0);
    for policy in [SyncPolicy::Effect, SyncPolicy::Never] {
        for (number, steps) in PROGRAMS.into_iter().enumerate() {
            INSTRUCTIONS.set(0);
            let (done, count) = run(steps, policy).await;
            done.unwrap();
            (scenarios, instructions) = (scenarios + 1, instructions + count);
            for place in 0..PLACES {
                let at = (count * place / PLACES + number as u64).min(count - 1);
                for interrupt in [Interrupt::Once(at), Interrupt::From(at)] {
                    INSTRUCTIONS.set(0);
                    INTERRUPT.set(interrupt);
                    let text = format!("{policy:?} {steps:?} {interrupt:?}");
                    match run(steps, policy).await.0 {
                        Err(error @ StoreError::Backend { .. }) => {
                            assert!(error.to_string().contains("interrupted"), "{text}: {error}");
                            injected += 1;
                        }
                        Err(error) => panic!("{text}: {error}"),
                        // What is kept for lists may be lost at any time, and a reader that has
                        // events to return tries again what failed after them.
                        Ok(()) => {
                            let reads = text.contains("Read") || text.contains("Fork");
                            let is_again = interrupt == Interrupt::Once(at) && reads;
                            assert!(is_again || text.contains("List"), "{text}: swallowed");
                        }
                    }
                }
            }
        }
    }
    assert!(injected > 40 * scenarios, "{injected}");
    eprintln!(
        "faults of a database: {scenarios} scenarios, {instructions} instructions, {injected} \
         interrupts that failed a call"
    );
}

#[tokio::test]
async fn a_database_may_be_full_at_any_page() {
    let steps = &[
        Create("a"),
        Fact("a", 5_000),
        Batch("a", 30),
        Turn("a", AtMostOnce),
        Fork("a", 3, "b"),
        Fact("b", 9_000),
        Import("a"),
        Fact("a", 3_000),
        Sync("a"),
    ];
    let mut full = 0;
    for policy in [SyncPolicy::Effect, SyncPolicy::Turn, SyncPolicy::Never] {
        for pages in 1..40 {
            PAGES_MAX.set(Some(pages));
            if let Err(error) = run(steps, policy).await.0 {
                assert!(
                    error.to_string().contains("is full"),
                    "{pages} pages: {error}"
                );
                full += 1;
            }
        }
    }
    assert!((30..110).contains(&full), "{full}");
    eprintln!("faults of a database: full in {full} of 117 runs");
}
