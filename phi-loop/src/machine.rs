//! The machine: inputs in, events and effects out, and nothing else.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use phi_types::{
    Assembler, Configuration, Continuation, EffectId, Event, LoopId, Outcome, Point, Queue,
    QueueId, Queued, RawJson, SessionId, Spawned, StopCause, Surface, Transcript,
};

use crate::calls::Slot;
use crate::decision::DecisionId;
use crate::io::{Effect, Input, Output, Rejected, ToolReport};
use crate::state::{Calling, IllegalSequence, Phase, Stage, State};
use crate::step::Opening;

mod context;
mod decisions;
mod early;
#[cfg(feature = "driver")]
mod estimate;
mod inputs;
mod model;
mod outputs;
mod resume;
mod shared_limits;

#[cfg(feature = "driver")]
pub(crate) use estimate::dearest;
pub(crate) use inputs::check_message;

/// What a loop begins with.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    /// The session.
    pub session: SessionId,
    /// The loop.
    pub loop_id: LoopId,
    /// The agent that runs it.
    pub agent: Option<Arc<str>>,
    /// The loop whose conversation it continues.
    pub parent: Option<LoopId>,
    /// In which way it continues.
    pub continuation: Continuation,
    /// The policy that it runs under.
    pub configuration: Configuration,
    /// What the caller wants to find again, as an object.
    pub metadata: Option<RawJson>,
    /// The conversation so far.
    pub transcript: Transcript,
    /// What the model is shown besides the conversation; at least one model.
    pub surface: Surface,
}

impl Start {
    /// Makes the start of the first loop of a session.
    #[must_use]
    pub fn new(session: SessionId, configuration: Configuration, surface: Surface) -> Self {
        let loop_id = LoopId::numbered(&session, &configuration.id, 1);
        Self {
            session,
            loop_id,
            agent: None,
            parent: None,
            continuation: Continuation::Initial,
            configuration,
            metadata: None,
            transcript: Transcript::new(),
            surface,
        }
    }
}

/// The agent loop as a pure state machine.
///
/// [`Machine::handle`] takes what happened, [`Machine::poll`] hands out what to do. The state changes
/// by events alone, and [`Machine::restore`] folds the same events to the same state.
#[derive(Debug, Clone)]
pub struct Machine {
    state: State,
    /// What the first input announces; gone with it.
    start: Option<Box<Start>>,
    attempt: Attempt,
    progress_index: BTreeMap<u64, u64>,
    /// How calls ended that started early, by the `seq` of their start, until the answer is there.
    held: BTreeMap<u64, ToolReport>,
    /// The sub-agents of running calls, by the `seq` of the effect. They do not survive a crash.
    spawned: BTreeMap<u64, Spawned>,
    deciding: Deciding,
    pending: Pending,
    outbox: VecDeque<Output>,
}

/// What the model call in flight has yielded. It does not survive a crash.
#[derive(Debug, Clone, Default)]
struct Attempt {
    assembler: Assembler,
    live_index: u64,
    /// Whether a call came that has to wait for the end, and those after it with it.
    early_over: bool,
}

/// The decisions that are outstanding. They do not survive a crash: they are asked for again.
#[derive(Debug, Clone, Default)]
struct Deciding {
    /// What the first input wants, until hooks have let it in.
    opening: Option<Opening>,
    /// The decision about the next step of the loop itself.
    step: Option<Asking>,
    /// The newest decision that let that step pass.
    passed: Option<Point>,
    inputs: Vec<(DecisionId, QueueId)>,
    tools: Vec<u32>,
}

/// One decision about the next step.
#[derive(Debug, Clone, Copy)]
struct Asking {
    id: DecisionId,
    point: Point,
}

/// What the step under way has to hand out.
#[derive(Debug, Clone, Default)]
struct Pending {
    events: Vec<Event>,
    aborts: Vec<EffectId>,
    effects: Vec<Effect>,
}

/// Two machines are equal if the same events led to them.
impl PartialEq for Machine {
    fn eq(&self, other: &Self) -> bool {
        self.state == other.state
    }
}

impl Machine {
    /// Makes a machine that awaits its first input: a prompt, or the word to continue.
    #[must_use]
    pub fn new(start: Start) -> Self {
        let state = State::new(
            start.session.clone(),
            start.loop_id.clone(),
            start.transcript.continued(),
        );
        Self::with_state(state, Some(Box::new(start)))
    }

