//! One event as a row of a page: when, what, a bar or a tick, and everything that it says.

use std::fmt::Write as _;

use phi_types::{
    Approval, AskedBy, AssistantMessage, Content, Event, EventKind, FilterVerdict, Message,
    ModelPatch, Recovered, SessionId, StopCause, ToolCall, ToolEnded, Usage, UserMessage,
};
use serde::{Deserialize, Serialize};

use super::clock::millis;
use super::graph::{self, Axis, put};
use super::outline::Span;
use super::readable::{Limits, readable};
use super::text::{escape, escaped, excerpt};
use super::words::{counted, duration, moment, tokens};

/// The longest line of a row, in characters.
const LINE_MAX: usize = 200;
/// The longest name of a row, in characters.
const LABEL_MAX: usize = 40;

/// Where an event stands in the page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) position: u64,
    pub(super) axis: Axis,
    pub(super) span: Option<&'a Span>,
    /// How much of the event is written.
    pub(super) limits: Limits,
}

/// What a row says in one line.
struct Line {
    /// The group that a reader can hide: `message`, `model`, `tool`, `approval` or `other`.
    group: &'static str,
    label: String,
    text: String,
    is_bad: bool,
    child: Option<SessionId>,
}

/// Adds the row of an event.
pub(super) fn row(out: &mut String, event: &Event, place: &Place<'_>) {
    let line = line(&event.kind);
    let position = place.position;
    let bad = if line.is_bad { " failed" } else { "" };
    put!(
        out,
        "<details class=\"event {}{bad}\" id=\"e{position}\"><summary><span class=\"at\">",
        line.group
    );
    let passed = millis(place.axis.from, event.at);
    put!(out, "{}</span><span class=\"what\"><b>", duration(passed));
    escape(out, &line.label);
    out.push_str("</b> ");
    escape(out, &line.text);
    out.push_str("</span>");
    graph::track(out, place.axis, event.at, place.span);
    out.push_str("<span class=\"took\">");
    if let Some(span) = place.span {
        out.push_str(&duration(millis(span.from, span.to)));
        if span.is_open {
            out.push('…');
        }
    }
    out.push_str("</span></summary><div class=\"body\">");
    put!(
        out,
        "<p><a href=\"#e{position}\">position {position}</a>, seq {}, {}",
        event.seq,
        moment(event.at)
    );
    if let Some(child) = &line.child {
        out.push_str(", sub-agent ");
        link(out, child);
    }
    out.push_str("</p><pre>");
    body(out, event, place);
    out.push_str("</pre></div></details>\n");
}

/// Links to the page of another session, as it is called if it is written beside this one.
pub(super) fn link(out: &mut String, session: &SessionId) {
    let id = escaped(session.as_str());
    put!(
        out,
        "<a class=\"session\" href=\"{id}.html\" title=\"made by: phi sessions show {id} --html {id}.html\">{id}</a>"
    );
}

/// Adds everything that an event says, as far as it fits.
fn body(out: &mut String, event: &Event, place: &Place<'_>) {
    let json = match serde_json::to_string(&event.kind) {
        Ok(json) => json,
        Err(error) => return escape(out, &format!("cannot be written as JSON: {error}")),
    };
    match readable(&json, place.limits) {
        Ok(text) => escape(out, &text),
        Err(text) => {
            escape(out, &text);
            let session = &event.session;
            let rest = format!("\n… the rest is in the log: phi sessions events {session}");
            escape(out, &rest);
        }
    }
}

impl Line {
    fn new(group: &'static str, label: impl Into<String>, text: impl AsRef<str>) -> Self {
        Self {
            group,
            label: label.into(),
            text: excerpt(text.as_ref(), LINE_MAX),
            is_bad: false,
            child: None,
        }
    }

    fn bad(self, is_bad: bool) -> Self {
        Self { is_bad, ..self }
    }
}

