//! What a tree of agents has spent, read off its logs.

use std::collections::{HashMap, HashSet};

use phi_types::{Event, EventKind, LoopId, SessionId, Transcript};

use crate::driver::books::Meter;
use crate::driver::ledger::Spending;

impl Spending {
    /// Sums up what the sessions of a tree have spent: after a crash, [`crate::Ledger::charge`] takes
    /// it into a new ledger.
    ///
    /// Each log holds the events of one session. A sub-agent whose log is among them counts by its own
    /// events, else by what its parent knows of it. Sub-agents count once their calls have ended: the
    /// others take their places again when they are resumed.
    #[must_use]
    pub fn of_logs<'a>(logs: impl IntoIterator<Item = &'a [Event]>) -> Self {
        let logs: Vec<&[Event]> = logs.into_iter().collect();
        let sessions = logs.iter().filter_map(|log| Some(&log.first()?.session));
        let sessions: HashSet<&SessionId> = sessions.collect();
        let mut sum = Self::default();
        for log in &logs {
            add_log(&mut sum, log, &sessions);
        }
        sum
    }
}

fn add_log(sum: &mut Spending, log: &[Event], sessions: &HashSet<&SessionId>) {
    let mut loops: HashMap<&LoopId, (Transcript, Meter)> = HashMap::new();
    for event in log {
        let Some(loop_id) = &event.loop_id else {
            continue;
        };
        if let EventKind::LoopStarted(started) = &event.kind {
            let parent = started.parent.as_ref().and_then(|parent| loops.get(parent));
            let before = parent.map(|(transcript, _)| transcript.continued());
            loops.insert(loop_id, (before.unwrap_or_default(), Meter::default()));
        }
        let Some((transcript, meter)) = loops.get_mut(loop_id) else {
            continue;
        };
        // What is no log of a loop is counted as far as it makes sense.
        if transcript.apply(event).is_err() {
            continue;
        }
        sum.add(&meter.follow(event, transcript).unwrap_or_default());
        if let EventKind::ToolEnded(ended) = &event.kind
            && let Some(child) = &ended.child
        {
            sum.agents += 1;
            if !sessions.contains(child) {
                sum.tokens = sum
                    .tokens
                    .saturating_add(ended.spent().usage.total_tokens());
                sum.cost_usd += ended.spent().cost_usd.unwrap_or(0.0);
            }
        }
    }
}
