//! One branch: what it runs with, and its run with every panic caught.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll};

use futures_util::StreamExt;
use phi_loop::{Driver, Finished, Run};
use phi_types::{Configuration, Outcome, Surface};

/// How many updates of one branch are taken before the others have their turn.
const UPDATES_IN_A_ROW: u32 = 32;

/// What one branch runs with: model, tools and hooks, policy, and what the model is shown.
#[derive(Debug, Clone)]
pub struct Branch {
    pub(crate) driver: Driver,
    pub(crate) configuration: Configuration,
    pub(crate) surface: Surface,
}

impl Branch {
    /// Makes a branch. Branches may share a configuration: their loops have different numbers.
    #[must_use]
    pub fn new(driver: Driver, configuration: Configuration, surface: Surface) -> Self {
        Self {
            driver,
            configuration,
            surface,
        }
    }
}

/// Runs a branch to its end. A panic that the loop does not contain itself ends it as aborted.
pub(crate) async fn to_its_end(mut run: Run) -> Finished {
    let panicked = poll_fn(|cx| poll_some(&mut run, cx)).await.err();
    let finished = run.finished();
    match panicked {
        Some(reason) => Finished {
            outcome: Outcome::Aborted { reason },
            ..finished
        },
        None => finished,
    }
}

fn poll_some(run: &mut Run, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
    for _ in 0..UPDATES_IN_A_ROW {
        match caught(|| run.poll_next_unpin(cx)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(Some(_))) => {}
            Ok(Poll::Ready(None)) => return Poll::Ready(Ok(())),
            Err(panic) => return Poll::Ready(Err(format!("the branch panicked: {panic}"))),
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// Calls code of strangers; a panic comes back as what it said.
pub(crate) fn caught<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| said(panic.as_ref()))
}

/// Returns what a panic said.
pub(crate) fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}
