//! What a run has in flight: one model call, tool calls, decisions, each polled in place.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::FutureExt;
use futures_util::future::{AbortHandle, Abortable};
use phi_types::{
    Delta, EffectId, ProviderError, ProviderErrorKind, SessionId, Spawned, ToolProgress,
    ToolResult, Usage,
};
use tokio::time::{Instant, Sleep};

use crate::decision::{DecisionId, Subject, Verdict};
use crate::driver::contained::Contained;
use crate::driver::counter::counted_subject;
use crate::driver::hooks::{HookContext, ToolUpdate};
use crate::driver::lazy_futures::LazyFutures;
use crate::driver::parts::Driver;
use crate::driver::progress::Progress;
use crate::driver::update::HookFailed;
use crate::driver::work::{self, decide, panic_text, run_tool};
use crate::io::{CallModel, Compact, Input, RunTool, ToolReport};

type ToolFuture = Abortable<Call>;
type Deltas = BoxStream<'static, Result<Delta, ProviderError>>;

/// One call that runs.
struct Call {
    id: EffectId,
    work: Contained<BoxFuture<'static, ToolReport>>,
}

impl Future for Call {
    type Output = (EffectId, ToolReport);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let report = ready!(Pin::new(&mut self.work).poll(cx));
        Poll::Ready((self.id.clone(), report))
    }
}

