//! What a model was asked in one attempt, and which event put each block of it there.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use phi_types::{
    EffectId, EstimatedTokens, Event, EventKind, LoopId, ModelStarted, Request, Sent, Surface,
    SurfaceChanged, Target, TokenCounter, Transcript, TurnTrigger,
};

use crate::digest::request_digest;
use crate::state::{IllegalSequence, State};

mod origins;

use origins::Origins;

/// The exact request of one attempt, with the origin of every block.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestRecord {
    /// The attempt: its loop, and the `seq` of its [`ModelStarted`].
    pub attempt: EffectId,
    /// The model.
    pub target: Target,
    /// What it was asked.
    pub request: Request,
    /// The hash over the whole request, as the log holds it.
    pub digest: u64,
    /// The blocks in the order in which providers cache: tools, system, options, the view.
    pub blocks: Vec<RequestBlock>,
}

/// A block of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestBlock {
    /// Which.
    pub what: BlockKind,
    /// Where it comes from.
    pub origin: BlockOrigin,
    /// Its tokens, as [`EstimatedTokens`] counts them.
    pub tokens: u64,
}

/// Which block of a request it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    /// The tools.
    Tools,
    /// The system prompt.
    System,
    /// The options, with the form of the answer.
    Options,
    /// An entry of the view, from 0.
    Entry(usize),
}

/// Where a block of a request comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockOrigin {
    /// The message, the results in call order, or the change of the surface that holds it.
    Events(Vec<EventId>),
    /// Something that made the view smaller or other than the history.
    Overlay {
        /// The event that says so.
        event: EventId,
        /// Where what it stands for comes from.
        stands_for: Vec<Self>,
    },
    /// A hook, which changed this call alone.
    Patch(EventId),
    /// The grace turn, which has no tools.
    Grace(EventId),
}

/// Names an event of a loop.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EventId {
    /// The loop.
    pub loop_id: LoopId,
    /// Its `seq` there.
    pub seq: u64,
}

/// Says why there is no record of a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRequest {
    /// The events hold no such attempt.
    #[error("the events hold no model_started under {attempt}: give those of the whole session")]
    Unknown {
        /// What was asked for.
        attempt: EffectId,
    },
    /// A loop is not one that a loop wrote.
    #[error("loop {loop_id} is not a log of a loop: {source}")]
    Illegal {
        /// The loop.
        loop_id: LoopId,
        /// What is wrong with it.
        source: IllegalSequence,
    },
    /// The request that the events lead to is not the one that was sent.
    #[error(
        "the events before {attempt} lead to another request than was sent: the log was altered"
    )]
    Altered {
        /// The attempt.
        attempt: EffectId,
    },
}

/// Makes the record of a request out of the events of its session, in the order of the log.
///
/// It folds the loop and those that it continues, so it costs what a restore of them costs.
///
/// # Errors
/// [`NoRequest`] where the events hold no such attempt, or were altered.
pub fn request_record(events: &[Event], attempt: &EffectId) -> Result<RequestRecord, NoRequest> {
    let unknown = || NoRequest::Unknown {
        attempt: attempt.clone(),
    };
    let mut folded = Folded::default();
    let chain = chain(events, &attempt.loop_id);
    for loop_id in &chain {
        let own = events
            .iter()
            .filter(|it| it.loop_id.as_ref() == Some(loop_id));
        let mut own = own.peekable();
        let session = own.peek().ok_or_else(unknown)?.session.clone();
        let before = folded.transcript.continued();
        let mut state = State::new(session, loop_id.clone(), before);
        for event in own {
            let asked = *loop_id == attempt.loop_id && event.seq == attempt.seq;
            if let (true, EventKind::ModelStarted(started)) = (asked, &event.kind) {
                return folded.record(&mut state, (event, started), attempt);
            }
            folded.apply(&mut state, event)?;
        }
        folded.transcript = state.transcript;
    }
    Err(unknown())
}

/// The loops that a loop continues, the oldest first, and itself.
fn chain(events: &[Event], last: &LoopId) -> Vec<LoopId> {
    let started = events.iter().filter_map(|event| match &event.kind {
        EventKind::LoopStarted(started) => Some((event.loop_id.as_ref()?, started.parent.as_ref())),
        _ => None,
    });
    let parents: HashMap<&LoopId, Option<&LoopId>> = started.collect();
    let (mut chain, mut seen) = (Vec::new(), HashSet::new());
    let mut next = Some(last);
    while let Some(loop_id) = next.filter(|it| parents.contains_key(it) && seen.insert(*it)) {
        chain.push(loop_id.clone());
        next = parents.get(loop_id).copied().flatten();
    }
    chain.reverse();
    chain
}

