//! The Anthropic Messages protocol: its recordings, its oracles, and the accepted differences.

use std::sync::Arc;

use phi_provider::{AnthropicMessages, CacheBreakpoints, Delivery, Wire};
use phi_types::{
    Arguments, AssistantMessage, AssistantPart, CallResult, Content, Entry, History, ImageSource,
    OpaquePart, Options, PartFacts, ProviderErrorKind as Kind, RawJson, Request, SessionId,
    StopReason, TextPart, ThinkingPart, ToolCall, ToolResult, ToolSpec, UserMessage,
};
use serde_json::{Value, json};

use crate::cases::{Framing, Turn};
use crate::exceptions::Exception;
use crate::fields::Fields;
use crate::laws::{Laws, Subject, origin};
use crate::pairs::{Replay, requests_agree};

struct Anthropic;

impl Subject for Anthropic {
    const PROTOCOL: &'static str = "anthropic-messages";
    const FRAMING: Framing = Framing {
        names_events: true,
        last: "",
    };

    fn wire() -> Box<dyn Wire> {
        Box::new(AnthropicMessages::default())
    }

    fn is_finish(data: &str) -> bool {
        let event: Value = serde_json::from_str(data).unwrap_or_default();
        event["type"] == "message_delta" && event["delta"]["stop_reason"].is_string()
    }

    fn expected(oracle: &Value) -> Option<Fields> {
        if oracle["sdk_raises"].is_string() {
            return None;
        }
        let mut fields = Fields::new();
        fields.insert("text", oracle["text"].clone());
        fields.insert("thinking", oracle["reasoning"].clone());
        fields.insert("signatures", oracle["signatures"].clone());
        fields.insert("tool_calls", oracle["tool_calls"].clone());
        let kinds = oracle["block_types"].as_array().unwrap().iter();
        let kinds = kinds.map(|kind| {
            if kind == "tool_use" {
                json!("tool_call")
            } else {
                kind.clone()
            }
        });
        fields.insert("part_kinds", kinds.collect());
        insert_stop_reason(&mut fields, &oracle["stop_reason"]);
        insert_usage(&mut fields, &oracle["usage"]);
        fields.insert("response_id", oracle["id"].clone());
        fields.insert("response_model", oracle["model"].clone());
        Some(fields)
    }

    fn read_whole(body: &Value) -> Option<Fields> {
        if body["type"] != "message" {
            return None;
        }
        let mut fields = Fields::new();
        let (mut text, mut thinking) = (String::new(), String::new());
        let (mut kinds, mut calls, mut signatures, mut opaque) = (vec![], vec![], vec![], vec![]);
        for block in body["content"].as_array().unwrap() {
            match block["type"].as_str().unwrap() {
                "text" => {
                    text.push_str(block["text"].as_str().unwrap());
                    kinds.push(json!("text"));
                }
                "thinking" => {
                    thinking.push_str(block["thinking"].as_str().unwrap());
                    signatures.push(block["signature"].clone());
                    kinds.push(json!("thinking"));
                }
                "tool_use" => {
                    calls.push(json!({
                        "id": block["id"], "name": block["name"], "arguments": block["input"]
                    }));
                    kinds.push(json!("tool_call"));
                }
                other => {
                    kinds.push(json!(other));
                    opaque.push(block.clone());
                }
            }
        }
        if let Some(container) = body.get("container").filter(|it| !it.is_null()) {
            opaque.push(container.clone());
        }
        fields.insert("text", text.into());
        fields.insert("thinking", thinking.into());
        fields.insert("signatures", signatures.into());
        fields.insert("tool_calls", calls.into());
        fields.insert("part_kinds", kinds.into());
        fields.insert("opaque", opaque.into());
        insert_stop_reason(&mut fields, &body["stop_reason"]);
        insert_usage(&mut fields, &body["usage"]);
        fields.insert("response_id", body["id"].clone());
        fields.insert("response_model", body["model"].clone());
        Some(fields)
    }
}

/// The mapping of stop reasons; every word of a recording must stand here.
fn insert_stop_reason(fields: &mut Fields, word: &Value) {
    let ours = match word.as_str() {
        Some("end_turn") => "end_turn",
        Some("tool_use") => "tool_use",
        Some("max_tokens") => "max_tokens",
        Some("stop_sequence") => "stop_sequence",
        Some("pause_turn" | "compaction") => "pause_turn",
        Some("refusal") => "refusal",
        Some("model_context_window_exceeded") => "context_window",
        other => panic!("the stop reason {other:?} has no place in the table"),
    };
    fields.insert("stop_reason", ours.into());
    fields.insert("stop_reason_raw", word.clone());
}

