//! The fold from events to the record of a session.

use std::collections::HashMap;
use std::sync::Arc;

use phi_types::{
    BranchSelected, Event, EventKind, FORMAT, IllegalEvent, LoopId, LoopStarted, Recovered,
    SessionId, SessionStarted, Transcript,
};

use crate::error::SeqGap;
use crate::loop_fold;
use crate::record::{BranchGroup, LoopRecord, Recovery, Session};
use crate::recorded;

/// Folds the events of a session into its record, as they come.
///
/// It reads no clock and no file. Payloads are shared with the events, not copied; finding the loop
/// of an event takes constant time.
#[derive(Debug, Clone)]
pub struct SessionRecorder {
    session: Session,
    session_seq: u64,
    index: HashMap<LoopId, usize>,
    /// The loop of the event before, which is most often that of the next one.
    newest: Option<usize>,
    /// The loops that have ended and were not drained, in the order of their ends.
    ended: Vec<usize>,
}

/// What an event did to the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It was folded in.
    Applied,
    /// It had been folded in before and changed nothing.
    Repeated,
}

/// Says why an event cannot follow what was recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IllegalSequence {
    /// The event belongs to another session.
    #[error("the event belongs to session `{found}` and not to `{expected}`")]
    OtherSession {
        /// The session that is recorded.
        expected: SessionId,
        /// The session of the event.
        found: SessionId,
    },
    /// An event is missing.
    #[error("{0}")]
    Gap(SeqGap),
    /// The session was written by a newer version.
    #[error("the events have format {found} and this version knows {known}; use a newer version")]
    NewerFormat {
        /// The format of the events.
        found: u32,
        /// The newest format that is known here.
        known: u32,
    },
    /// A second start of the same session.
    #[error("the session has started already")]
    SessionStartedTwice,
    /// The first event of a loop is another, or its start comes again.
    #[error("a loop begins with loop_started, once")]
    LoopStart,
    /// A loop continues one that is not there.
    #[error("the loop continues `{0}`, which the session does not have")]
    NoSuchParent(LoopId),
    /// A loop went on after its end.
    #[error("the loop has ended and nothing of it follows")]
    Ended,
    /// An event of a loop carries no loop, or one of the session carries one.
    #[error("{0}")]
    Misplaced(&'static str),
    /// What belongs to a turn came while none was open.
    #[error("no turn is open")]
    NoTurn,
    /// An event tells of a call, of a question or of an attempt that is not open.
    #[error("there is no open {what} with number {number}")]
    NothingOpen {
        /// What is not open: `tool call`, `question` or `attempt`.
        what: &'static str,
        /// Its index or `seq`.
        number: u64,
    },
    /// The event contradicts the conversation.
    #[error("{0}")]
    Conversation(IllegalEvent),
}

impl SessionRecorder {
    /// Makes the recorder of a session without events.
    #[must_use]
    pub fn new(session: SessionId) -> Self {
        Self {
            session: Session::new(session),
            session_seq: 0,
            index: HashMap::new(),
            newest: None,
            ended: Vec::new(),
        }
    }

    /// Folds one event in. An event that was folded in before changes nothing.
    ///
    /// # Errors
    /// [`IllegalSequence`] for an event that cannot follow; the record stays as it was.
    pub fn record(&mut self, event: &Event) -> Result<Recorded, IllegalSequence> {
        if event.session != self.session.id {
            let (expected, found) = (self.session.id.clone(), event.session.clone());
            return Err(IllegalSequence::OtherSession { expected, found });
        }
        let at = event
            .loop_id
            .as_ref()
            .map(|loop_id| (loop_id, self.find(loop_id)));
        let newest = match &at {
            None => self.session_seq,
            Some((_, Some(at))) => self.session.loops.get(*at).map_or(0, |record| record.seq),
            Some((_, None)) => 0,
        };
        if (1..=newest).contains(&event.seq) {
            return Ok(Recorded::Repeated);
        }
        if newest.checked_add(1) != Some(event.seq) {
            let loop_id = event.loop_id.clone();
            let expected = newest.saturating_add(1);
            return Err(IllegalSequence::Gap(SeqGap {
                loop_id,
                expected,
                found: event.seq,
            }));
        }
        match at {
            None => self.apply_to_session(event)?,
            Some((loop_id, None)) => self.start_loop(loop_id, event)?,
            Some((_, Some(at))) => {
                self.newest = Some(at);
                let Some(record) = self.session.loops.get_mut(at) else {
                    return Err(IllegalSequence::LoopStart);
                };
                loop_fold::apply(record, event)?;
                if record.outcome.is_some() {
                    self.ended.push(at);
                }
            }
        }
        self.session.created_at.get_or_insert(event.at);
        self.session.updated_at = self.session.updated_at.max(Some(event.at));
        self.session.events += 1;
        Ok(Recorded::Applied)
    }

    /// Returns the record so far.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Returns one loop in constant time.
    #[must_use]
    pub fn loop_record(&self, loop_id: &LoopId) -> Option<&LoopRecord> {
        self.session.loops.get(*self.index.get(loop_id)?)
    }

    /// Returns the newest `seq` of the events that belong to no loop; 0 if there is none.
    #[must_use]
    pub fn session_seq(&self) -> u64 {
        self.session_seq
    }

