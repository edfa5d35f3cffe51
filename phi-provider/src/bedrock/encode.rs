//! Writes the body of a request.

use bytes::Bytes;
use phi_types::{Options, Request, ToolChoice, ToolSpec};
use serde_json::{Value, json};

use super::family::{CachePlaces, ModelFamily};
use super::messages::{BlockWriter, rules};
use super::thinking::{Reasoning, reasoning};
use super::{BedrockConverse, CachePoints, StructuredOutput};
use crate::object::{Object, push_string};
use crate::request_body::{add, add_some, chunks, extra_fields, join, up_to_messages};
use crate::structured::{OUTPUT_TOOL, OUTPUT_TOOL_DESCRIPTION, SchemaRule, sanitise};
use crate::surrogates::without_lone_surrogates;
use crate::translate::{Loss, Reader};
use crate::view_writer::Output;
use crate::wire::{EncodeError, Wire};

/// The name of the tool that stands for those that are not offered any more.
const PLACEHOLDER_TOOL: &str = "no_tool";

/// What is asked, and of whom.
#[derive(Debug, Clone, Copy)]
struct Asked<'a> {
    wire: &'a BedrockConverse,
    request: &'a Request,
    family: ModelFamily,
}

/// The items of `toolConfig.tools`, and what is said of them.
#[derive(Debug, Default)]
struct Tools {
    items: String,
    choice: Option<Value>,
    /// The model is forced to call one.
    forced: bool,
    /// What Claude alone understands: it may call none of them.
    forbidden: bool,
}

/// Writes the body of a request, what rarely changes first and the messages last.
pub(super) fn body(
    wire: &BedrockConverse,
    request: &Request,
) -> Result<(Vec<Bytes>, Vec<Loss>), EncodeError> {
    let options = &*request.options;
    let family = wire.family_of(&request.model);
    let mut extra = extra_fields(options)?;
    let given = extra.remove("messages");
    let reader = Reader {
        identity: wire.identity(),
        model: &request.model,
    };
    let rules = rules(family);
    let start = BlockWriter::new(family);
    let view = wire.views.write(request, reader, &rules, start);
    if given.is_none() && view.json.is_empty() {
        return Err(EncodeError::NothingToSend);
    }
    let places = match wire.cache {
        CachePoints::Off => CachePlaces::Nowhere,
        CachePoints::FiveMinutes | CachePoints::OneHour => family.cache_places(&request.model),
    };
    let cache_point = match wire.cache {
        CachePoints::OneHour if family.caches_for_an_hour(&request.model) => {
            "{\"cachePoint\":{\"type\":\"default\",\"ttl\":\"1h\"}}"
        }
        _ => "{\"cachePoint\":{\"type\":\"default\"}}",
    };
    // Tools of the service's own that join later are tools too.
    let wants_tools = view.writer.has_calls() && extra.field("toolConfig").is_none();
    let asked = Asked {
        wire,
        request,
        family,
    };
    let mut tools = tools(asked, wants_tools)?;
    if places == CachePlaces::ToolsSystemAndMessages && !tools.items.is_empty() {
        tools.items.push(',');
        tools.items.push_str(cache_point);
    }
    let mut fields = Object::default();
    option_fields(&mut fields, asked, &tools);
    tool_config(&mut fields, tools);
    if !request.system.trim().is_empty() {
        let point = (places != CachePlaces::Nowhere).then_some(cache_point);
        fields.set("system", system(&request.system, point));
    }
    merge(&mut fields, extra);
    let mut head = up_to_messages(fields);
    if let Some(messages) = given {
        head.push_str(&without_lone_surrogates(&messages));
        head.push('}');
        return Ok((vec![Bytes::from(head)], Vec::new()));
    }
    let mut messages = view.json;
    if places != CachePlaces::Nowhere {
        for at in view.writer.cache_points() {
            messages.insert(at, Bytes::from(format!(",{cache_point}")));
        }
    }
    let messages = messages.into_chunks();
    Ok((chunks(head, Output::default(), messages), view.losses))
}

