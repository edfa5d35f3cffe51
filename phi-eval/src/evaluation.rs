//! What an evaluation is made of: a conversation, a prompt, branches.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use phi_loop::{Rejected, Run, Start};
use phi_types::{
    BranchesStarted, Continuation, Event, EventKind, Journal, LoopId, SessionId, Transcript,
    UserMessage,
};

use crate::branch::Branch;
use crate::evaluated::Evaluated;
use crate::race::race;
use crate::strategy::EvaluationStrategy;

/// How many branches run at once unless said otherwise.
const AT_ONCE: usize = 16;

/// Several configurations that run from one conversation.
#[derive(Clone)]
pub struct Evaluation {
    pub(crate) session: SessionId,
    pub(crate) transcript: Transcript,
    parent: Option<LoopId>,
    loops_before: u32,
    prompt: Option<UserMessage>,
    pub(crate) branches: Vec<Branch>,
    pub(crate) at_once: usize,
    journal: Option<Arc<dyn Journal>>,
}

impl Evaluation {
    /// Makes an evaluation without branches that continues a conversation without a prompt.
    #[must_use]
    pub fn new(session: SessionId, transcript: Transcript) -> Self {
        Self {
            session,
            transcript,
            parent: None,
            loops_before: 0,
            prompt: None,
            branches: Vec::new(),
            at_once: AT_ONCE,
            journal: None,
        }
    }

    /// Replaces the branches.
    #[must_use]
    pub fn branches(self, branches: Vec<Branch>) -> Self {
        Self { branches, ..self }
    }

    /// Sets what the user says in every branch.
    #[must_use]
    pub fn prompt(self, prompt: impl Into<UserMessage>) -> Self {
        Self {
            prompt: Some(prompt.into()),
            ..self
        }
    }

    /// Sets the loop whose conversation the branches continue, and how many loops the session has
    /// had: the loops of the branches are numbered from there.
    #[must_use]
    pub fn after(self, parent: LoopId, loops_before: u32) -> Self {
        Self {
            parent: Some(parent),
            loops_before,
            ..self
        }
    }

    /// Sets how many branches run at once; 16 unless said otherwise. Zero counts as one.
    #[must_use]
    pub fn at_once(self, at_once: usize) -> Self {
        Self { at_once, ..self }
    }

    /// Sets the journal of every branch, in place of the one of its driver. Branches append to it
    /// concurrently, each one its own loop.
    #[must_use]
    pub fn journal(self, journal: Arc<dyn Journal>) -> Self {
        Self {
            journal: Some(journal),
            ..self
        }
    }

    /// Returns the loops of the branches, in order.
    #[must_use]
    pub fn loops(&self) -> Vec<LoopId> {
        let places = 0..self.branches.len();
        places.filter_map(|place| self.loop_of(place)).collect()
    }

    /// Makes the event that announces the branches, for the log of the session, where it belongs
    /// before their own. `seq` is its number in the session's own stream.
    #[must_use]
    pub fn event(&self, seq: u64, at: DateTime<Utc>) -> Event {
        Event {
            session: self.session.clone(),
            loop_id: None,
            seq,
            at,
            kind: EventKind::BranchesStarted(BranchesStarted {
                loops: self.loops(),
            }),
        }
    }

    /// Runs the branches and has the strategy choose among those that completed.
    ///
    /// Everything happens in the caller's task. Once the choice stands, the branches that still run
    /// are cancelled and run to that end, which their journals see.
    ///
    /// **Cancel safety:** a dropped call stops every branch; their logs end where they are.
    pub async fn run(&self, strategy: &dyn EvaluationStrategy) -> Evaluated {
        race(self, strategy).await
    }

    pub(crate) fn loop_of(&self, place: usize) -> Option<LoopId> {
        let branch = self.branches.get(place)?;
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        let number = self.loops_before.saturating_add(place).saturating_add(1);
        let configuration = &branch.configuration.id;
        Some(LoopId::numbered(&self.session, configuration, number))
    }

    /// Starts one branch.
    pub(crate) fn begin(&self, branch: &Branch, loop_id: LoopId) -> Result<Run, Rejected> {
        let start = Start {
            session: self.session.clone(),
            loop_id,
            agent: None,
            parent: self.parent.clone(),
            continuation: Continuation::Branch,
            configuration: branch.configuration.clone(),
            metadata: None,
            transcript: self.transcript.clone(),
            surface: branch.surface.clone(),
        };
        let driver = match &self.journal {
            Some(journal) => branch.driver.clone().journal(Arc::clone(journal)),
            None => branch.driver.clone(),
        };
        match &self.prompt {
            Some(prompt) => driver.prompt(start, prompt.clone()),
            None => driver.continue_from(start),
        }
    }
}

impl std::fmt::Debug for Evaluation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Evaluation")
            .field("loops", &self.loops())
            .finish_non_exhaustive()
    }
}
