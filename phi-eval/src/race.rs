//! The race: all branches in one task, a capped number at once.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use phi_loop::{Finished, Handle};
use phi_types::{BranchScore, LoopId, Outcome, Usage};

use crate::branch::{caught, said, to_its_end};
use crate::evaluated::{ChoiceError, Evaluated};
use crate::evaluation::Evaluation;
use crate::strategy::{Candidate, EvaluationStrategy};

/// An evaluation under way.
struct Race<'a> {
    evaluation: &'a Evaluation,
    /// The places of the branches that have not started.
    waiting: VecDeque<(usize, LoopId)>,
    running: FuturesUnordered<BoxFuture<'static, (usize, Finished)>>,
    handles: Vec<(usize, Handle)>,
    /// In the order of their ends.
    ended: Vec<(usize, Finished)>,
}

/// Runs the branches until all have ended, then chooses, unless the choice came early.
pub(crate) async fn race(evaluation: &Evaluation, strategy: &dyn EvaluationStrategy) -> Evaluated {
    let mut race = Race {
        evaluation,
        waiting: (0..).zip(evaluation.loops()).collect(),
        running: FuturesUnordered::new(),
        handles: Vec::new(),
        ended: Vec::new(),
    };
    let mut choice = None;
    race.start();
    while let Some((place, finished)) = race.running.next().await {
        let completed = finished.outcome == Outcome::Completed {};
        race.handles.retain(|(other, _)| *other != place);
        race.ended.push((place, finished));
        if choice.is_none() && completed {
            choice = early(strategy, &candidates(&race.ended));
        }
        if choice.is_some() {
            race.cancel();
        } else {
            race.start();
        }
    }
    let rated = match choice {
        Some(choice) => Rated::new(choice.map(Some)),
        None => rated(strategy, &candidates(&race.ended)).await,
    };
    race.ended.sort_unstable_by_key(|(place, _)| *place);
    Evaluated {
        session: evaluation.session.clone(),
        strategy: name(strategy),
        branches: race.ended.into_iter().map(|(_, it)| it).collect(),
        winner: rated.winner,
        scores: rated.scores,
        choice_usage: rated.usage,
    }
}

/// What a strategy came to.
struct Rated {
    winner: Result<Option<usize>, ChoiceError>,
    scores: Vec<BranchScore>,
    usage: Option<Usage>,
}

impl Rated {
    fn new(winner: Result<Option<usize>, ChoiceError>) -> Self {
        Self {
            winner,
            scores: Vec::new(),
            usage: None,
        }
    }
}

impl Race<'_> {
    /// Starts branches up to the cap. One that cannot start has ended and makes room for the next.
    fn start(&mut self) {
        while self.running.len() < self.evaluation.at_once.max(1)
            && let Some((place, loop_id)) = self.waiting.pop_front()
        {
            let Some(branch) = self.evaluation.branches.get(place) else {
                continue;
            };
            let begun = caught(|| self.evaluation.begin(branch, loop_id.clone()));
            let reason = match begun {
                Ok(Ok(run)) => {
                    self.handles.push((place, run.handle()));
                    let ended = to_its_end(run).map(move |finished| (place, finished));
                    self.running.push(ended.boxed());
                    continue;
                }
                Ok(Err(rejected)) => rejected.to_string(),
                Err(panic) => format!("the branch panicked before it began: {panic}"),
            };
            let idle = self.idle(loop_id, Outcome::Rejected { reason });
            self.ended.push((place, idle));
        }
    }

    /// Cancels what runs and what waits.
    fn cancel(&mut self) {
        for (_, handle) in self.handles.drain(..) {
            handle.cancel();
        }
        while let Some((place, loop_id)) = self.waiting.pop_front() {
            let idle = self.idle(loop_id, Outcome::Cancelled {});
            self.ended.push((place, idle));
        }
    }

    /// Makes the report of a branch that did nothing.
    fn idle(&self, loop_id: LoopId, outcome: Outcome) -> Finished {
        Finished {
            loop_id,
            outcome,
            transcript: self.evaluation.transcript.continued(),
            undelivered: Vec::new(),
            usage: Usage::default(),
            cost_usd: 0.0,
        }
    }
}

fn candidates(ended: &[(usize, Finished)]) -> Vec<Candidate<'_>> {
    let completed = ended
        .iter()
        .filter(|(_, finished)| finished.outcome == Outcome::Completed {});
    let candidates = completed.map(|(branch, finished)| Candidate {
        branch: *branch,
        finished,
    });
    candidates.collect()
}

fn early(
    strategy: &dyn EvaluationStrategy,
    candidates: &[Candidate<'_>],
) -> Option<Result<usize, ChoiceError>> {
    match caught(|| strategy.choose_early(candidates)) {
        Ok(None) => None,
        Ok(Some(choice)) => Some(checked(strategy, candidates, choice)),
        Err(reason) => Some(Err(panicked(strategy, reason))),
    }
}

async fn rated(strategy: &dyn EvaluationStrategy, candidates: &[Candidate<'_>]) -> Rated {
    if candidates.is_empty() {
        return Rated::new(Ok(None));
    }
    let rating = AssertUnwindSafe(async { strategy.rate(candidates).await });
    match rating.catch_unwind().await {
        Ok(Ok(rating)) => {
            let scored = candidates.iter().zip(&rating.scores);
            let scores = scored.map(|(candidate, score)| BranchScore {
                loop_id: candidate.finished.loop_id.clone(),
                score: Some(*score).filter(|score| score.is_finite()),
            });
            Rated {
                winner: checked(strategy, candidates, rating.choice).map(Some),
                scores: scores.collect(),
                usage: rating.usage,
            }
        }
        Ok(Err(error)) => Rated::new(Err(ChoiceError::Failed {
            strategy: name(strategy),
            error,
        })),
        Err(panic) => Rated::new(Err(panicked(strategy, said(panic.as_ref())))),
    }
}

/// Returns the place of the branch that was chosen.
fn checked(
    strategy: &dyn EvaluationStrategy,
    candidates: &[Candidate<'_>],
    choice: usize,
) -> Result<usize, ChoiceError> {
    let out_of_range = || ChoiceError::OutOfRange {
        strategy: name(strategy),
        choice,
        candidates: candidates.len(),
    };
    let candidate = candidates.get(choice).ok_or_else(out_of_range)?;
    Ok(candidate.branch)
}

fn panicked(strategy: &dyn EvaluationStrategy, reason: String) -> ChoiceError {
    ChoiceError::Panicked {
        strategy: name(strategy),
        reason,
    }
}

fn name(strategy: &dyn EvaluationStrategy) -> String {
    caught(|| strategy.name().to_owned()).unwrap_or_else(|_| "unnamed".to_owned())
}
