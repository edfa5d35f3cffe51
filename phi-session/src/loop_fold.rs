//! The fold from the events of one loop to its record.

use std::sync::Arc;

use phi_types::{
    ApprovalResolved, Event, EventKind, Message, MessageAdded, ModelFailed, ModelStarted,
    ToolEnded, ToolEnding, ToolStarted, TurnStarted,
};

use crate::record::{
    ApprovalRecord, Attempt, CallEnd, CallRecord, CallRun, Compaction, LoopRecord, Notice,
    NoticeKind, Turn,
};
use crate::recorder::IllegalSequence;

/// Folds one event after the first; on an error the record stays as it was.
pub(crate) fn apply(record: &mut LoopRecord, event: &Event) -> Result<(), IllegalSequence> {
    // Long: one arm for each kind of event.
    if record.outcome.is_some() {
        return Err(IllegalSequence::Ended);
    }
    // Whatever can fail comes before the first change; the transcript checks what it takes.
    match &event.kind {
        EventKind::TurnStarted(started) => start_turn(record, event, started),
        EventKind::TurnEnded(_) => turn(record)?.ended_at = Some(event.at),
        EventKind::ModelStarted(started) => start_attempt(turn(record)?, event, started),
        EventKind::ModelFailed(failed) => fail_attempt(record, event, failed)?,
        EventKind::Message(added) => return add_message(record, event, added),
        EventKind::ToolStarted(started) => start_call(record, event, started)?,
        EventKind::ToolEnded(ended) => return end_call(record, event, ended),
        EventKind::ApprovalRequested(requested) => {
            let approval = ApprovalRecord {
                seq: event.seq,
                requested: requested.clone(),
                at: event.at,
                answer: None,
            };
            call(record, requested.index)?.approvals.push(approval);
        }
        EventKind::ApprovalResolved(resolved) => resolve(record, event, resolved)?,
        EventKind::CompactionStarted(started) => record.compactions.push(Compaction {
            entries_before: started.entries,
            started_at: event.at,
            ended: None,
        }),
        EventKind::CompactionEnded(ended) => {
            let open = record.compactions.iter().rposition(|it| it.ended.is_none());
            take(record, event)?;
            let open = open.and_then(|at| record.compactions.get_mut(at));
            if let Some(compaction) = open {
                compaction.ended = Some((ended.clone(), event.at));
            }
            return Ok(());
        }
        EventKind::LoopEnded(ended) => {
            record.outcome = Some(ended.outcome.clone());
            record.ended_at = Some(event.at);
        }
        EventKind::StopRequested(requested) => {
            notice(record, event, NoticeKind::Stop(requested.cause.clone()));
        }
        EventKind::LimitWarning(warning) => {
            notice(record, event, NoticeKind::Limit(warning.limit));
        }
        EventKind::LimitReached(reached) => {
            notice(record, event, NoticeKind::LimitReached(reached.limit));
        }
        EventKind::LoopStuck(stuck) => notice(record, event, NoticeKind::Stuck(stuck.clone())),
        EventKind::Recovered(_) => notice(record, event, NoticeKind::Restart),
        EventKind::InputFiltered(filtered) => {
            notice(record, event, NoticeKind::Filtered(filtered.clone()));
        }
        EventKind::ContextPruned(_)
        | EventKind::ContextReverted(_)
        | EventKind::ContextRestored(_) => {
            take(record, event)?;
            let changed = context_changed(&event.kind).into_iter();
            changed.for_each(|changed| notice(record, event, changed));
            return Ok(());
        }
        EventKind::LoopStarted(_) => return Err(IllegalSequence::LoopStart),
        EventKind::SessionStarted(_)
        | EventKind::SessionEnded(_)
        | EventKind::BranchesStarted(_)
        | EventKind::BranchSelected(_) => {
            return Err(IllegalSequence::Misplaced(
                "an event of the session names a loop",
            ));
        }
        // The transcript takes the surface and the queue; the rest says nothing that is recorded.
        _ => {}
    }
    take(record, event)
}

/// Hands the event to the transcript and counts it.
fn take(record: &mut LoopRecord, event: &Event) -> Result<(), IllegalSequence> {
    let spent = spent(record, event);
    record
        .transcript
        .apply(event)
        .map_err(IllegalSequence::Conversation)?;
    record.cost_usd += spent;
    record.seq = event.seq;
    record.updated_at = record.updated_at.max(event.at);
    if let Some(turn) = record
        .turns
        .last_mut()
        .filter(|turn| turn.ended_at.is_none())
    {
        turn.usage = record.transcript.turn_usage();
    }
    Ok(())
}

