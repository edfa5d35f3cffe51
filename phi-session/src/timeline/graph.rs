//! Bars on a time axis, as SVG without styles of its own.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};

use super::clock::{Times, millis};
use super::outline::{Span, What};
use super::words::duration;

/// How many units wide every graph is.
const WIDTH: u64 = 1_000;
/// How many turns an overview can jump to.
const JUMPS_MAX: usize = 400;
/// How wide the shortest bar of a row is.
const ROW_LEAST: u64 = 4;
/// How many bars a lane of an overview has.
const BARS_MAX: usize = 2_000;
/// How high a lane of an overview is.
const LANE: usize = 12;
/// The lanes of an overview, from the top.
const LANES: [&[What]; 3] = [
    &[What::Model, What::Compaction],
    &[What::Tool],
    &[What::Approval, What::Retry],
];

/// A time axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    pub(super) from: DateTime<Utc>,
    pub(super) to: DateTime<Utc>,
}

impl Axis {
    /// Returns the place of a moment, from 0 to [`WIDTH`].
    fn place(self, at: DateTime<Utc>) -> u64 {
        let whole = u128::from(millis(self.from, self.to).max(1));
        let passed = u128::from(millis(self.from, at)).min(whole);
        u64::try_from(passed * u128::from(WIDTH) / whole).unwrap_or(WIDTH)
    }

    /// Returns the left end and the width of a span, which is seen however short it is.
    fn bar(self, from: DateTime<Utc>, to: DateTime<Utc>, least: u64) -> (u64, u64) {
        let (left, right) = (self.place(from), self.place(to));
        let width = right.saturating_sub(left).max(least);
        (left.min(WIDTH - least), width)
    }
}

/// Names what a span is in the style sheet.
fn class(span: &Span) -> &'static str {
    match (span.what, span.is_bad) {
        (What::Approval, _) => "wait",
        (What::Retry, _) => "retry",
        (_, true) => "bad",
        (What::Model, false) => "model",
        (What::Tool, false) => "tool",
        (What::Compaction, false) => "compact",
    }
}

// Writing to a string cannot fail.
macro_rules! put {
    ($out:expr, $($text:tt)*) => { if write!($out, $($text)*).is_err() {} };
}
pub(super) use put;

/// Draws one event: its span as a bar, or its moment as a tick.
pub(super) fn track(out: &mut String, axis: Axis, at: DateTime<Utc>, span: Option<&Span>) {
    out.push_str("<svg class=\"track\" viewBox=\"0 0 1000 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\">");
    match span {
        Some(span) => {
            let (x, width) = axis.bar(span.from, span.to, ROW_LEAST);
            let class = class(span);
            put!(
                out,
                "<rect class=\"{class}\" x=\"{x}\" y=\"1\" width=\"{width}\" height=\"8\"/>"
            );
        }
        None => {
            let x = axis.place(at).min(WIDTH - 3);
            put!(
                out,
                "<rect class=\"tick\" x=\"{x}\" y=\"3\" width=\"3\" height=\"4\"/>"
            );
        }
    }
    out.push_str("</svg>");
}

/// A turn in an overview: its anchor, what it is called, and when it was.
#[derive(Debug)]
pub(super) struct Jump {
    pub(super) anchor: String,
    pub(super) title: String,
    pub(super) from: DateTime<Utc>,
    pub(super) to: DateTime<Utc>,
}

