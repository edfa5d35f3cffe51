//! Marks the processes of one call, and finds them again wherever they went.
//!
//! A process that leaves its session (`setsid`), loses its parent (double fork) and clears its
//! environment is still known by a resource limit that it inherited: `RLIMIT_RTTIME`, which bounds
//! realtime threads only, is set to a value that no other call has and that is too large to matter.
//! A process cannot raise it again. Where the kernel does not let a parent set the limit of its
//! child, a variable of the environment marks the call; a process that clears its environment and
//! whose parent has ended is then lost.

use std::collections::HashSet;
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Read as _};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

/// The name of the variable that marks a call, up to the part that is its own.
const VARIABLE_START: &str = "PHI_CALL_";
/// The smallest limit that is lowered further: below it two calls might get the same one.
const LIMIT_MIN: u64 = 1 << 48;
/// The limit of a first call is between this and twice this, in microseconds: 146,000 years.
const LIMIT_BASE: u64 = 1 << 62;
/// How often a chase looks at the latest processes.
const CHASE_ROUNDS: usize = 32;
/// At how many of the latest processes a chase looks.
const CHASE_WINDOW: i32 = 8;
/// How much of an environment is read.
const ENVIRONMENT_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What the processes of one call have in common.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    variable: String,
    limit: Option<u64>,
    first: Option<Pid>,
}

/// One process of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) pid: Pid,
    pub(crate) parent: i32,
    /// Whether it has ended and only waits to be collected by its parent.
    pub(crate) ended: bool,
}

impl Mark {
    pub(crate) fn new() -> Self {
        Self {
            variable: format!("{VARIABLE_START}{:016x}", random()),
            limit: None,
            first: None,
        }
    }

    /// The variable to set in the environment of the first process.
    pub(crate) fn variable(&self) -> &str {
        &self.variable
    }

    /// Marks the first process, before it starts another. It must stay uncollected as long as the
    /// mark is used, so that its number means no other process.
    pub(crate) fn put(&mut self, first: Pid) {
        self.first = Some(first);
        let own = rustix::process::getrlimit(Resource::Rttime);
        let (base, maximum) = match own.maximum {
            None => (LIMIT_BASE, None),
            // A call inside a call: the outer mark stays in the hard limit.
            Some(maximum) if maximum >= LIMIT_MIN => (maximum / 2, Some(maximum)),
            Some(_) => return,
        };
        let limit = base + random() % (base / 2);
        let new = Rlimit {
            current: Some(limit),
            maximum: Some(maximum.unwrap_or(limit)),
        };
        let put = prlimit(Some(first), Resource::Rttime, new).is_ok();
        if put && limits_of(first).is_ok_and(|limits| limits.0 == Some(limit)) {
            self.limit = Some(limit);
        }
    }

    /// Says whether a process has the mark.
    ///
    /// # Errors
    /// The process is gone, or hides what it is from this one.
    fn is_on(&self, pid: Pid) -> io::Result<bool> {
        if self.first == Some(pid) {
            return Ok(true);
        }
        match self.limit {
            Some(limit) => {
                let (soft, hard) = limits_of(pid)?;
                Ok(soft == Some(limit) || hard == Some(limit))
            }
            None => match environment_has(pid, &self.variable) {
                // Another user's: what a call starts there is out of its reach anyway.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(false),
                known => known,
            },
        }
    }

    /// Looks through the process table for the call's processes: those with the mark, and all that
    /// descend from them. `found` gets each at once.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub(crate) fn search(&self, mut found: impl FnMut(&Member)) -> io::Result<()> {
        let own = rustix::process::getpid();
        let mut others = Vec::new();
        let mut known = HashSet::new();
        for entry in std::fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let pid = name.to_str().and_then(|name| name.parse().ok());
            let Some(pid) = pid.and_then(Pid::from_raw).filter(|pid| *pid != own) else {
                continue;
            };
            // A process that is gone meanwhile needs no end.
            let Ok(is_member) = self.is_on(pid) else {
                continue;
            };
            let Ok(member) = state_of(pid) else { continue };
            if is_member {
                found(&member);
                known.insert(member.number());
            } else {
                others.push(member);
            }
        }
        while !known.is_empty() {
            let (children, rest): (Vec<_>, Vec<_>) = others
                .into_iter()
                .partition(|it| known.contains(&it.parent));
            known = children.iter().map(Member::number).collect();
            children.iter().for_each(&mut found);
            others = rest;
        }
        Ok(())
    }

    /// Looks at the processes that were started last, many times over.
    ///
    /// What only starts another process and ends is somewhere else each time that a search comes
    /// to it; but it is always among the latest.
    pub(crate) fn chase(&self, mut found: impl FnMut(&Member)) {
        for _ in 0..CHASE_ROUNDS {
            let Some(latest) = latest_pid() else { return };
            for back in 0..CHASE_WINDOW {
                let Some(pid) = Pid::from_raw(latest - back).filter(|_| latest > back) else {
                    break;
                };
                if self.is_on(pid).unwrap_or(false)
                    && let Ok(member) = state_of(pid)
                {
                    found(&member);
                }
            }
        }
    }
}

impl Member {
    fn number(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }
}

/// Reads the number of the process, or thread, that was started last.
pub(crate) fn latest_pid() -> Option<i32> {
    let averages = read("/proc/loadavg", 256).ok()?;
    let averages = String::from_utf8_lossy(&averages);
    averages.split_whitespace().last()?.parse().ok()
}

/// A random number: the keys of a hasher are random, and every one is different.
fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

fn read(path: &str, max: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(max).read_to_end(&mut content)?;
    Ok(content)
}

/// Reads parent and state from `/proc/PID/stat`: the fields after the name, which may hold anything.
fn state_of(pid: Pid) -> io::Result<Member> {
    let stat = read(&format!("/proc/{pid}/stat"), 4096)?;
    let stat = String::from_utf8_lossy(&stat);
    let mut fields = stat
        .rsplit_once(") ")
        .map_or("", |(_, fields)| fields)
        .split(' ');
    let state = fields.next().unwrap_or("");
    let parent = fields.next().and_then(|parent| parent.parse().ok());
    Ok(Member {
        pid,
        parent: parent.ok_or(io::ErrorKind::InvalidData)?,
        ended: matches!(state, "Z" | "X"),
    })
}

/// Reads the soft and the hard `RLIMIT_RTTIME` from `/proc/PID/limits`.
fn limits_of(pid: Pid) -> io::Result<(Option<u64>, Option<u64>)> {
    let limits = read(&format!("/proc/{pid}/limits"), 4096)?;
    let limits = String::from_utf8_lossy(&limits);
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max realtime timeout"))
        .unwrap_or("");
    let mut values = line.split_whitespace().map(|value| value.parse().ok());
    Ok((values.next().flatten(), values.next().flatten()))
}

fn environment_has(pid: Pid, variable: &str) -> io::Result<bool> {
    let environment = read(&format!("/proc/{pid}/environ"), ENVIRONMENT_BYTES_MAX)?;
    let is_it = |entry: &[u8]| {
        let rest = entry.strip_prefix(variable.as_bytes());
        rest.is_some_and(|rest| rest.first() == Some(&b'='))
    };
    Ok(environment.split(|byte| *byte == 0).any(is_it))
}
