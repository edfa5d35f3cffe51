//! What a run reserves in the ledger of its tree, and what it settles when the log says so.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use phi_types::{
    AssistantMessage, Entry, EstimatedTokens, Event, EventKind, LimitKind, Message, ModelPatch,
    Point, Price, Sent, TokenCounter, Transcript, Usage,
};

use crate::decision::{DecisionId, Verdict};
use crate::driver::compaction::{Compactor, whole_view};
use crate::driver::ledger::{Ledger, Reservation, Spending};
use crate::io::Input;
use crate::machine::Machine;

/// What a decision reserved.
enum Reserved {
    Model,
    Tool,
    Compaction,
    Nothing,
}

/// The reservations of one run. Dropping it frees them.
pub(crate) struct Books {
    ledger: Ledger,
    model: Option<Reservation>,
    /// By the place of the call in its turn.
    tools: BTreeMap<u32, Reservation>,
    compaction: Option<Reservation>,
    compactor: Option<Arc<dyn Compactor>>,
    meter: Meter,
}

impl Books {
    pub(crate) fn new(ledger: Ledger, compactor: Option<Arc<dyn Compactor>>) -> Self {
        Self {
            ledger,
            compactor,
            model: None,
            tools: BTreeMap::new(),
            compaction: None,
            meter: Meter::default(),
        }
    }

    /// Hands what the hooks decided on to the machine, once there is room for what they let pass.
    pub(crate) fn decided(
        &mut self,
        machine: &mut Machine,
        now: DateTime<Utc>,
        (id, verdict): (DecisionId, Verdict),
    ) {
        let room = self.reserve(machine, id, &verdict);
        for limit in self.ledger.near() {
            if !machine.is_warned_of(limit) {
                drop(machine.handle(now, Input::LimitNear(limit)));
            }
        }
        let (reserved, verdict) = match room {
            Ok(reserved) => (reserved, verdict),
            Err(limit) => (Reserved::Nothing, Verdict::Limit { limit }),
        };
        if machine.handle(now, Input::Decided(id, verdict)).is_ok() {
            return;
        }
        // It came too late.
        match reserved {
            Reserved::Model => self.model = None,
            Reserved::Tool => drop(self.tools.remove(&id.index)),
            Reserved::Compaction => self.compaction = None,
            Reserved::Nothing => {}
        }
    }

    fn reserve(
        &mut self,
        machine: &Machine,
        id: DecisionId,
        verdict: &Verdict,
    ) -> Result<Reserved, LimitKind> {
        let unchanged = ModelPatch::default();
        let patch = match verdict {
            Verdict::Proceed | Verdict::Rewrite(_) | Verdict::Ask { .. } => &unchanged,
            Verdict::Patch(patch) => patch,
            _ => return Ok(Reserved::Nothing),
        };
        if machine.asked_at() == Some((id, Point::BeforeModel)) {
            let Some(estimate) = machine.estimate(patch) else {
                return Ok(Reserved::Nothing);
            };
            let cost = Spending::of(&estimate.usage, estimate.price.as_ref());
            self.model = Some(if estimate.is_grace {
                self.ledger.reserve_beyond(&cost)
            } else {
                self.ledger.reserve(&cost)?
            });
            return Ok(Reserved::Model);
        }
        if machine.asked_at() == Some((id, Point::BeforeCompaction)) {
            let Some(compactor) = &self.compactor else {
                return Ok(Reserved::Nothing);
            };
            let compact = machine.next_compaction();
            // What a strategy of others says when it panics is lost, and the usual room is reserved.
            let most = catch_unwind(AssertUnwindSafe(|| compactor.spends_at_most(&compact)));
            let most = most.unwrap_or_else(|_| whole_view(&compact));
            self.compaction = Some(self.ledger.reserve(&most)?);
            return Ok(Reserved::Compaction);
        }
        match machine.decision_about(id.index) {
            Some((asked, _)) if asked == id => {
                let reserved = self.ledger.reserve(&Spending::tool_call())?;
                self.tools.insert(id.index, reserved);
                Ok(Reserved::Tool)
            }
            _ => Ok(Reserved::Nothing),
        }
    }

    /// Settles what an event says was spent, or frees what it says will not be.
    pub(crate) fn follow(&mut self, event: &Event, transcript: &Transcript) {
        let spent = self.meter.follow(event, transcript);
        let reserved = match &event.kind {
            EventKind::Message(_) | EventKind::ModelFailed(_) if spent.is_some() => {
                self.model.take()
            }
            EventKind::CompactionEnded(_) => self.compaction.take(),
            EventKind::ToolStarted(started) => self.tools.remove(&started.index),
            EventKind::ToolEnded(ended) => {
                self.tools.remove(&ended.index);
                None
            }
            _ => None,
        };
        match (reserved, spent) {
            (Some(reserved), Some(spent)) => reserved.settle(&spent),
            (None, Some(spent)) => self.ledger.charge(&spent),
            (_, None) => {}
        }
    }
}

/// Reads off events what a loop spends itself, without what its sub-agents do.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    prompt_tokens: u64,
    price: Option<Price>,
}

impl Meter {
    /// Returns what an event says was spent. The transcript is that after the step of the event.
    ///
    /// An answer about whose tokens nobody reported counts as it is estimated, and so does the prompt
    /// of a failed attempt that had shown something; any other failure without a report counts
    /// nothing.
    pub(crate) fn follow(&mut self, event: &Event, transcript: &Transcript) -> Option<Spending> {
        let price = self.price.as_ref();
        match &event.kind {
            EventKind::ModelStarted(_) => {
                let sent = transcript.sent();
                self.price = sent.and_then(Sent::target).and_then(|target| target.price);
                let counted = sent.map_or(0, Sent::estimated_tokens);
                self.prompt_tokens = transcript.calibration().tokens(counted);
                None
            }
            EventKind::Message(added) => match &added.message {
                Message::Assistant(message) if message.usage == Usage::default() => {
                    let usage = estimated(self.prompt_tokens, answer_tokens(message));
                    Some(Spending::of(&usage, price))
                }
                Message::Assistant(message) => Some(Spending::of(&message.usage, price)),
                Message::User(_) | Message::Extension(_) => None,
            },
            EventKind::ModelFailed(failed) => {
                let facts = failed.facts;
                let usage = if facts.usage == Usage::default() && facts.output_seen {
                    estimated(self.prompt_tokens, 0)
                } else {
                    facts.usage
                };
                Some(Spending::of(&usage, price))
            }
            EventKind::CompactionEnded(ended) => {
                let first = transcript.surface().models.first();
                let price = price.or_else(|| first?.price.as_ref());
                Some(Spending::of(&ended.usage, price))
            }
            EventKind::ToolStarted(_) => Some(Spending::tool_call()),
            _ => None,
        }
    }
}

fn answer_tokens(message: &Arc<AssistantMessage>) -> u64 {
    EstimatedTokens.entry(&Entry::Assistant(Arc::clone(message)))
}

/// What a call is estimated to take.
pub(crate) fn estimated(prompt_tokens: u64, output_tokens: u64) -> Usage {
    Usage {
        input_tokens: Some(prompt_tokens),
        output_tokens: Some(output_tokens),
        ..Usage::default()
    }
}
