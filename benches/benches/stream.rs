//! What does the loop add to one streamed delta, and does it grow with the length of the answer?
//!
//! Unit: one text delta of 8 bytes that the provider hands out at once and a caller takes and drops.
//! The ratio to the floor does not depend on the machine; neither does the ratio of 100,000 deltas
//! to 10,000, which is 1 for a loop that keeps no more than the text.

use std::time::Duration;

use benches::{CannedProvider, NoopTool, Pair, Subject, floor, prompt, replies, runtime};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

fn stream(criterion: &mut Criterion) {
    let runtime = runtime();
    let tool = NoopTool::default();
    let mut pairs = Vec::new();
    let mut group = criterion.benchmark_group("stream");
    for deltas in [10_000_u32, 100_000] {
        let mut pair = Pair::new(format!("{deltas} deltas, one delta"), deltas);
        group.bench_function(BenchmarkId::new("floor", deltas), |bencher| {
            bencher.iter_custom(|rounds| {
                let ready = || {
                    let reply = replies::text(deltas);
                    (CannedProvider::new(vec![reply]), vec![prompt()])
                };
                pair.time_floor(rounds, ready, |(provider, mut history)| {
                    runtime.block_on(floor::run(&provider, &tool, &mut history));
                    (provider, history)
                })
            });
        });
        group.bench_function(BenchmarkId::new("phi", deltas), |bencher| {
            bencher.iter_custom(|rounds| {
                let ready = || {
                    let _inside = runtime.enter();
                    Subject::new(vec![replies::text(deltas)])
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
    targets = stream
}
criterion_main!(benches);
