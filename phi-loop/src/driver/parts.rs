//! What a driver has at hand: providers, tools, hooks, a journal.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, TimeDelta, Utc};
use phi_types::{
    ContextChange, Continuation, Journal, OverlayId, Point, Provider, Prune, Revert, Surface,
    Target, TokenCounter, Tool, ToolSpec, UserMessage,
};
use tokio::time::Instant;

use crate::driver::compaction::Compactor;
use crate::driver::counter::CachedCounter;
use crate::driver::hooks::Hooks;
use crate::driver::ledger::Ledger;
use crate::driver::run::Run;
use crate::io::{Input, Rejected};
use crate::machine::{Machine, Start};
use crate::retry::later;

/// Runs loops with what it has at hand. A clone shares everything.
#[derive(Clone)]
pub struct Driver {
    // Wide: what loops have at hand, each thing for itself.
    pub(crate) providers: Arc<[Arc<dyn Provider>]>,
    pub(crate) tools: Arc<[Arc<dyn Tool>]>,
    /// What the tools are: one list for all loops, so that they share it.
    specs: Arc<[ToolSpec]>,
    pub(crate) hooks: Arc<dyn Hooks>,
    /// `None` keeps nothing and costs nothing.
    pub(crate) journal: Option<Arc<dyn Journal>>,
    pub(crate) compactor: Option<Arc<dyn Compactor>>,
    pub(crate) ledger: Option<Ledger>,
    pub(crate) counter: Option<Arc<dyn TokenCounter>>,
    pub(crate) hook_timeout: Duration,
    now: Option<DateTime<Utc>>,
}

impl Driver {
    /// Makes a driver with one provider and nothing else.
    #[must_use]
    pub fn new(provider: Arc<dyn Provider>) -> Self {
        Self::with_providers(vec![provider])
    }

    /// Makes a driver with several providers: a target finds its own by protocol and service name.
    #[must_use]
    pub fn with_providers(providers: Vec<Arc<dyn Provider>>) -> Self {
        Self {
            providers: providers.into(),
            tools: Arc::from([]),
            specs: Arc::from([]),
            hooks: Arc::new(()),
            journal: None,
            compactor: None,
            ledger: None,
            counter: None,
            hook_timeout: Duration::from_secs(300),
            now: None,
        }
    }

    /// Replaces the tools. The model sees them in this order.
    #[must_use]
    pub fn tools(self, tools: Vec<Arc<dyn Tool>>) -> Self {
        Self {
            specs: tools.iter().map(|tool| tool.spec().clone()).collect(),
            tools: tools.into(),
            ..self
        }
    }

    /// Replaces the hooks.
    #[must_use]
    pub fn hooks(self, hooks: Arc<dyn Hooks>) -> Self {
        Self { hooks, ..self }
    }

    /// Replaces the journal: every event is appended to it before it is acted on.
    #[must_use]
    pub fn journal(self, journal: Arc<dyn Journal>) -> Self {
        Self {
            journal: Some(journal),
            ..self
        }
    }

    /// Replaces how views are made smaller: after an overflow, and before one where the configuration
    /// says when. Without a compactor an overflow fails the loop.
    #[must_use]
    pub fn compactor(self, compactor: Arc<dyn Compactor>) -> Self {
        Self {
            compactor: Some(compactor),
            ..self
        }
    }

    /// Counts tokens exactly where a view is made smaller, instead of by the calibrated estimate.
    ///
    /// A loop goes on deciding by the estimate when a request is too large, which takes no time: the
    /// estimate is corrected by the newest report of a provider or the newest count. Then the counter
    /// counts, also early while there was neither: if the request is inside the threshold after all,
    /// nothing is made smaller. What the compactors keep, what fits and what a compaction reports is
    /// counted. Each entry is counted once while it is in memory.
    #[must_use]
    pub fn counter(self, counter: Arc<dyn TokenCounter>) -> Self {
        Self {
            counter: Some(Arc::new(CachedCounter::new(counter))),
            ..self
        }
    }

