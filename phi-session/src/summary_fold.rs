//! The fold from events to what a list shows: small enough to be kept beside the log.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use phi_types::{Event, EventKind, LoopId, Message, SessionId, SpawnedBy, Usage};
use serde::{Deserialize, Serialize};

use crate::summary::{SessionSummary, Status};

/// What a list shows of a session, and as much more as the next event may change.
///
/// It equals [`crate::Session::summary`] of the same events, and it takes any events: whether they
/// are a sequence that phi writes, only the whole record says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SummaryFold {
    // Wide: what a list shows, and no two of its facts belong closer together.
    agent: Option<Arc<str>>,
    spawned_by: Option<SpawnedBy>,
    ended_at: Option<DateTime<Utc>>,
    created_at: Option<DateTime<Utc>>,
    updated_at: Option<DateTime<Utc>>,
    turns: u64,
    usage: Usage,
    /// The loops in the order in which they began; `None` while one runs.
    loops: Vec<(LoopId, Option<Status>)>,
    running: u64,
    groups: Vec<Group>,
}

/// Several configurations that ran from one history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Group {
    loops: Vec<LoopId>,
    winner: Option<LoopId>,
}

impl SummaryFold {
    /// Folds the next event in.
    pub(crate) fn follow(&mut self, event: &Event) {
        self.created_at.get_or_insert(event.at);
        self.updated_at = self.updated_at.max(Some(event.at));
        match &event.kind {
            EventKind::SessionStarted(started) => {
                self.agent.clone_from(&started.agent);
                self.spawned_by.clone_from(&started.spawned_by);
                self.ended_at = None;
                if started.forked_from.is_some() {
                    self.created_at = Some(event.at);
                }
            }
            EventKind::SessionEnded(_) => self.ended_at = Some(event.at),
            EventKind::BranchesStarted(started) => drop(self.group(&started.loops)),
            EventKind::BranchSelected(selected) => {
                let winner = selected.winner.clone();
                if let Some(group) = self.group(&selected.loops) {
                    group.winner = winner;
                }
            }
            EventKind::LoopStarted(_) => {
                self.running += 1;
                self.loops
                    .extend(event.loop_id.clone().map(|loop_id| (loop_id, None)));
            }
            EventKind::LoopEnded(ended) => {
                let of =
                    |(id, _): &&mut (LoopId, Option<Status>)| event.loop_id.as_ref() == Some(id);
                if let Some((_, status)) = self.loops.iter_mut().rev().find(of) {
                    self.running = self.running.saturating_sub(u64::from(status.is_none()));
                    *status = Some(Status::of(&ended.outcome));
                }
            }
            EventKind::TurnStarted(_) => self.turns += 1,
            EventKind::ModelFailed(failed) => self.usage.add(&failed.facts.usage),
            EventKind::CompactionEnded(ended) => self.usage.add(&ended.usage),
            EventKind::ToolEnded(ended) => self.usage.add(&ended.spent().usage),
            EventKind::Message(added) => {
                if let Message::Assistant(message) = &added.message {
                    self.usage.add(&message.usage);
                }
            }
            _ => {}
        }
    }

    /// Returns what a list shows.
    pub(crate) fn summary(&self, id: SessionId) -> SessionSummary {
        SessionSummary {
            id,
            created_at: self.created_at,
            updated_at: self.updated_at,
            loops: self.loops.len() as u64,
            turns: self.turns,
            status: self.status(),
            usage: self.usage,
            agent: self.agent.clone(),
            spawned_by: self.spawned_by.clone(),
            ended_at: self.ended_at,
        }
    }

    fn status(&self) -> Status {
        if self.running > 0 {
            return Status::Running;
        }
        let Some((newest, status)) = self.loops.last() else {
            return Status::Open;
        };
        let group = self
            .groups
            .iter()
            .rev()
            .find(|it| it.loops.contains(newest));
        let winner = group.and_then(|group| group.winner.as_ref());
        let chosen = winner.and_then(|id| self.loops.iter().find(|(of, _)| of == id));
        chosen
            .map_or(*status, |(_, status)| *status)
            .unwrap_or(Status::Running)
    }

    fn group(&mut self, loops: &[LoopId]) -> Option<&mut Group> {
        if !self.groups.iter().any(|group| group.loops == loops) {
            self.groups.push(Group {
                loops: loops.to_vec(),
                winner: None,
            });
        }
        self.groups
            .iter_mut()
            .rev()
            .find(|group| group.loops == loops)
    }
}
