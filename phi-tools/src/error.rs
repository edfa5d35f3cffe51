//! Says why work on a file failed, in the words that the model reads.

use std::io;

use crate::blocking::Cancelled;

/// Why a workspace cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// The folder cannot be opened.
    #[error(
        "cannot open {path} as a workspace: {source}: name a folder that exists and can be read"
    )]
    Open {
        /// The folder.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel cannot keep paths inside a folder.
    #[error(
        "the kernel has no openat2: the file tools need Linux 5.6 or later, and a sandbox that allows the call"
    )]
    Unsupported,
}

/// Why work on a file failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("{path} does not exist: list_files shows what does")]
    NotFound { path: String },
    #[error(
        "{path} is outside the workspace {root}, or a link that leads there: use a path inside it"
    )]
    Outside { path: String, root: String },
    #[error("{path} is no path: {reason}")]
    BadPath { path: String, reason: &'static str },
    #[error("{path} is {kind}, not a regular file: {remedy}")]
    NotAFile {
        path: String,
        kind: &'static str,
        remedy: &'static str,
    },
    #[error("{path} is a directory, not a regular file: list it with list_files")]
    Directory { path: String },
    #[error("{path} is not a directory: name a directory, or read the file with read_file")]
    NotADirectory { path: String },
    #[error("no permission to {action} {path}: {reason}: change its mode, or use another path")]
    Denied {
        path: String,
        action: &'static str,
        reason: io::Error,
    },
    #[error(
        "{path} has {bytes} bytes, more than the {max} that can be edited: change it with bash"
    )]
    TooLarge { path: String, bytes: u64, max: u64 },
    #[error(
        "{path} is a binary file of {bytes} bytes: use bash to look into it, as with `file` or `xxd`"
    )]
    Binary { path: String, bytes: u64 },
    #[error(
        "{path} changed since it was read: read it again, then repeat the change on what it says now"
    )]
    Changed { path: String },
    #[error(
        "the kernel has no openat2: the file tools need Linux 5.6 or later, and a sandbox that allows the call"
    )]
    Unsupported,
    #[error("cannot {action} {path}: {reason}")]
    Io {
        path: String,
        action: &'static str,
        reason: io::Error,
    },
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl FileError {
    /// Names what the system said about a path.
    pub(crate) fn io(action: &'static str, path: &str, reason: io::Error) -> Self {
        let path = path.to_owned();
        match reason.kind() {
            io::ErrorKind::NotFound => Self::NotFound { path },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::Denied {
                path,
                action,
                reason,
            },
            io::ErrorKind::NotADirectory => Self::NotADirectory { path },
            _ => Self::Io {
                path,
                action,
                reason,
            },
        }
    }
}
