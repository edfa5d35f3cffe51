//! The recordings of Cohere Chat, version 2.

use phi_provider::{CohereChat, Delivery, Wire};
use phi_types::{
    AssistantMessage, AssistantPart, CallResult, Content, Entry, History, ImageSource, Options,
    OutputSchema, ProviderErrorKind as Kind, RawJson, Request, SessionId, ToolChoice, ToolKind,
    ToolResult, ToolSpec, UserMessage,
};
use serde_json::{Map, Value, json};

use crate::cases::{Framing, Turn, turns_of};
use crate::exceptions::Exception;
use crate::fields::Fields;
use crate::laws::{Laws, Subject, origin};
use crate::pairs::{Replay, requests_agree};

struct Cohere;

impl Subject for Cohere {
    const PROTOCOL: &'static str = "cohere-v2";
    const FRAMING: Framing = Framing {
        names_events: true,
        last: "data: [DONE]\n\n",
    };

    fn wire() -> Box<dyn Wire> {
        Box::new(CohereChat::default())
    }

    fn is_finish(data: &str) -> bool {
        let event: Value = serde_json::from_str(data).unwrap_or_default();
        event["type"] == "message-end" && event["delta"]["finish_reason"].is_string()
    }

    /// No SDK has read these streams: `read_stream` does.
    fn expected(_oracle: &Value) -> Option<Fields> {
        None
    }

    fn read_whole(body: &Value) -> Option<Fields> {
        body["message"].is_object().then(|| fields(body))
    }

    fn read_stream(body: &str) -> Option<Fields> {
        let data = body.lines().filter_map(|line| line.strip_prefix("data:"));
        let events = data.filter_map(|data| serde_json::from_str(data).ok());
        Some(fields(&joined(events)))
    }
}

/// Puts the events of a stream together as the whole answer that they are.
fn joined(events: impl Iterator<Item = Value>) -> Value {
    let mut whole = json!({"message": {"content": [], "tool_calls": [], "citations": []}});
    for event in events {
        let piece = &event["delta"]["message"];
        let index = usize::try_from(event["index"].as_u64().unwrap_or(0)).unwrap();
        match event["type"].as_str().unwrap() {
            "message-start" => whole["id"] = event["id"].clone(),
            "tool-plan-delta" => grow(&mut whole["message"]["tool_plan"], &piece["tool_plan"]),
            "content-start" => push(&mut whole["message"]["content"], index, &piece["content"]),
            "content-delta" => {
                let block = &mut whole["message"]["content"][index];
                for (name, text) in piece["content"].as_object().unwrap() {
                    grow(&mut block[name.as_str()], text);
                }
            }
            "tool-call-start" => {
                push(
                    &mut whole["message"]["tool_calls"],
                    index,
                    &piece["tool_calls"],
                );
            }
            "tool-call-delta" => {
                let call = &mut whole["message"]["tool_calls"][index];
                let more = &piece["tool_calls"]["function"]["arguments"];
                grow(&mut call["function"]["arguments"], more);
            }
            "citation-start" => {
                let citations = whole["message"]["citations"].as_array_mut().unwrap();
                citations.push(piece["citations"].clone());
            }
            "message-end" => {
                whole["finish_reason"] = event["delta"]["finish_reason"].clone();
                whole["usage"] = event["delta"]["usage"].clone();
            }
            "content-end" | "tool-call-end" | "citation-end" => {}
            other => panic!("an event of type {other}"),
        }
    }
    whole
}

fn grow(text: &mut Value, more: &Value) {
    *text = (text.as_str().unwrap_or_default().to_owned() + more.as_str().unwrap()).into();
}

fn push(list: &mut Value, index: usize, item: &Value) {
    let list = list.as_array_mut().unwrap();
    assert_eq!(list.len(), index);
    list.push(item.clone());
}

