//! The work of a sub-agent: one loop, from its task to a result, inside the call of its parent.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use phi_loop::{Finished, Handle, Update};
use phi_types::{
    Approval, EffectId, Entry, Event, EventKind, Message, Outcome, SessionId, Spawned, SpawnedBy,
    Spent, ToolContext, ToolProgress, ToolResult,
};

use crate::agent::Agent;
use crate::approver::{Approver, Question};
use crate::error::SessionError;
use crate::newest::Newest;
use crate::open::Session;
use crate::run::Run;
use crate::shown::Shown;

/// What a sub-agent is given.
pub(crate) struct Task {
    pub(crate) agent: Agent,
    pub(crate) session: SessionId,
    pub(crate) spawned_by: SpawnedBy,
    pub(crate) text: String,
}

/// What the call of the parent and the work of the sub-agent share.
pub(crate) struct Link {
    context: ToolContext,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_cancelled: bool,
    handle: Option<Handle>,
}

impl Link {
    pub(crate) fn new(context: ToolContext) -> Self {
        Self {
            context,
            state: Mutex::default(),
        }
    }

    /// Cancels the loop, also one that has not begun.
    fn cancel(&self) {
        let mut state = self.lock();
        state.is_cancelled = true;
        if let Some(handle) = &state.handle {
            handle.cancel();
        }
    }

    fn is_cancelled(&self) -> bool {
        self.lock().is_cancelled
    }

    fn began(&self, handle: Handle) {
        let mut state = self.lock();
        if state.is_cancelled {
            handle.cancel();
        }
        state.handle = Some(handle);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Work = Pin<Box<dyn Future<Output = ToolResult> + Send>>;

/// The call of the parent. Broken off, it cancels the work and hands it to the parent's run, so that
/// the log of the sub-agent ends.
pub(crate) struct Call {
    work: Option<Work>,
    link: Arc<Link>,
}

impl Call {
    pub(crate) fn new(work: Work, link: Arc<Link>) -> Self {
        let work = Some(work);
        Self { work, link }
    }
}

impl Future for Call {
    type Output = ToolResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ToolResult> {
        let Some(work) = &mut self.work else {
            return Poll::Pending;
        };
        let polled = work.as_mut().poll(cx);
        if polled.is_ready() {
            self.work = None;
        }
        polled
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            self.link.cancel();
            self.link.context.finish_later(Box::pin(async move {
                // Nobody waits for the result any more.
                drop(work.await);
            }));
        }
    }
}

/// Runs the task to its end, in a new session or in the one that an earlier process began.
pub(crate) async fn run(task: Task, link: Arc<Link>) -> ToolResult {
    match try_run(&task, &link).await {
        Ok(result) => result,
        Err(error) => ToolResult::error(format!("The sub-agent did not work: {error}.")),
    }
}

async fn try_run(task: &Task, link: &Link) -> Result<ToolResult, SessionError> {
    let (mut session, newest) =
        Session::spawned(&task.agent, task.session.clone(), &task.spawned_by).await?;
    let teller = Teller {
        link,
        session: &task.session,
        has_price: task.agent.has_price(),
    };
    let (run, open) = match newest {
        Newest::None => (session.prompt(task.text.as_str())?, Vec::new()),
        Newest::Ended(finished) => {
            teller.tell(&finished);
            return Ok(result(&finished));
        }
        Newest::Open(loop_id, questions) => match session.resume().await? {
            Some(run) => (run, questions),
            None => {
                let session = task.session.clone();
                return Err(SessionError::Unfinished { session, loop_id });
            }
        },
    };
    link.began(run.handle());
    teller.tell(&run.finished());
    let finished = follow(run, open, task, &teller).await;
    teller.tell(&finished);
    Ok(result(&finished))
}

type Asking = (EffectId, Pin<Box<dyn Future<Output = Approval> + Send>>);

/// Pulls the run to its end, tells the parent what happens, and asks whom there is to ask.
async fn follow(
    mut run: Run<'_>,
    open: Vec<Question>,
    task: &Task,
    teller: &Teller<'_>,
) -> Finished {
    let mut shown = Shown::default();
    let approver = task.agent.inherited.approver.as_ref();
    let mut asking: Vec<Asking> = open.into_iter().map(|it| ask(approver, it)).collect();
    loop {
        let mut answered = None;
        let update = {
            let mut pulled = pin!(run.next());
            poll_fn(|cx| {
                answered = poll_answers(&mut asking, cx);
                match answered {
                    Some(_) => Poll::Ready(None),
                    None => pulled.as_mut().poll(cx),
                }
            })
            .await
        };
        if let Some((effect, approval)) = answered {
            // A question that is moot by now needs no answer.
            drop(run.approve(effect, approval));
            continue;
        }
        let Some(update) = update else {
            return run.finished();
        };
        if teller.link.is_cancelled() {
            asking.clear();
            continue;
        }
        if let Update::Event(event) = &update {
            asking.extend(question_of(event).map(|it| ask(approver, it)));
            if is_billed(&event.kind) {
                teller.tell(&run.finished());
            }
        }
        if let Some(text) = shown.take(&update) {
            teller.link.context.progress(ToolProgress { text });
        }
    }
}

/// Asks whoever answers for the root; nobody there is a denial that the model reads.
fn ask(approver: Option<&Arc<dyn Approver>>, question: Question) -> Asking {
    let (effect, approver) = (question.effect.clone(), approver.map(Arc::clone));
    let answer = async move {
        match approver {
            Some(approver) => approver.approve(question).await,
            None => Approval::Denied {
                reason: "Nobody can be asked whether a sub-agent may do this: do without it."
                    .to_owned(),
            },
        }
    };
    (effect, Box::pin(answer))
}

/// Polls the questions; a panic of whoever is asked is a denial.
fn poll_answers(asking: &mut Vec<Asking>, cx: &mut Context<'_>) -> Option<(EffectId, Approval)> {
    let answered = asking.iter_mut().enumerate().find_map(|(place, asking)| {
        let polled = catch_unwind(AssertUnwindSafe(|| asking.1.as_mut().poll(cx)));
        match polled {
            Ok(Poll::Pending) => None,
            Ok(Poll::Ready(approval)) => Some((place, approval)),
            Err(_panic) => {
                let reason = "Whoever was asked could not answer.".to_owned();
                Some((place, Approval::Denied { reason }))
            }
        }
    });
    let (place, approval) = answered?;
    let (effect, _) = asking.swap_remove(place);
    Some((effect, approval))
}

fn question_of(event: &Event) -> Option<Question> {
    let (EventKind::ApprovalRequested(asked), Some(loop_id)) = (&event.kind, &event.loop_id) else {
        return None;
    };
    let effect = EffectId {
        loop_id: loop_id.clone(),
        seq: event.seq,
    };
    Some(Question::new(&event.session, effect, asked))
}

/// Says whether an event changes what was spent.
fn is_billed(kind: &EventKind) -> bool {
    match kind {
        EventKind::Message(added) => matches!(added.message, Message::Assistant(_)),
        EventKind::ModelFailed(_) | EventKind::CompactionEnded(_) | EventKind::ToolEnded(_) => true,
        _ => false,
    }
}

/// Tells the parent's loop what was spent.
struct Teller<'a> {
    link: &'a Link,
    session: &'a SessionId,
    has_price: bool,
}

