//! What the bodies of several protocols share: fields in order, tools as functions, and the fields
//! that a caller adds.

#[cfg(any(feature = "cohere", feature = "ollama"))]
use std::borrow::Cow;

#[cfg(any(feature = "cohere", feature = "ollama"))]
use bytes::Bytes;
use phi_types::Options;
#[cfg(any(feature = "cohere", feature = "ollama"))]
use phi_types::{RawJson, ToolSpec};
use serde::Serialize;

use crate::object::Object;
#[cfg(any(feature = "bedrock", feature = "cohere", feature = "ollama"))]
use crate::object::push_string;
use crate::surrogates::without_lone_surrogates;
use crate::view_writer::Output;
use crate::wire::EncodeError;

/// Sets a field to a value.
pub(crate) fn add<T: Serialize + ?Sized>(fields: &mut Object<'_>, name: &str, value: &T) {
    let mut out = Output::default();
    out.json(value);
    fields.set(name, out.into_string());
}

/// Sets a field, if there is a value.
pub(crate) fn add_some<T: Serialize>(fields: &mut Object<'_>, name: &str, value: Option<T>) {
    if let Some(value) = value {
        add(fields, name, &value);
    }
}

/// Reads the fields that join the body last.
pub(crate) fn extra_fields(options: &Options) -> Result<Object<'_>, EncodeError> {
    let Some(extra) = &options.extra else {
        return Ok(Object::default());
    };
    Object::read(extra.as_str()).map_err(|_| EncodeError::ExtraNotAnObject {
        found: match extra.as_str().trim_start().bytes().next() {
            Some(b'[') => "an array",
            Some(b'"') => "a string",
            Some(b't' | b'f') => "a boolean",
            Some(b'n') => "null",
            _ => "a number",
        },
    })
}

/// Lets fields replace those of the same name, and join the others.
pub(crate) fn join(fields: &mut Object<'_>, extra: Object<'_>) {
    for (name, value) in extra.into_fields() {
        let value = without_lone_surrogates(&value).into_owned();
        fields.set(&name, value);
    }
}

/// Writes an object up to the value of its last field, `messages`.
#[cfg(any(feature = "bedrock", feature = "cohere", feature = "ollama"))]
pub(crate) fn up_to_messages(fields: Object<'_>) -> String {
    let mut head = String::from("{");
    for (name, json) in fields.into_fields() {
        push_string(&mut head, &name);
        head.push(':');
        head.push_str(&json);
        head.push(',');
    }
    head.push_str("\"messages\":");
    head
}

#[cfg(any(feature = "cohere", feature = "ollama"))]
/// Makes the chunks of a body whose messages are its last field: what stands before them, the
/// system message, and the others.
pub(crate) fn chunks(mut head: String, system: Output, messages: Vec<Bytes>) -> Vec<Bytes> {
    head.push('[');
    if system.position() > 0 {
        head.push_str(&system.into_string());
        head.push(',');
    }
    let mut chunks = vec![Bytes::from(head)];
    chunks.extend(messages);
    chunks.push(Bytes::from_static(b"]}"));
    chunks
}

#[cfg(any(feature = "cohere", feature = "ollama"))]
/// A tool in the form that OpenAI gave it and that others took over.
#[derive(Debug, Serialize)]
pub(crate) struct FunctionTool<'r> {
    #[serde(rename = "type")]
    kind: &'static str,
    function: Function<'r>,
}

#[cfg(any(feature = "cohere", feature = "ollama"))]
#[derive(Debug, Serialize)]
struct Function<'r> {
    name: &'r str,
    description: &'r str,
    parameters: RawJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

#[cfg(any(feature = "cohere", feature = "ollama"))]
impl<'r> FunctionTool<'r> {
    /// Describes a tool.
    ///
    /// # Errors
    /// Its schema is not an object.
    pub(crate) fn of(spec: &'r ToolSpec) -> Result<Self, EncodeError> {
        let parameters = clean_object(&spec.input_schema);
        let parameters = parameters.ok_or_else(|| EncodeError::SchemaNotAnObject {
            tool: spec.name.to_string(),
        })?;
        Ok(Self {
            kind: "function",
            function: Function {
                name: &spec.name,
                description: &spec.description,
                parameters,
                strict: None,
            },
        })
    }

    /// Describes a tool whose calls follow its schema, where the schema can be made one that says
    /// all of it.
    ///
    /// # Errors
    /// Its schema is not an object.
    #[cfg(feature = "openai-chat")]
    pub(crate) fn strict(spec: &'r ToolSpec) -> Result<Self, EncodeError> {
        use crate::structured::{SchemaRule, sanitise};

        let mut tool = Self::of(spec)?;
        let strict = sanitise(&tool.function.parameters, &SchemaRule::STRICT);
        if strict.is_strict {
            tool.function.parameters = strict.schema;
            tool.function.strict = Some(true);
        }
        Ok(tool)
    }
}

#[cfg(any(feature = "cohere", feature = "ollama"))]
/// Returns an object without lone surrogates, unless it is none.
fn clean_object(json: &RawJson) -> Option<RawJson> {
    if !json.is_object() {
        return None;
    }
    match without_lone_surrogates(json.as_str()) {
        Cow::Borrowed(_) => Some(json.clone()),
        Cow::Owned(json) => RawJson::parse(&json).ok(),
    }
}
