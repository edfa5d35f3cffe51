//! The tool `list_files`: the files beneath a folder.

use phi_types::{EffectClass, ToolKind, ToolResult};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::blocking::{self, Cancel};
use crate::error::FileError;
use crate::function::FunctionTool;
use crate::schema::InvalidTool;
use crate::text;
use crate::walk::{Glob, InvalidGlob, Next, Walk, walk};
use crate::workspace::Workspace;

/// Files of one result, where the call names no number.
const FILES_DEFAULT: u64 = 1_000;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Arguments {
    /// The folder to list, relative to the workspace or absolute inside it. Default: all of it.
    path: Option<String>,
    /// Which files, as *.rs (at any depth), src/**/*.ts or !*.lock. Default: all.
    glob: Option<String>,
    /// How many files to list. Default: 1000.
    #[schemars(range(min = 1))]
    limit: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Details {
    path: String,
    files: u64,
    more: u64,
    truncated: bool,
    more_is_a_minimum: bool,
    unreadable: u64,
}

pub(crate) fn tool(workspace: &Workspace) -> Result<FunctionTool<Arguments>, InvalidTool> {
    let workspace = workspace.clone();
    let description = "Lists the files beneath a folder with their paths from the workspace, \
        sorted, hidden files included. Files that .gitignore names are left out. A link is shown \
        with ` -> ` and its target and is not followed.";
    let tool = FunctionTool::new("list_files", description, move |arguments, _| {
        let workspace = workspace.clone();
        async move { blocking::run(move |cancel| list(&workspace, &arguments, cancel)).await? }
    })?;
    Ok(tool
        .with_kind(ToolKind::Search)
        .with_effect_class(EffectClass::Pure)
        .with_check(|arguments: &Arguments| glob_of(arguments).map(drop)))
}

fn glob_of(arguments: &Arguments) -> Result<Option<Glob>, InvalidGlob> {
    arguments.glob.as_deref().map(Glob::new).transpose()
}

fn list(
    workspace: &Workspace,
    arguments: &Arguments,
    cancel: &Cancel,
) -> Result<ToolResult, FileError> {
    let root = workspace.held();
    let folder = root.relative(arguments.path.as_deref().unwrap_or("."))?;
    let glob = match glob_of(arguments) {
        Ok(glob) => glob,
        Err(error) => return Ok(ToolResult::error(error.to_string())),
    };
    let limit = arguments.limit.unwrap_or(FILES_DEFAULT);
    let bytes_max = workspace.policy().output_bytes_max;
    let mut text = String::new();
    let mut files = 0;
    let mut full = false;
    let way = Walk {
        root,
        folder: &folder,
        glob: glob.as_ref(),
    };
    let walked = walk(way, cancel, |path, entry| {
        let mut line = text::name(path);
        match entry.file_type() {
            Some(kind) if kind.is_symlink() => {
                let target = std::fs::read_link(entry.path());
                line.push_str(" -> ");
                line.push_str(&target.map_or_else(|_| "?".to_owned(), |it| text::name(&it)));
            }
            Some(kind) if !kind.is_file() => line.push_str(" (not a regular file)"),
            _ => {}
        }
        full |= files >= limit || (files > 0 && text.len() + line.len() >= bytes_max);
        if !full {
            text.push_str(&line);
            text.push('\n');
            files += 1;
        }
        Ok(Next::Continue)
    })?;
    let more = walked.visited - files;
    let at_least = if walked.stopped { "at least " } else { "" };
    if more > 0 {
        let remedy = "name a folder with path, or fewer files with glob";
        text.push_str(&format!("[{at_least}{more} more files: {remedy}]\n"));
    }
    if walked.visited == 0 {
        text.push_str("[no files found]\n");
    }
    if walked.unreadable > 0 {
        let unreadable = walked.unreadable;
        text.push_str(&format!("[{unreadable} entries could not be read]\n"));
    }
    Ok(ToolResult::text(text).with_details(&Details {
        path: text::name(&folder),
        files,
        more,
        truncated: more > 0,
        more_is_a_minimum: walked.stopped,
        unreadable: walked.unreadable,
    }))
}
