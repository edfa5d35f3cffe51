//! The one fold from deltas to an assistant message.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::delta::{Delta, Finish, OpaqueDelta, PartFactsDelta, Started, TextDelta, ToolCallDelta};
use crate::message::{
    AssistantMessage, AssistantPart, OpaquePart, Origin, StopReason, TextPart, ThinkingPart,
};
use crate::part_facts::PartFacts;
use crate::tool::{Arguments, ToolCall, ToolSpec};
use crate::usage::Usage;

/// Folds deltas into an assistant message.
///
/// Memory is linear in the text that came in. Parts interleave freely: each delta finds its part by
/// index, the latest part first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Assembler {
    /// In the order of their parts.
    slots: Vec<Slot>,
    started: Started,
    usage: Usage,
    finish: Option<Finish>,
    has_output: bool,
    /// What may be called, as far as it is known.
    tools: Arc<[ToolSpec]>,
}

#[derive(Debug, Clone, PartialEq)]
struct Slot {
    part: u32,
    ended: bool,
    facts: PartFacts,
    content: SlotContent,
}

#[derive(Debug, Clone, PartialEq)]
enum SlotContent {
    Text(String),
    Thinking(String),
    Call {
        id: String,
        name: String,
        arguments: String,
    },
    Opaque {
        kind: String,
        data: crate::json::RawJson,
    },
}

/// Says why a delta does not fit what came before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("part {part} is {is}, so it cannot take {delta}")]
pub struct MisplacedDelta {
    /// The part that the delta names.
    pub part: u32,
    /// What the part is.
    pub is: &'static str,
    /// What the delta is.
    pub delta: &'static str,
}

impl Assembler {
    /// Makes an assembler that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes an assembler that has seen nothing; calls of these tools share the names of their specs.
    #[must_use]
    pub fn for_tools(tools: Arc<[ToolSpec]>) -> Self {
        Self {
            tools,
            ..Self::default()
        }
    }

    /// Takes one delta.
    ///
    /// # Errors
    /// [`MisplacedDelta`] where a part changes its nature; the assembler stays as it was.
    pub fn push(&mut self, delta: &Delta) -> Result<(), MisplacedDelta> {
        // Long: an arm for each kind of delta.
        match delta {
            Delta::Started(started) => {
                if started.response_id.is_some() {
                    self.started.response_id.clone_from(&started.response_id);
                }
                if started.model.is_some() {
                    self.started.model.clone_from(&started.model);
                }
            }
            Delta::Text(TextDelta { part, text }) => {
                match &mut self
                    .slot(*part, || SlotContent::Text(String::new()))
                    .content
                {
                    SlotContent::Text(so_far) => so_far.push_str(text),
                    other => return Err(other.misplaced(*part, "text")),
                }
            }
            Delta::Thinking(TextDelta { part, text }) => {
                match &mut self
                    .slot(*part, || SlotContent::Thinking(String::new()))
                    .content
                {
                    SlotContent::Thinking(so_far) => so_far.push_str(text),
                    other => return Err(other.misplaced(*part, "thinking")),
                }
            }
            Delta::ToolCall(ToolCallDelta { part, id, name }) => {
                match &mut self.slot(*part, SlotContent::empty_call).content {
                    SlotContent::Call {
                        id: id_so_far,
                        name: name_so_far,
                        ..
                    } => {
                        for (so_far, new) in [(id_so_far, id), (name_so_far, name)] {
                            if !new.is_empty() {
                                so_far.clone_from(new);
                            }
                        }
                    }
                    other => return Err(other.misplaced(*part, "a tool call")),
                }
            }
            Delta::Arguments(TextDelta { part, text }) => {
                match &mut self.slot(*part, SlotContent::empty_call).content {
                    SlotContent::Call { arguments, .. } => arguments.push_str(text),
                    other => return Err(other.misplaced(*part, "arguments")),
                }
            }
            Delta::PartFacts(PartFactsDelta { part, facts }) => {
                let slot = self.slot(*part, || SlotContent::Thinking(String::new()));
                slot.facts.replace_with(facts.clone());
            }
            Delta::Opaque(OpaqueDelta { part, kind, data }) => {
                let (kind, data) = (kind.clone(), data.clone());
                let content = SlotContent::Opaque { kind, data };
                let slot = self.slot(*part, || content.clone());
                if !matches!(slot.content, SlotContent::Opaque { .. }) {
                    return Err(slot.content.misplaced(*part, "an opaque item"));
                }
                slot.content = content;
            }
            Delta::PartEnded(ended) => {
                if let Some(slot) = self.slots.iter_mut().rfind(|slot| slot.part == ended.part) {
                    slot.ended = true;
                }
            }
            Delta::Usage(usage) => self.usage.replace_with(usage),
            Delta::Finish(finish) => self.finish = Some(finish.clone()),
        }
        self.has_output |= delta.is_output();
        Ok(())
    }

