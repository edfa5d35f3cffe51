//! A disk that fails on demand, knows what it was asked for and what a loss of power leaves; for tests.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::disk::Action;
use crate::power::Power;

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// With an error of the operating system and nothing done.
    Error(rustix::io::Errno),
    /// With an error after so many bytes of a write were done.
    Short(usize, rustix::io::Errno),
    /// As do all calls after it: the process or the machine has ended.
    Death,
}

/// A call that was made or refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) word: &'static str,
    pub(crate) path: PathBuf,
}

impl Call {
    /// Says whether the call leaves everything as it is.
    pub(crate) fn only_looks(&self) -> bool {
        matches!(self.word, "look" | "list" | "open" | "read" | "lock")
    }

    /// Says whether nobody needs what the call is about, so that its failure may go unsaid.
    pub(crate) fn is_dispensable(&self) -> bool {
        self.path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("summary"))
    }
}

thread_local! {
    static FAULTS: RefCell<Option<Rc<Faults>>> = const { RefCell::new(None) };
    static PAUSED: Cell<bool> = const { Cell::new(false) };
}

/// Takes it that a file was forced to the disk.
pub(crate) fn forced(path: &Path) {
    FAULTS.with(|faults| {
        let faults = faults.borrow().clone();
        faults.map(|faults| faults.0.borrow_mut().power.follow(path, Action::Sync))
    });
}

/// The faults of this thread, until it is dropped.
#[derive(Debug)]
pub(crate) struct Installed(Rc<Faults>);

impl std::ops::Deref for Installed {
    type Target = Faults;

    fn deref(&self) -> &Faults {
        &self.0
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        FAULTS.with(|faults| *faults.borrow_mut() = None);
    }
}

/// Says whether this thread has faults.
pub(crate) fn is_installed() -> bool {
    FAULTS.with(|faults| faults.borrow().is_some())
}

/// Says whether nothing on this thread may fail for now.
pub(crate) fn is_paused() -> bool {
    PAUSED.get()
}

/// Asks the faults of this thread whether a call may be made.
pub(crate) fn before(path: &Path, action: Action<'_>, file: Option<&File>) -> io::Result<()> {
    let faults = FAULTS.with(|faults| faults.borrow().clone());
    faults.map_or(Ok(()), |faults| faults.before(path, action, file))
}

/// A folder in memory where there is some: what reaches the disk is simulated.
pub(crate) fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}

/// Does something whose calls count for nothing.
pub(crate) async fn paused<T>(looking: impl Future<Output = T>) -> T {
    let faults = FAULTS.with(|faults| faults.borrow_mut().take());
    PAUSED.set(true);
    let looked = looking.await;
    PAUSED.set(false);
    FAULTS.with(|installed| *installed.borrow_mut() = faults);
    looked
}

/// The plan of one run, and what happened.
#[derive(Debug)]
pub(crate) struct Faults(RefCell<Inner>);

#[derive(Debug)]
struct Inner {
    calls: Vec<Call>,
    /// Which call fails, from 0, and how.
    plan: Option<(usize, Fault)>,
    power: Power,
}

impl Faults {
    /// Watches the calls of this thread; `root` stands for the disk.
    pub(crate) fn install(root: &Path) -> Installed {
        let inner = Inner {
            calls: Vec::new(),
            plan: None,
            power: Power::new(root),
        };
        let faults = Rc::new(Self(RefCell::new(inner)));
        FAULTS.with(|installed| *installed.borrow_mut() = Some(Rc::clone(&faults)));
        Installed(faults)
    }

    /// Lets one call fail, counted from here.
    pub(crate) fn fail_at(&self, call: usize, fault: Fault) {
        let mut inner = self.0.borrow_mut();
        inner.calls.clear();
        inner.plan = Some((call, fault));
    }

    /// Lets no further call fail.
    pub(crate) fn heal(&self) {
        self.0.borrow_mut().plan = None;
    }

    /// Returns what was asked for, and forgets it.
    pub(crate) fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.0.borrow_mut().calls)
    }

    /// Lays out in a folder, as another disk would hold it, what a loss of power leaves.
    pub(crate) fn lose_power(&self, left: crate::power::Left, into: &Path) {
        self.0.borrow().power.lay_out(left, into);
    }

    fn before(&self, path: &Path, action: Action<'_>, file: Option<&File>) -> io::Result<()> {
        let inner = &mut *self.0.borrow_mut();
        let number = inner.calls.len();
        let (word, path) = (word(action), path.to_owned());
        inner.calls.push(Call { word, path });
        match inner.plan {
            Some((at, Fault::Error(errno))) if at == number => Err(errno.into()),
            Some((at, Fault::Short(bytes, errno))) if at == number => {
                if let (Action::Write(content), Some(mut file)) = (action, file) {
                    file.write_all(&content[..bytes.min(content.len())])?;
                }
                Err(errno.into())
            }
            Some((at, Fault::Death)) if at <= number => Err(rustix::io::Errno::IO.into()),
            _ => {
                inner.power.follow(&inner.calls[number].path, action);
                Ok(())
            }
        }
    }
}

fn word(action: Action<'_>) -> &'static str {
    match action {
        Action::Look => "look",
        Action::List => "list",
        Action::Open => "open",
        Action::Read => "read",
        Action::Lock => "lock",
        Action::MakeFolder => "make folder",
        Action::Create => "create",
        Action::Write(_) => "write",
        Action::Sync => "sync",
        Action::SyncFolder => "sync folder",
        Action::Rename(_) => "rename",
        Action::Remove => "remove",
        Action::RemoveFolder => "remove folder",
        Action::SetLength => "cut",
    }
}
