//! The JSON of session updates, in version 1 of the protocol. What has its default is left out.

use phi_types::{
    CompactionEnded, Content, ImageSource, RawJson, ToolCall, ToolEnded, ToolEnding, ToolKind,
    UserMessage,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Notice, PLAN_NAME, PLAN_NAMESPACE};

/// The longest title of a call, in characters.
const TITLE_MAX: usize = 100;

/// Makes a chunk of text; nothing of no text.
pub(super) fn text_chunk(tag: &str, message_id: &str, text: &str) -> Option<Value> {
    let content = json!({ "type": "text", "text": text });
    (!text.is_empty()).then(|| chunk(tag, message_id, content))
}

/// Makes the chunks of what a user says.
pub(super) fn user_chunks(message_id: &str, message: &UserMessage) -> Vec<Value> {
    let blocks = message.content.iter().map(block);
    blocks
        .map(|block| chunk("user_message_chunk", message_id, block))
        .collect()
}

/// Makes a call that waits to run.
pub(super) fn call(id: &str, kind: ToolKind, call: &ToolCall, path: Option<String>) -> Value {
    let arguments = call.arguments.text();
    let title = match arguments.trim() {
        "" | "{}" => call.name.to_string(),
        text => format!("{} {text}", call.name),
    };
    let input = match call.arguments.object() {
        Some(object) => value(object),
        None => Value::from(arguments),
    };
    let mut call = json!({
        "sessionUpdate": "tool_call",
        "toolCallId": id,
        "title": one_line(&title),
        "name": *call.name,
        "rawInput": input,
    });
    if kind != ToolKind::Other {
        set(&mut call, "kind", kind);
    }
    if let Some(path) = path {
        set(&mut call, "locations", json!([{ "path": path }]));
    }
    call
}

/// Makes the progress of a call.
pub(super) fn progress(id: &str, text: &str) -> Value {
    json!({
        "sessionUpdate": "tool_call_update",
        "toolCallId": id,
        "content": [{ "type": "content", "content": { "type": "text", "text": text } }],
    })
}

/// Says whether a call did what it was called for.
pub(super) fn is_right(ended: &ToolEnded) -> bool {
    ended.ending == ToolEnding::Finished && !ended.result.is_error
}

/// Makes the result of a call.
pub(super) fn result(id: &str, ended: &ToolEnded) -> Value {
    let content = ended.result.content.iter();
    let content: Vec<Value> = content
        .map(|it| json!({ "type": "content", "content": block(it) }))
        .collect();
    let mut result = json!({
        "sessionUpdate": "tool_call_update",
        "toolCallId": id,
        "status": if is_right(ended) { "completed" } else { "failed" },
        "content": content,
    });
    if let Some(details) = &ended.result.details {
        set(&mut result, "rawOutput", value(details));
    }
    result
}

/// Makes the beginning of a compaction.
pub(super) fn compaction_started(id: &str) -> Value {
    json!({ "sessionUpdate": "compaction_update", "compactionId": id, "status": "in_progress" })
}

/// Makes the end of a compaction. One that has neither a result nor an error was interrupted.
pub(super) fn compaction_ended(id: &str, ended: &CompactionEnded) -> Value {
    let is_done = ended.block.is_some() || !ended.pruned.is_empty() || ended.counted.is_some();
    let status = match (&ended.error, is_done) {
        (Some(_), _) => "failed",
        (None, true) => "completed",
        (None, false) => "cancelled",
    };
    let mut update = compaction_started(id);
    set(&mut update, "status", status);
    if let Some(error) = &ended.error {
        set(&mut update, "error", error);
    }
    if let Some(compacted) = &ended.block {
        let messages = compacted.replacement.iter();
        let summary = messages.flat_map(|it| it.content.iter().map(block));
        set(&mut update, "summary", summary.collect::<Vec<_>>());
    }
    update
}

