//! Writes the body of a request.

use std::borrow::Cow;

use bytes::Bytes;
use phi_types::{
    AssistantMessage, AssistantPart, EffectClass, Entry, History, OutputSchema, RawJson, Request,
    ToolCall, ToolChoice, ToolKind, ToolSpec,
};
use serde_json::json;

use super::contents::{ContentWriter, rules};
use super::model::Generation;
use super::{Gemini, SchemaForm, ThoughtReplay};
use crate::object::{Object, push_string};
use crate::request_body::{add, add_some, chunks, extra_fields, join, up_to};
use crate::structured::{OUTPUT_TOOL, OUTPUT_TOOL_DESCRIPTION, SchemaRule, sanitise};
use crate::surrogates::without_lone_surrogates;
use crate::translate::{Loss, Reader};
use crate::view_writer::Output;
use crate::wire::{EncodeError, Wire};

/// A body in chunks, and what was lost of the conversation.
pub(super) type Body = (Vec<Bytes>, Vec<Loss>);

impl Gemini {
    /// Writes the body: what rarely changes first, `contents` last.
    pub(super) fn body(&self, request: &Request) -> Result<Body, EncodeError> {
        let generation = self.generation.of(&request.model);
        let mut extra = extra_fields(&request.options)?;
        let form = Form::of(request, generation);
        let mut body = Object::default();
        // What is cached already holds system prompt and tools, which may not come twice.
        let is_cached = extra.field("cachedContent").is_some_and(|it| it != "null");
        if !is_cached {
            self.surface(&mut body, &mut extra, request, form.as_ref())?;
        }
        let config = self.generation_config(request, form.as_ref())?;
        let given = extra.remove("generationConfig");
        set_joined(&mut body, "generationConfig", config, given);
        join(&mut body, extra);
        let given = body.remove("contents");
        let head = up_to(body, "contents");
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
        let contents = view.json.into_chunks();
        Ok((chunks(head, Output::default(), contents), view.losses))
    }

    /// Writes what the model is shown besides the conversation.
    fn surface<'r>(
        &self,
        body: &mut Object<'r>,
        extra: &mut Object<'r>,
        request: &Request,
        form: Option<&Form<'_>>,
    ) -> Result<(), EncodeError> {
        if !request.system.trim().is_empty() {
            let system = json!({"parts": [{"text": &*request.system}]});
            add(body, "systemInstruction", &system);
        }
        let own_tools = extra.remove("tools");
        let mut specs = Cow::Borrowed(&*request.tools);
        if let Some(Form::Tool(tool)) = form {
            specs.to_mut().push(tool.clone());
        }
        let tools = self.tools(&specs, own_tools.as_deref())?;
        if !tools.is_empty() {
            body.set("tools", format!("[{tools}]"));
        }
        let own = OwnTools::read(own_tools.as_deref());
        let has_functions = own.has_functions || !specs.is_empty();
        let takes_mixed = self.generation.of(&request.model) == Generation::Levels;
        let mixed = has_functions && own.has_others && self.mixes_tools && takes_mixed;
        let choice = match form {
            Some(Form::Tool(_)) => Some(&ToolChoice::Required),
            Some(Form::Native(_)) | None => request.options.tool_choice.as_ref(),
        };
        let config = tool_config(choice.filter(|_| has_functions), mixed);
        set_joined(body, "toolConfig", config, extra.remove("toolConfig"));
        Ok(())
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
        let mut out = String::from("{\"name\":");
        push_string(&mut out, &spec.name);
        if !spec.description.trim().is_empty() {
            out.push_str(",\"description\":");
            push_string(&mut out, &spec.description);
        }
        let schema = self.schema(&spec.input_schema, &spec.name)?;
        // An object without fields is refused in the subset: no parameters are none.
        let is_empty = self.schema_form == SchemaForm::OpenApiSubset
            && Object::read(&schema).is_ok_and(|it| it.field("properties").is_none_or(is_empty));
        if !is_empty {
            out.push_str(match self.schema_form {
                SchemaForm::JsonSchema => ",\"parametersJsonSchema\":",
                SchemaForm::OpenApiSubset => ",\"parameters\":",
            });
            out.push_str(&schema);
        }
        out.push('}');
        Ok(out)
    }

    /// Writes a schema in the form that is set.
    fn schema<'s>(&self, schema: &'s RawJson, name: &str) -> Result<Cow<'s, str>, EncodeError> {
        if !schema.is_object() {
            let tool = name.to_owned();
            return Err(EncodeError::SchemaNotAnObject { tool });
        }
        let clean = without_lone_surrogates(schema.as_str());
        match self.schema_form {
            SchemaForm::JsonSchema => Ok(clean),
            SchemaForm::OpenApiSubset => {
                let clean = RawJson::parse(&clean).unwrap_or_else(|_| schema.clone());
                let written = sanitise(&clean, &SchemaRule::OPEN_API).schema;
                Ok(Cow::Owned(written.as_str().to_owned()))
            }
        }
    }

    fn generation_config(
        &self,
        request: &Request,
        form: Option<&Form<'_>>,
    ) -> Result<Object<'static>, EncodeError> {
        let options = &*request.options;
        let mut config = Object::default();
        add_some(&mut config, "maxOutputTokens", options.output_tokens_max);
        add_some(&mut config, "temperature", options.temperature);
        add_some(&mut config, "topP", options.top_p);
        let sequences = Some(&options.stop_sequences).filter(|all| !all.is_empty());
        add_some(&mut config, "stopSequences", sequences);
        let thinking = self
            .generation
            .thinking_config(&request.model, options.thinking);
        add_some(&mut config, "thinkingConfig", thinking);
        if let Some(Form::Native(output)) = form {
            add(&mut config, "responseMimeType", "application/json");
            let schema = self.schema(&output.schema, &output.name)?.into_owned();
            config.set(
                match self.schema_form {
                    SchemaForm::JsonSchema => "responseJsonSchema",
                    SchemaForm::OpenApiSubset => "responseSchema",
                },
                schema,
            );
        }
        Ok(config)
    }
}