/// What a run has in flight. Dropping it stops everything.
#[derive(Default)]
pub(crate) struct InFlight {
    model: Option<(EffectId, Contained<Deltas>)>,
    tools: LazyFutures<ToolFuture>,
    /// By the `seq` of the effect: a run has one loop.
    tool_aborts: BTreeMap<u64, AbortHandle>,
    decisions: LazyFutures<BoxFuture<'static, (DecisionId, Verdict)>>,
    compaction: Option<(EffectId, BoxFuture<'static, Input>)>,
    progress: Arc<Progress>,
    /// What hooks decide about progress, one report at a time.
    update: Option<(EffectId, BoxFuture<'static, News>)>,
    /// What calls that were broken off have left to be done.
    left: LazyFutures<BoxFuture<'static, ()>>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// What happened in a run.
pub(crate) enum News {
    /// Something that the machine must be told.
    Input(Input),
    /// A tool reports progress that nobody has decided about.
    Progress(EffectId, ToolProgress),
    /// A hook decided that progress is not shown.
    Hidden,
    /// A hook failed that decides how progress is shown; it is not shown.
    HookFailed(HookFailed),
}

impl InFlight {
    /// Starts a model call; where that fails at once, returns what the machine must be told.
    pub(crate) fn call_model(&mut self, driver: &Driver, call: CallModel) -> Option<Input> {
        let CallModel {
            id,
            target,
            request,
            ..
        } = call;
        let Some(provider) = driver.provider(&target) else {
            let (protocol, service) = (&target.protocol, &target.provider);
            let message = format!("no provider for {protocol} at {service} is at hand");
            let error = ProviderError::new(ProviderErrorKind::InvalidRequest, message);
            return Some(Input::ModelFailed(id, error));
        };
        match catch_unwind(AssertUnwindSafe(|| provider.stream(request))) {
            Ok(stream) => {
                self.model = Some((id, Contained::new(stream)));
                None
            }
            Err(panic) => Some(Input::ModelFailed(id, provider_panicked(panic.as_ref()))),
        }
    }

    /// Starts a tool call; where it ends or fails at once, returns what the machine must be told.
    ///
    /// With a context the call is polled here once: many calls need no second poll, and what they
    /// would need to be polled again or aborted costs more than they do.
    pub(crate) fn run_tool(
        &mut self,
        driver: &Driver,
        session: &SessionId,
        run: RunTool,
        cx: Option<&mut Context<'_>>,
    ) -> Option<Input> {
        let id = run.id.clone();
        let Some(tool) = driver.tool(&run.call.name) else {
            let text = format!("The tool {:?} is not at hand.", run.call.name);
            return Some(Input::ToolEnded(
                id,
                ToolReport::returned(ToolResult::error(text)),
            ));
        };
        let mut work: BoxFuture<'static, ToolReport> = Box::pin(run_tool(
            Arc::clone(tool),
            session.clone(),
            run,
            Arc::clone(&self.progress),
        ));
        if let Some(cx) = cx
            && let Poll::Ready(mut report) = work.as_mut().poll(cx)
        {
            report.child = self.progress.forget(&id);
            return Some(Input::ToolEnded(id, report));
        }
        let (abort, registration) = AbortHandle::new_pair();
        self.tool_aborts.insert(id.seq, abort);
        let work = Contained::new(work);
        self.tools
            .push(Abortable::new(Call { id, work }, registration));
        None
    }

    /// Asks the hooks.
    pub(crate) fn decide(
        &mut self,
        driver: &Driver,
        context: HookContext,
        id: DecisionId,
        subject: Subject,
    ) {
        let hooks = Arc::clone(&driver.hooks);
        let subject = counted_subject(subject, driver.counter.clone());
        let decision = decide(hooks, context, subject, driver.hook_timeout);
        self.decisions
            .push(Box::pin(async move { (id, decision.await) }));
    }

    /// Asks the hooks how progress is shown.
    pub(crate) fn decide_update(
        &mut self,
        driver: &Driver,
        context: HookContext,
        update: ToolUpdate,
    ) {
        let (hooks, timeout) = (Arc::clone(&driver.hooks), driver.hook_timeout);
        let id = update.effect.clone();
        let deciding = work::decide_update(hooks, context, update, timeout);
        self.update = Some((id, Box::pin(deciding)));
    }

    /// Starts to make the view smaller; where that fails at once, returns what the machine must be
    /// told.
    pub(crate) fn compact(&mut self, driver: &Driver, compact: Compact) -> Option<Input> {
        let Some(compactor) = &driver.compactor else {
            let (reason, usage) = ("no compactor is at hand".to_owned(), Usage::default());
            return Some(Input::CompactionFailed(compact.id, reason, usage));
        };
        let id = compact.id.clone();
        let (compactor, counter) = (Arc::clone(compactor), driver.counter.clone());
        let work = work::compact(compactor, compact, counter);
        self.compaction = Some((id, Box::pin(work)));
        None
    }

    /// Breaks an effect off; one that is not in flight any more is no matter.
    pub(crate) fn abort(&mut self, effect: &EffectId, cx: &mut Context<'_>) {
        if self.model.as_ref().is_some_and(|(id, _)| id == effect) {
            self.model = None;
        }
        if self.compaction.as_ref().is_some_and(|(id, _)| id == effect) {
            self.compaction = None;
        }
        if let Some(abort) = self.tool_aborts.remove(&effect.seq) {
            abort.abort();
            self.forget_progress(effect);
            if self.tool_aborts.is_empty() {
                // Dropping what is left here stops the aborted calls before anybody is told.
                self.tools = LazyFutures::default();
                self.poll_left(cx);
            }
        }
    }

    /// Polls everything but the model; the first thing that happened comes back.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, timeout: Option<Instant>) -> Poll<News> {
        if self.poll_timer(cx, timeout).is_ready() {
            return Poll::Ready(News::Input(Input::Timeout));
        }
        while let Poll::Ready(Some(ended)) = self.tools.poll_next(cx) {
            // An aborted call has nothing to say.
            if let Ok((id, mut report)) = ended {
                self.tool_aborts.remove(&id.seq);
                report.child = self.forget_progress(&id);
                return Poll::Ready(News::Input(Input::ToolEnded(id, report)));
            }
            self.poll_left(cx);
        }
        if !self.left.is_empty() {
            self.poll_left(cx);
        }
        if let Some((_, work)) = &mut self.compaction
            && let Poll::Ready(input) = work.as_mut().poll(cx)
        {
            self.compaction = None;
            return Poll::Ready(News::Input(input));
        }
        if let Poll::Ready(Some((id, verdict))) = self.decisions.poll_next(cx) {
            return Poll::Ready(News::Input(Input::Decided(id, verdict)));
        }
        self.poll_progress(cx)
    }