    /// Returns what was reported of tokens so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Says whether the model has shown any output.
    #[must_use]
    pub fn has_output(&self) -> bool {
        self.has_output
    }

    /// Returns the finish, once it was seen.
    #[must_use]
    pub fn finish(&self) -> Option<&Finish> {
        self.finish.as_ref()
    }

    /// Returns the part and the call of the `index`-th tool call of the stream, from 0, once its part
    /// has ended: as [`Assembler::into_message`] will make it, unless more comes for the part.
    ///
    /// `taken` says which ids the calls before it have.
    #[must_use]
    pub fn ended_call(
        &self,
        index: usize,
        taken: impl Fn(&str) -> bool,
    ) -> Option<(u32, ToolCall)> {
        let mut calls = self.slots.iter().filter_map(|slot| match &slot.content {
            SlotContent::Call {
                id,
                name,
                arguments,
            } => Some((slot, id, name, arguments)),
            _ => None,
        });
        let (slot, id, name, arguments) = calls.nth(index).filter(|it| it.0.ended)?;
        let call = ToolCall {
            id: unique(id, index, taken),
            name: named(name, &self.tools),
            arguments: Arguments::parse(arguments),
            facts: slot.facts.clone(),
        };
        Some((slot.part, call))
    }

    /// Makes the message of a stream that is over, or `None` if it never finished.
    ///
    /// A call that was never ended is cut off if the output was cut (output limit, full window) and
    /// complete otherwise. A call without an id gets `call_{n}`, counted from 0, and one that repeats
    /// an id of the same message gets `{id}_{n}`: no provider accepts two results under one id. A
    /// call without a name gets `unnamed`, for no provider accepts such a call in a conversation.
    #[must_use]
    pub fn into_message(self, origin: Origin) -> Option<AssistantMessage> {
        let finish = self.finish.clone()?;
        let cut = matches!(
            finish.stop_reason,
            StopReason::MaxTokens | StopReason::ContextWindow
        );
        Some(self.build(origin, finish, |slot| Some(slot.ended || !cut)))
    }

    /// Makes the message of a stream that was cancelled: text that was shown is kept, thinking
    /// without a signature and open calls are dropped. `None` if nothing is left.
    #[must_use]
    pub fn into_cancelled(self, origin: Origin) -> Option<AssistantMessage> {
        let finish = Finish {
            stop_reason: StopReason::Cancelled,
            raw: None,
        };
        let message = self.build(origin, finish, |slot| match &slot.content {
            SlotContent::Text(text) => (!text.is_empty()).then_some(true),
            SlotContent::Thinking(_) => slot.facts.signature.is_some().then_some(true),
            SlotContent::Call { .. } => slot.ended.then_some(true),
            SlotContent::Opaque { .. } => Some(true),
        });
        (!message.parts.is_empty()).then_some(message)
    }

    /// `keep` answers `None` to drop a part, else whether the part is complete.
    fn build(
        self,
        origin: Origin,
        finish: Finish,
        keep: impl Fn(&Slot) -> Option<bool>,
    ) -> AssistantMessage {
        let mut parts = Vec::with_capacity(self.slots.len());
        let mut ids: BTreeSet<Arc<str>> = BTreeSet::new();
        let mut slots = self.slots.into_iter();
        while let Some(slot) = slots.next() {
            let Some(complete) = keep(&slot).filter(|_| !slot.says_nothing()) else {
                continue;
            };
            let facts = slot.facts;
            parts.push(match slot.content {
                SlotContent::Text(text) => AssistantPart::Text(TextPart { text, facts }),
                SlotContent::Thinking(text) => {
                    AssistantPart::Thinking(ThinkingPart { text, facts })
                }
                SlotContent::Call {
                    id,
                    name,
                    arguments,
                } => {
                    let id = unique(&id, ids.len(), |id| ids.contains(id));
                    if slots.len() > 0 {
                        // What follows must not repeat it.
                        ids.insert(Arc::clone(&id));
                    }
                    let name = named(&name, &self.tools);
                    let arguments = if complete {
                        Arguments::parse(&arguments)
                    } else {
                        Arguments::cut_off(&arguments)
                    };
                    AssistantPart::ToolCall(Arc::new(ToolCall {
                        id,
                        name,
                        arguments,
                        facts,
                    }))
                }
                SlotContent::Opaque { kind, data } => {
                    AssistantPart::Opaque(OpaquePart { kind, data })
                }
            });
        }
        let response_model = self.started.model.filter(|model| **model != *origin.model);
        AssistantMessage {
            parts,
            stop_reason: finish.stop_reason,
            stop_reason_raw: finish.raw,
            usage: self.usage,
            origin: Origin {
                response_id: self.started.response_id,
                response_model,
                ..origin
            },
        }
    }

