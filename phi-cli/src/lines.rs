//! What happened, each in one line for a person.

use phi::types::{
    Content, EventKind, ModelFailed, Recovered, ToolCall, ToolEnded, ToolEnding, Usage,
};

use crate::words::{excerpt, one_line};

/// The longest excerpt of a call or a result, in characters.
const EXCERPT_MAX: usize = 160;

/// Says what an event means beside the answer; `calls` are the tools of the turn by their index.
pub(crate) fn event(kind: &EventKind, calls: &[String]) -> Option<String> {
    Some(match kind {
        EventKind::ToolStarted(started) => call(&started.call),
        EventKind::ToolEnded(ended) => result(ended, calls),
        EventKind::ModelFailed(failed) => attempt(failed),
        EventKind::Recovered(recovered) => recovery(recovered),
        EventKind::LimitWarning(warning) => {
            format!("warning: a limit is near ({})", warning.limit.as_str())
        }
        EventKind::LimitReached(reached) => {
            format!(
                "warning: a shared limit is reached ({})",
                reached.limit.as_str()
            )
        }
        EventKind::LoopStuck(stuck) if stuck.period > 1 => format!(
            "warning: the model went {} times round a circle that ends with `{}`",
            stuck.times, stuck.tool
        ),
        EventKind::LoopStuck(stuck) => format!(
            "warning: the model called `{}` {} times with the same arguments",
            stuck.tool, stuck.times
        ),
        _ => return None,
    })
}

/// Says what is called with what.
pub(crate) fn call(call: &ToolCall) -> String {
    let arguments = excerpt(call.arguments.text(), EXCERPT_MAX);
    format!("[{}] {arguments}", call.name)
}

/// Names how a call ended.
pub(crate) fn ending(ending: ToolEnding) -> &'static str {
    match ending {
        ToolEnding::Finished => "done",
        ToolEnding::Failed => "failed",
        ToolEnding::Denied => "denied",
        ToolEnding::Skipped => "skipped",
        ToolEnding::Invalid => "invalid",
        ToolEnding::TimedOut => "timed out",
        ToolEnding::Cancelled => "cancelled",
        ToolEnding::Interrupted => "interrupted",
        ToolEnding::Discarded => "discarded",
    }
}

/// Returns the text of a piece of a message or a result.
pub(crate) fn content(content: &Content) -> &str {
    match content {
        Content::Text { text } => text,
        Content::Image { .. } => "(an image)",
    }
}

/// Says what the tokens were; nothing where none were reported.
pub(crate) fn usage(usage: &Usage) -> Option<String> {
    let known = [
        (usage.input_tokens, "input"),
        (usage.cache_read_tokens, "cache read"),
        (usage.cache_write_tokens, "cache write"),
        (usage.output_tokens, "output"),
    ];
    let parts = known.iter().filter_map(|(tokens, what)| {
        let tokens = (*tokens)?;
        Some(format!("{tokens} {what}"))
    });
    let parts: Vec<String> = parts.collect();
    (!parts.is_empty()).then(|| format!("usage: {} tokens", parts.join(", ")))
}

fn result(ended: &ToolEnded, calls: &[String]) -> String {
    let index = usize::try_from(ended.index).unwrap_or(usize::MAX);
    // A call that started early for nothing is none of the answer's.
    let known = calls
        .get(index)
        .filter(|_| ended.ending != ToolEnding::Discarded);
    let name = known.map_or("tool", String::as_str);
    let texts: Vec<&str> = ended.result.content.iter().map(content).collect();
    let text = excerpt(&texts.join(" "), EXCERPT_MAX);
    format!("[{name}] {}: {text}", ending(ended.ending))
}

fn attempt(failed: &ModelFailed) -> String {
    let what = one_line(&failed.error.to_string());
    let taken_back = if failed.facts.output_seen {
        "; what it had said does not count"
    } else {
        ""
    };
    let next = if failed.retry_at.is_some() {
        "it is called again"
    } else {
        "it is not called again"
    };
    format!("warning: the model call failed ({what}){taken_back}; {next}")
}

fn recovery(recovered: &Recovered) -> String {
    match recovered {
        Recovered::TornTail { bytes, moved_to } => format!(
            "warning: the log ended in {bytes} bytes of an unfinished write; they are in {moved_to}"
        ),
        Recovered::Restart { .. } => "the loop goes on after its process ended".to_owned(),
    }
}
