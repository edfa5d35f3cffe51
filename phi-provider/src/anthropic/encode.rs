//! Writes the body of a request.

use std::borrow::Cow;

use bytes::Bytes;
use phi_types::{Request, ToolSpec};
use serde_json::Value;

use super::form::Form;
use super::messages::{BlockWriter, rules};
use super::options::option_fields;
use super::{AnthropicMessages, CacheBreakpoints};
use crate::object::{Object, push_string};
use crate::request_body::{add_some, extra_fields, join, up_to_messages};
use crate::surrogates::without_lone_surrogates;
use crate::translate::{Loss, Reader};
use crate::wire::{Delivery, EncodeError, Wire};

impl CacheBreakpoints {
    /// Returns the field that marks a breakpoint, with the comma before it.
    fn field(self) -> Option<&'static str> {
        match self {
            Self::Off => None,
            Self::FiveMinutes => Some(",\"cache_control\":{\"type\":\"ephemeral\"}"),
            Self::OneHour => Some(",\"cache_control\":{\"type\":\"ephemeral\",\"ttl\":\"1h\"}"),
        }
    }
}

impl AnthropicMessages {
    /// Writes the body: what rarely changes first, the messages last.
    pub(super) fn body(&self, request: &Request) -> Result<(Vec<Bytes>, Vec<Loss>), EncodeError> {
        let mut fields = self.fields(request)?;
        let given = fields.remove("messages").map(Cow::into_owned);
        let container_is_given = fields.field("container").is_some();
        let mut head = up_to_messages(fields);
        if let Some(messages) = given {
            return Ok((vec![Bytes::from(head + &messages + "}")], Vec::new()));
        }
        let reader = Reader {
            identity: self.identity(),
            model: &request.model,
        };
        let rules = rules(self.unsigned_thinking);
        let view = self
            .views
            .write(request, reader, &rules, BlockWriter::default());
        let mut messages = view.json;
        if messages.is_empty() {
            return Err(EncodeError::NothingToSend);
        }
        if let Some(cache_control) = self.cache.field() {
            for at in view.writer.breakpoints() {
                messages.insert(at, Bytes::from_static(cache_control.as_bytes()));
            }
        }
        head.push('[');
        // The container comes and goes, so it stands after what stays.
        let container = view.writer.container().filter(|_| !container_is_given);
        let last = match container {
            Some(container) => format!("],\"container\":{container}}}"),
            None => "]}".to_owned(),
        };
        let mut chunks = vec![Bytes::from(head)];
        chunks.extend(messages.into_chunks());
        chunks.push(Bytes::from(last));
        Ok((chunks, view.losses))
    }

    /// Writes all fields but the messages, unless these are given as extra fields.
    fn fields<'r>(&self, request: &'r Request) -> Result<Object<'r>, EncodeError> {
        let options = &request.options;
        let mut extra = extra_fields(options)?;
        let (options, form) = self.form.apply(options, request);
        let mut specs = Cow::Borrowed(&*request.tools);
        if let Some(Form::Tool(tool)) = &form {
            specs.to_mut().push(tool.clone());
        }
        let mut tools = tools(&specs, self.cache.field())?;
        append_items(&mut tools, extra.remove("tools").as_deref());
        let fields = option_fields(
            &options,
            &request.model,
            !tools.is_empty(),
            self.output_tokens_default,
        );
        let mut body = Object::default();
        match self.endpoint.version_in_body() {
            Some(version) => body.set("anthropic_version", Value::from(version).to_string()),
            None => body.set("model", Value::from(&*request.model).to_string()),
        }
        body.set("max_tokens", fields.max_tokens.to_string());
        if self.delivery == Delivery::Streamed {
            body.set("stream", "true");
        }
        let sequences = Some(fields.stop_sequences).filter(|all| !all.is_empty());
        add_some(&mut body, "temperature", fields.temperature);
        add_some(&mut body, "top_p", fields.top_p);
        add_some(&mut body, "stop_sequences", sequences);
        add_some(&mut body, "thinking", fields.thinking);
        let config = output_config(fields.output_config, form.as_ref());
        if let Some(config) = config {
            body.set("output_config", config);
        }
        add_some(&mut body, "tool_choice", fields.tool_choice);
        if !tools.is_empty() {
            body.set("tools", format!("[{tools}]"));
        }
        if !request.system.trim().is_empty() {
            body.set("system", system(&request.system, self.cache.field()));
        }
        join(&mut body, extra);
        Ok(body)
    }
}

/// Writes how much effort is made, and the form of the answer.
fn output_config(given: Option<Value>, form: Option<&Form>) -> Option<String> {
    let mut config = Object::default();
    if let Some(Value::Object(given)) = given {
        for (name, value) in given {
            config.set(&name, value.to_string());
        }
    }
    if let Some(Form::Native(schema)) = form {
        let schema = without_lone_surrogates(schema.as_str());
        let format = format!("{{\"type\":\"json_schema\",\"schema\":{schema}}}");
        config.set("format", format);
    }
    Some(config.text()).filter(|text| text != "{}")
}

/// Writes the tools without the brackets; the breakpoint stands after the last.
fn tools(specs: &[ToolSpec], cache_control: Option<&str>) -> Result<String, EncodeError> {
    let mut out = String::new();
    for (at, spec) in specs.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push_str("{\"name\":");
        push_string(&mut out, &spec.name);
        if !spec.description.trim().is_empty() {
            out.push_str(",\"description\":");
            push_string(&mut out, &spec.description);
        }
        out.push_str(",\"input_schema\":");
        out.push_str(&schema(spec)?);
        if at + 1 == specs.len() {
            out.push_str(cache_control.unwrap_or_default());
        }
        out.push('}');
    }
    Ok(out)
}

/// Returns the schema of a tool, whose type the provider wants to be stated.
fn schema(spec: &ToolSpec) -> Result<String, EncodeError> {
    let mut schema =
        Object::read(spec.input_schema.as_str()).map_err(|_| EncodeError::SchemaNotAnObject {
            tool: spec.name.to_string(),
        })?;
    if schema.field("type").is_none() {
        schema.set("type", "\"object\"");
    }
    Ok(without_lone_surrogates(&schema.text()).into_owned())
}

/// Appends the items of an array to items without brackets.
fn append_items(items: &mut String, array: Option<&str>) {
    let inner = array
        .and_then(|array| array.trim().strip_prefix('[')?.strip_suffix(']'))
        .map(str::trim)
        .unwrap_or_default();
    if !inner.is_empty() {
        if !items.is_empty() {
            items.push(',');
        }
        items.push_str(&without_lone_surrogates(inner));
    }
}

fn system(text: &str, cache_control: Option<&str>) -> String {
    let mut out = String::new();
    match cache_control {
        Some(cache_control) => {
            out.push_str("[{\"type\":\"text\",\"text\":");
            push_string(&mut out, text);
            out.push_str(cache_control);
            out.push_str("}]");
        }
        None => push_string(&mut out, text),
    }
    out
}
