//! The log of the session names the branches and the choice, and holds each branch as a loop.

use std::sync::Arc;

use crate::support::{At, branch, evaluation, model, soon};
use async_trait::async_trait;
use phi_eval::{Candidate, EvaluationStrategy, First, Rating, StrategyError};
use phi_loop::replay;
use phi_testkit::{ManualClock, MemoryJournal, Reply};
use phi_types::{
    BranchSelected, BranchesStarted, Continuation, Event, EventKind, LoopId, SessionId, Transcript,
    Usage,
};

#[tokio::test(start_paused = true)]
async fn both_events_are_facts_of_the_session() {
    let branches = ["a", "a", "b"].map(|it| branch(it, model([Reply::text(it)])));
    let parent = LoopId::new("s.main.1").unwrap();
    let evaluation = evaluation(branches.to_vec()).after(parent, 4);
    let at = ManualClock::default().now();
    let loops = ["s.a.5", "s.a.6", "s.b.7"].map(|it| LoopId::new(it).unwrap());
    let event = |seq, kind| Event {
        session: SessionId::new("s").unwrap(),
        loop_id: None,
        seq,
        at,
        kind,
    };
    let started = EventKind::BranchesStarted(BranchesStarted {
        loops: loops.to_vec(),
    });
    assert_eq!(evaluation.event(2, at), event(2, started));
    let evaluated = soon(evaluation.run(&First)).await;
    let selected = EventKind::BranchSelected(Arc::new(BranchSelected {
        loops: loops.to_vec(),
        winner: Some(loops[0].clone()),
        strategy: "first".to_owned(),
        scores: Vec::new(),
        usage: None,
    }));
    assert_eq!(evaluated.event(3, at), event(3, selected));
}

/// Takes the candidate that it rates best, and cannot rate the last one.
struct Judge;

#[async_trait]
impl EvaluationStrategy for Judge {
    fn name(&self) -> &'static str {
        "judge"
    }

    async fn choose(&self, candidates: &[Candidate<'_>]) -> Result<usize, StrategyError> {
        Ok(self.rate(candidates).await?.choice)
    }

    async fn rate(&self, _candidates: &[Candidate<'_>]) -> Result<Rating, StrategyError> {
        Ok(Rating {
            choice: 1,
            scores: vec![0.25, 0.75, f64::NAN],
            usage: Some(Usage {
                input_tokens: Some(7),
                ..Usage::default()
            }),
        })
    }
}

#[tokio::test(start_paused = true)]
async fn the_choice_names_its_scores_and_what_it_took() {
    let branches = ["a", "b", "c"].map(|it| branch(it, model([Reply::text(it)])));
    let evaluated = soon(evaluation(branches.to_vec()).run(&Judge)).await;
    let event = evaluated.event(1, ManualClock::default().now());
    let EventKind::BranchSelected(selected) = &event.kind else {
        panic!("another kind")
    };
    let scores: Vec<Option<f64>> = selected.scores.iter().map(|it| it.score).collect();
    assert_eq!(scores, [Some(0.25), Some(0.75), None]);
    assert_eq!(
        selected.scores[1].loop_id,
        evaluated.winner().unwrap().unwrap().loop_id
    );
    assert_eq!(selected.usage.unwrap().input_tokens, Some(7));
}

#[tokio::test(start_paused = true)]
async fn each_branch_is_a_loop_that_replays_from_the_shared_history() {
    let branches = ["a", "b"].map(|it| branch(it, model([Reply::text(it)])));
    let parent = LoopId::new("s.main.1").unwrap();
    let journal = MemoryJournal::new();
    let evaluation = evaluation(branches.to_vec())
        .after(parent.clone(), 1)
        .journal(Arc::new(journal.clone()));
    let evaluated = soon(evaluation.run(&At(1))).await;
    let events = journal.events();
    for (branch, loop_id) in evaluated.branches().iter().zip(evaluation.loops()) {
        assert_eq!(branch.loop_id, loop_id);
        let own: Vec<Event> = events
            .iter()
            .filter(|it| it.loop_id.as_ref() == Some(&loop_id))
            .cloned()
            .collect();
        let EventKind::LoopStarted(started) = &own[0].kind else {
            panic!("{:?}", own[0])
        };
        assert_eq!(started.parent, Some(parent.clone()));
        assert_eq!(started.continuation, Continuation::Branch);
        let seqs = own.iter().map(|it| it.seq);
        assert!(seqs.eq(1..=u64::try_from(own.len()).unwrap()));
        let machine = replay(&Transcript::new(), &own).unwrap();
        assert_eq!(machine.transcript(), &branch.transcript);
    }
}
