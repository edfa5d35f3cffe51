//! Writes the body of a request.

use bytes::Bytes;
use phi_types::{
    AssistantMessage, AssistantPart, Entry, History, Options, RawJson, Request, ToolCall,
    ToolChoice, ToolSpec,
};
use serde_json::{Map, Value, json};

use super::contents::{ContentWriter, rules};
use super::model::Generation;
use super::schema::openapi_subset;
use super::{Gemini, SchemaForm, ThoughtReplay};
use crate::object::{Object, push_string};
use crate::surrogates::without_lone_surrogates;
use crate::translate::{Loss, Reader};
use crate::wire::{EncodeError, Wire};

/// A body in chunks, and what was lost of the conversation.
pub(super) type Body = (Vec<Bytes>, Vec<Loss>);

impl Gemini {
    /// Writes the body: what rarely changes first, `contents` last.
    pub(super) fn body(&self, request: &Request) -> Result<Body, EncodeError> {
        let generation = self.generation.of(&request.model);
        let mut extra = extra_fields(request.options.extra.as_ref())?;
        let mut body = Object::default();
        // What is cached already holds system prompt and tools, which may not come twice.
        let is_cached = extra.field("cachedContent").is_some_and(|it| it != "null");
        if !is_cached {
            if !request.system.trim().is_empty() {
                let system = json!({"parts": [{"text": &*request.system}]});
                body.set("systemInstruction", system.to_string());
            }
            let own_tools = extra.remove("tools");
            let tools = self.tools(&request.tools, own_tools.as_deref())?;
            if !tools.is_empty() {
                body.set("tools", format!("[{tools}]"));
            }
            let own = OwnTools::read(own_tools.as_deref());
            let has_functions = own.has_functions || !request.tools.is_empty();
            let may_mix = self.mixes_tools && generation == Generation::Levels;
            let mixed = has_functions && own.has_others && may_mix;
            let config = tool_config(&request.options, has_functions, mixed);
            set_merged(&mut body, "toolConfig", config, extra.remove("toolConfig"));
        }
        set_merged(
            &mut body,
            "generationConfig",
            self.generation_config(request)?,
            extra.remove("generationConfig"),
        );
        for (name, value) in extra.into_fields() {
            body.set(&name, without_lone_surrogates(&value).into_owned());
        }
        let given = body.remove("contents");
        let mut head = beginning(body);
        if let Some(contents) = given {
            return Ok((vec![Bytes::from(head + &contents + "}")], Vec::new()));
        }
        let replayed;
        let request = match self.thought_replay {
            ThoughtReplay::All => request,
            ThoughtReplay::CurrentTurn => {
                replayed = Request {
                    view: without_old_thoughts(&request.view),
                    ..request.clone()
                };
                &replayed
            }
        };
        let reader = Reader {
            identity: self.identity(),
            model: &request.model,
        };
        let writer = ContentWriter::new(generation);
        let view = self
            .views
            .write(request, reader, &rules(generation), writer);
        if view.json.is_empty() {
            return Err(EncodeError::NothingToSend);
        }
        head.push('[');
        let mut chunks = vec![Bytes::from(head)];
        chunks.extend(view.json.into_chunks());
        chunks.push(Bytes::from_static(b"]}"));
        Ok((chunks, view.losses))
    }

    /// Writes the tools without the brackets: those of the request, then those of the service.
    fn tools(&self, specs: &[ToolSpec], own: Option<&str>) -> Result<String, EncodeError> {
        let mut out = String::new();
        for spec in specs {
            out.push_str(if out.is_empty() {
                "{\"functionDeclarations\":["
            } else {
                ","
            });
            out.push_str(&self.declaration(spec)?);
        }
        if !specs.is_empty() {
            out.push_str("]}");
        }
        let own = own.map(str::trim);
        let own = own.and_then(|own| own.strip_prefix('[')?.strip_suffix(']'));
        let own = own.map(str::trim).unwrap_or_default();
        if !out.is_empty() && !own.is_empty() {
            out.push(',');
        }
        out.push_str(&without_lone_surrogates(own));
        Ok(out)
    }

    fn declaration(&self, spec: &ToolSpec) -> Result<String, EncodeError> {
        let not_an_object = || EncodeError::SchemaNotAnObject {
            tool: spec.name.to_string(),
        };
        if !spec.input_schema.is_object() {
            return Err(not_an_object());
        }
        let mut out = String::from("{\"name\":");
        push_string(&mut out, &spec.name);
        if !spec.description.trim().is_empty() {
            out.push_str(",\"description\":");
            push_string(&mut out, &spec.description);
        }
        match self.schema_form {
            SchemaForm::JsonSchema => {
                out.push_str(",\"parametersJsonSchema\":");
                out.push_str(&without_lone_surrogates(spec.input_schema.as_str()));
            }
            SchemaForm::OpenApiSubset => {
                let schema = read(&spec.input_schema).ok_or_else(not_an_object)?;
                let written = openapi_subset(&schema);
                // An object without fields is refused: no parameters are none.
                if written.get("properties").is_some() {
                    out.push_str(",\"parameters\":");
                    out.push_str(&written.to_string());
                }
            }
        }
        out.push('}');
        Ok(out)
    }

