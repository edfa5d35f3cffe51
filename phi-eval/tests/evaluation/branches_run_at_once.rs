//! All branches are in flight at once, up to the cap.

use crate::support::{At, answers, branch, caller, evaluation, soon};
use phi_eval::First;
use phi_testkit::{Gate, ScriptedTool};
use phi_types::Outcome;

fn branches(count: usize, tool: &ScriptedTool) -> Vec<phi_eval::Branch> {
    let names = (0..count).map(|at| format!("b{at}"));
    names.map(|it| branch(&it, caller(tool, &it))).collect()
}

#[tokio::test(start_paused = true)]
async fn as_many_branches_as_there_are_run_at_once() {
    let gate = Gate::new();
    let tool = ScriptedTool::gated("wait", &gate, "done");
    let evaluation = evaluation(branches(8, &tool));
    let open = async {
        tool.until_started(8).await;
        gate.open();
    };
    let (evaluated, ()) = soon(async { tokio::join!(evaluation.run(&At(0)), open) }).await;
    assert_eq!(tool.running_max(), 8);
    assert_eq!(
        answers(&evaluated),
        ["b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7"]
    );
}

#[tokio::test(start_paused = true)]
async fn no_more_branches_than_the_cap_run_at_once() {
    let gate = Gate::new();
    let tool = ScriptedTool::gated("wait", &gate, "done");
    let evaluation = evaluation(branches(8, &tool)).at_once(3);
    let open = async {
        tool.until_started(3).await;
        gate.open();
    };
    let (evaluated, ()) = soon(async { tokio::join!(evaluation.run(&At(0)), open) }).await;
    assert_eq!((tool.running_max(), tool.started()), (3, 8));
    let outcomes = evaluated.branches().iter().map(|it| &it.outcome);
    assert!(outcomes.eq(&vec![Outcome::Completed {}; 8]));
}

#[tokio::test(start_paused = true)]
async fn a_cap_of_zero_counts_as_one() {
    let tool = ScriptedTool::returning("act", "done");
    let evaluation = evaluation(branches(2, &tool)).at_once(0);
    let evaluated = soon(evaluation.run(&First)).await;
    assert_eq!(tool.started(), 1, "the second was not needed");
    assert_eq!(evaluated.place(), Ok(Some(0)));
}

#[tokio::test(start_paused = true)]
async fn no_branches_choose_nothing() {
    let evaluated = soon(evaluation(Vec::new()).run(&First)).await;
    assert_eq!(evaluated.place(), Ok(None));
    assert!(evaluated.branches().is_empty());
}
