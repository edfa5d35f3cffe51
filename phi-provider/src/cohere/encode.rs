//! Writes the body of a request.

use bytes::Bytes;
use phi_types::{
    EffectClass, Options, OutputSchema, Request, Thinking, ToolChoice, ToolKind, ToolSpec,
};
use serde_json::{Value, json};

use super::messages::{CohereWriter, RULES, system};
use super::{CohereChat, ToolSchemas};
use crate::function_tool::FunctionTool;
use crate::object::Object;
use crate::request_body::{add, add_some, chunks, extra_fields, join, up_to_messages};
use crate::structured::{OUTPUT_TOOL, OUTPUT_TOOL_DESCRIPTION};
use crate::surrogates::without_lone_surrogates;
use crate::translate::{Loss, Reader};
use crate::wire::{Delivery, EncodeError, Wire};

/// Writes the body of a request, what rarely changes first and the messages last.
pub(super) fn body(
    wire: &CohereChat,
    request: &Request,
) -> Result<(Vec<Bytes>, Vec<Loss>), EncodeError> {
    let options = &*request.options;
    let extra = extra_fields(options)?;
    let mut fields = Object::default();
    add(&mut fields, "model", &*request.model);
    add(
        &mut fields,
        "stream",
        &(wire.delivery == Delivery::Streamed),
    );
    add_some(&mut fields, "max_tokens", options.output_tokens_max);
    add_some(&mut fields, "temperature", options.temperature);
    add_some(&mut fields, "p", options.top_p);
    if !options.stop_sequences.is_empty() {
        add(&mut fields, "stop_sequences", &options.stop_sequences);
    }
    add_some(&mut fields, "thinking", thinking(options));
    if let Some(output) = options.output.as_ref().filter(|_| request.tools.is_empty()) {
        let schema = without_lone_surrogates(output.schema.as_str());
        let format = format!("{{\"type\":\"json_object\",\"json_schema\":{schema}}}");
        fields.set("response_format", format);
    }
    tools(&mut fields, wire, request)?;
    join(&mut fields, extra);
    if let Some(messages) = fields.remove("messages") {
        let body = up_to_messages(fields) + &messages + "}";
        return Ok((vec![Bytes::from(body)], Vec::new()));
    }
    let reader = Reader {
        identity: wire.identity(),
        model: &request.model,
    };
    let view = wire.views.write(request, reader, &RULES, CohereWriter);
    if view.json.is_empty() {
        return Err(EncodeError::NothingToSend);
    }
    let head = up_to_messages(fields);
    let messages = view.json.into_chunks();
    Ok((chunks(head, system(&request.system), messages), view.losses))
}

/// The protocol has a budget and no words for an amount. A model that cannot think refuses the
/// field, so its own choice is left unsaid.
fn thinking(options: &Options) -> Option<Value> {
    let budget = match options.thinking? {
        Thinking::Off | Thinking::BudgetTokens(0) => return Some(json!({"type": "disabled"})),
        Thinking::Adaptive => return None,
        Thinking::Low => 2_048,
        Thinking::Medium => 8_192,
        Thinking::High => 24_576,
        Thinking::BudgetTokens(tokens) => tokens,
    };
    Some(json!({"type": "enabled", "token_budget": budget}))
}

/// Writes the tools and whether one must be called: the protocol says `REQUIRED`, `NONE`, or
/// nothing where the model decides. It takes no form of the answer beside tools, so the form is one
/// of them.
fn tools(fields: &mut Object<'_>, wire: &CohereChat, request: &Request) -> Result<(), EncodeError> {
    let options = &request.options;
    if request.tools.is_empty() {
        return Ok(());
    }
    let form = options.output.as_ref().map(output_tool);
    let (only, word) = match &options.tool_choice {
        Some(ToolChoice::Tool(name)) => (Some(name.as_str()), Some("REQUIRED")),
        Some(ToolChoice::None) if form.is_some() => (Some(OUTPUT_TOOL), Some("REQUIRED")),
        Some(ToolChoice::None) => (None, Some("NONE")),
        Some(ToolChoice::Required) => (None, Some("REQUIRED")),
        None | Some(ToolChoice::Auto) => (None, form.as_ref().map(|_| "REQUIRED")),
    };
    let all = request.tools.iter().chain(&form);
    let offered = all.filter(|tool| only.is_none_or(|only| *tool.name == *only));
    let offered = offered
        .map(FunctionTool::of)
        .collect::<Result<Vec<_>, _>>()?;
    if offered.is_empty() {
        return Err(EncodeError::Unsayable {
            protocol: CohereChat::PROTOCOL,
            option: "tool_choice",
            remedy: "name a tool of the request",
        });
    }
    add_some(fields, "tool_choice", word);
    if wire.schemas == ToolSchemas::Forced {
        add(fields, "strict_tools", &true);
    }
    add(fields, "tools", &offered);
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
