//! Tools as functions, in the form that OpenAI gave them and that others took over.

use std::borrow::Cow;

use phi_types::{RawJson, ToolSpec};
use serde::Serialize;

use crate::surrogates::without_lone_surrogates;
use crate::wire::EncodeError;

/// A tool in the form that OpenAI gave it and that others took over.
#[derive(Debug, Serialize)]
pub(crate) struct FunctionTool<'r> {
    #[serde(rename = "type")]
    kind: &'static str,
    function: Function<'r>,
}

#[derive(Debug, Serialize)]
struct Function<'r> {
    name: &'r str,
    description: &'r str,
    parameters: RawJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

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