/// Returns what the event's tokens cost in US dollars, as far as prices are known. A
/// compaction is billed like the newest request or, before the first one, like the first model.
fn spent(record: &LoopRecord, event: &Event) -> f64 {
    let usage = match &event.kind {
        EventKind::ModelFailed(failed) => &failed.facts.usage,
        EventKind::CompactionEnded(ended) => &ended.usage,
        EventKind::Message(added) => match &added.message {
            Message::Assistant(message) => &message.usage,
            Message::User(_) | Message::Extension(_) => return 0.0,
        },
        EventKind::ToolEnded(ended) => return ended.spent().cost_usd.unwrap_or(0.0),
        _ => return 0.0,
    };
    let attempt = record.turns.last().and_then(|turn| turn.attempts.last());
    let place = attempt.map_or(0, |attempt| attempt.started.target as usize);
    let target = record.transcript.surface().models.get(place);
    target
        .and_then(|target| target.price)
        .map_or(0.0, |price| price.cost_usd(usage))
}

fn start_turn(record: &mut LoopRecord, event: &Event, started: &TurnStarted) {
    let input = std::mem::take(&mut record.waiting_input);
    record.turns.push(Turn {
        index: started.index,
        trigger: started.trigger,
        started_at: event.at,
        ended_at: None,
        input,
        attempts: Vec::new(),
        answer: None,
        calls: Vec::new(),
        usage: phi_types::Usage::default(),
    });
}

fn start_attempt(turn: &mut Turn, event: &Event, started: &ModelStarted) {
    // Most turns have one attempt, and a list that grows on its own takes room for four.
    turn.attempts.reserve_exact(1);
    turn.attempts.push(Attempt {
        started: started.clone(),
        started_at: event.at,
        ended_at: None,
        failed: None,
        early: Vec::new(),
    });
}

fn fail_attempt(
    record: &mut LoopRecord,
    event: &Event,
    failed: &Arc<ModelFailed>,
) -> Result<(), IllegalSequence> {
    let turn = turn(record)?;
    let attempt = turn
        .attempts
        .iter_mut()
        .rfind(|it| it.started.attempt == failed.attempt);
    let number = u64::from(failed.attempt);
    let attempt = attempt.filter(|attempt| attempt.ended_at.is_none());
    let attempt = attempt.ok_or(IllegalSequence::NothingOpen {
        what: "attempt",
        number,
    })?;
    attempt.ended_at = Some(event.at);
    attempt.failed = Some(Arc::clone(failed));
    Ok(())
}

fn add_message(
    record: &mut LoopRecord,
    event: &Event,
    added: &MessageAdded,
) -> Result<(), IllegalSequence> {
    if matches!(added.message, Message::Assistant(_)) {
        turn(record)?;
    }
    take(record, event)?;
    match &added.message {
        Message::User(message) => {
            let open = record.turns.last_mut().filter(|turn| {
                turn.ended_at.is_none() && turn.answer.is_none() && added.turn == turn.index
            });
            let input = match open {
                Some(turn) => &mut turn.input,
                None => &mut record.waiting_input,
            };
            input.push(Arc::clone(message));
        }
        Message::Assistant(message) => {
            let turn = turn(record)?;
            if let Some(attempt) = turn.attempts.last_mut().filter(|it| it.ended_at.is_none()) {
                attempt.ended_at = Some(event.at);
            }
            // A list that grows on its own takes room for four, and most answers have one call.
            turn.calls = Vec::with_capacity(message.tool_calls().count());
            turn.calls
                .extend(message.tool_calls().map(|call| CallRecord {
                    call: Arc::clone(call),
                    run: None,
                    approvals: Vec::new(),
                    end: None,
                }));
            turn.answer = Some(Arc::clone(message));
            adopt(record);
        }
        Message::Extension(_) => {}
    }
    Ok(())
}