    /// Sets the ledger in which its loops reserve and settle what they spend, together with all others
    /// that have a clone of it.
    #[must_use]
    pub fn ledger(self, ledger: Ledger) -> Self {
        Self {
            ledger: Some(ledger),
            ..self
        }
    }

    /// Replaces how long one hook may take; five minutes unless said otherwise.
    #[must_use]
    pub fn hook_timeout(self, hook_timeout: Duration) -> Self {
        Self {
            hook_timeout,
            ..self
        }
    }

    /// Sets the time at which runs begin, for tests and simulations; it goes on with tokio's clock.
    #[must_use]
    pub fn starting_at(self, now: DateTime<Utc>) -> Self {
        Self {
            now: Some(now),
            ..self
        }
    }

    /// Returns what the tools are.
    #[must_use]
    pub fn specs(&self) -> Arc<[ToolSpec]> {
        Arc::clone(&self.specs)
    }

    /// Makes a surface of a system prompt, one model of the first provider, and the tools.
    #[must_use]
    pub fn surface(&self, system: &str, model: &str) -> Surface {
        let target = self
            .providers
            .first()
            .map(|it| Target::new(it.identity(), model));
        Surface {
            system: Arc::from(system),
            tools: self.specs(),
            models: target.into_iter().collect(),
            ..Surface::default()
        }
    }

    /// Starts a loop with a prompt.
    ///
    /// What this driver has at hand overrides `start`: its tools, the points of its hooks and whether
    /// there is a compactor or a counter.
    ///
    /// # Errors
    /// [`Rejected`] for an empty prompt or a surface without a model.
    pub fn prompt(&self, start: Start, message: impl Into<UserMessage>) -> Result<Run, Rejected> {
        self.prompt_all(start, vec![Arc::new(message.into())])
    }

    /// Starts a loop with a prompt of several messages. Otherwise like [`Driver::prompt`].
    ///
    /// # Errors
    /// [`Rejected`] for an empty prompt or a surface without a model.
    pub fn prompt_all(
        &self,
        start: Start,
        messages: Vec<Arc<UserMessage>>,
    ) -> Result<Run, Rejected> {
        self.start(start, Input::Prompt(messages))
    }

    /// Starts a loop on the conversation as it is, without a prompt.
    ///
    /// # Errors
    /// [`Rejected`] for a surface without a model.
    pub fn continue_from(&self, start: Start) -> Result<Run, Rejected> {
        self.start(start, Input::Continue)
    }

    /// Takes tool results out of what the model reads between two loops. A loop of its own records it
    /// and ends; what comes next continues that loop. The caller may prune whatever there is.
    ///
    /// # Errors
    /// [`Rejected::Context`] says what does not fit; then nothing begins.
    pub fn prune(&self, start: Start, prune: Prune) -> Result<Run, Rejected> {
        self.change(start, Input::Change(ContextChange::Prune(prune)))
    }

    /// Takes what follows an entry out of what the model reads between two loops; a summary stands for
    /// it. Otherwise like [`Driver::prune`].
    ///
    /// # Errors
    /// [`Rejected::Context`] says what does not fit; then nothing begins.
    pub fn revert(&self, start: Start, revert: Revert) -> Result<Run, Rejected> {
        self.change(start, Input::Change(ContextChange::Revert(revert)))
    }

    /// Takes an overlay off what the model reads between two loops, of whichever loop before it is.
    /// Otherwise like [`Driver::prune`].
    ///
    /// # Errors
    /// [`Rejected::Context`] says what does not fit; then nothing begins.
    pub fn restore(&self, start: Start, overlay: OverlayId) -> Result<Run, Rejected> {
        self.change(start, Input::Restore(overlay))
    }

