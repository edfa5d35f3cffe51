//! The next requests of the Gemini protocol: how recorded ones are read and compared.

use std::sync::Arc;

use phi_provider::gemini::Gemini;
use phi_provider::{Delivery, Wire};
use phi_types::{
    Arguments, AssistantMessage, AssistantPart, CallResult, Content, Entry, Facts, History,
    ImageSource, OpaquePart, Options, OutputSchema, PartFacts, RawJson, Request, SessionId,
    StopReason, TextPart, ThinkingPart, ToolCall, ToolResult, ToolSpec, UserMessage,
};
use serde_json::{Map, Value, json};

use crate::cases::Turn;
use crate::exceptions::Exception;
use crate::gemini::{Google, differs};
use crate::laws::{Laws, origin};
use crate::pairs::{Replay, requests_agree};

impl Replay for Google {
    fn wire(turn: &Turn) -> Box<dyn Wire> {
        let delivery = if turn.is_stream {
            Delivery::Streamed
        } else {
            Delivery::Whole
        };
        Box::new(Gemini::new().with_delivery(delivery))
    }

    fn continues(first: &Value, second: &Value) -> bool {
        let (mut first, mut second) = (first.clone(), second.clone());
        Self::normalise(&mut first);
        Self::normalise(&mut second);
        let (Some(before), Some(after)) =
            (first["contents"].as_array(), second["contents"].as_array())
        else {
            return false;
        };
        after.len() > before.len()
            && before.iter().zip(after).all(|(a, b)| a == b)
            && after[before.len()]["role"] == "model"
    }

    fn build(first: &Value, answer: AssistantMessage, second: &Value) -> Result<Request, String> {
        let before = first["contents"].as_array().unwrap().len();
        let mut second = second.clone();
        camel_case(&mut second);
        let model = second["model"].as_str().unwrap().to_owned();
        let mut view = History::new();
        let mut calls = Vec::new();
        let mut answer = Some(answer);
        let contents = second["contents"].as_array().unwrap().clone();
        for (at, content) in contents.iter().enumerate() {
            match answer.take_if(|_| at == before) {
                Some(answer) => {
                    calls.extend(answer.tool_calls().cloned());
                    view.push(Entry::Assistant(Arc::new(answer)));
                }
                None => read_content(&mut view, &mut calls, content, &model)?,
            }
        }
        let fields = second.as_object_mut().unwrap();
        fields.remove("contents");
        fields.remove("model");
        let system = fields.remove("systemInstruction").unwrap_or_default();
        let system = system["parts"][0]["text"].as_str().unwrap_or_default();
        let tools = take_tools(fields);
        let mut options = Options::default();
        if let Some(Value::Object(config)) = fields.get_mut("generationConfig") {
            options.output_tokens_max = take(config, "maxOutputTokens").and_then(|it| it.as_u64());
            options.temperature = take(config, "temperature").and_then(|it| it.as_f64());
            config.remove("responseMimeType");
            options.output = take(config, "responseJsonSchema").map(|schema| OutputSchema {
                name: "answer".to_owned(),
                schema: RawJson::from_value(&schema).unwrap(),
            });
        }
        options.extra = Some(RawJson::from_value(fields).unwrap());
        Ok(Request {
            session: SessionId::new("replay").unwrap(),
            model: model.into(),
            system: system.into(),
            tools: tools.into(),
            view,
            options: options.into(),
        })
    }

