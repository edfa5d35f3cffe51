//! The one fold from events to conversation, queue and usage.

use std::sync::Arc;

use crate::approval::{AnswerScope, ApprovalResolved, StickyAnswers};
use crate::context::OverlayId;
use crate::early::{self, EarlyCall};
use crate::event::{Event, EventKind};
use crate::facts::{MessageAdded, RequestPart, ToolEnded, TurnTrigger};
use crate::history::{CallResult, Entry, History};
use crate::id::QueueId;
use crate::message::{AssistantMessage, Message, UserMessage};
use crate::overlays::Overlays;
use crate::queue::{FilterVerdict, InputFiltered, MessageQueued, Queue};
use crate::request::{ModelPatch, Surface};
use crate::sent::Sent;
use crate::tokens::{Calibration, EstimatedTokens, TokenCounter};
use crate::tool::{ToolCall, ToolEnding, ToolResult};
use crate::usage::Usage;

mod view;

pub use view::NextView;

/// What a conversation is after some events: machine and recorder both embed it.
///
/// It folds the events of one loop. The next loop of the same conversation starts from
/// [`Transcript::continued`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Transcript {
    // Wide: a conversation, what is open of it, and what it took.
    history: History,
    view: History,
    /// How the view comes of the history; `None` while it is the history.
    overlays: Option<Arc<Overlays>>,
    surface: Surface,
    requests: Requests,
    early: Vec<EarlyCall>,
    open: Vec<OpenCall>,
    unanswered: usize,
    queue: Vec<Queued>,
    answers: Answers,
    usage: Usage,
    turn_usage: Usage,
}

/// What the model was asked last, and what it will not be shown.
#[derive(Debug, Clone, Default, PartialEq)]
struct Requests {
    /// The newest request; `None` too once it is known that the next one departs from it.
    newest: Option<Sent>,
    /// Whether the newest turn is one without tools.
    grace: bool,
    /// Estimated tokens of the surface.
    surface_tokens: u64,
    /// What the newest report of a request says about the estimate.
    calibration: Calibration,
}

/// What people answered whether calls may run.
#[derive(Debug, Clone, Default, PartialEq)]
struct Answers {
    sticky: StickyAnswers,
    /// The questions that wait: the `seq` of each and what it is about.
    asked: Vec<(u64, Arc<ToolCall>)>,
}

/// A call of the newest assistant message while one of its calls has no result.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenCall {
    /// The call as the model asked for it.
    pub call: Arc<ToolCall>,
    /// Its result, once it has ended.
    pub result: Option<Arc<ToolResult>>,
    /// What was written of its start, where it started before the message was there.
    pub early: Option<Box<EarlyCall>>,
}

/// A message that waits for its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Queued {
    /// Its id.
    pub id: QueueId,
    /// The place that it waits for.
    pub queue: Queue,
    /// The message.
    pub message: Arc<UserMessage>,
    /// Whether it waits for the input filters first.
    pub held: bool,
}

/// Says why an event cannot follow what came before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IllegalEvent {
    /// A message joined while calls had no result.
    #[error("a message joins the conversation while {0} tool calls have no result")]
    CallsUnanswered(usize),
    /// A result has no call, or is the second one of its call.
    #[error("there is no open tool call with index {0}")]
    NoSuchCall(u32),
    /// A compaction block does not lie inside the view, or is empty.
    #[error("the compaction block from entry {first}, {count} long, does not fit a view of {len}")]
    NoSuchBlock {
        /// The first entry of the block.
        first: u64,
        /// Its length.
        count: u64,
        /// Entries in the view.
        len: usize,
    },
    /// An overlay that is taken off is not on the view: it never was, or was taken off before.
    #[error("there is no overlay {0} on the view")]
    NoSuchOverlay(OverlayId),
    /// An event that changes the view belongs to no loop, so that nothing names its overlay.
    #[error("an event that changes the view belongs to no loop")]
    OutsideLoop,
    /// A result that is shown shorter is not in the view.
    #[error("there is no result {index} in entry {entry} of the view")]
    NoSuchResult {
        /// The entry.
        entry: u64,
        /// The place in it.
        index: u32,
    },
}

impl Transcript {
    /// Makes an empty conversation.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the start of a loop on a conversation that exists already.
    #[must_use]
    pub fn from_history(history: History) -> Self {
        Self {
            view: history.clone(),
            history,
            ..Self::default()
        }
    }

    /// Makes the start of the loop that continues this conversation: view, history and surface
    /// stay, and so do the newest request and the answers that hold for the session; what belongs to
    /// one loop begins anew. Constant time.
    #[must_use]
    pub fn continued(&self) -> Self {
        Self {
            history: self.history.clone(),
            view: self.view.clone(),
            overlays: self.overlays.clone(),
            surface: self.surface.clone(),
            answers: Answers {
                sticky: self.answers.sticky.clone(),
                asked: Vec::new(),
            },
            requests: Requests {
                newest: self.requests.newest.clone(),
                grace: false,
                ..self.requests
            },
            ..Self::default()
        }
    }

