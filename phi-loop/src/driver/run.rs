//! A loop in progress: one task polls everything, and only while it is pulled.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use futures_util::future::{AbortHandle, Abortable, Aborted};
use futures_util::stream::FuturesUnordered;
use phi_types::{
    Approval, Delta, EffectId, Event, JournalError, Live, LoopError, LoopId, Outcome, Point,
    ProviderError, ProviderErrorKind, Queued, ToolResult, Transcript, Usage,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Sleep;

use crate::driver::handle::{COMMANDS_MAX, CancelFlag, Command, Handle};
use crate::driver::hooks::HookContext;
use crate::driver::parts::{Clock, Driver};
use crate::driver::progress::Progress;
use crate::driver::work::{Observation, decide, observe, panic_text, run_tool};
use crate::io::{CallModel, DecisionId, Effect, Input, Output, Rejected, ToolReport, Verdict};
use crate::machine::Machine;

/// What a run hands out. Events are committed: they were appended to the journal before.
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    /// A committed event.
    Event(Event),
    /// A live increment, as it came.
    Live(Live),
    /// An observer failed; the loop goes on.
    HookFailed(HookFailed),
}

/// Says how an observer failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookFailed {
    /// The point.
    pub point: Point,
    /// What went wrong.
    pub reason: String,
}

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
type ToolFuture = Abortable<BoxFuture<'static, (EffectId, ToolReport)>>;
type Answer = (oneshot::Sender<Result<(), Rejected>>, Result<(), Rejected>);

/// A loop in progress.
///
/// It moves while [`Run::next`] is polled and not otherwise. Dropping it stops everything in flight.
pub struct Run {
    machine: Machine,
    driver: Driver,
    clock: Clock,
    points: Vec<Point>,
    ready: VecDeque<Update>,
    observations: VecDeque<Observation>,
    observing: Option<BoxFuture<'static, Option<(Point, String)>>>,
    appending: Option<BoxFuture<'static, Appended>>,
    answers: Vec<Answer>,
    model: Option<(EffectId, BoxStream<'static, Result<Delta, ProviderError>>)>,
    tools: FuturesUnordered<ToolFuture>,
    tool_aborts: Vec<(EffectId, AbortHandle)>,
    decisions: FuturesUnordered<BoxFuture<'static, (DecisionId, Verdict)>>,
    progress: Arc<Progress>,
    timer: Option<Pin<Box<Sleep>>>,
    commands: mpsc::Receiver<Command>,
    sender: mpsc::Sender<Command>,
    cancel: Arc<CancelFlag>,
    failed: Option<JournalError>,
}

impl Run {
    pub(crate) fn new(driver: Driver, machine: Machine) -> Self {
        let clock = driver.clock();
        Self::with_clock(driver, machine, clock)
    }

    pub(crate) fn with_clock(driver: Driver, machine: Machine, clock: Clock) -> Self {
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        Self {
            points: driver.hooks.points(),
            machine,
            driver,
            clock,
            ready: VecDeque::new(),
            observations: VecDeque::new(),
            observing: None,
            appending: None,
            answers: Vec::new(),
            model: None,
            tools: FuturesUnordered::new(),
            tool_aborts: Vec::new(),
            decisions: FuturesUnordered::new(),
            progress: Arc::default(),
            timer: None,
            commands,
            sender,
            cancel: Arc::default(),
            failed: None,
        }
    }

    /// Returns a handle that speaks to this run from elsewhere.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(self.sender.clone(), Arc::clone(&self.cancel))
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
        self.input(Input::Approval(effect, approval))
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
        self.machine.handle(self.clock.now(), input)
    }

    fn poll_next_update(&mut self, cx: &mut Context<'_>) -> Poll<Option<Update>> {
        loop {
            // Nothing moves between a step's events and their place in the journal.
            if let Some(appending) = &mut self.appending {
                let (events, written) = std::task::ready!(appending.as_mut().poll(cx));
                self.appending = None;
                self.committed(events, written);
            }
            if self.failed.is_some() {
                return Poll::Ready(self.ready.pop_front());
            }
            // Effects start, and stop, before anybody is told.
            while self.appending.is_none()
                && let Some(output) = self.machine.poll()
            {
                self.act(output);
            }
            if let Some(update) = self.ready.pop_front() {
                return Poll::Ready(Some(update));
            }
            if self.appending.is_some() {
                continue;
            }
            if self.poll_observer(cx).is_pending() {
                return Poll::Pending;
            }
            if !self.ready.is_empty() {
                continue;
            }
            self.answer_all();
            if self.machine.outcome().is_some() {
                self.commands.close();
                return Poll::Ready(None);
            }
            let input = std::task::ready!(self.poll_input(cx));
            self.take_input(input);
        }
    }

