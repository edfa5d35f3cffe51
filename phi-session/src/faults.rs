//! A disk that fails on demand and remembers what it was asked for; for tests.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use crate::disk::Action;

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// With an error of the operating system and nothing done.
    Error(rustix::io::Errno),
    /// With an error after so many bytes of a write were done.
    Short(usize, rustix::io::Errno),
}

/// The plan of one run, and what happened.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    calls: Vec<String>,
    /// Which call fails, from 0, and how.
    plan: Option<(usize, Fault)>,
    /// How much of each file survives a loss of power.
    synced: HashMap<PathBuf, u64>,
}

impl Faults {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// Lets one call fail, counted from here.
    pub(crate) fn fail_at(&self, call: usize, fault: Fault) {
        let mut inner = self.inner();
        inner.calls.clear();
        inner.plan = Some((call, fault));
    }

    /// Returns what was done, and forgets it.
    pub(crate) fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut self.inner().calls)
    }

    /// Cuts every file to what was forced to the disk, as a loss of power may.
    pub(crate) fn lose_power(&self, folder: &Path) {
        let inner = self.inner();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                continue;
            }
            let kept = inner.synced.get(&path).copied();
            if let Some(kept) = kept {
                let file = File::options().write(true).open(&path).unwrap();
                if file.metadata().unwrap().len() > kept {
                    file.set_len(kept).unwrap();
                }
            }
        }
    }

    pub(crate) fn before(
        &self,
        path: &Path,
        action: Action<'_>,
        file: Option<&File>,
    ) -> io::Result<()> {
        let mut inner = self.inner();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let word = match action {
            Action::Create => "create",
            Action::Write(_) => "write",
            Action::SyncData => "sync",
            Action::SyncFolder => "sync folder",
            Action::Rename(_) => "rename",
            Action::Remove => "remove",
            Action::SetLength(_) => "cut",
        };
        let number = inner.calls.len();
        inner.calls.push(format!("{word} {name}"));
        if let Some((at, fault)) = inner.plan
            && at == number
        {
            let errno = match (fault, action, file) {
                (Fault::Short(bytes, errno), Action::Write(content), Some(mut file)) => {
                    file.write_all(&content[..bytes.min(content.len())])?;
                    errno
                }
                (Fault::Short(_, errno) | Fault::Error(errno), ..) => errno,
            };
            return Err(errno.into());
        }
        match action {
            Action::SyncData => {
                let length = file.unwrap().metadata()?.len();
                inner.synced.insert(path.to_owned(), length);
            }
            Action::Create => {
                inner.synced.insert(path.to_owned(), 0);
            }
            Action::Rename(to) => {
                if let Some(kept) = inner.synced.remove(path) {
                    inner.synced.insert(to.to_owned(), kept);
                }
            }
            Action::SetLength(length) => {
                let kept = inner.synced.entry(path.to_owned()).or_insert(0);
                *kept = length.min(*kept);
            }
            Action::Write(_) | Action::SyncFolder | Action::Remove => {}
        }
        Ok(())
    }
}
