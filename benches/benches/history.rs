//! What does one more turn cost on a long conversation?
//!
//! Unit: one loop of one turn without a call, begun on 10,000 messages of 1 KB and on none; the
//! provider does not read the view. Starting the loop is inside of the time, making the provider
//! and its driver is not. The ratio of the two does not depend on the machine; it is 1 for a loop
//! that never walks the past.

use std::time::Duration;

use benches::{
    CannedProvider, NoopTool, Pair, Subject, conversation, floor, prompt, replies, runtime,
};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

fn history(criterion: &mut Criterion) {
    let runtime = runtime();
    let tool = NoopTool::default();
    let mut pairs = Vec::new();
    let mut group = criterion.benchmark_group("history");
    for messages in [0_usize, 10_000] {
        let mut pair = Pair::new(format!("one turn on {messages} messages of 1 KB"), 1);
        let mut past: Vec<_> = (0..=messages).map(|_| prompt()).collect();
        group.bench_function(BenchmarkId::new("floor", messages), |bencher| {
            bencher.iter_custom(|rounds| {
                let ready = || CannedProvider::new(vec![replies::text(1)]);
                pair.time_floor(rounds, ready, |provider| {
                    runtime.block_on(floor::run(&provider, &tool, &mut past));
                    (provider, past.pop())
                })
            });
        });
        let transcript = conversation(messages);
        group.bench_function(BenchmarkId::new("phi", messages), |bencher| {
            bencher.iter_custom(|rounds| {
                let ready = || Subject::prepare(transcript.clone(), vec![replies::text(1)]);
                pair.time_phi(rounds, ready, |prepared| {
                    runtime.block_on(async {
                        let mut subject = Subject::begin(prepared);
                        subject.drain().await;
                        subject
                    })
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
    targets = history
}
criterion_main!(benches);
