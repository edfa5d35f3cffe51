//! Reads request bodies as the APIs do, without the code of the wires.

use std::collections::HashSet;
use std::sync::Arc;

use phi_types::{
    Arguments, AssistantMessage, AssistantPart, CallResult, Entry, History, Origin, PartFacts,
    StopReason, TextPart, ToolCall, ToolResult, Usage, UserMessage,
};
use serde_json::Value;

/// What an API asks of a request besides a transcript that makes sense.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) id_chars_max: usize,
    /// Whether ids hold letters, digits, `_` and `-` alone.
    pub(crate) plain_ids: bool,
    /// Whether the roles of messages take turns.
    pub(crate) alternates: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Item {
    Text(String),
    Call(String),
    Result(String),
    /// What has no place in a transcript: thinking, items of the service.
    Other,
}

/// The messages of a request: whether each is of the model, and what it holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Read {
    messages: Vec<(bool, Vec<Item>)>,
}

impl Read {
    fn push(&mut self, is_model: bool, items: Vec<Item>) {
        self.messages.push((is_model, items));
    }

    /// Adds to the newest message where it is of the same side.
    fn join(&mut self, is_model: bool, items: Vec<Item>) {
        match self.messages.last_mut() {
            Some((last, so_far)) if *last == is_model => so_far.extend(items),
            _ => self.push(is_model, items),
        }
    }

    /// Checks the rules of the API itself.
    pub(crate) fn check(&self, name: &str, rules: Rules) {
        assert!(!self.messages[0].0, "{name}: it begins with the model");
        let mut ids = HashSet::new();
        for (at, (is_model, items)) in self.messages.iter().enumerate() {
            assert!(!items.is_empty(), "{name}: message {at} is empty");
            if rules.alternates && at > 0 {
                let before = self.messages[at - 1].0;
                assert_ne!(
                    before, *is_model,
                    "{name}: message {at} has the role before"
                );
            }
            let mut text_seen = false;
            for item in items {
                match item {
                    Item::Text(text) => {
                        assert!(
                            !text.trim().is_empty(),
                            "{name}: blank text in message {at}"
                        );
                        text_seen = true;
                    }
                    Item::Call(id) => {
                        assert!(ids.insert(id.clone()), "{name}: the id {id} comes twice");
                        let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
                        let fits = (1..=rules.id_chars_max).contains(&id.len());
                        let is_plain = !rules.plain_ids || id.chars().all(is_fine);
                        assert!(fits && is_plain, "{name}: the id {id}");
                    }
                    Item::Result(id) => {
                        assert!(!text_seen, "{name}: text before the result of {id}");
                    }
                    Item::Other => {}
                }
            }
        }
    }

    /// Makes the conversation that the API sees.
    pub(crate) fn history(&self) -> History {
        let mut history = History::new();
        for (is_model, items) in &self.messages {
            if *is_model {
                let parts = items.iter().filter_map(|item| match item {
                    Item::Text(text) => Some(AssistantPart::Text(TextPart::new(text))),
                    Item::Call(id) => Some(AssistantPart::ToolCall(call(id))),
                    Item::Result(_) | Item::Other => None,
                });
                let mut parts: Vec<AssistantPart> = parts.collect();
                if parts.is_empty() {
                    parts.push(AssistantPart::Text(TextPart::new("(thinking alone)")));
                }
                history.push(Entry::Assistant(Arc::new(AssistantMessage {
                    parts,
                    // Two answers in a row are fine where the API says so: `alternates` checks it.
                    stop_reason: StopReason::PauseTurn,
                    stop_reason_raw: None,
                    usage: Usage::default(),
                    origin: Origin::default(),
                })));
                continue;
            }
            let results = items.iter().filter_map(|item| match item {
                Item::Result(id) => Some(CallResult {
                    call: call(id),
                    result: Arc::new(ToolResult::text("x")),
                }),
                Item::Text(_) | Item::Call(_) | Item::Other => None,
            });
            let results: Vec<CallResult> = results.collect();
            if !results.is_empty() {
                history.push(Entry::Results(results.into()));
            }
            for item in items {
                if let Item::Text(text) = item {
                    history.push(Entry::User(Arc::new(UserMessage::text(text))));
                }
            }
        }
        history
    }
}

