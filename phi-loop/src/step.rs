//! What comes next: at most one event at a time, decided from the state alone.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use phi_types::{
    Arguments, CacheBroken, EventKind, LimitKind, LimitScope, LimitWarning, LoopEnded, LoopError,
    LoopStuck, Message, MessageAdded, ModelPatch, ModelStarted, Outcome, Point, Queued, StopCause,
    StopReason, ToolCall, ToolEnded, ToolEnding, ToolResult, ToolStarted, TurnEnded, TurnTrigger,
    Usage, UserMessage,
};

use crate::calls::Slot;
use crate::digest::request_digest;
use crate::retry::Attempts;
use crate::state::{Answer, Calling, Phase, Planned, Stage, State};

/// What comes next.
#[derive(Debug)]
pub(crate) enum Step {
    /// Something happens: write this and look again.
    Emit(EventKind),
    /// What the model reads changes: write this and look again.
    Change(Box<Planned>),
    /// The hooks have to decide about the next step of the loop itself.
    Decide(Point),
    /// The hooks have to decide about this call.
    DecideTool(u32, Arc<ToolCall>),
    /// Nothing, until an input comes.
    Wait,
}

/// What a step may know besides the state; none of it survives a crash.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    /// What the first input wants, while hooks decide about it.
    pub(crate) opening: Option<&'a Opening>,
    /// The decision about the next step, while it is outstanding.
    pub(crate) outstanding: Option<Point>,
    /// The newest decision that let the next step pass.
    pub(crate) passed: Option<Point>,
    /// The calls about which a decision is outstanding.
    pub(crate) tools: &'a [u32],
}

/// What the first input of a loop wants, until hooks have let it in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Opening {
    Prompt(Vec<Arc<UserMessage>>),
    Continue,
}

impl State {
    /// Decides what comes next.
    pub(crate) fn step(&self, asked: &Asked<'_>, now: DateTime<Utc>) -> Step {
        match &self.phase {
            Phase::New | Phase::Ended(_) => Step::Wait,
            Phase::Started => match (&self.stop, asked.opening) {
                (Some(cause), _) => Step::Emit(self.loop_ended(stopped(cause))),
                (None, Some(Opening::Prompt(_))) => asked.decide(Point::FilterInput),
                (None, Some(Opening::Continue)) => self.begin_turn(TurnTrigger::Continue, asked),
                (None, None) if self.is_served() => {
                    Step::Emit(self.loop_ended(Outcome::Completed {}))
                }
                (None, None) => Step::Wait,
            },
            Phase::Between { trigger, answer } => self.step_between(*trigger, answer, asked),
            Phase::Calling(calling) => self.step_calling(calling, asked, now),
            Phase::Settling { .. } => self.step_settling(asked),
        }
    }

    fn step_between(
        &self,
        trigger: Option<TurnTrigger>,
        answer: &Answer,
        asked: &Asked<'_>,
    ) -> Step {
        let end = |outcome| Step::Emit(self.loop_ended(outcome));
        if let Some(cause) = self.stop.as_ref().filter(|cause| is_at_once(cause)) {
            return end(stopped(cause));
        }
        if let (Some(cause), Answer::None) = (&self.stop, answer) {
            return end(stopped(cause));
        }
        if let Answer::Failed(error) = answer {
            return end(Outcome::Failed {
                error: error.clone(),
            });
        }
        if let Some(limit) = self.counts.grace {
            return end(Outcome::LimitReached { limit });
        }
        if let (Some(limit), Answer::None) = (self.counts.shared.reached, answer) {
            // A turn that was cut short leaves nothing to wrap up where it was the first.
            if self.configuration.grace_turn && self.counts.turns > 1 {
                return self.begin_turn(TurnTrigger::Grace, asked);
            }
            return end(Outcome::LimitReached { limit });
        }
        let queue = self.transcript.queue();
        if let (Some(cause), true) = (&self.stop, trigger.is_some() || !queue.is_empty()) {
            return end(stopped(cause));
        }
        let waiting = self.next_waiting(trigger);
        if trigger.is_none() {
            let outcome = outcome_of(answer);
            if matches!(outcome, Outcome::Failed { .. }) {
                return end(outcome);
            }
            if waiting.is_none() {
                return self.step_end(outcome, asked);
            }
        }
        if waiting.is_none() && self.holds_steering() {
            return Step::Wait;
        }
        if let Some(limit) = self.limit_reached() {
            // After a complete answer there is nothing to wrap up.
            if self.configuration.grace_turn && self.counts.turns > 0 && trigger.is_some() {
                return self.begin_turn(TurnTrigger::Grace, asked);
            }
            return end(Outcome::LimitReached { limit });
        }
        if let Some(limit) = self.limit_near() {
            let scope = LimitScope::Loop;
            return Step::Emit(EventKind::LimitWarning(LimitWarning { limit, scope }));
        }
        match (waiting, trigger) {
            (Some(queued), _) => self.delivered(queued),
            (None, Some(trigger)) => self.begin_turn(trigger, asked),
            (None, None) => Step::Wait,
        }
    }

