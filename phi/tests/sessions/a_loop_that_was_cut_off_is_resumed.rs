//! A loop whose run was dropped or whose process ended is resumed, and nothing is lost or repeated.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use phi::agent_loop::Update;
use phi::session::{MemoryStore, Store, read_events};
use phi::types::{Event, EventKind, FORMAT, Outcome, SessionId, SessionStarted};
use phi::{Agent, SessionError};
use phi_testkit::{Reply, ScriptedProvider, ScriptedTool};

fn id() -> SessionId {
    SessionId::new("s").unwrap()
}

fn agent(store: Option<&Arc<dyn Store>>) -> (Agent, ScriptedTool) {
    let provider = ScriptedProvider::new([
        Reply::text("Looking.").with_call(phi_testkit::ScriptedCall::new("look", "{}")),
        Reply::text("Seen."),
        Reply::text("Again."),
    ]);
    let tool = ScriptedTool::returning("look", "seen");
    let agent = Agent::new(Arc::new(provider), "m").tool(tool.clone());
    let agent = match store {
        Some(store) => agent.store(Arc::clone(store)),
        None => agent,
    };
    (agent, tool)
}

fn kind(update: &Update) -> Option<&EventKind> {
    match update {
        Update::Event(event) => Some(&event.kind),
        Update::Live(_) | Update::HookFailed(_) => None,
    }
}

/// Pulls a run for a while and drops it, wherever it is.
async fn cut_off(session: &mut phi::Session, updates: usize) {
    let mut run = session.prompt("Look.").unwrap();
    for _ in 0..updates {
        run.next().await;
    }
}

async fn goes_on(mut session: phi::Session, at: usize) {
    if session.unfinished().is_some() {
        let refused = session.prompt("More.").unwrap_err();
        assert!(
            matches!(refused, SessionError::Unfinished { .. }),
            "{refused}"
        );
        if let Some(run) = session.resume().await.unwrap() {
            assert_eq!(
                run.finish().await.outcome,
                Outcome::Completed {},
                "cut at {at}"
            );
        }
    }
    assert!(session.resume().await.unwrap().is_none());
    let answer = session.prompt("More.").unwrap().answer().await.unwrap();
    // A run that was never pulled never began, so the script is at its first reply.
    let wanted = if at == 0 { "Seen." } else { "Again." };
    assert_eq!(answer, wanted, "cut at {at}");
}

#[tokio::test]
async fn a_dropped_run_goes_on_in_the_same_session() {
    for at in 0..30 {
        let (agent, _) = agent(None);
        let mut session = agent.session(id()).await.unwrap();
        cut_off(&mut session, at).await;
        goes_on(session, at).await;
    }
}

#[tokio::test]
async fn a_stored_loop_goes_on_in_another_process() {
    for at in 0..30 {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let (first, _) = agent(Some(&store));
        let mut session = first.session(id()).await.unwrap();
        cut_off(&mut session, at).await;
        drop(session);
        let (second, _) = agent(Some(&store));
        goes_on(second.session(id()).await.unwrap(), at).await;
        let events = read_events(store.as_ref(), &id()).await.unwrap();
        let replayed = phi::replay(&events).map_err(|error| error.to_string());
        assert_eq!(replayed, Ok(if at == 0 { 1 } else { 2 }), "cut at {at}");
    }
}

#[tokio::test]
async fn every_first_part_of_a_log_goes_on() {
    let (whole, _) = agent(None);
    let mut session = whole.session(id()).await.unwrap();
    let mut run = session.prompt("Look.").unwrap();
    let mut log: Vec<Event> = Vec::new();
    while let Some(update) = run.next().await {
        if let Update::Event(event) = update {
            log.push(event);
        }
    }
    drop(run);
    for len in 1..=log.len() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let started = SessionStarted {
            format: FORMAT,
            agent: None,
            spawned_by: None,
            forked_from: None,
        };
        let now = DateTime::<Utc>::UNIX_EPOCH;
        let writer = store.create(&id(), started, now).await.unwrap();
        writer.append_batch(&log[..len]).await.unwrap();
        drop(writer);
        let (agent, _) = agent(Some(&store));
        let mut session = agent.session(id()).await.unwrap();
        if let Some(run) = session.resume().await.unwrap() {
            assert_eq!(
                run.finish().await.outcome,
                Outcome::Completed {},
                "after {len} events"
            );
        }
        let answer = session.prompt("More.").unwrap().answer().await;
        assert!(answer.is_ok(), "after {len} events: {answer:?}");
        let events = read_events(store.as_ref(), &id()).await.unwrap();
        let ends = events
            .iter()
            .filter(|it| matches!(it.kind, EventKind::LoopEnded(_)));
        assert_eq!(ends.count(), 2, "after {len} events");
        let replayed = phi::replay(&events).map_err(|error| error.to_string());
        assert_eq!(replayed, Ok(2), "after {len} events");
    }
}

#[tokio::test]
async fn a_call_that_may_run_once_runs_once() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let (agent, tool) = agent(Some(&store));
    let mut session = agent.session(id()).await.unwrap();
    let mut run = session.prompt("Look.").unwrap();
    while let Some(update) = run.next().await {
        if matches!(kind(&update), Some(EventKind::ToolEnded(_))) {
            break;
        }
    }
    drop(run);
    let run = session.resume().await.unwrap().unwrap();
    assert_eq!(run.answer().await.unwrap(), "Seen.");
    assert_eq!(tool.started(), 1);
}
