//! Puts a stored session into words for a person.

use std::fmt::Write as _;

use phi::session::{CallRecord, LoopRecord, Session, SessionSummary, Turn};
use phi::types::{Outcome, Usage, UserMessage};

use crate::lines;
use crate::words::{excerpt, one_line, tame};

/// The longest text of one message that is shown, in characters.
const TEXT_MAX: usize = 20_000;
/// The most lines of a result that are shown.
const RESULT_LINES_MAX: usize = 12;
/// The longest line of a result that is shown, in characters.
const RESULT_LINE_MAX: usize = 200;
/// How times are written.
const TIME: &str = "%Y-%m-%d %H:%M:%S UTC";

/// Says in one line what a session is.
pub(crate) fn summary_line(summary: &SessionSummary, width: usize) -> String {
    let updated = summary.updated_at.map(|at| at.format(TIME).to_string());
    let updated = updated.unwrap_or_default();
    let (id, status) = (summary.id.as_str(), summary.status.as_str());
    let loops = counted(summary.loops, "loop");
    let turns = counted(summary.turns, "turn");
    let tokens = tokens(&summary.usage);
    format!("{id:width$}  {updated}  {status:13}  {loops}, {turns}{tokens}\n")
}

/// Tells a whole session.
pub(crate) fn session(session: &Session) -> String {
    let summary = session.summary();
    let mut text = format!("session {}\n", session.id);
    if let Some(at) = session.created_at {
        push(&mut text, 2, &format!("created {}", at.format(TIME)));
    }
    let status = summary.status.as_str();
    let tokens = tokens(&summary.usage);
    push(&mut text, 2, &format!("status {status}{tokens}"));
    for recovery in &session.recoveries {
        let (bytes, file) = (recovery.bytes, &recovery.moved_to);
        let line = format!("{bytes} bytes of an unfinished write were moved to {file}");
        push(&mut text, 2, &line);
    }
    for record in &session.loops {
        tell_loop(&mut text, record);
    }
    text
}

fn tell_loop(text: &mut String, record: &LoopRecord) {
    text.push('\n');
    let turns = counted(record.turns.len() as u64, "turn");
    let usage = tokens(&record.usage());
    push(text, 0, &format!("loop {}, {turns}{usage}", record.id));
    for turn in &record.turns {
        tell_turn(text, turn);
    }
    for message in &record.waiting_input {
        say(text, "user", &user_text(message));
    }
    let outcome = match &record.outcome {
        Some(outcome) => outcome_words(outcome),
        None => "has not ended".to_owned(),
    };
    push(text, 2, &format!("-- {outcome}"));
}

fn tell_turn(text: &mut String, turn: &Turn) {
    for message in &turn.input {
        say(text, "user", &user_text(message));
    }
    let failed = turn.attempts.iter().filter_map(|it| it.failed.as_ref());
    for failed in failed {
        let what = one_line(&failed.error.to_string());
        push(
            text,
            2,
            &format!("attempt {} failed: {what}", failed.attempt),
        );
    }
    if let Some(answer) = &turn.answer {
        let answer = answer.text();
        if !answer.is_empty() {
            say(text, "assistant", &answer);
        }
    }
    for call in &turn.calls {
        tell_call(text, call);
    }
}

fn tell_call(text: &mut String, record: &CallRecord) {
    let call = record.run.as_ref().map_or(&record.call, |run| &run.call);
    push(text, 2, &lines::call(call));
    let Some(end) = &record.end else {
        push(text, 4, "has no result");
        return;
    };
    push(text, 4, &format!("{}:", lines::ending(end.ending)));
    let result: Vec<&str> = end.result.content.iter().map(lines::content).collect();
    let result = result.join("\n");
    let mut rest = result.lines();
    for line in rest.by_ref().take(RESULT_LINES_MAX) {
        push(text, 4, &cut(line, RESULT_LINE_MAX));
    }
    let more = rest.count() as u64;
    if more > 0 {
        push(text, 4, &format!("… {} more", counted(more, "line")));
    }
}

fn say(text: &mut String, who: &str, what: &str) {
    let shown = cut(what, TEXT_MAX);
    let mut lines = shown.lines();
    let first = lines.next().unwrap_or_default();
    push(text, 2, &format!("{who}: {first}"));
    for line in lines {
        push(text, 4, line);
    }
}

/// Appends a line that no terminal obeys.
fn push(text: &mut String, indent: usize, line: &str) {
    let line = tame(line);
    // Writing to a string cannot fail.
    if writeln!(text, "{:indent$}{line}", "").is_err() {}
}

fn cut(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or(text)),
    }
}

fn user_text(message: &UserMessage) -> String {
    let texts: Vec<&str> = message.content.iter().map(lines::content).collect();
    texts.join("\n")
}

fn outcome_words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Completed {} => "completed".to_owned(),
        Outcome::Rejected { reason } => format!("rejected: {}", excerpt(reason, TEXT_MAX)),
        Outcome::Cancelled {} => "cancelled".to_owned(),
        Outcome::Failed { error } => format!("failed: {}", excerpt(&error.to_string(), TEXT_MAX)),
        Outcome::LimitReached { limit } => format!("a limit was reached: {}", limit.as_str()),
        Outcome::Aborted { reason } => format!("aborted: {}", excerpt(reason, TEXT_MAX)),
    }
}

fn counted(n: u64, what: &str) -> String {
    match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

fn tokens(usage: &Usage) -> String {
    match usage.total_tokens() {
        0 => String::new(),
        total => format!(", {total} tokens"),
    }
}