    fn generation_config(&self, request: &Request) -> Result<Map<String, Value>, EncodeError> {
        let options = &*request.options;
        let mut config = Map::new();
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                config.insert(name.to_owned(), value);
            }
        };
        set(
            "maxOutputTokens",
            options.output_tokens_max.map(Value::from),
        );
        set("temperature", options.temperature.map(Value::from));
        set("topP", options.top_p.map(Value::from));
        let sequences = Some(&options.stop_sequences).filter(|all| !all.is_empty());
        set("stopSequences", sequences.map(|all| json!(all)));
        set(
            "thinkingConfig",
            self.generation
                .thinking_config(&request.model, options.thinking),
        );
        if let Some(output) = &options.output {
            let schema = read(&output.schema)
                .filter(Value::is_object)
                .ok_or_else(|| EncodeError::SchemaNotAnObject {
                    tool: output.name.clone(),
                })?;
            set("responseMimeType", Some("application/json".into()));
            match self.schema_form {
                SchemaForm::JsonSchema => set("responseJsonSchema", Some(schema)),
                SchemaForm::OpenApiSubset => set("responseSchema", Some(openapi_subset(&schema))),
            }
        }
        Ok(config)
    }
}

/// What the tools hold that the caller gave in the words of the service.
#[derive(Debug, Default)]
struct OwnTools {
    has_functions: bool,
    /// Tools that the service runs.
    has_others: bool,
}

impl OwnTools {
    fn read(tools: Option<&str>) -> Self {
        let tools: Vec<Object<'_>> = tools
            .and_then(|tools| serde_json::from_str(tools).ok())
            .unwrap_or_default();
        let mut own = Self::default();
        for (name, value) in tools.into_iter().flat_map(Object::into_fields) {
            match &*name {
                "functionDeclarations" | "function_declarations" => {
                    own.has_functions |= !matches!(&*value, "[]" | "null");
                }
                _ => own.has_others |= value != "null",
            }
        }
        own
    }
}

/// Reads a value without half characters.
fn read(json: &RawJson) -> Option<Value> {
    serde_json::from_str(&without_lone_surrogates(json.as_str())).ok()
}

/// Says which tools are called; without functions the field is refused.
fn tool_config(options: &Options, has_functions: bool, mixed: bool) -> Map<String, Value> {
    let mut config = Map::new();
    if let Some(choice) = options.tool_choice.as_ref().filter(|_| has_functions) {
        let calling = match choice {
            ToolChoice::Auto => json!({"mode": "AUTO"}),
            ToolChoice::None => json!({"mode": "NONE"}),
            ToolChoice::Required => json!({"mode": "ANY"}),
            ToolChoice::Tool(name) => json!({"mode": "ANY", "allowedFunctionNames": [name]}),
        };
        config.insert("functionCallingConfig".to_owned(), calling);
    }
    if mixed {
        config.insert("includeServerSideToolInvocations".to_owned(), true.into());
    }
    config
}

/// Sets an object whose fields those of the caller join last.
fn set_merged<'a>(
    body: &mut Object<'a>,
    name: &str,
    mut ours: Map<String, Value>,
    given: Option<std::borrow::Cow<'a, str>>,
) {
    let Some(given) = given else {
        if !ours.is_empty() {
            body.set(name, Value::Object(ours).to_string());
        }
        return;
    };
    match serde_json::from_str(&without_lone_surrogates(&given)) {
        Ok(Value::Object(fields)) => {
            ours.extend(fields);
            body.set(name, Value::Object(ours).to_string());
        }
        _ => body.set(name, given),
    }
}

fn extra_fields(extra: Option<&RawJson>) -> Result<Object<'_>, EncodeError> {
    let Some(extra) = extra else {
        return Ok(Object::default());
    };
    let found = match extra.as_str().trim_start().bytes().next() {
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    };
    Object::read(extra.as_str()).map_err(|_| EncodeError::ExtraNotAnObject { found })
}

/// Writes the fields before the contents.
fn beginning(fields: Object<'_>) -> String {
    let mut beginning = String::from("{");
    for (name, json) in fields.into_fields() {
        push_string(&mut beginning, &name);
        beginning.push(':');
        beginning.push_str(&json);
        beginning.push(',');
    }
    beginning.push_str("\"contents\":");
    beginning
}

/// Leaves thoughts and signatures out of everything before the last thing that the user said.
fn without_old_thoughts(view: &History) -> History {
    let entries = view.entries();
    let is_user = |entry: &&Entry| matches!(entry, Entry::User(_));
    let turn = entries.iter().rposition(is_user).unwrap_or(0);
    let stripped = entries
        .into_iter()
        .enumerate()
        .map(|(at, entry)| match entry {
            Entry::Assistant(message) if at < turn => {
                Entry::Assistant(without_thoughts(message).into())
            }
            entry => entry.clone(),
        });
    stripped.collect()
}

fn without_thoughts(message: &AssistantMessage) -> AssistantMessage {
    let parts = message.parts.iter().filter_map(|part| match part {
        AssistantPart::Thinking(_) => None,
        AssistantPart::Text(text) => {
            let mut text = text.clone();
            text.facts.signature = None;
            Some(AssistantPart::Text(text))
        }
        AssistantPart::ToolCall(call) => {
            let mut call = ToolCall::clone(call);
            call.facts.signature = None;
            Some(AssistantPart::ToolCall(call.into()))
        }
        AssistantPart::Opaque(part) => Some(AssistantPart::Opaque(part.clone())),
    });
    AssistantMessage {
        parts: parts.collect(),
        ..message.clone()
    }
}
