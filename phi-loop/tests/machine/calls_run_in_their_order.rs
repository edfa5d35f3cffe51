//! The calls of a turn run one by one, up to a cap, or in groups; results keep the calls' order.

use phi_types::{EventKind, ToolExecution};

use crate::facts::{check, execution, request, words};
use crate::support::Bench;

fn called(how: ToolExecution) -> Bench {
    let mut bench = Bench::started(execution(how), "Do it.");
    bench.call(&["once"; 5]);
    bench
}

/// The places of the calls that have started, in order.
fn started(bench: &Bench) -> Vec<u32> {
    let started = bench.events.iter().filter_map(|event| match &event.kind {
        EventKind::ToolStarted(it) => Some(it.index),
        _ => None,
    });
    started.collect()
}

#[test]
fn sequential_calls_start_when_the_one_before_has_ended() {
    for how in [
        ToolExecution::Sequential,
        ToolExecution::Parallel { max: 1 },
        ToolExecution::Parallel { max: 0 },
        ToolExecution::Batched { size: 1 },
        ToolExecution::Batched { size: 0 },
    ] {
        let mut bench = called(how);
        for n in 0..5 {
            assert_eq!(started(&bench), (0..=n).collect::<Vec<u32>>(), "{how:?}");
            let running = bench.tools();
            assert_eq!(running.len(), 1);
            bench.end_tool(running[0].clone(), "ok");
        }
        check(&bench);
    }
}

#[test]
fn parallel_calls_fill_the_cap_as_one_ends() {
    let mut bench = called(ToolExecution::Parallel { max: 2 });
    assert_eq!(started(&bench), [0, 1]);
    let mut running = bench.tools();
    bench.end_tool(running.remove(1), "second");
    assert_eq!(started(&bench), [0, 1, 2]);
    running.extend(bench.tools());
    bench.end_tool(running.remove(1), "third");
    assert_eq!(started(&bench), [0, 1, 2, 3]);
    bench.end_tool(running.remove(0), "first");
    assert_eq!(started(&bench), [0, 1, 2, 3, 4]);
    for effect in bench.tools().into_iter().rev() {
        bench.end_tool(effect, "late");
    }
    let view = words(&request(&bench).view);
    assert_eq!(view[2], "results: first | second | third | late | late");
    check(&bench);
}

#[test]
fn a_group_starts_when_the_group_before_has_ended() {
    let mut bench = called(ToolExecution::Batched { size: 2 });
    assert_eq!(started(&bench), [0, 1]);
    let running = bench.tools();
    bench.end_tool(running[1].clone(), "ok");
    assert_eq!(started(&bench), [0, 1], "one of the group still runs");
    bench.end_tool(running[0].clone(), "ok");
    assert_eq!(started(&bench), [0, 1, 2, 3]);
    for effect in bench.tools() {
        bench.end_tool(effect, "ok");
    }
    assert_eq!(started(&bench), [0, 1, 2, 3, 4]);
    check(&bench);
}
