//! Observers: they see what was written, and one that fails, panics or hangs is reported and no more.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use phi_loop::{HookContext, HookError, HookFailed, Hooks, Update};
use phi_testkit::{Gate, ScriptedTool};
use phi_types::{
    AssistantMessage, LoopEnded, ModelFailed, Outcome, Point, ProviderError, ProviderErrorKind,
    ToolEnded, ToolEnding, TurnEnded,
};

use crate::facts::{
    all, calling, done, driver, endings, events, finished, plain, provider, until_it_waits,
};

#[derive(Clone, Copy)]
enum Act {
    Watch,
    Fail,
    Panic,
    Hang,
}

struct Observer(Act, Arc<Mutex<Vec<String>>>);

impl Observer {
    async fn act(&self, seen: String) -> Result<(), HookError> {
        self.1.lock().unwrap().push(seen);
        match self.0 {
            Act::Watch => Ok(()),
            Act::Fail => Err(HookError("broken".into())),
            Act::Panic => panic!("boom"),
            Act::Hang => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Hooks for Observer {
    fn points(&self) -> Vec<Point> {
        vec![Point::AfterModel, Point::AfterTool]
    }

    async fn after_model(
        &self,
        _context: &HookContext,
        message: &AssistantMessage,
    ) -> Result<(), HookError> {
        self.act(format!("model: {}", message.text())).await
    }

    async fn after_tool(&self, _context: &HookContext, ended: &ToolEnded) -> Result<(), HookError> {
        self.act(format!("tool: {:?}", ended.ending)).await
    }
}

async fn observed(acts: &[Act]) -> (Vec<Update>, Vec<String>, Outcome) {
    let seen = Arc::default();
    let hooks = acts.iter().map(|act| {
        let observer = Observer(*act, Arc::clone(&seen));
        Arc::new(observer) as Arc<dyn Hooks>
    });
    let provider = provider([calling(&["look"]), done()]);
    let tool = ScriptedTool::returning("look", "seen");
    let driver = driver(&provider, &[&tool])
        .hooks(Arc::new(hooks.collect::<Vec<_>>()))
        .hook_timeout(Duration::from_secs(5));
    let mut run = plain(&driver);
    let updates = all(&mut run).await;
    let seen = seen.lock().unwrap().clone();
    (updates, seen, finished(&run).outcome)
}

fn failures(updates: &[Update]) -> Vec<(Point, String)> {
    let failed = updates.iter().filter_map(|update| match update {
        Update::HookFailed(HookFailed { point, reason }) => Some((*point, reason.clone())),
        _ => None,
    });
    failed.collect()
}

#[tokio::test(start_paused = true)]
async fn they_see_every_answer_and_every_result_in_order() {
    let (updates, seen, outcome) = observed(&[Act::Watch]).await;
    assert_eq!(seen, ["model: ", "tool: Finished", "model: Done."]);
    assert_eq!(failures(&updates), []);
    assert_eq!(outcome, Outcome::Completed {});
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_reported_and_the_log_is_the_same() {
    let kinds = |updates: &[Update]| -> Vec<_> {
        let events = events(updates);
        events.iter().map(crate::support::kind_of).collect()
    };
    let (plain, ..) = observed(&[]).await;
    for (act, reason) in [
        (Act::Fail, "broken"),
        (Act::Panic, "a hook panicked: boom"),
        (Act::Hang, "a hook took longer than 5s"),
    ] {
        let (updates, seen, outcome) = observed(&[act]).await;
        let failed = |point| (point, reason.to_owned());
        let expected = [
            failed(Point::AfterModel),
            failed(Point::AfterTool),
            failed(Point::AfterModel),
        ];
        assert_eq!(failures(&updates), expected);
        assert_eq!(seen.len(), 3);
        assert_eq!(outcome, Outcome::Completed {});
        assert_eq!(kinds(&updates), kinds(&plain));
    }
}

#[tokio::test(start_paused = true)]
async fn every_observer_is_told_though_one_fails() {
    let (updates, seen, _) = observed(&[Act::Fail, Act::Watch, Act::Fail]).await;
    assert_eq!(seen.len(), 9);
    let together = (Point::AfterTool, "broken; broken".to_owned());
    assert_eq!(failures(&updates)[1], together);
}

#[tokio::test]
async fn a_hanging_observer_does_not_keep_a_cancel_from_its_work() {
    let observer = Observer(Act::Hang, Arc::default());
    let gate = Gate::new();
    let tool = ScriptedTool::gated("look", &gate, "seen");
    let provider = provider([calling(&["look"])]);
    let mut run = plain(&driver(&provider, &[&tool]).hooks(Arc::new(observer)));
    until_it_waits(&mut run);
    run.handle().cancel();
    let updates = until_it_waits(&mut run);
    assert_eq!(endings(&updates)[0].0, ToolEnding::Cancelled);
    assert_eq!(tool.started(), tool.dropped());
    assert_eq!(finished(&run).outcome, Outcome::Cancelled {});
}

/// Writes down what ends and what fails, and fails itself.
struct Ends(Arc<Mutex<Vec<String>>>);

impl Ends {
    fn seen(&self, what: String) -> Result<(), HookError> {
        self.0.lock().unwrap().push(what);
        Err(HookError("broken".into()))
    }
}

#[async_trait]
impl Hooks for Ends {
    fn points(&self) -> Vec<Point> {
        vec![Point::OnError, Point::AfterTurn, Point::AfterLoop]
    }

    async fn on_error(
        &self,
        _context: &HookContext,
        failed: &ModelFailed,
    ) -> Result<(), HookError> {
        self.seen(format!("attempt {}: {}", failed.attempt, failed.error.kind))
    }

    async fn after_turn(&self, _context: &HookContext, ended: &TurnEnded) -> Result<(), HookError> {
        self.seen(format!("turn {}", ended.index))
    }

    async fn after_loop(&self, _context: &HookContext, ended: &LoopEnded) -> Result<(), HookError> {
        self.seen(format!("loop: {:?}", ended.outcome))
    }
}

#[tokio::test(start_paused = true)]
async fn they_see_what_fails_and_what_ends_before_the_run_does() {
    let error = ProviderError::new(ProviderErrorKind::Server, "no");
    let provider = provider([calling(&["look"]).after_error(error), done()]);
    let tool = ScriptedTool::returning("look", "seen");
    let seen = Arc::default();
    let ends = Arc::new(Ends(Arc::clone(&seen))) as Arc<dyn Hooks>;
    let driver = driver(&provider, &[&tool]).hooks(Arc::new(vec![ends]));
    let mut run = plain(&driver);
    let updates = all(&mut run).await;
    let expected = ["attempt 1: server", "turn 1", "turn 2", "loop: Completed"];
    assert_eq!(*seen.lock().unwrap(), expected);
    let points: Vec<Point> = failures(&updates)
        .into_iter()
        .map(|(point, _)| point)
        .collect();
    use Point::{AfterLoop, AfterTurn, OnError};
    assert_eq!(points, [OnError, AfterTurn, AfterTurn, AfterLoop]);
    assert_eq!(finished(&run).outcome, Outcome::Completed {});
}
