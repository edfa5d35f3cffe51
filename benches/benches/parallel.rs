//! What does the loop add to many tool calls at once?
//!
//! Unit: one turn with 100 calls of a no-op tool that run at once, and the answer after it. The
//! ratio to the floor does not depend on the machine.

use std::time::Duration;

use benches::{CannedProvider, NoopTool, Pair, Subject, floor, prompt, replies, runtime};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

const CALLS: u32 = 100;

fn parallel(criterion: &mut Criterion) {
    let runtime = runtime();
    let tool = NoopTool::default();
    let mut pair = Pair::new(format!("{CALLS} calls at once"), 1);
    let script = || vec![replies::calls(0, CALLS), replies::text(1)];
    let mut group = criterion.benchmark_group("parallel");
    group.bench_function(BenchmarkId::new("floor", CALLS), |bencher| {
        bencher.iter_custom(|rounds| {
            let ready = || (CannedProvider::new(script()), vec![prompt()]);
            pair.time_floor(rounds, ready, |(provider, mut history)| {
                runtime.block_on(floor::run(&provider, &tool, &mut history));
                (provider, history)
            })
        });
    });
    group.bench_function(BenchmarkId::new("phi", CALLS), |bencher| {
        bencher.iter_custom(|rounds| {
            let ready = || {
                let _inside = runtime.enter();
                Subject::new(script())
            };
            pair.time_phi(rounds, ready, |mut subject| {
                runtime.block_on(subject.drain());
                subject
            })
        });
    });
    group.finish();
    eprintln!("{pair}");
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800));
    targets = parallel
}
criterion_main!(benches);