/// The mapping of usage: the provider's numbers are the same ones.
fn insert_usage(fields: &mut Fields, usage: &Value) {
    fields.insert("usage.input", usage["input_tokens"].clone());
    fields.insert("usage.cache_read", usage["cache_read_input_tokens"].clone());
    fields.insert(
        "usage.cache_write",
        usage["cache_creation_input_tokens"].clone(),
    );
    fields.insert("usage.output", usage["output_tokens"].clone());
    fields.insert(
        "usage.reasoning",
        usage["output_tokens_details"]["thinking_tokens"].clone(),
    );
}

#[test]
fn any_cut_decodes_alike() {
    Laws::<Anthropic>::new().any_cut_decodes_alike();
}

#[test]
fn a_cut_stream_is_never_a_short_answer() {
    let (before, after) = Laws::<Anthropic>::new().cut_short(&[]);
    println!("cut before the finish: {before}, after it: {after}");
    assert!(before > 1000 && after > 100, "{before} and {after} cuts");
}

#[test]
fn streams_mean_what_the_official_sdk_made_of_them() {
    let compared = Laws::<Anthropic>::new().streams_agree(STREAMS);
    println!("compared {compared} streams");
    assert!(compared > 60, "{compared}");
}

#[test]
fn whole_answers_mean_what_their_json_says() {
    let compared = Laws::<Anthropic>::new().whole_answers_agree(&[]);
    println!("compared {compared} whole answers");
    assert!(compared > 150, "{compared}");
}

#[test]
fn error_bodies_are_classified() {
    let kind = |turn: &Turn| match turn.head.status {
        400 | 404 => Some(Kind::InvalidRequest),
        401 => Some(Kind::Auth),
        _ => None,
    };
    let compared = Laws::<Anthropic>::new().errors_are_classified(kind);
    println!("compared {compared} error bodies");
    assert_eq!(compared, 10);
}

const SPLICED: &str = "a gateway spliced a second attempt into the first: the SDK gives the \
    second signature to the first thinking, repairs half a call and loses the arguments of the other";
const CONCATENATED: &str = "the recording holds several answers, one after the other: phi ends \
    with the first `message_stop`, the SDK mixes the blocks of all";
const DONE: &str = "a gateway ends the stream with `[DONE]`, at which the SDK raises";

/// An accepted difference of one field.
const fn differs(case: &'static str, field: &'static str, reason: &'static str) -> Exception {
    Exception {
        case,
        turn: None,
        field,
        reason,
    }
}

const STREAMS: &[Exception] = &[
    differs(
        "anthropic/vercel--spliced-message-start",
        "signatures",
        SPLICED,
    ),
    differs(
        "anthropic/vercel--spliced-message-start",
        "tool_calls",
        SPLICED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-bm25",
        "part_kinds",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-bm25",
        "stop_reason",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-bm25",
        "stop_reason_raw",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-bm25",
        "text",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-bm25",
        "usage.input",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-bm25",
        "usage.output",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-regex",
        "part_kinds",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-regex",
        "stop_reason",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-regex",
        "stop_reason_raw",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-regex",
        "usage.input",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-regex",
        "usage.output",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-deferred-bm25",
        "part_kinds",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-deferred-bm25",
        "stop_reason",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-deferred-bm25",
        "stop_reason_raw",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-deferred-bm25",
        "text",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-deferred-bm25",
        "tool_calls",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-deferred-bm25",
        "usage.input",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-tool-search-deferred-bm25",
        "usage.output",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-programmatic-tool-calling",
        "part_kinds",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-programmatic-tool-calling",
        "stop_reason",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-programmatic-tool-calling",
        "stop_reason_raw",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-programmatic-tool-calling",
        "usage.input",
        CONCATENATED,
    ),
    differs(
        "anthropic/vercel--anthropic-programmatic-tool-calling",
        "usage.output",
        CONCATENATED,
    ),
    differs(
        "anthropic/rig--anthropic-streaming-gateway-message-delta-metadata",
        "error",
        DONE,
    ),
];

