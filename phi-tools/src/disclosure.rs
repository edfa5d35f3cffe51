//! Shows a model little of each tool at first and the rest on demand.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use phi_types::{EffectClass, InvalidArguments, RawJson, Tool, ToolContext, ToolResult, ToolSpec};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::function::FunctionTool;
use crate::schema::InvalidTool;
use crate::text;

/// The tool that says the rest.
pub const TOOL_HELP: &str = "tool_help";

const HELP: &str = "Returns the full description of a tool and the schema of its arguments. The \
    descriptions of the other tools are shortened: ask for help before you use one for the first \
    time, unless what it takes is plain.";

/// The longest short description, in bytes.
const DESCRIPTION_BYTES_MAX: usize = 160;

/// How deep a short schema goes; further inside, anything is allowed.
const DEPTH_MAX: u8 = 3;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// The name of the tool.
    name: String,
}

/// Shortens what a model is shown of tools and adds `tool_help`, which tells the rest on demand.
///
/// A description shrinks to its first sentence, and a schema to the names and types of the
/// arguments; it never refuses what the full schema takes. Arguments are checked by the tool itself
/// and its full schema, and an error names `tool_help`. A tool that would not get shorter stays as
/// it is; where none does, nothing is added.
///
/// Every request is smaller by what is left out, and each help costs a turn and the full text of its
/// tool. With the six built-in tools a request holds 555 tokens of tools instead of 1,088, by
/// [`phi_types::EstimatedTokens`]; many tools with large schemas, as those of MCP servers, save more.
///
/// # Errors
/// [`InvalidTool::Taken`] where a tool is called `tool_help`.
pub fn disclosed(tools: Vec<Arc<dyn Tool>>) -> Result<Vec<Arc<dyn Tool>>, InvalidTool> {
    if tools.iter().any(|tool| *tool.spec().name == *TOOL_HELP) {
        let tool = TOOL_HELP.to_owned();
        return Err(InvalidTool::Taken { tool });
    }
    let full: BTreeMap<Arc<str>, ToolSpec> = tools
        .iter()
        .map(|tool| (Arc::clone(&tool.spec().name), tool.spec().clone()))
        .collect();
    let mut shortened = false;
    let brief = tools.into_iter().map(|inner| {
        let spec = brief(inner.spec());
        if spec == *inner.spec() {
            return inner;
        }
        shortened = true;
        Arc::new(Brief { spec, inner }) as Arc<dyn Tool>
    });
    let mut brief: Vec<Arc<dyn Tool>> = brief.collect();
    if shortened {
        let help = FunctionTool::new(TOOL_HELP, HELP, move |arguments: Arguments, _| {
            let help = help(&full, &arguments.name);
            async move { help }
        })?;
        brief.push(Arc::new(help.with_effect_class(EffectClass::Pure)));
    }
    Ok(brief)
}

fn help(full: &BTreeMap<Arc<str>, ToolSpec>, name: &str) -> ToolResult {
    let Some(spec) = full.get(name) else {
        let names: Vec<&str> = full.keys().map(|name| &**name).collect();
        return ToolResult::error(format!(
            "There is no tool named {:?}. The tools are: {}.",
            text::cut(name, 64),
            names.join(", ")
        ));
    };
    let ToolSpec {
        description,
        input_schema,
        ..
    } = spec;
    ToolResult::text(format!(
        "{name}: {description}\n\nThe schema of its arguments:\n{input_schema}"
    ))
}

/// A tool that is shown in brief and does what it always does.
struct Brief {
    spec: ToolSpec,
    inner: Arc<dyn Tool>,
}

#[async_trait]
impl Tool for Brief {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn validate(&self, arguments: &RawJson) -> Result<(), InvalidArguments> {
        self.inner.validate(arguments).map_err(|InvalidArguments(why)| {
            let name = &self.spec.name;
            InvalidArguments(format!(
                "{why}\nCall {TOOL_HELP} with {{\"name\": \"{name}\"}} to see all that {name} takes."
            ))
        })
    }

    async fn call(&self, arguments: RawJson, context: ToolContext) -> ToolResult {
        self.inner.call(arguments, context).await
    }
}

impl fmt::Debug for Brief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Brief")
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}

fn brief(spec: &ToolSpec) -> ToolSpec {
    let schema: Option<Value> = spec.input_schema.read().ok();
    let schema = schema.map(|schema| without_details(&schema, DEPTH_MAX));
    let schema = schema.and_then(|schema| RawJson::from_value(&schema).ok());
    ToolSpec {
        description: first_sentence(&spec.description).into(),
        input_schema: match schema {
            Some(schema) if schema.as_str().len() < spec.input_schema.as_str().len() => schema,
            Some(_) | None => spec.input_schema.clone(),
        },
        ..spec.clone()
    }
}

