//! Opens files beneath a held folder and never outside it.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use crate::blocking::Cancel;
use crate::error::{FileError, WorkspaceError};
use crate::text;

/// How often an open is tried again that met a rename on its way.
const RENAME_RETRIES: usize = 16;
/// How much of a file is looked at to tell whether it is text.
const SNIFF_BYTES: usize = 8 * 1024;

/// A folder that is held open.
#[derive(Debug)]
pub(crate) struct Root {
    fd: OwnedFd,
    given: PathBuf,
    path: PathBuf,
}

/// A regular file that was opened beneath a root.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The file, open for reading.
    pub(crate) file: File,
    /// What it was when it was opened.
    pub(crate) metadata: Metadata,
    /// Its path from the root, without links.
    pub(crate) path: PathBuf,
}

impl Root {
    pub(crate) fn open(path: &Path) -> Result<Self, WorkspaceError> {
        let failed = |source| WorkspaceError::Open {
            path: text::name(path),
            source,
        };
        let given = std::path::absolute(path).map_err(failed)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&given, flags, Mode::empty()).map_err(|it| failed(it.into()))?;
        let beneath = openat2(&fd, ".", flags, Mode::empty(), ResolveFlags::BENEATH);
        if let Err(Errno::NOSYS | Errno::PERM) = beneath {
            return Err(WorkspaceError::Unsupported);
        }
        let path = path_of(fd.as_fd()).map_err(failed)?;
        Ok(Self { fd, given, path })
    }

    /// The folder, absolute and without links.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder itself.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Turns a path as a model writes it into one from the root. `..` is left to the kernel.
    pub(crate) fn relative(&self, path: &str) -> Result<PathBuf, FileError> {
        let bad = |reason| FileError::BadPath {
            path: text::name(Path::new(text::cut(path, 256))),
            reason,
        };
        if path.is_empty() {
            return Err(bad("it is empty; `.` is the workspace"));
        }
        if path.contains('\0') {
            return Err(bad("it holds a NUL character"));
        }
        let path = Path::new(path);
        if !path.is_absolute() {
            return Ok(path.to_owned());
        }
        let inside = path
            .strip_prefix(&self.path)
            .or_else(|_| path.strip_prefix(&self.given))
            .map_err(|_| self.outside(path))?;
        Ok(Path::new(".").join(inside))
    }

    /// Opens what a path from the root names, with links followed as long as they stay beneath.
    pub(crate) fn open_at(
        &self,
        path: &Path,
        flags: OFlags,
        resolve: ResolveFlags,
    ) -> Result<OwnedFd, FileError> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let resolve = resolve | ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let mut tries = 0;
        let error = loop {
            match openat2(&self.fd, path, flags, Mode::empty(), resolve) {
                Ok(fd) => return Ok(fd),
                Err(Errno::AGAIN | Errno::INTR) if tries < RENAME_RETRIES => tries += 1,
                Err(error) => break error,
            }
        };
        Err(match error {
            Errno::XDEV => self.outside(path),
            Errno::NOSYS => FileError::Unsupported,
            Errno::NXIO => FileError::NotAFile {
                path: text::name(path),
                kind: "a socket or device",
                remedy: "nothing can be read from it",
            },
            error => FileError::io("open", &text::name(path), error.into()),
        })
    }

    /// Opens a regular file for reading. Anything else is an error, and never waited for.
    pub(crate) fn open_file(&self, path: &Path) -> Result<Opened, FileError> {
        let file = File::from(self.open_at(path, OFlags::RDONLY, ResolveFlags::empty())?);
        let failed = |error| FileError::io("open", &text::name(path), error);
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(FileError::Directory {
                path: text::name(path),
            });
        }
        if let Some((kind, remedy)) = special(&metadata) {
            return Err(FileError::NotAFile {
                path: text::name(path),
                kind,
                remedy,
            });
        }
        let real = path_of(file.as_fd()).map_err(failed)?;
        let path = real.strip_prefix(&self.path).unwrap_or(path).to_owned();
        Ok(Opened {
            file,
            metadata,
            path,
        })
    }

    /// Opens a folder; returns it and its path from the root, without links.
    pub(crate) fn open_folder(&self, path: &Path) -> Result<(OwnedFd, PathBuf), FileError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let fd = self.open_at(path, flags, ResolveFlags::empty())?;
        let real =
            path_of(fd.as_fd()).map_err(|it| FileError::io("open", &text::name(path), it))?;
        let path = real.strip_prefix(&self.path).unwrap_or(path).to_owned();
        Ok((fd, path))
    }

    pub(crate) fn outside(&self, path: &Path) -> FileError {
        FileError::Outside {
            path: text::name(path),
            root: text::name(&self.path),
        }
    }
}

impl Opened {
    /// The path as it is shown.
    pub(crate) fn name(&self) -> String {
        text::name(&self.path)
    }

    /// Reads the whole file, unless it is larger than `max` bytes.
    pub(crate) fn read_all(&mut self, max: u64, cancel: &Cancel) -> Result<Vec<u8>, FileError> {
        let too_large = |bytes| FileError::TooLarge {
            path: text::name(&self.path),
            bytes,
            max,
        };
        if self.metadata.len() > max {
            return Err(too_large(self.metadata.len()));
        }
        let mut content = Vec::new();
        let mut chunk = vec![0; 64 * 1024];
        loop {
            cancel.check()?;
            let read = match self.file.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(FileError::io("read", &text::name(&self.path), error)),
            };
            content.extend_from_slice(chunk.get(..read).unwrap_or_default());
            let bytes = u64::try_from(content.len()).unwrap_or(u64::MAX);
            if bytes > max {
                return Err(too_large(bytes));
            }
        }
        if is_binary(&content) {
            return Err(FileError::Binary {
                path: text::name(&self.path),
                bytes: u64::try_from(content.len()).unwrap_or(u64::MAX),
            });
        }
        Ok(content)
    }
}

/// Says whether bytes from the front of a file are no text: they hold a NUL.
pub(crate) fn is_binary(front: &[u8]) -> bool {
    front.iter().take(SNIFF_BYTES).any(|byte| *byte == 0)
}

/// What a file is that is not regular, and what to do instead of reading it.
fn special(metadata: &Metadata) -> Option<(&'static str, &'static str)> {
    let kind = metadata.file_type();
    if kind.is_file() {
        None
    } else if kind.is_fifo() {
        Some(("a FIFO", "use bash with a timeout if its content is needed"))
    } else if kind.is_socket() {
        Some(("a socket", "use bash to talk to it"))
    } else {
        Some(("a device", "use bash if it must be read"))
    }
}

/// Asks the kernel where an open file is now.
fn path_of(fd: BorrowedFd<'_>) -> io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}