impl Replay for Anthropic {
    fn wire(turn: &Turn) -> Box<dyn Wire> {
        let streamed = turn.is_stream;
        Box::new(
            AnthropicMessages::new()
                .with_cache(CacheBreakpoints::Off)
                .with_delivery(if streamed {
                    Delivery::Streamed
                } else {
                    Delivery::Whole
                }),
        )
    }

    fn continues(first: &Value, second: &Value) -> bool {
        let (Some(first), Some(second)) =
            (first["messages"].as_array(), second["messages"].as_array())
        else {
            return false;
        };
        let plain = |message: &Value| {
            let mut message = message.clone();
            normalise_message(&mut message);
            message
        };
        second.len() > first.len()
            && first.iter().zip(second).all(|(a, b)| plain(a) == plain(b))
            && second[first.len()]["role"] == "assistant"
    }

    fn build(first: &Value, answer: AssistantMessage, second: &Value) -> Result<Request, String> {
        let before = first["messages"].as_array().unwrap();
        let after = &second["messages"].as_array().unwrap()[before.len() + 1..];
        let model = second["model"].as_str().unwrap();
        let mut view = History::new();
        let mut calls = Vec::new();
        for message in before {
            read_message(&mut view, &mut calls, message, model)?;
        }
        calls.extend(answer.tool_calls().cloned());
        view.push(Entry::Assistant(Arc::new(answer)));
        for message in after {
            read_message(&mut view, &mut calls, message, model)?;
        }
        let (tools, own_tools) = read_tools(second);
        let mut extra = serde_json::Map::new();
        for name in [
            "mcp_servers",
            "context_management",
            "tool_choice",
            "thinking",
        ] {
            extra.extend(
                second
                    .get(name)
                    .map(|value| (name.to_owned(), value.clone())),
            );
        }
        if !own_tools.is_empty() {
            extra.insert("tools".to_owned(), own_tools.into());
        }
        let options = Options {
            output_tokens_max: second["max_tokens"].as_u64(),
            temperature: second["temperature"].as_f64(),
            extra: Some(RawJson::from_value(&extra).unwrap()),
            ..Options::default()
        };
        let system = match &second["system"] {
            Value::Array(blocks) => blocks
                .iter()
                .map(|block| block["text"].as_str().unwrap())
                .collect(),
            text => text.as_str().unwrap_or_default().to_owned(),
        };
        Ok(Request {
            session: SessionId::new("replay").unwrap(),
            model: model.into(),
            system: system.into(),
            tools: tools.into(),
            view,
            options: Arc::new(options),
        })
    }

    fn normalise(request: &mut Value) {
        let fields = request.as_object_mut().unwrap();
        // Where the cache ends is the client's own choice.
        fields.remove("cache_control");
        // A stream is asked for where one was recorded, and `false` is the default.
        fields.remove("stream");
        // A system prompt is one text or a list of blocks.
        if let Some(Value::Array(blocks)) = fields.get("system") {
            let text: String = blocks
                .iter()
                .map(|block| block["text"].as_str().unwrap())
                .collect();
            fields.insert("system".to_owned(), text.into());
        }
        // `auto` is the default.
        if fields.get("tool_choice") == Some(&json!({"type": "auto"})) {
            fields.remove("tool_choice");
        }
        if let Some(Value::Array(tools)) = fields.get_mut("tools") {
            for tool in tools.iter_mut() {
                let tool = tool.as_object_mut().unwrap();
                tool.remove("cache_control");
                // An empty description says nothing.
                if tool.get("description") == Some(&json!("")) {
                    tool.remove("description");
                }
                // `custom` is the default.
                if tool.get("type") == Some(&json!("custom")) {
                    tool.remove("type");
                }
            }
            // phi lists the tools of the request before those of the provider.
            tools.sort_by_key(|tool| tool["name"].as_str().unwrap_or_default().to_owned());
        }
        for message in fields["messages"].as_array_mut().unwrap() {
            normalise_message(message);
        }
    }
}

