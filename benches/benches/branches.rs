//! What do 64 branches over a long conversation cost?
//!
//! Unit: one evaluation of 64 branches of one turn each, over 10,000 messages of 1 KB and over none;
//! the floor runs the least loop 64 times on a list that it shares. The ratio of the two does not
//! depend on the machine; it is 1 where branches share their history.

use std::time::Duration;

use benches::{
    CannedProvider, NoopTool, Pair, branches, conversation, floor, prompt, replies, runtime,
};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use phi_eval::{Candidate, EvaluationStrategy, StrategyError};

const BRANCHES: usize = 64;

/// Waits for every branch.
struct All;

#[async_trait::async_trait]
impl EvaluationStrategy for All {
    fn name(&self) -> &'static str {
        "all"
    }

    async fn choose(&self, _candidates: &[Candidate<'_>]) -> Result<usize, StrategyError> {
        Ok(0)
    }
}

fn evaluate(criterion: &mut Criterion) {
    let runtime = runtime();
    let tool = NoopTool::default();
    let mut pairs = Vec::new();
    let mut group = criterion.benchmark_group("branches");
    for messages in [0, 10_000] {
        let mut pair = Pair::new(format!("{BRANCHES} branches on {messages} messages"), 1);
        group.bench_function(BenchmarkId::new("floor", messages), |bencher| {
            bencher.iter_custom(|rounds| {
                let ready = || CannedProvider::new(vec![replies::text(1); BRANCHES]);
                pair.time_floor(rounds, ready, |provider| {
                    let mut own: Vec<_> = (0..BRANCHES).map(|_| vec![prompt()]).collect();
                    runtime.block_on(async {
                        for history in &mut own {
                            floor::run(&provider, &tool, history).await;
                        }
                    });
                    (provider, own)
                })
            });
        });
        let transcript = conversation(messages);
        group.bench_function(BenchmarkId::new("phi", messages), |bencher| {
            bencher.iter_custom(|rounds| {
                let ready = || branches(transcript.clone(), BRANCHES);
                pair.time_phi(rounds, ready, |evaluation| {
                    let evaluated = runtime.block_on(evaluation.run(&All));
                    (evaluation, evaluated)
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
    targets = evaluate
}
criterion_main!(benches);
