//! The tool `edit_file`: exact replacements in a text file, all or none.

use phi_types::{EffectClass, ToolKind, ToolResult};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::blocking::{self, Cancel, Cancelled};
use crate::edits::{Edit, EditError, apply};
use crate::error::FileError;
use crate::function::FunctionTool;
use crate::replace::{New, Ownership, replace};
use crate::schema::InvalidTool;
use crate::text;
use crate::workspace::{Digest, Workspace};

/// The largest file that is edited, and that is watched for changes, in bytes.
pub(crate) const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Arguments {
    /// The file, relative to the workspace or absolute inside it.
    path: String,
    /// The replacements. Each applies to the file as it is now, and they must not overlap.
    #[schemars(length(min = 1, max = 1000))]
    edits: Vec<Edit>,
}

#[derive(Debug, Serialize)]
struct Details {
    path: String,
    edits: usize,
    lines: Vec<usize>,
    bytes_before: usize,
    bytes_after: usize,
}

/// Why a file was not edited.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("nothing was changed in {path}: {error}")]
    Edit { path: String, error: EditError },
}

impl From<Cancelled> for Failure {
    fn from(error: Cancelled) -> Self {
        Self::File(error.into())
    }
}

pub(crate) fn tool(workspace: &Workspace) -> Result<FunctionTool<Arguments>, InvalidTool> {
    let workspace = workspace.clone();
    let description = "Replaces exact pieces of a text file. Each old_text must occur in the file \
        exactly once, with its white space as read_file shows it; quote as few lines as make it \
        unique. All edits apply, or none. Line ends and encoding of the file stay as they are. \
        Fails if the file changed since it was read.";
    let tool = FunctionTool::new("edit_file", description, move |arguments, _| {
        let workspace = workspace.clone();
        async move { blocking::run(move |cancel| edit(&workspace, &arguments, cancel)).await? }
    })?;
    Ok(tool
        .with_kind(ToolKind::Edit)
        .with_effect_class(EffectClass::AtMostOnce))
}

fn edit(
    workspace: &Workspace,
    arguments: &Arguments,
    cancel: &Cancel,
) -> Result<ToolResult, Failure> {
    let root = workspace.held();
    let given = root.relative(&arguments.path)?;
    let _writing = workspace.writing();
    let mut opened = root.open_file(&given)?;
    let content = opened.read_all(FILE_BYTES_MAX, cancel)?;
    workspace.unchanged(&opened.path, Digest::of(&content))?;
    let path = opened.name();
    let edited = apply(&content, &arguments.edits).map_err(|error| Failure::Edit {
        path: path.clone(),
        error,
    })?;
    let keep = Ownership::of(&opened.metadata);
    // The last look before the replacement: what another program wrote meanwhile is not lost.
    let mut again = root.open_file(&opened.path)?;
    if again.read_all(FILE_BYTES_MAX, cancel)? != content {
        return Err(FileError::Changed { path }.into());
    }
    let new = New {
        path: &opened.path,
        content: &edited.content,
        keep: Some(keep),
    };
    replace(root, &new, cancel)?;
    workspace.remember(&opened.path, Digest::of(&edited.content));
    let details = Details {
        path: text::name(&opened.path),
        edits: arguments.edits.len(),
        lines: edited.lines,
        bytes_before: content.len(),
        bytes_after: edited.content.len(),
    };
    let lines: Vec<_> = details.lines.iter().map(usize::to_string).collect();
    let text = match lines.as_slice() {
        [line] => format!("edited {path}: 1 edit at line {line}"),
        lines => format!(
            "edited {path}: {} edits at lines {}",
            lines.len(),
            lines.join(", ")
        ),
    };
    Ok(ToolResult::text(text).with_details(&details))
}
