//! The tool `search`: lines of files that match a pattern.

use std::io::{self, Read};
use std::path::Path;

use grep_matcher::LineTerminator;
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder, Sink, SinkMatch};
use phi_types::{EffectClass, ToolKind, ToolResult};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::blocking::{self, Cancel};
use crate::error::FileError;
use crate::function::FunctionTool;
use crate::schema::InvalidTool;
use crate::text::{self, Origin};
use crate::walk::{Glob, Next, Walk, Walked, walk};
use crate::workspace::Workspace;

/// Lines of one result, where the call names no number.
const LINES_DEFAULT: u64 = 100;
/// How many lines are counted beyond those that are shown.
const COUNTED_MAX: u64 = 100_000;
/// The longest part of a line that is shown, in bytes.
const LINE_BYTES_MAX: usize = 500;
/// The longest line that is searched, in bytes.
const HEAP_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The largest automaton of a pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 16 * 1024 * 1024;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Arguments {
    /// A regular expression as in ripgrep. Start it with (?i) to ignore case.
    pattern: String,
    /// The folder or file to search, relative to the workspace or absolute inside it. Default: all.
    path: Option<String>,
    /// Which files, as *.rs (at any depth), src/**/*.ts or !*.lock. Default: all.
    glob: Option<String>,
    /// How many lines to show. Default: 100.
    #[schemars(range(min = 1))]
    limit: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Details {
    matches: u64,
    more: u64,
    truncated: bool,
    more_is_a_minimum: bool,
    files_searched: u64,
    files_matched: u64,
    unreadable: u64,
}

/// What a search looks for.
#[derive(Debug)]
struct Query {
    matcher: RegexMatcher,
    glob: Option<Glob>,
}

impl Query {
    fn of(arguments: &Arguments) -> Result<Self, String> {
        let matcher = RegexMatcherBuilder::new()
            .multi_line(true)
            .line_terminator(Some(b'\n'))
            .crlf(true)
            .size_limit(PATTERN_BYTES_MAX)
            .dfa_size_limit(PATTERN_BYTES_MAX)
            .build(&arguments.pattern)
            .map_err(|error| {
                let report = error.to_string();
                // The parser draws the pattern first, wrapped in a group of its own.
                let reason = report.rsplit("error: ").next().unwrap_or(&report);
                format!(
                    "`pattern` {:?} is not a regular expression for one line: {}: put \\ before \
                     each of ( [ {{ . * + ? | that stands for itself, and search for one line",
                    text::cut(&arguments.pattern, 128),
                    text::cut(reason, 300).trim_end()
                )
            })?;
        let glob = arguments.glob.as_deref().map(Glob::new).transpose();
        Ok(Self {
            matcher,
            glob: glob.map_err(|error| error.to_string())?,
        })
    }
}

pub(crate) fn tool(workspace: &Workspace) -> Result<FunctionTool<Arguments>, InvalidTool> {
    let workspace = workspace.clone();
    let description = "Searches text files line by line with a regular expression and returns \
        path:line:text, sorted by path. Hidden files are searched; files that .gitignore names \
        and binary files are not.";
    let tool = FunctionTool::new("search", description, move |arguments, _| {
        let workspace = workspace.clone();
        async move { blocking::run(move |cancel| search(&workspace, &arguments, cancel)).await? }
    })?;
    Ok(tool
        .with_kind(ToolKind::Search)
        .with_effect_class(EffectClass::Pure)
        .with_check(|arguments: &Arguments| Query::of(arguments).map(drop)))
}

fn search(
    workspace: &Workspace,
    arguments: &Arguments,
    cancel: &Cancel,
) -> Result<ToolResult, FileError> {
    let root = workspace.held();
    let query = match Query::of(arguments) {
        Ok(query) => query,
        Err(error) => return Ok(ToolResult::error(error)),
    };
    let start = root.relative(arguments.path.as_deref().unwrap_or("."))?;
    let mut found = Found {
        limit: arguments.limit.unwrap_or(LINES_DEFAULT),
        bytes_max: workspace.policy().output_bytes_max,
        ..Found::default()
    };
    let mut searcher = searcher();
    let mut one = |path: &Path| -> Result<Next, FileError> {
        let opened = root.open_file(path)?;
        let before = found.matches;
        let mut sink = Lines {
            path: text::name(path),
            found: &mut found,
        };
        let reader = Cancelling {
            file: &opened.file,
            cancel,
        };
        let searched = searcher.search_reader(&query.matcher, reader, &mut sink);
        cancel.check()?;
        found.files_searched += 1;
        found.files_matched += u64::from(found.matches > before);
        searched.map_err(|error| FileError::io("search", &text::name(path), error))?;
        Ok(match found.matches - found.shown < COUNTED_MAX {
            true => Next::Continue,
            false => Next::Stop,
        })
    };
    let walked = match root.open_file(&start) {
        Ok(file) => Walked {
            stopped: one(&file.path)? == Next::Stop,
            ..Walked::default()
        },
        Err(FileError::Directory { .. }) => {
            let mut unreadable = 0;
            let way = Walk {
                root,
                folder: &start,
                glob: query.glob.as_ref(),
            };
            let mut walked = walk(way, cancel, |path, entry| {
                if !entry.file_type().is_some_and(|kind| kind.is_file()) {
                    return Ok(Next::Continue);
                }
                match one(path) {
                    Ok(next) => Ok(next),
                    Err(FileError::Cancelled(error)) => Err(error.into()),
                    Err(_) => {
                        unreadable += 1;
                        Ok(Next::Continue)
                    }
                }
            })?;
            walked.unreadable += unreadable;
            walked
        }
        Err(error) => return Err(error),
    };
    Ok(found.result(walked))
}

fn searcher() -> Searcher {
    SearcherBuilder::new()
        .binary_detection(BinaryDetection::quit(0))
        .heap_limit(Some(HEAP_BYTES_MAX))
        .line_terminator(LineTerminator::crlf())
        .line_number(true)
        .build()
}

/// What was found so far.
#[derive(Debug, Default)]
struct Found {
    limit: u64,
    bytes_max: usize,
    text: String,
    shown: u64,
    matches: u64,
    files_searched: u64,
    files_matched: u64,
    full: bool,
}

impl Found {
    fn line(&mut self, path: &str, number: u64, line: &[u8]) {
        self.matches += 1;
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let shown = text::front(line, LINE_BYTES_MAX, Origin::File);
        let mut entry = format!("{path}:{number}:{}", shown.text);
        let rest = line.len() - shown.taken;
        if rest > 0 {
            entry.push_str(&format!("[... {rest} bytes of this line omitted]"));
        }
        entry.push('\n');
        self.full |= self.shown >= self.limit
            || (self.shown > 0 && self.text.len() + entry.len() > self.bytes_max);
        if !self.full {
            self.text.push_str(&entry);
            self.shown += 1;
        }
    }

    fn result(mut self, walked: Walked) -> ToolResult {
        let more = self.matches - self.shown;
        let at_least = if walked.stopped { "at least " } else { "" };
        if more > 0 {
            let remedy = "narrow pattern, path or glob, or raise limit";
            self.text.push_str(&format!(
                "[{at_least}{more} more matching lines: {remedy}]\n"
            ));
        }
        if self.matches == 0 {
            let files = self.files_searched;
            self.text
                .push_str(&format!("[no matches in {files} files]\n"));
        }
        if walked.unreadable > 0 {
            let unreadable = walked.unreadable;
            self.text.push_str(&format!(
                "[{unreadable} files or folders could not be searched]\n"
            ));
        }
        ToolResult::text(self.text).with_details(&Details {
            matches: self.shown,
            more,
            truncated: more > 0,
            more_is_a_minimum: walked.stopped,
            files_searched: self.files_searched,
            files_matched: self.files_matched,
            unreadable: walked.unreadable,
        })
    }
}

/// Takes the matching lines of one file.
struct Lines<'a> {
    path: String,
    found: &'a mut Found,
}

impl Sink for Lines<'_> {
    type Error = io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> Result<bool, io::Error> {
        let number = found.line_number().unwrap_or(0);
        self.found.line(&self.path, number, found.bytes());
        Ok(self.found.matches - self.found.shown < COUNTED_MAX)
    }
}

/// Stops reading once the call was dropped.
struct Cancelling<'a> {
    file: &'a std::fs::File,
    cancel: &'a Cancel,
}

impl Read for Cancelling<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.cancel.check().map_err(io::Error::other)?;
        self.file.read(buffer)
    }
}