    fn normalise(request: &mut Value) {
        camel_case(request);
        let fields = request.as_object_mut().unwrap();
        // The model stands in the path of the request.
        fields.remove("model");
        // A system prompt has no role, and one that is empty says nothing.
        if let Some(system) = fields.get_mut("systemInstruction") {
            system.as_object_mut().unwrap().remove("role");
            normalise_part(&mut system["parts"][0]);
        }
        let contents = fields["contents"].as_array_mut().unwrap();
        for content in contents.iter_mut() {
            for part in content["parts"].as_array_mut().into_iter().flatten() {
                normalise_part(part);
            }
        }
        // phi joins answers that follow each other.
        contents.dedup_by(|content, before| {
            let joins = content["role"] == "model" && before["role"] == "model";
            if joins {
                let parts = content["parts"].as_array_mut().unwrap().drain(..);
                before["parts"].as_array_mut().unwrap().extend(parts);
            }
            joins
        });
        // phi lists the functions of the request in a tool of their own, and one tool or a list of
        // one are the same.
        if let Some(tools) = fields.get_mut("tools") {
            let list = match tools.take() {
                Value::Array(list) => list,
                one => vec![one],
            };
            let mut flat: Vec<Value> = Vec::new();
            for tool in list {
                for (name, value) in tool.as_object().unwrap() {
                    match value {
                        Value::Array(all) => {
                            flat.extend(all.iter().map(|one| json!({ name: one })));
                        }
                        one => flat.push(json!({ name: one })),
                    }
                }
            }
            // An empty description says nothing.
            for tool in &mut flat {
                if let Some(Value::Object(function)) = tool.get_mut("functionDeclarations")
                    && function.get("description") == Some(&json!(""))
                {
                    function.remove("description");
                }
            }
            flat.sort_by_key(Value::to_string);
            *tools = flat.into();
        }
    }
}

fn normalise_part(part: &mut Value) {
    let part = part.as_object_mut().unwrap();
    // `false` is the default.
    if part.get("thought") == Some(&json!(false)) {
        part.remove("thought");
    }
    if let Some(signature) = part.get_mut("thoughtSignature") {
        *signature = plain_base64(signature.as_str().unwrap()).into();
    }
    for name in ["functionCall", "functionResponse"] {
        let Some(call) = part.get_mut(name).and_then(Value::as_object_mut) else {
            continue;
        };
        // Ids that the client made say nothing to the service.
        if let Some(Value::String(id)) = call.get("id")
            && id.starts_with("pyd_ai_")
        {
            call.remove("id");
        }
    }
    // What a function returned is an object of the client's own making; phi sends text.
    if let Some(response) = part.get_mut("functionResponse") {
        let response = &mut response["response"];
        if response["output"].is_string() && response.as_object().unwrap().len() == 1 {
            *response = response["output"].take();
        } else if !response["error"].is_string() {
            *response = response.to_string().into();
        }
    }
}

/// Bytes are written in either alphabet of base64, with or without padding.
fn plain_base64(text: &str) -> String {
    text.trim_end_matches('=')
        .replace('-', "+")
        .replace('_', "/")
}

/// Fields are spelled in snake case or in camel case, and `null` says nothing. What a function takes
/// and returns is the client's own.
fn camel_case(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, mut value) in std::mem::take(fields) {
                if value.is_null() {
                    continue;
                }
                let mut camel = String::new();
                let mut after_underscore = false;
                for c in name.chars() {
                    if c == '_' {
                        after_underscore = true;
                    } else if std::mem::take(&mut after_underscore) {
                        camel.extend(c.to_uppercase());
                    } else {
                        camel.push(c);
                    }
                }
                let own = ["args", "response", "parameters", "parametersJsonSchema"];
                if !own.contains(&camel.as_str()) && camel != "responseJsonSchema" {
                    camel_case(&mut value);
                }
                fields.insert(camel, value);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(camel_case),
        _ => {}
    }
}

fn take(fields: &mut Map<String, Value>, name: &str) -> Option<Value> {
    fields.remove(name)
}