fn normalise_message(message: &mut Value) {
    // A text alone is a list of one block.
    if let Some(text) = message["content"].as_str() {
        message["content"] = json!([{"type": "text", "text": text}]);
    }
    for block in message["content"].as_array_mut().unwrap() {
        let block = block.as_object_mut().unwrap();
        // Where the cache ends is the client's own choice.
        block.remove("cache_control");
        // `null` and an empty list say nothing.
        if block
            .get("citations")
            .is_some_and(|it| it.is_null() || *it == json!([]))
        {
            block.remove("citations");
        }
        // A call that the model made itself is the default.
        if block.get("caller") == Some(&json!({"type": "direct"})) {
            block.remove("caller");
        }
        // `false` is the default, and a text alone is a list of one block.
        if block.get("is_error") == Some(&json!(false)) {
            block.remove("is_error");
        }
        if block["type"] == "tool_result"
            && let Some(text) = block.get("content").and_then(Value::as_str)
        {
            let content = if text.is_empty() {
                json!([])
            } else {
                json!([{"type": "text", "text": text}])
            };
            block.insert("content".to_owned(), content);
        }
    }
}

/// Reads one recorded message into entries of a history.
fn read_message(
    view: &mut History,
    calls: &mut Vec<Arc<ToolCall>>,
    message: &Value,
    model: &str,
) -> Result<(), String> {
    let mut message = message.clone();
    normalise_message(&mut message);
    let blocks = message["content"].as_array().unwrap();
    if message["role"] == "assistant" {
        let parts: Vec<AssistantPart> = blocks.iter().map(read_part).collect();
        calls.extend(parts.iter().filter_map(|part| match part {
            AssistantPart::ToolCall(call) => Some(Arc::clone(call)),
            _ => None,
        }));
        let identity = AnthropicMessages::new();
        view.push(Entry::Assistant(Arc::new(AssistantMessage {
            parts,
            stop_reason: StopReason::EndTurn,
            stop_reason_raw: None,
            usage: phi_types::Usage::default(),
            origin: origin(identity.identity(), model),
        })));
        return Ok(());
    }
    let mut results = Vec::new();
    let mut content = Vec::new();
    for block in blocks {
        match (
            message["role"].as_str().unwrap(),
            block["type"].as_str().unwrap(),
        ) {
            ("user", "tool_result") => results.push(read_result(block, calls)?),
            ("user", _) => content.push(read_content(block)?),
            (role, kind) => return Err(format!("a block `{kind}` of role `{role}`")),
        }
    }
    if !results.is_empty() {
        view.push(Entry::Results(results.into()));
    }
    if !content.is_empty() {
        view.push(Entry::User(Arc::new(UserMessage { content })));
    }
    Ok(())
}

fn read_part(block: &Value) -> AssistantPart {
    let text_of = |name: &str| block[name].as_str().unwrap_or_default().to_owned();
    let extra = |name: &str| {
        let value = block.get(name)?;
        RawJson::from_value(&json!({ name: value })).ok()
    };
    match block["type"].as_str().unwrap() {
        "text" => AssistantPart::Text(TextPart {
            text: text_of("text"),
            facts: PartFacts {
                extra: extra("citations"),
                ..PartFacts::default()
            },
        }),
        "thinking" => AssistantPart::Thinking(ThinkingPart {
            text: text_of("thinking"),
            facts: PartFacts {
                signature: Some(text_of("signature")),
                ..PartFacts::default()
            },
        }),
        "tool_use" => AssistantPart::ToolCall(Arc::new(ToolCall {
            id: text_of("id").into(),
            name: text_of("name").into(),
            arguments: Arguments::Object(RawJson::from_value(&block["input"]).unwrap()),
            facts: PartFacts {
                extra: extra("caller"),
                ..PartFacts::default()
            },
        })),
        kind => AssistantPart::Opaque(OpaquePart {
            kind: kind.to_owned(),
            data: RawJson::from_value(block).unwrap(),
        }),
    }
}

fn read_result(block: &Value, calls: &[Arc<ToolCall>]) -> Result<CallResult, String> {
    let id = block["tool_use_id"].as_str().unwrap();
    let call = calls.iter().find(|call| &*call.id == id);
    let call = call.ok_or_else(|| format!("a result for `{id}` without a call"))?;
    let content: Result<Vec<Content>, String> = match block.get("content") {
        Some(Value::Array(items)) => items.iter().map(read_content).collect(),
        _ => Ok(Vec::new()),
    };
    Ok(CallResult {
        call: Arc::clone(call),
        result: Arc::new(ToolResult {
            content: content?,
            is_error: block["is_error"] == true,
            details: None,
        }),
    })
}

