//! What does a compaction of 10,000 messages cost the machine?
//!
//! Unit: one loop at the point where its compactor has answered, on a view of 10,000 messages of
//! 1 KB; the time is that of the one input that takes the answer over, from the check to the
//! announcement of the next request. `one` leaves out the second message, so that almost the whole
//! view moves; `half` leaves out the older half, which is what a compaction does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::DateTime;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

use benches::conversation;
use phi_loop::{Effect, Input, Machine, Output, Start};
use phi_types::{
    CompactAt, CompactionBlock, Configuration, Identity, SessionId, Surface, Target, Transcript,
    Usage, UserMessage,
};

const MESSAGES: usize = 10_000;

/// A machine whose compactor is at work.
fn compacting(transcript: &Transcript) -> (Machine, Input, u64) {
    let identity = Identity {
        protocol: "openai-chat",
        provider: "openai",
    };
    let surface = Surface {
        models: Arc::from([Target::new(identity, "m")]),
        ..Surface::default()
    };
    let configuration = Configuration {
        compaction: true,
        compact_at: Some(CompactAt::Tokens(1)),
        ..Configuration::default()
    };
    let session = SessionId::new("s").expect("the id is valid");
    let mut start = Start::new(session, configuration, surface);
    start.transcript = transcript.clone();
    let mut machine = Machine::new(start);
    let prompt = Arc::new(UserMessage::text("Go on."));
    let taken = machine.handle(DateTime::default(), Input::Prompt(vec![prompt]));
    assert_eq!(taken, Ok(()));
    while let Some(output) = machine.poll() {
        if let Output::Effect(Effect::Compact(compact)) = output {
            let len = compact.view.len() as u64;
            let block = CompactionBlock {
                first: 1,
                count: 1,
                replacement: Vec::new(),
            };
            let input = Input::Compacted(compact.id, block.into(), Usage::default());
            return (machine, input, len);
        }
    }
    unreachable!("the threshold is one token");
}

fn compaction(criterion: &mut Criterion) {
    let transcript = conversation(MESSAGES);
    let mut group = criterion.benchmark_group("compaction");
    for (name, part) in [("one", MESSAGES as u64), ("half", 2)] {
        group.bench_function(BenchmarkId::new(name, MESSAGES), |bencher| {
            bencher.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                for _ in 0..rounds {
                    let (mut machine, input, len) = compacting(&transcript);
                    let input = match input {
                        Input::Compacted(id, mut compacted, usage) => {
                            if let Some(block) = &mut compacted.block {
                                block.count = (len / part).max(1);
                            }
                            Input::Compacted(id, compacted, usage)
                        }
                        other => other,
                    };
                    let begun = Instant::now();
                    let taken = machine.handle(DateTime::default(), input);
                    spent += begun.elapsed();
                    assert_eq!(taken, Ok(()));
                    assert!(machine.transcript().view().len() as u64 <= len);
                }
                spent
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
    targets = compaction
}
criterion_main!(benches);
