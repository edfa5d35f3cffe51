//! Every branch comes back: winner, losers, failed ones and those that were cancelled.

use std::sync::Arc;

use crate::support::{At, answers, branch, caller, evaluation, model, soon};
use phi_eval::First;
use phi_testkit::{Gate, MemoryJournal, Reply, ScriptedTool};
use phi_types::{
    EventKind, Outcome, Price, ProviderError, ProviderErrorKind, StopCause, ToolEnding, Usage,
};

fn usage(output_tokens: u64) -> Usage {
    Usage {
        output_tokens: Some(output_tokens),
        ..Usage::default()
    }
}

fn failing() -> phi_loop::Driver {
    let error = ProviderError::new(ProviderErrorKind::Auth, "no key");
    model([Reply::new().after_error(error)])
}

#[tokio::test(start_paused = true)]
async fn the_first_branch_to_complete_wins_and_the_failed_one_does_not() {
    let gate = Gate::new();
    let slow = Reply::text("slow").gated_after(2, &gate);
    let branches = vec![
        branch("failed", failing()),
        branch("slow", model([slow])),
        branch("fast", model([Reply::text("fast")])),
    ];
    let evaluated = soon(evaluation(branches).run(&First)).await;
    assert_eq!(evaluated.place(), Ok(Some(2)));
    let winner = evaluated.winner().unwrap().unwrap();
    assert_eq!(winner.loop_id.as_str(), "s.fast.3");
    let outcomes: Vec<_> = evaluated.branches().iter().map(|it| &it.outcome).collect();
    assert!(
        matches!(outcomes[0], Outcome::Failed { .. }),
        "{outcomes:?}"
    );
    assert_eq!(
        outcomes[1..],
        [&Outcome::Cancelled {}, &Outcome::Completed {}]
    );
    let said = &answers(&evaluated)[1];
    assert!(
        !said.is_empty() && "slow".starts_with(said),
        "what it had said is kept"
    );
}

#[tokio::test(start_paused = true)]
async fn failed_branches_alone_have_no_winner() {
    let branches = || vec![branch("a", failing()), branch("b", failing())];
    for evaluated in [
        soon(evaluation(branches()).run(&First)).await,
        soon(evaluation(branches()).run(&At(0))).await,
    ] {
        assert_eq!(evaluated.winner(), Ok(None));
        assert_eq!(evaluated.branches().len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn usage_and_cost_of_every_branch_are_there_and_add_up() {
    let price = Price {
        input_usd: 0.0,
        output_usd: 1_000_000.0,
        cache_read_usd: 0.0,
        cache_write_usd: 0.0,
    };
    let says = |tokens| {
        let driver = model([Reply::text("x").with_usage(usage(tokens))]);
        let mut surface = driver.surface("", "model");
        let mut targets = surface.models.to_vec();
        targets[0].price = Some(price);
        surface.models = targets.into();
        phi_eval::Branch::new(driver, phi_types::Configuration::default(), surface)
    };
    let evaluated = soon(evaluation(vec![says(1), says(20)]).run(&At(1))).await;
    let branches = evaluated.branches().iter();
    let each: Vec<_> = branches.map(|it| (it.usage, it.cost_usd)).collect();
    assert_eq!(each, [(usage(1), 1.0), (usage(20), 20.0)]);
    assert_eq!((evaluated.usage(), evaluated.cost_usd()), (usage(21), 21.0));
}

#[tokio::test(start_paused = true)]
async fn a_branch_that_is_cancelled_reports_what_it_did_and_ends_in_its_log() {
    let gate = Gate::new();
    let (acts, hangs) = (
        ScriptedTool::returning("act", "done"),
        ScriptedTool::hanging("hang"),
    );
    let busy = model([
        Reply::call("act", "{}").with_usage(usage(5)),
        Reply::call("hang", "{}").with_usage(usage(7)),
    ]);
    let busy = busy.tools(vec![Arc::new(acts), Arc::new(hangs.clone())]);
    let winner = model([Reply::text("done").gated_after(0, &gate)]);
    let journal = MemoryJournal::new();
    let evaluation = evaluation(vec![branch("busy", busy), branch("winner", winner)])
        .journal(Arc::new(journal.clone()));
    let open = async {
        hangs.until_started(1).await;
        gate.open();
    };
    let (evaluated, ()) = soon(async { tokio::join!(evaluation.run(&First), open) }).await;
    assert_eq!(evaluated.place(), Ok(Some(1)));
    let busy = &evaluated.branches()[0];
    assert_eq!(busy.outcome, Outcome::Cancelled {});
    assert_eq!(busy.usage, usage(12));
    assert_eq!(hangs.dropped(), 1, "the call was stopped");
    // Prompt, call, result, call, the synthetic result.
    assert_eq!(busy.transcript.history().len(), 5);
    let of_busy = journal
        .events()
        .into_iter()
        .filter(|it| it.loop_id.as_ref() == Some(&busy.loop_id));
    let kinds: Vec<EventKind> = of_busy.map(|it| it.kind).collect();
    assert!(kinds.iter().any(|it| matches!(
        it,
        EventKind::StopRequested(asked) if asked.cause == StopCause::Cancel {}
    )));
    assert!(kinds.iter().any(|it| matches!(
        it,
        EventKind::ToolEnded(ended) if ended.ending == ToolEnding::Cancelled
    )));
    assert!(matches!(
        kinds.last(),
        Some(EventKind::LoopEnded(ended)) if ended.outcome == Outcome::Cancelled {}
    ));
}

#[tokio::test(start_paused = true)]
async fn a_branch_that_never_started_is_cancelled_and_did_nothing() {
    let tool = ScriptedTool::returning("act", "done");
    let branches = vec![
        branch("a", model([Reply::text("a")])),
        branch("b", caller(&tool, "b")),
    ];
    let journal = MemoryJournal::new();
    let evaluation = evaluation(branches)
        .at_once(1)
        .journal(Arc::new(journal.clone()));
    let evaluated = soon(evaluation.run(&First)).await;
    let idle = &evaluated.branches()[1];
    assert_eq!(
        (idle.loop_id.as_str(), &idle.outcome),
        ("s.b.2", &Outcome::Cancelled {})
    );
    assert!(idle.transcript.history().is_empty());
    assert_eq!((tool.started(), idle.usage), (0, Usage::default()));
    let mut events = journal.events().into_iter();
    assert!(events.all(|it| it.loop_id.as_ref() != Some(&idle.loop_id)));
}
