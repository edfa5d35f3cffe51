//! Reads an answer in the form of a schema.

use phi_types::{AssistantMessage, AssistantPart, OutputSchema, StopReason};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::prune::without_nulls;

/// How many places that do not match one error names.
const PLACES_MAX: usize = 5;
/// The longest description of one of them, in bytes.
const PLACE_BYTES_MAX: usize = 300;

/// Says why an answer is not what its schema asks for, and holds the answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("the answer is not in the form `{name}`: {fault}")]
pub struct OutputError {
    /// The name of the form.
    pub name: String,
    /// What is wrong.
    pub fault: OutputFault,
    /// The answer, as to send it back with what is wrong.
    pub reply: Box<AssistantMessage>,
}

/// What is wrong with an answer that should have a form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutputFault {
    /// The schema itself is none.
    #[error("the schema is not valid: {reason}; correct it")]
    Schema {
        /// What is wrong with it.
        reason: String,
    },
    /// There is no text.
    #[error("it holds no text (the model stopped by {stopped:?}); ask again")]
    NoText {
        /// Why the model stopped.
        stopped: StopReason,
    },
    /// The model or a filter refused.
    #[error("the model refused ({stopped:?}); ask for something else")]
    Refused {
        /// Why the model stopped.
        stopped: StopReason,
    },
    /// The output ended before its end.
    #[error("it was cut off ({stopped:?}); allow more output tokens")]
    CutOff {
        /// Why the model stopped.
        stopped: StopReason,
    },
    /// The text is not JSON.
    #[error("its text is not JSON: {reason}; ask again")]
    NotJson {
        /// What is wrong, with line and column.
        reason: String,
    },
    /// The JSON does not match the schema.
    #[error("{}", listed(places))]
    Mismatch {
        /// The places that do not match, the first five.
        places: Vec<Mismatch>,
    },
    /// The JSON matches the schema and not the type that it is read into.
    #[error(
        "it matches its schema and not the type that it is read into: {reason}; derive one from the other"
    )]
    Type {
        /// What is wrong, with the place.
        reason: String,
    },
}

/// A place of an answer that does not match the schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at `{at}` {why}")]
pub struct Mismatch {
    /// The JSON pointer (RFC 6901) of the place; the whole answer is `` (empty).
    pub at: String,
    /// What does not match there.
    pub why: String,
}

/// Reads an answer that was asked for with [`phi_types::Options::output`], and checks it against
/// the schema.
///
/// The text may stand in a code fence, with words around it: not every service forces a form. A
/// property that is null counts as absent where the schema lets it be absent and not be null,
/// because strict modes require every property.
///
/// ```
/// use phi_provider::structured::read_output;
/// use phi_types::{AssistantMessage, AssistantPart, Origin, OutputSchema, RawJson};
/// use phi_types::{StopReason, TextPart, Usage};
///
/// let schema = RawJson::parse(r#"{"type":"object","properties":{"age":{"type":"integer"}}}"#)?;
/// let form = OutputSchema { name: "person".to_owned(), schema };
/// let mut reply = AssistantMessage {
///     parts: vec![AssistantPart::Text(TextPart::new("```json\n{\"age\": 7}\n```"))],
///     stop_reason: StopReason::EndTurn,
///     stop_reason_raw: None,
///     usage: Usage::default(),
///     origin: Origin::default(),
/// };
/// assert_eq!(read_output(&reply, &form)?, serde_json::json!({"age": 7}));
/// reply.parts = vec![AssistantPart::Text(TextPart::new(r#"{"age": "7"}"#))];
/// assert_eq!(
///     read_output(&reply, &form).unwrap_err().to_string(),
///     r#"the answer is not in the form `person`: at `/age` "7" is not of type "integer""#
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`OutputError`] says what is wrong and where, and holds the reply.
pub fn read_output(reply: &AssistantMessage, form: &OutputSchema) -> Result<Value, OutputError> {
    read(reply, form).map_err(|fault| failed(reply, form, fault))
}

/// Reads an answer as [`read_output`] does, into a type.
///
/// # Errors
/// [`OutputError`], also where the type wants what the schema does not.
pub fn read_output_as<T: DeserializeOwned>(
    reply: &AssistantMessage,
    form: &OutputSchema,
) -> Result<T, OutputError> {
    let value = read_output(reply, form)?;
    serde_json::from_value(value).map_err(|error| {
        let reason = error.to_string();
        failed(reply, form, OutputFault::Type { reason })
    })
}

