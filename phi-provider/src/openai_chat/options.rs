//! Writes the options of a request in the words of a service.

use std::collections::BTreeMap;

use phi_types::{
    EffectClass, Options, OutputSchema, Request, Thinking, ToolChoice, ToolKind, ToolSpec,
};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::json;

use super::quirks::{
    ForcedTools, OptionField, OutputForm, OutputLimit, PromptCache, Quirks, ReasoningFormat,
    ReasoningOff, ReasoningSwitch, Sampling, StreamUsage, StrictTools, ToolsForHistory,
};
use crate::function_tool::FunctionTool;
use crate::object::Object;
use crate::request_body::{add, add_some};
use crate::structured::{OUTPUT_TOOL, OUTPUT_TOOL_DESCRIPTION, SchemaRule, sanitise};
use crate::surrogates::without_lone_surrogates;
use crate::wire::{Delivery, EncodeError};

/// Writes everything but the tools and the messages.
pub(super) fn options(
    fields: &mut Object<'_>,
    request: &Request,
    quirks: Quirks,
    delivery: Delivery,
) {
    let options = &*request.options;
    let is_streamed = delivery == Delivery::Streamed;
    add(fields, "model", &*request.model);
    add(fields, "stream", &is_streamed);
    if is_streamed && quirks.stream_usage == StreamUsage::Asked {
        add(fields, "stream_options", &json!({"include_usage": true}));
    }
    let limit = match quirks.output_limit {
        OutputLimit::MaxCompletionTokens => "max_completion_tokens",
        OutputLimit::MaxTokens => "max_tokens",
    };
    add_some(fields, limit, options.output_tokens_max);
    let takes_sampling = match quirks.sampling {
        Sampling::Taken => true,
        Sampling::WithoutReasoning => options.thinking.is_some_and(is_off),
        Sampling::Refused => false,
    };
    if takes_sampling {
        add_some(fields, "temperature", options.temperature);
        add_some(fields, "top_p", options.top_p);
    }
    if !options.stop_sequences.is_empty() && quirks.stop_sequences == OptionField::Taken {
        add(fields, "stop", &options.stop_sequences);
    }
    if let Some(thinking) = options.thinking {
        reasoning(fields, thinking, quirks);
    }
    if let Some(output) = &options.output {
        add_some(
            fields,
            "response_format",
            response_format(output, request, quirks),
        );
    }
    if quirks.prompt_cache == PromptCache::Key || quirks.prompt_cache == PromptCache::Breakpoints {
        add(fields, "prompt_cache_key", request.session.as_str());
    }
    if quirks.prompt_cache == PromptCache::Breakpoints {
        let asked = json!({"mode": "explicit", "ttl": "30m"});
        add(fields, "prompt_cache_options", &asked);
    }
}

fn is_off(thinking: Thinking) -> bool {
    matches!(thinking, Thinking::Off | Thinking::BudgetTokens(0))
}

/// Says how much the model shall reason; services have words for an amount, or none.
fn reasoning(fields: &mut Object<'_>, thinking: Thinking, quirks: Quirks) {
    let on = !is_off(thinking);
    let kind = if on { "enabled" } else { "disabled" };
    match quirks.reasoning {
        ReasoningSwitch::Unsaid => return,
        ReasoningSwitch::ReasoningEffort => {
            add_some(fields, "reasoning_effort", effort(thinking, quirks));
        }
        ReasoningSwitch::NoneOrDefault => {
            add(
                fields,
                "reasoning_effort",
                if on { "default" } else { "none" },
            );
        }
        ReasoningSwitch::ReasoningObject => {
            let object = match thinking {
                Thinking::Adaptive => json!({"enabled": true}),
                Thinking::BudgetTokens(tokens) if tokens > 0 => json!({"max_tokens": tokens}),
                _ => json!({"effort": effort(thinking, Quirks::default())}),
            };
            add(fields, "reasoning", &object);
        }
        ReasoningSwitch::ThinkingType => add(fields, "thinking", &json!({"type": kind})),
        ReasoningSwitch::ThinkingTypeAndEffort => {
            add(fields, "thinking", &json!({"type": kind}));
            let effort = effort(thinking, quirks).filter(|_| on);
            add_some(fields, "reasoning_effort", effort);
        }
        ReasoningSwitch::EnableThinking => {
            add(fields, "enable_thinking", &on);
            if let Thinking::BudgetTokens(tokens) = thinking
                && on
            {
                add(fields, "thinking_budget", &tokens);
            }
        }
        ReasoningSwitch::ChatTemplateKwargs => {
            let arguments = json!({"enable_thinking": on});
            add(fields, "chat_template_kwargs", &arguments);
        }
    }
    if quirks.reasoning_format == ReasoningFormat::Parsed && on {
        add(fields, "reasoning_format", "parsed");
    }
}