/// Says in one line what happened.
fn line(kind: &EventKind) -> Line {
    // Long: one arm for each kind of event.
    let other = |label: &str, text: String| Line::new("other", label, text);
    match kind {
        EventKind::SessionStarted(it) => other(
            "session started",
            it.agent.as_deref().unwrap_or("").to_owned(),
        ),
        EventKind::SessionEnded(_) => other("session ended", String::new()),
        EventKind::Recovered(Recovered::TornTail { bytes, moved_to }) => {
            let text = format!("{bytes} bytes of an unfinished write were moved to {moved_to}");
            other("recovered", text).bad(true)
        }
        EventKind::Recovered(Recovered::Restart { .. }) => other(
            "restarted",
            "the loop goes on after its process ended".to_owned(),
        )
        .bad(true),
        EventKind::BranchesStarted(it) => other(
            "branches started",
            counted(it.loops.len() as u64, "loop", "loops"),
        ),
        EventKind::BranchSelected(it) => {
            let winner = it.winner.as_ref().map_or("none", |id| id.as_str());
            other("branch selected", format!("{winner} ({})", it.strategy))
        }
        EventKind::LoopStarted(it) => {
            let parent = it.parent.as_ref().map(|id| format!(", after {id}"));
            let how = word(&it.continuation);
            other("loop started", how + &parent.unwrap_or_default())
        }
        EventKind::LoopEnded(it) => {
            let (class, text) = super::outline::outcome(&it.outcome);
            other("loop ended", text).bad(class == "bad")
        }
        EventKind::StopRequested(it) => {
            let cause = match &it.cause {
                StopCause::Cancel {} => "cancel".to_owned(),
                StopCause::Stop { reason } => format!("stop: {reason}"),
                StopCause::Limit { limit } => format!("limit: {}", limit.as_str()),
            };
            other("stop requested", cause).bad(true)
        }
        EventKind::SurfaceChanged(it) => {
            let system = it.system.is_some().then(|| "system prompt".to_owned());
            let tools = it.tools.as_ref();
            let tools = tools.map(|it| counted(it.len() as u64, "tool", "tools"));
            let models = it.models.as_ref();
            let models = models.map(|it| it.iter().map(|it| it.model.as_ref()).collect::<Vec<_>>());
            let models = models.map(|it| it.join(", "));
            let options = it.options.is_some().then(|| "options".to_owned());
            let parts: Vec<String> = [models, system, tools, options]
                .into_iter()
                .flatten()
                .collect();
            Line::new("model", "surface", parts.join(", "))
        }
        EventKind::LimitWarning(it) => other("limit near", it.limit.as_str().to_owned()).bad(true),
        EventKind::LimitReached(it) => {
            other("limit reached", it.limit.as_str().to_owned()).bad(true)
        }
        EventKind::LoopStuck(it) => {
            let circle = if it.period > 1 {
                format!(", in a circle of {}", it.period)
            } else {
                String::new()
            };
            let text = format!("{}, {} times in a row{circle}", it.tool, it.times);
            other("loop stuck", text).bad(true)
        }
        EventKind::TurnStarted(it) => other(&format!("turn {}", it.index), word(&it.trigger)),
        EventKind::TurnEnded(it) => {
            other(&format!("turn {} ended", it.index), tokens_of(&it.usage))
        }
        EventKind::CacheBroken(it) => other("cache broken", tag(&it.part)),
        EventKind::ModelStarted(it) => {
            let patch = if it.patch == ModelPatch::default() {
                ""
            } else {
                ", patched by a hook"
            };
            Line::new("model", "model", format!("attempt {}{patch}", it.attempt))
        }
        EventKind::ModelFailed(it) => {
            let text = format!("attempt {}: {}", it.attempt, it.error);
            Line::new("model", "failed", text).bad(true)
        }
        EventKind::Message(it) => match &it.message {
            Message::User(message) => Line::new("message", "user", user(message)),
            Message::Assistant(message) => Line::new("message", "assistant", answer(message)),
            Message::Extension(it) => Line::new(
                "message",
                extension(&it.namespace, &it.name),
                it.data.as_str(),
            ),
        },
        EventKind::MessageQueued(it) => Line::new("message", "queued", user(&it.message)),
        EventKind::InputFiltered(it) => match &it.verdict {
            FilterVerdict::Passed {} => Line::new("message", "input passed", ""),
            FilterVerdict::Warned { warning } => Line::new("message", "input warned", warning),
            FilterVerdict::Rejected { reason } => {
                Line::new("message", "input rejected", reason).bad(true)
            }
        },
        EventKind::ToolStarted(it) => Line::new("tool", "call", call(&it.call)),
        EventKind::ToolEnded(it) => result(it),
        EventKind::ApprovalRequested(it) => Line::new("approval", "asked", &it.question),
        EventKind::ApprovalResolved(it) => match &it.approval {
            Approval::Approved {} => Line::new("approval", "approved", ""),
            Approval::Denied { reason } => Line::new("approval", "denied", reason).bad(true),
        },
        EventKind::CompactionStarted(it) => {
            let entries = counted(it.entries, "entry", "entries");
            Line::new("model", "compaction", entries)
        }
        EventKind::CompactionEnded(it) => {
            let entries = counted(it.entries, "entry", "entries");
            let text = it.error.clone().unwrap_or(entries);
            Line::new("model", "compacted", text).bad(it.error.is_some())
        }
        EventKind::ContextPruned(it) => {
            let results = counted(it.results.len() as u64, "result", "results");
            changed("pruned", &it.by, &results, it.tokens)
        }
        EventKind::ContextReverted(it) => {
            let entries = counted(it.block.count, "entry", "entries");
            let summary = excerpt(&it.summary, LINE_MAX / 2);
            let what = format!("{entries} after {}, {}: {summary}", it.to, it.category);
            changed("reverted", &it.by, &what, it.tokens)
        }
        EventKind::ContextRestored(it) => {
            let what = format!("what {} hid", it.overlay);
            changed("restored", &it.by, &what, it.tokens)
        }
        EventKind::Extension(it) => Line::new(
            "other",
            extension(&it.namespace, &it.name),
            it.data.as_str(),
        ),
        kind => unknown(kind),
    }
}