/// Makes how full the window is.
pub(super) fn usage(used: u64, size: u64, cost_usd: Option<f64>) -> Value {
    let mut usage = json!({ "sessionUpdate": "usage_update", "used": used, "size": size });
    if let Some(amount) = cost_usd {
        set(
            &mut usage,
            "cost",
            json!({ "amount": amount, "currency": "USD" }),
        );
    }
    usage
}

/// Makes a notice.
pub(super) fn notice(notice: &Notice) -> Value {
    let mut told = json!({
        "sessionUpdate": "notice",
        "severity": notice.severity,
        "title": notice.title,
    });
    if let Some(description) = &notice.description {
        set(&mut told, "description", description);
    }
    told
}

/// Makes a plan of a fact that is one in the form of the protocol.
pub(super) fn plan(namespace: &str, name: &str, data: &RawJson) -> Option<Value> {
    if (namespace, name) != (PLAN_NAMESPACE, PLAN_NAME) {
        return None;
    }
    let plan: Plan = data.read().ok()?;
    Some(json!({ "sessionUpdate": "plan", "entries": plan.entries }))
}

/// Returns the file that a call is about: what it names as `path`, made absolute.
pub(super) fn path(
    kind: ToolKind,
    arguments: Option<&RawJson>,
    root: Option<&str>,
) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        path: String,
    }
    match kind {
        ToolKind::Read | ToolKind::Edit | ToolKind::Delete | ToolKind::Move => {}
        ToolKind::Search
        | ToolKind::Execute
        | ToolKind::Think
        | ToolKind::Fetch
        | ToolKind::Other => return None,
    }
    let Named { path } = arguments?.read().ok()?;
    if path.starts_with('/') {
        return Some(path);
    }
    Some(format!("{}/{path}", root?.trim_end_matches('/')))
}

/// Sets a key of an object.
pub(super) fn set(object: &mut Value, key: &str, value: impl Serialize) {
    if let (Value::Object(object), Ok(value)) = (object, serde_json::to_value(value)) {
        object.insert(key.to_owned(), value);
    }
}

/// What a model is to do, in the form of the protocol.
#[derive(Deserialize, Serialize)]
struct Plan {
    entries: Vec<PlanEntry>,
}

#[derive(Deserialize, Serialize)]
struct PlanEntry {
    content: String,
    priority: PlanPriority,
    status: PlanStatus,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum PlanPriority {
    High,
    Medium,
    Low,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum PlanStatus {
    Pending,
    InProgress,
    Completed,
}

fn chunk(tag: &str, message_id: &str, content: Value) -> Value {
    let mut chunk = json!({ "sessionUpdate": tag, "messageId": message_id });
    if let Value::Object(chunk) = &mut chunk {
        chunk.insert("content".to_owned(), content);
    }
    chunk
}

fn block(content: &Content) -> Value {
    match content {
        Content::Text { text } => json!({ "type": "text", "text": text }),
        Content::Image {
            media_type,
            source: ImageSource::Base64(data),
        } => {
            json!({ "type": "image", "mimeType": media_type, "data": data })
        }
        Content::Image {
            media_type,
            source: ImageSource::Url(url),
        } => {
            json!({ "type": "resource_link", "name": "image", "mimeType": media_type, "uri": url })
        }
    }
}

/// Reads raw JSON; what is nested too deep stays text.
fn value(raw: &RawJson) -> Value {
    raw.read().unwrap_or_else(|_| Value::from(raw.as_str()))
}

fn one_line(text: &str) -> String {
    // White space shrinks, so this much is enough, and a long text is not walked to its end.
    let start: String = text.chars().take(TITLE_MAX * 4).collect();
    let words: Vec<&str> = start.split_whitespace().collect();
    let line = words.join(" ");
    let mut cut: String = line.chars().take(TITLE_MAX).collect();
    if cut.len() < line.len() || start.len() < text.len() {
        cut.push('…');
    }
    cut
}
