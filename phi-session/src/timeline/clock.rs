//! What the time of a loop went into: every moment counts once.

use chrono::{DateTime, TimeDelta, Utc};

use super::outline::What;

/// Milliseconds by what they went into. Where several things run at once, tools come first, then the
/// model, then what is waited for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) tools: u64,
    pub(super) model: u64,
    pub(super) compaction: u64,
    pub(super) approval: u64,
    pub(super) retry: u64,
    pub(super) other: u64,
}

impl Times {
    pub(super) fn add(&mut self, more: &Self) {
        self.tools += more.tools;
        self.model += more.model;
        self.compaction += more.compaction;
        self.approval += more.approval;
        self.retry += more.retry;
        self.other += more.other;
    }

    pub(super) fn total(&self) -> u64 {
        self.tools + self.model + self.compaction + self.approval + self.retry + self.other
    }
}

/// Adds up times while a loop runs.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    pub(super) times: Times,
    now: DateTime<Utc>,
    /// How many of each are under way.
    tools: u64,
    model: u64,
    compaction: u64,
    approval: u64,
    retry: u64,
}

impl Clock {
    pub(super) fn new(now: DateTime<Utc>) -> Self {
        Self {
            times: Times::default(),
            now,
            tools: 0,
            model: 0,
            compaction: 0,
            approval: 0,
            retry: 0,
        }
    }

    /// Lets time pass; a clock that goes back passes none.
    pub(super) fn advance(&mut self, now: DateTime<Utc>) {
        let passed = millis(self.now, now);
        // Whole milliseconds pass; what is left of one passes with the next event.
        let moved = i64::try_from(passed).ok().map(TimeDelta::milliseconds);
        let moved = moved.and_then(|it| self.now.checked_add_signed(it));
        self.now = moved.unwrap_or(now);
        let times = &mut self.times;
        let into = match () {
            () if self.tools > 0 => &mut times.tools,
            () if self.model > 0 => &mut times.model,
            () if self.compaction > 0 => &mut times.compaction,
            () if self.approval > 0 => &mut times.approval,
            () if self.retry > 0 => &mut times.retry,
            () => &mut times.other,
        };
        *into = into.saturating_add(passed);
    }

    pub(super) fn begin(&mut self, what: What) {
        *self.running(what) += 1;
    }

    pub(super) fn end(&mut self, what: What) {
        let running = self.running(what);
        *running = running.saturating_sub(1);
    }

    /// Ends everything: its process has ended.
    pub(super) fn stop(&mut self) {
        *self = Self {
            times: self.times,
            ..Self::new(self.now)
        };
    }

    fn running(&mut self, what: What) -> &mut u64 {
        match what {
            What::Tool => &mut self.tools,
            What::Model => &mut self.model,
            What::Compaction => &mut self.compaction,
            What::Approval => &mut self.approval,
            What::Retry => &mut self.retry,
        }
    }
}

/// Returns the milliseconds from one time to another; none where it is not later.
pub(super) fn millis(from: DateTime<Utc>, to: DateTime<Utc>) -> u64 {
    u64::try_from(to.signed_duration_since(from).num_milliseconds()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_milliseconds_add_up() {
        let at = |micros: i64| DateTime::from_timestamp_micros(micros).unwrap();
        let mut clock = Clock::new(at(0));
        for n in 1..=1_000 {
            clock.advance(at(n * 600));
        }
        assert_eq!(clock.times.total(), 600);
    }

    #[test]
    fn every_moment_counts_once_and_backwards_counts_nothing() {
        let at = |ms: i64| DateTime::from_timestamp_millis(ms).unwrap();
        let mut clock = Clock::new(at(0));
        clock.advance(at(1));
        clock.begin(What::Model);
        clock.advance(at(11));
        clock.begin(What::Tool);
        clock.begin(What::Tool);
        clock.advance(at(111));
        clock.end(What::Tool);
        clock.advance(at(50));
        clock.advance(at(1_111));
        clock.stop();
        clock.begin(What::Approval);
        clock.advance(at(1_113));
        let expected = Times {
            tools: 1_100,
            model: 10,
            approval: 2,
            other: 1,
            ..Times::default()
        };
        assert_eq!(clock.times, expected);
        assert_eq!(clock.times.total(), 1_113);
    }
}
