//! The frame of a page: its head, the session, the loops and turns around the rows.

use std::fmt::Write as _;

use chrono::DateTime;
use sha2::{Digest as _, Sha256};

use super::clock::millis;
use super::graph::{self, Axis, Jump, put};
use super::outline::{Extent, Group, LoopOutline, Outline, Spent, TurnOutline};
use super::row::{link, word};
use super::text::{escape, escaped};
use super::words::{cost, counted, duration, moment, number, tokens};

/// How the page looks.
const STYLE: &str = include_str!("page.css");
/// What the page does beyond opening and closing: filter, keys, light and dark.
const SCRIPT: &str = include_str!("page.js");
/// How many loops the list at the top has.
const LISTED_MAX: usize = 500;

/// Begins the page, with everything about the whole session.
pub(super) fn head(out: &mut String, outline: &Outline) {
    let session = escaped(outline.session.as_str());
    let (style, script) = (source(STYLE), source(SCRIPT));
    // Nothing is loaded and nothing but this script runs, whatever a log may say.
    put!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src '{style}'; script-src '{script}'; img-src data:; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <meta name=\"robots\" content=\"noindex\">\n\
         <meta name=\"generator\" content=\"phi {}\">\n\
         <link rel=\"icon\" href=\"data:,\">\n\
         <title>{session}: a session of phi</title>\n<style>{STYLE}</style>\n</head>\n<body>\n",
        env!("CARGO_PKG_VERSION")
    );
    out.push_str(TOOLS);
    put!(out, "<header>\n<h1>{session}</h1>\n<p class=\"sub\">");
    about(out, outline);
    out.push_str("</p>\n");
    totals(out, outline);
    // One loop alone says the same where it stands.
    if outline.loops.len() != 1 {
        graph::shares(out, &outline.total().1);
    }
    out.push_str("</header>\n");
    list(out, outline);
    out.push_str("<main>\n");
}

/// The keys and buttons that the script knows.
const TOOLS: &str = "<div class=\"tools\" role=\"toolbar\" aria-label=\"View\">\
    <input id=\"filter\" type=\"search\" placeholder=\"Filter events ( / )\" aria-label=\"Filter events\">\
    <fieldset><legend>Show</legend>\
    <label><input type=\"checkbox\" value=\"message\" checked>messages</label>\
    <label><input type=\"checkbox\" value=\"model\" checked>model</label>\
    <label><input type=\"checkbox\" value=\"tool\" checked>tools</label>\
    <label><input type=\"checkbox\" value=\"approval\" checked>approvals</label>\
    <label><input type=\"checkbox\" value=\"other\" checked>other</label></fieldset>\
    <output id=\"count\"></output>\
    <button id=\"theme\" type=\"button\" title=\"Light or dark (t)\">Light / dark</button>\
    <span class=\"keys\"><kbd>j</kbd> <kbd>k</kbd> events <kbd>n</kbd> <kbd>p</kbd> turns</span>\
    </div>\n";

/// Ends the page.
pub(super) fn tail(out: &mut String) {
    put!(
        out,
        "</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    );
}

/// Returns how a policy names an inline text: by its digest.
fn source(text: &str) -> String {
    format!("sha256-{}", base64(&Sha256::digest(text.as_bytes())))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let place = usize::try_from(bits >> (18 - 6 * digit) & 63).unwrap_or(0);
            let known = DIGITS.get(place).copied().filter(|_| digit <= chunk.len());
            text.push(char::from(known.unwrap_or(b'=')));
        }
    }
    text
}

/// Says where the session comes from and how it ended.
fn about(out: &mut String, outline: &Outline) {
    if let Some(agent) = &outline.links.agent {
        put!(out, "agent {} · ", escaped(agent));
    }
    if let Some(parent) = &outline.links.spawned_by {
        out.push_str("sub-agent of ");
        link(out, parent);
        out.push_str(" · ");
    }
    if let Some(parent) = &outline.links.forked_from {
        out.push_str("forked from ");
        link(out, parent);
        out.push_str(" · ");
    }
    if let (Some(from), Some(to)) = (outline.started_at, outline.updated_at) {
        put!(out, "{} to {}", moment(from), moment(to));
    }
}

