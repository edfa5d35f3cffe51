//! A place to run the binary in, and what it came to.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use phi::session::Store as _;
use phi::types::{Event, EventKind};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;

/// A folder with a store and a directory to work in.
pub(crate) struct Scratch {
    folder: tempfile::TempDir,
}

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("work")).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.path("work")
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// A command that knows this scratch folder and nothing else of its user.
    pub(crate) fn command<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_phi"));
        for secret in ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL"] {
            command.env_remove(secret);
        }
        command
            .args(arguments)
            .env_remove("XDG_STATE_HOME")
            .env("PHI_STORE", self.path("store"))
            .env("HOME", self.folder.path())
            .env("TMPDIR", self.folder.path())
            .current_dir(self.work())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn phi<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ran {
        Ran::of(self.command(arguments).output().unwrap())
    }

    /// Runs a prompt against a script in a session.
    pub(crate) fn scripted(&self, session: &str, script: &str, more: &[&str]) -> Ran {
        let script = self.write("script.json", script);
        let script = script.to_str().unwrap();
        let start = ["run", "Do it.", "--script", script, "--session", session];
        self.phi(start.iter().chain(more))
    }

    /// Reads the stored events of a session.
    pub(crate) fn stored(&self, session: &str) -> Vec<Event> {
        let ran = self.phi(["sessions", "events", session]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let lines = ran.out.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Writes the log of a session anew, with right checksums.
    pub(crate) fn rewrite(&self, events: &[Event]) {
        let store = phi::session::JsonlStore::new(self.path("store"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (first, rest) = events.split_first().unwrap();
            let EventKind::SessionStarted(started) = first.kind.clone() else {
                panic!("{first:?}")
            };
            store.delete(&first.session).await.unwrap();
            let created = store.create(&first.session, started, first.at).await;
            created.unwrap().append_batch(rest).await.unwrap();
        });
    }

    /// Reads what the list says of a session.
    pub(crate) fn listed(&self, session: &str) -> Value {
        let ran = self.phi(["sessions", "list", "--json"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let found = ran
            .json_lines()
            .into_iter()
            .find(|line| line["id"] == session);
        found.unwrap_or_else(|| panic!("{session} is not listed: {ran:?}"))
    }
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn json_lines(&self) -> Vec<Value> {
        let lines = self.out.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Returns the one line that says what failed.
    #[track_caller]
    pub(crate) fn failure(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self:?}");
        let mut lines = self.err.lines().filter(|line| line.starts_with("phi: "));
        let line = lines
            .next()
            .unwrap_or_else(|| panic!("no line says what failed: {self:?}"));
        assert_eq!(lines.next(), None, "{self:?}");
        assert_eq!(self.err.lines().last(), Some(line), "{self:?}");
        let (what, remedy) = line["phi: ".len()..]
            .rsplit_once(": ")
            .unwrap_or((line, ""));
        assert!(!what.is_empty() && !remedy.is_empty(), "no remedy: {line}");
        line
    }
}

/// A process that is killed if its test fails, and whose lines are read as they come.
pub(crate) struct Running {
    pub(crate) child: Child,
    lines: Box<dyn BufRead>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let lines = Box::new(BufReader::new(child.stdout.take().unwrap()));
        Self { child, lines }
    }

    /// Reads lines of stdout until one holds a text.
    #[track_caller]
    pub(crate) fn until(&mut self, text: &str) {
        loop {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line).unwrap();
            assert!(read > 0, "stdout ended before {text:?}");
            if line.contains(text) {
                return;
            }
        }
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub(crate) fn end(mut self) -> Ran {
        let mut out = String::new();
        self.lines.read_to_string(&mut out).unwrap();
        let mut err = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut err).unwrap();
        }
        let code = self.child.wait().unwrap().code();
        Ran { code, out, err }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            self.child.wait().unwrap();
        }
    }
}

/// A process on a terminal of its own.
pub(crate) struct OnTerminal {
    pub(crate) child: Child,
    terminal: File,
    shown: String,
}

impl OnTerminal {
    pub(crate) fn run(scratch: &Scratch, script: &str) -> Self {
        let script = scratch.write("script.json", script);
        let script = script.to_str().unwrap();
        Self::start(
            scratch,
            &["run", "Do it.", "--session", "s", "--script", script],
        )
    }

    pub(crate) fn start(scratch: &Scratch, arguments: &[&str]) -> Self {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let name = ptsname(&terminal, Vec::new())
            .unwrap()
            .into_string()
            .unwrap();
        let side = || {
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(&name)
                .unwrap()
        };
        let mut command = scratch.command(arguments);
        command.env("NO_COLOR", "1");
        command.stdin(side()).stdout(side()).stderr(side());
        let child = command.spawn().unwrap();
        Self {
            child,
            terminal: File::from(terminal),
            shown: String::new(),
        }
    }

    /// Reads until the terminal shows a text.
    pub(crate) fn until(&mut self, text: &str) {
        let mut byte = [0];
        let mut bytes = Vec::new();
        while !bytes.ends_with(text.as_bytes()) {
            self.terminal.read_exact(&mut byte).unwrap();
            bytes.extend(byte);
        }
        self.shown.push_str(&String::from_utf8(bytes).unwrap());
    }

    pub(crate) fn answer(&mut self, line: &str) {
        self.until("in this run? ");
        self.terminal.write_all(line.as_bytes()).unwrap();
    }

    /// Waits for the end and returns all that the terminal showed.
    pub(crate) fn end(mut self) -> String {
        let mut bytes = Vec::new();
        let mut byte = [0];
        // The kernel ends the reading with an error when the last process has gone.
        while self.terminal.read(&mut byte).is_ok_and(|read| read == 1) {
            bytes.extend(byte);
        }
        assert!(self.child.wait().unwrap().success(), "{}", self.shown);
        self.shown.push_str(&String::from_utf8(bytes).unwrap());
        self.shown
    }
}

/// Returns the path of a recorded response body.
pub(crate) fn recorded(name: &str) -> String {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../phi-provider/tests/data/wire");
    data.join(name).to_str().unwrap().to_owned()
}