    fn step_calling(&self, calling: &Calling, asked: &Asked<'_>, now: DateTime<Utc>) -> Step {
        let at_once = self.stop.as_ref().is_some_and(is_at_once);
        if let Stage::InFlight { .. } = &calling.stage {
            return Step::Wait;
        }
        if let Some(discarded) = self.discard_early() {
            return discarded;
        }
        match &calling.stage {
            Stage::InFlight { .. } => Step::Wait,
            Stage::GivenUp(_) | Stage::Cut => self.turn_ended(),
            _ if self.stop.is_some() && !matches!(calling.stage, Stage::Compacting { .. }) => {
                self.turn_ended()
            }
            Stage::Compacting { .. } if at_once => Step::Emit(
                self.compaction_failed(Some("the loop was cancelled".to_owned()), Usage::default()),
            ),
            Stage::Compacting { .. } => Step::Wait,
            Stage::Overflowed => self.step_compaction(asked),
            Stage::Due(at) if at.is_some_and(|at| at > now) => Step::Wait,
            // A message that joins while hooks decide changes the request: they are asked again.
            Stage::Due(_) => match self.next_steering() {
                Some(queued) => self.delivered(queued),
                None if self.holds_steering() || asked.outstanding.is_some() => Step::Wait,
                None if self.compaction_due() => self.step_compaction(asked),
                None if self.claims(Point::BeforeModel) => asked.decide(Point::BeforeModel),
                None => {
                    let (attempts, patch) = (calling.attempts, ModelPatch::default());
                    let broken = self.cache_broken(attempts, &patch);
                    Step::Emit(broken.unwrap_or_else(|| self.model_started(attempts, patch)))
                }
            },
        }
    }

    /// Says that the next attempt does not continue what was sent before; `None` if it does.
    pub(crate) fn cache_broken(&self, attempts: Attempts, patch: &ModelPatch) -> Option<EventKind> {
        let part = self
            .transcript
            .cache_break(self.target_of(attempts), patch)?;
        Some(EventKind::CacheBroken(CacheBroken { part }))
    }

    /// Announces the next attempt.
    pub(crate) fn model_started(&self, attempts: Attempts, patch: ModelPatch) -> EventKind {
        let target = self.target_of(attempts);
        let request_digest = request_digest(self, target, &patch);
        let attempt = attempts.started.saturating_add(1);
        EventKind::ModelStarted(ModelStarted {
            attempt,
            target,
            patch,
            request_digest,
        })
    }

    /// The list of models may have become shorter since the attempt was planned.
    pub(crate) fn target_of(&self, attempts: Attempts) -> u32 {
        let models = self.transcript.surface().models.len();
        let planned = attempts.target;
        if usize::try_from(planned).is_ok_and(|at| at < models) {
            planned
        } else {
            0
        }
    }

