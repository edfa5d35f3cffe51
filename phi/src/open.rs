//! A session that is open: what it was, and the loop that comes next.

use std::sync::Arc;

use phi_loop::{Driver, Finished, Hooks, Input, Machine, Output, Start};
use phi_session::{LoopRecord, SessionRecorder, SessionWriter, load};
use phi_types::{
    Continuation, EffectId, Entry, Event, FORMAT, LoopId, Outcome, SessionId, SessionStarted,
    SpawnedBy, Surface, Transcript, UserMessage,
};

use crate::agent::Agent;
use crate::approver::Question;
use crate::clock::now;
use crate::error::SessionError;
use crate::log::{Log, NewestLoop};
use crate::run::Run;

/// One conversation, open for writing.
///
/// Each prompt runs one loop, which continues the one before. A loop that was cut off, because the
/// process ended or its [`Run`] was dropped, is never lost and never guessed about: the session takes
/// no prompt until [`Session::resume`] has brought that loop to its end.
pub struct Session {
    agent: Agent,
    driver: Driver,
    id: SessionId,
    log: Log,
    /// How many loops have begun, and so the number of the newest one.
    loops: u32,
    /// What the next loop continues.
    newest: Reached,
    /// What the newest loop continued.
    before: Reached,
    /// A loop that repeats it, until it has begun.
    rerun: Option<LoopId>,
    /// A loop that continues the newest one and has not ended.
    unfinished: Option<LoopId>,
}

/// How far the conversation has come with a loop.
#[derive(Clone, Default)]
struct Reached {
    /// The loop; `None` before the first one.
    loop_id: Option<LoopId>,
    /// The conversation after it.
    transcript: Transcript,
}

impl Reached {
    fn after(ended: &LoopRecord) -> Self {
        Self {
            loop_id: Some(ended.id.clone()),
            transcript: ended.transcript.continued(),
        }
    }
}

impl Session {
    pub(crate) async fn open(agent: &Agent, id: SessionId) -> Result<Self, SessionError> {
        let (session, _) = Self::recorded(agent, id, None).await?;
        Ok(session)
    }

    /// Opens the session that a call has spawned, or finds what became of it before.
    pub(crate) async fn spawned(
        agent: &Agent,
        id: SessionId,
        by: &SpawnedBy,
    ) -> Result<(Self, Newest), SessionError> {
        let (session, recorder) = Self::recorded(agent, id, Some(by)).await?;
        let record = recorder.session();
        if agent.inherited.store.is_some() && record.spawned_by.as_ref() != Some(by) {
            let session = session.id;
            return Err(SessionError::NotSpawned { session });
        }
        let newest = match (record.newest_loop(), &session.unfinished) {
            (Some(open), Some(loop_id)) => Newest::Open(loop_id.clone(), questions(record, open)),
            // One without a prompt was begun and never told what to do.
            (Some(ended), None) if !ended.transcript.history().is_empty() => Newest::ended(ended),
            (Some(_) | None, _) => Newest::None,
        };
        Ok((session, newest))
    }

    async fn recorded(
        agent: &Agent,
        id: SessionId,
        spawned_by: Option<&SpawnedBy>,
    ) -> Result<(Self, SessionRecorder), SessionError> {
        let Some(store) = &agent.inherited.store else {
            let log = Log::Ephemeral(Arc::new(NewestLoop::default()));
            let recorder = SessionRecorder::new(id);
            return Ok((Self::new(agent, &recorder, log), recorder));
        };
        let started = SessionStarted {
            format: FORMAT,
            agent: agent.name.clone(),
            spawned_by: spawned_by.cloned(),
            forked_from: None,
        };
        let writer = store.open_or_create(&id, started, now()).await?;
        let recorder = load(store.as_ref(), &id).await?;
        let log = Log::Stored(Arc::clone(store), writer);
        let mut session = Self::new(agent, &recorder, log);
        session.end_unprompted_loop().await?;
        Ok((session, recorder))
    }

    fn new(agent: &Agent, recorder: &SessionRecorder, log: Log) -> Self {
        let record = recorder.session();
        let newest = record.newest_loop();
        let open = newest.filter(|newest| newest.outcome.is_none());
        let ended = match open {
            Some(open) => open
                .parent()
                .and_then(|parent| recorder.loop_record(parent)),
            None => newest,
        };
        let before = ended.and_then(LoopRecord::parent);
        let before = before.and_then(|parent| recorder.loop_record(parent));
        Self {
            before: before.map(Reached::after).unwrap_or_default(),
            rerun: None,
            driver: agent.driver().journal(log.journal()),
            agent: agent.clone(),
            id: record.id.clone(),
            log,
            loops: u32::try_from(record.loops.len()).unwrap_or(u32::MAX),
            newest: ended.map(Reached::after).unwrap_or_default(),
            unfinished: open.map(|open| open.id.clone()),
        }
    }

