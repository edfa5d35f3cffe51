//! Replaces a file in one step: a reader sees the old content or the new, never a part.

use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, Mode, OFlags, ResolveFlags, fchmod, fchown, mkdirat, openat, renameat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use crate::beneath::Root;
use crate::blocking::Cancel;
use crate::error::FileError;
use crate::text;

/// Why a path cannot be written that names no file in a folder.
const NO_FILE_NAME: &str = "it names no file; end it with a file name";

/// A temporary file beside its target, removed unless it takes the target's place.
struct Temporary<'a> {
    folder: &'a OwnedFd,
    name: String,
    kept: bool,
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.kept {
            // Nobody can be told here, and what stays behind is named as temporary.
            unlinkat(self.folder, &self.name, AtFlags::empty()).unwrap_or_default();
        }
    }
}

/// Who a replaced file belongs to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ownership {
    mode: u32,
    uid: u32,
    gid: u32,
}

impl Ownership {
    pub(crate) fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            mode: metadata.permissions().mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
        }
    }
}

/// What a file becomes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct New<'a> {
    /// The file from the root; without links where it exists already.
    pub(crate) path: &'a Path,
    /// Everything that it will hold.
    pub(crate) content: &'a [u8],
    /// Who it belongs to, where it exists already.
    pub(crate) keep: Option<Ownership>,
}

/// Writes a file beneath the root, with the folders that it needs, and returns when it is on disk.
///
/// Extended attributes and further hard links stay with the old file.
pub(crate) fn replace(root: &Root, new: &New<'_>, cancel: &Cancel) -> Result<(), FileError> {
    let path = new.path;
    let shown = text::name(path);
    let bad = || FileError::BadPath {
        path: shown.clone(),
        reason: NO_FILE_NAME,
    };
    let is_folder = path.as_os_str().as_encoded_bytes().ends_with(b"/");
    let target = path.file_name().filter(|_| !is_folder).ok_or_else(bad)?;
    let parent = path.parent().unwrap_or(Path::new(""));
    let folder = make_folders(root, parent)?;
    let folder_name = match parent.as_os_str().is_empty() {
        true => text::name(root.path()),
        false => text::name(parent),
    };
    let failed = |error: Errno| FileError::io("write in", &folder_name, error.into());
    let random = RandomState::new().hash_one(path);
    let mut temporary = Temporary {
        folder: &folder,
        name: format!(".phi-{random:016x}.tmp"),
        kept: false,
    };
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o666);
    let file = File::from(openat(&folder, &temporary.name, flags, mode).map_err(failed)?);
    fill(&file, new, cancel)?;
    cancel.check()?;
    renameat(&folder, &temporary.name, &folder, target)
        .map_err(|error| FileError::io("write", &shown, error.into()))?;
    temporary.kept = true;
    // Some file systems cannot sync a folder; the rename itself has already happened.
    match rustix::fs::fsync(&folder) {
        Ok(()) | Err(Errno::INVAL | Errno::BADF) => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

fn fill(mut file: &File, new: &New<'_>, cancel: &Cancel) -> Result<(), FileError> {
    let shown = text::name(new.path);
    let failed = |error| FileError::io("write", &shown, error);
    for chunk in new.content.chunks(1024 * 1024) {
        cancel.check()?;
        file.write_all(chunk).map_err(failed)?;
    }
    if let Some(keep) = new.keep {
        let now = file.metadata().map_err(failed)?;
        if (now.uid(), now.gid()) != (keep.uid, keep.gid) {
            let (uid, gid) = (Uid::from_raw(keep.uid), Gid::from_raw(keep.gid));
            match fchown(file.as_fd(), Some(uid), Some(gid)) {
                // Only root may give files away; for others the file becomes the writer's.
                Ok(()) | Err(Errno::PERM) => {}
                Err(error) => return Err(failed(error.into())),
            }
        }
        fchmod(file.as_fd(), Mode::from_raw_mode(keep.mode)).map_err(|it| failed(it.into()))?;
    }
    file.sync_all().map_err(failed)
}

/// Opens a folder beneath the root and makes what is missing of its path.
fn make_folders(root: &Root, path: &Path) -> Result<OwnedFd, FileError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut folder = root.open_at(Path::new("."), flags, ResolveFlags::empty())?;
    let mut walked = PathBuf::new();
    for component in path.components() {
        walked.push(component);
        let opened = root.open_at(&walked, flags, ResolveFlags::empty());
        folder = match (opened, component) {
            (Err(FileError::NotFound { .. }), Component::Normal(name)) => {
                match mkdirat(&folder, name, Mode::from_raw_mode(0o777)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => {
                        let shown = text::name(&walked);
                        return Err(FileError::io("make the directory", &shown, error.into()));
                    }
                }
                root.open_at(&walked, flags, ResolveFlags::empty())?
            }
            (opened, _) => opened?,
        };
    }
    Ok(folder)
}