    fn step_settling(&self, asked: &Asked<'_>) -> Step {
        let Phase::Settling { calls, .. } = &self.phase else {
            return Step::Wait;
        };
        if let Some(discarded) = self.discard_early() {
            return discarded;
        }
        if calls.all_ended() {
            return self.changed_by(calls).unwrap_or_else(|| self.turn_ended());
        }
        if self.stop.as_ref().is_some_and(is_at_once) {
            let mut open = calls
                .slots()
                .filter_map(|(index, slot)| Some((index, slot.open()?)));
            return open.next().map_or(Step::Wait, |(index, (started, call))| {
                let text = "The call was cancelled.";
                self.answered(index, call, started, ToolEnding::Cancelled, text)
            });
        }
        let settled = calls.decided().find_map(|(index, slot)| match slot {
            Slot::Approved(call) => Some(self.tool_started(index, call)),
            Slot::Refused(call, reason) => {
                Some(self.answered(index, call, None, ToolEnding::Denied, reason))
            }
            Slot::Asking { call, .. } => {
                let why = self.why_skip()?;
                Some(self.answered(index, call, None, ToolEnding::Skipped, &why))
            }
            Slot::Pending(_) | Slot::Running(_) | Slot::Ended => None,
        });
        if let Some(step) = settled {
            return step;
        }
        if let Some(repeated) = self.repeated_too_often() {
            return Step::Emit(EventKind::LoopStuck(LoopStuck {
                tool: Arc::clone(&repeated.tool),
                times: repeated.times,
                period: repeated.period,
            }));
        }
        let skip = self.why_skip();
        for (index, call) in calls.pending() {
            if let Some(why) = &skip {
                return self.answered(index, call, None, ToolEnding::Skipped, why);
            }
            if asked.tools.contains(&index) {
                continue;
            }
            return self.step_pending(index, call, asked);
        }
        Step::Wait
    }

    fn step_pending(&self, index: u32, call: &Arc<ToolCall>, asked: &Asked<'_>) -> Step {
        let Phase::Settling { calls, .. } = &self.phase else {
            return Step::Wait;
        };
        if let Arguments::Malformed { error, .. } = &call.arguments {
            return self.answered(index, call, None, ToolEnding::Invalid, error);
        }
        if self.offered(&call.name).is_none() {
            return self.answered(index, call, None, ToolEnding::Invalid, &self.unknown(call));
        }
        if self.tool_calls_used_up() {
            let limit = self.counts.shared.reached.unwrap_or(LimitKind::ToolCalls);
            let why = format!(
                "The call did not run: the limit of {} is reached.",
                limit.as_str()
            );
            return self.answered(index, call, None, ToolEnding::Skipped, &why);
        }
        if !calls.has_room_for(index, asked.tools.len(), self.configuration.tools.execution) {
            return Step::Wait;
        }
        if self.claims(Point::BeforeTool) {
            return Step::DecideTool(index, Arc::clone(call));
        }
        self.tool_started(index, call)
    }

    /// Records the result of a call that the loop itself answers.
    pub(crate) fn answered(
        &self,
        index: u32,
        call: &ToolCall,
        started: Option<u64>,
        ending: ToolEnding,
        text: &str,
    ) -> Step {
        // No provider accepts an empty text, and a hook or a person may give no reason.
        let text = if text.is_empty() {
            "The call was refused."
        } else {
            text
        };
        Step::Emit(EventKind::ToolEnded(ToolEnded {
            index,
            call_id: Arc::clone(&call.id),
            started,
            ending,
            result: Arc::new(ToolResult::error(text)),
            child: None,
            spent: None,
        }))
    }

    pub(crate) fn tool_started(&self, index: u32, call: &Arc<ToolCall>) -> Step {
        let Some(effect_class) = self.offered(&call.name) else {
            return self.answered(index, call, None, ToolEnding::Invalid, &self.unknown(call));
        };
        let call = Arc::clone(call);
        Step::Emit(EventKind::ToolStarted(ToolStarted {
            index,
            call,
            effect_class,
            early: None,
        }))
    }

