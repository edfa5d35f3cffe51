//! Says what arguments a tool takes and what is wrong with those it got.

use std::fmt::Write as _;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use phi_types::{InvalidArguments, RawJson};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use crate::text;

/// How many mistakes one error names.
const MISTAKES_MAX: usize = 5;
/// The longest description of one mistake, in bytes.
const MISTAKE_BYTES_MAX: usize = 300;

/// Says why a tool cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTool {
    /// The name is not one that every provider accepts.
    #[error("tool name {given:?} is not valid: use 1 to 64 characters of A-Z a-z 0-9 _ -")]
    Name {
        /// The first characters of the name.
        given: String,
    },
    /// The name is that of a tool which is added.
    #[error("tool name {tool} is taken: rename the tool")]
    Taken {
        /// The name.
        tool: String,
    },
    /// The schema does not describe a JSON object.
    #[error(
        "the arguments of tool {tool} must be a JSON object: derive its schema from a struct with named fields"
    )]
    NotAnObject {
        /// The tool.
        tool: String,
    },
    /// The schema is none.
    #[error("the schema of tool {tool} is not valid: {reason}")]
    Schema {
        /// The tool.
        tool: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// The schema of a tool's arguments, ready to check some.
#[derive(Debug)]
pub(crate) struct Schema {
    json: RawJson,
    validator: Validator,
    summary: String,
}

impl Schema {
    /// Derives the schema of an argument type, with subschemas in place.
    pub(crate) fn of<A: JsonSchema>(tool: &str) -> Result<Self, InvalidTool> {
        let accepted = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if tool.is_empty() || tool.len() > 64 || !tool.chars().all(accepted) {
            return Err(InvalidTool::Name {
                given: tool.chars().take(64).collect(),
            });
        }
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        });
        let mut schema = settings.into_generator().into_root_schema_for::<A>();
        schema.remove("title");
        schema.remove("description");
        let mut value = schema.to_value();
        remove_number_formats(&mut value);
        let invalid = |reason: &dyn std::fmt::Display| InvalidTool::Schema {
            tool: tool.to_owned(),
            reason: reason.to_string(),
        };
        let fields = value
            .as_object_mut()
            .filter(|fields| fields.get("type").and_then(Value::as_str) == Some("object"))
            .ok_or_else(|| InvalidTool::NotAnObject {
                tool: tool.to_owned(),
            })?;
        fields
            .entry("properties")
            .or_insert_with(|| Value::Object(Map::new()));
        let validator = jsonschema::validator_for(&value).map_err(|error| invalid(&error))?;
        Ok(Self {
            json: RawJson::from_value(&value).map_err(|error| invalid(&error))?,
            validator,
            summary: summary(tool, &value),
        })
    }

    /// Returns the schema for the model.
    pub(crate) fn json(&self) -> &RawJson {
        &self.json
    }

    /// Checks arguments; the error names each field that is wrong and what would be right.
    pub(crate) fn check(&self, arguments: &RawJson) -> Result<(), InvalidArguments> {
        let value: Value = arguments.read().map_err(|error| self.refuse(&error))?;
        if self.validator.is_valid(&value) {
            return Ok(());
        }
        let mut text = String::new();
        let mut errors = self.validator.iter_errors(&value);
        for error in errors.by_ref().take(MISTAKES_MAX) {
            let separator = if text.is_empty() { "" } else { "; " };
            text.push_str(separator);
            text.push_str(text::cut(&mistake(&error), MISTAKE_BYTES_MAX));
        }
        let more = errors.take(1_000).count();
        if more > 0 {
            write!(text, "; and {more} more").unwrap_or_default();
        }
        Err(self.refuse(&text))
    }

    /// Says what is wrong, and what the tool takes.
    pub(crate) fn refuse(&self, what: &dyn std::fmt::Display) -> InvalidArguments {
        InvalidArguments(format!("{what}: {}", self.summary))
    }
}