/// Writes `inferenceConfig`, `additionalModelRequestFields` and `outputConfig`.
fn option_fields(fields: &mut Object<'_>, asked: Asked<'_>, tools: &Tools) {
    let Asked {
        wire,
        request,
        family,
    } = asked;
    let options = &*request.options;
    let Reasoning {
        fields: reasoning,
        excludes_sampling,
        excludes_limit,
    } = reasoning(family, &request.model, options, tools.forced);
    let mut inference = Object::default();
    let limit = options.output_tokens_max.filter(|_| !excludes_limit);
    add_some(&mut inference, "maxTokens", limit);
    let temperature = options.temperature.filter(|_| !excludes_sampling);
    add_some(&mut inference, "temperature", temperature);
    let top_p = options.top_p.filter(|_| !excludes_sampling);
    add_some(&mut inference, "topP", top_p);
    // The service refuses an empty sequence.
    let sequences = options.stop_sequences.iter().filter(|it| !it.is_empty());
    let sequences: Vec<&String> = sequences.collect();
    if !sequences.is_empty() {
        add(&mut inference, "stopSequences", &sequences);
    }
    set_unless_empty(fields, "inferenceConfig", &inference);
    let mut additional = Object::default();
    for (name, value) in &reasoning {
        add(&mut additional, name, value);
    }
    if tools.forbidden {
        add(&mut additional, "tool_choice", &json!({"type": "none"}));
    }
    set_unless_empty(fields, "additionalModelRequestFields", &additional);
    if let Some(output) = &options.output
        && wire.output == StructuredOutput::Native
    {
        let schema = sanitise(&output.schema, &SchemaRule::CLOSED).schema;
        let schema = without_lone_surrogates(schema.as_str());
        let form = json!({"textFormat": {"type": "json_schema", "structure": {
            "jsonSchema": {"name": output.name, "schema": schema}
        }}});
        add(fields, "outputConfig", &form);
    }
}

fn set_unless_empty(fields: &mut Object<'_>, name: &str, value: &Object<'_>) {
    let text = value.text();
    if text != "{}" {
        fields.set(name, text);
    }
}

/// Decides which tools are offered, and what is said of them.
///
/// The protocol has no word for "no tool", and insists on tools where the conversation holds calls.
fn tools(asked: Asked<'_>, wants_tools: bool) -> Result<Tools, EncodeError> {
    let Asked {
        wire,
        request,
        family,
    } = asked;
    let options = &*request.options;
    let output = options
        .output
        .as_ref()
        .filter(|_| wire.output == StructuredOutput::Tool);
    let is_forbidden = options.tool_choice == Some(ToolChoice::None);
    let mut tools = Tools::default();
    let claude_forbids = is_forbidden && family == ModelFamily::Claude && output.is_none();
    if !is_forbidden || claude_forbids && wants_tools {
        for spec in request.tools.iter() {
            push_tool(
                &mut tools.items,
                &spec.name,
                &spec.description,
                &schema(spec)?,
            );
        }
        tools.forbidden = is_forbidden && !tools.items.is_empty();
    }
    let offered = !tools.items.is_empty();
    if let Some(output) = output {
        let schema = without_lone_surrogates(output.schema.as_str());
        push_tool(
            &mut tools.items,
            OUTPUT_TOOL,
            OUTPUT_TOOL_DESCRIPTION,
            &schema,
        );
    }
    if tools.items.is_empty() && wants_tools {
        let told = "Stands for tools that are not available any more. Never call it.";
        push_tool(
            &mut tools.items,
            PLACEHOLDER_TOOL,
            told,
            "{\"type\":\"object\"}",
        );
        return Ok(tools);
    }
    tools.choice = choice(options, offered, output.is_some());
    let forces = |choice: &Value| choice.get("auto").is_none();
    tools.forced = tools.choice.as_ref().is_some_and(forces);
    Ok(tools)
}

