//! What each input means: checked first, then written down as events.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use phi_types::{
    AnswerScope, Approval, ApprovalResolved, Content, EffectId, EventKind, HistoryDigest,
    Increment, LimitKind, Live, LoopStarted, Message, MessageAdded, MessageQueued, Point, Queue,
    QueueId, StopCause, StopRequested, SurfaceChanged, ToolEnded, ToolEnding, ToolProgress,
    ToolResult, Usage, UserMessage,
};

use super::Machine;
use crate::calls::Slot;
use crate::io::{Compacted, Output, Rejected, ToolReport};
use crate::state::{Calling, Phase, Stage};
use crate::step::Opening;

impl Machine {
    pub(super) fn on_prompt(
        &mut self,
        now: DateTime<Utc>,
        messages: Vec<Arc<UserMessage>>,
    ) -> Result<(), Rejected> {
        if messages.is_empty() {
            return Err(ill_shaped("a prompt has at least one message"));
        }
        for message in &messages {
            check_message(message)?;
        }
        self.begin(now)?;
        if self.state.claims(Point::FilterInput) {
            self.deciding.opening = Some(Opening::Prompt(messages));
        } else {
            self.say(now, messages);
        }
        Ok(())
    }

    /// Lets messages of the user into the conversation.
    pub(super) fn say(&mut self, now: DateTime<Utc>, messages: Vec<Arc<UserMessage>>) {
        for message in messages {
            let turn = self.state.turn_index();
            let message = Message::User(message);
            self.emit(
                now,
                EventKind::Message(MessageAdded {
                    message,
                    turn,
                    queued: None,
                }),
            );
        }
    }

    pub(super) fn on_continue(&mut self, now: DateTime<Utc>) -> Result<(), Rejected> {
        if self.state.transcript.view().is_empty() {
            return Err(ill_shaped(
                "there is no conversation to continue: give a prompt",
            ));
        }
        self.begin(now)?;
        self.deciding.opening = Some(Opening::Continue);
        Ok(())
    }

    /// Announces the loop, unless a restored log holds the announcement already.
    pub(super) fn begin(&mut self, now: DateTime<Utc>) -> Result<(), Rejected> {
        let begun = !matches!(self.state.phase, Phase::New | Phase::Started);
        if begun || self.deciding.opening.is_some() {
            return Err(self.not_now("has begun already"));
        }
        let surface = match &self.start {
            Some(start) => &start.surface,
            None => self.state.transcript.surface(),
        };
        if surface.models.is_empty() {
            return Err(no_model());
        }
        let Some(start) = self.start.take() else {
            return Ok(());
        };
        self.emit(
            now,
            EventKind::LoopStarted(Arc::new(LoopStarted {
                agent: start.agent,
                parent: start.parent,
                continuation: start.continuation,
                configuration: start.configuration,
                metadata: start.metadata,
                history_digest: HistoryDigest::default(),
            })),
        );
        let surface = start.surface;
        let all = SurfaceChanged {
            system: Some(surface.system),
            tools: Some(surface.tools),
            models: Some(surface.models),
            options: Some(surface.options),
        };
        self.emit(now, EventKind::SurfaceChanged(Arc::new(all)));
        Ok(())
    }

    pub(super) fn on_queued(
        &mut self,
        now: DateTime<Utc>,
        id: QueueId,
        queue: Queue,
        message: Arc<UserMessage>,
    ) -> Result<(), Rejected> {
        if matches!(self.state.phase, Phase::New) {
            return Err(self.not_now("has not begun"));
        }
        if self.state.counts.queue_ids.contains(&id) {
            return Err(Rejected::Duplicate(id));
        }
        check_message(&message)?;
        let held = self.state.claims(Point::FilterInput);
        self.emit(
            now,
            EventKind::MessageQueued(MessageQueued {
                id,
                queue,
                message,
                held,
            }),
        );
        Ok(())
    }

    pub(super) fn on_progress(
        &mut self,
        effect: EffectId,
        progress: ToolProgress,
    ) -> Result<(), Rejected> {
        if !self.runs_early(&effect) {
            self.running(&effect)?;
        }
        let next = self.progress_index.entry(effect.seq).or_default();
        let index = *next;
        *next += 1;
        let increment = Increment::Progress(progress);
        self.outbox.push_back(Output::Live(Live {
            effect,
            index,
            increment,
        }));
        Ok(())
    }

    pub(super) fn on_tool_ended(
        &mut self,
        now: DateTime<Utc>,
        effect: &EffectId,
        report: ToolReport,
    ) -> Result<(), Rejected> {
        let is_early = self.runs_early(effect);
        let index = if is_early { 0 } else { self.running(effect)? };
        if !matches!(
            report.ending,
            ToolEnding::Finished | ToolEnding::Failed | ToolEnding::Invalid
        ) {
            return Err(ill_shaped(
                "a tool reports that it finished, failed or found its arguments invalid",
            ));
        }
        let result = without_empty_texts(report.result);
        let report = ToolReport { result, ..report };
        if is_early {
            self.hold(effect.seq, report);
            return Ok(());
        }
        let ToolReport {
            ending,
            result,
            child,
        } = self.with_fitting_change(effect, report);
        let call_id = match self.state.calls().and_then(|calls| calls.get(index)) {
            Some(Slot::Running(running)) => Arc::clone(&running.call.id),
            _ => return Err(Rejected::NotOutstanding(effect.clone())),
        };
        if let Some(child) = child {
            self.spawned.insert(effect.seq, child);
        }
        let started = Some(effect.seq);
        let ended = ToolEnded {
            index,
            call_id,
            started,
            ending,
            result,
            child: None,
            spent: None,
        };
        self.emit(now, EventKind::ToolEnded(ended));
        Ok(())
    }