/// Takes the functions whose schema is JSON Schema out of the tools; phi passes the others on as
/// they are.
fn take_tools(fields: &mut Map<String, Value>) -> Vec<ToolSpec> {
    let mut specs = Vec::new();
    let Some(tools) = fields.get_mut("tools") else {
        return specs;
    };
    if tools.is_object() {
        *tools = json!([tools.take()]);
    }
    for tool in tools.as_array_mut().unwrap() {
        let Some(functions) = tool["functionDeclarations"].as_array_mut() else {
            continue;
        };
        functions.retain(|function| {
            let Some(schema) = function.get("parametersJsonSchema") else {
                return true;
            };
            specs.push(ToolSpec {
                name: function["name"].as_str().unwrap().into(),
                description: function["description"].as_str().unwrap_or_default().into(),
                input_schema: RawJson::from_value(schema).unwrap(),
                kind: phi_types::ToolKind::Other,
                effect_class: phi_types::EffectClass::Pure,
            });
            false
        });
    }
    specs
}

/// Reads one recorded content into entries of a history.
fn read_content(
    view: &mut History,
    calls: &mut Vec<Arc<ToolCall>>,
    content: &Value,
    model: &str,
) -> Result<(), String> {
    let parts = content["parts"].as_array().unwrap();
    if content["role"] == "model" {
        let parts: Vec<AssistantPart> = parts.iter().map(read_part).collect();
        calls.extend(parts.iter().filter_map(|part| match part {
            AssistantPart::ToolCall(call) => Some(Arc::clone(call)),
            _ => None,
        }));
        view.push(Entry::Assistant(Arc::new(AssistantMessage {
            parts,
            stop_reason: StopReason::EndTurn,
            stop_reason_raw: None,
            usage: phi_types::Usage::default(),
            origin: origin(Gemini::new().identity(), model),
        })));
        return Ok(());
    }
    let mut results = Vec::new();
    let mut said = Vec::new();
    for part in parts {
        if let Some(response) = part.get("functionResponse") {
            results.push(read_result(response, calls)?);
        } else {
            said.push(read_said(part)?);
        }
    }
    if !results.is_empty() {
        view.push(Entry::Results(results.into()));
    }
    if !said.is_empty() {
        let content = said;
        view.push(Entry::User(Arc::new(UserMessage { content })));
    }
    Ok(())
}

fn read_part(part: &Value) -> AssistantPart {
    let text_of = |name: &str| part[name].as_str().map(str::to_owned);
    let mut facts = PartFacts::from(Facts {
        signature: text_of("thoughtSignature"),
        ..Facts::default()
    });
    let call = &part["functionCall"];
    if call.is_object() {
        facts.item_id = call["id"].as_str().map(str::to_owned);
        return AssistantPart::ToolCall(Arc::new(ToolCall {
            id: facts.item_id.clone().unwrap_or_default().into(),
            name: call["name"].as_str().unwrap().into(),
            arguments: Arguments::Object(RawJson::from_value(&call["args"]).unwrap()),
            facts,
        }));
    }
    match text_of("text") {
        Some(text) if part["thought"] == true => {
            AssistantPart::Thinking(ThinkingPart { text, facts })
        }
        Some(text) => AssistantPart::Text(TextPart { text, facts }),
        None => AssistantPart::Opaque(OpaquePart {
            kind: "executableCode".to_owned(),
            data: RawJson::from_value(part).unwrap(),
        }),
    }
}

/// Finds the call of a result: by its id, else the first of its name that has no result yet.
fn read_result(response: &Value, calls: &mut Vec<Arc<ToolCall>>) -> Result<CallResult, String> {
    let (id, name) = (response["id"].as_str(), response["name"].as_str().unwrap());
    let by_id = calls.iter().position(|call| Some(&*call.id) == id);
    let at = by_id.or_else(|| calls.iter().position(|call| &*call.name == name));
    let at = at.ok_or_else(|| format!("a result of `{name}` without a call"))?;
    let result = &response["response"];
    let (text, is_error) = match result["error"].as_str() {
        Some(error) => (error.to_owned(), true),
        None => (result.to_string(), false),
    };
    let mut content = vec![Content::text(text)];
    for part in response["parts"].as_array().into_iter().flatten() {
        content.push(read_said(part)?);
    }
    Ok(CallResult {
        call: calls.remove(at),
        result: Arc::new(ToolResult {
            content,
            is_error,
            ..ToolResult::default()
        }),
    })
}

