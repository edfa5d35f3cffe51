//! What does the next request of a long conversation cost a wire?
//!
//! Unit: one request with one more turn, on a conversation of 10,000 messages of 1 KB. The floor is
//! a copy of the bytes of its body, which is the least that a wire without memory does.

use std::sync::Arc;
use std::time::Duration;

use benches::Pair;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use phi_provider::openai_chat::OpenAiChat;
use phi_provider::{AnthropicMessages, Wire};
use phi_types::{
    AssistantMessage, AssistantPart, Entry, History, Origin, Request, SessionId, StopReason,
    TextPart, Usage, UserMessage,
};

fn user(text: &str) -> Entry {
    Entry::User(Arc::new(UserMessage::text(text)))
}

fn answer(text: &str) -> Entry {
    Entry::Assistant(Arc::new(AssistantMessage {
        parts: vec![AssistantPart::Text(TextPart::new(text))],
        stop_reason: StopReason::EndTurn,
        stop_reason_raw: None,
        usage: Usage::default(),
        origin: Origin::default(),
    }))
}

fn request(view: History) -> Request {
    Request {
        session: SessionId::new("bench").expect("a good id"),
        model: "m".into(),
        system: "be brief".into(),
        tools: Arc::from([]),
        view,
        options: Arc::default(),
    }
}

fn encode(criterion: &mut Criterion) {
    let text = "x".repeat(1_000);
    let entries = (0..5_000).flat_map(|_| [user(&text), answer(&text)]);
    let view: History = entries.collect();
    let wires: [Box<dyn Wire>; 2] = [
        Box::new(AnthropicMessages::new()),
        Box::new(OpenAiChat::new("https://api.openai.com/v1")),
    ];
    let mut pairs = Vec::new();
    let mut group = criterion.benchmark_group("encode");
    for wire in &wires {
        let protocol = wire.identity().protocol;
        let first = wire.encode(&request(view.clone())).expect("a request");
        let body = first.request.body_bytes();
        let mut pair = Pair::new(format!("{protocol}, one more turn"), 1);
        group.bench_function(BenchmarkId::new("floor", protocol), |bencher| {
            bencher.iter_custom(|rounds| pair.time_floor(rounds, || (), |()| body.clone()));
        });
        group.bench_function(BenchmarkId::new("phi", protocol), |bencher| {
            bencher.iter_custom(|rounds| {
                let mut view = view.clone();
                let ready = || {
                    view.push(user(&text));
                    let asked = request(view.clone());
                    view.push(answer(&text));
                    asked
                };
                pair.time_phi(rounds, ready, |asked| {
                    wire.encode(&asked).expect("a request")
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
    targets = encode
}
criterion_main!(benches);