    /// Folds the log of one loop into the machine that wrote it. `before` is the conversation that
    /// the loop continues: empty for the first loop of a session.
    ///
    /// Nothing is outstanding by itself afterwards: [`Machine::resume`] goes on.
    ///
    /// # Errors
    /// [`IllegalSequence`] for events that are not the log of one loop.
    pub fn restore<'a>(
        before: &Transcript,
        events: impl IntoIterator<Item = &'a Event>,
    ) -> Result<Self, IllegalSequence> {
        let mut events = events.into_iter().peekable();
        let Some(Event {
            session,
            loop_id: Some(loop_id),
            ..
        }) = events.peek()
        else {
            return Err(IllegalSequence::NotStarted);
        };
        let mut state = State::new(session.clone(), loop_id.clone(), before.continued());
        for event in events {
            state.apply(event)?;
        }
        Ok(Self::with_state(state, None))
    }

    /// Folds the next event of the log that this machine was restored from.
    #[cfg(feature = "simulation")]
    pub(crate) fn fold(&mut self, event: &Event) -> Result<(), IllegalSequence> {
        self.state.apply(event)
    }

    /// Returns the state, to compare machines by what their next steps depend on.
    #[cfg(feature = "simulation")]
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    fn with_state(state: State, start: Option<Box<Start>>) -> Self {
        Self {
            state,
            start,
            attempt: Attempt::default(),
            progress_index: BTreeMap::new(),
            held: BTreeMap::new(),
            spawned: BTreeMap::new(),
            deciding: Deciding::default(),
            pending: Pending::default(),
            outbox: VecDeque::new(),
        }
    }

    /// Takes what happened. It never blocks and never panics.
    ///
    /// # Errors
    /// [`Rejected`] says why the input was refused; it changed nothing.
    pub fn handle(&mut self, now: DateTime<Utc>, input: Input) -> Result<(), Rejected> {
        if matches!(self.state.phase, Phase::Ended(_)) {
            return Err(Rejected::Ended);
        }
        match input {
            // An increment changes nothing that a step depends on.
            Input::Delta(effect, delta) => {
                let complete = self.may_complete_a_call(&delta);
                let live = self.on_delta(now, effect, delta)?;
                self.outbox.extend(live.map(Output::Live));
                if complete {
                    self.start_early(now);
                }
                return Ok(());
            }
            Input::ToolProgress(effect, progress) => return self.on_progress(effect, progress),
            Input::ToolSpawned(effect, spawned) => {
                if !self.runs_early(&effect) {
                    self.running(&effect)?;
                }
                self.spawned.insert(effect.seq, spawned);
                return Ok(());
            }
            Input::Prompt(messages) => self.on_prompt(now, messages)?,
            Input::Continue => self.on_continue(now)?,
            Input::Steer(id, message) => self.on_queued(now, id, Queue::Steering, message)?,
            Input::FollowUp(id, message) => self.on_queued(now, id, Queue::FollowUp, message)?,
            Input::ModelEnded(effect) => self.on_model_ended(now, &effect, None)?,
            Input::ModelFailed(effect, error) => {
                self.on_model_ended(now, &effect, Some(error))?;
            }
            Input::ToolEnded(effect, report) => self.on_tool_ended(now, &effect, report)?,
            Input::Approval(effect, approval, scope) => {
                self.on_approval(now, effect, approval, scope)?;
            }
            Input::Compacted(effect, compacted, usage) => {
                self.on_compacted(now, &effect, compacted, usage)?;
            }
            Input::CompactionFailed(effect, reason, usage) => {
                self.compacting(&effect)?;
                let failed = self.state.compaction_failed(Some(reason), usage);
                self.emit(now, failed);
            }
            Input::Decided(id, verdict) => self.on_decided(now, id, verdict)?,
            Input::SurfaceChanged(changed) => self.on_surface(now, changed)?,
            Input::LimitNear(limit) => self.on_limit_near(now, limit)?,
            Input::Change(change) => self.on_change(now, &change)?,
            Input::Restore(overlay) => self.on_restore(now, &overlay)?,
            Input::Timeout => self.on_timeout(now),
            Input::Stop(reason) => self.on_stop(now, StopCause::Stop { reason })?,
            Input::Cancel => self.on_stop(now, StopCause::Cancel {})?,
        }
        self.advance(now);
        Ok(())
    }

    /// Takes an increment and hands it out at once; `None` if it broke the call off. What it lets
    /// start is polled after it.
    #[cfg(feature = "driver")]
    pub(crate) fn take_delta(
        &mut self,
        now: DateTime<Utc>,
        effect: EffectId,
        delta: phi_types::Delta,
    ) -> Result<Option<phi_types::Live>, Rejected> {
        let complete = self.may_complete_a_call(&delta);
        let live = self.on_delta(now, effect, delta)?;
        if complete {
            self.start_early(now);
        }
        Ok(live)
    }

    /// Hands out what to do next. `None`: it waits for an input, or has ended.
    pub fn poll(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// Returns when to call [`Machine::handle`] with [`Input::Timeout`].
    #[must_use]
    pub fn next_timeout(&self) -> Option<DateTime<Utc>> {
        let due = match &self.state.phase {
            Phase::New | Phase::Started | Phase::Ended(_) => return None,
            Phase::Calling(Calling {
                stage: Stage::Due(at),
                ..
            }) => at.filter(|_| !self.waits_for_a_decision()),
            Phase::Settling { calls, .. } => calls
                .running()
                .next()
                .and_then(|(_, running)| running.deadline),
            Phase::Calling(_) => self.early_deadline(),
            Phase::Between { .. } => None,
        };
        let wall = if self.state.waits_for_approval_only() || self.state.stop.is_some() {
            None
        } else {
            self.state.wall_deadline()
        };
        due.into_iter().chain(wall).min()
    }

    /// Says whether the next step waits for what hooks decide, however late it is.
    fn waits_for_a_decision(&self) -> bool {
        self.deciding.step.is_some() || self.state.holds_steering()
    }

    /// Collects the effects that are under way, from the state alone: what a driver has to have
    /// running, and what a resume has to settle.
    #[must_use]
    pub fn outstanding(&self) -> Vec<Effect> {
        let mut effects = Vec::new();
        match &self.state.phase {
            Phase::Calling(Calling {
                stage: Stage::InFlight { .. },
                ..
            }) => {
                effects.extend(self.call_model());
                effects.extend(self.early_effects());
            }
            Phase::Calling(Calling {
                stage: Stage::Compacting { seq, .. },
                ..
            }) => {
                effects.push(Effect::Compact(Box::new(self.compact(*seq))));
            }
            Phase::Settling { calls, .. } => {
                for (_, slot) in calls.slots() {
                    match slot {
                        Slot::Running(running) => effects.extend(self.run_tool(running)),
                        Slot::Asking { .. } => effects.extend(self.ask(slot)),
                        Slot::Pending(_) | Slot::Approved(_) | Slot::Refused(..) | Slot::Ended => {}
                    }
                }
            }
            Phase::New
            | Phase::Started
            | Phase::Between { .. }
            | Phase::Calling(_)
            | Phase::Ended(_) => {}
        }
        effects.extend(self.decisions());
        effects
    }

    /// Names the input that must come first, if one must: `prompt`.
    #[must_use]
    pub fn awaits(&self) -> Option<&'static str> {
        let begins = matches!(self.state.phase, Phase::New | Phase::Started);
        let begins = begins && !self.state.is_served();
        (begins && self.deciding.opening.is_none()).then_some("prompt")
    }

    /// Returns how the loop ended, once it has.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.state.phase {
            Phase::Ended(outcome) => Some(outcome),
            Phase::New
            | Phase::Started
            | Phase::Between { .. }
            | Phase::Calling(_)
            | Phase::Settling { .. } => None,
        }
    }

    /// Returns the conversation, the queue and the usage.
    #[must_use]
    pub fn transcript(&self) -> &Transcript {
        &self.state.transcript
    }

    /// Returns the messages that arrived and did not find their place.
    #[must_use]
    pub fn undelivered(&self) -> &[Queued] {
        self.state.transcript.queue()
    }

    /// Returns the session.
    #[must_use]
    pub fn session(&self) -> &SessionId {
        &self.state.session
    }

    /// Returns the loop.
    #[must_use]
    pub fn loop_id(&self) -> &LoopId {
        &self.state.loop_id
    }

    /// Returns the cost of all attempts in US dollars, as far as prices are known.
    #[must_use]
    pub fn cost_usd(&self) -> f64 {
        self.state.counts.cost_usd
    }
}
