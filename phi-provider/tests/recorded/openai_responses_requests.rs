//! The next requests of OpenAI Responses: how recorded ones are read and compared.

use std::sync::Arc;

use phi_provider::openai_responses::{OpenAiResponses, Quirks, Storage, SystemPrompt};
use phi_provider::{Delivery, ResponseHead, Wire};
use phi_types::{
    AssistantMessage, CallResult, Content, EffectClass, Entry, History, ImageSource, Options,
    RawJson, Request, SessionId, ToolCall, ToolKind, ToolResult, ToolSpec, UserMessage,
};
use serde_json::{Map, Value, json};

use crate::cases::{Turn, turns_of};
use crate::exceptions::Exception;
use crate::laws::{Subject, decode};
use crate::openai_responses::{Responses, differs, list};
use crate::pairs::{Replay, requests_agree};

fn wire_of(request: &Value, folder: &str) -> OpenAiResponses {
    let mut quirks = match folder {
        "xai" => Quirks::xai(),
        "deepseek" => Quirks::deepseek(),
        "llamacpp" | "mistralrs" => Quirks::compatible(),
        _ => Quirks::default(),
    };
    if request["store"] != false {
        quirks.storage = Storage::Stored;
    }
    let first = &items(request)[0]["role"];
    if request.get("instructions").is_some() {
        quirks.system_prompt = SystemPrompt::Instructions;
    }
    if request.get("instructions").is_none() && *first == "developer" {
        quirks.system_prompt = SystemPrompt::Developer;
    }
    if request.get("instructions").is_none() && *first == "system" {
        quirks.system_prompt = SystemPrompt::System;
    }
    let delivery = if request["stream"] == true {
        Delivery::Streamed
    } else {
        Delivery::Whole
    };
    OpenAiResponses::new("https://api.example.com/v1")
        .with_quirks(quirks)
        .with_delivery(delivery)
}

impl Replay for Responses {
    fn wire(turn: &Turn) -> Box<dyn Wire> {
        let folder = turn.case.split('/').next().unwrap();
        Box::new(wire_of(turn.request.as_ref().unwrap(), folder))
    }

    fn continues(first: &Value, second: &Value) -> bool {
        let (first, second) = (items(first), items(second));
        second.len() > first.len()
            && first.iter().zip(&second).all(|(a, b)| a == b)
            && is_of_model(&second[first.len()])
    }

    fn build(first: &Value, answer: AssistantMessage, second: &Value) -> Result<Request, String> {
        let before = items(first);
        let all = items(second);
        let after = &all[before.len()..];
        let written = after.iter().take_while(|item| is_of_model(item)).count();
        let model = second["model"].as_str().unwrap();
        let mut builder = Builder::default();
        builder.add(&before, model)?;
        builder.push_answer(answer);
        builder.add(&after[written..], model)?;
        let mut extra = second.as_object().unwrap().clone();
        for typed in ["model", "input", "instructions", "stream", "tools"] {
            extra.remove(typed);
        }
        let (tools, own): (Vec<&Value>, Vec<&Value>) =
            list(&second["tools"]).iter().partition(|it| is_plain(it));
        if !own.is_empty() {
            extra.insert("tools".to_owned(), json!(own));
        }
        let options = Options {
            extra: Some(RawJson::from_value(&extra).unwrap()),
            ..Options::default()
        };
        let instructions = second["instructions"].as_str().map(str::to_owned);
        Ok(Request {
            session: SessionId::new("replay").unwrap(),
            model: model.into(),
            system: instructions.unwrap_or(builder.system).into(),
            tools: tools.into_iter().map(tool).collect(),
            view: builder.view,
            options: Arc::new(options),
        })
    }

