//! A handle steers, stops, cancels and approves from elsewhere; a message is journaled or comes back.

use std::sync::Arc;

use futures_util::{FutureExt, future::join};
use phi_loop::{Driver, HookContext, HookError, Hooks, Rejected, Run, ToolDecision, Undelivered};
use phi_testkit::{Gate, MemoryJournal, Reply, ScriptedTool};
use phi_types::{
    Approval, EffectId, Event, EventKind, Outcome, Point, ToolCall, ToolEnding, UserMessage,
};

use crate::facts::{
    all, calling, done, driver, endings, events, finished, plain, provider, until_it_waits,
};
use crate::support::queue_id;

fn queued(events: &[Event]) -> usize {
    let queued = events.iter();
    queued
        .filter(|it| matches!(it.kind, EventKind::MessageQueued(_)))
        .count()
}

#[tokio::test]
async fn a_message_resolves_when_it_is_journaled_and_a_repeat_is_accepted_once() {
    let gate = Gate::new();
    let provider = provider([Reply::text("one two").gated_after(1, &gate), done()]);
    let journal = MemoryJournal::new();
    let mut run = plain(&driver(&provider, &[]).journal(Arc::new(journal.clone())));
    let handle = run.handle();
    until_it_waits(&mut run);
    let mut steer = Box::pin(handle.steer(queue_id("a"), "Hurry."));
    assert_eq!(steer.as_mut().now_or_never(), None);
    assert_eq!(
        queued(&journal.events()),
        0,
        "an unpulled run takes nothing"
    );
    let speaking = async {
        steer.await.unwrap();
        assert_eq!(queued(&journal.events()), 1);
        handle.steer(queue_id("a"), "Hurry.").await.unwrap();
        assert_eq!(queued(&journal.events()), 1);
        handle.follow_up(queue_id("b"), "Then this.").await.unwrap();
        assert_eq!(queued(&journal.events()), 2);
        gate.open();
    };
    let (updates, ()) = join(all(&mut run), speaking).await;
    assert_eq!(queued(&events(&updates)), 2);
    // The script has no third reply: the follow-up was sent and asked for it.
    assert_eq!(provider.request_count(), 3);
}

#[tokio::test]
async fn a_message_for_an_ended_or_dropped_run_comes_back() {
    let back = |undelivered: Undelivered| {
        assert_eq!(undelivered.reason, Rejected::Ended);
        assert_eq!(*undelivered.message, UserMessage::text("Late."));
    };
    let mut run = plain(&driver(&provider([done()]), &[]));
    let handle = run.handle();
    all(&mut run).await;
    back(handle.steer(queue_id("a"), "Late.").await.unwrap_err());
    back(handle.follow_up(queue_id("b"), "Late.").await.unwrap_err());
    assert_eq!(handle.stop("late").await, Err(Rejected::Ended));
    handle.cancel();
    assert_eq!(finished(&run).outcome, Outcome::Completed {});
    drop(run);
    back(handle.follow_up(queue_id("c"), "Late.").await.unwrap_err());

    let run = plain(&driver(&provider([done()]), &[]));
    let handle = run.handle();
    let steer = handle.steer(queue_id("a"), "Late.");
    let mut steer = Box::pin(steer);
    assert_eq!(steer.as_mut().now_or_never(), None);
    drop(run);
    back(steer.await.unwrap_err());
}

#[tokio::test]
async fn a_message_that_the_journal_does_not_take_comes_back() {
    let gate = Gate::new();
    let provider = provider([Reply::text("one two").gated_after(1, &gate)]);
    let journal = MemoryJournal::failing_at(2);
    let mut run = plain(&driver(&provider, &[]).journal(Arc::new(journal)));
    let handle = run.handle();
    until_it_waits(&mut run);
    let speaking = handle.steer(queue_id("a"), "Hurry.");
    let (_, answer) = join(all(&mut run), speaking).await;
    assert_eq!(answer.unwrap_err().reason, Rejected::Ended);
}

