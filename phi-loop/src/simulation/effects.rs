//! How each effect comes to its end, in one of many ways.

use std::collections::VecDeque;
use std::sync::Arc;

use phi_types::{
    AnswerScope, Approval, CompactionBlock, CountedTokens, Delta, EffectId, Entry, History,
    ProviderError, ProviderErrorKind, PrunedResult, StopReason, ToolResult, Usage, UserMessage,
};

use super::dice::Dice;
use super::oracle::Broken;
use super::world::World;
use crate::io::{Compact, Compacted, Effect, Input};

/// What a model has still to say.
#[derive(Debug, Clone)]
pub(super) struct Speech {
    pub(super) effect: EffectId,
    deltas: VecDeque<Delta>,
    /// The error that ends it, if one does.
    error: Option<ProviderError>,
}

/// How a model's stream may fail. The first is the simplest.
const FAILURES: [ProviderErrorKind; 6] = [
    ProviderErrorKind::Network,
    ProviderErrorKind::RateLimited,
    ProviderErrorKind::Overloaded,
    ProviderErrorKind::Auth,
    ProviderErrorKind::ContextOverflow,
    ProviderErrorKind::Server,
];

/// Why a model may stop. The first is the simplest; the others come seldom.
const STOPS: [StopReason; 6] = [
    StopReason::ToolUse,
    StopReason::MaxTokens,
    StopReason::PauseTurn,
    StopReason::ContextWindow,
    StopReason::Other,
    StopReason::Refusal,
];