/// A change of what the model reads.
fn changed(label: &str, by: &AskedBy, what: &str, tokens: u64) -> Line {
    let by = match by {
        AskedBy::Call { .. } => "by the model",
        AskedBy::Caller {} => "by the caller",
    };
    let tokens = counted(tokens, "token", "tokens");
    Line::new(
        "model",
        label,
        format!("{what}, {by}; the model reads {tokens}"),
    )
}

/// A kind that this page has no line for says its name.
fn unknown(kind: &EventKind) -> Line {
    let json = serde_json::to_string(kind).unwrap_or_default();
    Line::new("other", excerpt(&tag(kind), LABEL_MAX), json)
}

/// Returns the name of a unit variant as logs have it, with spaces.
pub(super) fn word(variant: &impl Serialize) -> String {
    let word = serde_json::to_value(variant).unwrap_or_default();
    word.as_str().unwrap_or_default().replace('_', " ")
}

/// Returns the `type` of a value, with spaces.
fn tag(value: &impl Serialize) -> String {
    #[derive(Deserialize)]
    struct Tagged {
        r#type: String,
    }
    let json = serde_json::to_string(value).unwrap_or_default();
    let tagged = serde_json::from_str(&json);
    tagged.map_or_else(
        |_| "unknown".to_owned(),
        |it: Tagged| it.r#type.replace('_', " "),
    )
}

fn extension(namespace: &str, name: &str) -> String {
    excerpt(&format!("{namespace} {name}"), LABEL_MAX)
}

fn tokens_of(usage: &Usage) -> String {
    tokens(usage).unwrap_or_default()
}

fn user(message: &UserMessage) -> String {
    texts(&message.content)
}

fn texts(content: &[Content]) -> String {
    let texts = content.iter().map(|it| match it {
        Content::Text { text } => excerpt(text, LINE_MAX),
        Content::Image { media_type, .. } => format!("({media_type})"),
    });
    texts.collect::<Vec<_>>().join(" ")
}

fn answer(message: &AssistantMessage) -> String {
    let text = excerpt(&message.text(), LINE_MAX);
    let names: Vec<&str> = message
        .tool_calls()
        .map(|call| call.name.as_ref())
        .collect();
    match names.as_slice() {
        [] => text,
        names if text.is_empty() => format!("→ {}", names.join(", ")),
        names => format!("{text} → {}", names.join(", ")),
    }
}

fn call(call: &ToolCall) -> String {
    format!("{} {}", call.name, excerpt(call.arguments.text(), LINE_MAX))
}

fn result(ended: &ToolEnded) -> Line {
    let is_bad = ended.ending != phi_types::ToolEnding::Finished || ended.result.is_error;
    let label = if is_bad {
        word(&ended.ending)
    } else {
        "result".to_owned()
    };
    let mut line = Line::new("tool", label, texts(&ended.result.content)).bad(is_bad);
    line.child.clone_from(&ended.child);
    line
}
