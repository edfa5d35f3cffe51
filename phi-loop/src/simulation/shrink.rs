//! A scenario that breaks a promise is made smaller while it still does.

use phi_types::{Configuration, Transcript};

use super::dice::Dice;
use super::oracle::Broken;
use super::run::play;
use super::scenario::Scenario;
use super::setting::Setting;

/// The most scenarios that are tried.
const TRIES_MAX: u32 = 10_000;

/// The moves that are dropped together with a part.
const MOVES_MAX: usize = 16;

/// The rolls of a move that are looked at one by one.
const ROLLS_MAX: u32 = 40;

/// Makes a scenario smaller while it breaks the same promise.
pub(super) fn shrunk(
    setting: &dyn Setting,
    scenario: Scenario,
    broken: Broken,
) -> (Scenario, Broken) {
    let mut shrinking = Shrinking {
        setting,
        best: scenario,
        broken,
        tries: 0,
    };
    while shrinking.round() {}
    (shrinking.best, shrinking.broken)
}

struct Shrinking<'a> {
    setting: &'a dyn Setting,
    best: Scenario,
    broken: Broken,
    tries: u32,
}

impl Shrinking<'_> {
    /// Tries everything once; says whether anything became smaller.
    fn round(&mut self) -> bool {
        let moves = self.drop_moves();
        let parts = self.plain_parts();
        let dice = self.plain_moves();
        moves || parts || dice
    }

    /// Takes a scenario that breaks the same promise.
    fn take_if(&mut self, change: impl FnOnce(&mut Scenario)) -> bool {
        if self.tries >= TRIES_MAX {
            return false;
        }
        self.tries += 1;
        let mut smaller = self.best.clone();
        change(&mut smaller);
        match play(self.setting, &smaller) {
            Err(broken) if broken.oracle == self.broken.oracle => {
                (self.best, self.broken) = (smaller, broken);
                true
            }
            Ok(_) | Err(_) => false,
        }
    }

    /// Makes a part plain, by itself or together with a move that is then one too many.
    fn take_part(&mut self, change: impl Fn(&mut Scenario)) -> bool {
        if self.take_if(&change) {
            return true;
        }
        let moves = self.best.moves.len().min(MOVES_MAX);
        (0..moves).any(|place| {
            self.take_if(|it| {
                change(it);
                it.moves.remove(place);
            })
        })
    }

    /// Drops halves, quarters, and so on down to single moves, the last ones first.
    fn drop_moves(&mut self) -> bool {
        let mut smaller = false;
        let mut chunk = self.best.moves.len();
        while chunk > 0 {
            let mut end = self.best.moves.len();
            while end > 0 {
                let start = end.saturating_sub(chunk);
                smaller |= self.take_if(|it| drop(it.moves.drain(start..end)));
                end = start.min(self.best.moves.len());
            }
            chunk /= 2;
        }
        smaller
    }

    /// Gives every part of the world its simplest form.
    fn plain_parts(&mut self) -> bool {
        let plain = self.setting.configuration(&mut Dice::plain());
        let surface = self.setting.surface(&mut Dice::plain());
        let mut smaller = false;
        for part in PARTS {
            let mut reduced = self.best.configuration.clone();
            part(&mut reduced, &plain);
            if reduced != self.best.configuration {
                smaller |= self.take_part(|it| it.configuration = reduced.clone());
            }
        }
        for point in self.best.configuration.points.clone() {
            if plain.points.contains(&point) {
                continue;
            }
            smaller |= self.take_part(|it| it.configuration.points.retain(|at| *at != point));
        }
        if self.best.surface != surface {
            smaller |= self.take_if(|it| it.surface = surface);
        }
        if !self.best.before.view().is_empty() {
            smaller |= self.take_if(|it| it.before = Transcript::new());
        }
        if !self.best.changes.is_empty() {
            smaller |= self.take_if(|it| it.changes.clear());
        }
        if !self.best.claims.is_empty() {
            smaller |= self.take_if(|it| it.claims.clear());
        }
        if self.best.prompts > 1 {
            smaller |= self.take_if(|it| it.prompts = 1);
        }
        if self.best.crash_after.is_some() {
            smaller |= self.take_if(|it| it.crash_after = None);
        }
        smaller
    }

    /// Takes waits and choices away from single moves.
    fn plain_moves(&mut self) -> bool {
        let mut smaller = false;
        for place in 0..self.best.moves.len() {
            let Some(one) = self.best.moves.get(place).cloned() else {
                break;
            };
            if one.wait_ms > 0 {
                smaller |= self.take_if(|it| {
                    if let Some(one) = it.moves.get_mut(place) {
                        one.wait_ms = 0;
                    }
                });
            }
            let most = one.dice.rolls_left().min(ROLLS_MAX);
            smaller |= (0..most).any(|rolls| self.with_dice(place, one.dice.with_rolls(rolls)));
            for roll in 0..ROLLS_MAX {
                let dice = self.best.moves.get(place).map(|it| &it.dice);
                let dice = dice.filter(|it| roll < it.rolls_left());
                if let Some(dice) = dice.and_then(|it| it.with_zero(roll)) {
                    smaller |= self.with_dice(place, dice);
                }
            }
        }
        smaller
    }

    fn with_dice(&mut self, place: usize, dice: Dice) -> bool {
        self.take_if(|it| {
            if let Some(one) = it.moves.get_mut(place) {
                one.dice = dice;
            }
        })
    }
}

/// The parts of a policy, each taken from the simplest one.
const PARTS: &[fn(&mut Configuration, &Configuration)] = &[
    |it, plain| it.limits.turns = plain.limits.turns,
    |it, plain| it.limits.tokens = plain.limits.tokens,
    |it, plain| it.limits.cost_usd = plain.limits.cost_usd,
    |it, plain| it.limits.wall_time_ms = plain.limits.wall_time_ms,
    |it, plain| it.limits.tool_calls = plain.limits.tool_calls,
    |it, plain| it.limits.identical_calls = plain.limits.identical_calls,
    |it, plain| it.retry = plain.retry,
    |it, plain| it.tools.execution = plain.tools.execution,
    |it, plain| it.tools.timeout_ms = plain.tools.timeout_ms,
    |it, plain| it.tools.early_start = plain.tools.early_start,
    |it, plain| it.grace_turn = plain.grace_turn,
    |it, plain| it.compaction = plain.compaction,
    |it, plain| it.exact_count = plain.exact_count,
    |it, plain| it.compact_at = plain.compact_at,
    |it, plain| it.queues = plain.queues,
    |it, plain| it.tags = plain.tags,
    |it, plain| it.seed = plain.seed,
];
