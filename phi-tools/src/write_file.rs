//! The tool `write_file`: a whole file, made or replaced in one step.

use phi_types::{EffectClass, ToolKind, ToolResult};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::blocking::{self, Cancel};
use crate::edit_file::FILE_BYTES_MAX;
use crate::error::FileError;
use crate::function::FunctionTool;
use crate::replace::{New, Ownership, replace};
use crate::schema::InvalidTool;
use crate::text;
use crate::workspace::{Digest, Workspace};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Arguments {
    /// The file, relative to the workspace or absolute inside it.
    path: String,
    /// Everything that the file will hold.
    content: String,
}

#[derive(Debug, Serialize)]
struct Details {
    path: String,
    bytes: usize,
    created: bool,
}

pub(crate) fn tool(workspace: &Workspace) -> Result<FunctionTool<Arguments>, InvalidTool> {
    let workspace = workspace.clone();
    let description = "Writes a whole file: makes it, with the folders it needs, or replaces what \
        it held. Prefer edit_file to change a part of a file. Fails if the file changed since it \
        was read.";
    let tool = FunctionTool::new("write_file", description, move |arguments, _| {
        let workspace = workspace.clone();
        async move { blocking::run(move |cancel| write(&workspace, &arguments, cancel)).await? }
    })?;
    Ok(tool
        .with_kind(ToolKind::Edit)
        .with_effect_class(EffectClass::Idempotent))
}

pub(crate) fn write(
    workspace: &Workspace,
    arguments: &Arguments,
    cancel: &Cancel,
) -> Result<ToolResult, FileError> {
    let root = workspace.held();
    let given = root.relative(&arguments.path)?;
    let content = arguments.content.as_bytes();
    let _writing = workspace.writing();
    let (path, keep) = match root.open_file(&given) {
        Ok(mut old) => {
            match old.read_all(FILE_BYTES_MAX, cancel) {
                Ok(known) if known != content => {
                    workspace.unchanged(&old.path, Digest::of(&known))?;
                }
                Ok(_) | Err(FileError::Binary { .. } | FileError::TooLarge { .. }) => {}
                Err(error) => return Err(error),
            }
            let keep = Ownership::of(&old.metadata);
            (old.path, Some(keep))
        }
        Err(FileError::NotFound { .. }) => (given, None),
        Err(error) => return Err(error),
    };
    let new = New {
        path: &path,
        content,
        keep,
    };
    replace(root, &new, cancel)?;
    let path = match keep {
        Some(_) => path,
        None => root.open_file(&path)?.path,
    };
    workspace.remember(&path, Digest::of(content));
    let details = Details {
        path: text::name(&path),
        bytes: content.len(),
        created: keep.is_none(),
    };
    let verb = if details.created {
        "created"
    } else {
        "replaced"
    };
    let text = format!("{verb} {} ({} bytes)", details.path, details.bytes);
    Ok(ToolResult::text(text).with_details(&details))
}