fn mistake(error: &ValidationError<'_>) -> String {
    let at = field(error.instance_path().as_str());
    let field = |name: &str| match at.is_empty() {
        true => name.to_owned(),
        false => format!("{at}.{name}"),
    };
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            format!("`{}` is missing", field(property.as_str().unwrap_or("?")))
        }
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let names: Vec<_> = unexpected
                .iter()
                .take(MISTAKES_MAX)
                .map(|name| format!("`{}`", field(text::cut(name, 64))))
                .collect();
            format!("{} is not known", names.join(", "))
        }
        _ => {
            let what = error.masked_with("the value").to_string();
            let given = error.instance().to_string();
            let given = match given.len() {
                0..=80 => given,
                _ => format!("{}...", text::cut(&given, 80)),
            };
            match at.is_empty() {
                true => what,
                false => format!("`{at}`: {what} (given: {given})"),
            }
        }
    }
}

/// Writes a JSON pointer as `edits[0].old_text`.
fn field(pointer: &str) -> String {
    let mut path = String::new();
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        match step.parse::<usize>() {
            Ok(index) => write!(path, "[{index}]").unwrap_or_default(),
            Err(_) if path.is_empty() => path.push_str(&step),
            Err(_) => {
                path.push('.');
                path.push_str(&step);
            }
        }
    }
    text::cut(&path, 128).to_owned()
}

/// Writes numbers such as `2.0` as `2`: JSON Schema takes both for integers.
pub(crate) fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let whole = number.as_f64().filter(|it| it.fract() == 0.0);
            // Beyond this, a float does not say which integer is meant.
            if let Some(whole) = whole.filter(|it| it.abs() <= 9_007_199_254_740_992.0)
                && let Ok(integer) = format!("{whole:.0}").parse::<i64>()
            {
                *number = integer.into();
            }
        }
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// `format: uint64` says nothing to a model, and some providers refuse formats they do not know.
fn remove_number_formats(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let of_number = |it: &Value| {
                it.as_str()
                    .is_some_and(|format| format.starts_with("uint") || format.starts_with("int"))
            };
            if fields.get("format").is_some_and(of_number) {
                fields.remove("format");
            }
            fields.values_mut().for_each(remove_number_formats);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_number_formats),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// `read_file takes {path: string, offset?: integer, limit?: integer}`.
fn summary(tool: &str, schema: &Value) -> String {
    format!("{tool} takes {}", shape(schema, 3))
}

fn shape(schema: &Value, depth: u8) -> String {
    let one = |name: &str| match name {
        "object" if depth > 0 => object_shape(schema, depth - 1),
        "array" if depth > 0 => match schema.get("items") {
            Some(items) => format!("[{}]", shape(items, depth - 1)),
            None => "array".to_owned(),
        },
        other => other.to_owned(),
    };
    match schema.get("type") {
        Some(Value::String(name)) => one(name),
        Some(Value::Array(names)) => {
            let names = names.iter().filter_map(Value::as_str);
            let shapes: Vec<_> = names.filter(|name| *name != "null").map(one).collect();
            shapes.join(" or ")
        }
        _ => "value".to_owned(),
    }
}

fn object_shape(schema: &Value, depth: u8) -> String {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return "object".to_owned();
    };
    let required = schema.get("required").and_then(Value::as_array);
    let is_required =
        |name: &str| required.is_some_and(|names| names.iter().any(|it| it.as_str() == Some(name)));
    let (needed, optional): (Vec<_>, Vec<_>) =
        properties.iter().partition(|(name, _)| is_required(name));
    let fields: Vec<_> = needed
        .into_iter()
        .chain(optional)
        .map(|(name, schema)| {
            let mark = if is_required(name) { "" } else { "?" };
            format!("{name}{mark}: {}", shape(schema, depth))
        })
        .collect();
    format!("{{{}}}", fields.join(", "))
}
