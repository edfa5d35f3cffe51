//! A parent that was cut off finds its sub-agents again and goes on with them, wherever that was.

use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use phi::Agent;
use phi::session::{Store, read_events};
use phi::types::{EventKind, FORMAT, Outcome, SessionId, SessionStarted};
use phi_testkit::{Reply, ScriptedProvider, ScriptedTool, TokioTimer};

use crate::scene::{agent, asking, helper, id, memory, outcome, record, usage};

fn family(store: &Arc<dyn Store>, once: &ScriptedTool) -> Agent {
    // With a pause before each increment the parent's run may be cut anywhere in the child's work.
    let pause = Duration::from_millis(1);
    let replies = [
        Reply::call("once", "{}").with_usage(usage(7)),
        Reply::text("It is blue all over.").with_usage(usage(7)),
    ];
    let replies = replies.map(|reply| reply.with_pause(pause));
    let provider = ScriptedProvider::new(replies).with_timer(TokioTimer);
    let child = Agent::new(Arc::new(provider), "m").tool(once.clone());
    agent([
        asking(&["look_up"]).with_usage(usage(1)),
        Reply::text("Blue.").with_usage(usage(1)),
    ])
    .store(Arc::clone(store))
    .sub_agent(helper("look_up", child))
}

/// Runs until so many updates were seen, as if the process ended there, and then goes on with a new
/// agent. Returns whether the run was cut off before its end, and whether its child was in its work.
async fn cut_after(updates: usize) -> (bool, bool) {
    let store = memory();
    let once = ScriptedTool::returning("once", "seen");
    let parent = family(&store, &once);
    let mut session = parent.session(id("s")).await.unwrap();
    let mut run = session.prompt("Do it.").unwrap();
    let mut was_cut = true;
    for _ in 0..updates {
        was_cut = run.next().await.is_some();
    }
    drop(run);
    drop(session);

    let parent = family(&store, &once);
    let mut session = parent.session(id("s")).await.unwrap();
    let finished = if session.loops() == 0 {
        session.prompt("Do it.").unwrap().finish().await
    } else {
        match session.resume().await.unwrap() {
            Some(run) => run.finish().await,
            None => return (was_cut, false),
        }
    };
    assert_eq!(
        finished.outcome,
        Outcome::Completed {},
        "cut after {updates}"
    );
    let parents = record(store.as_ref(), &id("s")).await;
    let ends = parents.loops[0].turns.iter().flat_map(|turn| &turn.calls);
    let children: Vec<SessionId> = ends.filter_map(|call| call.end.clone()?.child).collect();
    assert_eq!(children.len(), 1, "cut after {updates}");
    let child = record(store.as_ref(), &children[0]).await;
    assert_eq!(outcome(&child), &Outcome::Completed {});
    assert_eq!(child.loops.len(), 1, "it went on, and did not begin again");
    let all = store.list(&phi::session::SessionFilter::default()).await;
    assert_eq!(all.unwrap().len(), 2, "cut after {updates}");
    assert_eq!(
        parents.usage().input_tokens,
        Some(1 + child.usage().input_tokens.unwrap() + 1)
    );
    let events = read_events(store.as_ref(), &children[0]).await.unwrap();
    let was_resumed = events
        .iter()
        .any(|event| matches!(event.kind, EventKind::Recovered(_)));
    (was_cut, was_resumed)
}

#[tokio::test(start_paused = true)]
async fn a_cut_anywhere_leaves_one_child_which_goes_on() {
    let (mut updates, mut resumed) = (0, 0);
    loop {
        let (was_cut, was_resumed) = cut_after(updates).await;
        resumed += u32::from(was_resumed);
        if !was_cut {
            break;
        }
        updates += 1;
        assert!(updates < 200, "the run does not end");
    }
    assert!(updates > 20, "{updates} cuts");
    assert!(resumed > 3, "{resumed} children were resumed");
}

#[tokio::test(start_paused = true)]
async fn a_child_that_had_finished_is_read_and_not_run_again() {
    let store = memory();
    let once = ScriptedTool::returning("once", "seen");
    let parent = family(&store, &once);
    let mut session = parent.session(id("s")).await.unwrap();
    let mut run = session.prompt("Do it.").unwrap();
    while let Some(update) = run.next().await {
        if let phi::agent_loop::Update::Event(event) = update
            && matches!(event.kind, EventKind::ToolStarted(_))
        {
            break;
        }
    }
    drop(run);
    drop(session);
    // The child is brought to its end alone, as a crash of the parent right after it would leave it.
    let listed = store.list(&phi::session::SessionFilter::default()).await;
    let mut sessions = listed.unwrap().into_iter().map(|it| it.session);
    let child = sessions.find(|it| *it != id("s")).unwrap();
    let alone = agent([Reply::call("once", "{}"), Reply::text("It is green.")])
        .store(Arc::clone(&store))
        .tool(once.clone());
    let mut session = alone.session(child.clone()).await.unwrap();
    if let Some(run) = session.resume().await.unwrap() {
        run.finish().await;
    }
    drop(session);
    let before = read_events(store.as_ref(), &child).await.unwrap().len();

    let parent = family(&store, &once);
    let mut session = parent.session(id("s")).await.unwrap();
    let run = session.resume().await.unwrap().unwrap();
    assert_eq!(run.answer().await.unwrap(), "Blue.");
    let parents = record(store.as_ref(), &id("s")).await;
    let end = parents.loops[0].turns[0].calls[0].end.clone().unwrap();
    let said = serde_json::to_string(&end.result.content).unwrap();
    assert!(said.contains("It is "), "{said}");
    let after = read_events(store.as_ref(), &child).await.unwrap().len();
    assert_eq!(before, after, "nothing was added");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_somebody_else_has_made_is_left_alone() {
    let store = memory();
    let once = ScriptedTool::returning("once", "seen");
    // The name that the child will have is found by letting it run elsewhere.
    let elsewhere = memory();
    let mut session = family(&elsewhere, &once).session(id("s")).await.unwrap();
    session.prompt("Do it.").unwrap().finish().await;
    let parents = record(elsewhere.as_ref(), &id("s")).await;
    let end = parents.loops[0].turns[0].calls[0].end.clone().unwrap();
    let child = end.child.unwrap();
    let started = SessionStarted {
        format: FORMAT,
        agent: None,
        spawned_by: None,
        forked_from: None,
    };
    let at = DateTime::from_timestamp(0, 0).unwrap();
    drop(store.create(&child, started, at).await.unwrap());

    let mut session = family(&store, &once).session(id("s")).await.unwrap();
    let finished = session.prompt("Do it.").unwrap().finish().await;
    assert_eq!(finished.outcome, Outcome::Completed {});
    let parents = record(store.as_ref(), &id("s")).await;
    let end = parents.loops[0].turns[0].calls[0].end.clone().unwrap();
    assert!(end.result.is_error);
    let said = serde_json::to_string(&end.result.content).unwrap();
    assert!(said.contains("another call"), "{said}");
    assert_eq!(read_events(store.as_ref(), &child).await.unwrap().len(), 1);
}
