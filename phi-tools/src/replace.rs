//! Replaces a file in one step: a reader sees the old content or the new, never a part.

use std::ffi::OsStr;
use std::fs::File;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher, RandomState};
use std::io::Write as _;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, fchmod, fchown, linkat, mkdirat, openat,
    renameat, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use crate::beneath::Root;
use crate::blocking::Cancel;
use crate::error::FileError;
use crate::text;

/// What the umask makes of this is the mode of a new file.
const NEW_FILE: Mode = Mode::from_raw_mode(0o666);

/// Why a path cannot be written that names no file in a folder.
const NO_FILE_NAME: &str = "it names no file; end it with a file name";

/// How often a file is given its name where others take it away again.
const TRIES: usize = 100;

/// A temporary file beside its target, removed unless it takes the target's place.
struct Temporary<'a> {
    folder: &'a OwnedFd,
    name: String,
    kept: bool,
}

/// What a file becomes, while nobody reads it under its name.
struct Draft<'a> {
    file: File,
    /// Its name, where the file system makes no file without one.
    named: Option<Temporary<'a>>,
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
    let unnamed = Draft::unnamed(&folder).map_err(failed)?;
    let draft = match unnamed {
        Some(draft) => draft,
        None => Draft::named(&folder).map_err(failed)?,
    };
    fill(&draft.file, new, cancel)?;
    cancel.check()?;
    let placed = draft.place(&folder, target);
    placed.map_err(|error| FileError::io("write", &shown, error.into()))?;
    // Some file systems cannot sync a folder; the rename itself has already happened.
    match rustix::fs::fsync(&folder) {
        Ok(()) | Err(Errno::INVAL | Errno::BADF) => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

impl<'a> Draft<'a> {
    /// Makes a file without a name, which goes when its process ends; `None` where the file system
    /// makes none, or none could be given a name later.
    fn unnamed(folder: &OwnedFd) -> Result<Option<Self>, Errno> {
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        let file = match openat(folder, c".", flags, NEW_FILE) {
            Ok(file) => File::from(file),
            // Kernels and file systems say in one of these ways that they make none.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error),
        };
        let has_names = rustix::fs::stat(proc_name(&file)).is_ok();
        Ok(has_names.then_some(Self { file, named: None }))
    }

    /// Makes a file with a name of its own, which stays behind where the process is killed.
    fn named(folder: &'a OwnedFd) -> Result<Self, Errno> {
        let temporary = Temporary {
            folder,
            name: random_name(),
            kept: false,
        };
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(openat(folder, &temporary.name, flags, NEW_FILE)?);
        Ok(Self {
            file,
            named: Some(temporary),
        })
    }

    /// Lets it take the place of a file.
    fn place(self, folder: &OwnedFd, target: &OsStr) -> Result<(), Errno> {
        let Some(mut temporary) = self.named else {
            return place_unnamed(&self.file, folder, target);
        };
        renameat(folder, &temporary.name, folder, target)?;
        temporary.kept = true;
        Ok(())
    }
}

/// Gives a file without a name the place of another one.
///
/// A link replaces nothing, so the file has another name for a moment, which follows from that of its
/// target. Whoever finds that name taken moves on what is there, which is whole: that of a process
/// that was killed in that moment, or of one that is about to do it itself.
fn place_unnamed(file: &File, folder: &OwnedFd, target: &OsStr) -> Result<(), Errno> {
    let mut name = moment_name(target);
    for _ in 0..TRIES {
        match linkat(CWD, proc_name(file), folder, &name, AtFlags::SYMLINK_FOLLOW) {
            Ok(()) => return move_on(folder, &name, target),
            Err(Errno::EXIST) if is_file(folder, &name)? => move_on(folder, &name, target)?,
            // Nothing of phi's: it stays where it is.
            Err(Errno::EXIST) => name = random_name(),
            Err(error) => return Err(error),
        }
    }
    Err(Errno::BUSY)
}

/// Gives a file that is whole the name of its target, unless somebody else just did.
fn move_on(folder: &OwnedFd, name: &str, target: &OsStr) -> Result<(), Errno> {
    match renameat(folder, name, folder, target) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => {
            // The target cannot be replaced, and nothing stays beside it.
            unlinkat(folder, name, AtFlags::empty()).unwrap_or_default();
            Err(error)
        }
    }
}

