//! The calls of one turn: which have a result, which run, which wait.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use phi_types::{AssistantMessage, EffectClass, ToolCall, ToolExecution};

/// The calls of one assistant message while the turn is open.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Calls {
    slots: Vec<Slot>,
    first_pending: usize,
    busy: usize,
    open: usize,
    decided: usize,
}

/// One call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Slot {
    /// Nothing was decided about it.
    Pending(Arc<ToolCall>),
    /// Somebody is asked whether it may run.
    Asking {
        request: u64,
        call: Arc<ToolCall>,
        question: String,
    },
    /// They said that it may.
    Approved(Arc<ToolCall>),
    /// They said that it may not, and this is why.
    Refused(Arc<ToolCall>, String),
    /// It runs.
    Running(Running),
    /// It has its result.
    Ended,
}

/// A call that runs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Running {
    pub(crate) seq: u64,
    pub(crate) call: Arc<ToolCall>,
    pub(crate) effect_class: EffectClass,
    pub(crate) deadline: Option<DateTime<Utc>>,
}

impl Calls {
    pub(crate) fn of(message: &AssistantMessage) -> Self {
        let slots: Vec<Slot> = message
            .tool_calls()
            .map(|call| Slot::Pending(Arc::clone(call)))
            .collect();
        let open = slots.len();
        Self {
            slots,
            first_pending: 0,
            busy: 0,
            open,
            decided: 0,
        }
    }

    /// Replaces a slot and keeps the counts; `false` if there is no such slot.
    pub(crate) fn set(&mut self, index: u32, new: Slot) -> bool {
        let slot = usize::try_from(index)
            .ok()
            .and_then(|index| self.slots.get_mut(index));
        let Some(slot) = slot else { return false };
        let old = std::mem::replace(slot, new);
        self.busy = self.busy + usize::from(slot.is_busy()) - usize::from(old.is_busy());
        self.open = self.open + usize::from(slot.is_open()) - usize::from(old.is_open());
        self.decided =
            self.decided + usize::from(slot.is_decided()) - usize::from(old.is_decided());
        while matches!(
            self.slots.get(self.first_pending),
            Some(slot) if !matches!(slot, Slot::Pending(_))
        ) {
            self.first_pending += 1;
        }
        true
    }

    /// Moves every deadline, because nobody worked for this long.
    pub(crate) fn postpone(&mut self, span: chrono::TimeDelta) {
        for slot in &mut self.slots {
            if let Slot::Running(running) = slot {
                running.deadline = running.deadline.map(|at| crate::retry::later(at, span));
            }
        }
    }

    pub(crate) fn get(&self, index: u32) -> Option<&Slot> {
        usize::try_from(index)
            .ok()
            .and_then(|index| self.slots.get(index))
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Iterates over all calls.
    pub(crate) fn slots(&self) -> impl Iterator<Item = (u32, &Slot)> {
        (0..).zip(&self.slots)
    }

    /// Iterates over the calls that somebody was asked about; costs nothing where there is none.
    pub(crate) fn decided(&self) -> impl Iterator<Item = (u32, &Slot)> {
        let all = if self.decided > 0 {
            self.slots.as_slice()
        } else {
            &[]
        };
        (0..).zip(all).filter(|(_, slot)| slot.is_decided())
    }

    /// Iterates over the calls about which nothing was decided.
    pub(crate) fn pending(&self) -> impl Iterator<Item = (u32, &Arc<ToolCall>)> {
        (0..)
            .zip(&self.slots)
            .skip(self.first_pending)
            .filter_map(|(index, slot)| match slot {
                Slot::Pending(call) => Some((index, call)),
                Slot::Asking { .. }
                | Slot::Approved(_)
                | Slot::Refused(..)
                | Slot::Running(_)
                | Slot::Ended => None,
            })
    }

    /// Iterates over the calls that run.
    pub(crate) fn running(&self) -> impl Iterator<Item = (u32, &Running)> {
        (0..)
            .zip(&self.slots)
            .filter_map(|(index, slot)| match slot {
                Slot::Running(running) => Some((index, running)),
                Slot::Pending(_)
                | Slot::Asking { .. }
                | Slot::Approved(_)
                | Slot::Refused(..)
                | Slot::Ended => None,
            })
    }

    /// Finds the call that runs under this `seq`.
    pub(crate) fn running_under(&self, seq: u64) -> Option<(u32, &Running)> {
        self.running().find(|(_, running)| running.seq == seq)
    }

    /// Finds the call that waits for the answer to this question.
    pub(crate) fn asking_under(&self, seq: u64) -> Option<(u32, &Arc<ToolCall>)> {
        (0..).zip(&self.slots).find_map(|(index, slot)| match slot {
            Slot::Asking { request, call, .. } if *request == seq => Some((index, call)),
            _ => None,
        })
    }

    /// Says whether every call has its result.
    pub(crate) fn all_ended(&self) -> bool {
        self.open == 0
    }

    /// Says whether calls wait for an answer and nothing runs.
    pub(crate) fn only_asking(&self) -> bool {
        self.busy > 0
            && self
                .slots
                .iter()
                .all(|slot| !matches!(slot, Slot::Running(_) | Slot::Approved(_)))
    }

    /// Says whether the call may start now; `deciding` calls hold a place too.
    pub(crate) fn has_room_for(
        &self,
        index: u32,
        deciding: usize,
        execution: ToolExecution,
    ) -> bool {
        let busy = self.busy + deciding;
        let cap = |cap: u32| usize::try_from(cap.max(1)).unwrap_or(usize::MAX);
        match execution {
            ToolExecution::Sequential => busy == 0,
            ToolExecution::Parallel { max } => busy < cap(max),
            ToolExecution::Batched { size } => {
                let group = usize::try_from(index).unwrap_or(usize::MAX) / cap(size) * cap(size);
                self.slots
                    .iter()
                    .take(group)
                    .all(|slot| matches!(slot, Slot::Ended))
            }
        }
    }
}

impl Slot {
    /// Says whether the call holds one of the places of the cap.
    fn is_busy(&self) -> bool {
        matches!(
            self,
            Self::Asking { .. } | Self::Approved(_) | Self::Running(_)
        )
    }

    /// Says whether somebody was asked about the call and it has not started.
    fn is_decided(&self) -> bool {
        matches!(
            self,
            Self::Asking { .. } | Self::Approved(_) | Self::Refused(..)
        )
    }

    /// Returns the `seq` under which the call runs, if it does, and the call, until it has ended.
    pub(crate) fn open(&self) -> Option<(Option<u64>, &Arc<ToolCall>)> {
        match self {
            Self::Running(running) => Some((Some(running.seq), &running.call)),
            Self::Pending(call)
            | Self::Asking { call, .. }
            | Self::Approved(call)
            | Self::Refused(call, _) => Some((None, call)),
            Self::Ended => None,
        }
    }

    fn is_open(&self) -> bool {
        !matches!(self, Self::Ended)
    }
}
