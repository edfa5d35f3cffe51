//! Every interleaving of a turn with a few calls: a worklist over the states of its world.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use phi_types::{
    AnswerScope, Approval, Configuration, Continuation, Delta, Point, QueueId, StopReason, Surface,
    ToolExecution, ToolPolicy, ToolResult, Transcript, UserMessage,
};

use super::oracle::{Broken, Oracle};
use super::run::{Violation, guarded};
use super::scenario::Scenario;
use super::setting::{Anything, any_surface};
use super::story::Story;
use super::tally::Tally;
use super::world::{Torn, World};
use crate::decision::Verdict;
use crate::io::{Effect, Input, ToolReport};
use crate::replay::replay;

/// How much was enumerated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Interleavings {
    /// Turns: each number of calls, effect class of each call, way to run them, with hooks and without.
    pub cases: u64,
    /// States that differ in what may follow, or in how a call of the open turn ended.
    pub states: u64,
    /// Inputs, and ends of the process in the middle of them, in all of these states.
    pub transitions: u64,
    /// States in which the loop has ended.
    pub ends: u64,
    /// What was checked on the way.
    pub tally: Tally,
}

impl AddAssign for Interleavings {
    fn add_assign(&mut self, other: Self) {
        self.cases += other.cases;
        self.states += other.states;
        self.transitions += other.transitions;
        self.ends += other.ends;
        self.tally += other.tally;
    }
}

/// One thing that may happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Act {
    kind: Kind,
    /// The effect that it answers, among those that were handed out.
    place: usize,
    /// The process ends when so many events of what follows are written.
    torn: Option<usize>,
}

/// What may happen next. A new kind of input is one more row here and in [`Kind::input`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Speak,
    Finish,
    Fail,
    Panic,
    Proceed,
    Deny,
    Ask,
    Approve,
    Disapprove,
    Timeout,
    Steer,
    Stop,
    Cancel,
    Crash,
}

/// Tries everything that may happen, in every order, in turns of one to `most` calls: tools that
/// succeed, fail, panic or run too long, hooks and people that refuse, a steering message, a stop, a
/// cancel, and a process that ends, also in the middle of a write.
///
/// In each state that is reached the log is replayed, and after each step every [`Oracle`] is asked.
///
/// # Errors
/// The [`Violation`] that was found first, with the inputs that lead to it.
pub fn every_interleaving(
    most: usize,
    threads: NonZeroUsize,
) -> Result<Interleavings, Box<Violation>> {
    let cases = cases(most);
    let next = AtomicUsize::new(0);
    let found = Mutex::new((Interleavings::default(), None));
    let work = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let done = explore(case);
            let mut found = found.lock().unwrap_or_else(|it| it.into_inner());
            match done {
                Ok(interleavings) => found.0 += interleavings,
                Err(violation) => {
                    next.store(cases.len(), Ordering::Relaxed);
                    found.1.get_or_insert(violation);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.get() {
            scope.spawn(work);
        }
        work();
    });
    match found.into_inner().unwrap_or_else(|it| it.into_inner()) {
        (_, Some(violation)) => Err(violation),
        (interleavings, None) => Ok(interleavings),
    }
}

/// Makes a scenario for each effect class of each call, each way to run them, with hooks and without.
fn cases(most: usize) -> Vec<Scenario> {
    const CLASSES: [&str; 3] = ["pure", "again", "once"];
    const EXECUTIONS: [ToolExecution; 4] = [
        ToolExecution::Parallel { max: 16 },
        ToolExecution::Parallel { max: 2 },
        ToolExecution::Batched { size: 2 },
        ToolExecution::Sequential,
    ];
    let mut turns: Vec<Vec<&str>> = vec![Vec::new()];
    let mut cases = Vec::new();
    for _ in 0..most {
        turns = turns
            .iter()
            .flat_map(|turn| CLASSES.map(|class| [turn.as_slice(), &[class]].concat()))
            .collect();
        for turn in &turns {
            for execution in EXECUTIONS {
                for points in [Vec::new(), vec![Point::BeforeTool]] {
                    cases.push(case(turn, execution, points));
                }
            }
        }
    }
    cases
}