    /// Folds one event in.
    ///
    /// # Errors
    /// [`IllegalEvent`] for a sequence that no machine writes; the transcript stays as it was.
    pub fn apply(&mut self, event: &Event) -> Result<(), IllegalEvent> {
        self.apply_with(event, None)
    }

    /// Folds one event in, of which [`Transcript::next_view`] may have made the view already.
    ///
    /// # Errors
    /// [`IllegalEvent`] for a sequence that no machine writes; the transcript stays as it was.
    pub fn apply_with(
        &mut self,
        event: &Event,
        next: Option<NextView>,
    ) -> Result<(), IllegalEvent> {
        // Long: one arm for each kind of event.
        match &event.kind {
            EventKind::LoopStarted(started) => self.begin(started),
            EventKind::Message(added) => self.add_message(added)?,
            EventKind::MessageQueued(MessageQueued {
                id,
                queue,
                message,
                held,
            }) => {
                let (id, message) = (id.clone(), Arc::clone(message));
                self.queue.push(Queued {
                    id,
                    queue: *queue,
                    message,
                    held: *held,
                });
            }
            EventKind::ToolStarted(started) if started.early.is_some() => {
                let (seq, at, started) = (event.seq, event.at, started.clone());
                self.early.push(EarlyCall { seq, at, started });
            }
            EventKind::ToolEnded(ended) if ended.ending == ToolEnding::Discarded => {
                let place = self
                    .early
                    .iter()
                    .position(|it| Some(it.seq) == ended.started);
                let place = place.ok_or(IllegalEvent::NoSuchCall(ended.index))?;
                self.early.remove(place);
            }
            EventKind::InputFiltered(filtered) => self.filter(filtered),
            EventKind::ApprovalRequested(asked) => {
                let asked = (event.seq, Arc::clone(&asked.call));
                self.answers.asked.push(asked);
            }
            EventKind::ApprovalResolved(resolved) => self.add_approval(resolved),
            EventKind::ToolEnded(ended) => self.add_result(ended)?,
            EventKind::SurfaceChanged(changed) => {
                self.surface.change(changed);
                self.requests.surface_tokens = EstimatedTokens.surface(&self.surface);
            }
            EventKind::TurnStarted(started) => {
                self.answers.asked.clear();
                self.turn_usage = Usage::default();
                self.requests.grace = started.trigger == TurnTrigger::Grace;
            }
            EventKind::CacheBroken(_) => self.requests.newest = None,
            EventKind::ModelStarted(started) => {
                self.requests.newest = Some(self.next_request(started.target, &started.patch));
            }
            EventKind::ModelFailed(failed) => self.add_usage(&failed.facts.usage),
            EventKind::CompactionEnded(ended) => {
                if ended.block.is_some() || !ended.pruned.is_empty() {
                    self.change_view(event, next)?;
                }
                if let Some(counted) = &ended.counted {
                    let estimated = self.requests.surface_tokens + self.view.estimated_tokens();
                    self.requests.calibration = Calibration::new(counted.after, estimated);
                }
                self.add_usage(&ended.usage);
            }
            EventKind::ContextPruned(_)
            | EventKind::ContextReverted(_)
            | EventKind::ContextRestored(_) => self.change_view(event, next)?,
            // The rest says nothing about the conversation.
            _ => {}
        }
        Ok(())
    }

    /// Returns every entry, originals of compacted ones included.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Returns what the model reads.
    #[must_use]
    pub fn view(&self) -> &History {
        &self.view
    }

    /// Returns what the model is shown besides the conversation.
    #[must_use]
    pub fn surface(&self) -> &Surface {
        &self.surface
    }

    /// Returns the newest request to a model, also of the loops before; `None` if there was none, or
    /// once a [`crate::CacheBroken`] has said that the next one does not continue it.
    #[must_use]
    pub fn sent(&self) -> Option<&Sent> {
        self.requests.newest.as_ref()
    }

    /// Makes the request that asks a model of the surface's list now.
    #[must_use]
    pub fn next_request(&self, target: u32, patch: &ModelPatch) -> Sent {
        let tokens = self.requests.surface_tokens;
        Sent::new(&self.surface, tokens, target, &self.view).changed(self.requests.grace, patch)
    }

    /// Estimates the tokens of the request that would be made now, corrected by what was reported of
    /// the requests before. Constant time.
    #[must_use]
    pub fn estimated_tokens(&self) -> u64 {
        self.estimated_tokens_of(&self.view)
    }

    /// Returns the tokens of what a model is shown besides the conversation, as
    /// [`EstimatedTokens`] counts them.
    #[must_use]
    pub fn surface_tokens(&self) -> u64 {
        self.requests.surface_tokens
    }

    /// Estimates the tokens of the request that would be made now with another view.
    #[must_use]
    pub fn estimated_tokens_of(&self, view: &History) -> u64 {
        let counted = self.requests.surface_tokens + view.estimated_tokens();
        self.requests.calibration.tokens(counted)
    }