impl Teller<'_> {
    fn tell(&self, finished: &Finished) {
        if self.link.is_cancelled() {
            return;
        }
        let cost_usd = finished.cost_usd;
        let spent = Spent {
            usage: finished.usage,
            cost_usd: (self.has_price || cost_usd > 0.0).then_some(cost_usd),
        };
        let session = self.session.clone();
        self.link.context.spawned(Spawned { session, spent });
    }
}

/// Says what came of the task, for the parent's model.
fn result(finished: &Finished) -> ToolResult {
    let said = finished
        .transcript
        .history()
        .newest_first()
        .find_map(|entry| match entry {
            Entry::Assistant(message) => Some(message.text()),
            Entry::User(_) | Entry::Results(_) | Entry::Extension(_) => None,
        })
        .filter(|text| !text.trim().is_empty());
    let why = match &finished.outcome {
        Outcome::Completed {} => {
            let text = said.unwrap_or_else(|| "The sub-agent is done and says nothing.".into());
            return ToolResult::text(text);
        }
        Outcome::Rejected { reason } => format!("a hook refused its work: {reason}"),
        Outcome::Cancelled {} => "it was cancelled".to_owned(),
        Outcome::Failed { error } => error.to_string(),
        Outcome::LimitReached { limit } => {
            format!("it reached a limit, {}", limit.as_str())
        }
        Outcome::Aborted { reason } => format!("it was stopped: {reason}"),
    };
    ToolResult::error(match said {
        Some(said) => {
            format!("The sub-agent did not finish: {why}. The last that it said:\n{said}")
        }
        None => format!("The sub-agent did not finish: {why}."),
    })
}
