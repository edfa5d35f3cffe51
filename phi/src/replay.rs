//! Replays a whole session: every loop after the one that it continues.

use std::collections::HashMap;

use phi_loop::Diverged;
use phi_types::{Event, EventKind, LoopId, Transcript};

/// Says which loop of a session parts from its log, and where.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("loop `{loop_id}`: {difference}")]
pub struct LoopDiverged {
    /// The loop.
    pub loop_id: LoopId,
    /// The first difference, with both sides.
    pub difference: Diverged,
}

/// Replays every loop of a session without model, tool or hook, compares each event, and returns how
/// many loops there were.
///
/// # Errors
/// [`LoopDiverged`] for the first loop that parts from its log.
pub fn replay(events: &[Event]) -> Result<usize, LoopDiverged> {
    let mut order: Vec<&LoopId> = Vec::new();
    let mut loops: HashMap<&LoopId, Vec<Event>> = HashMap::new();
    for event in events {
        let Some(loop_id) = &event.loop_id else {
            continue;
        };
        let log = loops.entry(loop_id).or_insert_with(|| {
            order.push(loop_id);
            Vec::new()
        });
        log.push(event.clone());
    }
    let mut ends: HashMap<&LoopId, Transcript> = HashMap::new();
    for loop_id in &order {
        let log = loops.get(loop_id).map(Vec::as_slice).unwrap_or_default();
        let before = match log.first().map(|event| &event.kind) {
            Some(EventKind::LoopStarted(started)) => started
                .parent
                .as_ref()
                .and_then(|parent| ends.get(parent))
                .map(Transcript::continued),
            _ => None,
        };
        let machine = phi_loop::replay(&before.unwrap_or_default(), log).map_err(|difference| {
            LoopDiverged {
                loop_id: (*loop_id).clone(),
                difference,
            }
        })?;
        ends.insert(loop_id, machine.transcript().clone());
    }
    Ok(order.len())
}
