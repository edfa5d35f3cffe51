//! What a loss of power leaves of a disk: what was forced to it, and of the rest as much as it likes; for tests.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::disk::Action;

/// What a loss of power leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// Only what was forced to the disk: names as well as content.
    Forced,
    /// All names, and content that was not forced up to the half.
    Torn,
    /// All names and lengths, and zeros where content was not forced.
    Zeros,
    /// All names and content but for a hole in what was not forced.
    Hole,
}

impl Left {
    /// The ways in which more is left than what was forced to the disk.
    pub(crate) const LOOSE: [Self; 3] = [Self::Torn, Self::Zeros, Self::Hole];
}

/// What a file or a folder is on the disk, whatever its names are.
#[derive(Debug, Clone)]
enum Node {
    File(Vec<u8>),
    Folder(BTreeMap<OsString, (u64, bool)>),
}

/// A disk of which is known what was forced to it.
#[derive(Debug)]
pub(crate) struct Power {
    root: PathBuf,
    forced: HashMap<u64, Node>,
    /// What was removed, held open so that no new file takes its number.
    held: Vec<File>,
}

impl Power {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            forced: HashMap::new(),
            held: Vec::new(),
        }
    }

    /// Follows a call that is made.
    pub(crate) fn follow(&mut self, path: &Path, action: Action<'_>) {
        match action {
            Action::Sync => {
                let content = fs::read(path).unwrap();
                self.forced.insert(number(path), Node::File(content));
            }
            Action::SyncFolder => {
                let entries = fs::read_dir(path).unwrap().map(|entry| {
                    let (name, path) = entry.map(|it| (it.file_name(), it.path())).unwrap();
                    (name, (number(&path), path.is_dir()))
                });
                let entries = entries.collect();
                self.forced.insert(number(path), Node::Folder(entries));
            }
            Action::Rename(to) => self.hold(to),
            Action::Remove => self.hold(path),
            Action::RemoveFolder => self.hold_all(path),
            Action::Look
            | Action::List
            | Action::Open
            | Action::Read
            | Action::Lock
            | Action::MakeFolder
            | Action::Create
            | Action::Write(_)
            | Action::SetLength => {}
        }
    }

    fn hold(&mut self, path: &Path) {
        self.held.extend(File::open(path));
    }

    fn hold_all(&mut self, folder: &Path) {
        self.hold(folder);
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.hold_all(&path);
            } else {
                self.hold(&path);
            }
        }
    }

    /// Makes a folder that is what the root would be.
    pub(crate) fn lay_out(&self, left: Left, into: &Path) {
        fs::create_dir_all(into).unwrap();
        if left == Left::Forced {
            self.lay_out_forced(number(&self.root), into);
        } else {
            self.lay_out_named(left, &self.root, into);
        }
    }

    fn lay_out_forced(&self, folder: u64, into: &Path) {
        let Some(Node::Folder(entries)) = self.forced.get(&folder) else {
            return;
        };
        for (name, (number, is_folder)) in entries {
            let path = into.join(name);
            if *is_folder {
                fs::create_dir(&path).unwrap();
                self.lay_out_forced(*number, &path);
            } else {
                fs::write(path, self.content(*number)).unwrap();
            }
        }
    }

    fn lay_out_named(&self, left: Left, folder: &Path, into: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let (name, from) = entry.map(|it| (it.file_name(), it.path())).unwrap();
            let path = into.join(name);
            if from.is_dir() {
                fs::create_dir(&path).unwrap();
                self.lay_out_named(left, &from, &path);
                continue;
            }
            let (forced, live) = (self.content(number(&from)), fs::read(&from).unwrap());
            let kept = forced.len().min(live.len());
            let mut content = live.clone();
            let loose = &mut content[kept..];
            match left {
                Left::Forced => {}
                Left::Torn => content.truncate(kept + (live.len() - kept) / 2),
                Left::Zeros => loose.fill(0),
                Left::Hole => {
                    let third = loose.len() / 3;
                    loose[third..2 * third].fill(0);
                }
            }
            fs::write(path, content).unwrap();
        }
    }

    fn content(&self, number: u64) -> &[u8] {
        match self.forced.get(&number) {
            Some(Node::File(content)) => content,
            Some(Node::Folder(_)) | None => &[],
        }
    }
}

fn number(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}
