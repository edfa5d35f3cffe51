//! The log of the session names the branches and the choice, and holds each branch as a loop.

use std::sync::Arc;

use crate::support::{At, branch, evaluation, model, soon};
use phi_eval::First;
use phi_loop::replay;
use phi_testkit::{ManualClock, MemoryJournal, Reply};
use phi_types::{
    BranchSelected, BranchesStarted, Continuation, Event, EventKind, LoopId, SessionId, Transcript,
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
    let selected = EventKind::BranchSelected(BranchSelected {
        loops: loops.to_vec(),
        winner: Some(loops[0].clone()),
        strategy: "first".to_owned(),
    });
    assert_eq!(evaluated.event(3, at), event(3, selected));
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
