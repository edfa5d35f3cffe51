//! Writes the body of a request.

use bytes::Bytes;
use phi_types::{Options, Request, Thinking, ToolChoice};
use serde_json::Value;

use super::OllamaChat;
use super::messages::{OllamaWriter, RULES, system};
use crate::function_tool::FunctionTool;
use crate::object::Object;
use crate::request_body::{add, add_some, chunks, extra_fields, join, up_to_messages};
use crate::surrogates::without_lone_surrogates;
use crate::translate::{Loss, Reader};
use crate::wire::{Delivery, EncodeError, Wire};

/// Writes the body of a request, what rarely changes first and the messages last.
pub(super) fn body(
    wire: &OllamaChat,
    request: &Request,
) -> Result<(Vec<Bytes>, Vec<Loss>), EncodeError> {
    let options = &*request.options;
    let mut extra = extra_fields(options)?;
    let mut fields = Object::default();
    add(&mut fields, "model", &*request.model);
    add(
        &mut fields,
        "stream",
        &(wire.delivery == Delivery::Streamed),
    );
    add_some(&mut fields, "think", think(options));
    if let Some(output) = &options.output {
        fields.set("format", without_lone_surrogates(output.schema.as_str()));
    }
    let mut model_options = model_options(wire, options);
    let given = extra.remove("options");
    if let Some(Ok(given)) = given.as_deref().map(Object::read) {
        join(&mut model_options, given);
    } else if let Some(given) = given {
        extra.set("options", given);
    }
    if !model_options.is_empty() {
        fields.set("options", model_options.text());
    }
    if offers_tools(request)? {
        let tools = request.tools.iter().map(FunctionTool::of);
        add(&mut fields, "tools", &tools.collect::<Result<Vec<_>, _>>()?);
    }
    join(&mut fields, extra);
    if let Some(messages) = fields.remove("messages") {
        let body = up_to_messages(fields) + &messages + "}";
        return Ok((vec![Bytes::from(body)], Vec::new()));
    }
    let reader = Reader {
        identity: wire.identity(),
        model: &request.model,
    };
    let view = wire.views.write(request, reader, &RULES, OllamaWriter);
    if view.json.is_empty() {
        return Err(EncodeError::NothingToSend);
    }
    let head = up_to_messages(fields);
    let messages = view.json.into_chunks();
    Ok((chunks(head, system(&request.system), messages), view.losses))
}

/// Returns the fields of `options`, which the server hands to the model's runner.
fn model_options(wire: &OllamaChat, options: &Options) -> Object<'static> {
    let mut fields = Object::default();
    add_some(&mut fields, "num_ctx", wire.num_ctx);
    add_some(&mut fields, "num_predict", options.output_tokens_max);
    add_some(&mut fields, "temperature", options.temperature);
    add_some(&mut fields, "top_p", options.top_p);
    if !options.stop_sequences.is_empty() {
        add(&mut fields, "stop", &options.stop_sequences);
    }
    fields
}

/// `think`: a switch, or the amount, which models that know none read as "yes". A model that cannot
/// think refuses both but "no", so its own choice is left unsaid.
fn think(options: &Options) -> Option<Value> {
    match options.thinking? {
        Thinking::Off | Thinking::BudgetTokens(0) => Some(false.into()),
        Thinking::Adaptive => None,
        Thinking::Low | Thinking::BudgetTokens(1..=4_096) => Some("low".into()),
        Thinking::Medium | Thinking::BudgetTokens(4_097..=16_384) => Some("medium".into()),
        Thinking::High | Thinking::BudgetTokens(_) => Some("high".into()),
    }
}

/// Says whether the model is shown the tools: that is the protocol's only word about calling them.
fn offers_tools(request: &Request) -> Result<bool, EncodeError> {
    if request.tools.is_empty() {
        return Ok(false);
    }
    match &request.options.tool_choice {
        None | Some(ToolChoice::Auto) => Ok(true),
        Some(ToolChoice::None) => Ok(false),
        Some(ToolChoice::Required | ToolChoice::Tool(_)) => Err(EncodeError::Unsayable {
            protocol: OllamaChat::PROTOCOL,
            option: "tool_choice",
            remedy: "let the model choose, or ask a service that can force a call",
        }),
    }
}
