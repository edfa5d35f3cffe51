//! The lock of a session: one writer, for as long as it lives.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use phi_types::SessionId;
use rustix::fs::{FlockOperation, flock};

use crate::disk::{self, Action};
use crate::error::StoreError;
use crate::files::{io_error, open_lock};

/// How often the lock file may be exchanged under our hands before we give up.
const TRIES: u32 = 16;

/// The lock of one session; dropping it lets the next writer in.
///
/// The operating system takes the lock back when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock that a file stands for, or says at once who has it.
    pub(crate) fn take(path: &Path, session: &SessionId) -> Result<Self, StoreError> {
        for _ in 0..TRIES {
            let file = open_lock(path)?;
            disk::before(path, Action::Lock, Some(&file)).map_err(io_error("lock", path))?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    let owner = owner(file);
                    return Err(StoreError::Locked {
                        session: session.clone(),
                        owner,
                    });
                }
                Err(errno) => return Err(io_error("lock", path)(errno.into())),
            }
            // Between open and lock a deleter may have removed the file: then it guards nothing.
            if is_at(&file, path) {
                // The same length each time: to cut the file first would make some file systems
                // write it to the disk at once.
                let owner = format!("{:010}\n", std::process::id());
                let written = disk::before(path, Action::Write(owner.as_bytes()), Some(&file))
                    .and_then(|()| file.write_all_at(owner.as_bytes(), 0));
                written.map_err(io_error("write", path))?;
                return Ok(Self { file });
            }
        }
        Err(StoreError::Locked {
            session: session.clone(),
            owner: None,
        })
    }
}

/// Takes the lock under which sessions are forked and deleted, and waits for it: whoever has it reads
/// and writes a few short files.
pub(crate) fn take_family_lock(path: &Path) -> Result<File, StoreError> {
    let file = open_lock(path)?;
    disk::before(path, Action::Lock, Some(&file)).map_err(io_error("lock", path))?;
    let taken = flock(&file, FlockOperation::LockExclusive);
    taken.map_err(|errno| io_error("lock", path)(errno.into()))?;
    Ok(file)
}

/// A process that is being started at this moment has a copy of the open file until it runs its own
/// program, so to close ours is not enough.
impl Drop for Lock {
    fn drop(&mut self) {
        // Where this fails, closing the file releases the lock a little later.
        flock(&self.file, FlockOperation::Unlock).unwrap_or_default();
    }
}

fn owner(file: File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(ours), Ok(there)) = (file.metadata(), std::fs::symlink_metadata(path)) else {
        return false;
    };
    (ours.dev(), ours.ino()) == (there.dev(), there.ino())
}