/// Draws everything that ran in lanes, with the turns to jump to. However much ran, it has a bounded
/// number of bars: what is closer than a unit is one bar.
pub(super) fn overview(out: &mut String, axis: Axis, spans: &[Span], jumps: &[Jump]) {
    let height = LANES.len() * LANE;
    put!(
        out,
        "<svg class=\"overview\" viewBox=\"0 0 1000 {height}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"model calls, tool calls and waiting over time\">"
    );
    for (lane, whats) in LANES.iter().enumerate() {
        let y = lane * LANE + 1;
        put!(
            out,
            "<rect class=\"lane\" x=\"0\" y=\"{y}\" width=\"1000\" height=\"10\"/>"
        );
        let mut bars: Vec<(u64, u64, &str)> = Vec::new();
        for span in spans.iter().filter(|span| whats.contains(&span.what)) {
            let (x, width) = axis.bar(span.from, span.to, 1);
            let class = class(span);
            let has_room = bars.len() < BARS_MAX;
            let last = bars.last_mut();
            match last.filter(|last| last.2 == class && x <= last.0 + last.1) {
                Some(last) => last.1 = last.1.max((x + width).saturating_sub(last.0)),
                None if has_room => bars.push((x, width, class)),
                None => {}
            }
        }
        for (x, width, class) in bars {
            put!(
                out,
                "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"10\"/>"
            );
        }
    }
    if jumps.len() <= JUMPS_MAX {
        for Jump {
            anchor,
            title,
            from,
            to,
        } in jumps
        {
            let (x, width) = axis.bar(*from, *to, 1);
            put!(
                out,
                "<a href=\"#{anchor}\" tabindex=\"-1\"><rect class=\"jump\" x=\"{x}\" y=\"0\" width=\"{width}\" height=\"{height}\"><title>{title}</title></rect></a>"
            );
        }
    }
    out.push_str("</svg>");
    labels(out, axis);
}

/// Writes the times below an axis, evenly spaced.
pub(super) fn labels(out: &mut String, axis: Axis) {
    let whole = millis(axis.from, axis.to);
    out.push_str("<div class=\"axis\" aria-hidden=\"true\">");
    for quarter in 0..=4 {
        put!(out, "<span>{}</span>", duration(whole / 4 * quarter));
    }
    out.push_str("</div>");
}

/// Draws what the time went into as one bar, with a legend.
pub(super) fn shares(out: &mut String, times: &Times) {
    let parts = [
        ("model", "model", times.model),
        ("tool", "tools", times.tools),
        ("compact", "compaction", times.compaction),
        ("wait", "approval", times.approval),
        ("retry", "wait before retry", times.retry),
        ("rest", "rest", times.other),
    ];
    let whole = times.total().max(1);
    out.push_str("<svg class=\"shares\" viewBox=\"0 0 1000 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\">");
    let mut before = 0_u64;
    for (class, _, millis) in parts {
        let place = |millis: u64| u128::from(millis) * u128::from(WIDTH) / u128::from(whole);
        let (x, end) = (place(before), place(before.saturating_add(millis)));
        before = before.saturating_add(millis);
        if end > x {
            let width = end - x;
            put!(
                out,
                "<rect class=\"{class}\" x=\"{x}\" y=\"0\" width=\"{width}\" height=\"10\"/>"
            );
        }
    }
    out.push_str("</svg><ul class=\"legend\">");
    for (class, name, millis) in parts {
        if millis > 0 {
            let took = duration(millis);
            put!(out, "<li class=\"{class}\">{name} <b>{took}</b></li>");
        }
    }
    out.push_str("</ul>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overview_is_bounded_and_stays_inside() {
        let at = |ms: i64| DateTime::from_timestamp_millis(ms).unwrap();
        let spans: Vec<Span> = (0..50_000)
            .map(|n| Span {
                seq: n,
                what: if n % 2 == 0 { What::Model } else { What::Tool },
                from: at(i64::try_from(n).unwrap() * 3),
                to: at(i64::try_from(n).unwrap() * 3 + 4),
                is_bad: n % 7 == 0,
                is_open: false,
            })
            .collect();
        let axis = Axis {
            from: at(0),
            to: at(150_000),
        };
        let mut out = String::new();
        overview(&mut out, axis, &spans, &[]);
        assert!(out.len() < 500_000, "{}", out.len());
        for from in [-5, 0, 1, 149_999, 150_000, 999_999] {
            let (x, width) = axis.bar(at(from), at(from), ROW_LEAST);
            assert!(x + width <= WIDTH && width >= 4, "{from}: {x} {width}");
        }
        let point = Axis {
            from: at(1),
            to: at(1),
        };
        assert_eq!(point.bar(at(1), at(1), 1), (0, 1));
    }
}
