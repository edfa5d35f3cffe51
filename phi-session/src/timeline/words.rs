//! Times, tokens and cost in words.

use chrono::{DateTime, Utc};
use phi_types::Usage;

use super::outline::Spent;

/// Writes a span of time: `812 ms`, `1.23 s`, `2 min 03 s`, `1 h 02 min`, `3 d 01 h`.
pub(super) fn duration(millis: u64) -> String {
    let seconds = millis / 1_000;
    match seconds {
        0 => format!("{millis} ms"),
        1..60 => format!("{seconds}.{:02} s", millis % 1_000 / 10),
        60..3_600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {:02} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {:02} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// Writes a moment.
pub(super) fn moment(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S%.3f UTC").to_string()
}

/// Writes a number with commas between groups of three digits.
pub(super) fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Counts things.
pub(super) fn counted(n: u64, one: &str, many: &str) -> String {
    match n {
        1 => format!("1 {one}"),
        n => format!("{} {many}", number(n)),
    }
}

/// Writes tokens; nothing where none were reported.
pub(super) fn tokens(usage: &Usage) -> Option<String> {
    let known = [
        (Some(usage.prompt_tokens()), "in"),
        (
            usage.cache_read_tokens.filter(|it| *it > 0),
            "from the cache",
        ),
        (usage.output_tokens, "out"),
    ];
    let known = known.iter().filter_map(|(tokens, what)| {
        let tokens = number((*tokens)?);
        Some(format!("{tokens} {what}"))
    });
    let known: Vec<String> = known.collect();
    (usage.total_tokens() > 0).then(|| known.join(", ") + " tokens")
}

/// Writes what is known of the cost; nothing where no price is known.
pub(super) fn cost(spent: &Spent) -> Option<String> {
    let usd = spent.usd;
    let digits = if usd < 1.0 { 4 } else { 2 };
    let sum = format!("${usd:.digits$}");
    match (usd > 0.0, spent.is_more) {
        (true, true) => Some(format!("{sum} and what has no price")),
        (true, false) => Some(sum),
        (false, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time_read_well_at_every_size() {
        let written = [7, 1_239, 59_999, 123_000, 3_720_000, 262_800_000].map(duration);
        let wanted = [
            "7 ms",
            "1.23 s",
            "59.99 s",
            "2 min 03 s",
            "1 h 02 min",
            "3 d 01 h",
        ];
        assert_eq!(written, wanted);
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(number),
            ["0", "999", "1,000", "1,234,567"]
        );
    }
}
