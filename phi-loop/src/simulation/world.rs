//! A machine in its world: what goes in, what comes out, and a second machine that was restored.

use chrono::{DateTime, TimeDelta, Utc};
use phi_types::{EffectId, Event, EventKind};

use super::dice::Dice;
use super::effects::Speech;
use super::oracle::{Broken, Oracle};
use super::scenario::Scenario;
use super::setting::Setting;
use super::story::Story;
use super::tally::Tally;
use super::watch::Watch;
use crate::io::{Effect, Input, Output};
use crate::machine::Machine;

/// How long a process is gone when it crashes, in milliseconds.
const DOWN_MS: u64 = 10_000;

/// A machine in its world.
#[derive(Clone)]
pub(super) struct World<'a> {
    pub(super) setting: &'a dyn Setting,
    pub(super) scenario: &'a Scenario,
    pub(super) process: Process,
    pub(super) now: DateTime<Utc>,
    pub(super) events: Vec<Event>,
    pub(super) watch: Watch,
    pub(super) tally: Tally,
    pub(super) story: Story,
    /// Once set, the next batch is written in part and the process ends.
    pub(super) torn: Option<Torn>,
}

/// How much of a batch is written when its process ends; all of it too, with nothing started.
#[derive(Debug, Clone)]
pub(super) enum Torn {
    /// So much as the dice say.
    Somewhere(Dice),
    /// So many events.
    After(usize),
}

/// What ends with a process.
#[derive(Debug, Clone)]
pub(super) struct Process {
    pub(super) machine: Machine,
    /// The machine that was restored at the newest event after which nothing was in flight that no
    /// log holds. It is given the same inputs and must do the same.
    twin: Machine,
    /// What was handed out and is not answered.
    pub(super) effects: Vec<Effect>,
    /// What the model has still to say, once it has begun.
    pub(super) speech: Option<Speech>,
    /// The fold of the log so far, once something was written.
    folded: Option<Machine>,
    /// Whether it begins with what another process left, and so breaks off what it never saw.
    resumes: bool,
}

impl Process {
    fn new(machine: Machine) -> Self {
        Self {
            twin: machine.clone(),
            machine,
            effects: Vec::new(),
            speech: None,
            folded: None,
            resumes: false,
        }
    }

    /// Takes an effect that was handed out, to answer it.
    pub(super) fn take(&mut self, place: usize) -> Option<Effect> {
        (place < self.effects.len()).then(|| self.effects.remove(place))
    }
}

impl<'a> World<'a> {
    pub(super) fn new(setting: &'a dyn Setting, scenario: &'a Scenario) -> Self {
        Self {
            setting,
            scenario,
            process: Process::new(Machine::new(scenario.start())),
            now: DateTime::<Utc>::UNIX_EPOCH,
            events: Vec::new(),
            watch: Watch::default(),
            tally: Tally::default(),
            story: Story::default(),
            torn: None,
        }
    }

    pub(super) fn pass(&mut self, ms: u64) {
        let span = i64::try_from(ms).ok().and_then(TimeDelta::try_milliseconds);
        self.now += span.unwrap_or_default();
    }

    /// Gives the first input where it is awaited: at the start, and after a crash that lost it.
    pub(super) fn open(&mut self) -> Result<(), Broken> {
        while self.process.machine.awaits().is_some() {
            for change in &self.scenario.changes {
                if self.process.machine.awaits().is_some() {
                    self.give(change.clone())?;
                }
            }
            if self.process.machine.awaits().is_some() {
                self.answer(self.scenario.opening())?;
            }
        }
        Ok(())
    }