/// Says what a whole answer means.
fn fields(body: &Value) -> Fields {
    let message = &body["message"];
    let mut fields = Fields::new();
    let all = |name: &str| -> String {
        let blocks = list(&message["content"]).iter();
        blocks.filter_map(|block| block[name].as_str()).collect()
    };
    let plan = text(&message["tool_plan"]);
    let mut kinds = Vec::new();
    if !plan.is_empty() {
        kinds.push(json!("thinking"));
    }
    kinds.extend(
        list(&message["content"])
            .iter()
            .map(|it| it["type"].clone()),
    );
    fields.insert("text", all("text").into());
    fields.insert("thinking", (plan + &all("thinking")).into());
    let calls: Vec<Value> = list(&message["tool_calls"])
        .iter()
        .map(|call| {
            let arguments = text(&call["function"]["arguments"]);
            let arguments: Value = match arguments.as_str() {
                "" | "null" => json!({}),
                text => serde_json::from_str(text).unwrap(),
            };
            kinds.push(json!("tool_call"));
            json!({"id": call["id"], "name": call["function"]["name"], "arguments": arguments})
        })
        .collect();
    fields.insert("part_kinds", kinds.into());
    let reason = match body["finish_reason"].as_str().unwrap() {
        "COMPLETE" => "end_turn",
        "TOOL_CALL" => "tool_use",
        "MAX_TOKENS" => "max_tokens",
        "STOP_SEQUENCE" => "stop_sequence",
        other => panic!("the reason {other} has no place in the table"),
    };
    fields.insert("stop_reason", reason.into());
    fields.insert("stop_reason_raw", body["finish_reason"].clone());
    fields.insert("tool_calls", calls.into());
    fields.insert("response_id", body["id"].clone());
    fields.insert("response_model", Value::Null);
    insert_usage(&mut fields, &body["usage"]);
    fields
}

fn insert_usage(fields: &mut Fields, usage: &Value) {
    let tokens = &usage["tokens"];
    let cached = usage["cached_tokens"].as_u64();
    // Images are counted beside the text: the recording of one has more of them than input.
    let images = tokens["image_tokens"].as_u64().unwrap_or(0);
    let input = tokens["input_tokens"].as_u64().unwrap() + images - cached.unwrap_or(0);
    fields.insert("usage.input", input.into());
    fields.insert("usage.cache_read", json!(cached));
    fields.insert("usage.cache_write", Value::Null);
    fields.insert("usage.output", tokens["output_tokens"].clone());
    fields.insert("usage.reasoning", tokens["reasoning_tokens"].clone());
}

#[test]
fn any_cut_decodes_alike() {
    Laws::<Cohere>::new().any_cut_decodes_alike();
}

#[test]
fn a_cut_stream_is_never_a_short_answer() {
    let (before, after) = Laws::<Cohere>::new().cut_short(&[]);
    println!("cut before the finish: {before}, after it: {after}");
    assert!(before > 1000 && after >= 26, "{before} and {after} cuts");
}

#[test]
fn streams_mean_what_a_small_reader_finds_in_their_events() {
    let compared = Laws::<Cohere>::new().streams_agree(&[]);
    println!("compared {compared} streams");
    assert_eq!(compared, 15);
}

#[test]
fn whole_answers_mean_what_their_json_says() {
    let compared = Laws::<Cohere>::new().whole_answers_agree(&[]);
    println!("compared {compared} whole answers");
    assert_eq!(compared, 35);
}

#[test]
fn error_bodies_are_classified() {
    let kind = |turn: &Turn| match turn.head.status {
        400 => Some(Kind::ContextOverflow),
        401 => Some(Kind::Auth),
        404 => Some(Kind::InvalidRequest),
        _ => None,
    };
    let compared = Laws::<Cohere>::new().errors_are_classified(kind);
    println!("compared {compared} error bodies");
    assert_eq!(compared, 3);
}

/// Every turn of the recordings was compared above.
#[test]
fn no_turn_is_left_out() {
    let turns = turns_of(Cohere::PROTOCOL, &Cohere::FRAMING);
    assert_eq!(turns.len(), 15 + 35 + 3);
}

/// Citations of the recordings stand beside the text that they are about.
#[test]
fn every_recorded_citation_is_kept() {
    let laws = Laws::<Cohere>::new();
    let mut kept = 0;
    for turn in laws.turns.iter().filter(|turn| turn.head.is_success()) {
        let body = String::from_utf8_lossy(&turn.body);
        let whole = if turn.is_stream {
            let data = body.lines().filter_map(|line| line.strip_prefix("data:"));
            joined(data.filter_map(|data| serde_json::from_str(data).ok()))
        } else {
            turn.json()
        };
        let decoded = crate::laws::decode(&CohereChat::new(), &turn.head, [&*turn.body]);
        let message = decoded.message(CohereChat::new().identity(), "m").unwrap();
        let ours: Vec<Value> = message
            .parts
            .iter()
            .filter_map(|part| match part {
                AssistantPart::Text(part) => part.facts.extra.as_ref(),
                _ => None,
            })
            .flat_map(|extra| list(&extra.read::<Value>().unwrap()["citations"]).to_vec())
            .collect();
        kept += ours.len();
        assert_eq!(
            ours,
            list(&whole["message"]["citations"]),
            "{}",
            turn.name()
        );
    }
    println!("{kept} citations");
    assert!(kept >= 8, "{kept}");
}