    /// Starts a loop with a prompt. It begins when the run is first pulled.
    ///
    /// # Errors
    /// [`SessionError::Unfinished`] while a loop that was cut off waits for [`Session::resume`], and
    /// [`SessionError::Rejected`] for an empty prompt.
    pub fn prompt(&mut self, message: impl Into<UserMessage>) -> Result<Run<'_>, SessionError> {
        let (hooks, surface) = self.policy();
        self.prompt_with(hooks, surface, message.into())
    }

    /// Starts a loop with a prompt under other hooks, and with something else shown to the models.
    pub(crate) fn prompt_with(
        &mut self,
        hooks: Arc<dyn Hooks>,
        surface: Surface,
        message: UserMessage,
    ) -> Result<Run<'_>, SessionError> {
        let start = self.start(surface)?;
        let driver = self.driver.clone().hooks(hooks);
        let (loop_id, run) = (start.loop_id.clone(), driver.prompt(start, message)?);
        Ok(Run::new(self, loop_id, run))
    }

    /// Returns the hooks of the agent and what it shows models.
    pub(crate) fn policy(&self) -> (Arc<dyn Hooks>, Surface) {
        (
            Arc::clone(&self.agent.inherited.hooks),
            self.agent.surface(),
        )
    }

    /// Starts a loop with a prompt that begins with a compaction, however small the conversation is.
    /// Without a compactor, or where it cannot help, the loop goes on with the conversation as it is.
    ///
    /// # Errors
    /// As [`Session::prompt`].
    pub fn prompt_compacted(
        &mut self,
        message: impl Into<UserMessage>,
    ) -> Result<Run<'_>, SessionError> {
        let mut start = self.start(self.agent.surface())?;
        start.continuation = Continuation::Compaction;
        let (loop_id, run) = (start.loop_id.clone(), self.driver.prompt(start, message)?);
        Ok(Run::new(self, loop_id, run))
    }

    /// Repeats the newest loop: the same prompt on the conversation before it. The log keeps both,
    /// and the conversation goes on after the new one.
    ///
    /// # Errors
    /// [`SessionError::NothingToRepeat`] before the first loop, [`SessionError::Unfinished`] while a
    /// loop that was cut off waits for [`Session::resume`].
    pub fn rerun(&mut self) -> Result<Run<'_>, SessionError> {
        let mut start = self.start(self.agent.surface())?;
        if self.newest.loop_id.is_none() {
            let session = self.id.clone();
            return Err(SessionError::NothingToRepeat { session });
        }
        start.continuation = Continuation::Rerun;
        start.parent.clone_from(&self.before.loop_id);
        start.transcript = self.before.transcript.clone();
        let prompt = self.newest_prompt();
        let loop_id = start.loop_id.clone();
        self.rerun = Some(loop_id.clone());
        let run = if prompt.is_empty() {
            self.driver.continue_from(start)?
        } else {
            self.driver.prompt_all(start, prompt)?
        };
        Ok(Run::new(self, loop_id, run))
    }

    /// Starts a loop on the conversation as it is, without a prompt: after a failure or a limit.
    ///
    /// # Errors
    /// [`SessionError::Unfinished`] while a loop that was cut off waits for [`Session::resume`].
    pub fn proceed(&mut self) -> Result<Run<'_>, SessionError> {
        let start = self.start(self.agent.surface())?;
        let (loop_id, run) = (start.loop_id.clone(), self.driver.continue_from(start)?);
        Ok(Run::new(self, loop_id, run))
    }

    /// Goes on with a loop that was cut off; `None` if there is none.
    ///
    /// A model call that was open is made again, and so are calls of tools that may run twice. A call
    /// that must not run twice is reported to the model as interrupted. What the agent shows a model
    /// holds from now on, and a difference to the log is recorded.
    ///
    /// **Cancel safety:** a dropped call changes nothing.
    ///
    /// # Errors
    /// [`SessionError::Store`] and [`SessionError::NotRestorable`] where the log cannot be read.
    pub async fn resume(&mut self) -> Result<Option<Run<'_>>, SessionError> {
        let (hooks, surface) = self.policy();
        self.resume_with(hooks, surface).await
    }

    /// Goes on under other hooks, and with something else shown to the models.
    pub(crate) async fn resume_with(
        &mut self,
        hooks: Arc<dyn Hooks>,
        surface: Surface,
    ) -> Result<Option<Run<'_>>, SessionError> {
        let Some((loop_id, machine)) = self.restore().await? else {
            return Ok(None);
        };
        if machine.outcome().is_some() {
            // The end was written and its run dropped before it said so.
            self.ended(loop_id, machine.transcript());
            return Ok(None);
        }
        let driver = self.driver.clone().hooks(hooks);
        let run = driver.resume(machine, &surface)?;
        Ok(Some(Run::new(self, loop_id, run)))
    }

    /// Returns the name.
    #[must_use]
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// Returns the conversation up to the newest loop that has ended.
    #[must_use]
    pub fn transcript(&self) -> &Transcript {
        &self.newest.transcript
    }

    /// Returns the loop that was cut off and waits for [`Session::resume`].
    #[must_use]
    pub fn unfinished(&self) -> Option<&LoopId> {
        self.unfinished.as_ref()
    }

    /// Returns how many loops have begun.
    #[must_use]
    pub fn loops(&self) -> u32 {
        self.loops
    }

    /// Returns what was put right when the session was opened, as events that the log holds.
    #[must_use]
    pub fn recovered(&self) -> &[Event] {
        match &self.log {
            Log::Stored(_, writer) => SessionWriter::recovered(writer.as_ref()),
            Log::Ephemeral(_) => &[],
        }
    }

    pub(crate) fn began(&mut self, loop_id: &LoopId) {
        if self.unfinished.as_ref() != Some(loop_id) {
            if self.rerun.take().as_ref() == Some(loop_id) {
                self.newest = self.before.clone();
            }
            self.loops = self.loops.saturating_add(1);
            self.unfinished = Some(loop_id.clone());
        }
    }

    pub(crate) fn ended(&mut self, loop_id: LoopId, transcript: &Transcript) {
        let ended = Reached {
            loop_id: Some(loop_id),
            transcript: transcript.continued(),
        };
        self.before = std::mem::replace(&mut self.newest, ended);
        self.unfinished = None;
        self.log.ended();
    }

    /// Collects what was said before the first model call of the newest loop.
    fn newest_prompt(&self) -> Vec<Arc<UserMessage>> {
        let before = self.before.transcript.history().len();
        let entries = self.newest.transcript.history().entries();
        let said = entries.into_iter().skip(before);
        let said = said.map_while(|entry| match entry {
            Entry::User(message) => Some(Arc::clone(message)),
            Entry::Assistant(_) | Entry::Results(_) | Entry::Extension(_) => None,
        });
        said.collect()
    }

    fn start(&self, surface: Surface) -> Result<Start, SessionError> {
        if let Some(loop_id) = &self.unfinished {
            let (session, loop_id) = (self.id.clone(), loop_id.clone());
            return Err(SessionError::Unfinished { session, loop_id });
        }
        let configuration = self.agent.configuration.clone();
        let n = self.loops.saturating_add(1);
        let mut start = Start::new(self.id.clone(), configuration, surface);
        start.loop_id = LoopId::numbered(&self.id, &start.configuration.id, n);
        start.agent.clone_from(&self.agent.name);
        if self.newest.loop_id.is_some() {
            start.continuation = Continuation::Default;
            start.parent.clone_from(&self.newest.loop_id);
            start.transcript = self.newest.transcript.clone();
        }
        Ok(start)
    }

    /// Restores the loop that was cut off. One that never came into the log is forgotten.
    async fn restore(&mut self) -> Result<Option<(LoopId, Machine)>, SessionError> {
        let Some(loop_id) = self.unfinished.clone() else {
            return Ok(None);
        };
        let events = self.log.read(&self.id, &loop_id).await?;
        if events.is_empty() {
            self.loops = self.loops.saturating_sub(1);
            self.unfinished = None;
            return Ok(None);
        }
        match Machine::restore(&self.newest.transcript, &events) {
            Ok(machine) => Ok(Some((loop_id, machine))),
            Err(source) => Err(SessionError::NotRestorable { loop_id, source }),
        }
    }

    /// Ends a loop whose process ended before its prompt was written: nobody was told of it.
    async fn end_unprompted_loop(&mut self) -> Result<(), SessionError> {
        let Some((loop_id, mut machine)) = self.restore().await? else {
            return Ok(());
        };
        if machine.awaits().is_none() {
            return Ok(());
        }
        let reason = "the process ended before the prompt was written".to_owned();
        machine.handle(now(), Input::Stop(reason))?;
        while let Some(output) = machine.poll() {
            if let Output::Events(events) = output {
                self.log.append(&events).await?;
            }
        }
        self.ended(loop_id, machine.transcript());
        Ok(())
    }
}

