//! What led to the events of a model call: its answer, its failure, and what hooks decided about it.

use std::sync::Arc;

use phi_types::{
    AssistantMessage, Delta, EarlyStart, EffectId, Event, EventKind, Finish, Message, MessageAdded,
    ModelFailed, ModelStarted, PartFactsDelta, Point, ProviderErrorKind, StopReason, ToolCall,
    ToolEnding,
};

use super::sub_agent::spawned;
use super::{Diverged, Replay, diverged, restored};
use crate::decision::Verdict;
use crate::io::{Effect, Input, Output, ToolReport};

impl Replay<'_> {
    pub(super) fn model_decided(&self, started: &ModelStarted) -> Input {
        match self.asked_at(Point::BeforeModel) {
            Some(id) if started.patch.is_empty() => Input::Decided(id, Verdict::Proceed),
            Some(id) => Input::Decided(id, Verdict::Patch(started.patch.clone())),
            None => Input::Timeout,
        }
    }

    /// A wait for the next attempt that ends with a question to the hooks leaves no event, so it is
    /// over before the event that follows, which may come at once or much later.
    pub(super) fn wait_for_question(&mut self, event: &Event) {
        let due = self.machine.next_timeout().filter(|due| *due <= event.at);
        let (None, Some(due)) = (self.machine.asked_at(), due) else {
            return;
        };
        let mut waited = self.machine.clone();
        if waited.handle(due, Input::Timeout).is_err() {
            return;
        }
        if let Some(Output::Effect(Effect::Decide(..))) = waited.poll() {
            self.asked += 1;
            self.machine = waited;
        }
    }

    /// The process ended in the middle of the announcement: what the hooks had decided is lost, and
    /// the first half of the step is taken as it is.
    pub(super) fn cut_short(&mut self) -> Result<(), Diverged> {
        self.matched += 1;
        self.machine = restored(self.before, self.events, self.matched)?;
        Ok(())
    }

    pub(super) fn feed_answer(
        &mut self,
        event: &Event,
        message: &AssistantMessage,
    ) -> Result<Input, Diverged> {
        let effect = self.model_call(event)?;
        self.machine.retell(message.deltas());
        self.hold_results(event, 1);
        Ok(Input::ModelEnded(effect))
    }

    /// A call that is complete in the stream and starts.
    pub(super) fn feed_early(
        &mut self,
        event: &Event,
        early: EarlyStart,
        call: &ToolCall,
    ) -> Result<(), Diverged> {
        let (effect, part) = (self.model_call(event)?, early.part);
        let mut deltas = vec![
            Delta::tool_call(part, &*call.id, &*call.name),
            Delta::arguments(part, call.arguments.text()),
        ];
        if !call.facts.is_empty() {
            let facts = call.facts.clone();
            deltas.push(Delta::PartFacts(PartFactsDelta { part, facts }));
        }
        deltas.push(Delta::part_ended(part));
        for delta in deltas {
            self.input(event, Input::Delta(effect.clone(), delta))?;
        }
        Ok(())
    }

    /// Calls that started early and ended before their answer was there follow it directly, at the
    /// same time: the answer is so many events on.
    fn hold_results(&mut self, event: &Event, answer: usize) {
        for next in self.events.iter().skip(self.matched + answer) {
            let EventKind::ToolEnded(ended) = &next.kind else {
                return;
            };
            let known = matches!(
                ended.ending,
                ToolEnding::Finished
                    | ToolEnding::Failed
                    | ToolEnding::Invalid
                    | ToolEnding::TimedOut
            );
            let started = ended.started.filter(|seq| self.machine.has_early(*seq));
            let Some(seq) = started.filter(|_| known && next.at == event.at) else {
                return;
            };
            let (ending, child) = (ended.ending, spawned(ended));
            let result = Arc::clone(&ended.result);
            self.machine.hold(
                seq,
                ToolReport {
                    ending,
                    result,
                    child,
                },
            );
        }
    }

    pub(super) fn feed_failure(
        &mut self,
        event: &Event,
        failed: &ModelFailed,
    ) -> Result<Input, Diverged> {
        let effect = self.model_call(event)?;
        self.feed_facts(failed);
        Ok(if failed.facts.finish_seen {
            Input::ModelEnded(effect)
        } else {
            Input::ModelFailed(effect, failed.error.clone())
        })
    }

    /// What had come of an attempt before it failed.
    fn feed_facts(&mut self, failed: &ModelFailed) {
        let facts = failed.facts;
        let mut deltas = vec![Delta::Usage(facts.usage)];
        if facts.output_seen {
            // Thinking without a signature shows output and leaves nothing behind.
            deltas.push(Delta::thinking(0, ""));
        }
        if facts.finish_seen {
            let stop_reason = StopReason::ContextWindow;
            deltas.push(Delta::Finish(Finish {
                stop_reason,
                raw: None,
            }));
        }
        self.machine.retell(deltas);
    }

    /// What a model call had yielded when it was cut off; the event after the request holds it.
    pub(super) fn feed_partial(&mut self, event: &Event) {
        if self.model_call(event).is_err() {
            return;
        }
        match self.following().map(|event| &event.kind) {
            Some(EventKind::Message(MessageAdded {
                message: Message::Assistant(message),
                ..
            })) if message.stop_reason == StopReason::Cancelled => {
                self.machine.retell(message.deltas());
                self.hold_results(event, 2);
            }
            Some(EventKind::ModelFailed(failed))
                if failed.error.kind == ProviderErrorKind::Cancelled =>
            {
                self.feed_facts(failed);
            }
            _ => {}
        }
    }

    fn model_call(&self, event: &Event) -> Result<EffectId, Diverged> {
        let outstanding = self.machine.outstanding();
        match outstanding.into_iter().next() {
            Some(Effect::CallModel(call)) => Ok(call.id),
            _ => Err(diverged(Some(event), None, "no model call is in flight")),
        }
    }
}
