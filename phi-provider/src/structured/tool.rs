//! The tool that stands for a form of the answer where a protocol has no word for it.

use phi_types::{Delta, ProviderError, StopReason, TextDelta};

use crate::wire::Decoder;

/// The name of the tool whose arguments are the answer. It is reserved: no other tool has it.
pub const OUTPUT_TOOL: &str = "phi_structured_output";

/// What a model is told of [`OUTPUT_TOOL`].
pub const OUTPUT_TOOL_DESCRIPTION: &str =
    "Gives the answer. Call it once, with the whole answer, and write no text beside it.";

/// Makes the call of [`OUTPUT_TOOL`] the text that it stands for.
///
/// The arguments become the text of the part, in the pieces in which they came; the id and other
/// facts of the call go. A stop for tools is the end of the turn if nothing else was called. Every
/// other call stays as it is, so that a wire may always wrap its decoder.
///
/// ```
/// use phi_provider::structured::{OUTPUT_TOOL, OutputToolDecoder};
/// use phi_provider::Decoder;
/// use phi_types::{Delta, ProviderError, StopReason};
///
/// struct Calls;
/// impl Decoder for Calls {
///     fn push(&mut self, _: &[u8], deltas: &mut Vec<Delta>) -> Result<(), ProviderError> {
///         deltas.push(Delta::tool_call(0, "call_1", OUTPUT_TOOL));
///         deltas.push(Delta::arguments(0, r#"{"age":7}"#));
///         deltas.push(Delta::finish(StopReason::ToolUse));
///         Ok(())
///     }
///     fn end(&mut self, _: &mut Vec<Delta>) -> Result<(), ProviderError> {
///         Ok(())
///     }
/// }
///
/// let mut deltas = Vec::new();
/// OutputToolDecoder::new(Box::new(Calls)).push(b"", &mut deltas)?;
/// let finish = Delta::finish(StopReason::EndTurn);
/// assert_eq!(deltas, [Delta::text(0, r#"{"age":7}"#), finish]);
/// # Ok::<(), ProviderError>(())
/// ```
pub struct OutputToolDecoder {
    inner: Box<dyn Decoder>,
    /// The parts that are calls, in the order in which they began.
    calls: Vec<Call>,
    /// What came last, while it is read; kept for its memory.
    fresh: Vec<Delta>,
}

struct Call {
    part: u32,
    nature: Nature,
}

enum Nature {
    /// Its name did not come yet: what came of it so far.
    Unnamed(Vec<Delta>),
    Output,
    Other,
}

impl OutputToolDecoder {
    /// Wraps a decoder.
    #[must_use]
    pub fn new(inner: Box<dyn Decoder>) -> Self {
        Self {
            inner,
            calls: Vec::new(),
            fresh: Vec::new(),
        }
    }

    /// Rewrites the deltas from an index on.
    fn rewrite(&mut self, from: usize, deltas: &mut Vec<Delta>) {
        let begins = |delta: &Delta| matches!(delta, Delta::ToolCall(_) | Delta::Arguments(_));
        if self.calls.is_empty() && !deltas.iter().skip(from).any(begins) {
            return;
        }
        let mut fresh = std::mem::take(&mut self.fresh);
        fresh.extend(deltas.drain(from..));
        for delta in fresh.drain(..) {
            self.take(delta, deltas);
        }
        self.fresh = fresh;
    }

    fn take(&mut self, delta: Delta, deltas: &mut Vec<Delta>) {
        match delta {
            Delta::ToolCall(_) | Delta::Arguments(_) => self.take_call(delta, deltas),
            Delta::PartFacts(ref facts) => match self.call(facts.part).map(|it| &mut it.nature) {
                Some(Nature::Output) => {}
                Some(Nature::Unnamed(held)) => held.push(delta),
                Some(Nature::Other) | None => deltas.push(delta),
            },
            Delta::PartEnded(ended) => {
                if let Some(call) = self.call(ended.part) {
                    call.release(deltas);
                }
                deltas.push(delta);
            }
            Delta::Finish(mut finish) => {
                self.release(deltas);
                let is_output = |call: &Call| matches!(call.nature, Nature::Output);
                let all_output = !self.calls.is_empty() && self.calls.iter().all(is_output);
                if finish.stop_reason == StopReason::ToolUse && all_output {
                    finish.stop_reason = StopReason::EndTurn;
                }
                deltas.push(Delta::Finish(finish));
            }
            Delta::Started(_)
            | Delta::Text(_)
            | Delta::Thinking(_)
            | Delta::Opaque(_)
            | Delta::Usage(_) => deltas.push(delta),
        }
    }