    /// Gives an input that may be refused; says whether it was taken.
    pub(super) fn give(&mut self, input: Input) -> Result<bool, Broken> {
        self.story.input(self.now, &input);
        let Process { machine, twin, .. } = &mut self.process;
        let (now, is_timeout) = (self.now, matches!(input, Input::Timeout));
        let (first, second) = (
            machine.handle(self.now, input.clone()),
            twin.handle(self.now, input),
        );
        self.tally.live_steps += 1;
        self.tally.steps += 2;
        Oracle::RestoreUnobservable.holds(first == second, || {
            format!("live {first:?}, restored {second:?}")
        })?;
        let Err(refused) = first else {
            let next = machine.next_timeout().filter(|_| is_timeout);
            Oracle::SomethingAwaited.holds(next.is_none_or(|at| at > now), || {
                format!("the timeout of {next:?} has come, and would come again for ever")
            })?;
            self.drain()?;
            return Ok(true);
        };
        self.tally.refusals += 1;
        self.story.refused(&refused);
        let leaked = machine.poll();
        Oracle::Refusals.holds(*machine == *twin && leaked.is_none(), || {
            format!("an input was refused ({refused}) and left {leaked:?}")
        })?;
        Ok(false)
    }

    /// Gives an answer to something outstanding, which must be taken.
    pub(super) fn answer(&mut self, input: Input) -> Result<(), Broken> {
        let taken = self.give(input)?;
        Oracle::Refusals.holds(taken, || "a due answer was refused".to_owned())
    }

    /// Takes everything that the machine hands out.
    fn drain(&mut self) -> Result<(), Broken> {
        loop {
            let Process { machine, twin, .. } = &mut self.process;
            let (output, same) = (machine.poll(), twin.poll());
            if !is_same(output.as_ref(), same.as_ref()) {
                let what = format!("live {output:?}\nrestored {same:?}");
                return Err(Oracle::RestoreUnobservable.broken(what));
            }
            let Some(output) = output else { break };
            self.tally.live_steps += 1;
            self.tally.steps += 2;
            match output {
                Output::Events(batch) => {
                    if self.commit(batch)? {
                        return self.restart();
                    }
                }
                Output::Live(live) => self.announced(&live.effect, is_announcement)?,
                Output::Effect(effect) => {
                    if let Some(id) = effect.id() {
                        self.announced(id, |kind| announces(kind, &effect))?;
                    }
                    self.watch.handed_out(&effect)?;
                    self.process.effects.push(effect);
                }
                Output::Abort(effect) => {
                    self.announced(&effect, is_announcement)?;
                    self.abort(&effect)?;
                }
            }
        }
        self.settled()
    }

    /// Write ahead: the event that gave an effect its name is in the log, and announces it.
    fn announced(&self, id: &EffectId, fits: impl Fn(&EventKind) -> bool) -> Result<(), Broken> {
        let mut events = self.events.iter();
        let event = events.find(|event| event.seq == id.seq);
        let fits = event.is_some_and(|event| fits(&event.kind));
        Oracle::WriteAhead.holds(fits, || format!("{id} after {event:?}"))
    }

    /// Writes a batch and checks a restore at each event; says whether the process ended in it.
    fn commit(&mut self, batch: Vec<Event>) -> Result<bool, Broken> {
        let torn = self.torn.take();
        let torn = torn.map(|torn| match torn {
            Torn::Somewhere(mut dice) => dice.place(batch.len() + 1),
            Torn::After(events) => events.min(batch.len()),
        });
        let due = self
            .scenario
            .crash_after
            .filter(|_| self.tally.crashes == 0);
        let due = due.and_then(|after| after.checked_sub(self.events.len()));
        let ends = torn.or(due.filter(|keep| *keep <= batch.len()));
        let keep = ends.unwrap_or(batch.len());
        for event in batch.into_iter().take(keep) {
            self.story.event(&event);
            self.watch.written(&event)?;
            self.events.push(event);
            self.tally.events += 1;
            if self.events.len() > self.watch.restored {
                self.process.folded = Some(self.restore_here()?);
            }
        }
        Ok(ends.is_some())
    }

    fn abort(&mut self, id: &EffectId) -> Result<(), Broken> {
        let process = &mut self.process;
        let before = process.effects.len();
        process.effects.retain(|open| open.id() != Some(id));
        process.speech.take_if(|speech| speech.effect == *id);
        let known = process.effects.len() < before;
        Oracle::SomethingAwaited.holds(known || process.resumes, || {
            format!("{id} is broken off and was not handed out")
        })
    }