fn read_said(part: &Value) -> Result<Content, String> {
    if let Some(text) = part["text"].as_str() {
        return Ok(Content::text(text));
    }
    let data = &part["inlineData"];
    match data["mimeType"].as_str() {
        Some(media_type) if media_type.starts_with("image/") => Ok(Content::Image {
            media_type: media_type.to_owned(),
            source: ImageSource::Base64(data["data"].as_str().unwrap().to_owned()),
        }),
        _ => Err(format!("a part `{:?}`", part.as_object().unwrap().keys())),
    }
}

/// Reads the model out of the path of a request.
fn model_of(turn: &Turn) -> Option<&str> {
    let (_, rest) = turn.path.as_deref()?.rsplit_once("/models/")?;
    rest.split(':').next()
}

#[test]
fn the_next_request_is_the_recorded_one() {
    let mut turns = Laws::<Google>::new().turns;
    for turn in &mut turns {
        let model = model_of(turn).map(str::to_owned);
        if let (Some(Value::Object(request)), Some(model)) = (&mut turn.request, model) {
            request.insert("model".to_owned(), model.into());
        }
    }
    let folders = ["google", "vertex", "cross-provider"];
    let compared = requests_agree::<Google>(&turns, &folders, REQUESTS);
    println!("compared {compared} pairs");
    assert!(compared > 40, "{compared}");
}

#[cfg(feature = "vertex")]
#[test]
fn every_request_goes_to_the_recorded_address() {
    let mut compared = 0;
    for turn in Laws::<Google>::new().turns {
        let (Some(path), Some(model)) = (&turn.path, model_of(&turn)) else {
            continue;
        };
        let version = path.split('/').nth(1).unwrap();
        let location = path.split_once("/locations/").map(|(_, rest)| rest);
        let location = location.and_then(|rest| rest.split('/').next());
        // The names of places were masked by marks that no place has.
        let wire = match location {
            Some(location) if location.contains('<') => continue,
            Some(location) => phi_provider::Vertex::new("PROJECT", location)
                .with_version(version)
                .gemini(),
            None => Gemini::new().with_version(version),
        };
        let is_streamed = path.ends_with(":streamGenerateContent");
        let wire = wire.with_delivery(if is_streamed {
            Delivery::Streamed
        } else {
            Delivery::Whole
        });
        let said = UserMessage::text("hi");
        let request = Request {
            session: SessionId::new("address").unwrap(),
            model: model.into(),
            system: "".into(),
            tools: [].into(),
            view: [Entry::User(said.into())].into_iter().collect(),
            options: Options::default().into(),
        };
        let url = wire.encode(&request).unwrap().request.url;
        let url = url.trim_end_matches("?alt=sse");
        assert!(url.ends_with(path), "{}: {url}", turn.name());
        compared += 1;
    }
    println!("compared {compared} addresses");
    assert!(compared > 150, "{compared}");
}

const FILE: &str = "a user message of phi holds text and images, no files, documents and sounds";
const MOVED: &str = "the client moved the signature to the thoughts; the service wants it on the \
    part that it came on, where another recorded client leaves it";
const NO_THOUGHTS: &str = "the client left the thoughts out; others send them back";
const NO_IDS: &str = "the client left out the id that the service gave";
const REPEATED: &str = "the client repeats the signature of the first call on the second";
const STAND_IN: &str = "the client put a stand-in for a signature into a request to a model that \
    needs none";
const EMPTY: &str = "a conversation that begins with an answer: the client puts an empty text of \
    the user before it, which Vertex AI refuses";
