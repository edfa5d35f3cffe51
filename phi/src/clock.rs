//! The time of what happens between loops.

use std::time::SystemTime;

use chrono::{DateTime, TimeDelta, Utc};

/// Reads the wall clock, in whole microseconds.
pub(crate) fn now() -> DateTime<Utc> {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let micros = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
    DateTime::UNIX_EPOCH
        .checked_add_signed(TimeDelta::microseconds(micros))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}
