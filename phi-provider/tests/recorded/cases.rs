//! Reads the recordings.

use std::fs;
use std::path::{Path, PathBuf};

use phi_provider::ResponseHead;
use serde::Deserialize;
use serde_json::Value;

/// One recorded exchange of a case.
pub(crate) struct Turn {
    /// The folder and the id of the case, as `anthropic/rig--…`.
    pub(crate) case: String,
    /// The index of the turn in its case.
    pub(crate) index: usize,
    /// The path of the request, where it was recorded: some protocols name the model there.
    pub(crate) path: Option<String>,
    /// The body of the request, where it was recorded.
    pub(crate) request: Option<Value>,
    pub(crate) head: ResponseHead,
    /// The bytes of the response, framed.
    pub(crate) body: Vec<u8>,
    pub(crate) is_stream: bool,
    /// What the official SDK made of the stream.
    pub(crate) expected: Option<Value>,
}

impl Turn {
    /// Names the turn in messages.
    pub(crate) fn name(&self) -> String {
        format!("{} turn {}", self.case, self.index)
    }

    /// Reads the whole body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{}: {error}", self.name()))
    }
}

/// How a protocol's streams are framed again where a recording holds their payloads alone.
pub(crate) struct Framing {
    /// Whether an `event:` line repeats the `type` of the payload.
    pub(crate) names_events: bool,
    /// What ends a stream.
    pub(crate) last: &'static str,
}

#[derive(Deserialize)]
struct Row {
    id: String,
    dir: String,
    protocols: Vec<String>,
}

#[derive(Deserialize)]
struct CaseFile {
    turns: Vec<TurnFile>,
}

#[derive(Deserialize)]
struct TurnFile {
    protocol: String,
    response_file: String,
    response_encoding: String,
    status: Option<u16>,
    #[serde(default)]
    response_headers: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    request: Option<Recorded>,
}

#[derive(Deserialize)]
struct Recorded {
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    body: Option<Value>,
}

/// Reads every turn of a protocol, in the order of the index.
pub(crate) fn turns_of(protocol: &str, framing: &Framing) -> Vec<Turn> {
    let root = root();
    let rows: Vec<Row> = read(&root.join("index.json"));
    let mut turns = Vec::new();
    for row in rows {
        if !row.protocols.iter().any(|name| name == protocol) {
            continue;
        }
        let dir = root.join(&row.dir);
        let case: CaseFile = read(&dir.join(format!("{}.case.json", row.id)));
        let expected = dir.join(format!("{}.expected.json", row.id));
        let expected: Vec<Value> = if expected.exists() {
            read(&expected)
        } else {
            Vec::new()
        };
        for (index, turn) in case.turns.into_iter().enumerate() {
            if turn.protocol != protocol {
                continue;
            }
            let bytes = fs::read(dir.join(&turn.response_file)).unwrap();
            let chunks = turn.response_encoding == "chunks.jsonl";
            let mut head = ResponseHead::new(turn.status.unwrap_or(200));
            for (name, value) in turn.response_headers {
                head = head.with_header(name, value);
            }
            let oracle = expected.iter().find(|one| {
                one["turn"] == index && one["response_file"] == turn.response_file.as_str()
            });
            let (path, request) = turn.request.map_or((None, None), |it| (it.path, it.body));
            turns.push(Turn {
                case: format!("{}/{}", row.dir, row.id),
                index,
                path,
                request,
                head,
                body: if chunks {
                    reframe(&bytes, framing)
                } else {
                    bytes
                },
                is_stream: chunks
                    || matches!(&*turn.response_encoding, "sse" | "ndjson" | "eventstream"),
                expected: oracle.cloned(),
            });
        }
    }
    assert!(!turns.is_empty(), "no recordings of {protocol}");
    turns
}

/// Frames payloads, one per line, as the event stream that they were.
fn reframe(bytes: &[u8], framing: &Framing) -> Vec<u8> {
    let mut out = String::new();
    for line in std::str::from_utf8(bytes).unwrap().lines() {
        if line.trim().is_empty() {
            continue;
        }
        if framing.names_events {
            let payload: Value = serde_json::from_str(line).unwrap();
            out.push_str(&format!("event: {}\n", payload["type"].as_str().unwrap()));
        }
        out.push_str(&format!("data: {line}\n\n"));
    }
    out.push_str(framing.last);
    out.into_bytes()
}

/// Returns the folder of the recordings.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/wire")
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
