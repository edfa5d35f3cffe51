//! What do hooks cost that are not set, and that claim points?
//!
//! Unit: one turn of 100 with one call of a no-op tool. `none` has no hooks, `empty` has hooks that
//! claim no point and must cost the same, `all` claims every point and changes nothing.

use std::sync::Arc;
use std::time::Duration;

use benches::{EveryPoint, Subject, replies, runtime};
use criterion::{Criterion, criterion_group, criterion_main};
use phi_loop::Hooks;
use phi_types::Transcript;

const TURNS: u32 = 100;

fn hooks(criterion: &mut Criterion) {
    let runtime = runtime();
    let empty: Arc<dyn Hooks> = Arc::new(Vec::<Arc<dyn Hooks>>::new());
    let cases: [(&str, Option<Arc<dyn Hooks>>); 3] = [
        ("none", None),
        ("empty", Some(empty)),
        ("all", Some(Arc::new(EveryPoint))),
    ];
    let mut group = criterion.benchmark_group("hooks");
    for (name, hooks) in cases {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| {
                let mut sum = Duration::ZERO;
                for _ in 0..rounds {
                    let _inside = runtime.enter();
                    let prepared = Subject::prepare(Transcript::new(), replies::tool_turns(TURNS));
                    let prepared = match &hooks {
                        Some(hooks) => prepared.hooks(Arc::clone(hooks)),
                        None => prepared,
                    };
                    let mut subject = Subject::begin(prepared);
                    let began = std::time::Instant::now();
                    runtime.block_on(subject.drain());
                    sum += began.elapsed();
                }
                sum / TURNS
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800));
    targets = hooks
}
criterion_main!(benches);
