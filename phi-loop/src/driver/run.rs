//! A loop in progress: one task polls everything, and only while it is pulled.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use chrono::{DateTime, Utc};
use futures_core::Stream;
use futures_core::future::BoxFuture;
use phi_types::{
    AnswerScope, Approval, EffectId, Event, JournalError, LoopError, LoopId, Outcome, Point,
    Queued, ToolProgress, Transcript, Usage,
};
use tokio::sync::oneshot;
use tokio::task::coop;

use crate::decision::Verdict;
use crate::driver::books::Books;
use crate::driver::handle::{Command, Handle};
use crate::driver::hooks::{HookContext, ToolUpdate};
use crate::driver::in_flight::{InFlight, News};
use crate::driver::inbox::Inbox;
use crate::driver::parts::{Clock, Driver};
use crate::driver::update::{HookFailed, Update, Updates};
use crate::driver::work::{Observation, observe};
use crate::io::{Effect, Input, Output, Rejected};
use crate::machine::Machine;

/// What a loop came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// The loop.
    pub loop_id: LoopId,
    /// How it ended.
    pub outcome: Outcome,
    /// The conversation, with everything that the loop did.
    pub transcript: Transcript,
    /// Messages that arrived and did not find their place.
    pub undelivered: Vec<Queued>,
    /// Tokens of all attempts.
    pub usage: Usage,
    /// What they cost in US dollars, as far as prices are known.
    pub cost_usd: f64,
}

type Appended = (Vec<Event>, Result<(), JournalError>);
type Answer = (oneshot::Sender<Result<(), Rejected>>, Result<(), Rejected>);

/// How many increments of a model are taken before everything else is looked at again.
const DELTAS_IN_A_ROW: u32 = 32;

/// A loop in progress.
///
/// It moves while [`Run::next`] is polled and not otherwise. Dropping it stops everything in flight.
pub struct Run {
    machine: Machine,
    driver: Driver,
    pace: Pace,
    /// The points that the hooks claim.
    points: Vec<Point>,
    in_flight: InFlight,
    /// What is reserved in the ledger; `None` without one.
    books: Option<Box<Books>>,
    outgoing: Outgoing,
    inbox: Inbox,
    failed: Option<JournalError>,
}

/// The clock, and how long nobody has looked at it.
struct Pace {
    clock: Clock,
    /// When the clock was looked at last.
    now: DateTime<Utc>,
    deltas_in_a_row: u32,
}

/// What is on its way out: to the journal, to observers, to the caller.
#[derive(Default)]
struct Outgoing {
    appending: Option<BoxFuture<'static, Appended>>,
    updates: Updates,
    observations: VecDeque<Observation>,
    observing: Option<BoxFuture<'static, Option<(Point, String)>>>,
    /// Answers that wait until what they are about is in the journal.
    answers: Vec<Answer>,
}

impl Run {
    pub(crate) fn new(driver: Driver, machine: Machine) -> Self {
        let clock = driver.clock();
        Self::with_clock(driver, machine, clock)
    }

    pub(crate) fn with_clock(driver: Driver, machine: Machine, clock: Clock) -> Self {
        let books = driver.ledger.clone();
        let books = books.map(|it| Box::new(Books::new(it, driver.compactor.clone())));
        Self {
            points: driver.hooks.points(),
            machine,
            driver,
            pace: Pace {
                now: clock.now(),
                clock,
                deltas_in_a_row: 0,
            },
            in_flight: InFlight::default(),
            books,
            outgoing: Outgoing::default(),
            inbox: Inbox::default(),
            failed: None,
        }
    }

