//! The recordings of OpenAI Chat Completions and of the services that follow it.

use phi_provider::openai_chat::OpenAiChat;
use phi_provider::{Delivery, Wire};
use phi_types::{
    AssistantMessage, CallResult, Content, Entry, History, ImageSource, Options, ProviderErrorKind,
    RawJson, Request, SessionId, ToolChoice, ToolKind, ToolResult, ToolSpec, UserMessage,
};
use serde_json::{Value, json};

use crate::cases::{Framing, Turn};
use crate::exceptions::Exception;
use crate::fields::{Fields, insert_usage};
use crate::laws::{Laws, Subject, decode, origin};
use crate::pairs::{Replay, requests_agree};

pub(crate) struct Chat;

impl Subject for Chat {
    const PROTOCOL: &'static str = "openai-chat";
    const FRAMING: Framing = Framing {
        names_events: false,
        last: "data: [DONE]\n\n",
    };

    fn wire() -> Box<dyn Wire> {
        Box::new(OpenAiChat::new("https://api.example.com/v1"))
    }

    /// A service that names no reason finishes with `[DONE]`.
    fn is_finish(data: &str) -> bool {
        let chunk: Value = serde_json::from_str(data).unwrap_or_default();
        let states = |choice: &Value| {
            choice["index"].as_u64().unwrap_or(0) == 0
                && choice["finish_reason"]
                    .as_str()
                    .is_some_and(|it| !it.is_empty())
        };
        let choices = chunk["choices"].as_array();
        data == "[DONE]" || choices.is_some_and(|choices| choices.iter().any(states))
    }

    fn expected(oracle: &Value) -> Option<Fields> {
        if oracle.get("sdk_raises").is_some() {
            return None;
        }
        let answer = Answer {
            text: text(&oracle["text"]),
            thinking: text(&oracle["reasoning"]),
            refusal: text(&oracle["refusal"]),
            calls: list(&oracle["tool_calls"])
                .iter()
                .map(|call| Call {
                    id: text(&call["id"]),
                    name: text(&call["name"]),
                    arguments: text(&call["arguments_raw"]),
                })
                .collect(),
            finish_reason: oracle["stop_reason"].as_str().map(str::to_owned),
            usage: oracle["usage"].clone(),
            id: text(&oracle["id"]),
            model: text(&oracle["model"]),
        };
        Some(answer.fields())
    }

    fn read_whole(body: &Value) -> Option<Fields> {
        let choice = body["choices"].get(0)?;
        let message = &choice["message"];
        let mut answer = Answer {
            thinking: first_text([&message["reasoning_content"], &message["reasoning"]]),
            refusal: text(&message["refusal"]),
            finish_reason: choice["finish_reason"]
                .as_str()
                .filter(|word| !word.is_empty())
                .map(str::to_owned),
            usage: body["usage"].clone(),
            id: text(&body["id"]),
            model: text(&body["model"]),
            text: text(&message["content"]),
            calls: Vec::new(),
        };
        for block in list(&message["content"]) {
            match block["type"].as_str() {
                Some("text") => answer.text.push_str(&text(&block["text"])),
                Some("thinking") => {
                    for inner in list(&block["thinking"]) {
                        answer.thinking.push_str(&text(&inner["text"]));
                    }
                }
                other => panic!("a block of type {other:?}"),
            }
        }
        if answer.thinking.is_empty() {
            for detail in list(&message["reasoning_details"]) {
                let shown = first_text([&detail["text"], &detail["summary"]]);
                answer.thinking.push_str(&shown);
            }
        }
        for call in list(&message["tool_calls"]) {
            answer.calls.push(Call {
                id: text(&call["id"]),
                name: text(&call["function"]["name"]),
                arguments: text(&call["function"]["arguments"]),
            });
        }
        let function = &message["function_call"];
        if !text(&function["name"]).is_empty() {
            answer.calls.push(Call {
                id: "call_0".to_owned(),
                name: text(&function["name"]),
                arguments: text(&function["arguments"]),
            });
        }
        Some(answer.fields())
    }
}

