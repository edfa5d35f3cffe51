//! A session at rest changes what the model reads: it is in the log at once, so it outlives the
//! process, is part of a fork, and the next loop reads it.

use std::sync::Arc;

use futures_util::FutureExt;
use phi::agent_loop::{ContextRefused, Rejected};
use phi::session::{MemoryStore, Status, Store, load, read_events};
use phi::types::{
    Content, Continuation, Entry, EventKind, Outcome, OverlayId, Revert, RevertCategory, Tag,
};
use phi::{Agent, Session, SessionError};
use phi_testkit::{Reply, ScriptedProvider, ScriptedTool};

use crate::scene::{LONG, NOTE, agent, first_result, id, opened, prune};

fn store() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

async fn asks(session: &mut Session, text: &str) {
    let run = session.prompt(text).unwrap();
    assert_eq!(run.answer().await.unwrap(), "Seen.");
}

fn revert(to: u64) -> Revert {
    Revert {
        to: Tag::entry(to),
        category: RevertCategory::DeadEnd,
        summary: "Not there.".into(),
    }
}

fn newest_overlay(session: &Session) -> OverlayId {
    session.transcript().overlays().last().cloned().unwrap()
}

async fn replays(store: &Arc<dyn Store>, name: &str) {
    let events = read_events(store.as_ref(), &id(name)).await.unwrap();
    phi::replay(&events).unwrap();
}

#[tokio::test]
async fn what_was_pruned_at_rest_is_what_the_next_loop_does_not_read() {
    let store = store();
    let (mut session, provider) = opened(&store, "s").await;
    asks(&mut session, "Look.").await;
    session.prune(prune(2)).await.unwrap();
    assert_eq!(first_result(session.transcript().view()), NOTE);
    assert_eq!(first_result(session.transcript().history()), LONG);
    assert_eq!(provider.request_count(), 2, "no model is asked");
    asks(&mut session, "And now?").await;
    assert_eq!(first_result(&provider.last_request().unwrap().view), NOTE);

    // An overlay of an earlier loop comes off as well.
    let overlay = newest_overlay(&session);
    session.restore(overlay.clone()).await.unwrap();
    asks(&mut session, "And now?").await;
    assert_eq!(first_result(&provider.last_request().unwrap().view), LONG);
    let again = session.restore(overlay).await.unwrap_err();
    assert!(
        matches!(again, SessionError::Rejected(Rejected::Context(_))),
        "{again}"
    );
    drop(session);
    replays(&store, "s").await;
}

#[tokio::test]
async fn a_change_at_rest_outlives_the_process() {
    let store = store();
    {
        let (mut session, _) = opened(&store, "s").await;
        asks(&mut session, "Look.").await;
        session.revert(revert(0)).await.unwrap();
    }
    let (mut session, provider) = opened(&store, "s").await;
    assert_eq!(session.unfinished(), None);
    assert_eq!(session.transcript().view().len(), 2);
    asks(&mut session, "And now?").await;
    let asked = provider.requests().remove(0).view;
    assert_eq!(asked.len(), 3, "{asked:?}");
    session.restore(newest_overlay(&session)).await.unwrap();
    let transcript = session.transcript();
    assert!(transcript.view().is_same_path(transcript.history()));
    let recorder = load(store.as_ref(), &id("s")).await.unwrap();
    assert_eq!(recorder.session().status(), Status::Completed);
    let continuations = recorder.session().loops.iter().map(|it| it.continuation());
    assert_eq!(
        continuations.collect::<Vec<_>>(),
        [
            Continuation::Initial,
            Continuation::ContextChange,
            Continuation::Default,
            Continuation::ContextChange,
        ]
    );
}

#[tokio::test]
async fn a_process_that_ends_at_any_event_of_a_change_loses_nothing_acknowledged() {
    let source = store();
    let (mut session, _) = opened(&source, "s").await;
    asks(&mut session, "Look.").await;
    let begins = read_events(source.as_ref(), &id("s")).await.unwrap().len() as u64;
    session.prune(prune(2)).await.unwrap();
    drop(session);
    let events = read_events(source.as_ref(), &id("s")).await.unwrap();
    let len = events.len() as u64;
    assert_eq!(len, begins + 4);
    let at = |event: &phi::types::Event| matches!(event.kind, EventKind::ContextPruned(_));
    let pruned_at = events.iter().position(at).unwrap() as u64 + 1;
    for position in begins..=len {
        // A fork is what a process would find that ended there.
        let name = format!("f{position}");
        phi::fork(source.as_ref(), &id("s"), position, &id(&name))
            .await
            .unwrap();
        let (mut session, provider) = opened(&source, &name).await;
        assert_eq!(session.unfinished(), None, "at {position}");
        asks(&mut session, "And now?").await;
        let expected = if position < pruned_at { LONG } else { NOTE };
        let read = first_result(&provider.last_request().unwrap().view);
        assert_eq!(read, expected, "at {position}");
        // The loop before the change is the one to repeat, whatever came of the change.
        drop(session);
        replays(&source, &name).await;
    }
}