const JOINED: &str = "the client joined the last text with the empty one that carries a signature";
const SPLIT: &str = "the client put the calls of one answer into two and their results into one; phi \
    answers the calls of each answer";

const REQUESTS: &[Exception] = &[
    differs(
        "cross-provider/pyai--test-tool-search-test-cross-provider-capability-replay-google-gemini-3-flash-preview-opena",
        "contents",
        SPLIT,
    ),
    differs(
        "cross-provider/pyai--test-tool-search-test-cross-provider-capability-replay-openai-responses-gpt-5-4-google-gem",
        "contents",
        SPLIT,
    ),
    differs(
        "google/pyai--test-multimodal-tool-returns-*",
        "vocabulary",
        FILE,
    ),
    differs(
        "vertex/pyai--test-multimodal-tool-returns-*",
        "vocabulary",
        FILE,
    ),
    differs(
        "google/pyai--test-google-test-google-model-structured-output",
        "contents[].parts[].thoughtSignature",
        STAND_IN,
    ),
    differs(
        "google/rubyllm--chat-with-extended-thinking-gemini-gemini-3-flash-preview-preserves-thinking-signatures-be",
        "contents[].parts[].thoughtSignature",
        MOVED,
    ),
    differs(
        "vertex/rubyllm--chat-with-extended-thinking-vertexai-gemini-3-flash-preview-preserves-thinking-signatures-",
        "contents[].parts[].thoughtSignature",
        MOVED,
    ),
    differs(
        "google/rig--gemini-chat-history-five-turn-chat-history-stress-preserves-context-and-tools",
        "contents[].parts[].thoughtSignature",
        MOVED,
    ),
    differs(
        "google/rubyllm--chat-with-schema-with-gemini-gemini-3-flash-preview-allows-removing-schema-mid-conversatio",
        "contents[].parts",
        MOVED,
    ),
    differs(
        "google/pyai--test-google-test-google-model-file-search-grounding-gemini-3-true",
        "contents[].parts",
        JOINED,
    ),
    differs(
        "google/rubyllm--chat-function-calling-gemini-gemini-2-5-flash-can-use-parallel-tool-calls",
        "contents[].parts[].thoughtSignature",
        REPEATED,
    ),
    differs(
        "vertex/rubyllm--chat-function-calling-vertexai-gemini-2-5-flash-can-handle-multiple-tool-calls-in-a-single",
        "contents[].parts[].thoughtSignature",
        REPEATED,
    ),
    differs(
        "google/rubyllm--chat-function-calling-thought-signatures-gemini-gemini-3-1-pro-preview-includes-thought-si",
        "contents[].parts",
        NO_THOUGHTS,
    ),
    differs(
        "vertex/rubyllm--chat-function-calling-thought-signatures-vertexai-gemini-3-1-pro-preview-includes-thought-",
        "contents[].parts",
        NO_THOUGHTS,
    ),
    differs(
        "google/rubyllm--chat-function-calling-thought-signatures-gemini-gemini-3-1-pro-preview-includes-thought-si",
        "contents[].parts[].functionResponse.id",
        NO_IDS,
    ),
    differs(
        "vertex/rubyllm--chat-function-calling-thought-signatures-vertexai-gemini-3-1-pro-preview-includes-thought-",
        "contents[].parts[].functionResponse.id",
        NO_IDS,
    ),
    differs(
        "vertex/rubyllm--chat-multimodal-tool-attachments-vertexai-gemini-3-flash-preview-describes-images-returned",
        "contents[].parts[].functionCall.id",
        NO_IDS,
    ),
    differs(
        "vertex/rubyllm--chat-multimodal-tool-attachments-vertexai-gemini-3-flash-preview-describes-images-returned",
        "contents[].parts[].functionResponse.id",
        NO_IDS,
    ),
    differs(
        "google/pyai--test-google-test-google-instructions-only-with-tool-calls",
        "contents[].parts[].text",
        EMPTY,
    ),
];
