//! A session that is open: what it was, and the loop that comes next.

use std::sync::Arc;

use phi_loop::{Driver, Hooks, Input, Machine, Output, Rejected, Start};
use phi_session::{LoopRecord, NoticeKind, SessionRecorder, SessionWriter, load};
use phi_types::{
    Continuation, Entry, Event, FORMAT, FilterVerdict, InputFiltered, LoopId, Outcome, SessionId,
    SessionStarted, SpawnedBy, Surface, Transcript, UserMessage,
};

use crate::agent::Agent;
use crate::clock::now;
use crate::error::SessionError;
use crate::log::{Log, NewestLoop};
use crate::newest::{Newest, questions};
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
    /// What the newest loop continued that was there for an answer.
    before: Reached,
    /// What the input filters decided in that loop.
    filtered: Vec<InputFiltered>,
    /// A loop that continues the newest one and has not ended.
    unfinished: Option<Begun>,
}

/// A loop as it begins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Begun {
    pub(crate) loop_id: LoopId,
    pub(crate) continuation: Continuation,
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
            (Some(open), Some(begun)) => {
                Newest::Open(begun.loop_id.clone(), questions(record, open))
            }
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
        session.reopen().await?;
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
        let parent = |of: &LoopRecord| recorder.loop_record(of.parent()?);
        let mut worked = ended;
        while let Some(errand) = worked.filter(|it| is_errand(it)) {
            worked = parent(errand);
        }
        let before = worked.and_then(parent);
        let newest_work = open.filter(|it| !is_errand(it)).or(worked);
        Self {
            filtered: newest_work.map(filtered).unwrap_or_default(),
            before: before.map(Reached::after).unwrap_or_default(),
            driver: agent.driver().journal(log.journal()),
            agent: agent.clone(),
            id: record.id.clone(),
            log,
            loops: u32::try_from(record.loops.len()).unwrap_or(u32::MAX),
            newest: ended.map(Reached::after).unwrap_or_default(),
            unfinished: open.map(|open| Begun {
                loop_id: open.id.clone(),
                continuation: open.continuation(),
            }),
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
        self.begin(start, |driver, start| {
            driver.clone().hooks(hooks).prompt(start, message)
        })
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
        self.begin(start, |driver, start| driver.prompt(start, message))
    }

    /// Repeats the newest loop: the same prompt on the conversation before it. The log keeps both,
    /// and the conversation goes on after the new one.
    ///
    /// The prompt is what the user gave, so that input filters decide about it once more: a warning
    /// that joined it then does not come twice, and a prompt that they rejected may be let in.
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
        self.begin(start, |driver, start| match prompt.is_empty() {
            true => driver.continue_from(start),
            false => driver.prompt_all(start, prompt),
        })
    }

    /// Starts a loop on the conversation as it is, without a prompt: after a failure or a limit.
    ///
    /// # Errors
    /// [`SessionError::Unfinished`] while a loop that was cut off waits for [`Session::resume`].
    pub fn proceed(&mut self) -> Result<Run<'_>, SessionError> {
        let start = self.start(self.agent.surface())?;
        self.begin(start, Driver::continue_from)
    }

    /// Starts a loop of the agent in the way that is given.
    pub(crate) fn begin(
        &mut self,
        start: Start,
        run: impl FnOnce(&Driver, Start) -> Result<phi_loop::Run, Rejected>,
    ) -> Result<Run<'_>, SessionError> {
        let begun = Begun {
            loop_id: start.loop_id.clone(),
            continuation: start.continuation,
        };
        let run = run(&self.driver, start)?;
        Ok(Run::new(self, begun, run))
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
        let Some((begun, machine)) = self.reopen().await? else {
            return Ok(None);
        };
        let driver = self.driver.clone().hooks(hooks);
        let run = driver.resume(machine, &surface)?;
        Ok(Some(Run::new(self, begun, run)))
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
        self.unfinished.as_ref().map(|begun| &begun.loop_id)
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

    pub(crate) fn began(&mut self, begun: &Begun) {
        if self.unfinished.as_ref() != Some(begun) {
            if begun.continuation == Continuation::Rerun {
                self.newest = self.before.clone();
            }
            if begun.continuation != Continuation::ContextChange {
                self.filtered.clear();
            }
            self.loops = self.loops.saturating_add(1);
            self.unfinished = Some(begun.clone());
        }
    }

    /// Takes note of what the input filters decided.
    pub(crate) fn filtered(&mut self, filtered: &InputFiltered) {
        self.filtered.push(filtered.clone());
    }

    pub(crate) fn ended(&mut self, begun: &Begun, transcript: &Transcript) {
        if begun.continuation != Continuation::ContextChange {
            self.before = self.newest.clone();
        }
        self.moved_on(begun, transcript);
    }

    /// The conversation goes on after a loop that was not there for an answer.
    fn moved_on(&mut self, begun: &Begun, transcript: &Transcript) {
        self.newest = Reached {
            loop_id: Some(begun.loop_id.clone()),
            transcript: transcript.continued(),
        };
        self.unfinished = None;
        self.log.ended();
    }

    /// Collects what was said before the first model call of the newest loop, as it was said: without
    /// what the input filters added, and with what they rejected.
    fn newest_prompt(&self) -> Vec<Arc<UserMessage>> {
        let before = self.before.transcript.history().len();
        let entries = self.newest.transcript.history().entries();
        let said = entries.into_iter().skip(before);
        let said = said.map_while(|entry| match entry {
            Entry::User(message) => Some(Arc::clone(message)),
            Entry::Assistant(_) | Entry::Results(_) | Entry::Extension(_) => None,
        });
        let warnings = self.filtered.iter().filter_map(|it| match &it.verdict {
            FilterVerdict::Warned { warning } => Some(warning),
            FilterVerdict::Passed {} | FilterVerdict::Rejected { .. } => None,
        });
        let mut warnings: Vec<&String> = warnings.collect();
        let said = said.map(|message| {
            let mut each = warnings.iter().enumerate();
            let found = each.find_map(|(at, warning)| Some((at, message.unwarned(warning)?)));
            let Some((at, unwarned)) = found else {
                return message;
            };
            // A warning joined one message, and a message has one.
            warnings.remove(at);
            Arc::new(unwarned)
        });
        let mut said: Vec<Arc<UserMessage>> = said.collect();
        for filtered in &self.filtered {
            said.extend(filtered.rejected.iter().cloned());
        }
        said
    }

    pub(crate) fn start(&self, surface: Surface) -> Result<Start, SessionError> {
        if let Some(loop_id) = self.unfinished() {
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

    /// Restores the loop that was cut off, if there is anything left to do in it.
    ///
    /// One that never came into the log is forgotten; one that had no prompt, or was there to change
    /// the context alone, is brought to its end.
    async fn reopen(&mut self) -> Result<Option<(Begun, Machine)>, SessionError> {
        let Some(begun) = self.unfinished.clone() else {
            return Ok(None);
        };
        let loop_id = begun.loop_id.clone();
        let events = self.log.read(&self.id, &loop_id).await?;
        if events.is_empty() {
            self.loops = self.loops.saturating_sub(1);
            self.unfinished = None;
            return Ok(None);
        }
        let restored = Machine::restore(&self.newest.transcript, &events);
        let mut machine =
            restored.map_err(|source| SessionError::NotRestorable { loop_id, source })?;
        let unprompted = machine.awaits().is_some();
        if unprompted {
            // Nobody was told of it.
            let reason = "the process ended before the prompt was written".to_owned();
            machine.handle(now(), Input::Stop(reason))?;
        } else if begun.continuation == Continuation::ContextChange {
            machine.resume(now());
        } else if machine.outcome().is_none() {
            return Ok(Some((begun, machine)));
        }
        while let Some(output) = machine.poll() {
            if let Output::Events(events) = output {
                self.log.append(&events).await?;
            }
        }
        match unprompted {
            true => self.moved_on(&begun, machine.transcript()),
            false => self.ended(&begun, machine.transcript()),
        }
        Ok(None)
    }
}

/// Collects what the input filters decided in a loop.
fn filtered(record: &LoopRecord) -> Vec<InputFiltered> {
    let filtered = record
        .notices
        .iter()
        .filter_map(|notice| match &notice.kind {
            NoticeKind::Filtered(filtered) => Some(filtered.clone()),
            _ => None,
        });
    filtered.collect()
}

/// Says whether a loop was not there for an answer: it changed the context, or never had its prompt.
fn is_errand(record: &LoopRecord) -> bool {
    let unprompted = matches!(record.outcome, Some(Outcome::Aborted { .. }))
        && record.turns.is_empty()
        && record.waiting_input.is_empty()
        && filtered(record).is_empty();
    unprompted || record.continuation() == Continuation::ContextChange
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
