//! What the tools of one agent share: a folder, a policy, and what was read so far.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use xxhash_rust::xxh64::xxh64;

use crate::beneath::Root;
use crate::error::{FileError, WorkspaceError};

/// How many files a workspace remembers as read.
const SEEN_FILES_MAX: usize = 65_536;

/// Variables of the parent that commands see, unless a policy says otherwise.
///
/// They say who and where the user is and where toolchains live. None of them holds a secret; a
/// name that ends in `*` stands for all that begin so.
pub const PASSED_VARIABLES: [&str; 30] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "TZ",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "CONDA_PREFIX",
    "GOPATH",
    "GOROOT",
    "JAVA_HOME",
    "NVM_DIR",
    "PYENV_ROOT",
    "VIRTUAL_ENV",
    "NIX_PATH",
    "NIX_SSL_CERT_FILE",
    "PHI_CALL_*",
];

/// What tools may do and how much they return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The longest text of one result, in bytes; notices come on top.
    pub output_bytes_max: usize,
    /// How long a command may run that names no time of its own.
    pub command_timeout: Duration,
    /// The longest time that a command may ask for.
    pub command_timeout_max: Duration,
    /// Names of variables that commands see; a trailing `*` stands for any ending.
    pub passed_variables: Vec<String>,
    /// Variables that commands see with these values, whatever the parent has.
    pub set_variables: BTreeMap<String, String>,
}

/// 32 KiB of output, two minutes up to an hour, [`PASSED_VARIABLES`], and no pager, colours or
/// questions.
impl Default for Policy {
    fn default() -> Self {
        let set = [
            ("TERM", "dumb"),
            ("PAGER", "cat"),
            ("GIT_PAGER", "cat"),
            ("GIT_TERMINAL_PROMPT", "0"),
        ];
        Self {
            output_bytes_max: 32 * 1024,
            command_timeout: Duration::from_secs(120),
            command_timeout_max: Duration::from_secs(3600),
            passed_variables: PASSED_VARIABLES.map(str::to_owned).to_vec(),
            set_variables: set.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        }
    }
}

/// The folder that an agent works in, with its policy and with what it read there.
///
/// A clone shares everything. All tools of one agent share one workspace: that is how `edit_file`
/// knows that a file changed since `read_file` showed it.
#[derive(Debug, Clone)]
pub struct Workspace(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    root: Root,
    policy: Policy,
    seen: Mutex<BTreeMap<PathBuf, u64>>,
    writing: Mutex<()>,
}

impl Workspace {
    /// Opens a folder under the default policy. The folder stays the same if its path changes.
    ///
    /// # Errors
    /// [`WorkspaceError`] where the folder cannot be opened or the kernel cannot keep paths in it.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, WorkspaceError> {
        Self::with_policy(root, Policy::default())
    }

    /// Opens a folder under a policy.
    ///
    /// # Errors
    /// As [`Workspace::open`].
    pub fn with_policy(root: impl AsRef<Path>, policy: Policy) -> Result<Self, WorkspaceError> {
        Ok(Self(Arc::new(Shared {
            root: Root::open(root.as_ref())?,
            policy,
            seen: Mutex::default(),
            writing: Mutex::default(),
        })))
    }

    /// Returns the folder, absolute and without links.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.0.root.path()
    }

    /// Returns the policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.0.policy
    }

    pub(crate) fn held(&self) -> &Root {
        &self.0.root
    }

    /// Keeps two calls of this agent from writing at once, so that neither undoes the other.
    pub(crate) fn writing(&self) -> MutexGuard<'_, ()> {
        self.0
            .writing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what the agent knows a file to hold.
    pub(crate) fn remember(&self, path: &Path, content: Digest) {
        let mut seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= SEEN_FILES_MAX && !seen.contains_key(path) {
            seen.pop_first();
        }
        seen.insert(path.to_owned(), content.0);
    }

    /// Fails if the agent knows the file to hold something else. A file that it never read passes.
    pub(crate) fn unchanged(&self, path: &Path, content: Digest) -> Result<(), FileError> {
        let seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.get(path) {
            Some(known) if *known != content.0 => Err(FileError::Changed {
                path: crate::text::name(path),
            }),
            _ => Ok(()),
        }
    }

    /// The environment of a command: what is passed, then what is set.
    pub(crate) fn environment(&self) -> BTreeMap<OsString, OsString> {
        let passed = |name: &str| {
            self.policy().passed_variables.iter().any(|rule| {
                rule.strip_suffix('*')
                    .map_or(rule == name, |start| name.starts_with(start))
            })
        };
        let mut variables: BTreeMap<OsString, OsString> = std::env::vars_os()
            .filter(|(name, _)| name.to_str().is_some_and(passed))
            .collect();
        for (name, value) in &self.policy().set_variables {
            variables.insert(name.into(), value.into());
        }
        variables
            .entry("PATH".into())
            .or_insert_with(|| "/usr/local/bin:/usr/bin:/bin".into());
        variables
    }
}

/// A fingerprint of what a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Digest(pub(crate) u64);

impl Digest {
    pub(crate) fn of(content: &[u8]) -> Self {
        Self(xxh64(content, 0))
    }
}
