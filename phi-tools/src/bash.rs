//! The tool `bash`: a command in a shell, gone with all that it started when the call is over.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use phi_types::{EffectClass, ToolContext, ToolKind, ToolProgress, ToolResult};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep};

use crate::blocking::{self, Cancelled};
use crate::capture::{Capture, Captured};
use crate::function::FunctionTool;
use crate::schema::InvalidTool;
use crate::tree::{StartError, Started, Stopped, start};
use crate::workspace::Workspace;

/// How much is read at once: what a pipe holds.
const CHUNK_BYTES: usize = 64 * 1024;
/// How much is read after the end of the command; a pipe holds no more, unless it was enlarged.
const REST_BYTES_MAX: usize = 1024 * 1024;
/// The shortest time between two reports of progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
/// The longest text of one report of progress.
const PROGRESS_BYTES_MAX: usize = 2 * 1024;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Arguments {
    /// The command, as after `bash -c`.
    #[schemars(length(min = 1))]
    command: String,
    /// The time after which the command is stopped, in milliseconds. Default: 120000.
    #[schemars(range(min = 1))]
    timeout_ms: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Details {
    exit_code: Option<i32>,
    signal: Option<i32>,
    timed_out: bool,
    output_bytes: u64,
    omitted_bytes: u64,
    truncated: bool,
    processes_stopped: usize,
    processes_left: usize,
}

/// Why there is no result of a command.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    #[error("cannot read what the command writes: {0}")]
    Read(#[from] io::Error),
}

pub(crate) fn tool(workspace: &Workspace) -> Result<FunctionTool<Arguments>, InvalidTool> {
    let workspace = workspace.clone();
    let longest = workspace.policy().command_timeout_max;
    let description = "Runs a command in a new shell in the workspace and returns what it writes \
        to standard output and standard error. Standard input is closed: nothing can ask a \
        question. Everything that the command started is stopped when it ends, background jobs \
        included. Of long output the first and the last part are returned. Progress shows the \
        latest output.";
    let tool = FunctionTool::new("bash", description, move |arguments, context| {
        let workspace = workspace.clone();
        async move { run(&workspace, arguments, &context).await }
    })?;
    Ok(tool
        .with_kind(ToolKind::Execute)
        .with_effect_class(EffectClass::AtMostOnce)
        .with_check(move |arguments: &Arguments| check(arguments, longest)))
}

fn check(arguments: &Arguments, longest: Duration) -> Result<(), String> {
    if arguments.command.contains('\0') {
        return Err("`command` holds a NUL character, which no command can: leave it out".into());
    }
    let wanted = Duration::from_millis(arguments.timeout_ms.unwrap_or(0));
    if wanted > longest {
        let longest = longest.as_millis();
        return Err(format!("`timeout_ms` is too long: use at most {longest}"));
    }
    Ok(())
}

/// How a command came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Exited,
    TimedOut,
}

async fn run(
    workspace: &Workspace,
    arguments: Arguments,
    context: &ToolContext,
) -> Result<ToolResult, Failure> {
    let policy = workspace.policy();
    let timeout = match arguments.timeout_ms {
        Some(milliseconds) => Duration::from_millis(milliseconds),
        None => policy.command_timeout,
    };
    let mut capture = Capture::new(policy.output_bytes_max);
    let theirs = workspace.clone();
    let Started {
        mut tree,
        output,
        ended,
    } = blocking::run(move |_| start(&theirs, &arguments.command)).await??;
    let output = Output::new(output)?;
    let ended = watched(ended)?;
    let ending = tokio::select! {
        read = relay(&output, &mut capture, context) => match read? {},
        ready = ended.readable() => {
            ready?.retain_ready();
            Ending::Exited
        }
        () = sleep(timeout) => Ending::TimedOut,
    };
    let (stopped, status) = blocking::run(move |_| {
        let stopped = tree.stop();
        (stopped, tree.status())
    })
    .await?;
    output.rest(&mut capture)?;
    let over = Over {
        timed_out: (ending == Ending::TimedOut).then_some(timeout),
        status,
        stopped,
        captured: capture.finish(),
    };
    Ok(over.result())
}

