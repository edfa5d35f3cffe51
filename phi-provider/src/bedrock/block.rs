//! What the decoder knows of a content block that is open.

use phi_types::{Delta, Facts, OpaqueDelta, PartFacts, PartFactsDelta, RawJson};
use serde_json::value::RawValue;

use crate::object::{Object, push_string};
use crate::surrogates::without_lone_surrogates;

/// The kind of the opaque part that holds reasoning that nobody may read.
pub(super) const REDACTED: &str = "redactedContent";

/// The kind of the opaque part that holds citations without a text of their own.
pub(super) const CITATIONS: &str = "citationsContent";

/// A content block that is open, by its kind.
#[derive(Debug)]
pub(super) enum Block {
    /// A text, which needs no beginning, and what it cites.
    Text { citations: Vec<String>, said: bool },
    /// Reasoning that may be read.
    Thinking,
    /// A call of a tool that the client runs.
    Call,
    /// Anything else: it goes back as it came.
    Foreign(Foreign),
}

/// The kinds of blocks that a delta alone can open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Thinking,
    Call,
}

impl Block {
    pub(super) fn new(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text {
                citations: Vec::new(),
                said: false,
            },
            Kind::Thinking => Self::Thinking,
            Kind::Call => Self::Call,
        }
    }

    pub(super) fn is(&self, kind: Kind) -> bool {
        matches!(
            (self, kind),
            (Self::Text { .. }, Kind::Text)
                | (Self::Thinking, Kind::Thinking)
                | (Self::Call, Kind::Call)
        )
    }

    /// Sends what was kept until the block was whole.
    pub(super) fn flush(self, part: u32, deltas: &mut Vec<Delta>) {
        match self {
            Self::Text { citations, said } => cite(part, &citations, said, deltas),
            Self::Thinking | Self::Call => {}
            Self::Foreign(foreign) => deltas.extend(foreign.delta(part)),
        }
    }
}

/// Keeps what a text cites beside it, or alone where the block has no text.
pub(super) fn cite<S: AsRef<str>>(part: u32, citations: &[S], said: bool, deltas: &mut Vec<Delta>) {
    if citations.is_empty() {
        return;
    }
    let all: Vec<&str> = citations.iter().map(AsRef::as_ref).collect();
    let extra = format!("{{\"citations\":[{}]}}", all.join(","));
    if !said {
        let block = format!("{{\"{CITATIONS}\":{extra}}}");
        deltas.extend(opaque(part, CITATIONS, &block));
    } else if let Ok(extra) = RawJson::parse(&without_lone_surrogates(&extra)) {
        deltas.push(facts(
            part,
            PartFacts::from(Facts {
                extra: Some(extra),
                ..Facts::default()
            }),
        ));
    }
}

/// Makes the delta that states facts of a part.
pub(super) fn facts(part: u32, facts: PartFacts) -> Delta {
    Delta::PartFacts(PartFactsDelta { part, facts })
}

/// Makes the delta of a block that goes back as it came.
pub(super) fn opaque(part: u32, kind: &str, block: &str) -> Option<Delta> {
    let data = RawJson::parse(&without_lone_surrogates(block)).ok()?;
    Some(Delta::Opaque(OpaqueDelta {
        part,
        kind: kind.to_owned(),
        data,
    }))
}

/// Writes the block of reasoning that nobody may read.
pub(super) fn redacted(content: &str) -> String {
    let mut block = String::from("{\"reasoningContent\":{\"redactedContent\":");
    push_string(&mut block, content);
    block.push_str("}}");
    block
}

/// Names the kind of an opaque block: its own word for it, or its name in the protocol.
pub(super) fn kind_of(name: &str, fields: &Object<'_>) -> String {
    let stated = fields.field("type");
    let stated = stated.and_then(|kind| serde_json::from_str::<String>(kind).ok());
    stated.unwrap_or_else(|| name.to_owned())
}

/// A block of the service's own whose pieces are collected: a tool that the service runs, its
/// result, an image.
#[derive(Debug)]
pub(super) struct Foreign {
    /// The name of the kind in the protocol, as `toolResult`.
    name: String,
    fields: Object<'static>,
    /// The text of a field `input`.
    input: String,
    /// The items of a field `content`.
    content: Vec<String>,
}

impl Foreign {
    /// Begins with the fields of `start`, or with none.
    pub(super) fn new(name: &str, start: &str) -> Self {
        let mut fields = Object::default();
        for (field, value) in Object::read(start).unwrap_or_default().into_fields() {
            fields.set(&field, value.into_owned());
        }
        Self {
            name: name.to_owned(),
            fields,
            input: String::new(),
            content: Vec::new(),
        }
    }

    /// Takes the value of a delta: a list is more content, and of an object `input` grows while any
    /// other field replaces what it was.
    pub(super) fn push(&mut self, delta: &str) {
        if let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(delta) {
            let items = items.into_iter().map(|item| item.get().to_owned());
            self.content.extend(items);
            return;
        }
        for (field, value) in Object::read(delta).unwrap_or_default().into_fields() {
            match serde_json::from_str::<String>(&value) {
                Ok(text) if field == "input" => self.input.push_str(&text),
                Ok(_) | Err(_) => self.fields.set(&field, value.into_owned()),
            }
        }
    }

    fn delta(self, part: u32) -> Option<Delta> {
        let Self {
            name,
            mut fields,
            input,
            content,
        } = self;
        if name == "toolUse" && fields.field("input").is_none() || !input.is_empty() {
            // What a tool takes is an object; text that is none stays text.
            let is_object = Object::read(&input).is_ok();
            let input = match input.trim() {
                "" => "{}".to_owned(),
                _ if is_object => input,
                text => serde_json::Value::from(text).to_string(),
            };
            fields.set("input", input);
        }
        if name == "toolResult" && fields.field("content").is_none() || !content.is_empty() {
            fields.set("content", format!("[{}]", content.join(",")));
        }
        let kind = kind_of(&name, &fields);
        let mut block = String::from("{");
        push_string(&mut block, &name);
        block.push(':');
        block.push_str(&fields.text());
        block.push('}');
        opaque(part, &kind, &block)
    }
}