#[tokio::test]
async fn a_fork_takes_a_change_at_rest_along_and_changes_for_itself_alone() {
    let store = store();
    let (mut session, _) = opened(&store, "s").await;
    asks(&mut session, "Look.").await;
    session.prune(prune(2)).await.unwrap();
    let len = read_events(store.as_ref(), &id("s")).await.unwrap().len() as u64;
    phi::fork(store.as_ref(), &id("s"), len, &id("f"))
        .await
        .unwrap();
    let (mut fork, _) = opened(&store, "f").await;
    assert_eq!(first_result(fork.transcript().view()), NOTE);
    fork.restore(newest_overlay(&fork)).await.unwrap();
    assert_eq!(first_result(fork.transcript().view()), LONG);
    drop((session, fork));
    let (session, _) = opened(&store, "s").await;
    assert_eq!(first_result(session.transcript().view()), NOTE);
}

#[tokio::test]
async fn a_rerun_repeats_the_loop_before_the_change_as_it_was() {
    let store = store();
    let (mut session, _) = opened(&store, "s").await;
    asks(&mut session, "Look.").await;
    asks(&mut session, "Look again.").await;
    session.prune(prune(2)).await.unwrap();
    drop(session);
    // So it is in the session that changed it, and in one that was opened again.
    let (mut session, provider) = opened(&store, "s").await;
    for round in 0..2 {
        session.rerun().unwrap().answer().await.unwrap();
        let asked = provider.requests();
        let first = &asked[asked.len() - 2].view;
        assert_eq!(first.len(), 5, "round {round}: {first:?}");
        let last = first.last().cloned();
        let Some(Entry::User(said)) = last else {
            panic!("round {round}: {last:?}")
        };
        assert_eq!(
            said.content,
            [Content::text("Look again.")],
            "round {round}"
        );
        assert_eq!(first_result(first), LONG, "round {round}");
        session.prune(prune(2)).await.unwrap();
    }
    drop(session);
    replays(&store, "s").await;
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_nothing_is_written() {
    let store = store();
    let (mut session, _) = opened(&store, "s").await;
    asks(&mut session, "Look.").await;
    let before = read_events(store.as_ref(), &id("s")).await.unwrap();
    let refused = session.prune(prune(0)).await.unwrap_err();
    let why = ContextRefused::NoResults { tag: Tag::entry(0) };
    assert!(
        matches!(&refused, SessionError::Rejected(Rejected::Context(it)) if *it == why),
        "{refused}"
    );
    assert_eq!(read_events(store.as_ref(), &id("s")).await.unwrap(), before);
    drop(session.prompt("More.").unwrap());
    {
        let mut run = session.prompt("More.").unwrap();
        run.next().await.unwrap();
    }
    let refused = session.prune(prune(2)).await.unwrap_err();
    assert!(
        matches!(refused, SessionError::Unfinished { .. }),
        "{refused}"
    );
    let run = session.resume().await.unwrap().unwrap();
    assert_eq!(run.finish().await.outcome, Outcome::Completed {});
    session.prune(prune(2)).await.unwrap();
}

#[tokio::test]
async fn a_change_that_was_dropped_before_it_began_was_never_made() {
    let store = store();
    let (mut session, _) = opened(&store, "s").await;
    asks(&mut session, "Look.").await;
    let loops = session.loops();
    drop(session.prune(prune(2)));
    assert_eq!(session.loops(), loops);
    assert_eq!(
        session.prune(prune(2)).now_or_never().unwrap().ok(),
        Some(())
    );
    assert_eq!(session.loops(), loops + 1);
}

#[tokio::test]
async fn a_session_without_a_store_changes_its_context_too() {
    let (agent, _) = agent(&store());
    let provider = ScriptedProvider::new([Reply::call("look", "{}"), Reply::text("Seen.")]);
    drop(agent);
    let agent = Agent::new(Arc::new(provider), "m").tool(ScriptedTool::returning("look", LONG));
    let mut session = agent.session(id("s")).await.unwrap();
    asks(&mut session, "Look.").await;
    session.prune(prune(2)).await.unwrap();
    assert_eq!(first_result(session.transcript().view()), NOTE);
}

#[tokio::test]
async fn a_run_that_is_pulled_after_its_end_changes_nothing() {
    let store = store();
    let (mut session, _) = opened(&store, "s").await;
    let mut run = session.prompt("Look.").unwrap();
    while run.next().await.is_some() {}
    assert_eq!(run.next().await, None);
    assert_eq!(run.finish().await.outcome, Outcome::Completed {});
    assert_eq!((session.loops(), session.unfinished()), (1, None));
    let answer = session.rerun().unwrap().answer().await.unwrap();
    assert_eq!((&*answer, session.loops()), ("Seen.", 2));
    assert_eq!(session.transcript().history().len(), 4);
}