    fn take_call(&mut self, delta: Delta, deltas: &mut Vec<Delta>) {
        let (part, name) = match &delta {
            Delta::ToolCall(call) => (call.part, &*call.name),
            Delta::Arguments(arguments) => (arguments.part, ""),
            _ => return deltas.push(delta),
        };
        let named = match name {
            "" => None,
            OUTPUT_TOOL => Some(Nature::Output),
            _ => Some(Nature::Other),
        };
        let at = self.calls.iter().rposition(|call| call.part == part);
        let at = at.unwrap_or_else(|| {
            let nature = Nature::Unnamed(Vec::new());
            self.calls.push(Call { part, nature });
            self.calls.len() - 1
        });
        let Some(call) = self.calls.get_mut(at) else {
            return;
        };
        if let (Nature::Unnamed(held), Some(named)) = (&mut call.nature, named) {
            let held = std::mem::take(held);
            call.nature = named;
            for earlier in held {
                call.give(earlier, deltas);
            }
        }
        call.give(delta, deltas);
    }

    fn call(&mut self, part: u32) -> Option<&mut Call> {
        self.calls.iter_mut().rfind(|call| call.part == part)
    }

    /// Gives out what waited for a name that never came.
    fn release(&mut self, deltas: &mut Vec<Delta>) {
        for call in &mut self.calls {
            call.release(deltas);
        }
    }
}

impl Call {
    fn give(&mut self, delta: Delta, deltas: &mut Vec<Delta>) {
        match (&mut self.nature, delta) {
            (Nature::Unnamed(held), delta) => held.push(delta),
            (Nature::Output, Delta::Arguments(TextDelta { part, text })) => {
                if !text.is_empty() {
                    deltas.push(Delta::text(part, text));
                }
            }
            (Nature::Output, _) => {}
            (Nature::Other, delta) => deltas.push(delta),
        }
    }

    fn release(&mut self, deltas: &mut Vec<Delta>) {
        if let Nature::Unnamed(held) = &mut self.nature {
            deltas.append(held);
            self.nature = Nature::Other;
        }
    }
}

impl Decoder for OutputToolDecoder {
    fn push(&mut self, bytes: &[u8], deltas: &mut Vec<Delta>) -> Result<(), ProviderError> {
        let from = deltas.len();
        let pushed = self.inner.push(bytes, deltas);
        self.rewrite(from, deltas);
        pushed
    }

    fn end(&mut self, deltas: &mut Vec<Delta>) -> Result<(), ProviderError> {
        let from = deltas.len();
        let ended = self.inner.end(deltas);
        self.rewrite(from, deltas);
        self.release(deltas);
        ended
    }

    fn is_over(&self) -> bool {
        self.inner.is_over()
    }
}