/// Where everything comes from that the next request would hold.
#[derive(Default)]
struct Folded {
    /// The conversation after the loops before.
    transcript: Transcript,
    system: Vec<EventId>,
    tools: Vec<EventId>,
    options: Vec<EventId>,
    origins: Origins,
    /// The grace turn that is under way.
    grace: Option<EventId>,
}

impl Folded {
    fn apply(&mut self, state: &mut State, event: &Event) -> Result<(), NoRequest> {
        let id = EventId::of(event, state);
        match &event.kind {
            EventKind::LoopStarted(_) => self.grace = None,
            EventKind::SurfaceChanged(changed) => self.change_surface(changed, &id),
            EventKind::TurnStarted(started) => {
                let grace = started.trigger == TurnTrigger::Grace;
                self.grace = grace.then(|| id.clone());
            }
            _ => {}
        }
        self.origins.before(&event.kind, &id);
        let before = state.transcript.view().clone();
        state.apply(event).map_err(|source| NoRequest::Illegal {
            loop_id: id.loop_id.clone(),
            source,
        })?;
        self.origins.after(&before, &state.transcript, (event, &id));
        Ok(())
    }

    fn change_surface(&mut self, changed: &SurfaceChanged, id: &EventId) {
        let parts = [
            (changed.system.is_some(), &mut self.system),
            (changed.tools.is_some(), &mut self.tools),
            (changed.options.is_some(), &mut self.options),
        ];
        for (_, origin) in parts.into_iter().filter(|(changed, _)| *changed) {
            *origin = vec![id.clone()];
        }
    }

    fn record(
        self,
        state: &mut State,
        (event, started): (&Event, &ModelStarted),
        attempt: &EffectId,
    ) -> Result<RequestRecord, NoRequest> {
        let altered = || NoRequest::Altered {
            attempt: attempt.clone(),
        };
        let digest = request_digest(state, started.target, &started.patch);
        if digest != started.request_digest {
            return Err(altered());
        }
        let id = EventId::of(event, state);
        let loop_id = id.loop_id.clone();
        let applied = state.apply(event);
        applied.map_err(|source| NoRequest::Illegal { loop_id, source })?;
        let sent = state.transcript.sent().ok_or_else(altered)?;
        Ok(RequestRecord {
            attempt: attempt.clone(),
            target: sent.target().ok_or_else(altered)?.clone(),
            request: sent.request(&state.session).ok_or_else(altered)?,
            digest,
            blocks: self.blocks(sent, started, &id),
        })
    }

    fn blocks(self, sent: &Sent, started: &ModelStarted, id: &EventId) -> Vec<RequestBlock> {
        let (surface, patch) = (sent.surface(), &started.patch);
        let patched = |is_patched: bool, origin: Vec<EventId>| match is_patched {
            true => BlockOrigin::Patch(id.clone()),
            false => BlockOrigin::Events(origin),
        };
        let tools = match self.grace {
            Some(turn) => BlockOrigin::Grace(turn),
            None => patched(patch.tools.is_some(), self.tools),
        };
        let with = |what, origin, part: Surface| RequestBlock {
            what,
            origin,
            tokens: EstimatedTokens.surface(&part),
        };
        let part = Surface::default;
        let mut blocks = vec![
            with(
                BlockKind::Tools,
                tools,
                Surface {
                    tools: Arc::clone(&surface.tools),
                    ..part()
                },
            ),
            with(
                BlockKind::System,
                patched(patch.system.is_some(), self.system),
                Surface {
                    system: Arc::clone(&surface.system),
                    ..part()
                },
            ),
            with(
                BlockKind::Options,
                patched(patch.options.is_some(), self.options),
                Surface {
                    options: Arc::clone(&surface.options),
                    ..part()
                },
            ),
        ];
        let patches = std::iter::repeat(BlockOrigin::Patch(id.clone()));
        let origins = self.origins.entries().into_iter().chain(patches);
        let tokens = sent.view().estimated_tokens_by_entry();
        let entries = tokens.into_iter().zip(origins).enumerate();
        blocks.extend(entries.map(|(at, (tokens, origin))| RequestBlock {
            what: BlockKind::Entry(at),
            origin,
            tokens,
        }));
        blocks
    }
}

impl EventId {
    fn of(event: &Event, state: &State) -> Self {
        Self {
            loop_id: state.loop_id.clone(),
            seq: event.seq,
        }
    }
}
