//! Continuations: a loop is repeated from the conversation before it, or begins with a compaction.

use std::sync::Arc;

use phi::agent_loop::{DropMiddle, Scope};
use phi::session::{MemoryStore, Store, load, read_events};
use phi::types::{Continuation, Entry, EventKind, LoopId, SessionId};
use phi::{Agent, SessionError, replay};
use phi_testkit::{Reply, ScriptedProvider};

fn id() -> SessionId {
    SessionId::new("s").unwrap()
}

fn agent(replies: &[&str], store: &Arc<dyn Store>) -> (Agent, ScriptedProvider) {
    let provider = ScriptedProvider::new(replies.iter().map(|text| Reply::text(*text)));
    let agent = Agent::new(Arc::new(provider.clone()), "m");
    (agent.store(Arc::clone(store)), provider)
}

fn store() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

/// Every loop that began: in which way, and after which one.
async fn continuations(store: &Arc<dyn Store>) -> Vec<(Continuation, Option<LoopId>)> {
    let events = read_events(store.as_ref(), &id()).await.unwrap();
    let started = events.iter().filter_map(|event| match &event.kind {
        EventKind::LoopStarted(started) => Some((started.continuation, started.parent.clone())),
        _ => None,
    });
    started.collect()
}

fn said(session: &phi::Session) -> Vec<String> {
    let entries = session.transcript().view().entries().into_iter();
    let texts = entries.map(|entry| match entry {
        Entry::User(message) => format!("{:?}", message.content),
        Entry::Assistant(message) => message.text(),
        Entry::Results(_) | Entry::Extension(_) => String::new(),
    });
    texts.collect()
}

#[tokio::test]
async fn a_rerun_repeats_the_prompt_on_the_conversation_before_it() {
    let store = store();
    let (agent, provider) = agent(&["One.", "Two.", "Three."], &store);
    let mut session = agent.session(id()).await.unwrap();
    for prompt in ["First", "Second"] {
        session.prompt(prompt).unwrap().answer().await.unwrap();
    }
    let before = provider.last_request().unwrap().view;
    let answer = session.rerun().unwrap().answer().await.unwrap();
    assert_eq!((&*answer, provider.request_count()), ("Two.", 3));
    assert_eq!(provider.last_request().unwrap().view, before);
    session.prompt("Third").unwrap().answer().await.unwrap();
    let said = said(&session);
    assert_eq!(said.len(), 6);
    assert_eq!(
        (&*said[1], &*said[3], &*said[5]),
        ("One.", "Two.", "Three.")
    );

    let continuations = continuations(&store).await;
    let named = |n: u32| LoopId::new(&format!("s.default.{n}")).unwrap();
    assert_eq!(
        continuations,
        [
            (Continuation::Initial, None),
            (Continuation::Default, Some(named(1))),
            (Continuation::Rerun, Some(named(1))),
            (Continuation::Default, Some(named(3))),
        ]
    );
    let events = read_events(store.as_ref(), &id()).await.unwrap();
    assert_eq!(replay(&events), Ok(4));
}

#[tokio::test]
async fn a_rerun_works_in_a_session_that_was_opened_again_and_after_the_first_loop() {
    let store = store();
    {
        let (agent, _) = agent(&["One."], &store);
        let mut session = agent.session(id()).await.unwrap();
        session.prompt("First").unwrap().answer().await.unwrap();
    }
    let (agent, provider) = agent(&["One."], &store);
    let mut session = agent.session(id()).await.unwrap();
    let answer = session.rerun().unwrap().answer().await.unwrap();
    assert_eq!((&*answer, provider.request_count()), ("One.", 1));
    assert_eq!(provider.last_request().unwrap().view.len(), 1);
    let recorder = load(store.as_ref(), &id()).await.unwrap();
    assert_eq!(recorder.session().loops.len(), 2);
}

#[tokio::test]
async fn a_rerun_that_is_never_pulled_changes_nothing_and_one_that_is_cut_off_is_resumed() {
    let store = store();
    let (agent, _) = agent(&["One.", "Two."], &store);
    let mut session = agent.session(id()).await.unwrap();
    assert!(matches!(
        session.rerun(),
        Err(SessionError::NothingToRepeat { .. })
    ));
    for prompt in ["First", "Second"] {
        session.prompt(prompt).unwrap().answer().await.unwrap();
    }
    drop(session.rerun().unwrap());
    assert_eq!(said(&session).len(), 4);
    {
        let mut run = session.rerun().unwrap();
        run.next().await.unwrap();
    }
    assert!(matches!(
        session.rerun(),
        Err(SessionError::Unfinished { .. })
    ));
    let resumed = session.resume().await.unwrap().expect("it was cut off");
    assert_eq!(resumed.answer().await.unwrap(), "Two.");
    assert_eq!(said(&session).len(), 4);
    assert_eq!(session.loops(), 3);
}

#[tokio::test]
async fn a_loop_may_begin_with_a_compaction_however_small_the_conversation_is() {
    let store = store();
    let (agent, provider) = agent(&["One.", "Two.", "Three.", "Four."], &store);
    let agent = agent.compactor(DropMiddle::new(Scope::new()));
    let mut session = agent.session(id()).await.unwrap();
    for prompt in ["First", "Second", "Third"] {
        session.prompt(prompt).unwrap().answer().await.unwrap();
    }
    let run = session.prompt_compacted("Fourth").unwrap();
    run.answer().await.unwrap();
    assert!(provider.last_request().unwrap().view.len() < 7);
    let events = read_events(store.as_ref(), &id()).await.unwrap();
    let compactions = events
        .iter()
        .filter(|event| matches!(event.kind, EventKind::CompactionStarted(_)));
    assert_eq!(compactions.count(), 1);
    assert_eq!(
        continuations(&store).await.last().unwrap().0,
        Continuation::Compaction
    );
}