fn first_sentence(description: &str) -> String {
    let whole = description.trim();
    let line = whole.lines().next().unwrap_or_default().trim_end();
    // A dot inside "e.g. this" ends no sentence: a capital letter must follow.
    let ends = line.match_indices(". ").find(|(at, _)| {
        let next = line.get(at + 2..).and_then(|rest| rest.chars().next());
        next.is_some_and(|next| !next.is_lowercase())
    });
    let sentence = match ends {
        Some((at, _)) => line.get(..=at).unwrap_or(line),
        None => line,
    };
    if sentence.len() <= DESCRIPTION_BYTES_MAX {
        return sentence.to_owned();
    }
    let cut = text::cut(sentence, DESCRIPTION_BYTES_MAX - 3);
    let words = cut.rsplit_once(' ').map_or(cut, |(words, _)| words);
    format!("{words}...")
}

/// Keeps the names and types of a schema. Whatever is left out only allows more.
fn without_details(schema: &Value, depth: u8) -> Value {
    let Some(full) = schema.as_object() else {
        return schema.clone();
    };
    let mut brief = Map::new();
    for name in ["type", "enum", "required"] {
        if let Some(value) = full.get(name) {
            brief.insert(name.to_owned(), value.clone());
        }
    }
    let inner = |schema: &Value| match depth {
        0 => Value::Object(Map::new()),
        _ => without_details(schema, depth - 1),
    };
    if let Some(properties) = full.get("properties").and_then(Value::as_object) {
        let properties = properties
            .iter()
            .map(|(name, it)| (name.clone(), inner(it)));
        brief.insert("properties".to_owned(), properties.collect());
    }
    if let Some(items) = full.get("items") {
        brief.insert("items".to_owned(), inner(items));
    }
    // Names may be allowed by a pattern, which goes.
    let is_closed = full.get("additionalProperties") == Some(&Value::Bool(false));
    if is_closed && !full.contains_key("patternProperties") {
        brief.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    Value::Object(brief)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_description_shrinks_to_its_first_sentence() {
        let long = format!("Takes {}", "word ".repeat(100));
        for (full, short) in [
            ("Reads a file. Lines are numbered.", "Reads a file."),
            ("Reads e.g. a file. Then more.", "Reads e.g. a file."),
            ("Reads version 1.5 of it", "Reads version 1.5 of it"),
            ("Reads.\nMore.", "Reads."),
            ("", ""),
            ("  \n", ""),
        ] {
            assert_eq!(first_sentence(full), short);
        }
        let short = first_sentence(&long);
        assert!(short.len() <= DESCRIPTION_BYTES_MAX && short.ends_with("word..."));
        assert_eq!(
            first_sentence(&"\u{6f22}".repeat(100)).chars().last(),
            Some('.')
        );
    }

    #[test]
    fn what_the_full_schema_takes_the_short_one_takes() {
        let deep = json!({"type": "object", "properties": {"a": {"type": "object", "properties":
            {"b": {"type": "object", "properties": {"c": {"type": "object", "properties":
            {"d": {"type": "object", "properties": {"e": {"type": "string"}}}}}}}}}}});
        let cases = [
            (deep, json!({"a": {"b": {"c": {"d": {"e": "x"}}}}})),
            (
                json!({"type": "object", "additionalProperties": false,
                    "patternProperties": {"^x-": {"type": "string"}}, "properties": {}}),
                json!({"x-1": "y"}),
            ),
            (
                json!({"type": "object", "$defs": {"n": {"type": "integer"}},
                    "properties": {"n": {"$ref": "#/$defs/n"}, "m": {"anyOf":
                    [{"type": "string"}, {"type": "null"}]}}, "required": ["n"]}),
                json!({"n": 7, "m": null}),
            ),
            (json!(true), json!({"anything": 1})),
            (
                json!({"type": "object", "properties": {"all": true, "list":
                    {"type": "array", "items": true}}}),
                json!({"all": [1], "list": [1, "a"]}),
            ),
        ];
        for (schema, value) in cases {
            let brief = without_details(&schema, DEPTH_MAX);
            assert!(jsonschema::is_valid(&schema, &value), "{schema}");
            assert!(jsonschema::is_valid(&brief, &value), "{brief}");
            assert!(jsonschema::validator_for(&brief).is_ok());
        }
    }
}
