//! Writes the body of a request.

use std::borrow::Cow;

use bytes::Bytes;
use phi_types::{RawJson, Request, ToolChoice, ToolSpec};

use super::OpenAiResponses;
use super::facts::json_string;
use super::input::{InputWriter, rules};
use super::options;
use super::quirks::{StructuredOutput, SystemPrompt};
use crate::object::Object;
use crate::request_body::{add, add_some, chunks, extra_fields, join, up_to};
use crate::structured::{OUTPUT_TOOL, OUTPUT_TOOL_DESCRIPTION, SchemaRule, sanitise};
use crate::surrogates::without_lone_surrogates;
use crate::translate::{Loss, Reader};
use crate::wire::{Delivery, EncodeError, Wire};

/// A body in chunks, and what was lost of the conversation.
type Body = (Vec<Bytes>, Vec<Loss>);

/// Writes the body of a request.
///
/// `input` is the last field, so that a conversation that only grew gives a body whose beginning
/// did not change.
pub(super) fn body(wire: &OpenAiResponses, request: &Request) -> Result<Body, EncodeError> {
    let quirks = wire.quirks;
    if !request.options.stop_sequences.is_empty() {
        return Err(EncodeError::Unsayable {
            protocol: OpenAiResponses::PROTOCOL,
            option: "stop_sequences",
            remedy: "leave them out, or ask the service by another protocol",
        });
    }
    let mut extra = extra_fields(&request.options)?;
    let mut fields = Object::default();
    add(&mut fields, "model", &*request.model);
    add(
        &mut fields,
        "stream",
        &(wire.delivery == Delivery::Streamed),
    );
    options::write(&mut fields, request, quirks);
    write_tools(&mut fields, &mut extra, wire, request)?;
    if quirks.system_prompt == SystemPrompt::Instructions && !request.system.is_empty() {
        add(&mut fields, "instructions", &*request.system);
    }
    append(&mut fields, &mut extra, "include");
    merge(&mut fields, &mut extra, "reasoning");
    merge(&mut fields, &mut extra, "text");
    join(&mut fields, extra);
    let given = fields.remove("input");
    let head = up_to(fields, "input");
    if let Some(input) = given {
        let chunks = vec![Bytes::from(head + &input + "}")];
        return Ok((chunks, Vec::new()));
    }
    let writer = InputWriter::new(quirks);
    let system = writer.system(&request.system);
    let reader = Reader {
        identity: wire.identity(),
        model: &request.model,
    };
    let view = wire.views.write(request, reader, &rules(quirks), writer);
    if view.json.is_empty() {
        return Err(EncodeError::NothingToSend);
    }
    let messages = view.json.into_chunks();
    Ok((chunks(head, system, messages), view.losses))
}

/// Writes the tools, those of the caller last, how they are called, and the form of the answer.
fn write_tools(
    fields: &mut Object<'_>,
    extra: &mut Object<'_>,
    wire: &OpenAiResponses,
    request: &Request,
) -> Result<(), EncodeError> {
    let options = &*request.options;
    let mut tools = Vec::new();
    for spec in &*request.tools {
        tools.push(tool_of(spec)?);
    }
    let mut choice = options.tool_choice.clone();
    if let Some(output) = &options.output {
        let by_tool = wire.quirks.structured_output == StructuredOutput::ToolBesideTools;
        if by_tool && !tools.is_empty() {
            let schema = clean(&output.schema);
            let description = OUTPUT_TOOL_DESCRIPTION;
            tools.push(function(OUTPUT_TOOL, description, &schema));
            choice = match choice {
                Some(ToolChoice::None) => Some(ToolChoice::Tool(OUTPUT_TOOL.to_owned())),
                Some(ToolChoice::Tool(name)) => Some(ToolChoice::Tool(name)),
                Some(ToolChoice::Auto | ToolChoice::Required) | None => Some(ToolChoice::Required),
            };
        } else {
            let Ok(schema) = RawJson::parse(&clean(&output.schema)) else {
                return Err(EncodeError::Unwritable {
                    index: 0,
                    reason: "the schema of the answer is no JSON".to_owned(),
                });
            };
            let sanitised = sanitise(&schema, &SchemaRule::STRICT);
            let (schema, strict) = if sanitised.is_strict {
                (sanitised.schema, true)
            } else {
                (schema, false)
            };
            let name = json_string(&output.name);
            let format = format!(
                "{{\"format\":{{\"type\":\"json_schema\",\"name\":{name},\"schema\":{schema},\"strict\":{strict}}}}}"
            );
            fields.set("text", format);
        }
    }
    if !tools.is_empty() {
        fields.set("tools", format!("[{}]", tools.join(",")));
    }
    append(fields, extra, "tools");
    if fields.field("tools").is_some() {
        let choice = choice.as_ref().map(options::tool_choice);
        add_some(fields, "tool_choice", choice);
        add_some(fields, "parallel_tool_calls", options.parallel_tool_calls);
    }
    Ok(())
}

fn tool_of(spec: &ToolSpec) -> Result<String, EncodeError> {
    if !spec.input_schema.is_object() {
        return Err(EncodeError::SchemaNotAnObject {
            tool: spec.name.to_string(),
        });
    }
    let schema = clean(&spec.input_schema);
    Ok(function(&spec.name, &spec.description, &schema))
}

/// Writes a tool. Without `strict` the service would change the schema, or refuse it.
fn function(name: &str, description: &str, schema: &str) -> String {
    let mut tool = Object::default();
    tool.set("type", "\"function\"");
    tool.set("name", json_string(name));
    if !description.is_empty() {
        tool.set("description", json_string(description));
    }
    tool.set("parameters", schema);
    tool.set("strict", "false");
    tool.text()
}

fn clean(schema: &RawJson) -> Cow<'_, str> {
    without_lone_surrogates(schema.as_str())
}

/// Appends the items of a list that the caller gives to those of the wire.
fn append(fields: &mut Object<'_>, extra: &mut Object<'_>, name: &str) {
    let inner = |list: &str| {
        Some(
            list.trim()
                .strip_prefix('[')?
                .strip_suffix(']')?
                .trim()
                .to_owned(),
        )
    };
    let given = extra.field(name).and_then(inner);
    let Some(given) = given else {
        return;
    };
    extra.remove(name);
    let own = fields.field(name).and_then(inner).unwrap_or_default();
    let comma = if own.is_empty() || given.is_empty() {
        ""
    } else {
        ","
    };
    let list = format!("[{own}{comma}{}]", without_lone_surrogates(&given));
    fields.set(name, list);
}

/// Lets the fields of an object that the caller gives join those of the wire.
fn merge(fields: &mut Object<'_>, extra: &mut Object<'_>, name: &str) {
    let own = fields.field(name).and_then(|own| Object::read(own).ok());
    let given = extra.field(name).and_then(|given| Object::read(given).ok());
    let (Some(mut own), Some(given)) = (own, given) else {
        return;
    };
    join(&mut own, given);
    let merged = own.text();
    extra.remove(name);
    fields.set(name, merged);
}
