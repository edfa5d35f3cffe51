//! Approvals: the question whether a call may run, and the answers that hold for more than one call.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::json::RawJson;
use crate::tool::ToolCall;

/// Somebody is asked whether a call may run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApprovalRequested {
    /// The place of the call among the calls of its message, from 0.
    pub index: u32,
    /// The call as it would run: the answer is for exactly this.
    pub call: Arc<ToolCall>,
    /// What the person is told.
    pub question: String,
}

/// The question whether a call may run was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalResolved {
    /// The `seq` of the [`ApprovalRequested`].
    pub request: u64,
    /// The answer.
    pub approval: Approval,
    /// For how long it holds.
    #[serde(default, skip_serializing_if = "AnswerScope::is_once")]
    pub scope: AnswerScope,
}

/// The answer to the question whether a call may run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Approval {
    /// It may.
    Approved {},
    /// It may not.
    Denied {
        /// Why, for the model to read.
        reason: String,
    },
}

/// For how long an answer holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerScope {
    /// For this one call.
    #[default]
    Once,
    /// For every call of the session with the same [`CallHash`]: nobody is asked again.
    Session,
}

impl AnswerScope {
    fn is_once(&self) -> bool {
        *self == Self::Once
    }
}

/// Stands for a tool and its arguments: SHA-256 over the name, a zero byte and the arguments with
/// their keys sorted and no white space. It is written in 64 hexadecimal digits.
///
/// The same call has the same hash on every machine, however the model spaced and ordered its
/// arguments.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallHash([u8; 32]);

impl CallHash {
    /// Hashes a call of a tool with these arguments.
    #[must_use]
    pub fn new(tool: &str, arguments: &RawJson) -> Self {
        let mut hash = Sha256::new();
        hash.update(tool.as_bytes());
        hash.update([0]);
        match serde_json::from_str::<Value>(arguments.as_str()) {
            Ok(value) => hash.update(sorted(value).to_string()),
            // It is nested deeper than a reader goes: only the same text is the same call.
            Err(_) => hash.update(arguments.as_str()),
        }
        Self(hash.finalize().into())
    }

    /// Hashes a call; `None` for malformed arguments, with which nothing runs.
    #[must_use]
    pub fn of(call: &ToolCall) -> Option<Self> {
        Some(Self::new(&call.name, call.arguments.object()?))
    }
}

/// Sorts the keys of every object, whatever order the map of this build keeps.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<String, Value> = fields.into_iter().collect();
            let sorted = fields.into_iter().map(|(key, value)| (key, sorted(value)));
            Value::Object(sorted.collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        scalar @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => scalar,
    }
}

impl fmt::Display for CallHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CallHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallHash({self})")
    }
}

impl Serialize for CallHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CallHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let mut hash = [0; 32];
        let wrong = || serde::de::Error::custom("a call hash has 64 hexadecimal digits");
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Ok(Self(hash))
    }
}

/// The answers of a session that hold for more than one call, folded from its events.
///
/// A clone shares them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StickyAnswers {
    answers: Arc<BTreeMap<CallHash, Approval>>,
}

impl StickyAnswers {
    /// Returns what somebody answered for the whole session about such a call.
    #[must_use]
    pub fn of(&self, call: &ToolCall) -> Option<&Approval> {
        if self.answers.is_empty() {
            return None;
        }
        self.answers.get(&CallHash::of(call)?)
    }

    pub(crate) fn keep(&mut self, call: &ToolCall, approval: Approval) {
        if let Some(hash) = CallHash::of(call) {
            Arc::make_mut(&mut self.answers).insert(hash, approval);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(tool: &str, arguments: &str) -> CallHash {
        CallHash::new(tool, &RawJson::parse(arguments).unwrap())
    }

    #[test]
    fn a_call_has_one_hash_however_its_arguments_are_written() {
        let plain = hash("bash", r#"{"a":1,"b":{"c":[2],"d":"x"}}"#);
        let spaced = hash("bash", "{ \"b\": {\"d\":\"x\", \"c\":[2]},\n \"a\": 1 }");
        assert_eq!(plain, spaced);
        for other in [
            hash("bash2", r#"{"a":1,"b":{"c":[2],"d":"x"}}"#),
            hash("bash", r#"{"a":"1","b":{"c":[2],"d":"x"}}"#),
            hash("bash", r#"{"a":1,"b":{"c":[2,2],"d":"x"}}"#),
            hash("bash", "{}"),
        ] {
            assert_ne!(plain, other);
        }
    }

    #[test]
    fn a_hash_is_sha_256_in_hexadecimal_digits_and_reads_back() {
        let empty = hash("t", "{}");
        // printf 't\0{}' | sha256sum
        let digits = "c277c62dc4a00825f5e8ddbaf449c64e79a4f665924f450da81a9c31e7a392eb";
        assert_eq!(empty.to_string(), digits);
        let text = serde_json::to_string(&empty).unwrap();
        assert_eq!(serde_json::from_str::<CallHash>(&text).unwrap(), empty);
        for bad in ["\"\"", "\"zz\"", "\"+f\"", "7"] {
            assert!(serde_json::from_str::<CallHash>(bad).is_err(), "{bad}");
        }
        let signs = format!("\"{}\"", "+f".repeat(32));
        assert!(serde_json::from_str::<CallHash>(&signs).is_err());
    }
}