    fn unknown(&self, call: &ToolCall) -> String {
        let tools = self.transcript.surface().tools.iter();
        let known: Vec<&str> = tools
            .map(|spec| &*spec.name)
            .filter(|name| self.offered(name).is_some())
            .collect();
        if known.is_empty() {
            return format!(
                "There is no tool named {:?}: no tool is available now.",
                call.name
            );
        }
        format!(
            "There is no tool named {:?}. The tools are: {}.",
            call.name,
            known.join(", ")
        )
    }

    /// Says why calls that have not started are not started any more.
    pub(crate) fn why_skip(&self) -> Option<String> {
        if let Some(StopCause::Stop { reason }) = &self.stop {
            return Some(format!(
                "The call did not run: the loop is stopped ({reason})."
            ));
        }
        if self.counts.stuck {
            return Some("The call did not run: it repeats the calls before it.".to_owned());
        }
        self.first_steering()
            .map(|_| "The call did not run: a message from the user came first.".to_owned())
    }

    fn delivered(&self, queued: &Queued) -> Step {
        Step::Emit(EventKind::Message(MessageAdded {
            message: Message::User(Arc::clone(&queued.message)),
            turn: self.turn_index(),
            queued: Some(queued.id.clone()),
        }))
    }

    pub(crate) fn turn_ended(&self) -> Step {
        let usage = self.transcript.turn_usage();
        Step::Emit(EventKind::TurnEnded(TurnEnded {
            index: self.counts.turns,
            usage,
        }))
    }

    pub(crate) fn loop_ended(&self, outcome: Outcome) -> EventKind {
        let usage = self.transcript.usage();
        // A hook may have decided the outcome, which makes it an input too.
        let by = self.transcript.history().digested_by();
        let inputs_digest = by.of(self.trace.inputs_digest, &outcome);
        EventKind::LoopEnded(Arc::new(LoopEnded {
            outcome,
            usage,
            inputs_digest,
        }))
    }
}

/// Says whether the loop ends without waiting for what runs.
pub(crate) fn is_at_once(cause: &StopCause) -> bool {
    match cause {
        StopCause::Cancel {} | StopCause::Limit { .. } => true,
        StopCause::Stop { .. } => false,
    }
}

fn stopped(cause: &StopCause) -> Outcome {
    match cause {
        StopCause::Cancel {} => Outcome::Cancelled {},
        StopCause::Limit { limit } => Outcome::LimitReached { limit: *limit },
        StopCause::Stop { reason } => Outcome::Aborted {
            reason: reason.clone(),
        },
    }
}

/// Says how a loop ends whose model gave this answer and asked for nothing.
fn outcome_of(answer: &Answer) -> Outcome {
    let (reason, raw) = match answer {
        Answer::None => {
            let reason = "the turn ended without an answer".to_owned();
            return Outcome::Aborted { reason };
        }
        Answer::Failed(error) => {
            return Outcome::Failed {
                error: error.clone(),
            };
        }
        Answer::Stopped(reason, raw) => (*reason, raw),
    };
    let stopped = |word: &str| {
        let reason = raw.clone().unwrap_or_else(|| word.to_owned());
        Outcome::Failed {
            error: LoopError::Stopped { reason },
        }
    };
    match reason {
        StopReason::EndTurn | StopReason::StopSequence | StopReason::ToolUse => {
            Outcome::Completed {}
        }
        StopReason::PauseTurn => Outcome::Completed {},
        StopReason::MaxTokens => Outcome::LimitReached {
            limit: LimitKind::OutputTokens,
        },
        StopReason::ContextWindow => Outcome::LimitReached {
            limit: LimitKind::ContextWindow,
        },
        StopReason::Refusal => stopped("refusal"),
        StopReason::ContentFilter => stopped("content_filter"),
        StopReason::Cancelled => Outcome::Cancelled {},
        StopReason::Other => stopped("other"),
    }
}
