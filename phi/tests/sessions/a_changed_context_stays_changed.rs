//! What was pruned stays out of what the model reads: in later loops, in forks, and after a resume.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::FutureExt;
use phi::session::{MemoryStore, Store, read_events};
use phi::types::{EventKind, Outcome};

use crate::scene::{LONG, NOTE, first_result, id, opened, prune};

/// A loop behind it, and a second one of which the first result is pruned; it is dropped after so
/// many updates, or ends.
async fn pruned(store: &Arc<dyn Store>, updates: usize) -> bool {
    let (mut session, _) = opened(store, "s").await;
    session.prompt("Look.").unwrap().finish().await;
    let mut run = session.prompt("Look again.").unwrap();
    let handle = run.handle();
    let mut pruning = Box::pin(handle.prune(prune(2)));
    assert_eq!(pruning.as_mut().now_or_never(), None);
    for _ in 0..updates {
        if run.next().await.is_none() {
            return true;
        }
    }
    false
}

/// The positions of a log, and the one at which its result was pruned.
async fn positions(store: &Arc<dyn Store>, name: &str) -> (u64, Option<u64>) {
    let events = read_events(store.as_ref(), &id(name)).await.unwrap();
    let pruned = |kind: &EventKind| matches!(kind, EventKind::ContextPruned(_));
    let at = (1..)
        .zip(&events)
        .find(|(_, event)| pruned(&event.kind))
        .map(|(position, _)| position);
    (events.len() as u64, at)
}

/// Ends what is under way, prompts once more, and says what the model read.
async fn goes_on(store: &Arc<dyn Store>, name: &str) -> String {
    let (mut session, provider) = opened(store, name).await;
    if let Some(run) = session.resume().await.unwrap() {
        assert_eq!(run.finish().await.outcome, Outcome::Completed {});
    }
    let run = session.prompt("And now?").unwrap();
    assert_eq!(run.answer().await.unwrap(), "Seen.");
    drop(session);
    let events = read_events(store.as_ref(), &id(name)).await.unwrap();
    let replayed = phi::replay(&events).map_err(|error| error.to_string());
    assert!(replayed.is_ok(), "{name}: {replayed:?}");
    first_result(&provider.last_request().unwrap().view)
}

#[tokio::test]
async fn a_fork_keeps_what_was_pruned_before_it_and_nothing_of_later() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    assert!(pruned(&store, usize::MAX).await);
    let (len, at) = positions(&store, "s").await;
    let at = at.expect("it was pruned");
    assert!(at < len);
    // Before half of that, the first result was not there yet in each fork.
    for position in at / 2..=len {
        let name = format!("f{position}");
        phi::fork(store.as_ref(), &id("s"), position, &id(&name))
            .await
            .unwrap();
        let expected = if position < at { LONG } else { NOTE };
        assert_eq!(goes_on(&store, &name).await, expected, "at {position}");
    }
}

#[tokio::test]
async fn a_fork_takes_an_overlay_off_for_itself_alone() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    pruned(&store, usize::MAX).await;
    let (len, _) = positions(&store, "s").await;
    phi::fork(store.as_ref(), &id("s"), len, &id("f"))
        .await
        .unwrap();
    let (mut fork, _) = opened(&store, "f").await;
    let overlay = fork.transcript().overlays().last().cloned().unwrap();
    let run = fork.prompt("Show it.").unwrap();
    let handle = run.handle();
    let (restored, outcome) = tokio::join!(handle.restore(overlay), run.finish());
    assert_eq!((restored, outcome.outcome), (Ok(()), Outcome::Completed {}));
    drop(fork);
    assert_eq!(goes_on(&store, "f").await, LONG);
    assert_eq!(goes_on(&store, "s").await, NOTE);
}

#[tokio::test]
async fn a_loop_that_was_cut_off_anywhere_goes_on_with_what_was_pruned() {
    let mut outcomes = BTreeMap::new();
    for updates in 0..1000 {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let ended = pruned(&store, updates).await;
        let (_, at) = positions(&store, "s").await;
        *outcomes.entry(at.is_some()).or_insert(0) += 1;
        let expected = if at.is_some() { NOTE } else { LONG };
        assert_eq!(goes_on(&store, "s").await, expected, "after {updates}");
        if ended {
            break;
        }
    }
    assert_eq!(outcomes.len(), 2, "{outcomes:?}");
}
