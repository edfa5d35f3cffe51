//! One scripted reply of a model.

use std::collections::VecDeque;
use std::time::Duration;

use phi_types::{
    Delta, Facts, Finish, PartFacts, PartFactsDelta, ProviderError, RawJson, Started, StopReason,
    Usage,
};

use crate::gate::Gate;

/// One reply of a scripted model, and what goes wrong before and within it.
///
/// Thinking comes first, then text, then the calls. Each comes in several deltas.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    // Wide: each field is one word of a script's line.
    thinking: String,
    signature: Option<String>,
    text: String,
    calls: Vec<ScriptedCall>,
    usage: Option<Usage>,
    stop_reason: Option<StopReason>,
    errors: Vec<ProviderError>,
    delay: Duration,
    pause: Duration,
    breaks: Option<(usize, Break)>,
}

/// What breaks into a reply.
#[derive(Debug, Clone)]
enum Break {
    Error(ProviderError),
    Cut,
    Hang,
    Gate(Gate),
}

/// One tool call of a scripted reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptedCall {
    /// The tool's name.
    pub name: String,
    /// The text of the arguments as the model writes it, which need not be JSON.
    pub arguments: String,
    /// The id, where it is not to be `call_{reply}_{n}`.
    pub id: Option<String>,
}

impl ScriptedCall {
    /// Makes a call whose arguments are any text, also a text that is no JSON.
    #[must_use]
    pub fn new(name: impl Into<String>, arguments: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            arguments: arguments.into(),
            id: None,
        }
    }

    /// Makes a call whose arguments are JSON.
    #[must_use]
    pub fn json(name: impl Into<String>, arguments: &RawJson) -> Self {
        Self::new(name, arguments.as_str())
    }

    /// Sets the id.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }
}

impl Reply {
    /// Makes a reply that says nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a reply of one text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::new().with_text(text)
    }

    /// Makes a reply of one tool call; the arguments are any text.
    #[must_use]
    pub fn call(name: impl Into<String>, arguments: impl Into<String>) -> Self {
        Self::new().with_call(ScriptedCall::new(name, arguments))
    }

    /// Sets the text.
    #[must_use]
    pub fn with_text(mut self, text: impl Into<String>) -> Self {
        self.text = text.into();
        self
    }

    /// Sets the thinking, which has no signature.
    #[must_use]
    pub fn with_thinking(mut self, thinking: impl Into<String>) -> Self {
        self.thinking = thinking.into();
        self
    }

    /// Signs the thinking.
    #[must_use]
    pub fn with_signature(mut self, signature: impl Into<String>) -> Self {
        self.signature = Some(signature.into());
        self
    }

    /// Adds a tool call.
    #[must_use]
    pub fn with_call(mut self, call: ScriptedCall) -> Self {
        self.calls.push(call);
        self
    }

    /// Sets what the model reports of tokens; without it nothing is reported.
    #[must_use]
    pub fn with_usage(mut self, usage: Usage) -> Self {
        self.usage = Some(usage);
        self
    }

    /// Sets why the model stops; else it is tool use where there is a call, and the end of the turn.
    #[must_use]
    pub fn with_stop_reason(mut self, stop_reason: StopReason) -> Self {
        self.stop_reason = Some(stop_reason);
        self
    }

    /// Adds an error that one attempt gets instead of the reply; attempts after the last error get
    /// the reply.
    #[must_use]
    pub fn after_error(mut self, error: ProviderError) -> Self {
        self.errors.push(error);
        self
    }

    /// Sets a wait before the first delta.
    #[must_use]
    pub fn with_delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Sets a wait between two deltas.
    #[must_use]
    pub fn with_pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Fails with an error after so many deltas, in every attempt.
    #[must_use]
    pub fn failing_after(self, deltas: usize, error: ProviderError) -> Self {
        self.breaking_after(deltas, Break::Error(error))
    }

    /// Ends without a finish after so many deltas, as a cut connection does.
    #[must_use]
    pub fn cut_after(self, deltas: usize) -> Self {
        self.breaking_after(deltas, Break::Cut)
    }

    /// Never goes on after so many deltas.
    #[must_use]
    pub fn hanging_after(self, deltas: usize) -> Self {
        self.breaking_after(deltas, Break::Hang)
    }

    /// Goes on after so many deltas when the gate is open.
    #[must_use]
    pub fn gated_after(self, deltas: usize, gate: &Gate) -> Self {
        self.breaking_after(deltas, Break::Gate(gate.clone()))
    }

    /// Returns the deltas of the reply as the `turn`-th of a session, counted from 0.
    #[must_use]
    pub fn deltas(&self, turn: usize) -> Vec<Delta> {
        let mut deltas = vec![Delta::Started(Started {
            response_id: Some(format!("reply_{turn}")),
            model: None,
        })];
        let mut part = 0;
        if !self.thinking.is_empty() || self.signature.is_some() {
            deltas.extend(pieces(&self.thinking).map(|text| Delta::thinking(part, text)));
            if let Some(signature) = &self.signature {
                let signature = Some(signature.clone());
                let facts = PartFacts::from(Facts {
                    signature,
                    ..Facts::default()
                });
                deltas.push(Delta::PartFacts(PartFactsDelta { part, facts }));
            }
            deltas.push(Delta::part_ended(part));
            part += 1;
        }
        if !self.text.is_empty() {
            deltas.extend(pieces(&self.text).map(|text| Delta::text(part, text)));
            deltas.push(Delta::part_ended(part));
            part += 1;
        }
        for (n, call) in self.calls.iter().enumerate() {
            let id = match &call.id {
                Some(id) => id.clone(),
                None => format!("call_{turn}_{n}"),
            };
            deltas.push(Delta::tool_call(part, id, &*call.name));
            deltas.extend(pieces(&call.arguments).map(|text| Delta::arguments(part, text)));
            deltas.push(Delta::part_ended(part));
            part += 1;
        }
        deltas.extend(self.usage.map(Delta::Usage));
        deltas.push(Delta::Finish(Finish {
            stop_reason: self.stop_reason(),
            raw: None,
        }));
        deltas
    }

    /// Returns what the `attempt`-th attempt gets, counted from 0.
    pub(crate) fn steps(&self, turn: usize, attempt: usize) -> VecDeque<Step> {
        let mut steps = VecDeque::new();
        if let Some(error) = self.errors.get(attempt) {
            steps.push_back(Step::Fail(error.clone()));
            return steps;
        }
        if !self.delay.is_zero() {
            steps.push_back(Step::Wait(self.delay));
        }
        for (n, delta) in self.deltas(turn).into_iter().enumerate() {
            match &self.breaks {
                Some((at, it)) if *at == n => match it {
                    Break::Gate(gate) => steps.push_back(Step::Gate(gate.clone())),
                    Break::Hang => steps.push_back(Step::Hang),
                    Break::Error(error) => {
                        steps.push_back(Step::Fail(error.clone()));
                        return steps;
                    }
                    Break::Cut => return steps,
                },
                Some(_) | None => {}
            }
            if n > 0 && !self.pause.is_zero() {
                steps.push_back(Step::Wait(self.pause));
            }
            steps.push_back(Step::Give(delta));
        }
        steps
    }

    fn breaking_after(mut self, deltas: usize, how: Break) -> Self {
        self.breaks = Some((deltas, how));
        self
    }

    fn stop_reason(&self) -> StopReason {
        let usual = if self.calls.is_empty() {
            StopReason::EndTurn
        } else {
            StopReason::ToolUse
        };
        self.stop_reason.unwrap_or(usual)
    }
}

