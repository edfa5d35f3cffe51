//! Writes the body of a request.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use phi_types::{Options, RawJson, Request, Thinking, ToolChoice, ToolSpec};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::json;

use super::OpenAiChat;
use super::messages::{ChatWriter, rules};
use super::quirks::{OutputLimit, Quirks, StreamUsage};
use crate::object::{Object, push_string};
use crate::surrogates::without_lone_surrogates;
use crate::translate::{Loss, Reader};
use crate::wire::{Delivery, EncodeError, Wire};

/// A body in chunks, and what was lost of the conversation.
pub(super) type Body = (Vec<Bytes>, Vec<Loss>);

/// Writes the body of a request.
///
/// `messages` is the last field, so that a conversation that only grew gives a body whose beginning
/// did not change.
pub(super) fn body(wire: &OpenAiChat, request: &Request) -> Result<Body, EncodeError> {
    let quirks = wire.quirks;
    let mut fields = Object::default();
    options(&mut fields, request, quirks, wire.delivery).map_err(|error| unwritable(0, &error))?;
    if !request.tools.is_empty() {
        let tools = request.tools.iter().map(Tool::of);
        let tools: Vec<Tool<'_>> = tools.collect::<Result<_, _>>()?;
        let added = add(&mut fields, "tools", &tools);
        added.map_err(|error| unwritable(0, &error))?;
    }
    if let Some(extra) = &request.options.extra {
        let extra = Object::read(extra.as_str()).map_err(|_| EncodeError::ExtraNotAnObject {
            found: kind_of(extra),
        })?;
        for (name, value) in extra.into_fields() {
            let value = without_lone_surrogates(&value).into_owned();
            fields.set(&name, value);
        }
    }
    let given = fields.remove("messages");
    let mut head = beginning(fields);
    if let Some(messages) = given {
        let chunks = vec![Bytes::from(head + &messages + "}")];
        return Ok((chunks, Vec::new()));
    }
    let writer = ChatWriter::new(quirks, !request.tools.is_empty());
    let system = writer.system(&request.system);
    let reader = Reader {
        identity: wire.identity(),
        model: &request.model,
    };
    let view = wire.views.write(request, reader, &rules(quirks), writer);
    if view.json.is_empty() {
        return Err(EncodeError::NothingToSend);
    }
    head.push('[');
    if system.position() > 0 {
        head.push_str(&system.into_string());
        head.push(',');
    }
    let mut chunks = vec![Bytes::from(head)];
    chunks.extend(view.json.into_chunks());
    chunks.push(Bytes::from_static(b"]}"));
    Ok((chunks, view.losses))
}

fn add<T: Serialize + ?Sized>(
    fields: &mut Object<'_>,
    name: &str,
    value: &T,
) -> serde_json::Result<()> {
    fields.set(name, serde_json::to_string(value)?);
    Ok(())
}

fn add_some<T: Serialize>(
    fields: &mut Object<'_>,
    name: &str,
    value: Option<T>,
) -> serde_json::Result<()> {
    value.map_or(Ok(()), |value| add(fields, name, &value))
}

fn options(
    fields: &mut Object<'_>,
    request: &Request,
    quirks: Quirks,
    delivery: Delivery,
) -> serde_json::Result<()> {
    let options = &*request.options;
    let is_streamed = delivery == Delivery::Streamed;
    add(fields, "model", &*request.model)?;
    add(fields, "stream", &is_streamed)?;
    if is_streamed && quirks.stream_usage == StreamUsage::Asked {
        add(fields, "stream_options", &json!({"include_usage": true}))?;
    }
    let limit = match quirks.output_limit {
        OutputLimit::MaxCompletionTokens => "max_completion_tokens",
        OutputLimit::MaxTokens => "max_tokens",
    };
    add_some(fields, limit, options.output_tokens_max)?;
    add_some(fields, "temperature", options.temperature)?;
    add_some(fields, "top_p", options.top_p)?;
    if !options.stop_sequences.is_empty() {
        add(fields, "stop", &options.stop_sequences)?;
    }
    add_some(fields, "reasoning_effort", effort(options))?;
    if !request.tools.is_empty() {
        add_some(
            fields,
            "tool_choice",
            options.tool_choice.as_ref().map(Choice::of),
        )?;
        add_some(fields, "parallel_tool_calls", options.parallel_tool_calls)?;
    }
    Ok(())
}

/// The protocol has words for the amount of reasoning, no budget.
fn effort(options: &Options) -> Option<&'static str> {
    match options.thinking? {
        Thinking::Off | Thinking::BudgetTokens(0) => Some("none"),
        Thinking::Adaptive => None,
        Thinking::Low | Thinking::BudgetTokens(1..=4_096) => Some("low"),
        Thinking::Medium | Thinking::BudgetTokens(4_097..=16_384) => Some("medium"),
        Thinking::High | Thinking::BudgetTokens(_) => Some("high"),
    }
}

/// `tool_choice`: a word, or the one tool that must be called.
#[derive(Debug)]
enum Choice<'r> {
    Word(&'static str),
    Tool(&'r str),
}

impl<'r> Choice<'r> {
    fn of(choice: &'r ToolChoice) -> Self {
        match choice {
            ToolChoice::Auto => Self::Word("auto"),
            ToolChoice::None => Self::Word("none"),
            ToolChoice::Required => Self::Word("required"),
            ToolChoice::Tool(name) => Self::Tool(name),
        }
    }
}

impl Serialize for Choice<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Word(word) => serializer.serialize_str(word),
            Self::Tool(name) => {
                let mut fields = serializer.serialize_map(Some(2))?;
                fields.serialize_entry("type", "function")?;
                fields.serialize_entry("function", &BTreeMap::from([("name", name)]))?;
                fields.end()
            }
        }
    }
}

#[derive(Debug, serde::Serialize)]
struct Tool<'r> {
    #[serde(rename = "type")]
    kind: &'static str,
    function: Function<'r>,
}

#[derive(Debug, serde::Serialize)]
struct Function<'r> {
    name: &'r str,
    description: &'r str,
    parameters: RawJson,
}

impl<'r> Tool<'r> {
    fn of(spec: &'r ToolSpec) -> Result<Self, EncodeError> {
        let not_an_object = || EncodeError::SchemaNotAnObject {
            tool: spec.name.to_string(),
        };
        if !spec.input_schema.is_object() {
            return Err(not_an_object());
        }
        let parameters = match without_lone_surrogates(spec.input_schema.as_str()) {
            Cow::Borrowed(_) => spec.input_schema.clone(),
            Cow::Owned(json) => RawJson::parse(&json).map_err(|_| not_an_object())?,
        };
        Ok(Self {
            kind: "function",
            function: Function {
                name: &spec.name,
                description: &spec.description,
                parameters,
            },
        })
    }
}

/// Writes the fields before the messages.
fn beginning(fields: Object<'_>) -> String {
    let mut beginning = String::from("{");
    for (name, json) in fields.into_fields() {
        push_string(&mut beginning, &name);
        beginning.push(':');
        beginning.push_str(&json);
        beginning.push(',');
    }
    beginning.push_str("\"messages\":");
    beginning
}

fn unwritable(index: usize, error: &serde_json::Error) -> EncodeError {
    EncodeError::Unwritable {
        index,
        reason: error.to_string(),
    }
}

fn kind_of(json: &RawJson) -> &'static str {
    match json.as_str().trim_start().bytes().next() {
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}
