//! What does the loop add to one turn, and does it grow with the number of turns?
//!
//! Unit: one turn with one call of a no-op tool; the answer that ends the loop is shared among the
//! turns. The ratio to the floor does not depend on the machine; neither does the ratio of 1,000
//! turns to 10, which is 1 for a loop whose turns do not walk the past.

use std::time::Duration;

use benches::{CannedProvider, NoopTool, Pair, Subject, floor, prompt, replies, runtime};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

fn turn(criterion: &mut Criterion) {
    let runtime = runtime();
    let tool = NoopTool::default();
    let mut pairs = Vec::new();
    let mut group = criterion.benchmark_group("turn");
    for turns in [1_u32, 10, 100, 1_000] {
        let mut pair = Pair::new(format!("{turns} turns, one turn"), turns);
        group.bench_function(BenchmarkId::new("floor", turns), |bencher| {
            bencher.iter_custom(|rounds| {
                let ready = || {
                    (
                        CannedProvider::new(replies::tool_turns(turns)),
                        vec![prompt()],
                    )
                };
                pair.time_floor(rounds, ready, |(provider, mut history)| {
                    runtime.block_on(floor::run(&provider, &tool, &mut history));
                    (provider, history)
                })
            });
        });
        group.bench_function(BenchmarkId::new("phi", turns), |bencher| {
            bencher.iter_custom(|rounds| {
                let ready = || {
                    let _inside = runtime.enter();
                    Subject::new(replies::tool_turns(turns))
                };
                pair.time_phi(rounds, ready, |mut subject| {
                    runtime.block_on(subject.drain());
                    subject
                })
            });
        });
        pairs.push(pair);
    }
    group.finish();
    for pair in pairs {
        eprintln!("{pair}");
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800));
    targets = turn
}
criterion_main!(benches);
