//! Reads cases from a folder, so that a recording is added by dropping a file.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::case::{Case, Expected};
use crate::wire::ResponseHead;

/// Says why a folder of cases cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaseError {
    /// A file cannot be read.
    #[error("cannot read {}", .path.display())]
    Unreadable {
        /// The file or the folder.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: std::io::Error,
    },
    /// What describes a body is not what it should be.
    #[error(
        "{} is no description of a case: give an object with `status`, `headers` and `expected`",
        .path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// The folder holds no body.
    #[error(
        "{} holds no recorded body: add files that end in .sse, .ndjson, .json, .bin, .html or .txt",
        .path.display()
    )]
    Empty {
        /// The folder.
        path: PathBuf,
    },
}

/// What a file `<name>.case.json` says of the body `<name>.<ending>`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Description {
    status: Option<u16>,
    headers: BTreeMap<String, String>,
    expected: Option<Expected>,
}

const DESCRIPTION: &str = ".case.json";

impl Case {
    /// Reads every recorded body of a folder, in the order of their names.
    ///
    /// A body is a file whose ending says its type: `.sse`, `.ndjson`, `.json`, `.bin` (a binary
    /// event stream of AWS), `.html` or `.txt`. Beside `hello.sse`, a file `hello.case.json` may
    /// state `status` (200 without it), `headers` and [`expected`](Expected):
    ///
    /// ```json
    /// {"status": 200, "expected": {"text": "Hi", "calls": [], "stop_reason": "end_turn"}}
    /// ```
    ///
    /// # Errors
    /// [`CaseError`] where the folder or a file cannot be read, or holds no body.
    pub fn read_dir(path: impl AsRef<Path>) -> Result<Vec<Self>, CaseError> {
        let folder = path.as_ref();
        let unreadable = |source| CaseError::Unreadable {
            path: folder.to_owned(),
            source,
        };
        let mut bodies = BTreeMap::new();
        for file in fs::read_dir(folder).map_err(unreadable)? {
            let path = file.map_err(unreadable)?.path();
            let ending = path.extension().and_then(OsStr::to_str).unwrap_or_default();
            let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
            if let Some(content_type) = content_type_of(ending)
                && !name.ends_with(DESCRIPTION)
            {
                bodies.insert(name.to_owned(), (path, content_type));
            }
        }
        if bodies.is_empty() {
            let path = folder.to_owned();
            return Err(CaseError::Empty { path });
        }
        let bodies = bodies.into_iter();
        bodies
            .map(|(name, (path, content_type))| read_case(name, &path, content_type))
            .collect()
    }
}

fn content_type_of(ending: &str) -> Option<&'static str> {
    Some(match ending {
        "sse" => "text/event-stream",
        "ndjson" => "application/x-ndjson",
        "json" => "application/json",
        "bin" => "application/vnd.amazon.eventstream",
        "html" => "text/html",
        "txt" => "text/plain",
        _ => return None,
    })
}

fn read_case(name: String, path: &Path, content_type: &str) -> Result<Case, CaseError> {
    let body = read(path)?;
    let described = path.with_extension("case.json");
    let description: Description = if described.exists() {
        let bytes = read(&described)?;
        serde_json::from_slice(&bytes).map_err(|source| CaseError::Malformed {
            path: described,
            source,
        })?
    } else {
        Description::default()
    };
    let mut head = ResponseHead::new(description.status.unwrap_or(200));
    for (name, value) in description.headers {
        head = head.with_header(name, value);
    }
    if head.header("content-type").is_none() {
        head = head.with_header("content-type", content_type);
    }
    let case = Case::new(name, body).with_head(head);
    Ok(match description.expected {
        Some(expected) => case.with_expected(expected),
        None => case,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, CaseError> {
    fs::read(path).map_err(|source| CaseError::Unreadable {
        path: path.to_owned(),
        source,
    })
}
