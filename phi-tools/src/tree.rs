//! The processes of one call: started together, and gone together.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use process_wrap::std::{CommandWrap, CommandWrapper as _, ProcessSession};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, pidfd_send_signal, waitpid,
};

use crate::mark::{Mark, Member, latest_pid};
use crate::workspace::Workspace;

/// How long the first process, killed, may take to end.
const END_WAIT_MAX: Duration = Duration::from_secs(2);
/// How long each round waits for those that it killed.
const ROUND_WAIT_MAX: Duration = Duration::from_millis(50);
/// After how many rounds a process that was killed counts as one that cannot be: two seconds.
const STUCK_ROUNDS: usize = 40;
/// How often the process table is searched for what a call left behind.
const SEARCHES_MAX: usize = 200;
/// For how many killed processes a round waits. More of them are met by the next round.
const WAITED_MAX: usize = 64;
/// How many rounds must meet nobody while other processes start in the system.
const QUIET_ROUNDS: usize = 2;

/// Waits for one line, so that the mark is there before the command starts.
const GATE: &str = r#"read -r _ || exit 125; exec "$0" -c "$1" </dev/null"#;

/// Why a command was not started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(
        "the command has {bytes} bytes, more than the system passes to a shell: write it to a file with write_file and run that"
    )]
    TooLong { bytes: usize },
    #[error("no shell found: install bash or sh in a folder of PATH")]
    NoShell,
    #[error(
        "/proc cannot be read ({0}), so what the command starts could not be stopped: mount /proc"
    )]
    NoProc(io::Error),
    #[error("cannot start {shell}: {reason}")]
    Start { shell: String, reason: io::Error },
}

/// What stopping a call did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stopped {
    /// Processes that ran on and were killed, without the first.
    pub(crate) killed: usize,
    /// Processes that could not be killed, as those of another user.
    pub(crate) left: usize,
}

/// A command that runs, with everything that it starts.
#[derive(Debug)]
pub(crate) struct Tree {
    child: Child,
    first: Pid,
    mark: Mark,
    stopped: Option<Stopped>,
}

/// A started command, with the ends that the caller watches.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) tree: Tree,
    /// Standard output and standard error, in the order in which they were written.
    pub(crate) output: OwnedFd,
    /// Readable when the first process has ended.
    pub(crate) ended: OwnedFd,
}

/// Starts a command in a shell, in a session of its own, with standard input closed.
pub(crate) fn start(workspace: &Workspace, command: &str) -> Result<Started, StartError> {
    std::fs::metadata("/proc/self/limits").map_err(StartError::NoProc)?;
    let mut environment = workspace.environment();
    let path = environment.get(OsStr::new("PATH")).cloned();
    let shells = Shells::find(&path.unwrap_or_default()).ok_or(StartError::NoShell)?;
    let mut mark = Mark::new();
    environment.insert(mark.variable().into(), "1".into());
    let failed = |reason: io::Error| match Errno::from_io_error(&reason) {
        Some(Errno::TOOBIG) => StartError::TooLong {
            bytes: command.len(),
        },
        _ => StartError::Start {
            shell: crate::text::name(&shells.command),
            reason,
        },
    };
    let (output, writer) = io::pipe().map_err(failed)?;
    let (gate, mut opener) = io::pipe().map_err(failed)?;
    let mut shell = Command::new(&shells.gate);
    shell
        .arg("-c")
        .arg(GATE)
        .arg(&shells.command)
        .arg(OsStr::from_bytes(command.as_bytes()))
        .env_clear()
        .envs(environment)
        .current_dir(format!(
            "/proc/self/fd/{}",
            workspace.held().fd().as_raw_fd()
        ))
        .stdin(Stdio::from(gate))
        .stderr(Stdio::from(writer.try_clone().map_err(failed)?))
        .stdout(Stdio::from(writer));
    let unused = CommandWrap::with_new("sh", |_| {});
    ProcessSession
        .pre_spawn(&mut shell, &unused)
        .map_err(failed)?;
    let child = shell.spawn().map_err(failed)?;
    // The write end of the output lives in the command: nothing but its processes may hold it.
    drop(shell);
    let first = Pid::from_child(&child);
    mark.put(first);
    let tree = Tree {
        child,
        first,
        mark,
        stopped: None,
    };
    let ended = pidfd_open(first, PidfdFlags::empty()).map_err(|it| failed(it.into()))?;
    opener.write_all(b"\n").map_err(failed)?;
    Ok(Started {
        tree,
        output: output.into(),
        ended,
    })
}

impl Tree {
    /// Ends every process of the call and returns when none is left. Blocks for milliseconds.
    pub(crate) fn stop(&mut self) -> Stopped {
        if let Some(stopped) = self.stopped {
            return stopped;
        }
        let stopped = self.kill_all();
        self.stopped = Some(stopped);
        stopped
    }