    /// Nothing more comes out: the machine waits, or has ended.
    fn settled(&mut self) -> Result<(), Broken> {
        let process = &mut self.process;
        if process.machine.outcome().is_some() {
            Oracle::SomethingAwaited.holds(
                process.machine.next_timeout().is_none() && process.effects.iter().all(is_question),
                || format!("after the end: {:?}", process.effects),
            )?;
            process.effects.clear();
            return Ok(());
        }
        let Some(folded) = process.folded.take() else {
            return Ok(());
        };
        let outstanding = process.machine.outstanding();
        // A question to the hooks is moot once what it was about has changed.
        process
            .effects
            .retain(|it| !is_question(it) || outstanding.iter().any(|open| names(open, it)));
        let handed = |open: &Effect| process.effects.iter().any(|it| names(open, it));
        let same = outstanding.len() == process.effects.len() && outstanding.iter().all(handed);
        Oracle::SomethingAwaited.holds(same, || {
            format!(
                "outstanding {outstanding:?}\nhanded out {:?}",
                process.effects
            )
        })?;
        let awaits = !outstanding.is_empty()
            || process.machine.next_timeout().is_some()
            || process.machine.awaits().is_some();
        Oracle::SomethingAwaited.holds(awaits, || "the loop waits for nothing".to_owned())?;
        Oracle::FoldEqualsLive.holds(folded == process.machine, || {
            format!("live {:?}\nfolded {folded:?}", process.machine)
        })?;
        // Nothing else is in flight: from here on the restored machine must do the same.
        if process.speech.is_none() && !process.effects.iter().any(is_question) {
            process.twin = folded;
        }
        Ok(())
    }

    /// The process ends and another one goes on with the log.
    pub(super) fn restart(&mut self) -> Result<(), Broken> {
        self.story.crash(self.now, self.events.len());
        self.tally.crashes += 1;
        self.pass(DOWN_MS);
        self.torn = None;
        if self.events.is_empty() {
            self.process = Process::new(Machine::new(self.scenario.start()));
            return Ok(());
        }
        let machine = self.folded()?;
        self.watch.restarted(&machine);
        self.process = Process::new(machine);
        let surface = &self.scenario.surface;
        let Process { machine, twin, .. } = &mut self.process;
        for machine in [machine, twin] {
            machine
                .resume_claiming(self.now, surface, &self.scenario.claims)
                .map_err(|refused| Oracle::ResumeInterrupts.broken(refused.to_string()))?;
        }
        self.process.resumes = true;
        self.drain()?;
        self.process.resumes = false;
        Ok(())
    }
}

fn is_same(live: Option<&Output>, restored: Option<&Output>) -> bool {
    match (live, restored) {
        // The place of an increment among those of its effect does not survive a crash.
        (Some(Output::Live(live)), Some(Output::Live(restored))) => {
            (&live.effect, &live.increment) == (&restored.effect, &restored.increment)
        }
        _ => live == restored,
    }
}

/// Says whether an event announces an effect.
fn announces(kind: &EventKind, effect: &Effect) -> bool {
    match effect {
        Effect::CallModel(_) => matches!(kind, EventKind::ModelStarted(_)),
        Effect::RunTool(_) => matches!(kind, EventKind::ToolStarted(_)),
        Effect::Compact(_) => matches!(kind, EventKind::CompactionStarted(_)),
        Effect::AskApproval(_) => matches!(kind, EventKind::ApprovalRequested(_)),
        Effect::Decide(..) => true,
    }
}

/// Says whether an event announces any effect.
fn is_announcement(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::ModelStarted(_)
            | EventKind::ToolStarted(_)
            | EventKind::CompactionStarted(_)
            | EventKind::ApprovalRequested(_)
    )
}

/// Says whether an effect asks the hooks.
pub(super) fn is_question(effect: &Effect) -> bool {
    matches!(effect, Effect::Decide(..))
}

/// Says whether two effects have one name.
fn names(one: &Effect, other: &Effect) -> bool {
    match (one, other) {
        (Effect::Decide(one, _), Effect::Decide(other, _)) => one == other,
        _ => one.id().is_some() && one.id() == other.id(),
    }
}
