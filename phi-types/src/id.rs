//! Names of sessions, loops, effects and queue entries, validated where they come in.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

/// Says why a string is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {given:?} is not valid: use 1 to {max} characters of {allowed}")]
pub struct InvalidId {
    /// The kind of id that was asked for, as `session id`.
    pub what: &'static str,
    /// The first characters of what was given.
    pub given: String,
    /// The longest length that is accepted, in bytes.
    pub max: usize,
    /// The characters that are accepted, in words.
    pub allowed: &'static str,
}

macro_rules! id {
    ($(#[$meta:meta])* $name:ident, $what:literal, $max:literal, $allowed:literal, $accept:expr) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Validates a string.
            ///
            /// # Errors
            /// [`InvalidId`] names the characters and the length that are accepted.
            pub fn new(id: &str) -> Result<Self, InvalidId> {
                let accept: fn(usize, char) -> bool = $accept;
                let fits = !id.is_empty() && id.len() <= $max;
                if fits && id.char_indices().all(|(at, c)| accept(at, c)) {
                    return Ok(Self(Arc::from(id)));
                }
                Err(InvalidId {
                    what: $what,
                    given: id.chars().take(64).collect(),
                    max: $max,
                    allowed: $allowed,
                })
            }

            /// Returns the id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(id: &str) -> Result<Self, InvalidId> {
                Self::new(id)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let id = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::new(&id).map_err(serde::de::Error::custom)
            }
        }
    };
}

id! {
    /// Names a session: one conversation or task, one log, one writer.
    ///
    /// It is also the name of the session's folder in a store on files, so it holds no dot, no
    /// slash and no leading hyphen.
    SessionId, "session id", 128, "A-Z a-z 0-9 _ -, the first one not a hyphen",
    |at, c| c.is_ascii_alphanumeric() || c == '_' || (c == '-' && at > 0)
}

id! {
    /// Names a loop inside a session.
    ///
    /// [`LoopId::numbered`] makes the usual form, `{session}.{configuration}.{n}`. It is never
    /// parsed to find its session: the session id travels beside it.
    LoopId, "loop id", 288, "A-Z a-z 0-9 _ - .",
    |_, c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

id! {
    /// Names a configuration: the policy that a loop runs under.
    ConfigurationId, "configuration id", 128, "A-Z a-z 0-9 _ -",
    |_, c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

id! {
    /// Names one steering or follow-up message, chosen by whoever sends it: a repeat is accepted once.
    QueueId, "queue id", 128, "printable ASCII without spaces",
    |_, c| c.is_ascii_graphic()
}

impl LoopId {
    /// Makes the id `{session}.{configuration}.{n}`.
    #[must_use]
    pub fn numbered(session: &SessionId, configuration: &ConfigurationId, n: u32) -> Self {
        Self(Arc::from(format!("{session}.{configuration}.{n}")))
    }
}

/// Names one effect: the loop that asked for it and the `seq` of the event that announced it.
///
/// It is also the idempotency key of a tool call, together with the running session.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EffectId {
    /// The loop that asked.
    pub loop_id: LoopId,
    /// The `seq` of the announcing event in that loop.
    pub seq: u64,
}

impl fmt::Display for EffectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.loop_id, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_that_could_leave_its_folder_is_refused() {
        for bad in [
            "",
            "..",
            "a/b",
            "a\\b",
            "a.b",
            "-a",
            "a\0b",
            "a b",
            "ä",
            &"x".repeat(129),
        ] {
            assert!(SessionId::new(bad).is_err(), "{bad:?}");
        }
        assert!(SessionId::new(&"x".repeat(128)).is_ok());
        assert!(serde_json::from_str::<SessionId>("\"../up\"").is_err());
    }

    #[test]
    fn the_longest_numbered_loop_id_reads_back() {
        let session = SessionId::new(&"s".repeat(128)).unwrap();
        let configuration = ConfigurationId::new(&"c".repeat(128)).unwrap();
        let id = LoopId::numbered(&session, &configuration, u32::MAX);
        assert_eq!(LoopId::new(id.as_str()), Ok(id));
    }
}