    fn normalise(request: &mut Value) {
        let input = items(request);
        let fields = request.as_object_mut().unwrap();
        fields.insert("input".to_owned(), input.into());
        // What the service keeps and how its cache is named are the client's own choice, a stream
        // is asked for where one was recorded, and phi always asks for encrypted reasoning.
        for name in ["store", "stream", "prompt_cache_key", "include"] {
            fields.remove(name);
        }
        // An empty prompt says nothing.
        if fields.get("instructions") == Some(&json!("")) {
            fields.remove("instructions");
        }
        // `auto` is the default.
        if fields.get("tool_choice") == Some(&json!("auto")) {
            fields.remove("tool_choice");
        }
        if let Some(Value::Array(tools)) = fields.get_mut("tools") {
            for tool in tools.iter_mut() {
                let tool = tool.as_object_mut().unwrap();
                // Whether the service checks the arguments is the client's own choice.
                tool.remove("strict");
                // An empty description says nothing.
                if matches!(tool.get("description"), Some(it) if it.is_null() || it == "") {
                    tool.remove("description");
                }
            }
            // phi lists the tools of the request before those of the service.
            tools.sort_by_key(|tool| tool["name"].as_str().unwrap_or_default().to_owned());
        }
    }
}

/// Says whether a tool has the fields alone that phi has words for.
fn is_plain(tool: &Value) -> bool {
    let words = ["type", "name", "description", "parameters", "strict"];
    let fields = tool.as_object().unwrap();
    tool["type"] == "function" && fields.keys().all(|name| words.contains(&name.as_str()))
}

fn tool(tool: &Value) -> ToolSpec {
    ToolSpec {
        name: tool["name"].as_str().unwrap().into(),
        description: tool["description"].as_str().unwrap_or_default().into(),
        input_schema: RawJson::from_value(&tool["parameters"]).unwrap(),
        kind: ToolKind::Other,
        effect_class: EffectClass::Pure,
    }
}

/// Returns the items of an input in one form. Each step has its reason beside it.
fn items(request: &Value) -> Vec<Value> {
    let mut items = match &request["input"] {
        // A text alone is a message of the user.
        Value::String(text) => vec![json!({"role": "user", "content": text})],
        input => list(input).to_vec(),
    };
    let mut ids: Vec<String> = Vec::new();
    for item in &mut items {
        let of_model = is_of_model(item);
        let fields = item.as_object_mut().unwrap();
        // A message is the default.
        fields.entry("type").or_insert_with(|| json!("message"));
        // `null` says nothing, and the status of an item is the service's.
        fields.retain(|name, value| !value.is_null() && name != "status");
        if fields["type"] == "message" {
            normalise_content(fields, of_model);
        }
        // Some clients send item ids back and some do not; the tests of the facts say when phi does.
        if matches!(
            fields["type"].as_str(),
            Some("message" | "reasoning" | "function_call")
        ) {
            fields.remove("id");
        }
        // No content and an empty one are the same.
        if fields["type"] == "reasoning" && fields.get("content") == Some(&json!([])) {
            fields.remove("content");
        }
        // Clients write the arguments anew: the value counts, not its spelling.
        if fields["type"] == "function_call" {
            let text = fields["arguments"].as_str().unwrap();
            let arguments = serde_json::from_str(text).unwrap_or_else(|_| json!(text));
            fields.insert("arguments".to_owned(), arguments);
        }
        // What pairs a call with its result counts, not its name: some clients qualify it.
        let paired = ["function_call", "function_call_output"].map(Value::from);
        if paired.contains(&fields["type"])
            && let Some(id) = fields.get("call_id").and_then(Value::as_str)
        {
            let at = ids.iter().position(|known| known == id).unwrap_or_else(|| {
                ids.push(id.to_owned());
                ids.len() - 1
            });
            fields.insert("call_id".to_owned(), at.into());
        }
    }
    items
}

fn normalise_content(fields: &mut Map<String, Value>, of_model: bool) {
    let mut content = fields["content"].clone();
    // A text alone is a list of one.
    if let Some(text) = content.as_str() {
        let kind = if of_model {
            "output_text"
        } else {
            "input_text"
        };
        content = json!([{"type": kind, "text": text}]);
    }
    for piece in content.as_array_mut().unwrap() {
        let piece = piece.as_object_mut().unwrap();
        // Nobody needs these back; empty they say nothing.
        piece.retain(|name, value| {
            !(["annotations", "logprobs"].contains(&name.as_str()) && *value == json!([]))
        });
    }
    fields.insert("content".to_owned(), content);
}

