//! What led to the events of a model call: its answer, its failure, and what hooks decided about it.

use phi_types::{
    AssistantMessage, Delta, EffectId, Event, EventKind, Finish, Message, MessageAdded,
    ModelFailed, ModelStarted, Point, ProviderErrorKind, StopReason,
};

use super::{Diverged, Replay, diverged, restored};
use crate::decision::Verdict;
use crate::io::{Effect, Input, Output};

impl Replay<'_> {
    pub(super) fn model_decided(&self, started: &ModelStarted) -> Input {
        match self.asked_at(Point::BeforeModel) {
            Some(id) if started.patch.is_empty() => Input::Decided(id, Verdict::Proceed),
            Some(id) => Input::Decided(id, Verdict::Patch(started.patch.clone())),
            None => Input::Timeout,
        }
    }

    /// A wait for the next attempt that ends with a question to the hooks leaves no event, so it is
    /// over before the event that follows, which may come much later.
    pub(super) fn wait_for_question(&mut self, event: &Event) {
        let due = self.machine.next_timeout().filter(|due| *due < event.at);
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
        for delta in message.deltas() {
            self.input(event, Input::Delta(effect.clone(), delta))?;
        }
        Ok(Input::ModelEnded(effect))
    }

    pub(super) fn feed_failure(
        &mut self,
        event: &Event,
        failed: &ModelFailed,
    ) -> Result<Input, Diverged> {
        let effect = self.model_call(event)?;
        self.feed_facts(event, &effect, failed)?;
        Ok(if failed.facts.finish_seen {
            Input::ModelEnded(effect)
        } else {
            Input::ModelFailed(effect, failed.error.clone())
        })
    }

    /// What had come of an attempt before it failed.
    fn feed_facts(
        &mut self,
        event: &Event,
        effect: &EffectId,
        failed: &ModelFailed,
    ) -> Result<(), Diverged> {
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
        for delta in deltas {
            self.input(event, Input::Delta(effect.clone(), delta))?;
        }
        Ok(())
    }

    /// What a model call had yielded when it was cut off; the event after the request holds it.
    pub(super) fn feed_partial(&mut self, event: &Event) -> Result<(), Diverged> {
        let Ok(effect) = self.model_call(event) else {
            return Ok(());
        };
        match self.following().map(|event| &event.kind) {
            Some(EventKind::Message(MessageAdded {
                message: Message::Assistant(message),
                ..
            })) if message.stop_reason == StopReason::Cancelled => {
                for delta in message.deltas() {
                    self.input(event, Input::Delta(effect.clone(), delta))?;
                }
                Ok(())
            }
            Some(EventKind::ModelFailed(failed))
                if failed.error.kind == ProviderErrorKind::Cancelled =>
            {
                self.feed_facts(event, &effect, failed)
            }
            _ => Ok(()),
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
