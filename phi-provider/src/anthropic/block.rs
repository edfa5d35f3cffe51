//! One content block of an answer while it comes in.

use phi_types::{Delta, Facts, OpaqueDelta, PartFacts, RawJson};
use serde_json::value::RawValue;

use super::decode::facts;
use super::event::{self, BlockKind, Text, TextBlock, ThinkingBlock, ToolUseBlock};
use crate::object::{Object, push_string};
use crate::surrogates::without_lone_surrogates;

/// What a block is, and what is held of it until it stops.
#[derive(Debug)]
pub(super) enum Block {
    Text {
        /// The citations so far, as JSON texts.
        citations: Vec<String>,
        has_text: bool,
    },
    Thinking,
    Call {
        /// The arguments that the start stated, for the case that no fragments follow.
        stated: Option<String>,
    },
    Opaque(Box<Opaque>),
}

/// A block of the provider's own, which is sent back as it came.
#[derive(Debug)]
pub(super) struct Opaque {
    kind: String,
    start: String,
    input: String,
    text: String,
    content: String,
    /// Content that is no text, as JSON.
    content_json: Option<String>,
    citations: Vec<String>,
}

/// Starts a block and appends what its start says already.
pub(super) fn start(
    part: u32,
    block: &RawValue,
    deltas: &mut Vec<Delta>,
) -> Result<Block, serde_json::Error> {
    let raw = block.get();
    let kind = serde_json::from_str::<BlockKind<'_>>(raw)?.kind;
    Ok(match &*kind.0 {
        "text" => {
            let block: TextBlock<'_> = serde_json::from_str(raw)?;
            let text = block.text.map(Text::into_string).unwrap_or_default();
            let has_text = !text.is_empty();
            if has_text {
                deltas.push(Delta::text(part, text));
            }
            let citations = block.citations.unwrap_or_default();
            let citations = citations.iter().map(|raw| raw.get().to_owned()).collect();
            Block::Text {
                citations,
                has_text,
            }
        }
        "thinking" => {
            let block: ThinkingBlock<'_> = serde_json::from_str(raw)?;
            push_thinking(part, block.thinking, deltas);
            push_signature(part, block.signature, deltas);
            Block::Thinking
        }
        "tool_use" => {
            let block: ToolUseBlock<'_> = serde_json::from_str(raw)?;
            let id = block.id.map(Text::into_string).unwrap_or_default();
            let name = block.name.map(Text::into_string).unwrap_or_default();
            deltas.push(Delta::tool_call(part, id, name));
            if let Some(extra) = block.caller.and_then(|caller| {
                let extra = format!("{{\"caller\":{}}}", caller.get());
                RawJson::parse(&extra).ok()
            }) {
                let extra = Some(extra);
                deltas.push(facts(
                    part,
                    PartFacts::from(Facts {
                        extra,
                        ..Facts::default()
                    }),
                ));
            }
            Block::Call {
                stated: block.input.and_then(stated_arguments),
            }
        }
        _ => Block::Opaque(Box::new(Opaque {
            kind: kind.into_string(),
            start: raw.to_owned(),
            input: String::new(),
            text: String::new(),
            content: String::new(),
            content_json: None,
            citations: Vec::new(),
        })),
    })
}

/// Returns arguments that a start states: an object, or the text of one.
fn stated_arguments(input: &RawValue) -> Option<String> {
    let text = match input.get() {
        "null" | "{}" => return None,
        quoted if quoted.starts_with('"') => serde_json::from_str(quoted).ok()?,
        other => other.to_owned(),
    };
    (!text.is_empty()).then_some(text)
}

impl Block {
    /// Returns the block that a delta belongs to where no start came before it.
    pub(super) fn implied_by(delta: &event::Delta<'_>) -> Option<Self> {
        let kind = delta.kind.as_ref().map(|kind| &*kind.0)?;
        match kind {
            "text_delta" => Some(Self::Text {
                citations: Vec::new(),
                has_text: false,
            }),
            "thinking_delta" => Some(Self::Thinking),
            _ => None,
        }
    }

    /// Takes a delta; one that does not fit the block, or is not known, means nothing.
    ///
    /// Returns how many bytes of it are held until the block stops.
    pub(super) fn delta(
        &mut self,
        part: u32,
        delta: event::Delta<'_>,
        deltas: &mut Vec<Delta>,
    ) -> usize {
        let kind = delta.kind.as_ref().map_or("", |kind| &*kind.0);
        match (self, kind) {
            (Self::Text { has_text, .. }, "text_delta") => {
                let text = delta.text.map(Text::into_string).unwrap_or_default();
                if !text.is_empty() {
                    *has_text = true;
                    deltas.push(Delta::text(part, text));
                }
                0
            }
            (Self::Text { citations, .. }, "citations_delta") => hold(citations, delta.citation),
            (Self::Thinking, "thinking_delta") => {
                push_thinking(part, delta.thinking, deltas);
                0
            }
            (Self::Thinking, "signature_delta") => {
                push_signature(part, delta.signature, deltas);
                0
            }
            (Self::Call { stated }, "input_json_delta") => {
                let fragment = delta
                    .partial_json
                    .map(Text::into_string)
                    .unwrap_or_default();
                if !fragment.is_empty() {
                    *stated = None;
                    deltas.push(Delta::arguments(part, fragment));
                }
                0
            }
            (Self::Opaque(opaque), _) => opaque.delta(delta),
            (Self::Text { .. } | Self::Thinking | Self::Call { .. }, _) => 0,
        }
    }

