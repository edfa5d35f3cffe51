//! Every call that changes the disk, in one place, so that tests can let any of them fail.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
#[cfg(test)]
use std::sync::Arc;

/// The disk that a store on files writes to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    #[cfg(test)]
    pub(crate) faults: Option<Arc<crate::faults::Faults>>,
}

/// A call that changes the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action<'a> {
    Create,
    Write(&'a [u8]),
    SyncData,
    SyncFolder,
    Rename(&'a Path),
    Remove,
    SetLength(u64),
}

impl Disk {
    /// Asks whether the call may be made.
    #[cfg(test)]
    fn before(&self, path: &Path, action: Action<'_>, file: Option<&File>) -> io::Result<()> {
        self.faults
            .as_ref()
            .map_or(Ok(()), |faults| faults.before(path, action, file))
    }

    #[cfg(not(test))]
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "tests have faults here"
    )]
    fn before(&self, _path: &Path, _action: Action<'_>, _file: Option<&File>) -> io::Result<()> {
        Ok(())
    }

    /// Says whether a file may be created.
    pub(crate) fn create(&self, path: &Path) -> io::Result<()> {
        self.before(path, Action::Create, None)
    }

    /// Writes all of some bytes, or some of them and fails.
    pub(crate) fn write(&self, mut file: &File, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.before(path, Action::Write(bytes), Some(file))?;
        file.write_all(bytes)
    }

    /// Makes the content of a file survive a loss of power.
    pub(crate) fn sync(&self, file: &File, path: &Path) -> io::Result<()> {
        self.before(path, Action::SyncData, Some(file))?;
        file.sync_data()
    }

    /// Makes names in a folder survive a loss of power.
    pub(crate) fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.before(folder, Action::SyncFolder, None)?;
        File::open(folder)?.sync_all()
    }

    /// Gives a file another name, whatever had that name before.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.before(from, Action::Rename(to), None)?;
        fs::rename(from, to)
    }

    /// Removes a file.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        self.before(path, Action::Remove, None)?;
        fs::remove_file(path)
    }

    /// Cuts a file.
    pub(crate) fn set_length(&self, file: &File, path: &Path, length: u64) -> io::Result<()> {
        self.before(path, Action::SetLength(length), Some(file))?;
        file.set_len(length)
    }
}