/// The protocol has words for the amount of reasoning, no budget.
fn effort(thinking: Thinking, quirks: Quirks) -> Option<&'static str> {
    match thinking {
        Thinking::Off | Thinking::BudgetTokens(0) => match quirks.reasoning_off {
            ReasoningOff::None => Some("none"),
            ReasoningOff::Minimal => Some("minimal"),
            ReasoningOff::Unsaid => None,
        },
        Thinking::Adaptive => None,
        Thinking::Low | Thinking::BudgetTokens(1..=4_096) => Some("low"),
        Thinking::Medium | Thinking::BudgetTokens(4_097..=16_384) => Some("medium"),
        Thinking::High | Thinking::BudgetTokens(_) => Some("high"),
    }
}

/// Says whether the form of the answer is asked for by a tool.
fn is_form_a_tool(request: &Request, quirks: Quirks) -> bool {
    request.options.output.is_some()
        && match quirks.output_form {
            OutputForm::Tool => true,
            OutputForm::JsonSchemaWithoutTools => !request.tools.is_empty(),
            OutputForm::JsonSchema | OutputForm::JsonObject => false,
        }
}

fn response_format(output: &OutputSchema, request: &Request, quirks: Quirks) -> Option<Format> {
    if is_form_a_tool(request, quirks) {
        return None;
    }
    if quirks.output_form == OutputForm::JsonObject {
        return Some(Format::JsonObject);
    }
    let strict = sanitise(&output.schema, &SchemaRule::STRICT);
    let (schema, is_strict) = if strict.is_strict {
        (strict.schema, true)
    } else {
        (output.schema.clone(), false)
    };
    let schema = without_lone_surrogates(schema.as_str()).into_owned();
    let schema = serde_json::value::RawValue::from_string(schema).ok()?;
    Some(Format::JsonSchema {
        json_schema: SchemaFormat {
            name: output.name.clone(),
            schema,
            strict: is_strict,
        },
    })
}

/// `response_format`.
#[derive(Debug, serde::Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Format {
    JsonObject,
    JsonSchema { json_schema: SchemaFormat },
}

#[derive(Debug, serde::Serialize)]
struct SchemaFormat {
    name: String,
    schema: Box<serde_json::value::RawValue>,
    strict: bool,
}

/// Returns the system prompt, which says the form of the answer where no field does.
pub(super) fn system(request: &Request, quirks: Quirks) -> String {
    let mut system = request.system.to_string();
    if let Some(output) = &request.options.output
        && quirks.output_form == OutputForm::JsonObject
    {
        if !system.is_empty() {
            system.push_str("\n\n");
        }
        system
            .push_str("Answer with one JSON object, and nothing else, that follows this schema: ");
        system.push_str(&without_lone_surrogates(output.schema.as_str()));
    }
    system
}

