//! A secret that a program prints.

use std::ffi::OsString;
use std::fmt;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use crate::credential::{CredentialError, Secret, usable};
use crate::http_credential::{Credential, CredentialSource, IssuedSecret};

/// The most bytes that a program may print.
const OUTPUT_BYTES_MAX: u64 = 64 << 10;

/// A program that prints a secret, as that of a password store does.
///
/// It runs without a shell, its input is empty, and nothing of what it prints is ever shown. White
/// space around the output is no part of the secret. It runs when a secret is first needed and when
/// a service refuses it, and it is killed when nobody waits for it any more.
///
/// ```
/// use phi_provider::{Credential, SecretCommand};
///
/// let command = SecretCommand::new("pass", ["show", "services/example"]);
/// let credential = Credential::refreshing(command);
/// ```
#[derive(Clone)]
pub struct SecretCommand {
    program: OsString,
    arguments: Vec<OsString>,
    timeout: Duration,
    reads: fn(secrecy::SecretString) -> Secret,
}

impl SecretCommand {
    /// Makes a source of keys.
    #[must_use]
    pub fn new<A: Into<OsString>>(
        program: impl Into<OsString>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        Self {
            program: program.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            timeout: Duration::from_secs(30),
            reads: Secret::Key,
        }
    }

    /// Takes what is printed as an access token, which travels as a bearer.
    #[must_use]
    pub fn as_token(self) -> Self {
        Self {
            reads: Secret::Token,
            ..self
        }
    }

    /// Sets how long the program may take. Default: 30 seconds.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    fn failed(&self, reason: impl fmt::Display) -> CredentialError {
        CredentialError::Command {
            program: self.program.to_string_lossy().into_owned(),
            reason: reason.to_string(),
        }
    }

    async fn run(&self) -> Result<String, CredentialError> {
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| self.failed(error))?;
        let mut output = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            let mut stdout = stdout.take(OUTPUT_BYTES_MAX + 1);
            let read = stdout.read_to_end(&mut output).await;
            read.map_err(|error| self.failed(error))?;
        }
        if u64::try_from(output.len()).is_ok_and(|length| length > OUTPUT_BYTES_MAX) {
            return Err(self.failed(format!("it printed more than {OUTPUT_BYTES_MAX} bytes")));
        }
        let status = child.wait().await.map_err(|error| self.failed(error))?;
        if !status.success() {
            return Err(self.failed(format!("it ended with {status}")));
        }
        String::from_utf8(output).map_err(|_| self.failed("it printed no text"))
    }
}

#[async_trait]
impl CredentialSource for SecretCommand {
    async fn secret(&self) -> Result<IssuedSecret, CredentialError> {
        let output = tokio::time::timeout(self.timeout, self.run()).await;
        let after = self.timeout;
        let output = output.map_err(|_| self.failed(format!("it took more than {after:?}")))??;
        let secret = usable(&output, "").map_err(|error| match error {
            CredentialError::Missing { .. } => self.failed("it printed nothing"),
            _ => self.failed("it printed a space, a line end or a character beyond ASCII within"),
        })?;
        Ok(IssuedSecret::new((self.reads)(secret)))
    }
}

impl From<SecretCommand> for Credential {
    fn from(command: SecretCommand) -> Self {
        Self::refreshing(command)
    }
}

impl fmt::Debug for SecretCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The arguments may hold what unlocks the secret.
        f.debug_struct("SecretCommand")
            .field("program", &self.program)
            .finish_non_exhaustive()
    }
}
