//! Reads how long a service asks to wait, in every spelling that services use.

use std::time::Duration;

use serde_json::Value;

use crate::wire::ResponseHead;

/// Reads the wait from headers and body: the most exact statement wins.
///
/// `retry-after-ms`, `retry-after` (seconds, a duration, or a date), the `RetryInfo` of Google's
/// error details, and for status 429 the `x-ratelimit-reset` headers.
pub(crate) fn retry_after(head: &ResponseHead, body: Option<&Value>) -> Option<Duration> {
    head.header("retry-after-ms")
        .and_then(|value| value.parse::<f64>().ok())
        .and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok())
        .or_else(|| spelled(head, head.header("retry-after")?))
        .or_else(|| retry_info(body?))
        .or_else(|| (head.status == 429).then(|| reset(head)).flatten())
}

/// Reads seconds, a duration, an epoch or an HTTP date.
fn spelled(head: &ResponseHead, value: &str) -> Option<Duration> {
    if let Ok(number) = value.parse::<f64>() {
        return seconds_or_epoch(head, number);
    }
    if let Some(duration) = duration(value) {
        return Some(duration);
    }
    let at = httpdate::parse_http_date(value).ok()?;
    let now = httpdate::parse_http_date(head.header("date")?).ok()?;
    // A point in the past means that the wait is over.
    Some(at.duration_since(now).unwrap_or_default())
}

/// Services write a number of seconds, or the seconds or milliseconds since 1970.
fn seconds_or_epoch(head: &ResponseHead, number: f64) -> Option<Duration> {
    const EPOCH_SECONDS_MIN: f64 = 1e9;
    const EPOCH_MS_MIN: f64 = 1e12;
    if number < EPOCH_SECONDS_MIN {
        return Duration::try_from_secs_f64(number).ok();
    }
    let seconds = if number < EPOCH_MS_MIN {
        number
    } else {
        number / 1000.0
    };
    let at = Duration::try_from_secs_f64(seconds).ok()?;
    let now = httpdate::parse_http_date(head.header("date")?).ok()?;
    let now = now.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(at.saturating_sub(now))
}

/// Reads durations as `1.57s`, `6m0s`, `20ms`, `1h2m3s`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let scale = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        let seconds = number.parse::<f64>().ok()? * scale;
        total = total.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

/// Finds `error.details[].retryDelay` of Google's services.
fn retry_info(body: &Value) -> Option<Duration> {
    let body = body.get(0).unwrap_or(body);
    let details = body.get("error")?.get("details")?.as_array()?;
    let delay = details.iter().find_map(|detail| detail.get("retryDelay"))?;
    duration(delay.as_str()?)
}

/// Reads the `x-ratelimit-reset` headers: of the budgets that are used up the last to come back,
/// and where none says that it is used up the first to come back.
fn reset(head: &ResponseHead) -> Option<Duration> {
    const PREFIX: &str = "x-ratelimit-reset";
    let mut used_up = None;
    let mut any = None;
    for (name, value) in &head.headers {
        let name = name.to_ascii_lowercase();
        let Some(budget) = name.strip_prefix(PREFIX) else {
            continue;
        };
        let Some(wait) = spelled(head, value.trim()) else {
            continue;
        };
        let remaining = head.header(&format!("x-ratelimit-remaining{budget}"));
        if remaining == Some("0") {
            used_up = used_up.max(Some(wait));
        }
        any = Some(any.map_or(wait, |other: Duration| other.min(wait)));
    }
    used_up.or(any)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(head: &ResponseHead) -> Option<u128> {
        retry_after(head, None).map(|wait| wait.as_millis())
    }

    fn head(headers: &[(&str, &str)]) -> ResponseHead {
        headers
            .iter()
            .fold(ResponseHead::new(429), |head, (name, value)| {
                head.with_header(*name, *value)
            })
    }

    #[test]
    fn t11_retry_after_in_seconds_milliseconds_and_durations() {
        assert_eq!(ms(&head(&[("retry-after", "3")])), Some(3000));
        assert_eq!(ms(&head(&[("Retry-After", "0.5")])), Some(500));
        assert_eq!(ms(&head(&[("retry-after", "1m2s")])), Some(62_000));
        assert_eq!(
            ms(&head(&[("retry-after", "3"), ("retry-after-ms", "1250.5")])),
            Some(1250)
        );
        for wrong in ["", "soon", "-1", "NaN", "inf", "1e999", "5 s", "."] {
            assert_eq!(ms(&head(&[("retry-after", wrong)])), None, "{wrong:?}");
        }
    }

    #[test]
    fn t11_retry_after_as_a_date_counts_from_the_date_of_the_response() {
        let date = ("date", "Fri, 31 Dec 1999 23:59:50 GMT");
        let at = |text| head(&[date, ("retry-after", text)]);
        assert_eq!(ms(&at("Sat, 01 Jan 2000 00:00:05 GMT")), Some(15_000));
        assert_eq!(ms(&at("Fri, 31 Dec 1999 00:00:00 GMT")), Some(0));
        assert_eq!(
            ms(&head(&[("retry-after", "Sat, 01 Jan 2000 00:00:05 GMT")])),
            None
        );
    }

    #[test]
    fn t11_rate_limit_resets_count_only_for_429_and_prefer_the_used_up_budget() {
        let groq = [
            ("x-ratelimit-reset-requests", "6m0s"),
            ("x-ratelimit-remaining-requests", "59"),
            ("x-ratelimit-reset-tokens", "1.57s"),
            ("x-ratelimit-remaining-tokens", "0"),
        ];
        assert_eq!(ms(&head(&groq)), Some(1570));
        let mut other = head(&groq);
        other.status = 503;
        assert_eq!(ms(&other), None);
        assert_eq!(ms(&head(&groq[..1])), Some(360_000));
        let epoch = [
            ("date", "Thu, 01 Jan 2026 00:00:00 GMT"),
            ("x-ratelimit-reset", "1767225610000"),
        ];
        assert_eq!(ms(&head(&epoch)), Some(10_000));
    }

    #[test]
    fn t11_google_states_the_wait_in_the_body() {
        let body = serde_json::json!([{"error": {"details": [
            {"@type": "type.googleapis.com/google.rpc.Help"},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}
        ]}}]);
        let wait = retry_after(&ResponseHead::new(429), Some(&body));
        assert_eq!(wait, Some(Duration::from_millis(34_500)));
    }
}