    /// Returns a handle that speaks to this run from elsewhere.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.inbox.handle()
    }

    /// Waits for the next update; `None` once the loop has ended and everything was handed out.
    ///
    /// **Cancel safety:** a dropped call loses nothing.
    pub async fn next(&mut self) -> Option<Update> {
        poll_fn(|cx| self.poll_next_update(cx)).await
    }

    /// Runs to the end and returns what the loop came to.
    ///
    /// **Cancel safety:** a dropped call drops the run, which stops everything in flight.
    pub async fn finish(mut self) -> Finished {
        while self.next().await.is_some() {}
        self.finished()
    }

    /// Answers the question whether a call may run, at once.
    ///
    /// # Errors
    /// [`Rejected::NotOutstanding`] if nobody asks this any more.
    pub fn approve(&mut self, effect: EffectId, approval: Approval) -> Result<(), Rejected> {
        self.input(Input::Approval(effect, approval, AnswerScope::Once))
    }

    /// Like [`Run::approve`], and the answer holds for every call of this session with the same tool
    /// and arguments: nobody is asked again.
    ///
    /// # Errors
    /// [`Rejected::NotOutstanding`] if nobody asks this any more.
    pub fn approve_for_session(
        &mut self,
        effect: EffectId,
        approval: Approval,
    ) -> Result<(), Rejected> {
        self.input(Input::Approval(effect, approval, AnswerScope::Session))
    }

    /// Returns what the loop came to. Before its end, the outcome is aborted.
    #[must_use]
    pub fn finished(&self) -> Finished {
        let outcome = match (&self.failed, self.machine.outcome()) {
            (Some(error), _) => Outcome::Failed {
                error: LoopError::Journal {
                    error: error.clone(),
                },
            },
            (None, Some(outcome)) => outcome.clone(),
            (None, None) => Outcome::Aborted {
                reason: "the run was not pulled to its end".into(),
            },
        };
        Finished {
            loop_id: self.machine.loop_id().clone(),
            outcome,
            transcript: self.machine.transcript().clone(),
            undelivered: self.machine.undelivered().to_vec(),
            usage: self.machine.transcript().usage(),
            cost_usd: self.machine.cost_usd(),
        }
    }

    pub(crate) fn input(&mut self, input: Input) -> Result<(), Rejected> {
        self.pace.now = self.pace.clock.now();
        self.machine.handle(self.pace.now, input)
    }

    fn poll_next_update(&mut self, cx: &mut Context<'_>) -> Poll<Option<Update>> {
        // What was begun has been begun before these waited here.
        if let Some(update) = self.outgoing.updates.take() {
            return Poll::Ready(Some(update));
        }
        // A task that has used up its turn would only look everything over, and find timers and
        // channels silent.
        if !coop::has_budget_remaining() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            // Nothing moves between a step's events and their place in the journal.
            if let Some(appending) = &mut self.outgoing.appending {
                let (events, written) = ready!(appending.as_mut().poll(cx));
                self.outgoing.appending = None;
                self.committed(events, written);
            }
            if self.failed.is_some() {
                return Poll::Ready(self.outgoing.updates.take());
            }
            // Effects start, and stop, before anybody is told.
            while self.outgoing.appending.is_none()
                && let Some(output) = self.machine.poll()
            {
                self.act(output, cx);
            }
            if let Some(update) = self.outgoing.updates.take() {
                return Poll::Ready(Some(update));
            }
            if self.outgoing.appending.is_some() {
                continue;
            }
            if self.poll_observers(cx).is_pending() {
                // A hanging observer must not keep the loop from its end.
                if !self.inbox.poll_cancel(cx) {
                    return Poll::Pending;
                }
                self.outgoing.observing = None;
                self.outgoing.observations.clear();
                self.quietly(Input::Cancel);
                continue;
            }
            if !self.outgoing.updates.is_empty() {
                continue;
            }
            self.answer_all();
            if self.machine.outcome().is_some() {
                self.inbox.refuse();
                if !self.in_flight.poll_left(cx) {
                    return Poll::Pending;
                }
                return Poll::Ready(None);
            }
            if let Some(update) = ready!(self.poll_input(cx)) {
                return Poll::Ready(Some(update));
            }
        }
    }

    /// Does what the machine asks.
    fn act(&mut self, output: Output, cx: &mut Context<'_>) {
        match output {
            Output::Events(events) => match &self.driver.journal {
                None => self.committed(events, Ok(())),
                Some(journal) => {
                    let journal = Arc::clone(journal);
                    self.outgoing.appending = Some(Box::pin(async move {
                        let written = journal.append(&events).await;
                        (events, written)
                    }));
                }
            },
            Output::Live(live) => {
                if self.points.contains(&Point::AfterToolUpdate) {
                    let observation = Observation::of_live(&live);
                    self.outgoing.observations.extend(observation);
                }
                self.outgoing.updates.live(live);
            }
            Output::Abort(effect) => self.in_flight.abort(&effect, cx),
            // A tool may have blocked the thread for long: nothing starts after a cancel.
            Output::Effect(_) if self.inbox.take_cancel() => self.quietly(Input::Cancel),
            Output::Effect(effect) => self.begin(effect, cx),
        }
    }

    fn committed(&mut self, events: Vec<Event>, written: Result<(), JournalError>) {
        if let Err(error) = written {
            self.books = None;
            self.in_flight = InFlight::default();
            self.outgoing.observations.clear();
            self.outgoing.answers.clear();
            self.inbox.refuse();
            self.failed = Some(error);
            return;
        }
        if let Some(books) = &mut self.books {
            for event in &events {
                books.follow(event, self.machine.transcript());
            }
        }
        if !self.points.is_empty() {
            let kinds = events.iter().map(|event| &event.kind);
            let observations = kinds.filter_map(|kind| Observation::of(kind, &self.points));
            self.outgoing.observations.extend(observations);
        }
        self.outgoing.updates.events(events);
    }

    fn poll_observers(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(observing) = &mut self.outgoing.observing {
                let failed = ready!(observing.as_mut().poll(cx));
                self.outgoing.observing = None;
                if let Some((point, reason)) = failed {
                    let failed = HookFailed { point, reason };
                    self.outgoing.updates.hook_failed(failed);
                }
            }
            let Some(observation) = self.outgoing.observations.pop_front() else {
                return Poll::Ready(());
            };
            let (hooks, timeout) = (Arc::clone(&self.driver.hooks), self.driver.hook_timeout);
            let observing = observe(hooks, self.context(), observation, timeout);
            self.outgoing.observing = Some(Box::pin(observing));
        }
    }

    fn begin(&mut self, effect: Effect, cx: &mut Context<'_>) {
        let failed_at_once = match effect {
            Effect::CallModel(call) => self.in_flight.call_model(&self.driver, *call),
            Effect::RunTool(run) => {
                // Observers come first: the loop waits for them before it takes a result.
                let observed =
                    self.outgoing.observing.is_some() || !self.outgoing.observations.is_empty();
                let session = self.machine.session();
                let cx = (!observed).then_some(cx);
                self.in_flight.run_tool(&self.driver, session, run, cx)
            }
            Effect::Compact(compact) => self.in_flight.compact(&self.driver, *compact),
            // The event has told everybody; the answer comes through a handle or `Run::approve`.
            Effect::AskApproval(_) => None,
            // Only the ledger has claimed it.
            Effect::Decide(id, subject) if !self.points.contains(&subject.point()) => {
                Some(Input::Decided(id, Verdict::Proceed))
            }
            Effect::Decide(id, subject) => {
                let context = self.context();
                self.in_flight.decide(&self.driver, context, id, subject);
                None
            }
        };
        if let Some(input) = failed_at_once {
            self.quietly(input);
        }
    }

    /// Takes the next input, from elsewhere first.
    ///
    /// While the model speaks without a pause, everything that would only be registered is passed
    /// over, and the clock and the timers are looked at every [`DELTAS_IN_A_ROW`] increments. Nothing
    /// waits to be handed out then, so an increment is handed out as it is.
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Option<Update>> {
        if self.inbox.take_cancel() {
            self.quietly(Input::Cancel);
            return Poll::Ready(None);
        }
        if self.pace.deltas_in_a_row < DELTAS_IN_A_ROW
            && self.inbox.is_empty()
            && let Some(input) = self.in_flight.poll_model(cx)
        {
            return Poll::Ready(self.take_from_model(input));
        }
        self.pace.deltas_in_a_row = 0;
        // A model and tools that never pause must not keep the thread from other tasks.
        let proceed = ready!(coop::poll_proceed(cx));
        let polled = self.poll_everything(cx);
        if polled.is_ready() {
            proceed.made_progress();
        }
        polled
    }

    fn poll_everything(&mut self, cx: &mut Context<'_>) -> Poll<Option<Update>> {
        if self.inbox.poll_cancel(cx) {
            self.quietly(Input::Cancel);
            return Poll::Ready(None);
        }
        if let Poll::Ready(Command { input, answer }) = self.inbox.poll_command(cx) {
            let taken = self.input(*input);
            self.outgoing.answers.push((answer, taken));
            return Poll::Ready(None);
        }
        let timeout = self
            .machine
            .next_timeout()
            .map(|at| self.pace.clock.instant(at));
        if let Poll::Ready(news) = self.in_flight.poll(cx, timeout) {
            match news {
                News::Input(input) => self.quietly(input),
                News::Progress(id, progress) => self.progressed(id, progress),
                News::Hidden => {}
                News::HookFailed(failed) => self.outgoing.updates.hook_failed(failed),
            }
            return Poll::Ready(None);
        }
        match self.in_flight.poll_model(cx) {
            Some(input) => Poll::Ready(self.take_from_model(input)),
            None => Poll::Pending,
        }
    }

    /// Shows progress of a tool, once a hook that claims it has decided how.
    fn progressed(&mut self, effect: EffectId, progress: ToolProgress) {
        if !self.points.contains(&Point::BeforeToolUpdate) {
            self.quietly(Input::ToolProgress(effect, progress));
            return;
        }
        let context = self.context();
        self.in_flight
            .decide_update(&self.driver, context, ToolUpdate { effect, progress });
    }

    /// An increment needs no look at the clock: only its failure would be written down.
    fn take_from_model(&mut self, input: Input) -> Option<Update> {
        let Input::Delta(effect, delta) = input else {
            self.quietly(input);
            return None;
        };
        self.pace.deltas_in_a_row += 1;
        if self.machine.may_complete_a_call(&delta) {
            // A call may start, and that is written down.
            self.pace.now = self.pace.clock.now();
        }
        let live = self.machine.take_delta(self.pace.now, effect, delta);
        live.unwrap_or_default().map(Update::Live)
    }

    /// Feeds an input of the driver's own: the machine refuses one that came too late, stays as it
    /// was, and there is nobody to tell.
    fn quietly(&mut self, input: Input) {
        // What breaks calls off comes after what these have told of their sub-agents.
        if matches!(input, Input::Cancel | Input::Timeout) {
            for told in self.in_flight.take_spawned() {
                drop(self.input(told));
            }
        }
        match (input, &mut self.books) {
            (Input::Decided(id, verdict), Some(books)) => {
                self.pace.now = self.pace.clock.now();
                books.decided(&mut self.machine, self.pace.now, (id, verdict));
            }
            (input, _) => drop(self.input(input)),
        }
    }

    fn answer_all(&mut self) {
        for (answer, taken) in std::mem::take(&mut self.outgoing.answers) {
            // Whoever asked may have gone.
            drop(answer.send(taken));
        }
    }

    fn context(&self) -> HookContext {
        HookContext::new(
            self.machine.session().clone(),
            self.machine.loop_id().clone(),
        )
    }
}

impl Stream for Run {
    type Item = Update;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Update>> {
        self.get_mut().poll_next_update(cx)
    }
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run")
            .field("loop_id", self.machine.loop_id())
            .finish_non_exhaustive()
    }
}