struct CohereReplay;

impl Replay for CohereReplay {
    fn wire(turn: &Turn) -> Box<dyn Wire> {
        let asks = turn.request.as_ref().is_some_and(|it| it["stream"] == true);
        let delivery = if asks {
            Delivery::Streamed
        } else {
            Delivery::Whole
        };
        Box::new(CohereChat::new().with_delivery(delivery))
    }

    fn continues(first: &Value, second: &Value) -> bool {
        let (first, second) = (list(&first["messages"]), list(&second["messages"]));
        let new = second.strip_prefix(first);
        new.is_some_and(|new| new.first().is_some_and(|it| it["role"] == "assistant"))
    }

    fn build(first: &Value, answer: AssistantMessage, second: &Value) -> Result<Request, String> {
        let mut view = Builder::default();
        let before = list(&first["messages"]);
        for message in before {
            view.add(message, second)?;
        }
        view.push(Entry::Assistant(answer.into()));
        for message in &list(&second["messages"])[before.len() + 1..] {
            view.add(message, second)?;
        }
        view.settle();
        let tools = list(&second["tools"]).iter().map(|tool| ToolSpec {
            name: text(&tool["function"]["name"]).into(),
            description: text(&tool["function"]["description"]).into(),
            input_schema: RawJson::from_value(&tool["function"]["parameters"]).unwrap(),
            kind: ToolKind::Other,
            effect_class: phi_types::EffectClass::Pure,
        });
        Ok(Request {
            session: SessionId::new("recorded").map_err(|error| error.to_string())?,
            model: text(&second["model"]).into(),
            system: view.system.into(),
            tools: tools.collect::<Vec<_>>().into(),
            view: view.view,
            options: options(second).into(),
        })
    }

    fn normalise(request: &mut Value) {
        let fields = request.as_object_mut().unwrap();
        // Whether to stream is the caller's choice, and `false` says what its absence says.
        fields.remove("stream");
        // No document says what the absence of the list says.
        if fields.get("documents") == Some(&json!([])) {
            fields.remove("documents");
        }
        for message in fields["messages"].as_array_mut().unwrap() {
            normalise_message(message.as_object_mut().unwrap());
        }
    }
}

fn normalise_message(message: &mut Map<String, Value>) {
    // A field that is null, or a list of nothing, says what its absence says.
    message.retain(|_, value| !value.is_null() && *value != json!([]));
    // The clients of the recordings forget the plan, which the protocol has a field for.
    message.remove("tool_plan");
    // Blocks of text say what one text says.
    if let Some(blocks) = message.get("content").and_then(Value::as_array)
        && blocks.iter().all(|block| block["type"] == "text")
    {
        let joined: String = blocks.iter().map(|block| text(&block["text"])).collect();
        message.insert("content".to_owned(), joined.into());
    }
    // Beside calls, an empty text says what none says.
    if message.contains_key("tool_calls") && message.get("content") == Some(&json!("")) {
        message.remove("content");
    }
    for call in message.get_mut("tool_calls").into_iter().flat_map(items) {
        // The value of the arguments counts, not its spelling.
        let arguments = &mut call["function"]["arguments"];
        *arguments = serde_json::from_str(&text(arguments)).unwrap();
    }
}

fn items(value: &mut Value) -> &mut [Value] {
    value.as_array_mut().map_or(&mut [], Vec::as_mut_slice)
}

/// Builds a conversation of phi from recorded messages.
#[derive(Default)]
struct Builder {
    system: String,
    view: History,
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

