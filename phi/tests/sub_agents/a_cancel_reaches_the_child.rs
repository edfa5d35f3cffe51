//! A cancel of the parent cancels its sub-agents at once, and no log stays open.

use std::sync::Arc;

use phi::Agent;
use phi::session::{JsonlStore, SqliteStore, Store};
use phi::types::{Configuration, Outcome, SessionId, ToolEnding, ToolPolicy};
use phi_testkit::{Reply, ScriptedTool};

use crate::scene::{
    agent, asking, ended, finish, helper, id, memory, outcome, record, until_it_waits, usage,
};

/// A parent, its sub-agent and the sub-agent of that one, which calls a tool that hangs.
fn family(store: &Arc<dyn Store>, hangs: &ScriptedTool) -> Agent {
    let grandchild = agent([Reply::call("hang", "{}").with_usage(usage(3))]).tool(hangs.clone());
    let child =
        agent([asking(&["deeper"]).with_usage(usage(2))]).sub_agent(helper("deeper", grandchild));
    agent([asking(&["deep"]), Reply::text("Done.")])
        .store(Arc::clone(store))
        .sub_agent(helper("deep", child))
}

/// The only child that the first call of a session has.
async fn child_of(store: &dyn Store, session: &SessionId) -> SessionId {
    let parent = record(store, session).await;
    let end = parent.loops[0].turns[0].calls[0].end.clone().unwrap();
    assert_eq!(end.ending, ToolEnding::Cancelled);
    end.child.unwrap()
}

#[tokio::test]
async fn every_log_of_the_tree_ends_as_cancelled_in_every_store() {
    let folder = tempfile::tempdir().unwrap();
    let stores: [Arc<dyn Store>; 3] = [
        memory(),
        Arc::new(JsonlStore::new(folder.path().join("files"))),
        Arc::new(SqliteStore::new(folder.path().join("database"))),
    ];
    for store in stores {
        let hangs = ScriptedTool::hanging("hang");
        let parent = family(&store, &hangs);
        let mut session = parent.session(id("s")).await.unwrap();
        let mut run = session.prompt("Do it.").unwrap();
        until_it_waits(&mut run).await;
        assert_eq!((hangs.started(), hangs.dropped()), (1, 0));
        run.handle().cancel();
        run.next().await;
        assert_eq!(hangs.dropped(), 1, "at once, at any depth");
        assert_eq!(run.finish().await.outcome, Outcome::Cancelled {});
        drop(session);

        let child = child_of(store.as_ref(), &id("s")).await;
        let grandchild = child_of(store.as_ref(), &child).await;
        for session in [&id("s"), &child, &grandchild] {
            let record = record(store.as_ref(), session).await;
            assert_eq!(outcome(&record), &Outcome::Cancelled {}, "{session}");
        }
        // Nobody holds their locks any more.
        for session in [&child, &grandchild] {
            store.delete(session).await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_out_of_time_ends_its_child_and_the_parent_goes_on() {
    let store = memory();
    let hangs = ScriptedTool::hanging("hang");
    let parent = family(&store, &hangs).configuration(Configuration {
        tools: ToolPolicy {
            timeout_ms: Some(1_000),
            ..ToolPolicy::default()
        },
        ..Configuration::default()
    });
    let (updates, finished) = finish(&parent).await;
    assert_eq!(finished.outcome, Outcome::Completed {});
    let ended = ended(&updates);
    assert_eq!(ended[0].ending, ToolEnding::TimedOut);
    assert_eq!(
        ended[0].spent().usage.input_tokens,
        Some(2),
        "what was known"
    );
    assert_eq!(hangs.dropped(), 1);
    let child = ended[0].child.clone().unwrap();
    let grandchild = child_of(store.as_ref(), &child).await;
    for session in [&child, &grandchild] {
        let record = record(store.as_ref(), session).await;
        assert_eq!(outcome(&record), &Outcome::Cancelled {});
    }
}

#[tokio::test]
async fn a_child_whose_model_hangs_is_cancelled_too() {
    let store = memory();
    let child = agent([Reply::text("I think that").hanging_after(2)]);
    let parent = agent([asking(&["look_up", "look_up"])])
        .store(Arc::clone(&store))
        .sub_agent(helper("look_up", child));
    let mut session = parent.session(id("s")).await.unwrap();
    let mut run = session.prompt("Do it.").unwrap();
    until_it_waits(&mut run).await;
    run.handle().cancel();
    assert_eq!(run.finish().await.outcome, Outcome::Cancelled {});
    let parents = record(store.as_ref(), &id("s")).await;
    for call in &parents.loops[0].turns[0].calls {
        let child = call.end.as_ref().unwrap().child.clone().unwrap();
        let child = record(store.as_ref(), &child).await;
        assert_eq!(outcome(&child), &Outcome::Cancelled {});
    }
}
