//! The file of a recording: a line of JSON for each exchange.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};
use serde_json::{Value, json};

use super::CassetteError;
use crate::transport::TransportError;
use crate::wire::HttpRequest;

/// What the first line of a file says.
const FORMAT: &str = "phi-cassette";
const VERSION: u32 = 1;

#[derive(serde::Serialize, serde::Deserialize)]
struct First {
    format: String,
    version: u32,
}

/// One request and what came of it.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Exchange {
    pub(super) request: Asked,
    pub(super) answer: Answer,
}

/// A request without what is secret.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) url: String,
    headers: Vec<(String, String)>,
    pub(super) body: Blob,
}

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    Response {
        status: u16,
        headers: Vec<(String, String)>,
        chunks: Vec<Blob>,
        end: End,
    },
    Failed(Failure),
}

/// How a body ended.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum End {
    Closed,
    /// Nobody read on.
    Left,
    Broken(String),
}

/// Why there was no answer.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Failure {
    Connect { host: String, reason: String },
    ConnectTimeout { host: String, after_ms: u64 },
    Broken { host: String, reason: String },
}

impl Failure {
    /// Takes a failure of the network; others are of this machine and are not recorded.
    pub(super) fn of(error: &TransportError) -> Option<Self> {
        match error.clone() {
            TransportError::Connect { host, reason } => Some(Self::Connect { host, reason }),
            TransportError::Broken { host, reason } => Some(Self::Broken { host, reason }),
            TransportError::ConnectTimeout { host, after } => Some(Self::ConnectTimeout {
                host,
                after_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
            }),
            TransportError::Address { .. }
            | TransportError::Header { .. }
            | TransportError::Client { .. }
            | TransportError::Recording(_) => None,
        }
    }

    pub(super) fn error(self) -> TransportError {
        match self {
            Self::Connect { host, reason } => TransportError::Connect { host, reason },
            Self::Broken { host, reason } => TransportError::Broken { host, reason },
            Self::ConnectTimeout { host, after_ms } => TransportError::ConnectTimeout {
                host,
                after: Duration::from_millis(after_ms),
            },
        }
    }
}

impl Exchange {
    pub(super) fn of(request: &HttpRequest, answer: Answer) -> Self {
        let headers = request.headers.iter();
        let headers = headers.map(|(name, value)| ((*name).to_owned(), value.clone()));
        Self {
            request: Asked {
                method: request.method.to_owned(),
                url: request.url.clone(),
                headers: headers.collect(),
                body: Blob(request.body_bytes()),
            },
            answer,
        }
    }

    /// Returns the host that was asked.
    pub(super) fn host(&self) -> String {
        crate::http_scrub::host_of(&self.request.url).to_owned()
    }
}

/// Bytes: text as it is, and anything else as hexadecimal digits.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Blob(pub(super) Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let digits: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
                json!({"hex": digits}).serialize(serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if let Value::String(text) = value {
            return Ok(Self(text.into_bytes()));
        }
        let digits = value.get("hex").and_then(Value::as_str);
        let bytes = digits.and_then(of_hex);
        bytes
            .map(Self)
            .ok_or_else(|| D::Error::custom("bytes are a text, or an object with the field `hex`"))
    }
}

fn of_hex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair)
            .ok()
            .filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    };
    pairs.map(byte).collect()
}

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<Vec<Exchange>, CassetteError> {
    let unreadable = |reason: String| CassetteError::Unreadable {
        path: path.display().to_string(),
        reason,
    };
    let text = fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    let mut lines = text.lines().enumerate();
    let first = lines.next().map(|(_, line)| line).unwrap_or_default();
    let first: First = serde_json::from_str(first)
        .map_err(|_| unreadable("line 1: it does not say that it is a recording".to_owned()))?;
    if first.format != FORMAT || first.version != VERSION {
        let (format, version) = (first.format, first.version);
        return Err(unreadable(format!(
            "line 1: it is `{format}` of version {version}, and `{FORMAT}` of version {VERSION} \
             is known"
        )));
    }
    let exchanges = lines.filter(|(_, line)| !line.trim().is_empty());
    let exchanges = exchanges.map(|(at, line)| {
        serde_json::from_str(line).map_err(|error| unreadable(format!("line {}: {error}", at + 1)))
    });
    exchanges.collect()
}

/// What was recorded so far.
#[derive(Debug)]
pub(super) struct Tape {
    path: PathBuf,
    /// In the order in which requests were sent.
    exchanges: Vec<Option<Exchange>>,
    error: Option<CassetteError>,
}

impl Tape {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            exchanges: Vec::new(),
            error: None,
        }
    }

    pub(super) fn outcome(&self) -> Result<(), CassetteError> {
        self.error.clone().map_or(Ok(()), Err)
    }

    pub(super) fn fail(&mut self, error: CassetteError) {
        self.error.get_or_insert(error);
    }

    /// Makes room for an exchange that begins.
    pub(super) fn slot(&mut self) -> usize {
        self.exchanges.push(None);
        self.exchanges.len() - 1
    }

    /// Stores an exchange that is over, and replaces the file.
    pub(super) fn store(&mut self, slot: usize, exchange: Exchange) {
        if let Some(it) = self.exchanges.get_mut(slot) {
            *it = Some(exchange);
        }
        if let Err(error) = self.write() {
            let path = self.path.display().to_string();
            let reason = error.to_string();
            self.fail(CassetteError::Unwritable { path, reason });
        }
    }

    fn write(&self) -> io::Result<()> {
        let first = First {
            format: FORMAT.to_owned(),
            version: VERSION,
        };
        let mut lines = serde_json::to_vec(&first)?;
        lines.push(b'\n');
        for exchange in self.exchanges.iter().flatten() {
            serde_json::to_writer(&mut lines, exchange)?;
            lines.push(b'\n');
        }
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let beside = format!(".{name}.{}.part", std::process::id());
        let beside = self.path.with_file_name(beside);
        let mut file = File::create(&beside)?;
        file.write_all(&lines)?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)
    }
}