    /// Appends what was held until the block stopped.
    pub(super) fn flush(&self, part: u32, deltas: &mut Vec<Delta>) {
        self.flush_facts(part, deltas);
        match self {
            Self::Call {
                stated: Some(arguments),
            } => deltas.push(Delta::arguments(part, arguments.as_str())),
            Self::Opaque(opaque) => {
                if let Some(data) = opaque.data() {
                    deltas.push(Delta::Opaque(OpaqueDelta {
                        part,
                        kind: opaque.kind.clone(),
                        data,
                    }));
                }
            }
            Self::Call { stated: None } | Self::Text { .. } | Self::Thinking => {}
        }
    }

    /// Appends the citations of a text, which are whole also where the text is cut.
    pub(super) fn flush_facts(&self, part: u32, deltas: &mut Vec<Delta>) {
        let Self::Text {
            citations,
            has_text: true,
        } = self
        else {
            return;
        };
        if citations.is_empty() {
            return;
        }
        let extra = format!("{{\"citations\":[{}]}}", citations.join(","));
        if let Ok(extra) = RawJson::parse(&extra) {
            let extra = Some(extra);
            deltas.push(facts(
                part,
                PartFacts::from(Facts {
                    extra,
                    ..Facts::default()
                }),
            ));
        }
    }
}

impl Opaque {
    fn delta(&mut self, delta: event::Delta<'_>) -> usize {
        let mut held = hold(&mut self.citations, delta.citation);
        for (text, so_far) in [
            (delta.partial_json, &mut self.input),
            (delta.text, &mut self.text),
        ] {
            if let Some(text) = text {
                held += text.0.len();
                so_far.push_str(&text.0);
            }
        }
        if let Some(content) = delta.content {
            // Text comes in pieces, anything else at once.
            match serde_json::from_str::<String>(content.get()) {
                Ok(piece) => {
                    held += piece.len();
                    self.content.push_str(&piece);
                }
                Err(_) => {
                    held += content.get().len();
                    self.content_json = Some(content.get().to_owned());
                }
            }
        }
        held
    }

    /// Returns the block as it stands now: untouched where nothing came after its start.
    ///
    /// `None` where its input broke off, so that nobody could take it back.
    fn data(&self) -> Option<RawJson> {
        let Self {
            start,
            input,
            text,
            content,
            content_json,
            citations,
            ..
        } = self;
        let has_pieces = [input, text, content].iter().any(|piece| !piece.is_empty());
        if !has_pieces && content_json.is_none() && citations.is_empty() {
            return RawJson::parse(start).ok();
        }
        let mut block = Object::read(start).ok()?;
        if !input.is_empty() {
            let input = without_lone_surrogates(input).into_owned();
            RawJson::parse(&input).ok()?;
            block.set("input", input);
        }
        if let Some(content) = content_json {
            block.set("content", content.as_str());
        }
        for (name, piece) in [("text", text), ("content", content)] {
            if !piece.is_empty() {
                let before = block
                    .field(name)
                    .and_then(|raw| serde_json::from_str(raw).ok());
                let mut whole: String = before.unwrap_or_default();
                whole.push_str(piece);
                let mut json = String::new();
                push_string(&mut json, &whole);
                block.set(name, json);
            }
        }
        if !citations.is_empty() {
            block.set("citations", format!("[{}]", citations.join(",")));
        }
        RawJson::parse(&block.text()).ok()
    }
}

fn hold(citations: &mut Vec<String>, citation: Option<&RawValue>) -> usize {
    let Some(citation) = citation else {
        return 0;
    };
    citations.push(citation.get().to_owned());
    citation.get().len()
}

fn push_thinking(part: u32, text: Option<Text<'_>>, deltas: &mut Vec<Delta>) {
    let text = text.map(Text::into_string).unwrap_or_default();
    if !text.is_empty() {
        deltas.push(Delta::thinking(part, text));
    }
}

fn push_signature(part: u32, signature: Option<Text<'_>>, deltas: &mut Vec<Delta>) {
    let signature = signature.map(Text::into_string).unwrap_or_default();
    if !signature.is_empty() {
        let signature = Some(signature);
        deltas.push(facts(
            part,
            PartFacts::from(Facts {
                signature,
                ..Facts::default()
            }),
        ));
    }
}