    /// While hooks decide about one report, the newest one of each tool waits.
    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<News> {
        // Sub-agents are no progress: nobody decides about them.
        if !self.tool_aborts.is_empty()
            && let Poll::Ready((id, spawned)) = self.progress.poll_spawned(cx)
        {
            return Poll::Ready(News::Input(Input::ToolSpawned(id, spawned)));
        }
        if let Some((_, deciding)) = &mut self.update {
            let news = ready!(deciding.as_mut().poll(cx));
            self.update = None;
            return Poll::Ready(news);
        }
        if self.tool_aborts.is_empty() {
            return Poll::Pending;
        }
        let (id, progress) = ready!(self.progress.poll_next(cx));
        Poll::Ready(News::Progress(id, progress))
    }

    /// Nobody is shown what a call reported that has ended.
    fn forget_progress(&mut self, id: &EffectId) -> Option<Spawned> {
        if self.update.as_ref().is_some_and(|(about, _)| about == id) {
            self.update = None;
        }
        self.progress.forget(id)
    }

    /// Polls the model alone, the one thing that may speak thousands of times in a row.
    pub(crate) fn poll_model(&mut self, cx: &mut Context<'_>) -> Option<Input> {
        let (id, stream) = self.model.as_mut()?;
        let stream = stream.as_mut()?;
        let error = match catch_unwind(AssertUnwindSafe(|| stream.as_mut().poll_next(cx))) {
            Ok(Poll::Pending) => return None,
            Ok(Poll::Ready(Some(Ok(delta)))) => return Some(Input::Delta(id.clone(), delta)),
            Ok(Poll::Ready(Some(Err(error)))) => Some(error),
            Ok(Poll::Ready(None)) => None,
            Err(panic) => Some(provider_panicked(panic.as_ref())),
        };
        let (id, _) = self.model.take()?;
        Some(match error {
            Some(error) => Input::ModelFailed(id, error),
            None => Input::ModelEnded(id),
        })
    }

    /// Takes what running calls have told of their sub-agents.
    pub(crate) fn take_spawned(&self) -> impl Iterator<Item = Input> + use<> {
        let spawned = self.progress.take_spawned().into_iter();
        spawned.map(|(effect, spawned)| Input::ToolSpawned(effect, spawned))
    }

    /// Does what calls that were broken off have left to be done; `true` once nothing is left.
    pub(crate) fn poll_left(&mut self, cx: &mut Context<'_>) -> bool {
        let left = self.progress.take_left().into_iter();
        // A panic while something is put right is no reason to stop the loop.
        let contained = left.map(|work| AssertUnwindSafe(work).catch_unwind().map(drop).boxed());
        for work in contained {
            self.left.push(work);
        }
        loop {
            match self.left.poll_next(cx) {
                Poll::Ready(Some(())) => {}
                Poll::Ready(None) => return true,
                Poll::Pending => return false,
            }
        }
    }

    /// A timer that is armed too early stays as it is and is armed anew when it fires: most
    /// deadlines are never reached, and arming costs more than a turn's worth of looking.
    fn poll_timer(&mut self, cx: &mut Context<'_>, timeout: Option<Instant>) -> Poll<()> {
        let Some(at) = timeout else {
            return Poll::Pending;
        };
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if timer.deadline() > at {
            timer.as_mut().reset(at);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= at {
                return Poll::Ready(());
            }
            timer.as_mut().reset(at);
        }
        Poll::Pending
    }
}

/// A run that is dropped leaves everything as it is, as if its process had ended.
impl Drop for InFlight {
    fn drop(&mut self) {
        self.progress.close();
    }
}

fn provider_panicked(panic: &(dyn std::any::Any + Send)) -> ProviderError {
    let message = format!("the provider panicked: {}", panic_text(panic));
    ProviderError::new(ProviderErrorKind::Protocol, message)
}