/// Returns `toolChoice`. `offered` are tools of the request, beside the one for the output.
fn choice(options: &Options, offered: bool, has_output: bool) -> Option<Value> {
    let only_output = json!({"tool": {"name": OUTPUT_TOOL}});
    match &options.tool_choice {
        Some(ToolChoice::Tool(name)) if offered => Some(json!({"tool": {"name": name}})),
        _ if has_output && !offered => Some(only_output),
        _ if has_output => Some(json!({"any": {}})),
        Some(ToolChoice::Required) if offered => Some(json!({"any": {}})),
        Some(ToolChoice::Auto) if offered => Some(json!({"auto": {}})),
        Some(ToolChoice::None | ToolChoice::Required | ToolChoice::Auto | ToolChoice::Tool(_))
        | None => None,
    }
}

fn push_tool(items: &mut String, name: &str, description: &str, schema: &str) {
    if !items.is_empty() {
        items.push(',');
    }
    items.push_str("{\"toolSpec\":{\"name\":");
    push_string(items, name);
    // The service refuses an empty description.
    if !description.trim().is_empty() {
        items.push_str(",\"description\":");
        push_string(items, description);
    }
    items.push_str(",\"inputSchema\":{\"json\":");
    items.push_str(schema);
    items.push_str("}}}");
}

/// Returns the schema of a tool, whose type the service wants to be stated.
fn schema(spec: &ToolSpec) -> Result<String, EncodeError> {
    let not_an_object = |_| EncodeError::SchemaNotAnObject {
        tool: spec.name.to_string(),
    };
    let mut schema = Object::read(spec.input_schema.as_str()).map_err(not_an_object)?;
    if schema.field("type").is_none() {
        schema.set("type", "\"object\"");
    }
    Ok(without_lone_surrogates(&schema.text()).into_owned())
}

fn tool_config(fields: &mut Object<'_>, tools: Tools) {
    if tools.items.is_empty() {
        return;
    }
    let mut config = format!("{{\"tools\":[{}]", tools.items);
    if let Some(choice) = tools.choice {
        config.push_str(",\"toolChoice\":");
        config.push_str(&choice.to_string());
    }
    config.push('}');
    fields.set("toolConfig", config);
}

fn system(text: &str, cache_point: Option<&str>) -> String {
    let mut out = String::from("[{\"text\":");
    push_string(&mut out, text);
    out.push('}');
    if let Some(cache_point) = cache_point {
        out.push(',');
        out.push_str(cache_point);
    }
    out.push(']');
    out
}

/// Lets the fields of the options join the body. Objects of objects are joined field by field, and
/// tools are appended, so that tools of the service stand beside those of the request.
fn merge(fields: &mut Object<'static>, mut extra: Object<'_>) {
    for name in [
        "inferenceConfig",
        "additionalModelRequestFields",
        "toolConfig",
    ] {
        let Some(ours) = fields.field(name).map(str::to_owned) else {
            continue;
        };
        let given = extra.remove(name);
        let (Ok(mut ours), Some(Ok(mut given))) =
            (Object::read(&ours), given.as_deref().map(Object::read))
        else {
            if let Some(given) = given {
                extra.set(name, given);
            }
            continue;
        };
        if let (Some(items), Some(more)) = (ours.field("tools"), given.field("tools")) {
            let all = appended(items, more);
            given.set("tools", all);
        }
        join(&mut ours, given);
        fields.set(name, ours.text());
    }
    join(fields, extra);
}

/// Appends the items of a JSON array to another.
fn appended(array: &str, more: &str) -> String {
    let array = array.strip_suffix(']').unwrap_or(array);
    let more = more.trim().strip_prefix('[').unwrap_or("]");
    let comma = if more.trim() == "]" { "" } else { "," };
    format!("{array}{comma}{more}")
}