fn read_content(block: &Value) -> Result<Content, String> {
    let source = &block["source"];
    match (block["type"].as_str().unwrap(), source["type"].as_str()) {
        ("text", _) => Ok(Content::text(block["text"].as_str().unwrap())),
        ("image", Some("base64")) => Ok(Content::Image {
            media_type: source["media_type"].as_str().unwrap().to_owned(),
            source: ImageSource::Base64(source["data"].as_str().unwrap().to_owned()),
        }),
        ("image", Some("url")) => Ok(Content::Image {
            media_type: String::new(),
            source: ImageSource::Url(source["url"].as_str().unwrap().to_owned()),
        }),
        (kind, _) => Err(format!("a block `{kind}`")),
    }
}

/// Tells tools of the client from those of the provider, which phi passes on as they are.
fn read_tools(request: &Value) -> (Vec<ToolSpec>, Vec<Value>) {
    let mut own = Vec::new();
    let mut specs = Vec::new();
    for tool in request["tools"].as_array().into_iter().flatten() {
        let plain = [
            "name",
            "description",
            "input_schema",
            "type",
            "cache_control",
        ];
        let is_plain = tool
            .as_object()
            .unwrap()
            .keys()
            .all(|name| plain.contains(&name.as_str()));
        if !is_plain || tool.get("input_schema").is_none() {
            own.push(tool.clone());
            continue;
        }
        specs.push(ToolSpec {
            name: tool["name"].as_str().unwrap().into(),
            description: tool["description"].as_str().unwrap_or_default().into(),
            input_schema: RawJson::from_value(&tool["input_schema"]).unwrap(),
            kind: phi_types::ToolKind::Other,
            effect_class: phi_types::EffectClass::Pure,
        });
    }
    (specs, own)
}

#[test]
fn the_next_request_is_the_recorded_one() {
    let laws = Laws::<Anthropic>::new();
    let compared = requests_agree::<Anthropic>(&laws.turns, &["anthropic"], REQUESTS);
    println!("compared {compared} pairs");
    assert!(compared > 30, "{compared}");
}

const SYSTEM: &str = "a message of role `system` in the conversation is no word of phi";
const DOCUMENT: &str = "a user message of phi holds text and images, no documents";
const UPLOAD: &str = "a user message of phi holds text and images, no uploads to a container";
const NULLS: &str = "the client added `citations: null`; phi sends the block as it came";
const CITATIONS: &str = "the client dropped the citations, which phi sends back as they came; \
    another recorded client does too";

const REQUESTS: &[Exception] = &[
    differs(
        "anthropic/pyai--test-tool-availability-portability-test-anthropic-live-delta-preserves-the-warmed-cache-pr",
        "vocabulary",
        SYSTEM,
    ),
    differs(
        "anthropic/rig--anthropic-plaintext-document-document-citations-followup-preserves-history",
        "vocabulary",
        DOCUMENT,
    ),
    differs(
        "anthropic/pyai--test-multimodal-tool-returns-test-multimodal-tool-return-matrix-direct-url-document-anthro",
        "vocabulary",
        DOCUMENT,
    ),
    differs(
        "anthropic/pyai--test-code-execution-files-vcr-test-anthropic-code-execution-files-multi-turn",
        "vocabulary",
        UPLOAD,
    ),
    differs(
        "anthropic/pyai--test-code-execution-files-vcr-test-anthropic-code-execution-files-cache-prefix-stable-auto",
        "vocabulary",
        UPLOAD,
    ),
    differs(
        "anthropic/pyai--test-code-execution-files-vcr-test-anthropic-code-execution-files-cache-prefix-stable-mess-2",
        "vocabulary",
        UPLOAD,
    ),
    differs(
        "anthropic/pyai--test-code-execution-files-vcr-test-anthropic-code-execution-files-cache-prefix-stable-auto-2",
        "vocabulary",
        UPLOAD,
    ),
    differs(
        "anthropic/pyai--test-anthropic-test-anthropic-mcp-servers",
        "messages[].content[].content[].citations",
        NULLS,
    ),
    differs(
        "anthropic/pyai--test-anthropic-test-anthropic-web-fetch-tool",
        "messages[].content[].content.content.citations",
        NULLS,
    ),
    differs(
        "anthropic/pyai--test-anthropic-test-anthropic-web-search-tool",
        "messages[].content[].citations",
        CITATIONS,
    ),
];