    pub(super) fn on_approval(
        &mut self,
        now: DateTime<Utc>,
        effect: EffectId,
        approval: Approval,
        scope: AnswerScope,
    ) -> Result<(), Rejected> {
        let calls = self
            .state
            .calls()
            .filter(|_| effect.loop_id == self.state.loop_id);
        if calls
            .and_then(|calls| calls.asking_under(effect.seq))
            .is_none()
        {
            return Err(Rejected::NotOutstanding(effect));
        }
        let resolved = ApprovalResolved {
            request: effect.seq,
            approval,
            scope,
        };
        self.emit(now, EventKind::ApprovalResolved(resolved));
        Ok(())
    }

    pub(super) fn on_compacted(
        &mut self,
        now: DateTime<Utc>,
        effect: &EffectId,
        compacted: Compacted,
        usage: Usage,
    ) -> Result<(), Rejected> {
        self.compacting(effect)?;
        let (ended, next) = self.state.compaction_ended(compacted, usage);
        self.emit_with(now, ended, next);
        Ok(())
    }

    pub(super) fn on_surface(
        &mut self,
        now: DateTime<Utc>,
        changed: SurfaceChanged,
    ) -> Result<(), Rejected> {
        if matches!(self.state.phase, Phase::New) {
            return Err(self.not_now("has not begun"));
        }
        if changed
            .models
            .as_ref()
            .is_some_and(|models| models.is_empty())
        {
            return Err(no_model());
        }
        self.emit(now, EventKind::SurfaceChanged(Arc::new(changed)));
        Ok(())
    }

    pub(super) fn on_timeout(&mut self, now: DateTime<Utc>) {
        let wall = self
            .state
            .wall_deadline()
            .filter(|_| self.state.stop.is_none());
        let paused = self.state.waits_for_approval_only();
        if !paused && wall.is_some_and(|at| at <= now) && self.awaits().is_none() {
            let cause = StopCause::Limit {
                limit: LimitKind::WallTime,
            };
            self.emit(now, EventKind::StopRequested(StopRequested { cause }));
            return;
        }
        self.time_out_early(now);
        let Some(calls) = self.state.calls() else {
            return;
        };
        let due = calls
            .running()
            .filter(|(_, it)| it.deadline.is_some_and(|at| at <= now));
        let due: Vec<_> = due
            .map(|(index, running)| (index, running.clone()))
            .collect();
        for (index, running) in due {
            let text = self.state.ran_too_long();
            let ending = ToolEnding::TimedOut;
            let ended = self
                .state
                .answered(index, &running.call, Some(running.seq), ending, &text);
            self.emit_step(now, ended);
        }
    }

    pub(super) fn on_stop(&mut self, now: DateTime<Utc>, cause: StopCause) -> Result<(), Rejected> {
        if matches!(self.state.phase, Phase::New) {
            return Err(self.not_now("has not begun"));
        }
        // A stop that waits can still become a cancel; a repeated request says nothing new.
        let first = self.state.stop.is_none();
        let harder = matches!(self.state.stop, Some(StopCause::Stop { .. }))
            && matches!(cause, StopCause::Cancel {});
        if first || harder {
            self.emit(now, EventKind::StopRequested(StopRequested { cause }));
        }
        Ok(())
    }

    pub(super) fn running(&self, effect: &EffectId) -> Result<u32, Rejected> {
        let calls = self
            .state
            .calls()
            .filter(|_| effect.loop_id == self.state.loop_id);
        let running = calls.and_then(|calls| calls.running_under(effect.seq));
        running
            .map(|(index, _)| index)
            .ok_or_else(|| Rejected::NotOutstanding(effect.clone()))
    }

    pub(super) fn compacting(&self, effect: &EffectId) -> Result<(), Rejected> {
        match &self.state.phase {
            Phase::Calling(Calling {
                stage: Stage::Compacting { seq, .. },
                ..
            }) if *seq == effect.seq && effect.loop_id == self.state.loop_id => Ok(()),
            _ => Err(Rejected::NotOutstanding(effect.clone())),
        }
    }

    pub(super) fn not_now(&self, why: &'static str) -> Rejected {
        Rejected::NotNow {
            loop_id: self.state.loop_id.clone(),
            why,
        }
    }
}

pub(super) fn no_model() -> Rejected {
    ill_shaped("the surface names no model: give it at least one target")
}

/// No provider accepts a message without content.
pub(crate) fn check_message(message: &UserMessage) -> Result<(), Rejected> {
    let says_nothing = |content: &Content| match content {
        Content::Text { text } => text.trim().is_empty(),
        Content::Image { .. } => false,
    };
    if message.content.is_empty() || message.content.iter().any(says_nothing) {
        return Err(ill_shaped(
            "a message, or a text of it, is empty: give it a text or an image",
        ));
    }
    Ok(())
}

/// No provider accepts an empty text; a result without content says the same.
fn without_empty_texts(mut result: Arc<ToolResult>) -> Arc<ToolResult> {
    let says_something = |content: &Content| match content {
        Content::Text { text } => !text.is_empty(),
        Content::Image { .. } => true,
    };
    if !result.content.iter().all(says_something) {
        Arc::make_mut(&mut result).content.retain(says_something);
    }
    result
}

pub(super) fn ill_shaped(why: &str) -> Rejected {
    Rejected::IllShaped(why.to_owned())
}