/// Says whether the model, or the service for it, wrote an item.
fn is_of_model(item: &Value) -> bool {
    match item["type"].as_str() {
        None | Some("message") => item["role"] == "assistant",
        Some("tool_search_output") => item["execution"] == "server",
        Some(kind) => !kind.ends_with("_output") && kind != "additional_tools",
    }
}

/// Builds a conversation of phi from recorded items.
#[derive(Default)]
struct Builder {
    system: String,
    view: History,
    calls: Vec<Arc<ToolCall>>,
}

impl Builder {
    fn push_answer(&mut self, answer: AssistantMessage) {
        self.calls.extend(answer.tool_calls().cloned());
        self.view.push(Entry::Assistant(Arc::new(answer)));
    }

    fn add(&mut self, items: &[Value], model: &str) -> Result<(), String> {
        let mut rest = items;
        while let Some(item) = rest.first() {
            let same = |next: &&Value| {
                is_of_model(next) == is_of_model(item) && next["type"] == item["type"]
                    || is_of_model(next) && is_of_model(item)
            };
            let run = match item["type"].as_str().unwrap() {
                "message" if !is_of_model(item) => 1,
                _ => rest.iter().take_while(same).count(),
            };
            let (group, after) = rest.split_at(run);
            rest = after;
            match item["type"].as_str().unwrap() {
                _ if is_of_model(item) => self.push_answer(said(group, model)),
                "function_call_output" => self.add_results(group)?,
                "message" => self.add_message(item)?,
                other => return Err(format!("an item `{other}`")),
            }
        }
        Ok(())
    }

    fn add_message(&mut self, item: &Value) -> Result<(), String> {
        let content: Result<Vec<Content>, String> =
            list(&item["content"]).iter().map(content).collect();
        let content = content?;
        match (item["role"].as_str().unwrap(), content.as_slice()) {
            ("user", _) => self
                .view
                .push(Entry::User(Arc::new(UserMessage { content }))),
            (_, [Content::Text { text }]) if self.view.is_empty() && self.system.is_empty() => {
                self.system = text.clone();
            }
            (role, _) => return Err(format!("a message of role `{role}` here")),
        }
        Ok(())
    }

    fn add_results(&mut self, items: &[Value]) -> Result<(), String> {
        let mut results = Vec::new();
        // The ids were counted, and so are the calls.
        for item in items {
            let nth = usize::try_from(item["call_id"].as_u64().unwrap()).unwrap();
            let call = self.calls.get(nth).ok_or("a result without its call")?;
            let content = match &item["output"] {
                Value::String(text) => vec![Content::text(text)],
                output => list(output).iter().map(content).collect::<Result<_, _>>()?,
            };
            results.push(CallResult {
                call: Arc::clone(call),
                result: Arc::new(ToolResult {
                    content,
                    is_error: false,
                    ..ToolResult::default()
                }),
            });
        }
        self.view.push(Entry::Results(results.into()));
        Ok(())
    }
}

fn content(piece: &Value) -> Result<Content, String> {
    match piece["type"].as_str().unwrap() {
        "input_text" => Ok(Content::text(piece["text"].as_str().unwrap())),
        "input_image" => {
            let url = piece["image_url"].as_str().ok_or("an image by its file")?;
            let data = url
                .strip_prefix("data:")
                .and_then(|it| it.split_once(";base64,"));
            Ok(match data {
                Some((media_type, data)) => Content::Image {
                    media_type: media_type.to_owned(),
                    source: ImageSource::Base64(data.to_owned()),
                },
                None => Content::Image {
                    media_type: "image/png".to_owned(),
                    source: ImageSource::Url(url.to_owned()),
                },
            })
        }
        other => Err(format!("content `{other}`")),
    }
}

