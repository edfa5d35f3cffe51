//! The next requests of the Anthropic Messages protocol: how recorded ones are read and compared.

use std::sync::Arc;

use phi_provider::{AnthropicMessages, CacheBreakpoints, Delivery, Wire};
use phi_types::{
    Arguments, AssistantMessage, AssistantPart, CallResult, Content, Entry, Facts, History,
    ImageSource, OpaquePart, Options, PartFacts, RawJson, Request, SessionId, StopReason, TextPart,
    ThinkingPart, ToolCall, ToolResult, ToolSpec, UserMessage,
};
use serde_json::{Value, json};

use crate::anthropic::{Anthropic, differs};
use crate::cases::Turn;
use crate::exceptions::Exception;
use crate::laws::{Laws, origin};
use crate::pairs::{Replay, requests_agree};

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
            facts: PartFacts::from(Facts {
                extra: extra("citations"),
                ..Facts::default()
            }),
        }),
        "thinking" => AssistantPart::Thinking(ThinkingPart {
            text: text_of("thinking"),
            facts: PartFacts::from(Facts {
                signature: Some(text_of("signature")),
                ..Facts::default()
            }),
        }),
        "tool_use" => AssistantPart::ToolCall(Arc::new(ToolCall {
            id: text_of("id").into(),
            name: text_of("name").into(),
            arguments: Arguments::Object(RawJson::from_value(&block["input"]).unwrap()),
            facts: PartFacts::from(Facts {
                extra: extra("caller"),
                ..Facts::default()
            }),
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
            ..ToolResult::default()
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
