//! When a log is forced to the disk.

use std::collections::HashMap;

use phi_types::{EffectClass, Event, EventKind, LoopId};

/// When a log is forced to the disk. Whatever the policy, what was acknowledged survives the end of
/// the process, also by `kill -9`; the policies differ in what a loss of power may take: the events
/// after the newest of the times that are named here, and no event before it. That holds for a log of
/// which all writers had the policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum SyncPolicy {
    /// Before a tool call starts that must not run twice, and after its result. The only policy
    /// under which such a call is never repeated after a loss of power.
    #[default]
    Effect,
    /// When a turn, a loop or the session ends. A call that must not run twice may be repeated after
    /// a loss of power in its turn.
    Turn,
    /// When the caller asks for it. A session that was created since may be lost with the power.
    Never,
}

/// The calls that have started and not ended, and whether they may run again.
#[derive(Debug, Default)]
pub(crate) struct OpenCalls(HashMap<(LoopId, u64), EffectClass>);

impl OpenCalls {
    /// Says whether a policy wants a batch on the disk; follows it where that matters.
    pub(crate) fn is_sync_due(&mut self, events: &[Event], policy: SyncPolicy) -> bool {
        match policy {
            // Every event is followed, whatever the ones before it say.
            SyncPolicy::Effect => events.iter().fold(false, |due, it| self.follow(it) | due),
            SyncPolicy::Turn => events.iter().any(|event| {
                matches!(
                    event.kind,
                    EventKind::TurnEnded(_) | EventKind::LoopEnded(_) | EventKind::SessionEnded(_)
                )
            }),
            SyncPolicy::Never => false,
        }
    }

    /// Follows one event; says whether it announces or ends an effect that must not run twice.
    ///
    /// A call whose start was not seen counts as one.
    pub(crate) fn follow(&mut self, event: &Event) -> bool {
        let Some(loop_id) = &event.loop_id else {
            return false;
        };
        match &event.kind {
            EventKind::ToolStarted(started) => {
                self.0
                    .insert((loop_id.clone(), event.seq), started.effect_class);
                started.effect_class == EffectClass::AtMostOnce
            }
            EventKind::ToolEnded(ended) => ended.started.is_some_and(|seq| {
                let class = self.0.remove(&(loop_id.clone(), seq));
                class.is_none_or(|class| class == EffectClass::AtMostOnce)
            }),
            EventKind::LoopEnded(_) => {
                self.0.retain(|(of, _), _| of != loop_id);
                false
            }
            _ => false,
        }
    }
}
