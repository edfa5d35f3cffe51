//! The tool `read_file`: lines of a text file.

use std::io::{self, BufRead as _, BufReader, Read};

use phi_types::{EffectClass, ToolKind, ToolResult};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh64::Xxh64;

use crate::beneath::{Opened, is_binary};
use crate::blocking::{self, Cancel};
use crate::error::FileError;
use crate::function::FunctionTool;
use crate::schema::InvalidTool;
use crate::text::{self, Origin};
use crate::workspace::{Digest, Workspace};

/// Lines of one result, where the call names no number.
const LINES_DEFAULT: u64 = 2_000;
/// The longest part of a line that is shown, in bytes.
const LINE_BYTES_MAX: usize = 2_000;
/// Larger files are read no further than asked for, so their number of lines stays unknown.
const WHOLE_BYTES_MAX: u64 = crate::edit_file::FILE_BYTES_MAX;
/// How much is read at once.
const CHUNK_BYTES: usize = 64 * 1024;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Arguments {
    /// The file, relative to the workspace or absolute inside it.
    path: String,
    /// The first line to read, from 1. Default: 1.
    #[schemars(range(min = 1))]
    offset: Option<u64>,
    /// How many lines to read. Default: 2000.
    #[schemars(range(min = 1))]
    limit: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Details {
    path: String,
    first_line: u64,
    lines: u64,
    total_lines: Option<u64>,
    bytes: u64,
    truncated: bool,
    cut_lines: u64,
    line_ending: &'static str,
    byte_order_mark: bool,
}

pub(crate) fn tool(workspace: &Workspace) -> Result<FunctionTool<Arguments>, InvalidTool> {
    let workspace = workspace.clone();
    let description = "Reads a text file and returns its lines as they are, without line numbers. \
        Reads the first 2000 lines unless offset and limit say otherwise; a notice at the end in \
        square brackets says how to go on where there is more. Lines longer than 2000 bytes are \
        cut. Line ends are shown as \\n, control characters as symbols.";
    let tool = FunctionTool::new("read_file", description, move |arguments, _| {
        let workspace = workspace.clone();
        async move { blocking::run(move |cancel| read(&workspace, &arguments, cancel)).await? }
    })?;
    Ok(tool
        .with_kind(ToolKind::Read)
        .with_effect_class(EffectClass::Pure))
}

fn read(
    workspace: &Workspace,
    arguments: &Arguments,
    cancel: &Cancel,
) -> Result<ToolResult, FileError> {
    let root = workspace.held();
    let opened = root.open_file(&root.relative(&arguments.path)?)?;
    let first_line = arguments.offset.unwrap_or(1).max(1);
    let lines_max = arguments.limit.unwrap_or(LINES_DEFAULT).max(1);
    let bytes = opened.metadata.len();
    let mut window = Window {
        first: first_line,
        last: first_line.saturating_add(lines_max - 1),
        bytes_max: workspace.policy().output_bytes_max,
        ..Window::default()
    };
    let mut stream = Stream {
        hash: Xxh64::new(0),
        cancel,
        line: 1,
        at_line_start: true,
    };
    let ended = stream.run(&opened, &mut window, bytes <= WHOLE_BYTES_MAX)?;
    if ended && bytes <= WHOLE_BYTES_MAX {
        workspace.remember(&opened.path, Digest(stream.hash.digest()));
    }
    let total_lines = ended.then(|| stream.line - u64::from(stream.at_line_start));
    Ok(window.result(&opened, total_lines))
}

/// Goes through a file once, in constant memory.
struct Stream<'a> {
    hash: Xxh64,
    cancel: &'a Cancel,
    line: u64,
    at_line_start: bool,
}

impl Stream<'_> {
    /// Feeds the window; says whether the end of the file was reached.
    fn run(
        &mut self,
        opened: &Opened,
        window: &mut Window,
        to_the_end: bool,
    ) -> Result<bool, FileError> {
        let failed = |error| FileError::io("read", &opened.name(), error);
        let mut reader = BufReader::with_capacity(CHUNK_BYTES, &opened.file);
        let mut first = true;
        loop {
            self.cancel.check()?;
            let chunk = match fill(&mut reader) {
                Ok([]) => return Ok(true),
                Ok(chunk) => chunk,
                Err(error) => return Err(failed(error)),
            };
            let taken = chunk.len();
            if first && is_binary(chunk) {
                return Err(FileError::Binary {
                    path: opened.name(),
                    bytes: opened.metadata.len(),
                });
            }
            self.hash.update(chunk);
            let mark = chunk.strip_prefix(b"\xef\xbb\xbf").filter(|_| first);
            window.byte_order_mark |= mark.is_some();
            for piece in mark.unwrap_or(chunk).split_inclusive(|byte| *byte == b'\n') {
                window.push(self.line, piece);
                self.at_line_start = piece.ends_with(b"\n");
                self.line += u64::from(self.at_line_start);
            }
            first = false;
            reader.consume(taken);
            if !to_the_end && (self.line > window.last || window.shown.full) {
                return Ok(false);
            }
        }
    }
}

