//! Replies of a model, as the deltas that a provider yields.

use phi_types::{Delta, StopReason, Usage};

/// Makes a reply of some calls of the no-op tool for each turn, and a last reply without a call.
#[must_use]
pub fn tool_turns(turns: u32) -> Vec<Vec<Delta>> {
    let mut replies: Vec<Vec<Delta>> = (0..turns).map(|turn| calls(turn, 1)).collect();
    replies.push(text(1));
    replies
}

/// Makes one reply of so many calls of the no-op tool.
#[must_use]
pub fn calls(turn: u32, count: u32) -> Vec<Delta> {
    let mut deltas = Vec::new();
    for part in 0..count {
        deltas.push(Delta::tool_call(
            part,
            format!("call_{turn}_{part}"),
            "noop",
        ));
        deltas.push(Delta::arguments(part, "{\"path\":\"src/lib.rs\"}"));
        deltas.push(Delta::part_ended(part));
    }
    deltas.extend(end(StopReason::ToolUse));
    deltas
}

/// Makes one reply of so many text deltas.
#[must_use]
pub fn text(count: u32) -> Vec<Delta> {
    let mut deltas: Vec<Delta> = (0..count).map(|_| Delta::text(0, "a token ")).collect();
    deltas.push(Delta::part_ended(0));
    deltas.extend(end(StopReason::EndTurn));
    deltas
}

fn end(stop_reason: StopReason) -> [Delta; 2] {
    let usage = Usage {
        input_tokens: Some(100),
        output_tokens: Some(10),
        ..Usage::default()
    };
    [Delta::Usage(usage), Delta::finish(stop_reason)]
}
