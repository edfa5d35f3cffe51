//! A call that is broken off leaves work behind: the run does it, and does not end before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::FutureExt;
use phi_loop::Update;
use phi_testkit::{Gate, ScriptedTool};
use phi_types::{
    Configuration, Event, EventKind, Outcome, SessionId, Spawned, Spent, ToolContext, ToolPolicy,
    ToolResult, Usage,
};

use crate::facts::{
    all, calling, done, driver, ended, finished, plain, provider, run, until_it_waits,
};

/// Leaves work behind when it is dropped: it waits for a gate, then counts.
struct Leaves {
    context: ToolContext,
    gate: Gate,
    done: Arc<AtomicU32>,
}

impl Drop for Leaves {
    fn drop(&mut self) {
        let (passed, done) = (self.gate.passed(), Arc::clone(&self.done));
        self.context.finish_later(
            async move {
                passed.await;
                done.fetch_add(1, Ordering::SeqCst);
            }
            .boxed(),
        );
    }
}

fn leaving(gate: &Gate, done: &Arc<AtomicU32>) -> ScriptedTool {
    let (gate, done) = (gate.clone(), Arc::clone(done));
    ScriptedTool::new("leave", move |_, context| {
        let leaves = Leaves {
            context,
            gate: gate.clone(),
            done: Arc::clone(&done),
        };
        async move {
            std::future::pending::<()>().await;
            drop(leaves);
            ToolResult::text("never")
        }
    })
}

fn has_ended(updates: &[Update]) -> bool {
    updates.iter().any(|update| {
        matches!(
            update,
            Update::Event(Event {
                kind: EventKind::LoopEnded(_),
                ..
            })
        )
    })
}

#[tokio::test]
async fn a_cancelled_run_ends_after_what_its_calls_have_left() {
    let (gate, left) = (Gate::new(), Arc::new(AtomicU32::new(0)));
    let tool = leaving(&gate, &left);
    let provider = provider([calling(&["leave", "leave"])]);
    let mut run = plain(&driver(&provider, &[&tool]));
    until_it_waits(&mut run);
    run.handle().cancel();
    assert!(has_ended(&until_it_waits(&mut run)));
    assert_eq!(run.next().now_or_never(), None, "there is more to do");
    assert_eq!(left.load(Ordering::SeqCst), 0);
    gate.open();
    assert_eq!(all(&mut run).await, []);
    assert_eq!(left.load(Ordering::SeqCst), 2);
    assert_eq!(finished(&run).outcome, Outcome::Cancelled {});
}

#[tokio::test]
async fn what_can_be_done_at_once_is_done_before_anybody_is_told() {
    let (gate, left) = (Gate::new(), Arc::new(AtomicU32::new(0)));
    gate.open();
    let tool = leaving(&gate, &left);
    let provider = provider([calling(&["leave"])]);
    let mut run = plain(&driver(&provider, &[&tool]));
    until_it_waits(&mut run);
    run.handle().cancel();
    assert!(run.next().await.is_some());
    assert_eq!(left.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_out_of_time_leaves_work_that_runs_beside_the_loop() {
    let (gate, left) = (Gate::new(), Arc::new(AtomicU32::new(0)));
    let (tool, look) = (
        leaving(&gate, &left),
        ScriptedTool::gated("look", &gate, "seen"),
    );
    let provider = provider([calling(&["leave"]), calling(&["look"]), done()]);
    let configuration = Configuration {
        tools: ToolPolicy {
            timeout_ms: Some(400),
            ..ToolPolicy::default()
        },
        ..Configuration::default()
    };
    let mut run = run(&driver(&provider, &[&tool, &look]), configuration);
    let updates = async {
        let mut updates = Vec::new();
        while let Some(update) = run.next().await {
            if look.started() > 0 {
                gate.open();
            }
            updates.push(update);
        }
        updates
    };
    assert!(has_ended(&updates.await));
    assert_eq!(left.load(Ordering::SeqCst), 1);
    assert_eq!(finished(&run).outcome, Outcome::Completed {});
}

#[tokio::test]
async fn a_run_that_is_dropped_leaves_everything_undone() {
    let (gate, left) = (Gate::new(), Arc::new(AtomicU32::new(0)));
    gate.open();
    let tool = leaving(&gate, &left);
    let provider = provider([calling(&["leave"])]);
    let mut run = plain(&driver(&provider, &[&tool]));
    until_it_waits(&mut run);
    drop(run);
    assert_eq!(tool.dropped(), 1);
    assert_eq!(left.load(Ordering::SeqCst), 0);
    // Only this test and the tool hold on to the count: what was left is gone.
    assert_eq!(Arc::strong_count(&left), 2);
}

#[tokio::test]
async fn a_panic_in_what_is_left_stops_nothing() {
    struct Panics(ToolContext);
    impl Drop for Panics {
        fn drop(&mut self) {
            self.0
                .finish_later(async { panic!("while tidying up") }.boxed());
        }
    }
    let tool = ScriptedTool::new("leave", |_, context| async move {
        let panics = Panics(context);
        std::future::pending::<()>().await;
        drop(panics);
        ToolResult::text("never")
    });
    let provider = provider([calling(&["leave"])]);
    let mut run = plain(&driver(&provider, &[&tool]));
    until_it_waits(&mut run);
    run.handle().cancel();
    all(&mut run).await;
    assert_eq!(finished(&run).outcome, Outcome::Cancelled {});
}

fn spawned(tokens: u64) -> Spawned {
    let usage = Usage {
        input_tokens: Some(tokens),
        ..Usage::default()
    };
    Spawned {
        session: SessionId::new("child").unwrap(),
        spent: Spent {
            usage,
            cost_usd: None,
        },
    }
}

#[tokio::test]
async fn a_call_names_its_sub_agent_however_it_ends() {
    for waits in [true, false] {
        names_its_sub_agent(waits).await;
    }
}

async fn names_its_sub_agent(waits: bool) {
    let at_once = ScriptedTool::new("at_once", |_, context| {
        context.spawned(spawned(1));
        context.spawned(spawned(2));
        async { ToolResult::text("done") }
    });
    let gate = Gate::new();
    let passes = gate.clone();
    let later = ScriptedTool::new("later", move |_, context| {
        let passed = passes.passed();
        async move {
            context.spawned(spawned(3));
            passed.await;
            ToolResult::text("done")
        }
    });
    let panicked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&panicked);
    let panics = ScriptedTool::new("panics", move |_, context| {
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            context.spawned(spawned(4));
            panic!("boom")
        }
    });
    let hangs = ScriptedTool::new("hangs", |_, context| async move {
        context.spawned(spawned(5));
        std::future::pending().await
    });
    let provider = provider([calling(&["at_once", "later", "panics", "hangs"])]);
    let mut run = plain(&driver(&provider, &[&at_once, &later, &panics, &hangs]));
    // The calls begin with the last of the events that announce them, and are looked at once.
    let mut updates = Vec::new();
    while panicked.load(Ordering::SeqCst) == 0 {
        updates.push(run.next().await.unwrap());
    }
    if waits {
        gate.open();
        updates.extend(until_it_waits(&mut run));
    }
    run.handle().cancel();
    updates.extend(all(&mut run).await);
    let mut ended = ended(&updates);
    ended.sort_by_key(|ended| ended.index);
    let named = ended.iter().map(|it| {
        let child = it.child.as_ref().map(SessionId::as_str);
        (child, it.spent().usage.input_tokens)
    });
    let expected = [2, 3, 4, 5].map(|tokens| (Some("child"), Some(tokens)));
    assert_eq!(named.collect::<Vec<_>>(), expected);
}