fn case(calls: &[&str], execution: ToolExecution, points: Vec<Point>) -> Scenario {
    let surface = any_surface();
    let tools = calls.iter().filter_map(|name| {
        let mut tools = surface.tools.iter();
        tools.find(|tool| &*tool.name == *name).cloned()
    });
    // A tool for each call, so that each has the name of its place.
    let tools = tools.zip(0..).map(|(mut tool, place): (_, u32)| {
        tool.name = Arc::from(format!("{}{place}", tool.name));
        tool
    });
    Scenario {
        configuration: Configuration {
            tools: ToolPolicy {
                execution,
                timeout_ms: Some(60_000),
                ..ToolPolicy::default()
            },
            points,
            ..Configuration::default()
        },
        surface: Surface {
            tools: tools.collect(),
            ..surface
        },
        before: Transcript::new(),
        continuation: Continuation::Initial,
        changes: Vec::new(),
        claims: Vec::new(),
        prompts: 1,
        moves: Vec::new(),
        crash_after: None,
    }
}

/// Walks through all states of one turn.
fn explore(scenario: &Scenario) -> Result<Interleavings, Box<Violation>> {
    let mut sum = Interleavings {
        cases: 1,
        ..Interleavings::default()
    };
    let mut seen = HashSet::new();
    let mut world = World::new(&Anything, scenario);
    let failed = |path: &[Act], broken| Box::new(violation(scenario, path, broken));
    guarded(|| world.open()).map_err(|broken| failed(&[], broken))?;
    let mut waiting = vec![(world, Vec::new())];
    while let Some((world, path)) = waiting.pop() {
        for act in acts(&world) {
            let mut torn = Some(act);
            while let Some(act) = torn {
                let mut path: Vec<Act> = path.clone();
                path.push(act);
                let mut after = world.clone();
                if act.torn.is_some() {
                    // The same events were written, and restored at, without an end in between.
                    after.watch.restored = usize::MAX;
                }
                after.tally = Tally {
                    crashes: world.tally.crashes,
                    ..Tally::default()
                };
                guarded(|| after.perform(act)).map_err(|broken| failed(&path, broken))?;
                sum.transitions += 1;
                torn = next_torn(act, &world, &after);
                if seen.insert(after.fingerprint()) {
                    sum.states += 1;
                    guarded(|| after.reached()).map_err(|broken| failed(&path, broken))?;
                    if after.has_ended() {
                        sum.ends += 1;
                    } else {
                        waiting.push((after.clone(), path));
                    }
                }
                sum.tally += Tally {
                    crashes: after.tally.crashes - world.tally.crashes,
                    ..after.tally
                };
            }
        }
    }
    Ok(sum)
}

/// After an input that wrote events, the same with the end of the process between two of them. One
/// before the first or after the last is what [`Kind::Crash`] is, in the state before or after.
fn next_torn(act: Act, before: &World<'_>, after: &World<'_>) -> Option<Act> {
    if before.tally.crashes > 0 || act.kind == Kind::Crash {
        return None;
    }
    let events = match act.torn {
        // How many events there may be is known from the run that wrote them all.
        None => after.events.len() - before.events.len(),
        Some(events) => events,
    };
    let torn = events.checked_sub(1).filter(|events| *events > 0)?;
    let torn = Some(torn);
    Some(Act { torn, ..act })
}

/// Collects everything that may happen next.
fn acts(world: &World<'_>) -> Vec<Act> {
    use Kind as K;
    let mut acts = Vec::new();
    let mut add = |place, kinds: &[Kind]| {
        acts.extend(kinds.iter().map(|kind| Act {
            kind: *kind,
            place,
            torn: None,
        }));
    };
    for (place, effect) in world.process.effects.iter().enumerate() {
        match effect {
            Effect::CallModel(_) => add(place, &[K::Speak]),
            Effect::RunTool(_) => add(place, &[K::Finish, K::Fail, K::Panic]),
            Effect::AskApproval(_) => add(place, &[K::Approve, K::Disapprove]),
            Effect::Decide(..) => add(place, &[K::Proceed, K::Deny, K::Ask]),
            Effect::Compact(_) => {}
        }
    }
    let state = world.process.machine.state();
    if world.process.machine.next_timeout().is_some() {
        add(0, &[K::Timeout]);
    }
    if state.counts.queue_ids.is_empty() {
        add(0, &[K::Steer]);
    }
    if state.stop.is_none() {
        add(0, &[K::Stop]);
    }
    add(0, &[K::Cancel]);
    if world.tally.crashes == 0 {
        add(0, &[K::Crash]);
    }
    acts
}