/// One step of a stream.
#[derive(Debug)]
pub(crate) enum Step {
    Wait(Duration),
    Gate(Gate),
    Hang,
    Give(Delta),
    Fail(ProviderError),
}

/// The longest piece, in characters.
const PIECE_MAX: usize = 64;

/// Cuts a text into about four pieces at least, on character boundaries.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let length = text.chars().count().div_ceil(4).clamp(1, PIECE_MAX);
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = match rest.char_indices().nth(length) {
            Some((end, _)) => end,
            None => rest.len(),
        };
        let (piece, after) = rest.split_at(end);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use phi_types::{Arguments, Assembler, Origin};

    use super::*;

    #[test]
    fn pieces_join_to_the_text_and_are_several() {
        for text in ["", "a", "ab", "häß", "one two three", &"x€".repeat(1_000)] {
            let pieces: Vec<&str> = pieces(text).collect();
            assert_eq!(pieces.concat(), text);
            assert!(pieces.len() >= text.chars().count().min(3), "{pieces:?}");
        }
    }

    #[test]
    fn a_reply_assembles_to_what_it_says() {
        let reply = Reply::text("Let me look.")
            .with_thinking("A file")
            .with_signature("sig")
            .with_call(ScriptedCall::new("read_file", "{\"path\":\"a\"}"))
            .with_call(ScriptedCall::new("bash", "{\"command\":").with_id("mine"));
        let mut assembler = Assembler::new();
        for delta in reply.deltas(3) {
            assembler.push(&delta).unwrap();
        }
        let message = assembler.into_message(Origin::default()).unwrap();
        assert_eq!(message.text(), "Let me look.");
        assert_eq!(message.stop_reason, StopReason::ToolUse);
        let calls: Vec<_> = message.tool_calls().collect();
        assert_eq!((&*calls[0].id, &*calls[1].id), ("call_3_0", "mine"));
        assert_eq!(calls[0].arguments, Arguments::parse("{\"path\":\"a\"}"));
        assert_eq!(calls[1].arguments, Arguments::parse("{\"command\":"));
    }
}