    /// Returns the loops that have ended since it was last asked, in the order of their ends: each
    /// loop once. The session keeps them, so that it goes on as one.
    ///
    /// A recorder that was loaded returns those of the whole log first.
    pub fn drain(&mut self) -> Vec<LoopRecord> {
        let ended = std::mem::take(&mut self.ended);
        let records = ended.iter().filter_map(|at| self.session.loops.get(*at));
        records.cloned().collect()
    }

    /// Ends the recording.
    #[must_use]
    pub fn into_session(self) -> Session {
        self.session
    }

    fn find(&self, loop_id: &LoopId) -> Option<usize> {
        let newest = self.newest.filter(|at| {
            self.session
                .loops
                .get(*at)
                .is_some_and(|record| record.id == *loop_id)
        });
        newest.or_else(|| self.index.get(loop_id).copied())
    }

    fn start_loop(&mut self, loop_id: &LoopId, event: &Event) -> Result<(), IllegalSequence> {
        let EventKind::LoopStarted(started) = &event.kind else {
            return Err(IllegalSequence::LoopStart);
        };
        let mut transcript = self.inherited(started)?;
        transcript
            .apply(event)
            .map_err(IllegalSequence::Conversation)?;
        let at = self.session.loops.len();
        self.session.loops.push(LoopRecord {
            id: loop_id.clone(),
            started: Arc::clone(started),
            started_at: event.at,
            updated_at: event.at,
            ended_at: None,
            outcome: None,
            turns: Vec::new(),
            waiting_input: Vec::new(),
            compactions: Vec::new(),
            notices: Vec::new(),
            cost_usd: 0.0,
            transcript,
            seq: event.seq,
        });
        self.index.insert(loop_id.clone(), at);
        self.newest = Some(at);
        Ok(())
    }

    fn inherited(&self, started: &LoopStarted) -> Result<Transcript, IllegalSequence> {
        let Some(parent) = &started.parent else {
            return Ok(Transcript::new());
        };
        let record = self.loop_record(parent);
        let record = record.ok_or_else(|| IllegalSequence::NoSuchParent(parent.clone()))?;
        Ok(record.transcript.continued())
    }

    fn apply_to_session(&mut self, event: &Event) -> Result<(), IllegalSequence> {
        match &event.kind {
            EventKind::SessionStarted(started) => self.start_session(started, event)?,
            EventKind::SessionEnded(_) => {
                self.session.ended_at = Some(event.at);
                self.session.after_task_at = None;
            }
            EventKind::Extension(fact) if recorded::is_after_task(fact) => {
                self.session.after_task_at = Some(event.at);
            }
            EventKind::Recovered(Recovered::TornTail { bytes, moved_to }) => {
                let (bytes, moved_to) = (*bytes, moved_to.clone());
                self.session.recoveries.push(Recovery {
                    at: event.at,
                    bytes,
                    moved_to,
                });
            }
            EventKind::BranchesStarted(started) => {
                self.group(&started.loops).started_at = Some(event.at);
            }
            EventKind::BranchSelected(selected) => {
                let BranchSelected {
                    loops,
                    winner,
                    strategy,
                    scores,
                    usage,
                } = &**selected;
                let group = self.group(loops);
                group.selected_at = Some(event.at);
                group.winner.clone_from(winner);
                group.strategy = Some(strategy.clone());
                group.scores.clone_from(scores);
                group.usage = *usage;
            }
            EventKind::Extension(_) | EventKind::Unknown(_) => {}
            _ => {
                return Err(IllegalSequence::Misplaced(
                    "an event of a loop names no loop",
                ));
            }
        }
        self.session_seq = event.seq;
        Ok(())
    }

    fn start_session(
        &mut self,
        started: &SessionStarted,
        event: &Event,
    ) -> Result<(), IllegalSequence> {
        if started.format > FORMAT {
            return Err(IllegalSequence::NewerFormat {
                found: started.format,
                known: FORMAT,
            });
        }
        // A fork starts where the events that it shares with its parent end.
        let is_fork = started.forked_from.is_some() && self.session.created_at.is_some();
        if event.seq != 1 && !is_fork {
            return Err(IllegalSequence::SessionStartedTwice);
        }
        if is_fork {
            self.session.created_at = None;
            self.session.ended_at = None;
            self.session.after_task_at = None;
        }
        self.session.agent.clone_from(&started.agent);
        self.session.spawned_by.clone_from(&started.spawned_by);
        self.session.forked_from.clone_from(&started.forked_from);
        Ok(())
    }

    fn group(&mut self, loops: &[LoopId]) -> &mut BranchGroup {
        let groups = &mut self.session.groups;
        let at = groups
            .iter()
            .rposition(|group| group.loops == loops)
            .unwrap_or_else(|| {
                groups.push(BranchGroup {
                    loops: loops.to_vec(),
                    started_at: None,
                    selected_at: None,
                    winner: None,
                    strategy: None,
                    scores: Vec::new(),
                    usage: None,
                });
                groups.len() - 1
            });
        #[expect(
            clippy::indexing_slicing,
            reason = "`at` was found or pushed just above"
        )]
        &mut groups[at]
    }
}
