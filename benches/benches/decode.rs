//! How fast does a stream of a service become deltas?
//!
//! Unit: one recorded stream of 50 MB in pieces of 16 KiB, in memory. The floor is the least that a
//! provider on the usual libraries does: `eventsource-stream` over the same pieces, and the data of
//! each event into a struct that holds nothing but its text. An event of 8 MiB in pieces of 1 KiB
//! has the JSON parser alone as its floor.

use std::convert::Infallible;
use std::time::Duration;

use benches::{Pair, Recording};
use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use eventsource_stream::Eventsource;
use futures_util::{StreamExt, stream};
use phi_provider::openai_chat::OpenAiChat;
use phi_provider::{AnthropicMessages, ResponseHead, Wire};
use phi_types::Delta;
use serde::Deserialize;

const PIECE: usize = 16 << 10;

/// Decodes with a wire of phi and returns the bytes of text.
fn phi(wire: &dyn Wire, body: &[u8], piece: usize) -> usize {
    let mut decoder = wire.decoder(&ResponseHead::new(200));
    let mut deltas = Vec::new();
    let mut text = 0;
    for piece in body.chunks(piece) {
        decoder.push(piece, &mut deltas).expect("a recorded stream");
        for delta in deltas.drain(..) {
            if let Delta::Text(delta) = delta {
                text += delta.text.len();
            }
        }
    }
    decoder.end(&mut deltas).expect("a recorded stream");
    text
}

#[derive(Deserialize)]
struct AnthropicEvent {
    #[serde(rename = "type")]
    kind: String,
    delta: Option<AnthropicDelta>,
}

#[derive(Deserialize)]
struct AnthropicDelta {
    text: Option<String>,
}

#[derive(Deserialize)]
struct Chunk {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    delta: ChunkDelta,
}

#[derive(Deserialize)]
struct ChunkDelta {
    content: Option<String>,
}

fn text_of(protocol: &str, data: &str) -> usize {
    if protocol == "anthropic-messages" {
        let event: AnthropicEvent = serde_json::from_str(data).expect("a recorded event");
        let text = event.delta.and_then(|delta| delta.text);
        return text
            .filter(|_| event.kind == "content_block_delta")
            .map_or(0, |it| it.len());
    }
    if data == "[DONE]" {
        return 0;
    }
    let chunk: Chunk = serde_json::from_str(data).expect("a recorded chunk");
    let texts = chunk.choices.into_iter().filter_map(|it| it.delta.content);
    texts.map(|it| it.len()).sum()
}

/// Decodes with the usual libraries and returns the bytes of text.
fn floor(protocol: &str, pieces: Vec<Bytes>) -> usize {
    let pieces = stream::iter(pieces.into_iter().map(Ok::<_, Infallible>));
    let mut events = pieces.eventsource();
    let mut text = 0;
    futures_util::FutureExt::now_or_never(async {
        while let Some(event) = events.next().await {
            let event = event.expect("a recorded stream");
            text += text_of(protocol, &event.data);
        }
    })
    .expect("all bytes are there");
    text
}

fn pieces(body: &[u8], piece: usize) -> Vec<Bytes> {
    body.chunks(piece).map(Bytes::copy_from_slice).collect()
}

fn decode(criterion: &mut Criterion) {
    let mut pairs = Vec::new();
    let mut group = criterion.benchmark_group("decode");
    let wires: [(Recording, Box<dyn Wire>); 2] = [
        (
            Recording::anthropic(50_000_000),
            Box::new(AnthropicMessages::new()),
        ),
        (
            Recording::openai_chat(50_000_000),
            Box::new(OpenAiChat::new("https://api.openai.com/v1")),
        ),
    ];
    for (recording, wire) in &wires {
        let Recording {
            protocol,
            body,
            events,
        } = recording;
        assert_eq!(
            phi(&**wire, body, PIECE),
            floor(protocol, pieces(body, PIECE))
        );
        let events = u32::try_from(*events).expect("a number of events");
        let mut pair = Pair::new(format!("{protocol}, one event"), events);
        group.throughput(Throughput::Bytes(body.len() as u64 / u64::from(events)));
        group.bench_function(BenchmarkId::new("floor", protocol), |bencher| {
            bencher.iter_custom(|rounds| {
                pair.time_floor(rounds, || pieces(body, PIECE), |it| floor(protocol, it))
            });
        });
        group.bench_function(BenchmarkId::new("phi", protocol), |bencher| {
            bencher
                .iter_custom(|rounds| pair.time_phi(rounds, || (), |()| phi(&**wire, body, PIECE)));
        });
        pairs.push(pair);
    }
    let long = "x".repeat(8 << 20);
    let data = format!(
        r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{long}"}}}}"#
    );
    let end = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#;
    let body = format!("data: {data}\n\ndata: {end}\n\n");
    let wire = AnthropicMessages::new();
    let mut pair = Pair::new("an event of 8 MiB in pieces of 1 KiB", 1);
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("floor/8 MiB", |bencher| {
        bencher.iter_custom(|rounds| {
            pair.time_floor(rounds, || (), |()| text_of("anthropic-messages", &data))
        });
    });
    group.bench_function("phi/8 MiB", |bencher| {
        bencher.iter_custom(|rounds| {
            pair.time_phi(rounds, || (), |()| phi(&wire, body.as_bytes(), 1 << 10))
        });
    });
    pairs.push(pair);
    group.finish();
    for pair in pairs {
        eprintln!("{pair}");
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(1_500));
    targets = decode
}
criterion_main!(benches);