fn totals(out: &mut String, outline: &Outline) {
    let (spent, times) = outline.total();
    let turns: usize = outline.loops.iter().map(|it| it.turns.len()).sum();
    let of_turns = |count: fn(&TurnOutline) -> u32| -> u64 {
        let turns = outline.loops.iter().flat_map(|it| &it.turns);
        turns.map(|turn| u64::from(count(turn))).sum()
    };
    let facts = [
        ("Loops", Some(number(outline.loops.len() as u64))),
        ("Turns", Some(number(turns as u64))),
        ("Tool calls", Some(number(of_turns(|turn| turn.calls)))),
        (
            "Failed attempts",
            Some(number(of_turns(|turn| turn.failures))),
        ),
        ("Tokens", tokens(&spent.usage)),
        ("Cost", cost(&spent)),
        ("Time in loops", Some(duration(times.total()))),
        ("Events", Some(number(outline.events))),
    ];
    out.push_str("<dl class=\"facts\">");
    for (name, value) in facts {
        if let Some(value) = value {
            put!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>");
        }
    }
    out.push_str("</dl>\n");
}

/// Lists the loops, to jump to.
fn list(out: &mut String, outline: &Outline) {
    if outline.loops.len() < 2 {
        return;
    }
    out.push_str("<nav aria-label=\"Loops\"><ol>");
    for (place, record) in outline.loops.iter().enumerate().take(LISTED_MAX) {
        put!(
            out,
            "<li><a href=\"#l{place}\">{}</a> ",
            escaped(record.id.as_str())
        );
        badge(out, record);
        out.push_str("</li>");
    }
    out.push_str("</ol>");
    let more = outline.loops.len().saturating_sub(LISTED_MAX);
    if more > 0 {
        put!(
            out,
            "<p>and {} below</p>",
            counted(more as u64, "loop", "loops")
        );
    }
    out.push_str("</nav>\n");
}

fn badge(out: &mut String, record: &LoopOutline) {
    let (class, text) = match &record.outcome {
        Some((class, text)) => (*class, text.as_str()),
        None => ("wait", "has not ended"),
    };
    put!(
        out,
        "<span class=\"badge {class}\">{}</span>",
        escaped(text)
    );
}

/// Begins the section of the events that belong to no loop.
pub(super) fn facts_head(out: &mut String, extent: &Extent) {
    let events = counted(extent.events, "event", "events");
    put!(
        out,
        "<section class=\"facts-of-session\"><h2>The session <small>{events}</small></h2>\n<div class=\"rows\">\n"
    );
}

/// Ends a section of rows.
pub(super) fn rows_tail(out: &mut String) {
    out.push_str("</div></section>\n");
}

/// Begins a group of branches, which stand side by side on one axis.
pub(super) fn group_head(out: &mut String, group: &Group) {
    let loops = counted(group.loops.len() as u64, "branch", "branches");
    put!(out, "<section class=\"group\"><h2>{loops} ");
    match (&group.winner, &group.strategy) {
        (Some(winner), Some(strategy)) => {
            put!(
                out,
                "<small>{} was chosen by {}</small>",
                escaped(winner.as_str()),
                escaped(strategy)
            );
        }
        (None, Some(strategy)) => put!(
            out,
            "<small>none was chosen by {}</small>",
            escaped(strategy)
        ),
        (_, None) => out.push_str("<small>none was chosen yet</small>"),
    }
    out.push_str("</h2>\n<div class=\"branches\">\n");
}

/// Ends a group of branches.
pub(super) fn group_tail(out: &mut String) {
    out.push_str("</div></section>\n");
}

/// A loop and how it is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown<'a> {
    pub(super) record: &'a LoopOutline,
    pub(super) place: usize,
    /// The axis of its overview, which branches share.
    pub(super) axis: Axis,
    pub(super) is_winner: bool,
}