/// What became of the session of a sub-agent before it was opened.
pub(crate) enum Newest {
    /// It has done nothing yet.
    None,
    /// Its loop has ended.
    Ended(Box<Finished>),
    /// Its loop was cut off, with these questions open.
    Open(LoopId, Vec<Question>),
}

impl Newest {
    fn ended(record: &LoopRecord) -> Self {
        let aborted = || Outcome::Aborted {
            reason: "its process ended".to_owned(),
        };
        Self::Ended(Box::new(Finished {
            loop_id: record.id.clone(),
            outcome: record.outcome.clone().unwrap_or_else(aborted),
            transcript: record.transcript.clone(),
            undelivered: Vec::new(),
            usage: record.usage(),
            cost_usd: record.cost_usd,
        }))
    }
}

/// Collects the questions of a loop that nobody has answered.
fn questions(session: &phi_session::Session, record: &LoopRecord) -> Vec<Question> {
    let newest = record.turns.last().map(|turn| turn.calls.iter());
    let open = newest.into_iter().flatten().filter(|it| it.end.is_none());
    let asked = open.filter_map(|call| {
        let asked = call.approvals.last().filter(|it| it.answer.is_none())?;
        let effect = EffectId {
            loop_id: record.id.clone(),
            seq: asked.seq,
        };
        Some(Question::new(&session.id, effect, &asked.requested))
    });
    asked.collect()
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .field("loops", &self.loops)
            .field("unfinished", &self.unfinished)
            .finish_non_exhaustive()
    }
}
