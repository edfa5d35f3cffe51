//! A clock that a test moves by hand.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::BoxFuture;

use crate::timer::Timer;
use crate::watch::Watch;

/// A clock that stands still until a test moves it. A clone is the same clock.
///
/// It starts at 2026-01-01T00:00:00Z unless told otherwise, and it is a [`Timer`] too: a sleep on it
/// ends when the clock has been moved that far.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Watch<DateTime<Utc>>>);

impl ManualClock {
    /// Makes a clock that shows the given time.
    #[must_use]
    pub fn new(now: DateTime<Utc>) -> Self {
        Self(Arc::new(Watch::new(now)))
    }

    /// Returns the time that the clock shows.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.0.read(|now| *now)
    }

    /// Moves the clock forward and wakes who slept until then; the end of time stops it.
    pub fn advance(&self, by: Duration) {
        self.0.update(|now| *now = later(*now, by));
    }

    /// Sets the clock, backward too, as a real clock may be set.
    pub fn set(&self, to: DateTime<Utc>) {
        self.0.update(|now| *now = to);
    }

    /// Waits until the clock shows the given time or a later one.
    ///
    /// **Cancel safety:** dropping the future changes nothing.
    pub fn sleep_until(&self, at: DateTime<Utc>) -> impl Future<Output = ()> + Send + use<> {
        self.0.until(move |now| *now >= at)
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        // 2026-01-01T00:00:00Z
        Self::new(DateTime::from_timestamp(1_767_225_600, 0).unwrap_or_default())
    }
}

impl Timer for ManualClock {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(self.sleep_until(later(self.now(), duration)))
    }
}

fn later(now: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(by)
        .ok()
        .and_then(|by| now.checked_add_signed(by))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_sleep_ends_when_the_clock_was_moved_that_far_and_not_before() {
        let clock = ManualClock::default();
        assert_eq!(clock.now().to_rfc3339(), "2026-01-01T00:00:00+00:00");
        let mut sleep = clock.sleep(Duration::from_secs(2));
        assert_eq!(sleep.as_mut().now_or_never(), None);
        clock.advance(Duration::from_millis(1_999));
        assert_eq!(sleep.as_mut().now_or_never(), None);
        clock.advance(Duration::from_millis(1));
        assert_eq!(sleep.now_or_never(), Some(()));
    }

    #[test]
    fn the_end_of_time_stops_the_clock() {
        let clock = ManualClock::default();
        clock.advance(Duration::MAX);
        assert_eq!(clock.now(), DateTime::<Utc>::MAX_UTC);
    }
}