/// Says whether a name is that of a file, or of nothing any more.
fn is_file(folder: &OwnedFd, name: &str) -> Result<bool, Errno> {
    match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(there) => Ok(FileType::from_raw_mode(there.st_mode) == FileType::RegularFile),
        Err(Errno::NOENT) => Ok(true),
        Err(error) => Err(error),
    }
}

fn random_name() -> String {
    format!(".phi-{:016x}.tmp", RandomState::new().hash_one(0))
}

/// Returns the name that a file has for a moment before it has that of its target.
fn moment_name(target: &OsStr) -> String {
    let same = BuildHasherDefault::<DefaultHasher>::default().hash_one(target);
    format!(".phi-{same:016x}.tmp")
}

/// Returns a path to an open file that has no name.
fn proc_name(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let names = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = names
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn open(folder: &Path) -> OwnedFd {
        File::open(folder).unwrap().into()
    }

    #[test]
    fn a_file_without_a_name_leaves_nothing_behind_until_it_takes_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let opened = open(folder.path());
        let draft = Draft::unnamed(&opened).unwrap().unwrap();
        (&draft.file).write_all(b"half").unwrap();
        assert!(names(folder.path()).is_empty());
        drop(draft);
        assert!(names(folder.path()).is_empty());
        let draft = Draft::unnamed(&opened).unwrap().unwrap();
        (&draft.file).write_all(b"whole").unwrap();
        draft.place(&opened, OsStr::new("a.txt")).unwrap();
        assert_eq!(names(folder.path()), ["a.txt"]);
        let content = std::fs::read(folder.path().join("a.txt")).unwrap();
        assert_eq!(content, b"whole");
    }

    #[test]
    fn what_a_killed_process_left_is_removed_by_the_next_write_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let opened = open(folder.path());
        for name in ["a.txt", "b.txt"] {
            let left = folder.path().join(moment_name(OsStr::new(name)));
            std::fs::write(left, "left").unwrap();
        }
        let draft = Draft::unnamed(&opened).unwrap().unwrap();
        draft.place(&opened, OsStr::new("a.txt")).unwrap();
        let other = moment_name(OsStr::new("b.txt"));
        assert_eq!(names(folder.path()), [other.as_str(), "a.txt"]);
    }

    #[test]
    fn what_is_not_of_a_writer_is_left_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let opened = open(folder.path());
        let (link, directory) = (moment_name(OsStr::new("a")), moment_name(OsStr::new("b")));
        std::os::unix::fs::symlink("elsewhere", folder.path().join(&link)).unwrap();
        std::fs::create_dir(folder.path().join(&directory)).unwrap();
        for name in ["a", "b"] {
            let draft = Draft::unnamed(&opened).unwrap().unwrap();
            draft.place(&opened, OsStr::new(name)).unwrap();
        }
        let mut wanted = [link.as_str(), &directory, "a", "b"];
        wanted.sort_unstable();
        assert_eq!(names(folder.path()), wanted);
        // A folder takes no file's name, and nothing stays beside it.
        let draft = Draft::unnamed(&opened).unwrap().unwrap();
        std::fs::create_dir(folder.path().join("c")).unwrap();
        draft.place(&opened, OsStr::new("c")).unwrap_err();
        assert_eq!(names(folder.path()).len(), 5);
    }

    #[test]
    fn a_file_system_without_such_files_has_them_under_a_name_for_the_time() {
        let folder = tempfile::tempdir().unwrap();
        let opened = open(folder.path());
        let draft = Draft::named(&opened).unwrap();
        assert_eq!(names(folder.path()).len(), 1);
        drop(draft);
        assert!(names(folder.path()).is_empty());
        let draft = Draft::named(&opened).unwrap();
        draft.place(&opened, OsStr::new("a.txt")).unwrap();
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn writers_of_one_file_at_once_all_succeed_and_leave_one_whole_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        std::thread::scope(|scope| {
            for writer in 0..4 {
                scope.spawn(move || {
                    let opened = open(path);
                    for _ in 0..200 {
                        let draft = Draft::unnamed(&opened).unwrap().unwrap();
                        let content = [b'0' + writer; 64];
                        (&draft.file).write_all(&content).unwrap();
                        draft.place(&opened, OsStr::new("a.txt")).unwrap();
                    }
                });
            }
        });
        assert_eq!(names(path), ["a.txt"]);
        let content = std::fs::read(path.join("a.txt")).unwrap();
        assert!(content.len() == 64 && content.iter().all(|byte| *byte == content[0]));
    }
}
