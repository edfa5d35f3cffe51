//! A provider is not asked too much at once.
#![cfg(feature = "transport")]

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join_all, poll_immediate};
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use phi_provider::{Allowance, Limited};
use phi_testkit::{Gate, Reply, ScriptedProvider, request};
use phi_types::{Delta, Provider, ProviderError, ProviderErrorKind};
use tokio::time::Instant;

type Stream = BoxStream<'static, Result<Delta, ProviderError>>;

fn limited(reply: impl Fn() -> Reply, allowance: Allowance) -> (Limited, Arc<ScriptedProvider>) {
    let replies: Vec<Reply> = (0..64).map(|_| reply()).collect();
    let inner = Arc::new(ScriptedProvider::new(replies));
    let provider: Arc<dyn Provider> = inner.clone();
    (Limited::new(provider, allowance), inner)
}

fn hello() -> Reply {
    Reply::text("hello")
}

/// Reads a stream to its end.
async fn end(mut stream: Stream) -> Result<(), ProviderError> {
    while let Some(delta) = stream.next().await {
        delta?;
    }
    Ok(())
}

/// Polls a stream once: whether something came.
async fn starts(stream: &mut Stream) -> bool {
    poll_immediate(stream.next()).await.is_some()
}

#[tokio::test]
async fn no_more_streams_run_at_once_than_allowed_and_clones_share_that() {
    let (provider, inner) = limited(hello, Allowance::streams(2));
    let other = provider.clone();
    let mut first = provider.stream(request("1"));
    let mut second = other.stream(request("2"));
    let mut third = provider.stream(request("3"));
    assert!(starts(&mut first).await && starts(&mut second).await);
    assert!(!starts(&mut third).await);
    assert_eq!(inner.request_count(), 2, "the third is not asked");
    drop(first);
    assert!(starts(&mut third).await);
    end(second).await.unwrap();
    let mut fourth = other.stream(request("4"));
    assert!(starts(&mut fourth).await, "an ended stream frees its place");
    assert_eq!(provider.identity(), inner.identity());
}

#[tokio::test]
async fn a_stream_that_ended_or_failed_frees_its_place_before_it_is_dropped() {
    let failing = || {
        let error = ProviderError::new(ProviderErrorKind::Server, "no");
        Reply::text("hello").failing_after(1, error)
    };
    for (reply, fails) in [(&hello as &dyn Fn() -> Reply, false), (&failing, true)] {
        let (provider, _) = limited(reply, Allowance::streams(1));
        let mut first = provider.stream(request("1"));
        let mut failed = false;
        while let Some(delta) = first.next().await {
            failed |= delta.is_err();
        }
        assert_eq!(failed, fails);
        assert!(starts(&mut provider.stream(request("2"))).await);
        assert!(first.next().await.is_none());
    }
}

#[tokio::test]
async fn turns_are_given_in_the_order_in_which_calls_came() {
    let (provider, inner) = limited(hello, Allowance::streams(1));
    let mut running = provider.stream(request("0"));
    assert!(starts(&mut running).await);
    let mut waiting: Vec<Stream> = (1..=3)
        .map(|n| provider.stream(request(&n.to_string())))
        .collect();
    for stream in &mut waiting {
        assert!(!starts(stream).await);
    }
    drop(running);
    let mut late = provider.stream(request("late"));
    assert!(!starts(&mut late).await, "a free place is for who waited");
    for mut stream in waiting {
        assert!(starts(&mut stream).await);
        assert!(!starts(&mut late).await);
    }
    assert!(starts(&mut late).await);
    assert_eq!(inner.request_count(), 5);
}

#[tokio::test]
async fn a_call_that_leaves_gives_its_turn_to_the_next() {
    let (provider, inner) = limited(hello, Allowance::streams(1));
    let mut running = provider.stream(request("0"));
    assert!(starts(&mut running).await);
    let (mut leaving, mut staying) = (provider.stream(request("1")), provider.stream(request("2")));
    assert!(!starts(&mut leaving).await && !starts(&mut staying).await);
    drop(running);
    // It has its turn by now, and leaves without knowing.
    drop(leaving);
    assert!(starts(&mut staying).await);
    assert_eq!(inner.request_count(), 2);
}

#[tokio::test]
async fn no_more_calls_wait_than_allowed() {
    let (provider, _) = limited(hello, Allowance::streams(1).with_waiting_max(1));
    let mut running = provider.stream(request("0"));
    assert!(
        starts(&mut running).await,
        "who gets a place at once does not wait"
    );
    let mut waiting = provider.stream(request("1"));
    assert!(!starts(&mut waiting).await);
    let error = end(provider.stream(request("2"))).await.unwrap_err();
    assert_eq!(error.kind, ProviderErrorKind::RateLimited);
    assert!(
        error
            .message
            .starts_with("1 calls wait for their turn already"),
        "{error}"
    );
    drop(waiting);
    let mut another = provider.stream(request("3"));
    assert!(
        !starts(&mut another).await,
        "who left does not wait any more"
    );
    drop(running);
    assert!(starts(&mut another).await);
}

#[tokio::test(start_paused = true)]
async fn no_stretch_of_time_sees_more_requests_than_allowed() {
    let within = Duration::from_secs(10);
    let (provider, inner) = limited(hello, Allowance::streams(100).with_requests(3, within));
    let began = Instant::now();
    let calls = (0..10).map(|_| {
        let provider = provider.clone();
        async move {
            end(provider.stream(request("go"))).await.unwrap();
            began.elapsed().as_secs()
        }
    });
    let times = join_all(calls).await;
    assert_eq!(times, [0, 0, 0, 10, 10, 10, 20, 20, 20, 30]);
    assert_eq!(inner.request_count(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_leaves_while_it_waits_for_its_time_costs_nothing() {
    let within = Duration::from_secs(10);
    let (provider, _) = limited(hello, Allowance::streams(9).with_requests(1, within));
    let began = Instant::now();
    end(provider.stream(request("0"))).await.unwrap();
    let mut leaving = provider.stream(request("1"));
    assert!(!starts(&mut leaving).await);
    let staying = tokio::spawn(end(provider.stream(request("2"))));
    tokio::task::yield_now().await;
    drop(leaving);
    staying.await.unwrap().unwrap();
    assert_eq!(began.elapsed(), within);
}

#[test]
fn without_a_pace_no_runtime_is_needed_and_with_one_its_lack_is_an_error() {
    let (provider, _) = limited(hello, Allowance::streams(1));
    assert_eq!(
        phi_testkit::block_on(end(provider.stream(request("go")))),
        Ok(())
    );
    let allowance = Allowance::streams(1).with_requests(1, Duration::from_secs(1));
    let (provider, _) = limited(hello, allowance);
    let error = phi_testkit::block_on(end(provider.stream(request("go")))).unwrap_err();
    assert_eq!(error.kind, ProviderErrorKind::InvalidRequest);
}

#[tokio::test]
async fn a_limit_of_zero_is_one_and_a_stream_that_is_not_polled_takes_no_place() {
    let (provider, _) = limited(hello, Allowance::streams(0));
    let _idle = provider.stream(request("idle"));
    assert!(starts(&mut provider.stream(request("go"))).await);
    let gate = Gate::new();
    let held = gate.clone();
    let (provider, _) = limited(move || hello().gated_after(1, &held), Allowance::streams(1));
    let mut first = provider.stream(request("1"));
    assert!(starts(&mut first).await);
    let mut second = provider.stream(request("2"));
    assert!(!starts(&mut second).await);
    gate.open();
    end(first).await.unwrap();
    assert!(second.next().now_or_never().is_some());
}