impl World<'_> {
    /// Answers one of the effects that were handed out, or lets the model say more.
    pub(super) fn settle(&mut self, dice: &mut Dice) -> Result<(), Broken> {
        let place = dice.place(self.process.effects.len());
        if let Some(Effect::CallModel(call)) = self.process.effects.get(place) {
            let effect = call.id.clone();
            return self.speak(&effect, dice);
        }
        match self.process.take(place) {
            None | Some(Effect::CallModel(_)) => Ok(()),
            Some(Effect::RunTool(run)) => {
                let report = self.setting.report(&run, dice);
                self.answer(Input::ToolEnded(run.id, report))
            }
            Some(Effect::Compact(compact)) => self.compact(*compact, dice),
            Some(Effect::AskApproval(ask)) => {
                let approval = if dice.one_in(2) {
                    let reason = "no".to_owned();
                    Approval::Denied { reason }
                } else {
                    Approval::Approved {}
                };
                let scope = if dice.one_in(3) {
                    AnswerScope::Session
                } else {
                    AnswerScope::Once
                };
                self.answer(Input::Approval(ask.id, approval, scope))
            }
            Some(Effect::Decide(id, subject)) => {
                let verdict = self.setting.verdict(&subject, dice);
                self.answer(Input::Decided(id, verdict))
            }
        }
    }

    /// The model says some of its answer, or all of it.
    fn speak(&mut self, effect: &EffectId, dice: &mut Dice) -> Result<(), Broken> {
        if self.process.speech.is_none() {
            self.process.speech = Some(self.reply(effect, dice));
        }
        let mut pauses = dice.one_in(3).then(|| dice.roll(4));
        loop {
            let Some(speech) = &mut self.process.speech else {
                return Ok(());
            };
            if speech.deltas.is_empty() {
                break;
            }
            match &mut pauses {
                Some(0) => return Ok(()),
                Some(left) => *left -= 1,
                None => {}
            }
            if let Some(delta) = speech.deltas.pop_front() {
                self.answer(Input::Delta(effect.clone(), delta))?;
            }
        }
        self.process
            .effects
            .retain(|open| open.id() != Some(effect));
        let error = self.process.speech.take().and_then(|speech| speech.error);
        self.answer(match error {
            Some(error) => Input::ModelFailed(effect.clone(), error),
            None => Input::ModelEnded(effect.clone()),
        })
    }

    /// Makes up an answer; plain dice say that the work is done.
    fn reply(&self, effect: &EffectId, dice: &mut Dice) -> Speech {
        let mut deltas = VecDeque::new();
        let mut part = 0;
        if dice.one_in(2) {
            deltas.push_back(Delta::thinking(part, "hm"));
            part += 1;
        }
        if !dice.one_in(2) {
            deltas.push_back(Delta::text(part, "some text"));
            part += 1;
        }
        for _ in 0..dice.roll(5) {
            self.reply_call(part, dice, &mut deltas);
            part += 1;
        }
        deltas.push_back(Delta::Usage(Usage {
            input_tokens: Some(10),
            output_tokens: dice.one_in(2).then_some(3),
            ..Usage::default()
        }));
        let stop = if dice.one_in(4) {
            dice.pick(&STOPS).copied()
        } else {
            None
        };
        deltas.push_back(Delta::finish(stop.unwrap_or(STOPS[0])));
        let mut error = None;
        if dice.one_in(4) {
            // The stream is cut, with a word about it or without.
            deltas.truncate(dice.place(deltas.len()));
            error = (!dice.one_in(4)).then(|| self.failure(dice));
        }
        Speech {
            effect: effect.clone(),
            deltas,
            error,
        }
    }

    fn reply_call(&self, part: u32, dice: &mut Dice, deltas: &mut VecDeque<Delta>) {
        let tools = &self.scenario.surface.tools;
        let known = dice.pick(tools).filter(|_| !dice.one_in(6));
        let name = known.map_or("unknown", |spec| &spec.name);
        // Models repeat the ids of their calls.
        deltas.push_back(Delta::tool_call(part, format!("c{}", dice.roll(2)), name));
        let arguments = self.setting.arguments(name, dice);
        deltas.push_back(Delta::arguments(part, arguments));
        if !dice.one_in(5) {
            deltas.push_back(Delta::part_ended(part));
        }
    }

    fn failure(&self, dice: &mut Dice) -> ProviderError {
        let kind = dice.pick(&FAILURES).copied().unwrap_or(FAILURES[0]);
        let mut error = ProviderError::new(kind, "no");
        if dice.one_in(3) {
            error.retry_after_ms = Some(dice.roll(1_500));
        }
        error
    }

    fn compact(&mut self, compact: Compact, dice: &mut Dice) -> Result<(), Broken> {
        let usage = Usage {
            input_tokens: Some(3),
            ..Usage::default()
        };
        if !dice.one_in(4) && dice.rolls_left() > 0 {
            let len = u64::try_from(compact.view.len()).unwrap_or(u64::MAX);
            let pruned = pruned(&compact.view, dice);
            let block = dice.one_in(2).then(|| CompactionBlock {
                first: 1 + dice.roll(3),
                count: dice.roll(len + 2),
                replacement: vec![Arc::new(UserMessage::text("before"))],
            });
            let counted = dice.one_in(3).then(|| counted(dice));
            let compacted = Compacted {
                pruned,
                block,
                counted,
            };
            return self.answer(Input::Compacted(compact.id, compacted, usage));
        }
        let reason = "nothing to leave out".to_owned();
        self.answer(Input::CompactionFailed(compact.id, reason, usage))
    }
}

/// What an exact counter counts, which need not be what was estimated.
fn counted(dice: &mut Dice) -> CountedTokens {
    let before = dice.roll(2_000);
    let after = if dice.one_in(3) {
        before
    } else {
        dice.roll(2_000)
    };
    CountedTokens { before, after }
}

/// Some results of the view, shorter; now and then a place where there is none.
fn pruned(view: &History, dice: &mut Dice) -> Vec<PrunedResult> {
    let mut pruned = Vec::new();
    for (entry, kept) in (0..).zip(view.entries()) {
        let results = match kept {
            Entry::Results(results) => results.len(),
            Entry::User(_) | Entry::Assistant(_) | Entry::Extension(_) => {
                usize::from(dice.one_in(40))
            }
        };
        for index in 0..u32::try_from(results).unwrap_or(0) {
            if dice.one_in(2) {
                let result = Arc::new(ToolResult::default());
                pruned.push(PrunedResult {
                    entry,
                    index,
                    result,
                });
            }
        }
    }
    pruned
}