/// Begins a loop, with its overview.
pub(super) fn loop_head(out: &mut String, shown: &Shown<'_>) {
    let Shown { record, place, .. } = shown;
    let winner = if shown.is_winner { " winner" } else { "" };
    put!(
        out,
        "<section class=\"loop{winner}\" id=\"l{place}\"><h2><span>{}</span> ",
        escaped(record.id.as_str())
    );
    badge(out, record);
    if shown.is_winner {
        out.push_str(" <span class=\"badge good\">chosen</span>");
    }
    out.push_str("</h2>\n<p class=\"sub\">");
    let took = duration(millis(record.started_at, record.ended_at));
    let turns = counted(record.turns.len() as u64, "turn", "turns");
    let model = record
        .model()
        .map(escaped)
        .map(|model| model + " · ")
        .unwrap_or_default();
    put!(out, "{model}{turns} · {took}");
    spent(out, &record.spent);
    out.push_str("</p>\n");
    let jumps: Vec<Jump> = record
        .turns
        .iter()
        .enumerate()
        .map(|(n, turn)| Jump {
            anchor: format!("l{place}t{n}"),
            title: format!(
                "turn {}, {}",
                turn.index,
                duration(millis(turn.started_at, turn.ended_at))
            ),
            from: turn.started_at,
            to: turn.ended_at,
        })
        .collect();
    graph::overview(out, shown.axis, &record.spans, &jumps);
    graph::shares(out, &record.clock.times);
}

fn spent(out: &mut String, spent: &Spent) {
    for part in [tokens(&spent.usage), cost(spent)].into_iter().flatten() {
        put!(out, " · {part}");
    }
}

/// Ends a loop.
pub(super) fn loop_tail(out: &mut String) {
    out.push_str("</section>\n");
}

/// Begins what a loop did before its first turn.
pub(super) fn start_head(out: &mut String) {
    out.push_str("<section class=\"turn\"><h3>Start</h3>\n<div class=\"rows\">\n");
}

/// Begins a turn, with its axis.
pub(super) fn turn_head(out: &mut String, turn: &TurnOutline, anchor: (usize, usize)) {
    let (place, n) = anchor;
    put!(
        out,
        "<section class=\"turn\" id=\"l{place}t{n}\"><h3>Turn {} <small>",
        turn.index
    );
    escape(out, &word(&turn.trigger));
    put!(
        out,
        " · {}",
        duration(millis(turn.started_at, turn.ended_at))
    );
    if turn.calls > 0 {
        put!(
            out,
            " · {}",
            counted(u64::from(turn.calls), "call", "calls")
        );
    }
    if turn.failures > 0 {
        let failed = counted(
            u64::from(turn.failures),
            "failed attempt",
            "failed attempts",
        );
        put!(out, " · <span class=\"bad\">{failed}</span>");
    }
    spent(out, &turn.spent);
    out.push_str("</small></h3>\n");
    out.push_str("<div class=\"scale\">");
    graph::labels(out, turn_axis(turn));
    out.push_str("</div>\n<div class=\"rows\">\n");
}

/// Returns the axis of everything.
pub(super) fn session_axis(outline: &Outline) -> Axis {
    Axis {
        from: outline.started_at.unwrap_or(DateTime::UNIX_EPOCH),
        to: outline.updated_at.unwrap_or(DateTime::UNIX_EPOCH),
    }
}

/// Returns the axis of a turn.
pub(super) fn turn_axis(turn: &TurnOutline) -> Axis {
    Axis {
        from: turn.started_at,
        to: turn.ended_at,
    }
}

/// Returns the axis of the loops of a group, or of one loop.
pub(super) fn common_axis<'a>(loops: impl Iterator<Item = &'a LoopOutline> + Clone) -> Axis {
    let from = loops.clone().map(|it| it.started_at).min();
    let to = loops.map(|it| it.ended_at).max();
    Axis {
        from: from.unwrap_or(DateTime::UNIX_EPOCH),
        to: to.unwrap_or(DateTime::UNIX_EPOCH),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_written_in_base64() {
        let written = ["", "f", "fo", "foo", "foob"].map(|text| base64(text.as_bytes()));
        assert_eq!(written, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
    }

    #[test]
    fn nothing_ends_the_script_or_the_style_early() {
        for (text, end) in [(STYLE, "</style"), (SCRIPT, "</script")] {
            assert!(!text.contains(end) && !text.contains("<!--"));
        }
    }
}
