//! A resume through the driver: questions go on waiting, calls that must not run twice are reported,
//! the others run again, and a fork settles what was open where it begins.

use std::sync::Arc;

use async_trait::async_trait;
use phi::Agent;
use phi::agent_loop::{HookContext, HookError, Hooks, ToolDecision, Update};
use phi::session::{MemoryStore, Store, read_events};
use phi::types::{
    Approval, EffectClass, EffectId, Event, EventKind, Outcome, Point, SessionId, ToolCall,
    ToolEnding,
};
use phi_testkit::{Reply, ScriptedCall, ScriptedProvider, ScriptedTool};

fn id(name: &str) -> SessionId {
    SessionId::new(name).unwrap()
}

fn provider() -> Arc<ScriptedProvider> {
    Arc::new(ScriptedProvider::new([
        Reply::text("I do it.").with_call(ScriptedCall::new("do", "{}")),
        Reply::text("Done."),
    ]))
}

/// Asks before every call.
struct Asking;

#[async_trait]
impl Hooks for Asking {
    fn points(&self) -> Vec<Point> {
        vec![Point::BeforeTool]
    }

    async fn before_tool(
        &self,
        _context: &HookContext,
        _call: &ToolCall,
    ) -> Result<ToolDecision, HookError> {
        Ok(ToolDecision::Ask {
            question: "May it run?".to_owned(),
            arguments: None,
        })
    }
}

/// Pulls a run until an event of a kind, and drops it; returns that event.
async fn until(session: &mut phi::Session, is_it: impl Fn(&EventKind) -> bool) -> Event {
    let mut run = session.prompt("Do it.").unwrap();
    loop {
        match run.next().await.unwrap() {
            Update::Event(event) if is_it(&event.kind) => return event,
            Update::Event(_) | Update::Live(_) | Update::HookFailed(_) => {}
        }
    }
}

async fn ending(store: &dyn Store, session: &SessionId) -> Option<ToolEnding> {
    let events = read_events(store, session).await.unwrap();
    events.iter().find_map(|event| match &event.kind {
        EventKind::ToolEnded(ended) => Some(ended.ending),
        _ => None,
    })
}

#[tokio::test]
async fn a_question_that_nobody_answered_waits_on_under_its_name() {
    for approval in [
        Approval::Approved {},
        Approval::Denied {
            reason: "no".to_owned(),
        },
    ] {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let tool = ScriptedTool::returning("do", "done");
        let agent = || {
            let agent = Agent::new(provider(), "m").hooks(Asking);
            agent.tool(tool.clone()).store(Arc::clone(&store))
        };
        let mut session = agent().session(id("s")).await.unwrap();
        let asked = until(&mut session, |kind| {
            matches!(kind, EventKind::ApprovalRequested(_))
        })
        .await;
        drop(session);
        let mut session = agent().session(id("s")).await.unwrap();
        let mut run = session.resume().await.unwrap().unwrap();
        let effect = EffectId {
            loop_id: asked.loop_id.clone().unwrap(),
            seq: asked.seq,
        };
        let is_allowed = approval == Approval::Approved {};
        run.approve(effect, approval).unwrap();
        assert_eq!(run.finish().await.outcome, Outcome::Completed {});
        assert_eq!(tool.started(), usize::from(is_allowed));
        drop(session);
        let events = read_events(store.as_ref(), &id("s")).await.unwrap();
        let questions = events
            .iter()
            .filter(|it| matches!(it.kind, EventKind::ApprovalRequested(_)));
        assert_eq!(questions.count(), 1, "it is not asked a second time");
        assert_eq!(
            phi::replay(&events).map_err(|error| error.to_string()),
            Ok(1)
        );
    }
}

#[tokio::test]
async fn an_open_call_is_settled_by_its_class_in_the_session_and_in_a_fork() {
    for (class, expected, runs) in [
        (EffectClass::AtMostOnce, ToolEnding::Interrupted, 0),
        (EffectClass::Idempotent, ToolEnding::Finished, 1),
        (EffectClass::Pure, ToolEnding::Finished, 1),
    ] {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let agent = |tool: ScriptedTool| {
            let agent = Agent::new(provider(), "m").store(Arc::clone(&store));
            agent.tool(tool.with_effect_class(class))
        };
        let hanging = ScriptedTool::hanging("do");
        let mut session = agent(hanging).session(id("s")).await.unwrap();
        until(&mut session, |kind| {
            matches!(kind, EventKind::ToolStarted(_))
        })
        .await;
        drop(session);
        let events = read_events(store.as_ref(), &id("s")).await.unwrap();
        let position = events.len() as u64;
        phi::fork(store.as_ref(), &id("s"), position, &id("f"))
            .await
            .unwrap();
        for name in ["f", "s"] {
            let tool = ScriptedTool::returning("do", "done");
            let mut session = agent(tool.clone()).session(id(name)).await.unwrap();
            let run = session.resume().await.unwrap().unwrap();
            assert_eq!(run.answer().await.unwrap(), "Done.", "{class:?} in {name}");
            assert_eq!(tool.started(), runs, "{class:?} in {name}");
            drop(session);
            assert_eq!(ending(store.as_ref(), &id(name)).await, Some(expected));
            let events = read_events(store.as_ref(), &id(name)).await.unwrap();
            assert_eq!(
                phi::replay(&events).map_err(|error| error.to_string()),
                Ok(1)
            );
            assert!(store.verify(&id(name)).await.unwrap().is_sound());
        }
    }
}