impl World<'_> {
    fn perform(&mut self, act: Act) -> Result<(), Broken> {
        self.torn = act.torn.map(Torn::After);
        self.pass(1);
        match act.kind {
            Kind::Crash => self.restart()?,
            Kind::Speak => self.speak_at(act.place)?,
            kind => {
                if let (Kind::Timeout, Some(due)) = (kind, self.process.machine.next_timeout()) {
                    self.now = self.now.max(due);
                }
                let effect = match kind.answers() {
                    true => self.process.take(act.place),
                    false => None,
                };
                match kind.input(effect) {
                    Some(input) => self.answer(input)?,
                    None => return Ok(()),
                }
            }
        }
        self.torn = None;
        self.open()
    }

    /// The model answers: first with a call of each tool, then that it is done.
    fn speak_at(&mut self, place: usize) -> Result<(), Broken> {
        let Some(Effect::CallModel(call)) = self.process.take(place) else {
            return Ok(());
        };
        let is_first = self.process.machine.transcript().history().len() == 1;
        let mut deltas = Vec::new();
        if is_first {
            for (part, tool) in (0..).zip(self.scenario.surface.tools.iter()) {
                deltas.push(Delta::tool_call(part, "c", &*tool.name));
                deltas.push(Delta::arguments(part, "{}"));
                deltas.push(Delta::part_ended(part));
            }
        } else {
            deltas.push(Delta::text(0, "done"));
        }
        deltas.push(Delta::finish(StopReason::EndTurn));
        for delta in deltas {
            self.answer(Input::Delta(call.id.clone(), delta))?;
        }
        self.answer(Input::ModelEnded(call.id))
    }

    /// The oracles over a state that was not reached before.
    fn reached(&mut self) -> Result<(), Broken> {
        if self.has_ended() {
            return self.ended();
        }
        let replayed = replay(&self.scenario.before, &self.events)
            .map_err(|diverged| Oracle::ReplayEqual.broken(format!("{diverged}\n{diverged:?}")))?;
        self.tally.replays += 1;
        Oracle::ReplayEqual.holds(replayed == self.process.machine, || {
            format!("live {:?}\nreplayed {replayed:?}", self.process.machine)
        })
    }
}

impl Kind {
    /// Says whether it answers an effect.
    fn answers(self) -> bool {
        match self {
            Self::Finish | Self::Fail | Self::Panic => true,
            Self::Proceed | Self::Deny | Self::Ask => true,
            Self::Approve | Self::Disapprove | Self::Speak => true,
            Self::Timeout | Self::Steer | Self::Stop | Self::Cancel | Self::Crash => false,
        }
    }

    /// Makes the input; `None` where it is none, or does not fit the effect.
    fn input(self, effect: Option<Effect>) -> Option<Input> {
        let no = || "no".to_owned();
        Some(match (self, effect) {
            (Self::Timeout, None) => Input::Timeout,
            (Self::Stop, None) => Input::Stop("enough".to_owned()),
            (Self::Cancel, None) => Input::Cancel,
            (Self::Steer, None) => {
                let id = QueueId::new("steered").expect("the name is valid");
                Input::Steer(id, Arc::new(UserMessage::text("wait")))
            }
            (kind, Some(Effect::RunTool(run))) => {
                let result = match kind {
                    Self::Finish => ToolResult::text("ok"),
                    Self::Panic => ToolResult::error("the tool panicked"),
                    _ => ToolResult::error("it broke"),
                };
                Input::ToolEnded(run.id, ToolReport::returned(result))
            }
            (Self::Approve, Some(Effect::AskApproval(ask))) => {
                Input::Approval(ask.id, Approval::Approved {}, AnswerScope::Once)
            }
            (_, Some(Effect::AskApproval(ask))) => {
                Input::Approval(ask.id, Approval::Denied { reason: no() }, AnswerScope::Once)
            }
            (kind, Some(Effect::Decide(id, _))) => {
                let verdict = match kind {
                    Self::Proceed => Verdict::Proceed,
                    Self::Ask => Verdict::Ask {
                        question: "May it?".to_owned(),
                        arguments: None,
                    },
                    _ => Verdict::Deny { reason: no() },
                };
                Input::Decided(id, verdict)
            }
            _ => return None,
        })
    }
}

/// Walks a path once more and tells its story.
fn violation(scenario: &Scenario, path: &[Act], broken: Broken) -> Violation {
    let mut world = World::new(&Anything, scenario);
    world.story = Story::told();
    let walked = guarded(|| {
        world.open()?;
        for act in path {
            world.perform(*act)?;
        }
        world.reached()
    });
    debug_assert!(walked.is_err(), "the path breaks a promise");
    Violation {
        seed: None,
        broken,
        scenario: scenario.clone(),
        story: world.story.into_lines(),
    }
}
