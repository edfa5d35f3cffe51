//! Every call on the files of a store, in one place, so that tests can let any of them fail.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};

#[cfg(target_os = "linux")]
use rustix::fs::{AtFlags, StatxFlags};

/// A call on a file or a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action<'a> {
    /// Looks what is there.
    Look,
    List,
    Open,
    Read,
    Lock,
    MakeFolder,
    Create,
    Write(&'a [u8]),
    Sync,
    SyncFolder,
    Rename(&'a Path),
    Remove,
    RemoveFolder,
    SetLength,
}

/// Asks whether the call may be made.
#[cfg(test)]
pub(crate) fn before(path: &Path, action: Action<'_>, file: Option<&File>) -> io::Result<()> {
    crate::faults::before(path, action, file)
}

#[cfg(not(test))]
#[expect(clippy::unnecessary_wraps, reason = "tests have faults here")]
pub(crate) fn before(_path: &Path, _action: Action<'_>, _file: Option<&File>) -> io::Result<()> {
    Ok(())
}

/// Says whether a loss of power is simulated, for which nothing has to reach the disk.
#[cfg(test)]
fn is_simulated() -> bool {
    crate::faults::is_installed()
}

#[cfg(not(test))]
const fn is_simulated() -> bool {
    false
}

/// Looks what is there, without following a link.
pub(crate) fn look(path: &Path) -> io::Result<Metadata> {
    before(path, Action::Look, None)?;
    fs::symlink_metadata(path)
}

/// Looks at an open file.
pub(crate) fn look_at(file: &File, path: &Path) -> io::Result<Metadata> {
    before(path, Action::Look, None)?;
    file.metadata()
}

/// Counts the names of an open file, 0 once it was removed, and its bytes.
///
/// Where times are asked for too, Linux takes a new time for the next write and so makes it twice as
/// slow.
pub(crate) fn count(file: &File, path: &Path) -> io::Result<(u64, u64)> {
    before(path, Action::Look, None)?;
    #[cfg(target_os = "linux")]
    {
        let wanted = StatxFlags::NLINK | StatxFlags::SIZE;
        if let Ok(there) = rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, wanted)
            && there.stx_mask & wanted.bits() == wanted.bits()
        {
            return Ok((there.stx_nlink.into(), there.stx_size));
        }
    }
    let there = file.metadata()?;
    Ok((there.nlink(), there.len()))
}

/// Begins to list what is in a folder.
pub(crate) fn list(folder: &Path) -> io::Result<fs::ReadDir> {
    before(folder, Action::List, None)?;
    fs::read_dir(folder)
}

/// Opens a file; one that may be made thereby counts as created.
pub(crate) fn open(path: &Path, options: &OpenOptions, action: Action<'_>) -> io::Result<File> {
    before(path, action, None)?;
    options.open(path)
}

/// Makes a folder, and those above it, for its owner alone.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    before(folder, Action::MakeFolder, None)?;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

/// Reads all bytes at a place of a file.
pub(crate) fn read_at(file: &File, path: &Path, bytes: &mut [u8], at: u64) -> io::Result<()> {
    before(path, Action::Read, Some(file))?;
    file.read_exact_at(bytes, at)
}

/// Writes all of some bytes, or some of them and fails.
pub(crate) fn write(mut file: &File, path: &Path, bytes: &[u8]) -> io::Result<()> {
    before(path, Action::Write(bytes), Some(file))?;
    file.write_all(bytes)
}

/// Makes the content of a file survive a loss of power.
pub(crate) fn sync(file: &File, path: &Path) -> io::Result<()> {
    before(path, Action::Sync, Some(file))?;
    if is_simulated() {
        return Ok(());
    }
    file.sync_data()
}

/// Makes names in a folder survive a loss of power.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    before(folder, Action::SyncFolder, None)?;
    if is_simulated() {
        return Ok(());
    }
    File::open(folder)?.sync_all()
}

/// Gives a file another name, whatever had that name before.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    before(from, Action::Rename(to), None)?;
    fs::rename(from, to)
}

/// Removes a file.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    before(path, Action::Remove, None)?;
    fs::remove_file(path)
}

/// Removes a folder with everything in it.
pub(crate) fn remove_folder(folder: &Path) -> io::Result<()> {
    before(folder, Action::RemoveFolder, None)?;
    fs::remove_dir_all(folder)
}

/// Cuts a file.
pub(crate) fn set_length(file: &File, path: &Path, length: u64) -> io::Result<()> {
    before(path, Action::SetLength, Some(file))?;
    file.set_len(length)
}

/// A file that is read from the beginning on.
#[derive(Debug)]
pub(crate) struct Input {
    file: File,
    path: PathBuf,
}

impl Input {
    pub(crate) fn new(file: File, path: &Path) -> Self {
        let path = path.to_owned();
        Self { file, path }
    }

    /// Returns how many bytes the file has.
    pub(crate) fn length(&self) -> io::Result<u64> {
        Ok(look_at(&self.file, &self.path)?.len())
    }
}

impl Read for Input {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        before(&self.path, Action::Read, Some(&self.file))?;
        self.file.read(bytes)
    }
}

impl Seek for Input {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}
