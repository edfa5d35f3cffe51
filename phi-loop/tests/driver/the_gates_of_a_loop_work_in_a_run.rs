//! Gates of the loop itself and of progress: what they decide, how several combine, and that one that breaks lets nothing through.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use phi_loop::{
    Driver, EndDecision, GateDecision, HookContext, HookError, HookFailed, Hooks, Incoming,
    InputDecision, InputSource, NextTurn, ToolUpdate, Update, UpdateDecision,
};
use phi_testkit::{Gate, ScriptedProvider, ScriptedTool};
use phi_types::{
    Entry, EventKind, FilterVerdict, History, Increment, LoopError, Outcome, Point, QueueId,
    ToolProgress, ToolResult, TurnTrigger, UserMessage,
};

use crate::facts::{all, calling, done, driver, events, finished, plain, provider, until_it_waits};

/// What a hook does at its point.
#[derive(Clone)]
enum Act {
    Input(InputDecision),
    Gate(GateDecision),
    End(EndDecision),
    Update(UpdateDecision),
    Fail,
    Panic,
    Hang,
}

/// A hook that writes down what it was shown and does as told, the last thing again and again.
struct Told {
    point: Point,
    acts: Mutex<Vec<Act>>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Told {
    async fn act(&self, seen: String) -> Result<Act, HookError> {
        self.seen.lock().unwrap().push(seen);
        let act = {
            let mut acts = self.acts.lock().unwrap();
            if acts.len() > 1 {
                acts.remove(0)
            } else {
                acts[0].clone()
            }
        };
        match act {
            Act::Fail => Err(HookError("broken".into())),
            Act::Panic => panic!("boom"),
            Act::Hang => std::future::pending().await,
            act => Ok(act),
        }
    }

    async fn gate(&self, seen: String) -> Result<GateDecision, HookError> {
        match self.act(seen).await? {
            Act::Gate(decision) => Ok(decision),
            _ => Ok(GateDecision::Proceed),
        }
    }
}

#[async_trait]
impl Hooks for Told {
    fn points(&self) -> Vec<Point> {
        vec![self.point]
    }

    async fn filter_input(
        &self,
        _context: &HookContext,
        input: &Incoming,
    ) -> Result<InputDecision, HookError> {
        let from = match &input.source {
            InputSource::Prompt => "prompt".to_owned(),
            InputSource::Queued(id, _) => id.to_string(),
        };
        match self.act(from).await? {
            Act::Input(decision) => Ok(decision),
            _ => Ok(InputDecision::Pass),
        }
    }

    async fn before_loop(
        &self,
        _context: &HookContext,
        view: &History,
    ) -> Result<GateDecision, HookError> {
        self.gate(format!("{} entries", view.len())).await
    }

    async fn before_turn(
        &self,
        _context: &HookContext,
        turn: &NextTurn,
    ) -> Result<GateDecision, HookError> {
        self.gate(format!("turn {} {:?}", turn.index, turn.trigger))
            .await
    }

    async fn before_end(
        &self,
        _context: &HookContext,
        view: &History,
    ) -> Result<EndDecision, HookError> {
        match self.act(format!("{} entries", view.len())).await? {
            Act::End(decision) => Ok(decision),
            _ => Ok(EndDecision::End),
        }
    }

    async fn before_tool_update(
        &self,
        _context: &HookContext,
        update: &ToolUpdate,
    ) -> Result<UpdateDecision, HookError> {
        match self.act(update.progress.text.clone()).await? {
            Act::Update(decision) => Ok(decision),
            _ => Ok(UpdateDecision::Show),
        }
    }