/// An answer of an earlier turn, as the decoder reads its items.
fn said(items: &[Value], model: &str) -> AssistantMessage {
    let mut output = items.to_vec();
    for item in &mut output {
        if item["type"] == "function_call" {
            item["arguments"] = item["arguments"].to_string().into();
            item["call_id"] = format!("call_{}", item["call_id"]).into();
        }
    }
    let body = json!({"object": "response", "status": "completed", "output": output}).to_string();
    let wire = OpenAiResponses::new("https://api.example.com/v1");
    let decoded = decode(&wire, &ResponseHead::new(200), [body.as_bytes()]);
    decoded.message(wire.identity(), model).unwrap()
}

const FOLDERS: &[&str] = &[
    "azure",
    "bedrock-mantle",
    "chatgpt",
    "copilot",
    "deepseek",
    "mistralrs",
    "openai",
    "openrouter",
    "xai",
];

const ITEMS: &str = "the conversation holds items that phi has no words for: files, and tools that \
    are added on the way";
const PHASE: &str = "the client lost the phase; the service wants it back";
const SEARCHES: &str = "the client writes the search for tools anew; phi sends it back as it came";

const REQUESTS: &[Exception] = &[
    differs(
        "deepseek/pyai--test-deepseek-responses-test-deepseek-responses-text-multi-turn",
        "input[].phase",
        PHASE,
    ),
    differs(
        "openai/rig--openai-gpt-5-6-reasoning-five-turn-streaming-metadata-roundtrip",
        "input[].phase",
        PHASE,
    ),
    differs(
        "openai/pyai--test-multimodal-tool-returns-*",
        "vocabulary",
        ITEMS,
    ),
    differs(
        "openai/pyai--test-openai-tool-availability-delta-test-openai-live-delta-preserves-the-warmed-cache-pref",
        "vocabulary",
        ITEMS,
    ),
    differs(
        "openai/pyai--test-tool-search-test-openai-execution-client-round-trip",
        "vocabulary",
        ITEMS,
    ),
    differs(
        "openai/pyai--test-tool-search-test-openai-native-tool-search-with-deferred-capability*",
        "vocabulary",
        ITEMS,
    ),
    differs("openai/pyai--test-tool-search-*", "input", SEARCHES),
    differs(
        "openai/pyai--test-tool-search-*",
        "input[].arguments.paths",
        SEARCHES,
    ),
    differs(
        "openai/pyai--test-tool-search-*",
        "input[].arguments.queries",
        SEARCHES,
    ),
    differs(
        "openai/pyai--test-tool-search-*",
        "input[].tools[].output_schema",
        SEARCHES,
    ),
    differs(
        "openai/pyai--test-tool-search-test-openai-hosted-tool-search-stateless-continuation-without-item-ids",
        "input[].id",
        "the client was told to send no ids",
    ),
    differs(
        "openai/pyai--test-openai-responses-test-openai-responses-model-file-search-tool",
        "input",
        "the client left the search out, which phi sends back as it came",
    ),
    differs(
        "openai/pyai--test-openai-responses-test-openai-responses-thinking-with-modified-history",
        "input[].content[].text",
        "the client changed the answer before it sent it back",
    ),
    differs(
        "openai/pyai--test-openai-responses-test-openai-responses-thinking-with-code-execution-tool",
        "input[].outputs",
        "the client left the output of the code out, which phi sends back as it came",
    ),
    differs(
        "openai/pyai--test-openai-responses-test-openai-responses-phase-streamed-on-part-start",
        "input[].content[].text",
        "the recording spells the quotation marks of the answer in another way",
    ),
];

#[test]
fn the_next_request_is_the_recorded_one() {
    let turns = turns_of(Responses::PROTOCOL, &Responses::FRAMING);
    let compared = requests_agree::<Responses>(&turns, FOLDERS, REQUESTS);
    println!("{compared} pairs");
    assert!(compared > 40, "{compared}");
}
