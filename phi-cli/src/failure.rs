//! How a command ends, and the one line that says why it failed.

use std::io::{self, Write as _};

use crate::words::one_line;

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what it was asked.
    Completed,
    /// It failed.
    Failed,
    /// What it was asked is wrong; no request was sent.
    Refused,
    /// A limit was reached.
    Limit,
    /// It was cancelled.
    Cancelled,
}

impl Exit {
    /// Returns the exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Completed => 0,
            Self::Failed => 1,
            Self::Refused => 2,
            Self::Limit => 3,
            Self::Cancelled => 130,
        }
    }
}

/// Says why a command failed, as `WHAT: REMEDY`.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    /// Nothing where the reader of stdout has gone, who is told nothing.
    text: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self {
            exit,
            text: Some(text.into()),
        }
    }

    /// Makes the failure of something that was tried.
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self::new(Exit::Failed, text)
    }

    /// Makes the failure of something that is wrong before anything was tried.
    pub(crate) fn refused(text: impl Into<String>) -> Self {
        Self::new(Exit::Refused, text)
    }

    /// Makes the failure of a write to stdout.
    pub(crate) fn stdout(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self {
                exit: Exit::Completed,
                text: None,
            };
        }
        Self::failed(format!(
            "cannot write to stdout ({error}): send it where there is space"
        ))
    }

    /// Makes the failure of a value that cannot be written as JSON.
    pub(crate) fn unwritable(error: &serde_json::Error) -> Self {
        Self::failed(format!("cannot write JSON ({error}): report this"))
    }

    /// Writes the line to stderr and returns how to end.
    pub(crate) fn report(self) -> Exit {
        if let Some(text) = self.text {
            to_stderr(&format!("phi: {}", one_line(&text)));
        }
        self.exit
    }
}

/// Writes one line to stderr, where it is a person's business whether anybody reads.
pub(crate) fn to_stderr(line: &str) {
    let mut stderr = io::stderr().lock();
    // Without a reader there is nobody to tell.
    if writeln!(stderr, "{line}").is_err() {}
}

/// Writes to stdout.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    written.map_err(|error| Failure::stdout(&error))
}
