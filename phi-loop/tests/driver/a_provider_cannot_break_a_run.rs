//! A provider that panics, breaks off or never answers ends in a typed failure or a cancel.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream, stream::BoxStream};
use phi_loop::{Driver, Start};
use phi_testkit::{Reply, ScriptedProvider};
use phi_types::{
    Configuration, Delta, EventKind, Identity, LoopError, Outcome, Provider, ProviderError,
    ProviderErrorKind, Request, StopReason, Surface, Target,
};

use crate::facts::{all, done, driver, events, finished, plain, provider, until_it_waits};
use crate::support::session;

#[derive(Clone, Copy)]
enum Bad {
    PanicsAtOnce,
    PanicsInTheStream,
    SaysNothing,
    EndsAtOnce,
    FinishesAndPanics,
    HangsAndPanicsInDrop,
}

/// Panics when it is dropped before its end.
struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "cleaning up failed");
    }
}

impl Provider for Bad {
    fn identity(&self) -> Identity<'_> {
        Identity {
            protocol: "bad",
            provider: "bad",
        }
    }

    fn stream(&self, _request: Request) -> BoxStream<'static, Result<Delta, ProviderError>> {
        let boom = || -> Result<Delta, ProviderError> { panic!("boom") };
        match self {
            Self::PanicsAtOnce => panic!("boom"),
            Self::PanicsInTheStream => {
                let first = stream::iter([Ok(Delta::text(0, "So"))]);
                first.chain(stream::once(async move { boom() })).boxed()
            }
            Self::SaysNothing => stream::pending().boxed(),
            Self::HangsAndPanicsInDrop => stream::once(async {
                let _guard = PanicsInDrop;
                std::future::pending().await
            })
            .boxed(),
            Self::EndsAtOnce => stream::empty().boxed(),
            Self::FinishesAndPanics => {
                let deltas = [Delta::text(0, "So"), Delta::finish(StopReason::EndTurn)];
                let first = stream::iter(deltas.map(Ok));
                first.chain(stream::once(async move { boom() })).boxed()
            }
        }
    }
}

fn failure(outcome: &Outcome) -> &ProviderError {
    match outcome {
        Outcome::Failed {
            error: LoopError::Provider { error },
        } => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_fails_the_loop_typed() {
    for bad in [Bad::PanicsAtOnce, Bad::PanicsInTheStream] {
        let mut run = plain(&Driver::new(Arc::new(bad)));
        all(&mut run).await;
        let finished = finished(&run);
        let error = failure(&finished.outcome);
        assert_eq!(error.kind, ProviderErrorKind::Protocol);
        assert_eq!(error.message, "the provider panicked: boom");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_after_the_finish_takes_nothing_away() {
    let mut run = plain(&Driver::new(Arc::new(Bad::FinishesAndPanics)));
    all(&mut run).await;
    assert_eq!(finished(&run).outcome, Outcome::Completed {});
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_a_finish_is_sent_again_and_then_fails() {
    let mut run = plain(&Driver::new(Arc::new(Bad::EndsAtOnce)));
    let updates = all(&mut run).await;
    let finished = finished(&run);
    let error = failure(&finished.outcome);
    assert_eq!(error.kind, ProviderErrorKind::Incomplete);
    let events = events(&updates);
    let started = events
        .iter()
        .filter(|it| matches!(it.kind, EventKind::ModelStarted(_)));
    let attempts = Configuration::default().retry.attempts_max;
    assert_eq!(started.count(), usize::try_from(attempts).unwrap());
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_in_time_is_as_if_nothing_had_happened() {
    let wait = Duration::from_secs(7);
    let slow = ProviderError::new(ProviderErrorKind::RateLimited, "slow").with_retry_after(wait);
    let provider = provider([done().after_error(slow)]);
    let begun = tokio::time::Instant::now();
    let mut run = plain(&driver(&provider, &[]));
    all(&mut run).await;
    assert_eq!(finished(&run).outcome, Outcome::Completed {});
    assert_eq!(provider.request_count(), 2);
    assert!(begun.elapsed() >= wait, "{:?}", begun.elapsed());
    assert!(begun.elapsed() < wait + Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn a_cut_reply_is_sent_again() {
    let cut = Reply::text("one two three").cut_after(2);
    let replies = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let asked = Arc::clone(&replies);
    let provider = ScriptedProvider::from_fn(move |_, _| {
        let first = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
        Some(if first { cut.clone() } else { done() })
    });
    let mut run = plain(&driver(&Arc::new(provider), &[]));
    all(&mut run).await;
    assert_eq!(finished(&run).outcome, Outcome::Completed {});
    assert_eq!(replies.load(std::sync::atomic::Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_provider_that_never_answers_can_be_cancelled() {
    for bad in [Bad::SaysNothing, Bad::HangsAndPanicsInDrop] {
        let mut run = plain(&Driver::new(Arc::new(bad)));
        let handle = run.handle();
        until_it_waits(&mut run);
        handle.cancel();
        all(&mut run).await;
        assert_eq!(finished(&run).outcome, Outcome::Cancelled {});
    }
}

#[tokio::test]
async fn a_model_falls_back_to_another_provider() {
    let good = provider([done()]);
    let providers: Vec<Arc<dyn Provider>> = vec![
        Arc::new(Bad::PanicsAtOnce),
        Arc::clone(&good) as Arc<dyn Provider>,
    ];
    let models = providers.iter().map(|it| Target::new(it.identity(), "m"));
    let surface = Surface {
        models: models.collect(),
        ..Surface::default()
    };
    let driver = Driver::with_providers(providers);
    let start = Start::new(session(), Configuration::default(), surface);
    let mut run = driver.prompt(start, "Do it.").unwrap();
    all(&mut run).await;
    assert_eq!(finished(&run).outcome, Outcome::Completed {});
    assert_eq!(good.request_count(), 1);
}

#[tokio::test]
async fn a_target_that_nobody_serves_fails_and_is_named() {
    let driver = Driver::new(provider([done()]));
    let identity = Identity {
        protocol: "other",
        provider: "elsewhere",
    };
    let surface = Surface {
        models: Arc::from([Target::new(identity, "m")]),
        ..Surface::default()
    };
    let start = Start::new(session(), Configuration::default(), surface);
    let mut run = driver.prompt(start, "Do it.").unwrap();
    all(&mut run).await;
    let finished = finished(&run);
    let error = failure(&finished.outcome);
    assert_eq!(error.kind, ProviderErrorKind::InvalidRequest);
    assert!(
        error.message.contains("other at elsewhere"),
        "{}",
        error.message
    );
}