    /// Does what the machine asks.
    fn act(&mut self, output: Output) {
        match output {
            Output::Events(events) => match &self.driver.journal {
                None => self.committed(events, Ok(())),
                Some(journal) => {
                    let journal = Arc::clone(journal);
                    self.appending = Some(Box::pin(async move {
                        let written = journal.append(&events).await;
                        (events, written)
                    }));
                }
            },
            Output::Live(live) => self.ready.push_back(Update::Live(live)),
            Output::Abort(effect) => self.abort(&effect),
            Output::Effect(effect) => self.begin(effect),
        }
    }

    fn committed(&mut self, events: Vec<Event>, written: Result<(), JournalError>) {
        if let Err(error) = written {
            self.stop_everything();
            self.answers.clear();
            self.commands.close();
            self.failed = Some(error);
            return;
        }
        for event in events {
            if !self.points.is_empty() {
                self.observations
                    .extend(Observation::of(&event.kind, &self.points));
            }
            self.ready.push_back(Update::Event(event));
        }
    }

    fn poll_observer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(observing) = &mut self.observing {
                let failed = std::task::ready!(observing.as_mut().poll(cx));
                self.observing = None;
                let update = |(point, reason)| Update::HookFailed(HookFailed { point, reason });
                self.ready.extend(failed.map(update));
            }
            let Some(observation) = self.observations.pop_front() else {
                return Poll::Ready(());
            };
            let hooks = Arc::clone(&self.driver.hooks);
            let timeout = self.driver.hook_timeout;
            let context = self.context();
            self.observing = Some(Box::pin(observe(hooks, context, observation, timeout)));
        }
    }

    fn begin(&mut self, effect: Effect) {
        match effect {
            Effect::CallModel(call) => self.call_model(call),
            Effect::RunTool(run) => {
                let id = run.id.clone();
                let Some(tool) = self.driver.tool(&run.call.name) else {
                    let text = format!("The tool {:?} is not at hand.", run.call.name);
                    let result = ToolResult::error(text);
                    return self.quietly(Input::ToolEnded(id, ToolReport::returned(result)));
                };
                let session = self.machine.session().clone();
                let progress = Arc::clone(&self.progress);
                let report = run_tool(Arc::clone(tool), session, run, progress);
                let (abort, registration) = AbortHandle::new_pair();
                self.tool_aborts.push((id.clone(), abort));
                let work: BoxFuture<'static, _> = Box::pin(async move { (id, report.await) });
                self.tools.push(Abortable::new(work, registration));
            }
            Effect::Compact(compact) => {
                let reason = "this driver has no compactor".to_owned();
                self.quietly(Input::CompactionFailed(
                    compact.id,
                    reason,
                    Usage::default(),
                ));
            }
            // The event has told everybody; the answer comes through a handle or `Run::approve`.
            Effect::AskApproval(_) => {}
            Effect::Decide(id, subject) => {
                let hooks = Arc::clone(&self.driver.hooks);
                let decision = decide(hooks, self.context(), subject, self.driver.hook_timeout);
                self.decisions
                    .push(Box::pin(async move { (id, decision.await) }));
            }
        }
    }

    fn call_model(&mut self, call: CallModel) {
        let CallModel {
            id,
            target,
            request,
            ..
        } = call;
        let Some(provider) = self.driver.provider(&target) else {
            let message = format!(
                "no provider for {} at {} is at hand",
                target.protocol, target.provider
            );
            let error = ProviderError::new(ProviderErrorKind::InvalidRequest, message);
            return self.quietly(Input::ModelFailed(id, error));
        };
        match catch_unwind(AssertUnwindSafe(|| provider.stream(request))) {
            Ok(stream) => self.model = Some((id, stream)),
            Err(panic) => {
                let error = provider_panicked(panic_text(panic.as_ref()));
                self.quietly(Input::ModelFailed(id, error));
            }
        }
    }

    fn abort(&mut self, effect: &EffectId) {
        if self.model.as_ref().is_some_and(|(id, _)| id == effect) {
            self.model = None;
        }
        if let Some(at) = self.tool_aborts.iter().position(|(id, _)| id == effect) {
            let (_, abort) = self.tool_aborts.swap_remove(at);
            abort.abort();
            self.progress.forget(effect);
        }
        if self.tool_aborts.is_empty() {
            // Dropping what is left here stops the aborted calls before the next event is written.
            self.tools = FuturesUnordered::new();
        }
    }

    /// Feeds an input of the driver's own; one that came too late is no error.
    fn take_input(&mut self, input: Taken) {
        match input {
            Taken::Own(input) => self.quietly(input),
            Taken::Command(Command { input, answer }) => {
                let result = self.input(input);
                self.answers.push((answer, result));
            }
        }
    }

    fn quietly(&mut self, input: Input) {
        // The machine refuses what is stale and stays as it was; there is nobody to tell.
        if self.input(input).is_err() {}
    }

    fn answer_all(&mut self) {
        for (answer, result) in self.answers.drain(..) {
            // Whoever asked may have gone.
            if answer.send(result).is_err() {}
        }
    }

    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Taken> {
        if self.cancel.take(cx) {
            return Poll::Ready(Taken::Own(Input::Cancel));
        }
        if let Poll::Ready(Some(command)) = self.commands.poll_recv(cx) {
            return Poll::Ready(Taken::Command(command));
        }
        if self.poll_timer(cx).is_ready() {
            return Poll::Ready(Taken::Own(Input::Timeout));
        }
        if let Some(input) = self.poll_model(cx) {
            return Poll::Ready(Taken::Own(input));
        }
        while let Poll::Ready(Some(ended)) = self.tools.poll_next_unpin(cx) {
            if let Ok((id, report)) = ended {
                self.tool_aborts.retain(|(other, _)| *other != id);
                self.progress.forget(&id);
                return Poll::Ready(Taken::Own(Input::ToolEnded(id, report)));
            }
            let Err(Aborted) = ended else { continue };
        }
        if let Poll::Ready(Some((id, verdict))) = self.decisions.poll_next_unpin(cx) {
            return Poll::Ready(Taken::Own(Input::Decided(id, verdict)));
        }
        if !self.tool_aborts.is_empty()
            && let Poll::Ready((id, progress)) = self.progress.poll_next(cx)
        {
            return Poll::Ready(Taken::Own(Input::ToolProgress(id, progress)));
        }
        Poll::Pending
    }

    fn poll_model(&mut self, cx: &mut Context<'_>) -> Option<Input> {
        let (id, stream) = self.model.as_mut()?;
        let polled = catch_unwind(AssertUnwindSafe(|| stream.as_mut().poll_next(cx)));
        let item = match polled {
            Ok(Poll::Pending) => return None,
            Ok(Poll::Ready(Some(Ok(delta)))) => return Some(Input::Delta(id.clone(), delta)),
            Ok(Poll::Ready(Some(Err(error)))) => Some(error),
            Ok(Poll::Ready(None)) => None,
            Err(panic) => Some(provider_panicked(panic_text(panic.as_ref()))),
        };
        let (id, _) = self.model.take()?;
        Some(match item {
            Some(error) => Input::ModelFailed(id, error),
            None => Input::ModelEnded(id),
        })
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.machine.next_timeout() else {
            self.timer = None;
            return Poll::Pending;
        };
        let at = self.clock.instant(at);
        match &mut self.timer {
            Some(timer) if timer.deadline() == at => {}
            Some(timer) => timer.as_mut().reset(at),
            None => self.timer = Some(Box::pin(tokio::time::sleep_until(at))),
        }
        match &mut self.timer {
            Some(timer) => timer.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }

    fn stop_everything(&mut self) {
        self.model = None;
        self.tool_aborts.clear();
        self.tools = FuturesUnordered::new();
        self.decisions = FuturesUnordered::new();
        self.observations.clear();
        self.timer = None;
    }

    fn context(&self) -> HookContext {
        HookContext::new(
            self.machine.session().clone(),
            self.machine.loop_id().clone(),
        )
    }
}

/// An input and who gave it.
enum Taken {
    Own(Input),
    Command(Command),
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

fn provider_panicked(text: &str) -> ProviderError {
    let message = format!("the provider panicked: {text}");
    ProviderError::new(ProviderErrorKind::Protocol, message)
}