/// What asks for the form of the answer.
#[derive(Debug)]
enum Form<'r> {
    /// The schema of the answer.
    Native(&'r OutputSchema),
    /// One more function, which must be called: models before Gemini 3 take no schema beside
    /// functions.
    Tool(ToolSpec),
}

impl<'r> Form<'r> {
    fn of(request: &'r Request, generation: Generation) -> Option<Self> {
        let output = request.options.output.as_ref()?;
        if request.tools.is_empty() || generation == Generation::Levels {
            return Some(Self::Native(output));
        }
        Some(Self::Tool(ToolSpec {
            name: OUTPUT_TOOL.into(),
            description: OUTPUT_TOOL_DESCRIPTION.into(),
            input_schema: output.schema.clone(),
            kind: ToolKind::Other,
            effect_class: EffectClass::Pure,
        }))
    }
}

/// Says whether an object has no fields.
fn is_empty(object: &str) -> bool {
    Object::read(object).is_ok_and(|it| it.into_fields().is_empty())
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

/// Says which functions are called, and whether tools of the service stand beside them.
fn tool_config(choice: Option<&ToolChoice>, mixed: bool) -> Object<'static> {
    let mut config = Object::default();
    let calling = choice.map(|choice| match choice {
        ToolChoice::Auto => json!({"mode": "AUTO"}),
        ToolChoice::None => json!({"mode": "NONE"}),
        ToolChoice::Required => json!({"mode": "ANY"}),
        ToolChoice::Tool(name) => json!({"mode": "ANY", "allowedFunctionNames": [name]}),
    });
    add_some(&mut config, "functionCallingConfig", calling);
    add_some(
        &mut config,
        "includeServerSideToolInvocations",
        mixed.then_some(true),
    );
    config
}

/// Sets an object whose fields those of the caller join last.
fn set_joined<'b>(
    body: &mut Object<'b>,
    name: &str,
    mut ours: Object<'_>,
    given: Option<Cow<'b, str>>,
) {
    let Some(given) = given else {
        let text = ours.text();
        if text != "{}" {
            body.set(name, text);
        }
        return;
    };
    match Object::read(&given) {
        Ok(fields) => {
            join(&mut ours, fields);
            body.set(name, ours.text());
        }
        Err(_) => body.set(name, given),
    }
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
