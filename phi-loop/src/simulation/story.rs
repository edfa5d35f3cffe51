//! What happened in a world, line by line, for a person.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use phi_types::{Delta, Event};

use crate::io::{Input, Rejected};

/// What happened in a world. Nothing is written unless it is asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Story {
    lines: Option<Vec<String>>,
}

impl Story {
    /// Makes a story that is written.
    pub(super) fn told() -> Self {
        Self {
            lines: Some(Vec::new()),
        }
    }

    pub(super) fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }

    pub(super) fn input(&mut self, now: DateTime<Utc>, input: &Input) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>7} ms  {}", now.timestamp_millis(), said(input)));
        }
    }

    pub(super) fn refused(&mut self, why: &Rejected) {
        if let Some(line) = self.lines.as_mut().and_then(|lines| lines.last_mut()) {
            // Writing to a string does not fail.
            if write!(line, "  (refused: {why})").is_err() {
                line.push_str("  (refused)");
            }
        }
    }

    pub(super) fn event(&mut self, event: &Event) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!(
                "               {:>3}  {}",
                event.seq,
                name_of(event)
            ));
        }
    }

    pub(super) fn crash(&mut self, now: DateTime<Utc>, kept: usize) {
        if let Some(lines) = &mut self.lines {
            let at = now.timestamp_millis();
            lines.push(format!(
                "{at:>7} ms  the process ends; {kept} events are kept"
            ));
        }
    }
}

/// Says what comes in, in few words.
fn said(input: &Input) -> String {
    match input {
        Input::Delta(effect, delta) => format!("model #{}: {}", effect.seq, delta_of(delta)),
        Input::ModelEnded(effect) => format!("model #{} ends", effect.seq),
        Input::ModelFailed(effect, error) => {
            format!("model #{} fails: {:?}", effect.seq, error.kind)
        }
        Input::ToolEnded(effect, report) => {
            format!("tool #{}: {:?}", effect.seq, report.ending)
        }
        Input::Approval(effect, approval, scope) => {
            format!("approval #{}: {approval:?}, {scope:?}", effect.seq)
        }
        Input::Compacted(effect, compacted, _) => {
            let block = compacted.block.as_ref();
            let block = block.map(|block| (block.first, block.count));
            let pruned = compacted.pruned.len();
            format!(
                "compaction #{}: block {block:?}, {pruned} pruned",
                effect.seq
            )
        }
        Input::Decided(id, verdict) => {
            format!("hooks after {}, call {}: {verdict:?}", id.seq, id.index)
        }
        Input::Steer(id, _) => format!("steering message {id}"),
        Input::FollowUp(id, _) => format!("follow-up message {id}"),
        Input::Prompt(messages) => format!("prompt of {} messages", messages.len()),
        other => format!("{other:?}"),
    }
}

fn delta_of(delta: &Delta) -> String {
    match delta {
        Delta::Text(delta) => format!("text {:?}", delta.text),
        Delta::ToolCall(call) => {
            format!("part {} calls {:?} as {:?}", call.part, call.name, call.id)
        }
        Delta::Arguments(delta) => format!("part {} arguments {:?}", delta.part, delta.text),
        Delta::PartEnded(ended) => format!("part {} ends", ended.part),
        Delta::Finish(finish) => format!("finish {:?}", finish.stop_reason),
        other => format!("{other:?}"),
    }
}

/// Returns the kind of an event, as the log names it.
fn name_of(event: &Event) -> String {
    let text = format!("{:?}", event.kind);
    let end = text.find(['(', ' ', '{']).unwrap_or(text.len());
    text.get(..end).unwrap_or_default().to_owned()
}