    fn change(&self, start: Start, change: Input) -> Result<Run, Rejected> {
        let continuation = Continuation::ContextChange;
        self.start(
            Start {
                continuation,
                ..start
            },
            change,
        )
    }

    fn start(&self, mut start: Start, first: Input) -> Result<Run, Rejected> {
        start.surface.tools = self.specs();
        start.configuration.points = self.points();
        if let Some(ledger) = &self.ledger {
            let points = &mut start.configuration.points;
            points.extend(ledger.points());
            points.sort_unstable();
            points.dedup();
        }
        start.configuration.compaction = self.compactor.is_some();
        start.configuration.exact_count = self.counter.is_some();
        let mut run = Run::new(self.clone(), Machine::new(start));
        run.input(first)?;
        Ok(run)
    }

    /// Goes on with a restored machine: what was open is settled by effect class.
    ///
    /// The tools and the system prompt, models and options of `surface` hold from now on, and so does
    /// the ledger of this driver, whether or not the loop began with one; a difference to the log is
    /// recorded. The ledger knows what the loop spent before from [`Ledger::charge`] alone.
    ///
    /// # Errors
    /// [`Rejected`] if the loop has ended or still awaits its prompt.
    pub fn resume(&self, mut machine: Machine, surface: &Surface) -> Result<Run, Rejected> {
        if machine.outcome().is_some() {
            return Err(Rejected::Ended);
        }
        if machine.awaits().is_some() {
            let (loop_id, why) = (machine.loop_id().clone(), "still awaits its prompt");
            return Err(Rejected::NotNow { loop_id, why });
        }
        let clock = self.clock();
        let surface = Surface {
            tools: self.specs(),
            ..surface.clone()
        };
        let ledger = self.ledger.iter();
        let claims: Vec<Point> = ledger.flat_map(Ledger::points).collect();
        machine.resume_claiming(clock.now(), &surface, &claims)?;
        Ok(Run::with_clock(self.clone(), machine, clock))
    }

    /// The points that the hooks claim, in a stable order.
    fn points(&self) -> Vec<Point> {
        let mut points = self.hooks.points();
        points.sort_unstable();
        points.dedup();
        points
    }

    pub(crate) fn clock(&self) -> Clock {
        Clock {
            base: self.now.unwrap_or_else(wall_time),
            since: Instant::now(),
        }
    }

    pub(crate) fn provider(&self, target: &Target) -> Option<&Arc<dyn Provider>> {
        self.providers.iter().find(|provider| {
            let identity = provider.identity();
            *target.protocol == *identity.protocol && *target.provider == *identity.provider
        })
    }

    pub(crate) fn tool(&self, name: &str) -> Option<&Arc<dyn Tool>> {
        self.tools.iter().find(|tool| *tool.spec().name == *name)
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver")
            .field("providers", &self.providers)
            .field("tools", &self.tools)
            .finish_non_exhaustive()
    }
}

/// The time of a run: read off the wall once, then measured, so that it never goes back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    base: DateTime<Utc>,
    since: Instant,
}

impl Clock {
    pub(crate) fn now(self) -> DateTime<Utc> {
        self.base + self.elapsed()
    }

    /// Returns when it will be that time.
    pub(crate) fn instant(self, at: DateTime<Utc>) -> Instant {
        // A timer that fires a little early would find nothing due.
        let wait = (at - self.base).to_std().unwrap_or_default() + Duration::from_micros(1);
        self.since
            .checked_add(wait)
            .unwrap_or_else(|| self.since + Duration::from_secs(86_400))
    }

    fn elapsed(self) -> TimeDelta {
        let micros = i64::try_from(self.since.elapsed().as_micros()).unwrap_or(i64::MAX);
        TimeDelta::microseconds(micros)
    }
}

/// Reads the wall clock, in whole microseconds.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the driver reads the clock"
)]
fn wall_time() -> DateTime<Utc> {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let micros = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
    later(DateTime::UNIX_EPOCH, TimeDelta::microseconds(micros))
}