impl std::fmt::Debug for OutputToolDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutputToolDecoder")
            .field("calls", &self.calls.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use phi_types::{Facts, PartFacts, PartFactsDelta, ProviderErrorKind};

    use super::*;

    struct Given(Vec<Vec<Delta>>, Result<(), ProviderError>);

    impl Decoder for Given {
        fn push(&mut self, _: &[u8], deltas: &mut Vec<Delta>) -> Result<(), ProviderError> {
            if self.0.is_empty() {
                return self.1.clone();
            }
            deltas.extend(self.0.remove(0));
            Ok(())
        }

        fn end(&mut self, _: &mut Vec<Delta>) -> Result<(), ProviderError> {
            self.1.clone()
        }
    }

    /// Reads deltas that come all at once and one by one; what comes out is the same.
    fn read(given: &[Delta]) -> Vec<Delta> {
        let ways = [
            vec![given.to_vec()],
            given.iter().map(|it| vec![it.clone()]).collect(),
        ];
        let outcomes = ways.map(|pushes| {
            let count = pushes.len();
            let mut decoder = OutputToolDecoder::new(Box::new(Given(pushes, Ok(()))));
            let mut deltas = Vec::new();
            for _ in 0..count {
                decoder.push(b"", &mut deltas).unwrap();
            }
            decoder.end(&mut deltas).unwrap();
            deltas
        });
        assert_eq!(outcomes[0], outcomes[1]);
        let [outcome, _] = outcomes;
        outcome
    }

    fn facts(part: u32) -> Delta {
        let facts = PartFacts::from(Facts {
            item_id: Some("fc_1".to_owned()),
            ..Facts::default()
        });
        Delta::PartFacts(PartFactsDelta { part, facts })
    }

    #[test]
    fn the_call_becomes_text_and_its_stop_the_end_of_the_turn() {
        let given = [
            Delta::thinking(0, "hm"),
            Delta::tool_call(1, "a", OUTPUT_TOOL),
            facts(1),
            Delta::arguments(1, "{\"a\""),
            Delta::arguments(1, ":1}"),
            Delta::part_ended(1),
            Delta::finish(StopReason::ToolUse),
        ];
        let expected = [
            Delta::thinking(0, "hm"),
            Delta::text(1, "{\"a\""),
            Delta::text(1, ":1}"),
            Delta::part_ended(1),
            Delta::finish(StopReason::EndTurn),
        ];
        assert_eq!(read(&given), expected);
    }

    #[test]
    fn with_another_call_the_stop_stays_and_the_other_call_too() {
        let given = [
            Delta::tool_call(0, "a", OUTPUT_TOOL),
            Delta::tool_call(1, "b", "search"),
            Delta::arguments(1, "{}"),
            facts(1),
            Delta::arguments(0, "{}"),
            Delta::finish(StopReason::ToolUse),
        ];
        let expected = [
            Delta::tool_call(1, "b", "search"),
            Delta::arguments(1, "{}"),
            facts(1),
            Delta::text(0, "{}"),
            Delta::finish(StopReason::ToolUse),
        ];
        assert_eq!(read(&given), expected);
    }

    #[test]
    fn a_name_that_comes_late_counts_for_what_came_before_it() {
        let given = [
            Delta::tool_call(0, "a", ""),
            Delta::arguments(0, "{"),
            Delta::tool_call(0, "", OUTPUT_TOOL),
            Delta::arguments(0, "}"),
            Delta::finish(StopReason::ToolUse),
        ];
        let expected = [
            Delta::text(0, "{"),
            Delta::text(0, "}"),
            Delta::finish(StopReason::EndTurn),
        ];
        assert_eq!(read(&given), expected);
    }

    #[test]
    fn a_call_without_any_name_and_all_that_is_no_call_stays() {
        for given in [
            vec![
                Delta::arguments(0, "{}"),
                Delta::part_ended(0),
                Delta::finish(StopReason::ToolUse),
            ],
            vec![
                Delta::arguments(0, "{}"),
                Delta::finish(StopReason::ToolUse),
            ],
            vec![Delta::arguments(0, "{}"), facts(0)],
            vec![Delta::text(0, "hi"), Delta::finish(StopReason::ToolUse)],
            vec![
                Delta::tool_call(0, "a", "x"),
                Delta::finish(StopReason::MaxTokens),
            ],
        ] {
            assert_eq!(read(&given), given);
        }
    }

    #[test]
    fn what_came_before_an_error_is_rewritten_too() {
        let error = ProviderError::new(ProviderErrorKind::Incomplete, "cut");
        let given = vec![vec![
            Delta::tool_call(0, "a", OUTPUT_TOOL),
            Delta::arguments(0, "{"),
        ]];
        let mut decoder = OutputToolDecoder::new(Box::new(Given(given, Err(error.clone()))));
        let mut deltas = vec![Delta::text(7, "before")];
        decoder.push(b"", &mut deltas).unwrap();
        assert_eq!(decoder.push(b"", &mut deltas), Err(error.clone()));
        assert_eq!(decoder.end(&mut deltas), Err(error));
        assert_eq!(deltas, [Delta::text(7, "before"), Delta::text(0, "{")]);
    }
}
