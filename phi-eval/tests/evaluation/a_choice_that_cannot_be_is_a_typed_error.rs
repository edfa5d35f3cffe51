//! A choice that cannot be is a typed error, and the branches come back all the same.

use crate::support::{At, branch, evaluation, model, soon};
use async_trait::async_trait;
use phi_eval::{Candidate, ChoiceError, EvaluationStrategy, StrategyError};
use phi_testkit::Reply;
use phi_types::{EventKind, Outcome, ProviderError, ProviderErrorKind};

fn failed_and_good() -> Vec<phi_eval::Branch> {
    let error = ProviderError::new(ProviderErrorKind::Auth, "no key");
    let failed = model([Reply::new().after_error(error)]);
    vec![
        branch("failed", failed),
        branch("good", model([Reply::text("x")])),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_choice_out_of_range_names_choice_and_range() {
    let evaluated = soon(evaluation(failed_and_good()).run(&At(1))).await;
    let error = evaluated.winner().unwrap_err();
    assert_eq!(
        error,
        ChoiceError::OutOfRange {
            strategy: "at".to_owned(),
            choice: 1,
            candidates: 1,
        }
    );
    assert_eq!(
        error.to_string(),
        "the strategy at chose candidate 1, but there are 1: choose below that number"
    );
    assert_eq!(evaluated.branches().len(), 2);
    let at = phi_testkit::ManualClock::default().now();
    let EventKind::BranchSelected(selected) = evaluated.event(2, at).kind else {
        panic!("another kind")
    };
    assert_eq!(selected.winner, None);
}

/// Goes wrong early or at the end.
#[derive(Clone, Copy)]
enum Wrong {
    EarlyOutOfRange,
    EarlyPanic,
    Panic,
    Failure,
}

#[async_trait]
impl EvaluationStrategy for Wrong {
    fn name(&self) -> &'static str {
        "wrong"
    }

    fn choose_early(&self, candidates: &[Candidate<'_>]) -> Option<usize> {
        match self {
            Self::EarlyOutOfRange => Some(candidates.len()),
            Self::EarlyPanic => panic!("no patience"),
            Self::Panic | Self::Failure => None,
        }
    }

    async fn choose(&self, _candidates: &[Candidate<'_>]) -> Result<usize, StrategyError> {
        match self {
            Self::Panic => panic!("no judge"),
            _ => Err(StrategyError("the judge is silent".to_owned())),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_strategy_that_goes_wrong_loses_no_branch() {
    for (wrong, text) in [
        (
            Wrong::EarlyOutOfRange,
            "the strategy wrong chose candidate 1, but there are 1: choose below that number",
        ),
        (
            Wrong::EarlyPanic,
            "the strategy wrong panicked: no patience",
        ),
        (Wrong::Panic, "the strategy wrong panicked: no judge"),
        (
            Wrong::Failure,
            "the strategy wrong could not choose, the judge is silent",
        ),
    ] {
        let evaluated = soon(evaluation(failed_and_good()).run(&wrong)).await;
        assert_eq!(evaluated.winner().unwrap_err().to_string(), text);
        assert_eq!(evaluated.branches()[1].outcome, Outcome::Completed {});
    }
}