    fn add(&mut self, message: &Value, request: &Value) -> Result<(), String> {
        match message["role"].as_str() {
            Some("system") if self.view.is_empty() => {
                for content in contents(&message["content"])? {
                    if let Content::Text { text } = content {
                        self.system.push_str(&text);
                    }
                }
            }
            Some("user") => {
                let content = contents(&message["content"])?;
                self.push(Entry::User(UserMessage { content }.into()));
            }
            // The service's own reader makes of a recorded message what it would have been.
            Some("assistant") => {
                let body = json!({"message": message, "finish_reason": "COMPLETE"}).to_string();
                let wire = CohereChat::new();
                let head = phi_provider::ResponseHead::new(200);
                let decoded = crate::laws::decode(&wire, &head, [body.as_bytes()]);
                let model = text(&request["model"]);
                let mut said = decoded.message(wire.identity(), &model).unwrap();
                said.origin = origin(wire.identity(), &model);
                self.push(Entry::Assistant(said.into()));
            }
            Some("tool") => {
                let id = text(&message["tool_call_id"]);
                let call = self.calls.iter().find(|call| *call.id == *id);
                let call = call.ok_or_else(|| format!("a result of {id}, which nobody called"))?;
                self.results.push(CallResult {
                    call: call.clone(),
                    result: ToolResult {
                        content: contents(&message["content"])?,
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

fn contents(content: &Value) -> Result<Vec<Content>, String> {
    let block = |block: &Value| match block["type"].as_str() {
        Some("text") => Ok(Content::text(text(&block["text"]))),
        Some("image_url") => Ok(Content::Image {
            media_type: "image/png".to_owned(),
            source: ImageSource::Url(text(&block["image_url"]["url"])),
        }),
        other => Err(format!("a block of type {other:?}")),
    };
    match content {
        Value::String(text) => Ok(vec![Content::text(text)]),
        Value::Array(blocks) => blocks.iter().map(block).collect(),
        other => Err(format!("the content {other}")),
    }
}

fn options(request: &Value) -> Options {
    let mut extra = request.as_object().cloned().unwrap();
    for typed in [
        "messages",
        "model",
        "tools",
        "stream",
        "tool_choice",
        "response_format",
    ] {
        extra.remove(typed);
    }
    let schema = request["response_format"].get("json_schema");
    Options {
        output_tokens_max: extra.remove("max_tokens").and_then(|it| it.as_u64()),
        temperature: extra.remove("temperature").and_then(|it| it.as_f64()),
        tool_choice: match request["tool_choice"].as_str() {
            Some("REQUIRED") => Some(ToolChoice::Required),
            Some("NONE") => Some(ToolChoice::None),
            _ => None,
        },
        output: schema.map(|schema| OutputSchema {
            name: "answer".to_owned(),
            schema: RawJson::from_value(schema).unwrap(),
        }),
        extra: Some(RawJson::from_value(&extra).unwrap()),
        ..Options::default()
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

const REQUESTS: &[Exception] = &[Exception {
    case: "cohere/rubyllm--chat-citations-with-cohere-command-a-plus-05-2026-cites-tool-results-returned-as-search-re",
    turn: Some(1),
    field: "vocabulary",
    reason: "a document as the result of a tool",
}];

#[test]
fn the_next_request_is_the_recorded_one() {
    let turns = turns_of(Cohere::PROTOCOL, &Cohere::FRAMING);
    let compared = requests_agree::<CohereReplay>(&turns, &["cohere"], REQUESTS);
    println!("{compared} pairs");
    assert_eq!(compared, 12);
}

/// The first requests of all cases are written as they were recorded, without any answer.
#[test]
fn first_requests_are_the_recorded_ones() {
    let turns = turns_of(Cohere::PROTOCOL, &Cohere::FRAMING);
    let mut compared = 0;
    for turn in turns.iter().filter(|turn| turn.case.starts_with("cohere/")) {
        let Some(recorded) = &turn.request else {
            continue;
        };
        let mut view = Builder::default();
        let added = list(&recorded["messages"])
            .iter()
            .try_for_each(|message| view.add(message, recorded));
        if added.is_err() {
            continue;
        }
        view.settle();
        let tools = list(&recorded["tools"]).iter().map(|tool| ToolSpec {
            name: text(&tool["function"]["name"]).into(),
            description: text(&tool["function"]["description"]).into(),
            input_schema: RawJson::from_value(&tool["function"]["parameters"]).unwrap(),
            kind: ToolKind::Other,
            effect_class: phi_types::EffectClass::Pure,
        });
        let request = Request {
            session: SessionId::new("recorded").unwrap(),
            model: text(&recorded["model"]).into(),
            system: view.system.into(),
            tools: tools.collect::<Vec<_>>().into(),
            view: view.view,
            options: options(recorded).into(),
        };
        let body = CohereChat::new()
            .encode(&request)
            .unwrap()
            .request
            .body_bytes();
        let (mut ours, mut theirs): (Value, Value) =
            (serde_json::from_slice(&body).unwrap(), recorded.clone());
        CohereReplay::normalise(&mut ours);
        CohereReplay::normalise(&mut theirs);
        assert_eq!(ours, theirs, "{}", turn.name());
        compared += 1;
    }
    println!("{compared} requests");
    assert!(compared >= 30, "{compared}");
}