    /// Returns what the newest report says about [`EstimatedTokens`].
    #[must_use]
    pub fn calibration(&self) -> Calibration {
        self.requests.calibration
    }

    /// Returns the first part of that request which differs from the newest one before it.
    ///
    /// The cost is linear in the entries after the last one that both share.
    #[must_use]
    pub fn cache_break(&self, target: u32, patch: &ModelPatch) -> Option<RequestPart> {
        let sent = self.requests.newest.as_ref()?;
        if !self.requests.grace && patch.is_empty() {
            return sent.first_difference(&self.surface, target, &self.view);
        }
        let next = self.next_request(target, patch);
        sent.first_difference(next.surface(), target, next.view())
    }

    /// Returns the calls of the newest assistant message, in call order, while one of them has no
    /// result; else nothing.
    #[must_use]
    pub fn open_calls(&self) -> &[OpenCall] {
        &self.open
    }

    /// Returns the calls that started early and that no message holds: those of the attempt in
    /// flight, or those that are to be discarded.
    #[must_use]
    pub fn early_calls(&self) -> &[EarlyCall] {
        &self.early
    }

    /// Returns how many calls have no result.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.unanswered
    }

    /// Returns the messages that wait, in the order of their arrival.
    #[must_use]
    pub fn queue(&self) -> &[Queued] {
        &self.queue
    }

    /// Returns the answers that hold for the whole session, so that nobody is asked again.
    #[must_use]
    pub fn sticky_answers(&self) -> &StickyAnswers {
        &self.answers.sticky
    }

    /// Returns the tokens of all attempts of this loop, failed ones, compactions and sub-agents
    /// included.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Returns the tokens of all attempts of this turn.
    #[must_use]
    pub fn turn_usage(&self) -> Usage {
        self.turn_usage
    }

    fn add_message(&mut self, added: &MessageAdded) -> Result<(), IllegalEvent> {
        if self.unanswered > 0 {
            return Err(IllegalEvent::CallsUnanswered(self.unanswered));
        }
        if let Some(id) = &added.queued {
            self.queue.retain(|queued| queued.id != *id);
        }
        match &added.message {
            Message::User(message) => self.push(Entry::User(Arc::clone(message))),
            Message::Extension(message) => self.push(Entry::Extension(Arc::clone(message))),
            Message::Assistant(message) => self.add_answer(message),
        }
        Ok(())
    }

    fn filter(&mut self, filtered: &InputFiltered) {
        let Some(id) = &filtered.queued else { return };
        let Some(place) = self.queue.iter().position(|queued| queued.id == *id) else {
            return;
        };
        let Some(queued) = self.queue.get_mut(place) else {
            return;
        };
        match &filtered.verdict {
            FilterVerdict::Passed {} => queued.held = false,
            FilterVerdict::Warned { warning } => {
                queued.held = false;
                queued.message = Arc::new(queued.message.warned(warning));
            }
            FilterVerdict::Rejected { .. } => {
                self.queue.remove(place);
            }
        }
    }

    fn add_approval(&mut self, resolved: &ApprovalResolved) {
        let asked = &mut self.answers.asked;
        let Some(place) = asked.iter().position(|(seq, _)| *seq == resolved.request) else {
            return;
        };
        let (_, call) = asked.swap_remove(place);
        if resolved.scope == AnswerScope::Session {
            self.answers.sticky.keep(&call, resolved.approval.clone());
        }
    }

    fn add_answer(&mut self, message: &Arc<AssistantMessage>) {
        self.add_usage(&message.usage);
        let reported = message
            .usage
            .input_tokens
            .map(|_| message.usage.prompt_tokens());
        if let (Some(reported), Some(sent)) = (reported, &self.requests.newest) {
            self.requests.calibration = Calibration::new(reported, sent.estimated_tokens());
        }
        // No provider accepts an answer without a part.
        if message.parts.is_empty() {
            return;
        }
        self.push(Entry::Assistant(Arc::clone(message)));
        self.open = early::open_calls(message, &mut self.early);
        self.unanswered = self.open.len();
    }

    fn add_result(&mut self, ended: &ToolEnded) -> Result<(), IllegalEvent> {
        let open = usize::try_from(ended.index)
            .ok()
            .and_then(|index| self.open.get_mut(index));
        match open {
            Some(open) if open.result.is_none() => open.result = Some(Arc::clone(&ended.result)),
            Some(_) | None => return Err(IllegalEvent::NoSuchCall(ended.index)),
        }
        self.add_usage(&ended.spent().usage);
        self.unanswered -= 1;
        if self.unanswered == 0 {
            let results = self.open.drain(..).filter_map(|open| {
                open.result.map(|result| CallResult {
                    call: open.call,
                    result,
                })
            });
            let results = results.collect();
            self.push(Entry::Results(results));
        }
        Ok(())
    }

    fn add_usage(&mut self, usage: &Usage) {
        self.usage.add(usage);
        self.turn_usage.add(usage);
    }
}