fn failed(reply: &AssistantMessage, form: &OutputSchema, fault: OutputFault) -> OutputError {
    OutputError {
        name: form.name.clone(),
        fault,
        reply: Box::new(reply.clone()),
    }
}

fn read(reply: &AssistantMessage, form: &OutputSchema) -> Result<Value, OutputFault> {
    let stopped = reply.stop_reason;
    match stopped {
        StopReason::Refusal | StopReason::ContentFilter => {
            return Err(OutputFault::Refused { stopped });
        }
        StopReason::EndTurn
        | StopReason::ToolUse
        | StopReason::MaxTokens
        | StopReason::StopSequence
        | StopReason::PauseTurn
        | StopReason::ContextWindow
        | StopReason::Cancelled
        | StopReason::Other => {}
    }
    let schema: Value = form.schema.read().map_err(|error| schema_fault(&error))?;
    let validator = jsonschema::validator_for(&schema).map_err(|error| schema_fault(&error))?;
    let value = json_of(reply)?;
    if validator.is_valid(&value) {
        return Ok(value);
    }
    let pruned = without_nulls(value.clone(), &schema);
    if validator.is_valid(&pruned) {
        return Ok(pruned);
    }
    let places = validator.iter_errors(&value).take(PLACES_MAX);
    let places = places.map(|error| Mismatch {
        at: error.instance_path().as_str().to_owned(),
        why: cut(error.to_string()),
    });
    Err(OutputFault::Mismatch {
        places: places.collect(),
    })
}

fn schema_fault(error: &dyn std::fmt::Display) -> OutputFault {
    OutputFault::Schema {
        reason: cut(error.to_string()),
    }
}

/// Finds the JSON of an answer.
fn json_of(reply: &AssistantMessage) -> Result<Value, OutputFault> {
    let stopped = reply.stop_reason;
    let whole = reply.text();
    if whole.trim().is_empty() {
        return Err(match is_cut(stopped) {
            true => OutputFault::CutOff { stopped },
            false => OutputFault::NoText { stopped },
        });
    }
    let error = match serde_json::from_str(whole.trim()) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    let texts = reply.parts.iter().filter_map(|part| match part {
        AssistantPart::Text(part) => Some(part.text.trim()),
        AssistantPart::Thinking(_) | AssistantPart::ToolCall(_) | AssistantPart::Opaque(_) => None,
    });
    // What a model says last counts.
    let texts = texts.rev().filter(|text| !text.is_empty());
    for text in texts.chain([whole.trim()]) {
        let found = [Some(text), fenced(text)].into_iter().flatten();
        for candidate in found {
            if let Ok(value) = serde_json::from_str(candidate) {
                return Ok(value);
            }
        }
    }
    if is_cut(stopped) {
        return Err(OutputFault::CutOff { stopped });
    }
    // The place is told for the text that most likely was meant.
    let error = fenced(whole.trim())
        .and_then(|inner| serde_json::from_str::<Value>(inner).err())
        .unwrap_or(error);
    Err(OutputFault::NotJson {
        reason: error.to_string(),
    })
}

fn is_cut(stopped: StopReason) -> bool {
    matches!(
        stopped,
        StopReason::MaxTokens | StopReason::ContextWindow | StopReason::Cancelled
    )
}

/// Returns what stands in the last code fence of a text. A fence that is not closed goes to the end.
fn fenced(text: &str) -> Option<&str> {
    let mut last = None;
    let mut open = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let next = at + line.len();
        if line.trim_start().starts_with("```") {
            match open.take() {
                None => open = Some(next),
                Some(begin) => last = text.get(begin..at),
            }
        }
        at = next;
    }
    let unclosed = open.and_then(|begin| text.get(begin..));
    unclosed.or(last).map(str::trim)
}

fn listed(places: &[Mismatch]) -> String {
    let places: Vec<String> = places.iter().map(ToString::to_string).collect();
    places.join("; ")
}

fn cut(mut text: String) -> String {
    if text.len() > PLACE_BYTES_MAX {
        let end = (0..=PLACE_BYTES_MAX)
            .rev()
            .find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or_default());
        text.push_str("...");
    }
    text
}