/// Moves what runs of the calls that started early to the calls of the answer that holds them.
fn adopt(record: &mut LoopRecord) {
    let Some(turn) = record.turns.last_mut() else {
        return;
    };
    let Some(early) = turn.attempts.last_mut().map(|attempt| &mut attempt.early) else {
        return;
    };
    let open = record.transcript.open_calls().iter();
    for (call, open) in turn.calls.iter_mut().zip(open) {
        let Some(started) = &open.early else { continue };
        let is_it = |it: &CallRecord| it.run.as_ref().is_some_and(|run| run.seq == started.seq);
        if let Some(place) = early.iter().position(is_it) {
            call.run = early.remove(place).run;
        }
    }
}

fn start_call(
    record: &mut LoopRecord,
    event: &Event,
    started: &ToolStarted,
) -> Result<(), IllegalSequence> {
    let run = Some(CallRun {
        call: Arc::clone(&started.call),
        effect_class: started.effect_class,
        at: event.at,
        seq: event.seq,
    });
    if started.early.is_some() {
        let attempt = turn(record)?.attempts.last_mut();
        let attempt = attempt.filter(|attempt| attempt.ended_at.is_none());
        let early = attempt.ok_or_else(|| no_call(started.index))?;
        early.early.push(CallRecord {
            call: Arc::clone(&started.call),
            run,
            approvals: Vec::new(),
            end: None,
        });
        return Ok(());
    }
    let call = call(record, started.index)?;
    if call.end.is_some() {
        return Err(no_call(started.index));
    }
    call.run = run;
    Ok(())
}

fn end_call(
    record: &mut LoopRecord,
    event: &Event,
    ended: &ToolEnded,
) -> Result<(), IllegalSequence> {
    let end = Some(CallEnd {
        ending: ended.ending,
        result: Arc::clone(&ended.result),
        child: ended.child.clone(),
        spent: ended.spent.clone(),
        at: event.at,
    });
    if ended.ending == ToolEnding::Discarded {
        take(record, event)?;
        let attempts = turn(record)?.attempts.iter_mut();
        let mut early = attempts.flat_map(|attempt| attempt.early.iter_mut());
        let is_it = |it: &&mut CallRecord| it.run.as_ref().map(|run| run.seq) == ended.started;
        early.find(is_it).ok_or_else(|| no_call(ended.index))?.end = end;
        return Ok(());
    }
    call(record, ended.index)?;
    take(record, event)?;
    call(record, ended.index)?.end = end;
    Ok(())
}

fn resolve(
    record: &mut LoopRecord,
    event: &Event,
    resolved: &ApprovalResolved,
) -> Result<(), IllegalSequence> {
    let calls = record.turns.last_mut().map(|turn| turn.calls.iter_mut());
    let mut asked = calls
        .into_iter()
        .flatten()
        .flat_map(|call| call.approvals.iter_mut());
    let number = resolved.request;
    let question = asked.find(|asked| asked.seq == number && asked.answer.is_none());
    let question = question.ok_or(IllegalSequence::NothingOpen {
        what: "question",
        number,
    })?;
    question.answer = Some((resolved.approval.clone(), event.at));
    Ok(())
}

fn context_changed(kind: &EventKind) -> Option<NoticeKind> {
    match kind {
        EventKind::ContextPruned(pruned) => Some(NoticeKind::Pruned(pruned.clone())),
        EventKind::ContextReverted(reverted) => Some(NoticeKind::Reverted(reverted.clone())),
        EventKind::ContextRestored(restored) => Some(NoticeKind::Restored(restored.clone())),
        _ => None,
    }
}

fn notice(record: &mut LoopRecord, event: &Event, kind: NoticeKind) {
    record.notices.push(Notice { at: event.at, kind });
}

/// Returns the open turn.
fn turn(record: &mut LoopRecord) -> Result<&mut Turn, IllegalSequence> {
    let open = record.turns.last_mut();
    match open.filter(|turn| turn.ended_at.is_none()) {
        Some(turn) => Ok(turn),
        None => Err(IllegalSequence::NoTurn),
    }
}

fn call(record: &mut LoopRecord, index: u32) -> Result<&mut CallRecord, IllegalSequence> {
    let calls = &mut turn(record)?.calls;
    let call = usize::try_from(index)
        .ok()
        .and_then(|index| calls.get_mut(index));
    call.ok_or_else(|| no_call(index))
}

fn no_call(index: u32) -> IllegalSequence {
    IllegalSequence::NothingOpen {
        what: "tool call",
        number: u64::from(index),
    }
}
