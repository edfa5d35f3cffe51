//! The work of framing grows with the bytes and not with their shape.
//!
//! Work is counted, not timed: bytes allocated, because every copy of the framing is one into new
//! memory.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail where the tests do"
)]
#![expect(clippy::print_stdout, reason = "the tests say what they counted")]

use phi_provider::{Limits, SseDecoder};

/// Frames pieces and returns the events and the bytes that were allocated meanwhile.
fn frame(pieces: &mut dyn Iterator<Item = &[u8]>) -> (u64, u64) {
    let mut events = 0;
    let info = allocation_counter::measure(|| {
        let mut decoder = SseDecoder::new(Limits::default());
        for piece in pieces {
            decoder
                .push(piece, |_| {
                    events += 1;
                    Ok(())
                })
                .unwrap();
        }
    });
    (events, info.bytes_total)
}

/// Bytes that may be allocated for each byte that comes in, with room for growing buffers.
const COPIES_MAX: u64 = 16;

fn assert_linear(body: &str, piece: usize, events_expected: u64) {
    let (events, allocated) = frame(&mut body.as_bytes().chunks(piece));
    assert_eq!(events, events_expected);
    let bytes = u64::try_from(body.len()).unwrap();
    println!("{bytes} bytes in, {allocated} bytes allocated");
    assert!(
        allocated < COPIES_MAX * bytes,
        "{allocated} bytes allocated for {bytes}"
    );
}

#[test]
fn an_event_of_8_mib_in_chunks_of_1_kib() {
    let body = format!("data: {}\n\n", "x".repeat(8 << 20));
    assert_linear(&body, 1 << 10, 1);
}

#[test]
fn a_hundred_thousand_events_in_one_chunk() {
    let body = "data: {\"n\":1,\"text\":\"some text\"}\n\n".repeat(100_000);
    assert_linear(&body, usize::MAX, 100_000);
}

#[test]
fn a_hundred_thousand_lines_in_one_event() {
    let body = format!("{}\n", "data: some text of one line\n".repeat(100_000));
    assert_linear(&body, usize::MAX, 1);
}

#[test]
fn the_same_shapes_cut_into_single_bytes() {
    let events = "data: {\"n\":1,\"text\":\"some text\"}\n\n".repeat(1_000);
    assert_linear(&events, 1, 1_000);
    let lines = format!("{}\n", "data: some text of one line\n".repeat(1_000));
    assert_linear(&lines, 1, 1);
}
