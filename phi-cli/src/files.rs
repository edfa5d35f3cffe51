//! Files and directories that the command line names.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::failure::Failure;

/// The longest text that the command line takes from a file or from stdin, in bytes.
const TEXT_BYTES_MAX: u64 = 16 << 20;

/// Opens a regular file. Anything else could block, or never end.
pub(crate) fn open(path: &Path) -> Result<File, Failure> {
    let cannot = |error: io::Error| {
        let path = path.display();
        Failure::refused(format!(
            "cannot open `{path}` ({error}): name a file that can be read"
        ))
    };
    // A FIFO without a writer would hold the open up.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = opened.map_err(cannot)?;
    let kind = file.metadata().map_err(cannot)?.file_type();
    if kind.is_file() {
        return Ok(file);
    }
    let what = if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a FIFO"
    } else {
        "a device or a socket"
    };
    let path = path.display();
    Err(Failure::refused(format!(
        "`{path}` is {what}: name a regular file"
    )))
}

/// Reads a whole text file.
pub(crate) fn read_text(path: &Path) -> Result<String, Failure> {
    let name = format!("`{}`", path.display());
    text_of(open(path)?, &name)
}

/// Reads a whole text from stdin.
pub(crate) fn read_stdin() -> Result<String, Failure> {
    text_of(io::stdin().lock(), "stdin")
}

fn text_of(from: impl Read, name: &str) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = from.take(TEXT_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| {
        Failure::refused(format!(
            "cannot read {name} ({error}): name a file that can be read"
        ))
    })?;
    if bytes.len() as u64 > TEXT_BYTES_MAX {
        let max = TEXT_BYTES_MAX >> 20;
        return Err(Failure::refused(format!(
            "the text in {name} is longer than {max} MiB: shorten it"
        )));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::refused(format!(
            "the text in {name} is not UTF-8 (byte {at}): convert it to UTF-8"
        ))
    })
}

/// Returns the directory to work in: the one that was named, or the current one.
pub(crate) fn directory(named: Option<&Path>) -> Result<PathBuf, Failure> {
    let path = named.unwrap_or(Path::new("."));
    let found = path.canonicalize().and_then(|path| match path.is_dir() {
        true => Ok(path),
        false => Err(io::ErrorKind::NotADirectory.into()),
    });
    found.map_err(|error| {
        let path = path.display();
        Failure::refused(format!(
            "cannot work in `{path}` ({error}): name a directory with --cwd"
        ))
    })
}
