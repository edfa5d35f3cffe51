//! What became of the session of a sub-agent before it was opened.

use phi_loop::Finished;
use phi_session::LoopRecord;
use phi_types::{EffectId, LoopId, Outcome};

use crate::approver::Question;

/// What became of the session of a sub-agent before it was opened.
pub(crate) enum Newest {
    /// It has done nothing yet.
    None,
    /// Its loop has ended.
    Ended(Box<Finished>),
    /// Its loop was cut off, with these questions open.
    Open(LoopId, Vec<Question>),
}

impl Newest {
    pub(crate) fn ended(record: &LoopRecord) -> Self {
        let aborted = || Outcome::Aborted {
            reason: "its process ended".to_owned(),
        };
        Self::Ended(Box::new(Finished {
            loop_id: record.id.clone(),
            outcome: record.outcome.clone().unwrap_or_else(aborted),
            transcript: record.transcript.clone(),
            undelivered: Vec::new(),
            usage: record.usage(),
            cost_usd: record.cost_usd,
        }))
    }
}

/// Collects the questions of a loop that nobody has answered.
pub(crate) fn questions(session: &phi_session::Session, record: &LoopRecord) -> Vec<Question> {
    let newest = record.turns.last().map(|turn| turn.calls.iter());
    let open = newest.into_iter().flatten().filter(|it| it.end.is_none());
    let asked = open.filter_map(|call| {
        let asked = call.approvals.last().filter(|it| it.answer.is_none())?;
        let effect = EffectId {
            loop_id: record.id.clone(),
            seq: asked.seq,
        };
        Some(Question::new(&session.id, effect, &asked.requested))
    });
    asked.collect()
}
