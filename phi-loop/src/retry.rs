//! What follows a failed attempt: a pure function over its facts.

use chrono::{DateTime, TimeDelta, Utc};
use phi_types::{
    AttemptFacts, Configuration, ProviderError, ProviderErrorKind, RetryPolicy, digest_of,
};

/// How a turn's attempts stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Attempts {
    /// Attempts that were started in this turn.
    pub(crate) started: u32,
    /// The model of the next attempt, in the surface's list.
    pub(crate) target: u32,
    /// Failures at this model.
    pub(crate) failures: u32,
    /// Whether the view was compacted in this turn already.
    pub(crate) compacted: bool,
    /// Whether a compaction ended in this turn, so that its threshold starts no other one.
    pub(crate) shrunk: bool,
}

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Another attempt, at this time.
    Retry(Attempts, DateTime<Utc>),
    /// A compaction, then another attempt.
    Compact(Attempts),
    /// Nothing.
    GiveUp,
}

/// Decides what follows a failed attempt.
pub(crate) fn plan(
    attempts: Attempts,
    failed: (&ProviderError, &AttemptFacts),
    targets: usize,
    configuration: &Configuration,
    now: DateTime<Utc>,
) -> Plan {
    let (error, facts) = failed;
    if facts.interrupted {
        return Plan::Retry(attempts, now);
    }
    if error.kind == ProviderErrorKind::ContextOverflow {
        return if configuration.compaction && !attempts.compacted {
            Plan::Compact(Attempts {
                compacted: true,
                ..attempts
            })
        } else {
            Plan::GiveUp
        };
    }
    let failures = attempts.failures.saturating_add(1);
    if error.is_retryable() && failures < configuration.retry.attempts_max {
        let again = Attempts {
            failures,
            ..attempts
        };
        if let Some(wait) = wait(&configuration.retry, configuration.seed, again, error) {
            return Plan::Retry(again, later(now, wait));
        }
    }
    let next = attempts.target.saturating_add(1);
    let falls_back = !matches!(
        error.kind,
        ProviderErrorKind::Cancelled | ProviderErrorKind::ContentFilter
    );
    if falls_back && usize::try_from(next).is_ok_and(|next| next < targets) {
        return Plan::Retry(
            Attempts {
                target: next,
                failures: 0,
                ..attempts
            },
            now,
        );
    }
    Plan::GiveUp
}

/// Adds a span to a time and stays inside the calendar.
pub(crate) fn later(now: DateTime<Utc>, span: TimeDelta) -> DateTime<Utc> {
    now.checked_add_signed(span)
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// Returns how long to wait; `None` if the provider asks for more than the policy allows.
///
/// The wait doubles with each failure and loses up to half of itself to a seeded jitter; it is
/// never shorter than what the provider asked for.
fn wait(
    policy: &RetryPolicy,
    seed: u64,
    attempts: Attempts,
    error: &ProviderError,
) -> Option<TimeDelta> {
    let asked = error.retry_after_ms.unwrap_or(0);
    if asked > policy.wait_max_ms {
        return None;
    }
    let doublings = attempts.failures.saturating_sub(1).min(32);
    let full = policy
        .wait_first_ms
        .saturating_mul(1 << doublings)
        .min(policy.wait_max_ms);
    let dice = digest_of(
        seed,
        &(attempts.started, attempts.target, attempts.failures),
    );
    let jittered = full - dice % (full / 2 + 1);
    i64::try_from(jittered.max(asked))
        .ok()
        .and_then(TimeDelta::try_milliseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: DateTime<Utc> = DateTime::<Utc>::UNIX_EPOCH;

    fn error(kind: ProviderErrorKind) -> ProviderError {
        ProviderError::new(kind, "")
    }

    fn plan_for(attempts: Attempts, error: &ProviderError, targets: usize) -> Plan {
        let facts = AttemptFacts::default();
        plan(
            attempts,
            (error, &facts),
            targets,
            &Configuration::default(),
            NOW,
        )
    }

    #[test]
    fn a_provider_that_asks_to_wait_is_obeyed() {
        let asked = ProviderError {
            retry_after_ms: Some(7_000),
            ..error(ProviderErrorKind::RateLimited)
        };
        let Plan::Retry(_, at) = plan_for(Attempts::default(), &asked, 1) else {
            panic!()
        };
        assert_eq!(at, NOW + TimeDelta::seconds(7));
    }

    #[test]
    fn a_wait_longer_than_the_policy_allows_falls_back_at_once_or_gives_up() {
        let asked = ProviderError {
            retry_after_ms: Some(3_600_000),
            ..error(ProviderErrorKind::RateLimited)
        };
        let fallback = Attempts {
            target: 1,
            ..Attempts::default()
        };
        assert_eq!(
            plan_for(Attempts::default(), &asked, 2),
            Plan::Retry(fallback, NOW)
        );
        assert_eq!(plan_for(Attempts::default(), &asked, 1), Plan::GiveUp);
    }

    #[test]
    fn waits_grow_and_stay_inside_their_bounds() {
        for failures in 0..4 {
            let attempts = Attempts {
                failures,
                started: failures + 1,
                ..Attempts::default()
            };
            let overloaded = error(ProviderErrorKind::Overloaded);
            let Plan::Retry(_, at) = plan_for(attempts, &overloaded, 1) else {
                panic!()
            };
            let full = 500_i64 << failures;
            let wait = (at - NOW).num_milliseconds();
            assert!(
                (full / 2..=full).contains(&wait),
                "{wait} after {failures} failures"
            );
        }
        let last = Attempts {
            failures: 4,
            started: 5,
            ..Attempts::default()
        };
        assert_eq!(
            plan_for(last, &error(ProviderErrorKind::Overloaded), 1),
            Plan::GiveUp
        );
    }

    #[test]
    fn what_cannot_succeed_later_is_not_sent_again_to_the_same_model() {
        for kind in [ProviderErrorKind::Auth, ProviderErrorKind::InvalidRequest] {
            assert_eq!(plan_for(Attempts::default(), &error(kind), 1), Plan::GiveUp);
        }
    }

    #[test]
    fn an_overflow_compacts_once() {
        let overflow = error(ProviderErrorKind::ContextOverflow);
        let configuration = Configuration {
            compaction: true,
            ..Configuration::default()
        };
        let facts = AttemptFacts::default();
        let first = plan(
            Attempts::default(),
            (&overflow, &facts),
            1,
            &configuration,
            NOW,
        );
        let Plan::Compact(attempts) = first else {
            panic!("{first:?}")
        };
        assert_eq!(
            plan(attempts, (&overflow, &facts), 1, &configuration, NOW),
            Plan::GiveUp
        );
    }
}
