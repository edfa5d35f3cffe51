//! A caller may give up a conversation that nobody goes on with; phi never does so on its own.

use std::sync::Arc;
use std::time::Duration;

use crate::scene::{Script, at, started};
use phi_session::{Inactivity, MemoryStore, SessionFilter, Store, Tasks};
use phi_types::{Continuation, Event, Outcome, SessionId, SessionStarted, Usage};

fn id(name: &str) -> SessionId {
    SessionId::new(name).unwrap()
}

/// Begins a session at its first second with a loop that runs or has ended.
async fn begin(store: &MemoryStore, name: &str, end: Option<Outcome>) {
    let mut script = Script::new();
    script.start(1, None, Continuation::Initial);
    if let Some(outcome) = end {
        script.end(1, outcome, Usage::default());
    }
    let of = |event: Event| Event {
        session: id(name),
        ..event
    };
    let writer = store.create(&id(name), started(), at(0)).await.unwrap();
    let events: Vec<Event> = script.events.into_iter().skip(1).map(of).collect();
    writer.append_batch(&events).await.unwrap();
}

#[tokio::test]
async fn the_newest_session_goes_on_until_it_was_idle_for_too_long() {
    let store = MemoryStore::new();
    let policy = Inactivity {
        max: Duration::from_secs(60),
    };
    let all = SessionFilter::default();
    let current = async |now| policy.current(&store, &all, at(now)).await.unwrap();
    assert_eq!(current(0).await, None);

    begin(&store, "old", Some(Outcome::Completed {})).await;
    assert_eq!(current(2).await, Some(id("old")));
    // Its newest event is of second 2; what a clock that went back says is not idle.
    assert_eq!(current(62).await, Some(id("old")));
    assert_eq!(current(63).await, None);
    assert_eq!(current(0).await, Some(id("old")));

    // Asking changes nothing.
    assert_eq!(store.list(&all).await.unwrap().len(), 1);
    assert_eq!(store.summary(&id("old")).await.unwrap().ended_at, None);

    // A loop that runs, or waits for its resume, is never given up.
    begin(&store, "runs", None).await;
    assert_eq!(current(1_000_000).await, Some(id("runs")));

    // What ended on purpose does not go on, however new it is.
    let tasks = Tasks::new(Arc::new(store.clone()), Arc::new(()));
    let started = SessionStarted {
        agent: Some("other".into()),
        ..started()
    };
    let opened = tasks.open(&id("ended"), started, at(3)).await.unwrap();
    opened.end(at(70)).await.unwrap();
    assert_eq!(current(71).await, Some(id("runs")));
    let other = SessionFilter {
        agent: Some("other".into()),
        ..SessionFilter::default()
    };
    assert_eq!(policy.current(&store, &other, at(71)).await.unwrap(), None);
}

#[test]
fn a_policy_without_an_end_gives_nothing_up() {
    let mut summary = phi_session::Session::new(id("s")).summary();
    let policy = Inactivity { max: Duration::MAX };
    assert!(!policy.is_due(&summary, at(0)), "a session without events");
    summary.updated_at = Some(at(0));
    assert!(!policy.is_due(&summary, chrono::DateTime::<chrono::Utc>::MAX_UTC));
    let policy = Inactivity {
        max: Duration::ZERO,
    };
    assert!(!policy.is_due(&summary, at(0)));
    assert!(policy.is_due(&summary, at(1)));
}
