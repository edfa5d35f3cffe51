//! Files and folders: opened without surprises, made for their owner alone, errors that name them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use crate::disk::{self, Action};
use crate::error::StoreError;

/// Says whether a folder is there; anything else in its place is an error.
pub(crate) fn is_folder(folder: &Path) -> Result<bool, StoreError> {
    match disk::look(folder) {
        Ok(there) if there.is_dir() => Ok(true),
        Ok(_) => Err(StoreError::WrongKind {
            expected: "folder",
            path: folder.to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io_error("open", folder)(error)),
    }
}

/// Makes a folder, and those above it, for its owner alone.
pub(crate) fn make_folder(folder: &Path) -> Result<(), StoreError> {
    disk::make_folder(folder).map_err(io_error("create", folder))
}

/// Makes a folder like [`make_folder`] and forces the names of what is new to the disk.
pub(crate) fn make_lasting_folder(folder: &Path) -> Result<(), StoreError> {
    let is_new = |it: &&Path| !it.as_os_str().is_empty() && !it.exists();
    let new: Vec<&Path> = folder.ancestors().take_while(is_new).collect();
    make_folder(folder)?;
    for folder in new.into_iter().rev() {
        let above = folder.parent().filter(|it| !it.as_os_str().is_empty());
        let above = above.unwrap_or(Path::new("."));
        disk::sync_folder(above).map_err(io_error("sync", above))?;
    }
    Ok(())
}

/// Opens a file for reading.
pub(crate) fn open_to_read(path: &Path) -> Result<File, StoreError> {
    open_regular(path, OpenOptions::new().read(true), Action::Open)
}

/// Opens a file for appending and reading.
pub(crate) fn open_to_append(path: &Path) -> Result<File, StoreError> {
    open_regular(
        path,
        OpenOptions::new().read(true).append(true),
        Action::Open,
    )
}

/// Creates a file that must not be there yet.
pub(crate) fn create_file(path: &Path) -> Result<File, StoreError> {
    open_regular(
        path,
        OpenOptions::new()
            .read(true)
            .append(true)
            .create_new(true)
            .mode(0o600),
        Action::Create,
    )
}

/// Opens the lock file, and creates it where it is not there.
pub(crate) fn open_lock(path: &Path) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    open_regular(path, options.mode(0o600), Action::Create)
}

/// Opens a regular file. A link, a pipe or a folder in its place is an error and never blocks.
fn open_regular(
    path: &Path,
    options: &mut OpenOptions,
    action: Action<'_>,
) -> Result<File, StoreError> {
    let wrong_kind = || StoreError::WrongKind {
        expected: "file",
        path: path.to_owned(),
    };
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let options = options.custom_flags(flags.bits().cast_signed());
    let opened = disk::open(path, options, action);
    let file = opened.map_err(|error| {
        match error
            .raw_os_error()
            .map(rustix::io::Errno::from_raw_os_error)
        {
            Some(rustix::io::Errno::LOOP | rustix::io::Errno::ISDIR | rustix::io::Errno::NXIO) => {
                wrong_kind()
            }
            Some(_) | None => io_error("open", path)(error),
        }
    })?;
    let there = disk::look_at(&file, path).map_err(io_error("open", path))?;
    if !there.is_file() {
        return Err(wrong_kind());
    }
    Ok(file)
}

/// Makes an error of what was tried with which path; without an error it costs nothing.
pub(crate) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |source| StoreError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}