/// An answer as an oracle states it.
struct Answer {
    text: String,
    thinking: String,
    refusal: String,
    calls: Vec<Call>,
    finish_reason: Option<String>,
    usage: Value,
    id: String,
    model: String,
}

struct Call {
    id: String,
    name: String,
    arguments: String,
}

impl Answer {
    /// The mapping table from the protocol's words to phi's.
    fn fields(self) -> Fields {
        let stop = match self.finish_reason.as_deref() {
            Some("stop" | "eos" | "tool_calls" | "function_call") | None
                if !self.calls.is_empty() =>
            {
                "tool_use"
            }
            Some("stop" | "eos") if !self.refusal.is_empty() => "refusal",
            Some("stop" | "eos") => "end_turn",
            Some("length") => "max_tokens",
            Some("content_filter") => "content_filter",
            None => "other",
            Some(word) => panic!("the finish reason {word}"),
        };
        let is_cut = self.finish_reason.as_deref() == Some("length");
        let calls: Vec<Value> =
            self.calls
                .iter()
                .map(|call| {
                    let arguments = match call.arguments.as_str() {
                        // No recording cuts a call off that has one after it.
                        "" if is_cut => json!({ "malformed": "" }),
                        // Groq says `null` for a tool without parameters.
                        "" | "null" => json!({}),
                        text => serde_json::from_str(text)
                            .unwrap_or_else(|_| json!({ "malformed": text })),
                    };
                    json!({"id": call.id, "name": call.name, "arguments": arguments})
                })
                .collect();
        let mut fields = Fields::new();
        fields.insert("text", format!("{}{}", self.text, self.refusal).into());
        fields.insert("thinking", self.thinking.into());
        fields.insert("tool_calls", calls.into());
        fields.insert("stop_reason", stop.into());
        fields.insert("stop_reason_raw", json!(self.finish_reason));
        let named = |text: String| Some(text).filter(|text| !text.is_empty());
        fields.insert("response_id", json!(named(self.id)));
        fields.insert("response_model", json!(named(self.model)));
        if self.usage.is_object() {
            insert_usage(&mut fields, &usage(&self.usage));
        } else {
            insert_usage(&mut fields, &phi_types::Usage::default());
        }
        fields
    }
}

