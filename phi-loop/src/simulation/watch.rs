//! The oracles over what is written and handed out, one event or effect at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use phi_types::{
    CacheBroken, EffectClass, Event, EventKind, History, Message, RequestPart, ToolCall, ToolEnded,
    ToolEnding, ToolStarted, TranscriptChecker, Usage,
};

use super::oracle::{Broken, Oracle};
use crate::decision::Subject;
use crate::io::{CallModel, Compact, Effect};
use crate::machine::Machine;

/// What the log has come to, as whoever reads it sees it.
#[derive(Debug, Clone, Default)]
pub(super) struct Watch {
    open: Open,
    seq: u64,
    ended: bool,
    usage: Usage,
    /// How often each call that must not run twice was handed out, by the `seq` of its start.
    once: BTreeMap<u64, u32>,
    requests: Requests,
    compaction: Compaction,
    /// The fold, one event after the other.
    folded: Option<Machine>,
    /// A restore was tried at so many events before.
    pub(super) restored: usize,
}

/// What is open.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Open {
    /// Whether the loop has had its prompt and has not ended.
    pub(super) begun: bool,
    turn: bool,
    /// Whether an attempt of a model is in flight.
    pub(super) model: bool,
    /// Whether a compaction is under way.
    pub(super) compaction: bool,
    /// The calls without a result, with the start of those that run.
    calls: BTreeMap<u32, Option<(u64, EffectClass)>>,
    /// The calls of the message that were started.
    started: Vec<u32>,
    /// What the message asks for, in call order.
    asked: Vec<Arc<ToolCall>>,
    /// The calls that started before their message was there and have not ended.
    early: BTreeMap<u64, Arc<ToolCall>>,
    /// How the calls of the message ended.
    pub(super) endings: BTreeMap<u32, ToolEnding>,
}

/// What the models were sent.
#[derive(Debug, Clone, Default)]
struct Requests {
    before: Option<CallModel>,
    /// The break that was reported since the last announcement, and its `seq`.
    reported: Option<(u64, RequestPart)>,
    /// The newest announcement, with the break that was reported just before.
    announced: Option<(u64, Option<RequestPart>)>,
}

/// What compactions report.
#[derive(Debug, Clone, Default)]
struct Compaction {
    /// Entries and tokens before.
    reported: Option<(u64, u64)>,
    /// Whether what is shown besides the view has changed since.
    surface_changed: bool,
    view: History,
    laid: usize,
    taken_off: usize,
}

