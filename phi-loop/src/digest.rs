//! The hashes of a loop: over what came in, so that a replay notices every change of its log, and
//! over each request.

use phi_types::{
    AssistantMessage, Event, EventKind, HistoryDigest, Message, ModelPatch, Origin, Usage, mix,
};

use crate::calls::Slot;
use crate::state::State;

impl State {
    /// Mixes one event in. What the machine derives is left out, for a replay compares it anyway;
    /// what joins the conversation counts through the history's own rolling digest.
    pub(crate) fn digest_inputs(&self, event: &Event) -> u64 {
        let by = self.transcript.history().digested_by();
        // The clock has taken the time of this event over.
        let before = self
            .clock
            .words
            .into_iter()
            .fold(self.trace.inputs_digest, mix);
        let content = match &event.kind {
            EventKind::Message(added) => match &added.message {
                Message::Assistant(message) => mix(
                    self.transcript.history().digest(),
                    digest_answer(by, message),
                ),
                Message::User(_) | Message::Extension(_) => self.transcript.history().digest(),
            },
            // The result joins the history with the last of its turn.
            EventKind::ToolEnded(ended) => {
                let history = self.transcript.history().digest();
                let ending = by.of(0, &(ended.ending, &ended.child));
                let ending = match &ended.spent {
                    None => ending,
                    Some(spent) => by.of(ending, spent),
                };
                mix(history, mix(ending, u64::from(ended.index)))
            }
            EventKind::ToolStarted(started) => {
                let asked = self.calls().and_then(|calls| calls.get(started.index));
                match asked {
                    Some(Slot::Pending(call)) if *call == started.call => 0,
                    _ if started.early.is_some() => {
                        by.of(0, &(started.call.as_ref(), started.early))
                    }
                    _ => by.of(0, started.call.as_ref()),
                }
            }
            EventKind::LimitWarning(warning) if warning.scope.is_loop() => 0,
            EventKind::TurnStarted(_)
            | EventKind::TurnEnded(_)
            | EventKind::CacheBroken(_)
            | EventKind::ModelStarted(_)
            | EventKind::LoopStuck(_)
            | EventKind::LoopEnded(_) => 0,
            kind => by.of(0, kind),
        };
        mix(before, content)
    }
}

/// Hashes everything that the request of a model call depends on.
pub(crate) fn request_digest(state: &State, target: u32, patch: &ModelPatch) -> u64 {
    let grace = state.counts.grace.is_some();
    let patch = (!patch.is_empty()).then_some(patch);
    let view = state.transcript.view();
    let by = view.digested_by();
    by.of(
        view.digest(),
        &(state.trace.surface_digest, target, grace, patch),
    )
}

/// Hashes what an answer holds besides its parts.
fn digest_answer(by: HistoryDigest, message: &AssistantMessage) -> u64 {
    let Usage {
        input_tokens,
        cache_read_tokens,
        cache_write_tokens,
        output_tokens,
        reasoning_tokens,
    } = message.usage;
    let counts = [
        input_tokens,
        cache_read_tokens,
        cache_write_tokens,
        output_tokens,
        reasoning_tokens,
    ];
    let usage = counts.into_iter().fold(0, |hash, count| {
        // A count that was not reported is another thing than zero.
        mix(mix(hash, u64::from(count.is_some())), count.unwrap_or(0))
    });
    let Origin {
        protocol,
        provider,
        model,
        response_id,
        response_model,
    } = &message.origin;
    let names = [
        Some(&**protocol),
        Some(&**provider),
        Some(&**model),
        response_id.as_deref(),
        response_model.as_deref(),
        message.stop_reason_raw.as_deref(),
    ];
    // A message without parts joins no history, so its parts count here.
    let parts = message.parts.len() as u64;
    by.of(mix(usage, parts), &(message.stop_reason, names))
}
