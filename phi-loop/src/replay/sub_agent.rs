//! What calls that were broken off had told of their sub-agents.

use phi_types::{Event, EventKind, Spawned, ToolEnded, ToolEnding};

use super::Replay;
use crate::io::Input;

impl Replay<'_> {
    /// Tells the machine of the sub-agents of the calls that the step of this event breaks off: what
    /// it was told before stands in the ends of these calls only.
    pub(super) fn feed_sub_agents(&mut self, event: &Event) {
        let breaks_off = match &event.kind {
            EventKind::StopRequested(_) => true,
            EventKind::ToolEnded(ended) => is_broken_off(ended.ending),
            _ => false,
        };
        if !breaks_off {
            return;
        }
        let step = self.events.iter().skip(self.matched);
        for next in step.take_while(|next| next.at == event.at) {
            if let EventKind::ToolEnded(ended) = &next.kind
                && is_broken_off(ended.ending)
                && let (Some(seq), Some(spawned)) = (ended.started, spawned(ended))
            {
                let input = Input::ToolSpawned(self.effect(seq), spawned);
                // One that makes no sense is found out by the comparison.
                drop(self.machine.handle(event.at, input));
            }
        }
    }
}

fn is_broken_off(ending: ToolEnding) -> bool {
    matches!(ending, ToolEnding::TimedOut | ToolEnding::Cancelled)
}

/// What a call had told of its sub-agent.
pub(super) fn spawned(ended: &ToolEnded) -> Option<Spawned> {
    let (session, spent) = (ended.child.clone()?, ended.spent());
    Some(Spawned { session, spent })
}