impl Watch {
    /// Reads the next event of the log.
    pub(super) fn written(&mut self, event: &Event) -> Result<(), Broken> {
        let here = || format!("at event {}: {:?}", event.seq, event.kind);
        Oracle::InOrder.holds(!self.ended && event.seq == self.seq + 1, here)?;
        self.seq = event.seq;
        self.once_per_turn(event)?;
        self.cache_breaks(event)?;
        self.compactions(&event.kind)?;
        match &event.kind {
            EventKind::ModelFailed(failed) => self.usage.add(&failed.facts.usage),
            EventKind::CompactionEnded(ended) => self.usage.add(&ended.usage),
            EventKind::Message(added) => {
                if let Message::Assistant(message) = &added.message {
                    self.usage.add(&message.usage);
                }
            }
            EventKind::LoopEnded(ended) => {
                self.ended = true;
                self.open.begun = false;
                Oracle::AnsweredOnce.holds(self.open == Open::default(), here)?;
                Oracle::UsageAddsUp.holds(ended.usage == self.usage, || {
                    format!("reported {:?}, summed {:?}", ended.usage, self.usage)
                })?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Turns, attempts and calls open and close in their order.
    fn once_per_turn(&mut self, event: &Event) -> Result<(), Broken> {
        let here = || format!("at event {}: {:?}", event.seq, event.kind);
        let open = &mut self.open;
        match &event.kind {
            EventKind::TurnStarted(_) => {
                Oracle::InOrder.holds(!open.turn, here)?;
                (open.turn, open.begun) = (true, true);
            }
            EventKind::TurnEnded(_) => {
                Oracle::InOrder.holds(open.turn && !open.model && !open.compaction, here)?;
                Oracle::AnsweredOnce.holds(open.calls.is_empty() && open.early.is_empty(), here)?;
                open.turn = false;
                open.started.clear();
                open.asked.clear();
                open.endings.clear();
            }
            EventKind::ModelStarted(_) => {
                Oracle::InOrder.holds(open.turn && !open.model && !open.compaction, here)?;
                Oracle::AnsweredOnce.holds(open.calls.is_empty() && open.early.is_empty(), here)?;
                open.model = true;
            }
            EventKind::ModelFailed(_) => {
                Oracle::InOrder.holds(std::mem::take(&mut open.model), here)?;
            }
            EventKind::CompactionStarted(_) => {
                Oracle::InOrder.holds(open.turn && !open.model && !open.compaction, here)?;
                open.compaction = true;
            }
            EventKind::CompactionEnded(_) => open.compaction = false,
            EventKind::Message(added) => match &added.message {
                Message::Assistant(message) => {
                    Oracle::InOrder.holds(std::mem::take(&mut open.model), here)?;
                    open.asked = message.tool_calls().map(Arc::clone).collect();
                    open.calls = (0..)
                        .zip(&open.asked)
                        .map(|(index, _)| (index, None))
                        .collect();
                }
                Message::User(_) => {
                    Oracle::AnsweredOnce.holds(open.calls.is_empty(), here)?;
                    open.begun = true;
                }
                Message::Extension(_) => {}
            },
            EventKind::ToolStarted(started) => self.tool_started(event.seq, started)?,
            EventKind::ToolEnded(ended) => self.tool_ended(ended)?,
            _ => {}
        }
        Ok(())
    }

    fn tool_started(&mut self, seq: u64, started: &ToolStarted) -> Result<(), Broken> {
        let open = &mut self.open;
        let index = started.index;
        let here = || format!("event {seq} starts call {index}");
        if started.early.is_some() {
            let fits = open.model && started.effect_class == EffectClass::Pure;
            Oracle::InOrder.holds(fits, here)?;
            open.early.insert(seq, Arc::clone(&started.call));
            return Ok(());
        }
        Oracle::AnsweredOnce.holds(open.calls.get(&index) == Some(&None), here)?;
        Oracle::StartsAtMostOnce.holds(!open.started.contains(&index), here)?;
        open.started.push(index);
        open.calls.insert(index, Some((seq, started.effect_class)));
        Ok(())
    }

    fn tool_ended(&mut self, ended: &ToolEnded) -> Result<(), Broken> {
        use ToolEnding as E;
        let here = || format!("{ended:?}");
        let early = ended.started.and_then(|seq| self.open.early.remove(&seq));
        if let Some(call) = &early {
            if ended.ending == E::Discarded {
                return Ok(());
            }
            let place = usize::try_from(ended.index).unwrap_or(usize::MAX);
            let asked = self.open.asked.get(place);
            let same = asked.is_some_and(|it| {
                (&it.name, &it.arguments, &it.id) == (&call.name, &call.arguments, &ended.call_id)
            });
            Oracle::AnsweredOnce.holds(same, here)?;
            let waiting = self.open.calls.remove(&ended.index) == Some(None);
            return Oracle::AnsweredOnce.holds(waiting, here);
        }
        let call = self.open.calls.remove(&ended.index);
        let Some(call) = call else {
            return Err(Oracle::AnsweredOnce.broken(here()));
        };
        self.open.endings.insert(ended.index, ended.ending);
        let running = call.map(|(seq, _)| seq);
        Oracle::AnsweredOnce.holds(ended.started == running, here)?;
        let fits = match ended.ending {
            E::Finished | E::Failed | E::TimedOut | E::Interrupted => running.is_some(),
            E::Discarded => false,
            E::Denied | E::Skipped => running.is_none(),
            E::Invalid | E::Cancelled => true,
        };
        Oracle::AnsweredOnce.holds(fits, here)
    }

    /// A break is reported just before the announcement of the request that it is about.
    fn cache_breaks(&mut self, event: &Event) -> Result<(), Broken> {
        let requests = &mut self.requests;
        match &event.kind {
            EventKind::CacheBroken(CacheBroken { part }) => {
                let earlier = requests.reported.replace((event.seq, *part));
                Oracle::CacheBreaks.holds(earlier.is_none(), || {
                    format!("event {} reports a second break", event.seq)
                })
            }
            EventKind::ModelStarted(_) => {
                let reported = requests.reported.take();
                requests.announced = Some((event.seq, reported.map(|(_, part)| part)));
                let near = reported.is_none_or(|(seq, _)| seq + 1 == event.seq);
                Oracle::CacheBreaks.holds(near, || {
                    format!("{reported:?} does not come just before event {}", event.seq)
                })
            }
            EventKind::Recovered(_) => {
                // The break was reported, its request was not announced: nothing to hold on to.
                if requests.reported.take().is_some() {
                    requests.before = None;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn compactions(&mut self, kind: &EventKind) -> Result<(), Broken> {
        let compaction = &mut self.compaction;
        match kind {
            EventKind::CompactionStarted(started) => {
                compaction.reported = Some((started.entries, started.tokens.unwrap_or(0)));
                compaction.surface_changed = false;
            }
            EventKind::SurfaceChanged(_) => compaction.surface_changed = true,
            EventKind::CompactionEnded(ended) if ended.error.is_none() => {
                let changed = ended.block.is_some() || !ended.pruned.is_empty();
                if !changed && ended.counted.is_none() {
                    return Ok(());
                }
                let view = &compaction.view;
                let after = view
                    .overlaid(&ended.pruned, ended.block.as_ref())
                    .map_err(|error| Oracle::Compactions.broken(error.to_string()))?;
                let len = u64::try_from(after.len()).unwrap_or(u64::MAX);
                let less = match &ended.counted {
                    Some(counted) => {
                        ended.tokens == Some(counted.after)
                            && changed == (counted.after < counted.before)
                    }
                    None => {
                        let before = compaction.reported.map(|(_, tokens)| tokens);
                        // What is shown besides may have grown while the view became smaller.
                        let fewer = compaction.surface_changed || ended.tokens <= before;
                        after.estimated_tokens() < view.estimated_tokens() && fewer
                    }
                };
                Oracle::Compactions.holds(less && len == ended.entries, || {
                    format!("{ended:?} leaves {len} entries, less {less}")
                })?;
                compaction.laid += usize::from(changed);
            }
            EventKind::ContextPruned(_) | EventKind::ContextReverted(_) => compaction.laid += 1,
            EventKind::ContextRestored(_) => compaction.taken_off += 1,
            _ => {}
        }
        Ok(())
    }

    /// Looks at what the world is asked to do, now that it is written.
    pub(super) fn handed_out(&mut self, effect: &Effect) -> Result<(), Broken> {
        match effect {
            Effect::CallModel(call) => {
                accepted(&call.request.view)?;
                self.sent(call)
            }
            Effect::RunTool(run) => {
                let seq = run.id.seq;
                if self.open.early.contains_key(&seq) {
                    return Ok(());
                }
                let mut starts = self.open.calls.values().flatten();
                let here = || format!("{} runs a call that was not started", run.id);
                let Some((_, class)) = starts.find(|(start, _)| *start == seq) else {
                    return Err(Oracle::StartsAtMostOnce.broken(here()));
                };
                if *class != EffectClass::AtMostOnce {
                    return Ok(());
                }
                let times = self.once.entry(seq).or_default();
                *times += 1;
                Oracle::StartsAtMostOnce.holds(*times == 1, || format!("{} runs twice", run.id))
            }
            Effect::Compact(compact) => self.compacting(compact),
            Effect::Decide(_, Subject::Model(request)) => accepted(&request.view),
            Effect::Decide(..) | Effect::AskApproval(_) => Ok(()),
        }
    }

    fn compacting(&mut self, compact: &Compact) -> Result<(), Broken> {
        let len = u64::try_from(compact.view.len()).unwrap_or(u64::MAX);
        let sizes = Some((len, compact.tokens_of(&compact.view)));
        self.compaction.view = compact.view.clone();
        Oracle::Compactions.holds(self.compaction.reported == sizes, || {
            format!(
                "reported {:?}, asked for {sizes:?}",
                self.compaction.reported
            )
        })
    }

    fn sent(&mut self, call: &CallModel) -> Result<(), Broken> {
        let requests = &mut self.requests;
        let expected = requests
            .before
            .as_ref()
            .and_then(|before| first_difference(before, call));
        let announced = requests.announced.take();
        requests.before = Some(call.clone());
        Oracle::CacheBreaks.holds(announced == Some((call.id.seq, expected)), || {
            format!("{} breaks {expected:?}, announced {announced:?}", call.id)
        })
    }

    /// Another process goes on with the log.
    pub(super) fn restarted(&mut self, machine: &Machine) {
        for effect in machine.outstanding() {
            match effect {
                // It was announced and perhaps never sent: the next one is held against it.
                Effect::CallModel(call) => self.requests.before = Some(*call),
                Effect::Compact(compact) => self.compaction.view = compact.view,
                Effect::RunTool(_) | Effect::AskApproval(_) | Effect::Decide(..) => {}
            }
        }
        self.requests.announced = None;
        self.folded = Some(machine.clone());
        self.restored = 0;
    }

    /// Folds the next event and holds the result against the fold of the whole log.
    pub(super) fn folds_on(&mut self, event: &Event, whole: &Machine) -> Result<(), Broken> {
        let Some(folded) = &mut self.folded else {
            self.folded = Some(whole.clone());
            return Ok(());
        };
        folded
            .fold(event)
            .map_err(|error| Oracle::FoldEqualsLive.broken(error.to_string()))?;
        Oracle::FoldEqualsLive.holds(folded == whole, || {
            format!(
                "the fold so far and the fold of all part at event {}",
                event.seq
            )
        })
    }

    pub(super) fn open(&self) -> &Open {
        &self.open
    }

    /// Returns how many overlays were laid on the view, compactions included.
    pub(super) fn laid(&self) -> usize {
        self.compaction.laid
    }

    /// Returns how many of them were taken off.
    pub(super) fn taken_off(&self) -> usize {
        self.compaction.taken_off
    }
}

impl Open {
    /// Iterates over the calls that a crash leaves without a known end.
    pub(super) fn lost(&self) -> impl Iterator<Item = u32> {
        let calls = self.calls.iter();
        calls.filter_map(|(index, running)| match running {
            Some((_, EffectClass::AtMostOnce)) => Some(*index),
            _ => None,
        })
    }

    /// Says whether the call that was started there must not run again.
    pub(super) fn is_lost(&self, seq: u64) -> bool {
        let mut running = self.calls.values().flatten();
        running.any(|it| *it == (seq, EffectClass::AtMostOnce))
    }
}

/// Checks that providers accept a request with this view.
fn accepted(view: &History) -> Result<(), Broken> {
    let mut checker = TranscriptChecker::default();
    for entry in view.entries() {
        checker.push(entry).map_err(|fault| refused(&fault))?;
    }
    checker.end_of_request().map_err(|fault| refused(&fault))
}

fn refused(fault: &phi_types::TranscriptFault) -> Broken {
    Oracle::TranscriptAccepted.broken(fault.to_string())
}

/// Finds what a request changes of the one before it; nothing if it continues it.
fn first_difference(before: &CallModel, after: &CallModel) -> Option<RequestPart> {
    let (was, is) = (&before.request, &after.request);
    if before.target != after.target {
        return Some(RequestPart::Model {});
    }
    if was.tools != is.tools {
        return Some(RequestPart::Tools {});
    }
    if was.system != is.system {
        return Some(RequestPart::System {});
    }
    if was.options != is.options {
        return Some(RequestPart::Options {});
    }
    let (was, is) = (was.view.entries(), is.view.entries());
    let same = was.iter().zip(&is).take_while(|(a, b)| a == b).count();
    let index = u64::try_from(same).unwrap_or(u64::MAX);
    (same < was.len()).then_some(RequestPart::Entry { index })
}