#[tokio::test]
async fn a_cancel_at_any_moment_ends_the_loop_in_order() {
    let started = || {
        let provider = provider([calling(&["look", "look"]).with_text("So."), done()]);
        plain(&driver(
            &provider,
            &[&ScriptedTool::returning("look", "seen")],
        ))
    };
    let whole = all(&mut started()).await.len();
    for pulls in 0..=whole {
        let mut run = started();
        for _ in 0..pulls {
            run.next().await;
        }
        run.handle().cancel();
        all(&mut run).await;
        let outcome = finished(&run).outcome;
        let ended = matches!(outcome, Outcome::Cancelled {} | Outcome::Completed {});
        assert!(ended, "after {pulls}: {outcome:?}");
        if pulls == 0 {
            assert_eq!(outcome, Outcome::Cancelled {});
        }
    }
}

#[tokio::test]
async fn a_stop_waits_for_what_runs() {
    let gate = Gate::new();
    let tool = ScriptedTool::gated("look", &gate, "seen");
    let mut run = plain(&driver(&provider([calling(&["look"])]), &[&tool]));
    let handle = run.handle();
    until_it_waits(&mut run);
    let stopping = async {
        handle.stop("enough").await.unwrap();
        assert_eq!((tool.returned(), tool.dropped()), (0, 0));
        gate.open();
    };
    let (updates, ()) = join(all(&mut run), stopping).await;
    assert_eq!(
        endings(&updates),
        [(ToolEnding::Finished, "seen".to_owned())]
    );
    let reason = "enough".to_owned();
    assert_eq!(finished(&run).outcome, Outcome::Aborted { reason });
}

/// Has somebody asked about every call.
struct AskAlways;

#[async_trait::async_trait]
impl Hooks for AskAlways {
    fn points(&self) -> Vec<Point> {
        vec![Point::BeforeTool]
    }

    async fn before_tool(
        &self,
        _context: &HookContext,
        _call: &ToolCall,
    ) -> Result<ToolDecision, HookError> {
        Ok(ToolDecision::Ask {
            question: "May it?".into(),
            arguments: None,
        })
    }
}

fn asking(tool: &ScriptedTool) -> (Driver, Run, EffectId) {
    let provider = provider([calling(&["look"]), done()]);
    let driver = driver(&provider, &[tool]).hooks(Arc::new(AskAlways));
    let mut run = plain(&driver);
    let updates = until_it_waits(&mut run);
    let events = events(&updates);
    let asked = events.last().unwrap();
    assert!(matches!(asked.kind, EventKind::ApprovalRequested(_)));
    let effect = EffectId {
        loop_id: asked.loop_id.clone().unwrap(),
        seq: asked.seq,
    };
    (driver, run, effect)
}

#[tokio::test]
async fn a_call_waits_for_its_approval_by_the_run_or_by_a_handle() {
    let tool = ScriptedTool::returning("look", "seen");
    let (_driver, mut run, effect) = asking(&tool);
    assert_eq!(tool.started(), 0);
    run.approve(effect.clone(), Approval::Approved {}).unwrap();
    let again = run.approve(effect.clone(), Approval::Approved {});
    assert_eq!(again, Err(Rejected::NotOutstanding(effect)));
    all(&mut run).await;
    assert_eq!(tool.started(), 1);
    assert_eq!(finished(&run).outcome, Outcome::Completed {});

    let tool = ScriptedTool::returning("look", "seen");
    let (_driver, mut run, effect) = asking(&tool);
    let handle = run.handle();
    let wrong = EffectId {
        seq: effect.seq + 1,
        ..effect.clone()
    };
    let reason = "not today".to_owned();
    let denied = Approval::Denied {
        reason: reason.clone(),
    };
    let speaking = async {
        let answer = handle.approve(wrong.clone(), Approval::Approved {}).await;
        assert_eq!(answer, Err(Rejected::NotOutstanding(wrong)));
        handle.approve(effect, denied).await.unwrap();
    };
    let (updates, ()) = join(all(&mut run), speaking).await;
    assert_eq!(endings(&updates), [(ToolEnding::Denied, reason)]);
    assert_eq!(tool.started(), 0);
}