/// Reads what the command writes, and never returns but with an error.
///
/// **Cancel safety:** what was read is in the capture.
async fn relay(
    output: &Output,
    capture: &mut Capture,
    context: &ToolContext,
) -> Result<Infallible, Failure> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut pace = Pace::default();
    loop {
        let read = output.read(&mut chunk).await?;
        if read == 0 {
            return pending().await;
        }
        capture.push(chunk.get(..read).unwrap_or_default());
        if pace.allows(Instant::now()) {
            let text = capture.latest(PROGRESS_BYTES_MAX);
            context.progress(ToolProgress { text });
        }
    }
}

#[expect(
    deprecated,
    reason = "an OwnedFd keeps its descriptor, which is what the unsafe replacement wants promised"
)]
fn watched(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, Interest::READABLE)
}

/// The read end of a pipe, without waiting in the kernel.
struct Output(AsyncFd<OwnedFd>);

impl Output {
    fn new(fd: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        watched(fd).map(Self)
    }

    /// Reads some bytes, none at the end. Cancel-safe: a dropped read has read nothing.
    async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.0.readable().await?;
            let read = ready.try_io(|fd| Ok(rustix::io::read(fd, &mut *buffer)?));
            match read {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(read) => return read,
                Err(_would_block) => {}
            }
        }
    }

    /// Reads what is in the pipe now that nobody writes to it, without waiting.
    fn rest(&self, capture: &mut Capture) -> Result<(), Failure> {
        let mut chunk = vec![0; CHUNK_BYTES];
        for _ in 0..REST_BYTES_MAX / CHUNK_BYTES {
            match rustix::io::read(self.0.get_ref(), &mut chunk) {
                Ok(0) | Err(rustix::io::Errno::AGAIN) => break,
                Ok(read) => capture.push(chunk.get(..read).unwrap_or_default()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(Failure::Read(error.into())),
            }
        }
        Ok(())
    }
}

/// Lets a report through at most ten times a second.
#[derive(Debug, Default)]
struct Pace {
    last: Option<Instant>,
}

impl Pace {
    fn allows(&mut self, now: Instant) -> bool {
        let due = self
            .last
            .is_none_or(|last| now.duration_since(last) >= PROGRESS_EVERY);
        if due {
            self.last = Some(now);
        }
        due
    }
}

/// A command that is over.
#[derive(Debug)]
struct Over {
    /// The time that it had, where that was too short.
    timed_out: Option<Duration>,
    status: Option<ExitStatus>,
    stopped: Stopped,
    captured: Captured,
}

impl Over {
    fn notices(&self) -> Vec<String> {
        let code = self.status.and_then(|status| status.code());
        let signal = self.status.and_then(|status| status.signal());
        let Stopped { killed, left } = self.stopped;
        let mut notices = Vec::new();
        match (self.timed_out, code, signal) {
            (Some(timeout), _, _) => notices.push(format!(
                "[stopped after {} ms with everything it started; a longer timeout_ms may help]",
                timeout.as_millis()
            )),
            (None, Some(0), _) => {}
            (None, Some(code), _) => notices.push(format!("[exit code {code}]")),
            (None, None, Some(signal)) => notices.push(format!("[killed by signal {signal}]")),
            (None, None, None) => notices.push("[exit code unknown]".to_owned()),
        }
        if self.timed_out.is_none() && killed > 0 {
            notices.push(format!(
                "[{killed} background processes were stopped when the command ended]"
            ));
        }
        if left > 0 {
            notices.push(format!("[{left} processes could not be stopped]"));
        }
        notices
    }

    fn result(self) -> ToolResult {
        let mut notices = self.notices();
        let status = self.status.filter(|_| self.timed_out.is_none());
        let exit_code = status.and_then(|status| status.code());
        let captured = self.captured;
        let mut text = captured.text;
        if text.is_empty() && notices.is_empty() {
            notices.push("[no output]".to_owned());
        }
        if !text.is_empty() && !notices.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&notices.join("\n"));
        let details = Details {
            exit_code,
            signal: status.and_then(|status| status.signal()),
            timed_out: self.timed_out.is_some(),
            output_bytes: captured.total_bytes,
            omitted_bytes: captured.omitted_bytes,
            truncated: captured.omitted_bytes > 0,
            processes_stopped: self.stopped.killed,
            processes_left: self.stopped.left,
        };
        let result = match exit_code {
            Some(0) => ToolResult::text(text),
            _ => ToolResult::error(text),
        };
        result.with_details(&details)
    }
}