    async fn after_tool_update(
        &self,
        _context: &HookContext,
        update: &ToolUpdate,
    ) -> Result<(), HookError> {
        self.act(update.progress.text.clone()).await.map(drop)
    }
}

type Seen = Arc<Mutex<Vec<String>>>;

fn told(point: Point, acts: &[Act]) -> (Arc<dyn Hooks>, Seen) {
    let seen = Seen::default();
    let hooks = Told {
        point,
        acts: Mutex::new(acts.to_vec()),
        seen: Arc::clone(&seen),
    };
    (Arc::new(hooks), seen)
}

fn hooked(provider: &Arc<ScriptedProvider>, hooks: Arc<dyn Hooks>) -> Driver {
    driver(provider, &[])
        .hooks(hooks)
        .hook_timeout(Duration::from_secs(5))
}

fn hook_failed(reason: &str) -> Outcome {
    let reason = reason.to_owned();
    let error = LoopError::Hook { reason };
    Outcome::Failed { error }
}

const BROKEN: [(Act, &str); 3] = [
    (Act::Fail, "broken"),
    (Act::Panic, "a hook panicked: boom"),
    (Act::Hang, "a hook took longer than 5s"),
];

#[tokio::test(start_paused = true)]
async fn a_gate_before_a_prompt_a_loop_or_a_turn_that_breaks_fails_the_loop_and_no_model_is_called()
{
    for point in [Point::FilterInput, Point::BeforeLoop, Point::BeforeTurn] {
        for (act, reason) in BROKEN {
            let provider = provider([done()]);
            let (hooks, seen) = told(point, &[act]);
            let mut run = plain(&hooked(&provider, hooks));
            all(&mut run).await;
            assert_eq!(run.finished().outcome, hook_failed(reason), "{point:?}");
            assert_eq!(provider.request_count(), 0, "{point:?}");
            assert_eq!(seen.lock().unwrap().len(), 1, "{point:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_gate_before_the_end_that_breaks_fails_the_loop_and_keeps_the_answer() {
    for (act, reason) in BROKEN {
        let provider = provider([done()]);
        let (hooks, _) = told(Point::BeforeEnd, &[act]);
        let mut run = plain(&hooked(&provider, hooks));
        all(&mut run).await;
        let finished = finished(&run);
        assert_eq!(finished.outcome, hook_failed(reason));
        assert!(matches!(
            finished.transcript.view().last(),
            Some(Entry::Assistant(_))
        ));
    }
}

#[tokio::test]
async fn gates_may_refuse_and_say_why() {
    let reason = "no".to_owned();
    let refusals = [
        (
            Point::FilterInput,
            Act::Input(InputDecision::Reject {
                reason: reason.clone(),
            }),
        ),
        (
            Point::BeforeLoop,
            Act::Gate(GateDecision::Reject {
                reason: reason.clone(),
            }),
        ),
        (
            Point::BeforeTurn,
            Act::Gate(GateDecision::Reject {
                reason: reason.clone(),
            }),
        ),
    ];
    for (point, act) in refusals {
        let provider = provider([done()]);
        let (hooks, _) = told(point, &[act]);
        let mut run = plain(&hooked(&provider, hooks));
        all(&mut run).await;
        let reason = reason.clone();
        assert_eq!(run.finished().outcome, Outcome::Rejected { reason });
        assert_eq!(provider.request_count(), 0);
    }
}

#[tokio::test]
async fn gates_are_asked_before_the_loop_and_before_each_turn() {
    let provider = provider([calling(&["nothing"]), done()]);
    let (hooks, turns) = told(Point::BeforeTurn, &[Act::Gate(GateDecision::Proceed)]);
    let (other, loops) = told(Point::BeforeLoop, &[Act::Gate(GateDecision::Proceed)]);
    let hooks: Arc<dyn Hooks> = Arc::new(vec![hooks, other]);
    let mut run = plain(&hooked(&provider, hooks));
    all(&mut run).await;
    assert_eq!(finished(&run).outcome, Outcome::Completed {});
    assert_eq!(
        *turns.lock().unwrap(),
        ["turn 1 Prompt", "turn 2 ToolResults"]
    );
    assert_eq!(*loops.lock().unwrap(), ["1 entries"]);
}

#[tokio::test]
async fn the_first_rejection_wins_and_later_gates_are_not_asked() {
    let reject = |reason: &str| {
        let reason = reason.to_owned();
        Act::Gate(GateDecision::Reject { reason })
    };
    for point in [Point::BeforeLoop, Point::BeforeTurn] {
        let provider = provider([done()]);
        let (first, _) = told(point, &[reject("first")]);
        let (second, asked) = told(point, &[reject("second")]);
        let hooks: Arc<dyn Hooks> = Arc::new(vec![first, second]);
        let mut run = plain(&hooked(&provider, hooks));
        all(&mut run).await;
        let reason = "first".to_owned();
        assert_eq!(run.finished().outcome, Outcome::Rejected { reason });
        assert!(asked.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn warnings_of_several_filters_add_up_and_a_rejection_wins_over_them() {
    let warn = |warning: &str| {
        let warning = warning.to_owned();
        Act::Input(InputDecision::Warn { warning })
    };
    let reject = Act::Input(InputDecision::Reject {
        reason: "no".into(),
    });
    for (acts, verdict) in [
        (
            [warn("a"), warn("b")],
            FilterVerdict::Warned {
                warning: "a\nb".into(),
            },
        ),
        (
            [warn("a"), reject],
            FilterVerdict::Rejected {
                reason: "no".into(),
            },
        ),
    ] {
        let provider = provider([done()]);
        let hooks = acts.map(|act| told(Point::FilterInput, &[act]).0);
        let mut run = plain(&hooked(&provider, Arc::new(hooks.to_vec())));
        let updates = all(&mut run).await;
        let filtered = events(&updates)
            .into_iter()
            .find_map(|event| match event.kind {
                EventKind::InputFiltered(filtered) => Some(filtered.verdict),
                _ => None,
            });
        assert_eq!(filtered, Some(verdict));
    }
}

#[tokio::test]
async fn a_steering_message_is_filtered_too() {
    let provider = provider([calling(&["look"]), done()]);
    let gate = Gate::new();
    let tool = ScriptedTool::gated("look", &gate, "seen");
    let reject = Act::Input(InputDecision::Reject {
        reason: "no".into(),
    });
    let (hooks, seen) = told(
        Point::FilterInput,
        &[Act::Input(InputDecision::Pass), reject],
    );
    let driver = driver(&provider, &[&tool]).hooks(hooks);
    let mut run = plain(&driver);
    until_it_waits(&mut run);
    let handle = run.handle();
    let id = QueueId::new("q").unwrap();
    let (sent, updates) = tokio::join!(handle.steer(id, "Faster."), async {
        let updates = until_it_waits(&mut run);
        gate.open();
        updates
    });
    sent.unwrap();
    drop(updates);
    all(&mut run).await;
    let finished = finished(&run);
    assert_eq!(finished.outcome, Outcome::Completed {});
    assert_eq!(*seen.lock().unwrap(), ["prompt", "q"]);
    assert_eq!(finished.undelivered, []);
    assert_eq!(finished.transcript.view().len(), 4);
}

#[tokio::test]
async fn messages_of_several_hooks_keep_the_loop_from_its_end() {
    let go_on = |text: &str| {
        Act::End(EndDecision::Continue(vec![Arc::new(UserMessage::text(
            text,
        ))]))
    };
    let provider = provider([done(), done()]);
    let end = Act::End(EndDecision::End);
    let (first, _) = told(Point::BeforeEnd, &[go_on("a"), end.clone()]);
    let (second, _) = told(Point::BeforeEnd, &[go_on("b"), end]);
    let mut run = plain(&hooked(&provider, Arc::new(vec![first, second])));
    let updates = all(&mut run).await;
    let finished = finished(&run);
    assert_eq!(finished.outcome, Outcome::Completed {});
    assert_eq!(finished.transcript.view().len(), 5);
    let triggers = events(&updates)
        .into_iter()
        .filter_map(|event| match event.kind {
            EventKind::TurnStarted(started) => Some(started.trigger),
            _ => None,
        });
    assert_eq!(
        triggers.collect::<Vec<_>>(),
        [TurnTrigger::Prompt, TurnTrigger::Hook]
    );
}

/// A tool that reports each text and waits until somebody has seen it.
fn reporting(texts: &'static [&'static str], gates: &[Gate]) -> ScriptedTool {
    let gates = gates.to_vec();
    ScriptedTool::new("look", move |_arguments, context| {
        let gates = gates.clone();
        Box::pin(async move {
            for (text, gate) in texts.iter().zip(gates) {
                let text = (*text).to_owned();
                context.progress(ToolProgress { text });
                gate.passed().await;
            }
            ToolResult::text("seen")
        })
    })
}

/// Runs a tool that reports twice under these hooks; returns what was shown, and what failed.
async fn shown(hooks: Arc<dyn Hooks>) -> (Vec<String>, Vec<HookFailed>) {
    let provider = provider([calling(&["look"]), done()]);
    let gates = [Gate::new(), Gate::new()];
    let tool = reporting(&["one", "two"], &gates);
    let driver = driver(&provider, &[&tool])
        .hooks(hooks)
        .hook_timeout(Duration::from_secs(5));
    let mut run = plain(&driver);
    let mut updates = until_it_waits(&mut run);
    for gate in gates {
        // A hook that hangs is waited for, in paused time.
        let waited = tokio::time::timeout(Duration::from_secs(6), run.next()).await;
        updates.extend(waited.ok().flatten());
        updates.extend(until_it_waits(&mut run));
        gate.open();
        updates.extend(until_it_waits(&mut run));
    }
    updates.extend(all(&mut run).await);
    assert_eq!(finished(&run).outcome, Outcome::Completed {});
    let mut shown = Vec::new();
    let mut failed = Vec::new();
    for update in updates {
        match update {
            Update::Live(live) => {
                if let Increment::Progress(progress) = live.increment {
                    shown.push(progress.text);
                }
            }
            Update::HookFailed(hook) => failed.push(hook),
            Update::Event(_) => {}
        }
    }
    (shown, failed)
}

#[tokio::test(start_paused = true)]
async fn progress_is_shown_replaced_or_hidden_as_hooks_decide() {
    let replace = |text: &str| {
        let text = text.to_owned();
        Act::Update(UpdateDecision::Replace(ToolProgress { text }))
    };
    let (show, seen) = told(
        Point::BeforeToolUpdate,
        &[Act::Update(UpdateDecision::Show)],
    );
    assert_eq!(shown(show).await.0, ["one", "two"]);
    assert_eq!(*seen.lock().unwrap(), ["one", "two"]);

    let (first, _) = told(Point::BeforeToolUpdate, &[replace("1"), replace("2")]);
    let (second, seen) = told(
        Point::BeforeToolUpdate,
        &[
            Act::Update(UpdateDecision::Hide),
            Act::Update(UpdateDecision::Show),
        ],
    );
    let (third, last) = told(Point::BeforeToolUpdate, &[replace("3")]);
    let hooks: Arc<dyn Hooks> = Arc::new(vec![first, second, third]);
    assert_eq!(shown(hooks).await.0, ["3"]);
    assert_eq!(*seen.lock().unwrap(), ["1", "2"]);
    assert_eq!(*last.lock().unwrap(), ["2"]);
}

#[tokio::test(start_paused = true)]
async fn progress_is_hidden_and_reported_where_its_gate_breaks_and_the_loop_goes_on() {
    for (act, reason) in BROKEN {
        let (hooks, _) = told(Point::BeforeToolUpdate, &[act]);
        let (shown, failed) = shown(hooks).await;
        assert_eq!(shown, [""; 0], "{reason}");
        let expected = HookFailed {
            point: Point::BeforeToolUpdate,
            reason: reason.to_owned(),
        };
        assert_eq!(failed, [expected.clone(), expected], "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn progress_that_is_shown_is_observed_and_a_broken_observer_changes_nothing() {
    let (watch, seen) = told(Point::AfterToolUpdate, &[Act::Input(InputDecision::Pass)]);
    assert_eq!(
        shown(watch).await,
        (vec!["one".into(), "two".into()], vec![])
    );
    assert_eq!(*seen.lock().unwrap(), ["one", "two"]);
    for (act, reason) in BROKEN {
        let (hooks, _) = told(Point::AfterToolUpdate, &[act]);
        let (shown, failed) = shown(hooks).await;
        assert_eq!(shown, ["one", "two"]);
        assert!(failed.iter().all(|it| it.reason == reason), "{failed:?}");
        assert_eq!(failed.len(), 2);
    }
}
