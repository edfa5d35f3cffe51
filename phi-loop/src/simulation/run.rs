//! From seeds to a tally, or to the smallest scenario that breaks a promise.

use std::fmt;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::dice::Dice;
use super::oracle::{Broken, Oracle};
use super::scenario::Scenario;
use super::setting::Setting;
use super::shrink::shrunk;
use super::story::Story;
use super::tally::Tally;
use super::world::World;
use crate::io::Input;
use crate::replay::replay;

/// A loop whose every effect was answered so often and that has not ended does not end.
const ENDINGS_MAX: u32 = 2_000;

/// Runs the scenarios of seeds.
#[derive(Debug, Clone)]
pub struct Simulation<S> {
    setting: S,
    threads: NonZeroUsize,
}

/// A scenario that breaks a promise, made as small as it gets.
#[derive(Debug, Clone)]
pub struct Violation {
    /// The seed of the scenario before it was made smaller; `None` where every interleaving was tried.
    pub seed: Option<u64>,
    /// What was broken.
    pub broken: Broken,
    /// The smallest scenario found that breaks the same promise.
    pub scenario: Scenario,
    /// Its inputs and events, a line each.
    pub story: Vec<String>,
}

impl std::error::Error for Violation {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.broken)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seed {
            Some(seed) => writeln!(f, "seed {seed}: {}", self.broken)?,
            None => writeln!(f, "{}", self.broken)?,
        }
        writeln!(f, "policy: {:?}", self.scenario.configuration)?;
        let tools = self.scenario.surface.tools.iter();
        let tools: Vec<_> = tools.map(|it| (&*it.name, it.effect_class)).collect();
        writeln!(f, "tools: {tools:?}")?;
        for line in &self.story {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

impl<S: Setting> Simulation<S> {
    /// Makes a simulation that runs in this thread alone.
    #[must_use]
    pub fn new(setting: S) -> Self {
        Self {
            setting,
            threads: NonZeroUsize::MIN,
        }
    }

    /// Runs seeds in so many threads at once.
    #[must_use]
    pub fn threads(self, threads: NonZeroUsize) -> Self {
        Self { threads, ..self }
    }

    /// Runs the scenario of every seed.
    ///
    /// # Errors
    /// The [`Violation`] of the smallest seed that was found to break a promise; the seeds after it
    /// are not run.
    pub fn run(&self, seeds: Range<u64>) -> Result<Tally, Box<Violation>> {
        self.every(seeds, |seed| {
            let scenario = Scenario::of(&self.setting, seed);
            play(&self.setting, &scenario).map_err(|broken| Found::new(scenario, broken))
        })
    }

    /// Runs the scenario of every seed once for each of its events, and lets the process end there.
    ///
    /// # Errors
    /// As [`Simulation::run`].
    pub fn crash_everywhere(&self, seeds: Range<u64>) -> Result<Tally, Box<Violation>> {
        self.every(seeds, |seed| {
            let mut scenario = Scenario::of(&self.setting, seed);
            let found = |scenario: &Scenario, broken| Found::new(scenario.clone(), broken);
            let mut tally = play(&self.setting, &scenario).map_err(|it| found(&scenario, it))?;
            for event in 0..tally.events {
                scenario.crash_after = usize::try_from(event).ok();
                tally += play(&self.setting, &scenario).map_err(|it| found(&scenario, it))?;
            }
            Ok(tally)
        })
    }

    fn every(
        &self,
        seeds: Range<u64>,
        one: impl Fn(u64) -> Result<Tally, Found> + Sync,
    ) -> Result<Tally, Box<Violation>> {
        let next = AtomicU64::new(seeds.start);
        let first: Mutex<Option<(u64, Found)>> = Mutex::new(None);
        let total = Mutex::new(Tally::default());
        let work = || {
            let mut sum = Tally::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds.end {
                    break;
                }
                match one(seed) {
                    Ok(tally) => sum += tally,
                    Err(found) => {
                        next.store(seeds.end, Ordering::Relaxed);
                        let mut first = first.lock().unwrap_or_else(|it| it.into_inner());
                        if first.as_ref().is_none_or(|(earlier, _)| seed < *earlier) {
                            *first = Some((seed, found));
                        }
                        break;
                    }
                }
            }
            *total.lock().unwrap_or_else(|it| it.into_inner()) += sum;
        };
        std::thread::scope(|scope| {
            for _ in 1..self.threads.get() {
                scope.spawn(work);
            }
            work();
        });
        match first.into_inner().unwrap_or_else(|it| it.into_inner()) {
            Some((seed, found)) => Err(Box::new(self.violation(seed, *found.0))),
            None => Ok(total.into_inner().unwrap_or_else(|it| it.into_inner())),
        }
    }

    fn violation(&self, seed: u64, (scenario, broken): (Scenario, Broken)) -> Violation {
        let (scenario, broken) = shrunk(&self.setting, scenario, broken);
        let mut world = World::new(&self.setting, &scenario);
        world.story = Story::told();
        // The story is wanted; how it ends is known.
        let ended = guarded(|| world.play());
        debug_assert!(ended.is_err(), "a shrunk scenario breaks its promise");
        Violation {
            seed: Some(seed),
            broken,
            story: world.story.into_lines(),
            scenario,
        }
    }
}