    fn slot(&mut self, part: u32, new: impl FnOnce() -> SlotContent) -> &mut Slot {
        // The newest part comes first: nearly every increment is one of its.
        let newest = self.slots.last().filter(|slot| slot.part <= part);
        let found = match newest {
            Some(slot) if slot.part == part => Ok(self.slots.len() - 1),
            Some(_) => Err(self.slots.len()),
            None => self.slots.binary_search_by_key(&part, |slot| slot.part),
        };
        let at = found.unwrap_or_else(|at| {
            let slot = Slot {
                part,
                ended: false,
                facts: PartFacts::default(),
                content: new(),
            };
            self.slots.insert(at, slot);
            at
        });
        #[expect(
            clippy::indexing_slicing,
            reason = "`at` was found or inserted just above"
        )]
        &mut self.slots[at]
    }
}

const UNNAMED: &str = "unnamed";

/// Returns the name of a tool, in the memory of its spec where there is one.
fn named(name: &str, tools: &[ToolSpec]) -> Arc<str> {
    if name.is_empty() {
        return Arc::from(UNNAMED);
    }
    let known = tools.iter().find(|spec| *spec.name == *name);
    known.map_or_else(|| Arc::from(name), |spec| Arc::clone(&spec.name))
}

/// Returns the id, or one made of it where it is missing or taken; `n` calls come before.
fn unique(id: &str, mut n: usize, taken: impl Fn(&str) -> bool) -> Arc<str> {
    if !id.is_empty() && !taken(id) {
        return Arc::from(id);
    }
    let stem = if id.is_empty() { "call" } else { id };
    loop {
        let made = format!("{stem}_{n}");
        if !taken(&made) {
            return Arc::from(made);
        }
        n += 1;
    }
}

impl Slot {
    /// Says whether the part holds neither text nor anything that its provider wants back: no
    /// provider accepts such a part in a conversation.
    fn says_nothing(&self) -> bool {
        match &self.content {
            SlotContent::Text(text) | SlotContent::Thinking(text) => {
                text.is_empty() && self.facts.is_empty()
            }
            SlotContent::Call { .. } | SlotContent::Opaque { .. } => false,
        }
    }
}

impl SlotContent {
    fn empty_call() -> Self {
        Self::Call {
            id: String::new(),
            name: String::new(),
            arguments: String::new(),
        }
    }

    fn misplaced(&self, part: u32, delta: &'static str) -> MisplacedDelta {
        let is = match self {
            Self::Text(_) => "text",
            Self::Thinking(_) => "thinking",
            Self::Call { .. } => "a tool call",
            Self::Opaque { .. } => "an opaque item",
        };
        MisplacedDelta { part, is, delta }
    }
}

