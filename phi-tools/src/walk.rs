//! Goes through the files beneath a folder in a stable order, without those that are ignored.

use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};
use ignore::{DirEntry, WalkBuilder};

use crate::beneath::Root;
use crate::blocking::Cancel;
use crate::error::FileError;

/// Folders of version control systems, which hold no files of the user.
const SKIPPED_FOLDERS: [&str; 4] = [".git", ".hg", ".jj", ".svn"];
/// How many files one walk visits.
pub(crate) const VISITED_MAX: u64 = 1_000_000;

/// Why a glob is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`glob` {glob:?} is not valid: {reason}: use a pattern such as *.rs, src/**/*.ts or !*.lock"
)]
pub(crate) struct InvalidGlob {
    glob: String,
    reason: String,
}

/// Picks files by path. A pattern without a slash matches the file name at any depth; with one, the
/// path from the folder that is walked or from the workspace. A leading `!` turns it around.
#[derive(Debug, Clone)]
pub(crate) struct Glob {
    matcher: GlobMatcher,
    by_name: bool,
    negated: bool,
}

impl Glob {
    pub(crate) fn new(glob: &str) -> Result<Self, InvalidGlob> {
        let (negated, pattern) = match glob.strip_prefix('!') {
            Some(pattern) => (true, pattern),
            None => (false, glob),
        };
        let by_name = !pattern.contains('/');
        let anchored = pattern.trim_start_matches("./");
        let anchored = anchored.strip_prefix('/').unwrap_or(anchored);
        let built = GlobBuilder::new(anchored).literal_separator(true).build();
        let built = built.map_err(|error| InvalidGlob {
            glob: glob.chars().take(128).collect(),
            reason: error.kind().to_string(),
        })?;
        Ok(Self {
            matcher: built.compile_matcher(),
            by_name,
            negated,
        })
    }

    fn picks(&self, from_folder: &Path, from_root: &Path) -> bool {
        let matched = if self.by_name {
            from_root
                .file_name()
                .is_some_and(|name| self.matcher.is_match(name))
        } else {
            self.matcher.is_match(from_folder) || self.matcher.is_match(from_root)
        };
        matched != self.negated
    }
}

/// What a walk met.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Walked {
    /// Files that were visited.
    pub(crate) visited: u64,
    /// Folders and files that could not be read.
    pub(crate) unreadable: u64,
    /// Whether the walk stopped before its end.
    pub(crate) stopped: bool,
}

/// Whether a walk goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Continue,
    Stop,
}

/// Where a walk goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Walk<'a> {
    pub(crate) root: &'a Root,
    /// The folder to start in, from the root.
    pub(crate) folder: &'a Path,
    /// Which files to visit.
    pub(crate) glob: Option<&'a Glob>,
}

/// Visits the files beneath a folder, sorted by name in each folder; links are not followed.
///
/// As ripgrep does, it honours `.gitignore`, `.ignore`, the repository's exclude file and the
/// user's global one; unlike it, also where there is no repository, and it visits hidden files.
/// Paths are those from the root.
pub(crate) fn walk(
    Walk { root, folder, glob }: Walk<'_>,
    cancel: &Cancel,
    mut visit: impl FnMut(&Path, &DirEntry) -> Result<Next, FileError>,
) -> Result<Walked, FileError> {
    let (_held, folder) = root.open_folder(folder)?;
    let start = root.path().join(&folder);
    let entries = WalkBuilder::new(&start)
        .hidden(false)
        .require_git(false)
        .follow_links(false)
        .sort_by_file_name(std::ffi::OsStr::cmp)
        .filter_entry(|entry| {
            let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
            !is_folder
                || !SKIPPED_FOLDERS
                    .iter()
                    .any(|name| entry.file_name() == *name)
        })
        .build();
    let mut walked = Walked::default();
    for entry in entries {
        cancel.check()?;
        let Ok(entry) = entry else {
            walked.unreadable += 1;
            continue;
        };
        if entry.file_type().is_none_or(|kind| kind.is_dir()) {
            continue;
        }
        let from_folder = entry.path().strip_prefix(&start).unwrap_or(entry.path());
        let path: PathBuf = folder.join(from_folder);
        if glob.is_some_and(|glob| !glob.picks(from_folder, &path)) {
            continue;
        }
        walked.visited += 1;
        if walked.visited > VISITED_MAX || visit(&path, &entry)? == Next::Stop {
            walked.stopped = true;
            break;
        }
    }
    Ok(walked)
}