/// Reads the token counts of a service.
fn usage(usage: &Value) -> phi_types::Usage {
    let all = |paths: &[&str]| -> Vec<u64> {
        let found = paths.iter().filter_map(|path| usage.pointer(path));
        found.filter_map(Value::as_u64).collect()
    };
    // Where a service states a count twice, one of them is the same or zero.
    let largest = |paths: &[&str]| all(paths).into_iter().max();
    let read = largest(&[
        "/prompt_tokens_details/cached_tokens",
        "/prompt_cache_hit_tokens",
        "/cached_tokens",
        "/num_cached_tokens",
        "/cache_read_input_tokens",
    ]);
    let write = largest(&[
        "/prompt_tokens_details/cache_write_tokens",
        "/cache_creation_input_tokens",
    ]);
    let reasoning = largest(&[
        "/completion_tokens_details/reasoning_tokens",
        "/reasoning_tokens",
    ]);
    let prompt = usage["prompt_tokens"].as_u64();
    let completion = usage["completion_tokens"].as_u64();
    let beside = usage["total_tokens"].as_u64()
        == Some(prompt.unwrap_or(0) + completion.unwrap_or(0) + reasoning.unwrap_or(0));
    phi_types::Usage {
        input_tokens: prompt.map(|all| match read.unwrap_or(0) + write.unwrap_or(0) {
            // More than there is: the service counts them beside the prompt.
            cached if cached > all => all,
            cached => all - cached,
        }),
        cache_read_tokens: read,
        cache_write_tokens: write,
        output_tokens: completion.map(|it| it + reasoning.filter(|_| beside).unwrap_or(0)),
        reasoning_tokens: reasoning,
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn first_text<const N: usize>(values: [&Value; N]) -> String {
    let mut texts = values.into_iter().map(text);
    texts.find(|text| !text.is_empty()).unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

const STREAMS: &[Exception] = &[Exception {
    case: "snowflake/pyai--test-snowflake-test-snowflake-thinking-streaming",
    turn: Some(0),
    field: "thinking",
    reason: "the SDK does not read `reasoning_details`, where all the reasoning is",
}];

const WHOLE: &[Exception] = &[];

#[test]
fn any_cut_decodes_alike() {
    Laws::<Chat>::new().any_cut_decodes_alike();
}

#[test]
fn a_cut_stream_is_incomplete_before_its_finish_and_the_same_message_after() {
    let (before, after) = Laws::<Chat>::new().cut_short(&[]);
    println!("{before} cuts before the finish, {after} after it");
    assert!(before > 5_000 && after > 500, "{before} {after}");
}

#[test]
fn streams_mean_what_the_official_sdk_made_of_them() {
    let compared = Laws::<Chat>::new().streams_agree(STREAMS);
    println!("{compared} streams");
    assert!(compared > 200, "{compared}");
}

#[test]
fn whole_answers_mean_what_their_json_says() {
    let compared = Laws::<Chat>::new().whole_answers_agree(WHOLE);
    println!("{compared} whole answers");
    assert!(compared > 400, "{compared}");
}

/// Says what a caller can do about the error of a turn.
fn kind(turn: &Turn) -> ProviderErrorKind {
    let overflows = [
        "deepseek/rubyllm--chat-real-error-scenarios-deepseek-deepseek-chat-handles-context-length-exceeded-errors",
        "llamacpp/rig--llamacpp-error-matrix-context-overflow-streaming",
        "openrouter/rubyllm--chat-real-error-scenarios-openrouter-claude-haiku-4-5-handles-context-length-exceeded-erro",
        "perplexity/rubyllm--chat-real-error-scenarios-perplexity-sonar-handles-context-length-exceeded-errors",
    ];
    match turn.head.status {
        _ if overflows.contains(&turn.case.as_str()) => ProviderErrorKind::ContextOverflow,
        400 | 404 => ProviderErrorKind::InvalidRequest,
        401 | 403 => ProviderErrorKind::Auth,
        429 => ProviderErrorKind::RateLimited,
        500 => ProviderErrorKind::Server,
        status => panic!("the status {status}"),
    }
}

#[test]
fn error_bodies_say_what_the_caller_can_do() {
    let compared = Laws::<Chat>::new().errors_are_classified(|turn| Some(kind(turn)));
    println!("{compared} error bodies");
    assert!(compared > 40, "{compared}");
}

#[test]
fn errors_under_a_status_of_success_say_what_the_caller_can_do() {
    let expected = [
        (
            "azure/ollmetry--test-azure-test-prompt-content-filtering",
            ProviderErrorKind::ContentFilter,
        ),
        (
            "groq/pyai--test-groq-test-tool-use-failed-error-streaming",
            ProviderErrorKind::InvalidRequest,
        ),
        (
            "openai/vercel--reasoning-model-legacy-parameter-error",
            ProviderErrorKind::InvalidRequest,
        ),
        (
            "openrouter/pyai--test-openrouter-test-openrouter-stream-error",
            ProviderErrorKind::InvalidRequest,
        ),
    ];
    let laws = Laws::<Chat>::new();
    let success = laws.turns.iter().filter(|turn| turn.head.is_success());
    let failed: Vec<(String, ProviderErrorKind)> = success
        .filter_map(|turn| {
            let decoded = decode(&*Chat::wire(), &turn.head, [turn.body.as_slice()]);
            decoded.error.map(|error| (turn.case.clone(), error.kind))
        })
        .collect();
    let failed: Vec<(&str, ProviderErrorKind)> = failed
        .iter()
        .map(|(case, kind)| (case.as_str(), *kind))
        .collect();
    assert_eq!(failed, expected);
}

pub(crate) struct ChatReplay;

impl Replay for ChatReplay {
    fn wire(turn: &Turn) -> Box<dyn Wire> {
        let asks = turn.request.as_ref().is_some_and(|it| it["stream"] == true);
        let delivery = if asks {
            Delivery::Streamed
        } else {
            Delivery::Whole
        };
        Box::new(OpenAiChat::new("https://api.example.com/v1").with_delivery(delivery))
    }

    fn continues(first: &Value, second: &Value) -> bool {
        let (first, second) = (list(&first["messages"]), list(&second["messages"]));
        let Some(new) = second.strip_prefix(first) else {
            return false;
        };
        let said = new.iter().filter(|one| one["role"] == "assistant").count();
        said == 1 && new[0]["role"] == "assistant"
    }

    fn build(first: &Value, answer: AssistantMessage, second: &Value) -> Result<Request, String> {
        let model = text(&second["model"]);
        let mut builder = Builder::default();
        let before = list(&first["messages"]);
        for message in before {
            builder.add(message, &model)?;
        }
        builder.push(Entry::Assistant(answer.into()));
        for message in &list(&second["messages"])[before.len() + 1..] {
            builder.add(message, &model)?;
        }
        builder.settle();
        let tools = list(&second["tools"]).iter().map(tool);
        Ok(Request {
            session: SessionId::new("recorded").map_err(|error| error.to_string())?,
            model: model.into(),
            system: builder.system.into(),
            tools: tools.collect::<Result<Vec<_>, _>>()?.into(),
            view: builder.view,
            options: options(second)?.into(),
        })
    }

    fn normalise(request: &mut Value) {
        let Some(fields) = request.as_object_mut() else {
            return;
        };
        // Whether to stream, and to ask for usage then, is the caller's choice.
        fields.remove("stream");
        fields.remove("stream_options");
        // The same number, spelled with a point or without.
        for number in ["temperature", "top_p"] {
            if let Some(value) = fields.get(number).and_then(Value::as_f64) {
                fields.insert(number.to_owned(), value.into());
            }
        }
        // `auto` is the default wherever there are tools.
        if fields.get("tool_choice") == Some(&json!("auto")) {
            fields.remove("tool_choice");
        }
        for tool in fields.get_mut("tools").into_iter().flat_map(items) {
            // Strict schemas are not in the vocabulary yet.
            tool["function"]
                .as_object_mut()
                .map(|it| it.remove("strict"));
        }
        for message in fields.get_mut("messages").into_iter().flat_map(items) {
            normalise_message(message);
        }
    }
}

fn items(value: &mut Value) -> &mut [Value] {
    value.as_array_mut().map_or(&mut [], Vec::as_mut_slice)
}

fn normalise_message(message: &mut Value) {
    let calls = !list(&message["tool_calls"]).is_empty();
    let Some(fields) = message.as_object_mut() else {
        return;
    };
    // A field that is null says what its absence says.
    fields.retain(|_, value| !value.is_null());
    // Blocks of text say what one text says; only the official SDK's users write them.
    if let Some(blocks) = fields.get("content").and_then(Value::as_array)
        && blocks.iter().all(|block| block["type"] == "text")
    {
        let joined: String = blocks.iter().map(|block| text(&block["text"])).collect();
        fields.insert("content".to_owned(), joined.into());
    }
    // Beside calls, no content is spelled in three ways.
    if calls && fields.get("content").is_some_and(|content| content == "") {
        fields.remove("content");
    }
    // `false` is the default of Mistral's `prefix`.
    if fields.get("prefix") == Some(&json!(false)) {
        fields.remove("prefix");
    }
    for call in fields.get_mut("tool_calls").into_iter().flat_map(items) {
        // A field of answers, which some clients send back.
        call.as_object_mut().map(|it| it.remove("index"));
        // Clients write the arguments anew: the value counts, not its spelling.
        let arguments = &mut call["function"]["arguments"];
        let value: Option<Value> = arguments
            .as_str()
            .and_then(|it| serde_json::from_str(it).ok());
        if let Some(value) = value {
            *arguments = value;
        }
    }
}

/// Builds a conversation of phi from recorded messages.
#[derive(Default)]
struct Builder {
    system: String,
    view: History,
    /// The calls of the latest assistant message and the results so far.
    calls: Vec<std::sync::Arc<phi_types::ToolCall>>,
    results: Vec<CallResult>,
}

impl Builder {
    fn push(&mut self, entry: Entry) {
        self.settle();
        if let Entry::Assistant(message) = &entry {
            self.calls = message.tool_calls().cloned().collect();
        }
        self.view.push(entry);
    }

    /// Ends a run of results.
    fn settle(&mut self) {
        if !self.results.is_empty() {
            let results = std::mem::take(&mut self.results);
            self.view.push(Entry::Results(results.into()));
        }
    }

    fn add(&mut self, message: &Value, model: &str) -> Result<(), String> {
        let content = contents(&message["content"])?;
        match message["role"].as_str() {
            Some("system") if self.view.is_empty() && self.system.is_empty() => {
                self.system = plain(&content)?;
            }
            Some("user") => self.push(Entry::User(UserMessage { content }.into())),
            Some("assistant") => {
                let said = said(message, &plain(&content)?, model);
                self.push(Entry::Assistant(said.into()));
            }
            Some("tool") => {
                let id = text(&message["tool_call_id"]);
                let call = self.calls.iter().find(|call| *call.id == *id);
                let call = call.ok_or_else(|| format!("a result of {id}, which nobody called"))?;
                self.results.push(CallResult {
                    call: call.clone(),
                    result: ToolResult {
                        content,
                        ..ToolResult::default()
                    }
                    .into(),
                });
            }
            other => return Err(format!("a message of role {other:?} here")),
        }
        Ok(())
    }
}

/// An assistant message of an earlier turn.
fn said(message: &Value, content: &str, model: &str) -> AssistantMessage {
    let wire = OpenAiChat::new("https://api.example.com/v1");
    let mut parts = Vec::new();
    if !content.is_empty() {
        let part = phi_types::TextPart::new(content);
        parts.push(phi_types::AssistantPart::Text(part));
    }
    for call in list(&message["tool_calls"]) {
        let arguments = text(&call["function"]["arguments"]);
        parts.push(phi_types::AssistantPart::ToolCall(
            phi_types::ToolCall {
                id: text(&call["id"]).into(),
                name: text(&call["function"]["name"]).into(),
                arguments: phi_types::Arguments::parse(&arguments),
                facts: phi_types::PartFacts::default(),
            }
            .into(),
        ));
    }
    AssistantMessage {
        parts,
        stop_reason: phi_types::StopReason::EndTurn,
        stop_reason_raw: None,
        usage: phi_types::Usage::default(),
        origin: origin(wire.identity(), model),
    }
}

fn contents(content: &Value) -> Result<Vec<Content>, String> {
    match content {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => Ok(vec![Content::text(text)]),
        Value::Array(blocks) => blocks.iter().map(block).collect(),
        other => Err(format!("the content {other}")),
    }
}

fn block(block: &Value) -> Result<Content, String> {
    match block["type"].as_str() {
        Some("text") => Ok(Content::text(text(&block["text"]))),
        Some("image_url") => Ok(Content::Image {
            media_type: "image/png".to_owned(),
            source: ImageSource::Url(text(&block["image_url"]["url"])),
        }),
        other => Err(format!("a block of type {other:?}")),
    }
}

fn plain(content: &[Content]) -> Result<String, String> {
    let texts = content.iter().map(|one| match one {
        Content::Text { text } => Ok(text.as_str()),
        Content::Image { .. } => Err("an image where text alone can stand".to_owned()),
    });
    texts.collect()
}

fn tool(tool: &Value) -> Result<ToolSpec, String> {
    let function = &tool["function"];
    if tool["type"] != "function" {
        return Err(format!("a tool of type {}", tool["type"]));
    }
    Ok(ToolSpec {
        name: text(&function["name"]).into(),
        description: text(&function["description"]).into(),
        input_schema: RawJson::from_value(&function["parameters"])
            .map_err(|error| error.to_string())?,
        kind: ToolKind::Other,
        effect_class: phi_types::EffectClass::Pure,
    })
}

fn options(request: &Value) -> Result<Options, String> {
    let mut extra = request.as_object().cloned().unwrap_or_default();
    for typed in ["messages", "model", "tools", "stream", "stream_options"] {
        extra.remove(typed);
    }
    let mut options = Options {
        output_tokens_max: take(&mut extra, "max_completion_tokens", Value::as_u64),
        temperature: take(&mut extra, "temperature", Value::as_f64),
        top_p: take(&mut extra, "top_p", Value::as_f64),
        parallel_tool_calls: take(&mut extra, "parallel_tool_calls", Value::as_bool),
        ..Options::default()
    };
    options.tool_choice = match extra.remove("tool_choice") {
        None => None,
        Some(choice) if choice == "auto" => Some(ToolChoice::Auto),
        Some(choice) if choice == "none" => Some(ToolChoice::None),
        Some(choice) if choice == "required" => Some(ToolChoice::Required),
        Some(choice) => Some(ToolChoice::Tool(text(&choice["function"]["name"]))),
    };
    if !extra.is_empty() {
        options.extra = Some(RawJson::from_value(&extra).map_err(|error| error.to_string())?);
    }
    Ok(options)
}

fn take<T>(
    fields: &mut serde_json::Map<String, Value>,
    name: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Option<T> {
    let value = read(fields.get(name)?)?;
    fields.remove(name);
    Some(value)
}

/// The folders whose clients send back what phi sends back. Others turn reasoning into text, or
/// send it under two names.
const FOLDERS: &[&str] = &[
    "openai",
    "azure",
    "copilot",
    "crusoe",
    "deepseek",
    "llamacpp",
    "mistral",
    "openrouter",
    "snowflake",
    "venice",
];

const REQUESTS: &[Exception] = &[
    Exception {
        case: "deepseek/rubyllm--chat-string-tool-results-deepseek-deepseek-chat-preserves-strings-returned-from-tools",
        turn: Some(1),
        field: "messages[].reasoning_content",
        reason: "an empty text for an answer without reasoning, which only thinking models want",
    },
    Exception {
        case: "deepseek/rig--deepseek-reasoning-roundtrip-nonstreaming",
        turn: Some(1),
        field: "messages[].reasoning_content",
        reason: "reasoning sent back without tools, which older models reject",
    },
    Exception {
        case: "deepseek/pyai--test-deepseek-test-deepseek-deferred-capability-with-thinking",
        turn: None,
        field: "vocabulary",
        reason: "two system messages",
    },
    Exception {
        case: "mistral/pyai--test-tool-choice-matrix-test-tool-choice-matrix-auto-mistral",
        turn: Some(1),
        field: "vocabulary",
        reason: "a tool without a type",
    },
    Exception {
        case: "mistral/rig--mistral-multimodal-content-streaming-image-with-a-tool-configured",
        turn: Some(1),
        field: "messages[].content[].image_url.detail",
        reason: "the vocabulary has no detail of images; `auto` is the default",
    },
    Exception {
        case: "mistral/pyai--test-mistral-test-mistral-history-uses-prompt-cache",
        turn: Some(1),
        field: "messages[].tool_calls",
        reason: "an empty list says what its absence says",
    },
    Exception {
        case: "openrouter/rubyllm--chat-*",
        turn: None,
        field: "vocabulary",
        reason: "a developer message in the middle of the conversation",
    },
    Exception {
        case: "openrouter/rig--openrouter-reasoning-tool-order-matrix-streaming-signed-agent-roundtrip",
        turn: Some(1),
        field: "messages[].reasoning_details[].format",
        reason: "the client lost the format; the service wants it back as it came",
    },
    Exception {
        case: "openrouter/rig--openrouter-reasoning-tool-order-matrix-streaming-signed-agent-roundtrip",
        turn: Some(1),
        field: "messages[].reasoning_details[].id",
        reason: "the client added an id that the service did not send",
    },
    Exception {
        case: "openrouter/rubyllm--chat-openrouter-reasoning-details-round-trip-replays-reasoning-details-across-tool-calls-a",
        turn: Some(2),
        field: "messages[].reasoning_details",
        reason: "the test keeps the facts of the latest answer alone",
    },
    Exception {
        case: "venice/rig--venice-prompt-caching-streaming-probe",
        turn: Some(2),
        field: "messages",
        reason: "the client invents an answer in place of one that was all reasoning",
    },
];

#[test]
fn the_next_request_is_the_recorded_one() {
    let turns = crate::cases::turns_of(Chat::PROTOCOL, &Chat::FRAMING);
    let compared = requests_agree::<ChatReplay>(&turns, FOLDERS, REQUESTS);
    println!("{compared} pairs");
    assert!(compared >= 60, "{compared}");
}