impl AssistantMessage {
    /// Takes the message apart into deltas that assemble to it again.
    ///
    /// A replay feeds a recorded answer to a machine this way. A cancelled message comes without a
    /// finish, as it did when it was cut off.
    #[must_use]
    pub fn deltas(&self) -> Vec<Delta> {
        let started = Started {
            response_id: self.origin.response_id.clone(),
            model: self.origin.response_model.clone(),
        };
        let mut deltas = vec![Delta::Started(started)];
        for (part, content) in (0..).zip(&self.parts) {
            let mut ended = true;
            let facts = match content {
                AssistantPart::Text(text) => {
                    deltas.push(Delta::text(part, &text.text));
                    &text.facts
                }
                AssistantPart::Thinking(thinking) => {
                    deltas.push(Delta::thinking(part, &thinking.text));
                    &thinking.facts
                }
                AssistantPart::ToolCall(call) => {
                    deltas.push(Delta::tool_call(part, &*call.id, &*call.name));
                    deltas.push(Delta::arguments(part, call.arguments.text()));
                    ended = call.arguments != Arguments::cut_off(call.arguments.text());
                    &call.facts
                }
                AssistantPart::Opaque(OpaquePart { kind, data }) => {
                    let (kind, data) = (kind.clone(), data.clone());
                    deltas.push(Delta::Opaque(OpaqueDelta { part, kind, data }));
                    continue;
                }
            };
            if !facts.is_empty() {
                deltas.push(Delta::PartFacts(PartFactsDelta {
                    part,
                    facts: facts.clone(),
                }));
            }
            if ended {
                deltas.push(Delta::part_ended(part));
            }
        }
        deltas.push(Delta::Usage(self.usage));
        if self.stop_reason != StopReason::Cancelled {
            let raw = self.stop_reason_raw.clone();
            deltas.push(Delta::Finish(Finish {
                stop_reason: self.stop_reason,
                raw,
            }));
        }
        deltas
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assemble(deltas: &[Delta]) -> Assembler {
        let mut assembler = Assembler::new();
        for delta in deltas {
            assembler.push(delta).unwrap();
        }
        assembler
    }

    fn call(message: &AssistantMessage, n: usize) -> &ToolCall {
        message.tool_calls().nth(n).unwrap()
    }

    #[test]
    fn interleaved_calls_keep_their_own_arguments() {
        let message = assemble(&[
            Delta::tool_call(1, "a", "one"),
            Delta::tool_call(2, "b", "two"),
            Delta::arguments(1, "{\"x\""),
            Delta::arguments(2, "{\"y\""),
            Delta::arguments(1, ":1}"),
            Delta::arguments(2, ":2}"),
            Delta::text(0, "first"),
            Delta::finish(StopReason::ToolUse),
        ])
        .into_message(Origin::default())
        .unwrap();
        assert_eq!(message.text(), "first");
        assert!(matches!(message.parts[0], AssistantPart::Text(_)));
        assert_eq!(call(&message, 0).arguments, Arguments::parse("{\"x\":1}"));
        assert_eq!(call(&message, 1).arguments, Arguments::parse("{\"y\":2}"));
    }

    #[test]
    fn a_length_stop_cuts_the_open_call_and_keeps_the_closed_one() {
        let message = assemble(&[
            Delta::tool_call(0, "a", "one"),
            Delta::arguments(0, "{}"),
            Delta::part_ended(0),
            Delta::tool_call(1, "b", "two"),
            Delta::arguments(1, "{}"),
            Delta::finish(StopReason::MaxTokens),
        ])
        .into_message(Origin::default())
        .unwrap();
        assert_eq!(call(&message, 0).arguments, Arguments::parse("{}"));
        assert_eq!(call(&message, 1).arguments, Arguments::cut_off("{}"));
    }

    #[test]
    fn parts_that_say_nothing_are_left_out_and_calls_without_a_name_get_one() {
        let deltas = [
            Delta::text(0, ""),
            Delta::thinking(1, ""),
            Delta::arguments(2, "{}"),
            Delta::finish(StopReason::ToolUse),
        ];
        let message = assemble(&deltas).into_message(Origin::default()).unwrap();
        assert_eq!(message.parts.len(), 1);
        assert_eq!(&*call(&message, 0).name, "unnamed");
    }

    #[test]
    fn ids_that_are_missing_or_repeated_become_unique() {
        let mut deltas = Vec::new();
        for (part, id) in (0..).zip(["a", "", "a", "a", "", "a_2"]) {
            deltas.push(Delta::tool_call(part, id, "t"));
        }
        deltas.push(Delta::finish(StopReason::ToolUse));
        let message = assemble(&deltas).into_message(Origin::default()).unwrap();
        let ids: Vec<&str> = message.tool_calls().map(|call| &*call.id).collect();
        assert_eq!(ids, ["a", "call_1", "a_2", "a_3", "call_4", "a_2_5"]);
        let again = assemble(&message.deltas())
            .into_message(Origin::default())
            .unwrap();
        assert_eq!(again, message);
    }

    #[test]
    fn a_stream_without_finish_is_no_message() {
        assert_eq!(
            assemble(&[Delta::text(0, "half")]).into_message(Origin::default()),
            None
        );
    }

    #[test]
    fn a_cancelled_stream_keeps_text_and_closed_calls_only() {
        let message = assemble(&[
            Delta::thinking(0, "unsigned"),
            Delta::text(1, "shown"),
            Delta::tool_call(2, "a", "one"),
            Delta::part_ended(2),
            Delta::tool_call(3, "b", "two"),
        ])
        .into_cancelled(Origin::default())
        .unwrap();
        assert_eq!(message.text(), "shown");
        assert_eq!(message.tool_calls().count(), 1);
        assert_eq!(message.parts.len(), 2);
        assert_eq!(
            assemble(&[Delta::thinking(0, "x")]).into_cancelled(Origin::default()),
            None
        );
    }

    #[test]
    fn a_part_that_changes_its_nature_is_refused() {
        let mut assembler = assemble(&[Delta::text(0, "a")]);
        let before = assembler.clone();
        assert!(assembler.push(&Delta::tool_call(0, "x", "y")).is_err());
        assert_eq!(assembler, before);
    }
}
