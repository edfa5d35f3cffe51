//! What a call does to a file, as far as its events say it: pieces that it replaces, and new files.

use phi_types::{RawJson, ToolKind};
use serde::Deserialize;
use serde_json::{Value, json};

/// The most bytes of text in the diffs of one call; a call with more has none.
const BYTES_MAX: usize = 256 << 10;
/// The most places of one call.
const PLACES_MAX: usize = 100;

/// The arguments of a call that edits a file, or writes one.
#[derive(Deserialize)]
struct Arguments {
    #[serde(default)]
    edits: Vec<Edit>,
    content: Option<String>,
}

#[derive(Deserialize)]
struct Edit {
    old_text: String,
    new_text: String,
}

/// What the result of such a call tells beside its text.
#[derive(Default, Deserialize)]
struct Details {
    #[serde(default)]
    created: bool,
    #[serde(default)]
    lines: Vec<u32>,
}

/// Returns the pieces that a call replaces in a file, one diff for each.
pub(super) fn edits(kind: ToolKind, arguments: Option<&RawJson>, path: Option<&str>) -> Vec<Value> {
    let (Some(arguments), Some(path)) = (read(kind, arguments), path) else {
        return Vec::new();
    };
    let bytes = arguments.edits.iter();
    let bytes = bytes.map(|edit| edit.old_text.len() + edit.new_text.len());
    if bytes.sum::<usize>() > BYTES_MAX {
        return Vec::new();
    }
    let edits = arguments.edits.into_iter();
    edits
        .map(|edit| diff(path, Some(&edit.old_text), &edit.new_text))
        .collect()
}

/// Returns what a call has made of a file: its edits, or the whole of a new file. What a file was
/// that a call has replaced nobody knows.
pub(super) fn done(
    kind: ToolKind,
    arguments: Option<&RawJson>,
    path: Option<&str>,
    details: Option<&RawJson>,
) -> Vec<Value> {
    let is_new = details_of(details).created;
    let content = read(kind, arguments).and_then(|it| it.content);
    let content = content.filter(|content| is_new && content.len() <= BYTES_MAX);
    match (content, path) {
        (Some(content), Some(path)) => vec![diff(path, None, &content)],
        (_, path) => edits(kind, arguments, path),
    }
}

/// Returns the places in a file that a call has changed.
pub(super) fn places(path: &str, details: Option<&RawJson>) -> Vec<Value> {
    let lines = details_of(details).lines.into_iter().take(PLACES_MAX);
    lines
        .map(|line| json!({ "path": path, "line": line }))
        .collect()
}

fn read(kind: ToolKind, arguments: Option<&RawJson>) -> Option<Arguments> {
    arguments.filter(|_| kind == ToolKind::Edit)?.read().ok()
}

fn details_of(details: Option<&RawJson>) -> Details {
    let details = details.and_then(|details| details.read().ok());
    details.unwrap_or_default()
}

fn diff(path: &str, old: Option<&str>, new: &str) -> Value {
    match old {
        Some(old) => json!({ "type": "diff", "path": path, "oldText": old, "newText": new }),
        None => json!({ "type": "diff", "path": path, "newText": new }),
    }
}