fn fill(reader: &mut BufReader<impl Read>) -> io::Result<&[u8]> {
    loop {
        match reader.fill_buf() {
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(reader.buffer())
}

/// The lines that are shown.
#[derive(Debug, Default)]
struct Window {
    first: u64,
    last: u64,
    bytes_max: usize,
    /// The line that is being read.
    current: Line,
    shown: Shown,
    endings: Endings,
    byte_order_mark: bool,
}

/// The front of a line, and how long it is.
#[derive(Debug, Default)]
struct Line {
    front: Vec<u8>,
    bytes: u64,
}

/// What is shown so far.
#[derive(Debug, Default)]
struct Shown {
    text: String,
    lines: u64,
    cut_lines: u64,
    full: bool,
}

/// How the lines that are shown end.
#[derive(Debug, Default)]
struct Endings {
    crlf: u64,
    all: u64,
}

impl Window {
    /// Takes a part of a line, which is its last if it ends in a line end.
    fn push(&mut self, line: u64, piece: &[u8]) {
        if line < self.first || line > self.last || self.shown.full {
            return;
        }
        let room = (LINE_BYTES_MAX + 2).saturating_sub(self.current.front.len());
        // The line end is kept even where the line is cut.
        if piece.len() <= room {
            self.current.front.extend_from_slice(piece);
        } else {
            self.current
                .front
                .extend_from_slice(piece.get(..room).unwrap_or_default());
        }
        self.current.bytes += u64::try_from(piece.len()).unwrap_or(u64::MAX);
        if piece.ends_with(b"\n") {
            self.endings.crlf +=
                u64::from(piece.ends_with(b"\r\n") || self.current.front.ends_with(b"\r\n"));
            self.endings.all += 1;
            self.end_line(true);
        }
    }

    fn end_line(&mut self, ended: bool) {
        let Line { front: line, bytes } = std::mem::take(&mut self.current);
        let body = line.strip_suffix(b"\n").unwrap_or(&line);
        let body = body.strip_suffix(b"\r").filter(|_| ended).unwrap_or(body);
        let shown = text::front(body, LINE_BYTES_MAX, Origin::File);
        let ending = usize::from(ended) + usize::from(line.ends_with(b"\r\n"));
        let taken = u64::try_from(shown.taken + ending).unwrap_or(u64::MAX);
        let rest = bytes.saturating_sub(taken);
        let notice = match rest {
            0 => String::new(),
            rest => format!("[... {rest} bytes of this line omitted]"),
        };
        let needed = shown.text.len() + notice.len() + usize::from(ended);
        if self.shown.lines > 0 && self.shown.text.len() + needed > self.bytes_max {
            self.shown.full = true;
            return;
        }
        self.shown.cut_lines += u64::from(rest > 0);
        self.shown.lines += 1;
        self.shown.text.push_str(&shown.text);
        self.shown.text.push_str(&notice);
        if ended {
            self.shown.text.push('\n');
        }
    }

    fn result(mut self, opened: &Opened, total_lines: Option<u64>) -> ToolResult {
        if !self.current.front.is_empty() && !self.shown.full {
            self.end_line(false);
        }
        let path = opened.name();
        let last = self.first + self.shown.lines.saturating_sub(1);
        let more = total_lines.is_none_or(|total| total > last) && self.shown.lines > 0;
        if self.shown.lines == 0 {
            match total_lines {
                Some(0) if self.first == 1 => self.shown.text = format!("[{path} is empty]"),
                total => {
                    let total = total.map_or_else(String::new, |it| format!(" {it}"));
                    return ToolResult::error(format!(
                        "offset {} is past the end of {path}: it has{total} lines",
                        self.first
                    ));
                }
            }
        }
        if more {
            let of = total_lines.map_or_else(String::new, |total| format!(" of {total}"));
            let line_end = if self.shown.text.ends_with('\n') {
                ""
            } else {
                "\n"
            };
            self.shown.text.push_str(&format!(
                "{line_end}[lines {} to {last}{of}; go on with offset {}]",
                self.first,
                last + 1
            ));
        }
        let details = Details {
            path,
            first_line: self.first,
            lines: self.shown.lines,
            total_lines,
            bytes: opened.metadata.len(),
            truncated: more || self.shown.cut_lines > 0,
            cut_lines: self.shown.cut_lines,
            line_ending: match (self.endings.crlf, self.endings.all) {
                (0, _) => "lf",
                (crlf, all) if crlf == all => "crlf",
                _ => "mixed",
            },
            byte_order_mark: self.byte_order_mark,
        };
        ToolResult::text(self.shown.text).with_details(&details)
    }
}