fn call(id: &str) -> Arc<ToolCall> {
    Arc::new(ToolCall {
        id: id.into(),
        name: "lookup".into(),
        arguments: Arguments::parse("{}"),
        facts: PartFacts::default(),
    })
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no text: {value}"))
        .to_owned()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

pub(crate) fn anthropic(body: &Value) -> Read {
    let mut read = Read::default();
    for message in list(&body["messages"]) {
        let items = list(&message["content"]).map(|block| match block["type"].as_str().unwrap() {
            "text" => Item::Text(text(&block["text"])),
            "tool_use" => Item::Call(text(&block["id"])),
            "tool_result" => Item::Result(text(&block["tool_use_id"])),
            _ => Item::Other,
        });
        let mut items: Vec<Item> = items.collect();
        if let Some(text) = message["content"].as_str() {
            items.push(Item::Text(text.to_owned()));
        }
        read.push(message["role"] == "assistant", items);
    }
    read
}

pub(crate) fn bedrock(body: &Value) -> Read {
    let mut read = Read::default();
    for message in list(&body["messages"]) {
        let items = list(&message["content"]).map(|block| {
            if !block["text"].is_null() {
                Item::Text(text(&block["text"]))
            } else if !block["toolUse"].is_null() {
                assert!(block["toolUse"]["input"].is_object());
                Item::Call(text(&block["toolUse"]["toolUseId"]))
            } else if !block["toolResult"].is_null() {
                Item::Result(text(&block["toolResult"]["toolUseId"]))
            } else {
                Item::Other
            }
        });
        let items = items.collect();
        read.push(message["role"] == "assistant", items);
    }
    read
}

/// Chat Completions, and Cohere, whose messages differ in what beside text they hold.
pub(crate) fn chat(body: &Value) -> Read {
    let mut read = Read::default();
    for message in list(&body["messages"]) {
        let texts = list(&message["content"]).filter_map(|block| block["text"].as_str());
        let texts = texts.chain(message["content"].as_str());
        let mut items: Vec<Item> = texts
            .filter(|text| !text.is_empty())
            .map(|text| Item::Text(text.to_owned()))
            .collect();
        match message["role"].as_str().unwrap() {
            "system" | "developer" => {}
            "user" => read.push(false, items),
            "tool" => {
                let result = Item::Result(text(&message["tool_call_id"]));
                match read.messages.last_mut() {
                    Some((false, so_far)) if matches!(so_far.last(), Some(Item::Result(_))) => {
                        so_far.push(result);
                    }
                    _ => read.push(false, vec![result]),
                }
            }
            "assistant" => {
                items.extend(message["tool_plan"].as_str().map(|_| Item::Other));
                items.extend(list(&message["tool_calls"]).map(|call| {
                    let arguments = text(&call["function"]["arguments"]);
                    let arguments: Value = serde_json::from_str(&arguments).unwrap();
                    assert!(arguments.is_object());
                    Item::Call(text(&call["id"]))
                }));
                read.push(true, items);
            }
            other => panic!("the role {other}"),
        }
    }
    read
}

pub(crate) fn ollama(body: &Value) -> Read {
    let mut read = Read::default();
    let mut calls = 0;
    let mut results = 0;
    for message in list(&body["messages"]) {
        let content = message["content"].as_str().unwrap_or_default();
        let mut items: Vec<Item> = Vec::new();
        if !content.is_empty() {
            items.push(Item::Text(content.to_owned()));
        }
        match message["role"].as_str().unwrap() {
            "system" => {}
            "user" => read.push(false, items),
            // Results have no id: their order tells.
            "tool" => {
                let result = Item::Result(format!("call_{results}"));
                results += 1;
                match read.messages.last_mut() {
                    Some((false, so_far)) if matches!(so_far.last(), Some(Item::Result(_))) => {
                        so_far.push(result);
                    }
                    _ => read.push(false, vec![result]),
                }
            }
            "assistant" => {
                for call in list(&message["tool_calls"]) {
                    assert!(call["function"]["arguments"].is_object());
                    items.push(Item::Call(format!("call_{calls}")));
                    calls += 1;
                }
                items.extend(message["thinking"].as_str().map(|_| Item::Other));
                read.push(true, items);
            }
            other => panic!("the role {other}"),
        }
    }
    read
}

pub(crate) fn responses(body: &Value) -> Read {
    let mut read = Read::default();
    for item in list(&body["input"]) {
        let texts = list(&item["content"]).filter_map(|block| block["text"].as_str());
        let texts = texts.chain(item["content"].as_str());
        let texts: Vec<Item> = texts.map(|text| Item::Text(text.to_owned())).collect();
        match (item["type"].as_str(), item["role"].as_str()) {
            (_, Some("system" | "developer")) => {}
            (_, Some("user")) => read.push(false, texts),
            (_, Some("assistant")) => read.join(true, texts),
            (Some("function_call"), _) => {
                read.join(true, vec![Item::Call(text(&item["call_id"]))]);
            }
            (Some("function_call_output"), _) => {
                read.join(false, vec![Item::Result(text(&item["call_id"]))]);
            }
            _ => read.join(true, vec![Item::Other]),
        }
    }
    read
}

pub(crate) fn gemini(body: &Value) -> Read {
    let mut read = Read::default();
    let mut calls = 0;
    let mut results = 0;
    for content in list(&body["contents"]) {
        let mut items = Vec::new();
        for part in list(&content["parts"]) {
            items.push(if !part["functionCall"].is_null() {
                calls += 1;
                assert!(part["functionCall"]["args"].is_object());
                Item::Call(format!("call_{calls}"))
            } else if !part["functionResponse"].is_null() {
                results += 1;
                Item::Result(format!("call_{results}"))
            } else if part["thought"] == true || part["text"].is_null() {
                Item::Other
            } else {
                Item::Text(text(&part["text"]))
            });
        }
        read.push(content["role"] == "model", items);
    }
    read
}