/// Writes the tools and which of them must be called. `has_calls` says that the conversation has
/// calls.
pub(super) fn tools(
    fields: &mut Object<'_>,
    request: &Request,
    quirks: Quirks,
    has_calls: bool,
) -> Result<(), EncodeError> {
    let options = &request.options;
    let form = is_form_a_tool(request, quirks)
        .then(|| options.output.as_ref().map(output_tool))
        .flatten();
    let has_none = request.tools.is_empty() && form.is_none();
    let is_wanted =
        has_none && has_calls && quirks.tools_for_history == ToolsForHistory::Placeholder;
    let placeholder = is_wanted.then(placeholder);
    if has_none && placeholder.is_none() {
        return Ok(());
    }
    let choice = match &options.tool_choice {
        _ if placeholder.is_some() => None,
        Some(ToolChoice::Tool(name)) => Some(Choice::Tool(name)),
        Some(ToolChoice::None) if form.is_some() => Some(Choice::Tool(OUTPUT_TOOL)),
        _ if form.is_some() && request.tools.is_empty() => Some(Choice::Tool(OUTPUT_TOOL)),
        _ if form.is_some() => Some(Choice::Required),
        None => None,
        Some(ToolChoice::Auto) => Some(Choice::Word("auto")),
        Some(ToolChoice::None) => Some(Choice::Word("none")),
        Some(ToolChoice::Required) => Some(Choice::Required),
    };
    add_some(
        fields,
        "tool_choice",
        choice.and_then(|it| it.of(options, quirks)),
    );
    if quirks.parallel_tool_calls == OptionField::Taken && !request.tools.is_empty() {
        add_some(fields, "parallel_tool_calls", options.parallel_tool_calls);
    }
    let all = request.tools.iter().chain(&form).chain(&placeholder);
    let all = all.map(|tool| match quirks.tool_schemas {
        StrictTools::Hinted => FunctionTool::of(tool),
        StrictTools::Strict => FunctionTool::strict(tool),
    });
    add(fields, "tools", &all.collect::<Result<Vec<_>, _>>()?);
    Ok(())
}

/// Makes the tool that stands for a form of the answer.
fn output_tool(output: &OutputSchema) -> ToolSpec {
    ToolSpec {
        name: OUTPUT_TOOL.into(),
        description: OUTPUT_TOOL_DESCRIPTION.into(),
        input_schema: output.schema.clone(),
        kind: ToolKind::Other,
        effect_class: EffectClass::Pure,
    }
}

/// Makes a tool that nobody calls.
fn placeholder() -> ToolSpec {
    ToolSpec {
        name: "unavailable".into(),
        description: "Does nothing. Never call it.".into(),
        input_schema: phi_types::RawJson::empty_object(),
        kind: ToolKind::Other,
        effect_class: EffectClass::Pure,
    }
}

/// `tool_choice`: a word, or the one tool that must be called.
#[derive(Debug)]
enum Choice<'r> {
    Word(&'static str),
    Required,
    Tool(&'r str),
}

impl Choice<'_> {
    /// Returns the choice as the service takes it; where it takes none, the model decides.
    fn of(self, options: &Options, quirks: Quirks) -> Option<Self> {
        let reasons = options.thinking.is_some_and(|thinking| !is_off(thinking));
        match (quirks.forced_tools, self) {
            (_, Self::Word(word)) => Some(Self::Word(word)),
            (ForcedTools::Refused, _) => None,
            (ForcedTools::WithoutReasoning, _) if reasons => None,
            (ForcedTools::Any, Self::Required) => Some(Self::Word("any")),
            (_, forced) => Some(forced),
        }
    }
}

impl Serialize for Choice<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Word(word) => serializer.serialize_str(word),
            Self::Required => serializer.serialize_str("required"),
            Self::Tool(name) => {
                let mut fields = serializer.serialize_map(Some(2))?;
                fields.serialize_entry("type", "function")?;
                fields.serialize_entry("function", &BTreeMap::from([("name", name)]))?;
                fields.end()
            }
        }
    }
}
