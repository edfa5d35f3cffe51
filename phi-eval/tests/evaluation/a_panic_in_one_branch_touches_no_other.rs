//! A panic, an error or a refusal in one branch touches no other branch.

use std::sync::Arc;

use crate::support::{At, answers, branch, caller, evaluation, model, soon};
use async_trait::async_trait;
use futures_util::stream::BoxStream;
use phi_eval::Branch;
use phi_loop::{Driver, HookContext, HookError, Hooks, ModelDecision};
use phi_testkit::{MemoryJournal, Reply, ScriptedTool};
use phi_types::{
    Delta, Event, Identity, Journal, JournalError, LoopError, Outcome, Point, Provider,
    ProviderError, Request,
};

struct PanickingProvider;

impl Provider for PanickingProvider {
    fn identity(&self) -> Identity<'_> {
        Identity {
            protocol: "p",
            provider: "p",
        }
    }

    fn stream(&self, _request: Request) -> BoxStream<'static, Result<Delta, ProviderError>> {
        panic!("no model")
    }
}

/// Panics where it decides, or already when it is asked what it claims.
struct PanickingHook {
    points: bool,
}

#[async_trait]
impl Hooks for PanickingHook {
    fn points(&self) -> Vec<Point> {
        assert!(!self.points, "no points");
        vec![Point::BeforeModel]
    }

    async fn before_model(
        &self,
        _context: &HookContext,
        _request: &Request,
    ) -> Result<ModelDecision, HookError> {
        panic!("no policy")
    }
}

struct PanickingJournal;

#[async_trait]
impl Journal for PanickingJournal {
    async fn append(&self, _events: &[Event]) -> Result<(), JournalError> {
        panic!("no paper")
    }
}

/// Runs a good branch on both sides of a bad one; the good ones must be as if they were alone.
async fn beside(bad: Driver) -> Outcome {
    let tool = ScriptedTool::returning("act", "done");
    let good = || branch("good", caller(&tool, "fine"));
    let evaluated = soon(evaluation(vec![good(), branch("bad", bad), good()]).run(&At(0))).await;
    let said = answers(&evaluated);
    assert_eq!((said[0].as_str(), said[2].as_str()), ("fine", "fine"));
    assert_eq!(evaluated.branches()[0].outcome, Outcome::Completed {});
    assert_eq!(evaluated.branches()[2].outcome, Outcome::Completed {});
    evaluated.branches()[1].outcome.clone()
}

#[tokio::test(start_paused = true)]
async fn a_panicking_tool_is_a_result_that_its_model_reads() {
    let tool = ScriptedTool::panicking("act", "no hands");
    assert_eq!(beside(caller(&tool, "sorry")).await, Outcome::Completed {});
}

#[tokio::test(start_paused = true)]
async fn a_panicking_provider_fails_its_branch() {
    let outcome = beside(Driver::new(Arc::new(PanickingProvider))).await;
    let Outcome::Failed {
        error: LoopError::Provider { error },
    } = outcome
    else {
        panic!("{outcome:?}")
    };
    assert!(error.message.contains("no model"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_panicking_hook_fails_its_branch() {
    let hook = Arc::new(PanickingHook { points: false });
    let outcome = beside(model([Reply::text("unheard")]).hooks(hook)).await;
    let Outcome::Failed {
        error: LoopError::Hook { reason },
    } = outcome
    else {
        panic!("{outcome:?}")
    };
    assert!(reason.contains("no policy"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_branch_that_panics_before_it_begins_is_rejected() {
    let hook = Arc::new(PanickingHook { points: true });
    let outcome = beside(model([Reply::text("unheard")]).hooks(hook)).await;
    let Outcome::Rejected { reason } = outcome else {
        panic!("{outcome:?}")
    };
    assert!(reason.contains("no points"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_panicking_journal_aborts_its_branch() {
    let bad = model([Reply::text("unheard")]).journal(Arc::new(PanickingJournal));
    let outcome = beside(bad).await;
    let reason = "the branch panicked: no paper".to_owned();
    assert_eq!(outcome, Outcome::Aborted { reason });
}

#[tokio::test(start_paused = true)]
async fn a_failing_journal_fails_its_branch() {
    let journal = Arc::new(MemoryJournal::failing_at(2));
    let outcome = beside(model([Reply::text("unheard")]).journal(journal)).await;
    assert!(matches!(
        outcome,
        Outcome::Failed {
            error: LoopError::Journal { .. }
        }
    ));
}

#[tokio::test(start_paused = true)]
async fn a_branch_without_a_model_is_rejected() {
    let driver = model([Reply::text("unheard")]);
    let mut surface = driver.surface("", "model");
    surface.models = Arc::from([]);
    let bad = Branch::new(driver, phi_types::Configuration::default(), surface);
    let good = branch("good", model([Reply::text("fine")]));
    let evaluated = soon(evaluation(vec![bad, good]).at_once(1).run(&At(0))).await;
    assert!(matches!(
        evaluated.branches()[0].outcome,
        Outcome::Rejected { .. }
    ));
    assert_eq!(evaluated.place(), Ok(Some(1)));
}