/// A scenario that breaks a promise, as it was found.
struct Found(Box<(Scenario, Broken)>);

impl Found {
    fn new(scenario: Scenario, broken: Broken) -> Self {
        Self(Box::new((scenario, broken)))
    }
}

/// Plays a scenario to its end.
pub(super) fn play(setting: &dyn Setting, scenario: &Scenario) -> Result<Tally, Broken> {
    let mut world = World::new(setting, scenario);
    guarded(|| world.play())?;
    Ok(world.tally)
}

/// A panic breaks a promise too.
pub(super) fn guarded(work: impl FnOnce() -> Result<(), Broken>) -> Result<(), Broken> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(|it| (*it).to_owned()));
        Err(Oracle::NoPanic.broken(text.unwrap_or_else(|| "it panicked".to_owned())))
    })
}

impl World<'_> {
    /// Plays the moves, then lets everything come to its simplest end.
    fn play(&mut self) -> Result<(), Broken> {
        self.open()?;
        for one in &self.scenario.moves {
            if self.has_ended() {
                break;
            }
            self.pass(one.wait_ms);
            self.act(one.row, &mut one.dice.clone())?;
            self.open()?;
        }
        for _ in 0..ENDINGS_MAX {
            if self.has_ended() {
                return self.ended();
            }
            self.act(0, &mut Dice::plain())?;
            self.open()?;
        }
        Err(Oracle::Ends.broken(format!("{} events and no end", self.events.len())))
    }

    pub(super) fn has_ended(&self) -> bool {
        self.process.machine.outcome().is_some()
    }

    /// The oracles over a loop that has ended.
    pub(super) fn ended(&mut self) -> Result<(), Broken> {
        self.tally.worlds += 1;
        for input in [Input::Cancel, Input::Timeout, self.scenario.opening()] {
            let taken = self.process.machine.handle(self.now, input).is_ok();
            let output = self.process.machine.poll();
            Oracle::InOrder.holds(!taken && output.is_none(), || {
                format!("an ended loop took an input, or did {output:?}")
            })?;
        }
        let transcript = self.process.machine.transcript();
        for history in [transcript.view(), transcript.history()] {
            if !history.is_empty() {
                phi_types::check_transcript(history)
                    .map_err(|fault| Oracle::TranscriptAccepted.broken(fault.to_string()))?;
            }
        }
        let overlaid = !transcript.view().is_same_path(transcript.history());
        let overlays = transcript.overlays().count();
        let laid = self.scenario.before.overlays().count() + self.watch.laid();
        let tagged = self.scenario.configuration.tags.is_some() && !transcript.history().is_empty();
        let right = overlays == laid - self.watch.taken_off();
        Oracle::Compactions.holds(right && overlaid == (overlays > 0 || tagged), || {
            format!("{overlays} overlays of {laid}, tagged {tagged}, overlaid {overlaid}")
        })?;
        let replayed = replay(&self.scenario.before, &self.events)
            .map_err(|diverged| Oracle::ReplayEqual.broken(format!("{diverged}\n{diverged:?}")))?;
        self.tally.replays += 1;
        Oracle::ReplayEqual.holds(replayed == self.process.machine, || {
            format!("live {:?}\nreplayed {replayed:?}", self.process.machine)
        })?;
        self.setting
            .check(&self.events, &self.process.machine)
            .map_err(|what| Oracle::Setting.broken(what))
    }
}
