//! The services that follow OpenAI, each described by data.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::quirks::Quirks;

/// A service that follows OpenAI: where it is, and what it accepts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dialect {
    /// The name, which becomes the provider in the origin of messages.
    pub name: String,
    /// The address, as `https://api.example.com/v1`.
    pub base_url: String,
    /// The environment variable that holds the key by custom; nothing for servers of one's own.
    pub key_variable: Option<String>,
    /// What it accepts.
    pub quirks: Quirks,
    /// What it accepts for some models, the first that fits.
    pub models: Vec<ModelQuirks>,
}

/// What a service accepts for some models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelQuirks {
    /// Names of models, where `*` stands for any text.
    pub models: Vec<String>,
    /// What it accepts for them, whole.
    pub quirks: Quirks,
}

impl Dialect {
    /// Returns what the service accepts for a model.
    #[must_use]
    pub fn quirks_of(&self, model: &str) -> Quirks {
        quirks_of(self.quirks, &self.models, model)
    }
}

/// Returns the quirks of the first rule that fits a model.
pub(super) fn quirks_of(base: Quirks, rules: &[ModelQuirks], model: &str) -> Quirks {
    let fits = |rule: &&ModelQuirks| rule.models.iter().any(|it| matches(it, model));
    rules.iter().find(fits).map_or(base, |rule| rule.quirks)
}

/// Says whether a name fits a pattern in which `*` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        match rest.split_once(piece) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    true
}

/// A table of dialects, by name.
///
/// ```
/// use phi_provider::openai_chat::{Dialects, OpenAiChat};
///
/// let mine = r#"{"version": 1, "dialects": [{
///     "name": "mine",
///     "base_url": "http://localhost:9000/v1",
///     "quirks": {"output_limit": "max_tokens", "tool_images": "in_result"},
///     "models": [{"models": ["small-*"], "quirks": {"images": "refused"}}]
/// }]}"#;
/// let dialects = Dialects::builtin().with_json(mine)?;
/// let dialect = dialects.get("mine").unwrap();
/// let wire = OpenAiChat::dialect(dialect);
/// # assert_ne!(dialect.quirks_of("small-1"), dialect.quirks_of("big-1"));
/// # Ok::<(), phi_provider::openai_chat::DialectError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dialects {
    all: Vec<Dialect>,
}

/// Says why a table of dialects cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialectError {
    /// The file cannot be read.
    #[error("the dialects in {path} cannot be read: give the path of a readable file")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is no table of dialects.
    #[error("the dialects are not what they should be: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A later version of phi wrote the table.
    #[error("the dialects have version {found}: this version of phi reads version 1")]
    Version {
        /// The version that was found.
        found: u64,
    },
    /// The quirks of a dialect are not what they should be.
    #[error("the quirks of dialect `{dialect}` are not what they should be: {source}")]
    Quirks {
        /// The dialect.
        dialect: String,
        /// Which field, and what it may be.
        source: serde_json::Error,
    },
}

/// The table as a file holds it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table<'a> {
    version: u64,
    /// The rows, which are read once the version is known.
    #[serde(borrow)]
    dialects: &'a RawValue,
}

/// A dialect as a file holds it: quirks are what differs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    base_url: String,
    #[serde(default)]
    key_variable: Option<String>,
    #[serde(default)]
    quirks: Map<String, Value>,
    #[serde(default)]
    models: Vec<ModelRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelRow {
    models: Vec<String>,
    quirks: Map<String, Value>,
}

impl Row {
    fn dialect(self) -> Result<Dialect, DialectError> {
        let read = |fields: Map<String, Value>| {
            serde_json::from_value(Value::Object(fields)).map_err(|source| DialectError::Quirks {
                dialect: self.name.clone(),
                source,
            })
        };
        let mut models = Vec::with_capacity(self.models.len());
        for row in self.models {
            let mut fields = self.quirks.clone();
            fields.extend(row.quirks);
            models.push(ModelQuirks {
                models: row.models,
                quirks: read(fields)?,
            });
        }
        Ok(Dialect {
            quirks: read(self.quirks.clone())?,
            name: self.name,
            base_url: self.base_url,
            key_variable: self.key_variable,
            models,
        })
    }
}

impl Dialects {
    /// Returns the dialects that phi knows. What they say is in `docs/dialects.md`.
    #[must_use]
    pub fn builtin() -> Self {
        static BUILTIN: OnceLock<Dialects> = OnceLock::new();
        let read = || Self::from_json(include_str!("dialects.json"));
        BUILTIN
            .get_or_init(|| read().expect("a test reads the table"))
            .clone()
    }

    /// Reads a table: `{"version": 1, "dialects": […]}`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_json(json: &str) -> Result<Self, DialectError> {
        Self::default().with_json(json)
    }

    /// Adds the dialects of a table; one of a name that is known replaces it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn with_json(mut self, json: &str) -> Result<Self, DialectError> {
        let table: Table<'_> = serde_json::from_str(json)?;
        if table.version != 1 {
            let found = table.version;
            return Err(DialectError::Version { found });
        }
        let dialects: Vec<Row> = serde_json::from_str(table.dialects.get())?;
        for row in dialects {
            let dialect = row.dialect()?;
            self.all.retain(|known| known.name != dialect.name);
            self.all.push(dialect);
        }
        Ok(self)
    }

    /// Adds the dialects of a file, as [`Dialects::with_json`] does. It reads the file at once.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn with_file(self, path: &Path) -> Result<Self, DialectError> {
        let json = std::fs::read_to_string(path).map_err(|source| DialectError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        self.with_json(&json)
    }

    /// Returns the dialect of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Dialect> {
        self.all.iter().find(|dialect| dialect.name == name)
    }

    /// Iterates over the dialects in the order of the table.
    pub fn iter(&self) -> impl Iterator<Item = &Dialect> {
        self.all.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "a", true),
            ("a*", "abc", true),
            ("*b", "aab", true),
            ("*b", "ba", false),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abde", false),
            ("*", "", true),
            ("", "a", false),
            ("*a*", "bab", true),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