    /// How the first process ended, once [`Tree::stop`] has returned.
    pub(crate) fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    fn kill_all(&mut self) -> Stopped {
        let mut kills = Kills::of(self.first);
        let (mut quiet, mut stuck) = (0, 0);
        for _ in 0..SEARCHES_MAX {
            let latest = latest_pid();
            (kills.sighted, kills.fresh) = (0, 0);
            let searched = self.mark.search(|member| kills.end(member));
            if kills.sighted == 0 && latest.is_some() && latest == latest_pid() {
                // Nothing was started meanwhile, so nothing can have been missed.
                break;
            }
            self.mark.chase(|member| kills.end(member));
            kills.wait();
            quiet = if kills.sighted == 0 { quiet + 1 } else { 0 };
            stuck = if kills.fresh == 0 { stuck + 1 } else { 0 };
            if quiet == QUIET_ROUNDS || stuck == STUCK_ROUNDS || searched.is_err() {
                break;
            }
        }
        // Killed above, or ended before: this collects it.
        if let Ok(handle) = pidfd_open(self.first, PidfdFlags::empty()) {
            wait_for_end(&[handle], END_WAIT_MAX);
        }
        let _collected = self.status();
        kills.killed.remove(&self.first);
        Stopped {
            killed: kills.killed.len(),
            left: kills.left.len() + kills.sighted,
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The processes of a call that is being stopped.
#[derive(Debug)]
struct Kills {
    first: Pid,
    own: i32,
    killed: HashSet<Pid>,
    left: HashSet<Pid>,
    /// Killed, and not known to have ended.
    dying: Vec<OwnedFd>,
    /// Processes that were met alive in this round.
    sighted: usize,
    /// Those of them that were not killed before.
    fresh: usize,
}

impl Kills {
    fn of(first: Pid) -> Self {
        Self {
            first,
            own: rustix::process::getpid().as_raw_nonzero().get(),
            killed: HashSet::new(),
            left: HashSet::new(),
            dying: Vec::new(),
            sighted: 0,
            fresh: 0,
        }
    }

    fn end(&mut self, member: &Member) {
        if member.ended {
            // A child of this process, as where it is process 1, waits to be collected by it.
            if member.parent == self.own && member.pid != self.first {
                let _status = waitpid(Some(member.pid), WaitOptions::NOHANG);
            }
            return;
        }
        if self.left.contains(&member.pid) {
            return;
        }
        match kill(member) {
            Ok(handle) => {
                self.sighted += 1;
                self.fresh += usize::from(self.killed.insert(member.pid));
                self.dying
                    .extend(handle.filter(|_| self.sighted <= WAITED_MAX));
            }
            Err(_) => {
                self.left.insert(member.pid);
            }
        }
    }

    fn wait(&mut self) {
        wait_for_end(&self.dying, ROUND_WAIT_MAX);
        self.dying.clear();
    }
}

/// Kills a member. The handle keeps the number from meaning another process meanwhile.
fn kill(member: &Member) -> rustix::io::Result<Option<OwnedFd>> {
    let handle = match pidfd_open(member.pid, PidfdFlags::empty()) {
        Ok(handle) => handle,
        Err(Errno::SRCH) => return Ok(None),
        // No handle to be had: the number was looked up microseconds ago.
        Err(_) => return kill_process(member.pid, Signal::KILL).map(|()| None),
    };
    match pidfd_send_signal(&handle, Signal::KILL) {
        Ok(()) => Ok(Some(handle)),
        Err(Errno::SRCH) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Waits until all processes have ended, or until `max` is over.
fn wait_for_end(processes: &[OwnedFd], max: Duration) {
    let deadline = Instant::now() + max;
    for process in processes {
        let rest = deadline.saturating_duration_since(Instant::now());
        let rest = Timespec::try_from(rest).ok();
        let mut watched = [PollFd::new(process, PollFlags::IN)];
        // An interrupted wait is made good by the next search.
        let _ended = poll(&mut watched, rest.as_ref());
    }
}

/// The shells that are there.
#[derive(Debug)]
struct Shells {
    /// Runs the command: bash if present, else sh.
    command: PathBuf,
    /// Waits for the mark: sh, which starts faster.
    gate: PathBuf,
}

impl Shells {
    fn find(path: &OsString) -> Option<Self> {
        let find = |name: &str| {
            std::env::split_paths(path)
                .chain([PathBuf::from("/bin"), PathBuf::from("/usr/bin")])
                .filter(|folder| folder.is_absolute())
                .map(|folder| folder.join(name))
                .find(|file| is_executable(file))
        };
        let (bash, sh) = (find("bash"), find("sh"));
        let command = bash.or_else(|| sh.clone())?;
        let gate = sh.unwrap_or_else(|| command.clone());
        Some(Self { command, gate })
    }
}

fn is_executable(file: &Path) -> bool {
    let is_file = std::fs::metadata(file).is_ok_and(|it| it.is_file());
    is_file && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok()
}
