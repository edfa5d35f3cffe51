//! What a part of this protocol carries besides its text, in the words of the protocol.

use phi_types::{Facts, PartFacts, RawJson};

use super::event::ItemFields;
use crate::object::{Object, push_string};
use crate::surrogates::without_lone_surrogates;

/// The type of the items that reason.
pub(super) const REASONING: &str = "reasoning";
/// The type of the items that say something.
pub(super) const MESSAGE: &str = "message";
/// The type of calls whose arguments are a JSON object.
pub(super) const FUNCTION_CALL: &str = "function_call";
/// The type of calls whose input is text: phi gives it as the argument `input`.
pub(super) const CUSTOM_CALL: &str = "custom_tool_call";
/// The item that stands for a conversation that the service compacted.
pub(super) const COMPACTION: &str = "compaction";

/// More fields than this of an item are not kept.
const FIELDS_MAX: usize = 256;

/// Stands, in the facts of reasoning, for a list of one text that is the text of the part.
pub(super) const TEXT_OF_PART: &str = "\"text\"";

/// Returns the facts of a reasoning item: all that must go back with its text.
pub(super) fn of_reasoning(item: &ItemFields<'_>, text: &str) -> PartFacts {
    let mut extra = Object::default();
    for (name, value) in item.iter().take(FIELDS_MAX) {
        match name {
            "type" | "id" | "encrypted_content" => {}
            "summary" | "content" => {
                let texts = item.list(name);
                let is_text = match texts.as_slice() {
                    [] => continue,
                    [only] => {
                        let read = ItemFields::read(only);
                        read.is_some_and(|only| {
                            only.iter().count() == 2 && only.text("text") == text
                        })
                    }
                    _ => false,
                };
                if is_text && !text.is_empty() {
                    extra.set(name, TEXT_OF_PART);
                } else {
                    extra.set(name, without_lone_surrogates(value));
                }
            }
            _ => set_stated(&mut extra, name, value),
        }
    }
    PartFacts::from(Facts {
        signature: stated(&item.text("encrypted_content")),
        item_id: stated(&item.text("id")),
        extra: raw(&extra),
    })
}

/// Returns the facts of a call.
pub(super) fn of_call(item: &ItemFields<'_>, kind: &str) -> PartFacts {
    let mut extra = Object::default();
    if kind != FUNCTION_CALL {
        extra.set("type", json_string(kind));
    }
    for (name, value) in item.iter().take(FIELDS_MAX) {
        match name {
            "type" | "id" | "call_id" | "name" | "arguments" | "input" | "status"
            | "created_by" => {}
            // LM Studio repeats here where the item stands.
            "item_id" | "output_index" => {}
            _ => set_stated(&mut extra, name, value),
        }
    }
    PartFacts::from(Facts {
        signature: None,
        item_id: stated(&item.text("id")),
        extra: raw(&extra),
    })
}

/// Returns the facts of one piece of content of a message.
pub(super) fn of_content(item: &ItemFields<'_>, content: Option<&ItemFields<'_>>) -> PartFacts {
    let mut extra = Object::default();
    let phase = item.raw("phase");
    set_stated(&mut extra, "phase", phase);
    if let Some(content) = content {
        if content.text("type") == "refusal" {
            extra.set("type", json_string("refusal"));
        }
        if !content.list("annotations").is_empty() {
            set_stated(&mut extra, "annotations", content.raw("annotations"));
        }
    }
    PartFacts::from(Facts {
        signature: None,
        item_id: stated(&item.text("id")),
        extra: raw(&extra),
    })
}

/// `null` says nothing, and some services refuse to read it.
fn set_stated<'a>(extra: &mut Object<'a>, name: &str, value: &'a str) {
    if !value.is_empty() && value != "null" {
        extra.set(name, without_lone_surrogates(value));
    }
}

fn stated(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn raw(extra: &Object<'_>) -> Option<RawJson> {
    if extra.is_empty() {
        return None;
    }
    RawJson::parse(&extra.text()).ok()
}

/// Writes a text as a JSON string.
pub(super) fn json_string(text: &str) -> String {
    let mut json = String::new();
    push_string(&mut json, text);
    json
}

/// Reads the extra fields of a part; what this protocol did not write reads as nothing.
pub(super) fn extra_of(facts: Option<&PartFacts>) -> Object<'_> {
    let extra = facts.and_then(|facts| facts.extra.as_ref());
    extra
        .and_then(|extra| Object::read(extra.as_str()).ok())
        .unwrap_or_default()
}
