//! Delays, gates, cuts and errors stand between the deltas where the script puts them.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use phi_testkit::{Gate, ManualClock, Reply, ScriptedProvider, request};
use phi_types::{Delta, Provider, ProviderError, ProviderErrorKind, StopReason};

type Got = Result<Delta, ProviderError>;

/// What a stream gives without waiting, and whether it has ended.
fn ready(stream: &mut (impl futures_util::Stream<Item = Got> + Unpin)) -> (Vec<Got>, bool) {
    let mut got = Vec::new();
    loop {
        match stream.next().now_or_never() {
            Some(Some(it)) => got.push(it),
            Some(None) => return (got, true),
            None => return (got, false),
        }
    }
}

fn provider(reply: Reply) -> (ScriptedProvider, ManualClock) {
    let clock = ManualClock::default();
    let provider = ScriptedProvider::new([reply]).with_timer(clock.clone());
    (provider, clock)
}

#[test]
fn a_delay_precedes_the_first_delta_alone() {
    let (provider, clock) = provider(Reply::text("hi").with_delay(Duration::from_secs(2)));
    let mut stream = provider.stream(request("go"));
    assert_eq!(ready(&mut stream), (vec![], false));
    clock.advance(Duration::from_secs(2));
    let (got, ended) = ready(&mut stream);
    assert_eq!(got.len(), 5, "{got:?}");
    assert!(ended);
}

#[test]
fn a_pause_stands_between_deltas() {
    let (provider, clock) = provider(Reply::text("hi").with_pause(Duration::from_secs(1)));
    let mut stream = provider.stream(request("go"));
    for n in 0..5 {
        let (got, ended) = ready(&mut stream);
        assert_eq!((got.len(), ended), (1, n == 4), "{n}");
        clock.advance(Duration::from_secs(1));
    }
}

#[test]
fn a_gate_holds_the_rest_back() {
    let gate = Gate::new();
    let (provider, _) = provider(Reply::text("hi").gated_after(2, &gate));
    let mut stream = provider.stream(request("go"));
    assert_eq!(ready(&mut stream).0.len(), 2);
    gate.open();
    let (rest, ended) = ready(&mut stream);
    assert_eq!(rest.last(), Some(&Ok(Delta::finish(StopReason::EndTurn))));
    assert!(ended);
}

#[test]
fn an_error_is_the_last_thing_and_a_cut_has_no_finish() {
    let error = ProviderError::new(ProviderErrorKind::Network, "reset");
    let (broken, _) = provider(Reply::text("hi").failing_after(2, error.clone()));
    let (got, ended) = ready(&mut broken.stream(request("go")));
    assert_eq!((got.len(), ended), (3, true));
    assert_eq!(got.last(), Some(&Err(error)));
    let (cut, _) = provider(Reply::text("hi").cut_after(2));
    let (got, ended) = ready(&mut cut.stream(request("go")));
    assert_eq!((got.len(), ended), (2, true));
    let (hanging, _) = provider(Reply::text("hi").hanging_after(2));
    let (got, ended) = ready(&mut hanging.stream(request("go")));
    assert_eq!((got.len(), ended), (2, false));
}

#[cfg(feature = "tokio")]
#[tokio::test(start_paused = true)]
async fn a_delay_passes_in_paused_tokio_time() {
    let reply = Reply::text("hi").with_delay(Duration::from_secs(3_600));
    let provider = ScriptedProvider::new([reply]).with_timer(phi_testkit::TokioTimer);
    assert_eq!(provider.stream(request("go")).count().await, 5);
}
