//! The calls of one turn: which have a result, which run, which wait.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use phi_types::{AssistantMessage, ContextChange, EffectClass, ToolCall, ToolExecution};

/// The calls of one assistant message while the turn is open.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Calls {
    slots: Vec<Slot>,
    /// Every slot before this one has been decided about.
    first_pending: usize,
    /// Every slot before this one has ended.
    first_open: usize,
    /// The calls that run, by the `seq` of their start, which is the order of their deadlines too.
    running: VecDeque<(u64, u32)>,
    busy: usize,
    decided: usize,
    /// What calls want changed in what the model reads, by their place, with the `seq` of their start.
    changes: BTreeMap<u32, (u64, Box<ContextChange>)>,
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
        let mut slots = Vec::with_capacity(message.tool_calls().count());
        let pending = |call: &Arc<ToolCall>| Slot::Pending(Arc::clone(call));
        slots.extend(message.tool_calls().map(pending));
        Self {
            slots,
            ..Self::default()
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
        self.decided =
            self.decided + usize::from(slot.is_decided()) - usize::from(old.is_decided());
        if let Slot::Running(running) = old
            && let Ok(at) = place(&self.running, running.seq)
        {
            self.running.remove(at);
        }
        if let Slot::Running(running) = slot
            && let Err(at) = place(&self.running, running.seq)
        {
            self.running.insert(at, (running.seq, index));
        }
        let pending = |slot: &Slot| matches!(slot, Slot::Pending(_));
        while self
            .slots
            .get(self.first_pending)
            .is_some_and(|slot| !pending(slot))
        {
            self.first_pending += 1;
        }
        while self
            .slots
            .get(self.first_open)
            .is_some_and(|slot| !slot.is_open())
        {
            self.first_open += 1;
        }
        true
    }

    pub(crate) fn note_change(&mut self, index: u32, seq: u64, change: &ContextChange) {
        self.changes.insert(index, (seq, Box::new(change.clone())));
    }

    /// Forgets the change that the call under this `seq` wanted, and those of the calls before it.
    pub(crate) fn take_change(&mut self, seq: u64) -> Result<(), &'static str> {
        let index = self
            .changes()
            .find(|(_, of, _)| *of == seq)
            .map(|(index, ..)| index);
        let index = index.ok_or("no call asks for this change")?;
        self.changes.retain(|of, _| *of > index);
        Ok(())
    }

    /// Iterates over what calls want changed, in call order, each with the `seq` of its start.
    pub(crate) fn changes(&self) -> impl Iterator<Item = (u32, u64, &ContextChange)> {
        self.changes
            .iter()
            .map(|(index, (seq, change))| (*index, *seq, change.as_ref()))
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

    /// Iterates over the calls from the first one that has no result.
    pub(crate) fn slots(&self) -> impl Iterator<Item = (u32, &Slot)> {
        self.slots_from(self.first_open)
    }

    fn slots_from(&self, first: usize) -> impl Iterator<Item = (u32, &Slot)> {
        let index = u32::try_from(first).unwrap_or(u32::MAX);
        (index..).zip(self.slots.get(first..).unwrap_or_default())
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
        self.slots_from(self.first_pending)
            .filter_map(|(index, slot)| match slot {
                Slot::Pending(call) => Some((index, call)),
                Slot::Asking { .. }
                | Slot::Approved(_)
                | Slot::Refused(..)
                | Slot::Running(_)
                | Slot::Ended => None,
            })
    }

    /// Iterates over the calls that run, in the order of their starts and so of their deadlines.
    pub(crate) fn running(&self) -> impl Iterator<Item = (u32, &Running)> {
        self.running
            .iter()
            .filter_map(|(_, index)| match self.get(*index) {
                Some(Slot::Running(running)) => Some((*index, running)),
                _ => None,
            })
    }

    /// Finds the call that runs under this `seq`.
    pub(crate) fn running_under(&self, seq: u64) -> Option<(u32, &Running)> {
        let (_, index) = self.running.get(place(&self.running, seq).ok()?)?;
        match self.get(*index) {
            Some(Slot::Running(running)) => Some((*index, running)),
            _ => None,
        }
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
        self.first_open == self.slots.len()
    }

    /// Says whether calls wait for an answer and nothing runs.
    pub(crate) fn only_asking(&self) -> bool {
        self.busy > 0
            && self.running.is_empty()
            && self
                .decided()
                .all(|(_, slot)| !matches!(slot, Slot::Approved(_)))
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
                self.first_open >= group
            }
        }
    }
}

/// Finds the place of a call that runs under this `seq`, or the place where it belongs.
fn place(running: &VecDeque<(u64, u32)>, seq: u64) -> Result<usize, usize> {
    running.binary_search_by_key(&seq, |(seq, _)| *seq)
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
