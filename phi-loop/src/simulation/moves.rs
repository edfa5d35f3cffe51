//! The table of everything that may happen in a world.

use std::sync::Arc;

use phi_types::{
    AnswerScope, Approval, Delta, EffectId, Options, ProviderError, ProviderErrorKind, QueueId,
    SurfaceChanged, ToolProgress, ToolResult, Usage, UserMessage,
};

use super::dice::Dice;
use super::oracle::{Broken, Oracle};
use super::world::{Torn, World};
use crate::decision::{DecisionId, Verdict};
use crate::io::{Compacted, Effect, Input, ToolReport};

/// One kind of thing that may happen.
struct Row {
    name: &'static str,
    /// How often it happens, beside the others.
    weight: u64,
    act: fn(&mut World<'_>, &mut Dice) -> Result<(), Broken>,
}

/// Everything that may happen. A new kind of input is one more row; the first is the simplest.
const MOVES: &[Row] = &[
    row("settle", 160, settle),
    row("timeout", 12, timeout),
    row("steer", 5, |world, dice| queue(world, dice, Input::Steer)),
    row("follow up", 5, |world, dice| {
        queue(world, dice, Input::FollowUp)
    }),
    row("stale", 10, stale),
    row("progress", 4, progress),
    row("surface", 6, surface),
    row("prompt again", 1, |world, _| {
        world.give(prompt(1)).map(drop)
    }),
    row("continue", 1, |world, _| {
        world.give(Input::Continue).map(drop)
    }),
    row("stop", 2, |world, _| {
        world.give(Input::Stop("enough".to_owned())).map(drop)
    }),
    row("cancel", 2, |world, _| world.give(Input::Cancel).map(drop)),
    row("crash", 2, |world, _| world.restart()),
    row("crash while writing", 4, |world, dice| {
        world.torn = Some(Torn::Somewhere(dice.split()));
        Ok(())
    }),
];

const fn row(
    name: &'static str,
    weight: u64,
    act: fn(&mut World<'_>, &mut Dice) -> Result<(), Broken>,
) -> Row {
    Row { name, weight, act }
}

/// Draws a row of the table.
pub(super) fn draw(dice: &mut Dice) -> usize {
    let weights = MOVES.iter().map(|row| row.weight).sum();
    let mut roll = dice.roll(weights);
    for (place, row) in MOVES.iter().enumerate() {
        match roll.checked_sub(row.weight) {
            Some(rest) => roll = rest,
            None => return place,
        }
    }
    0
}

/// Returns the name of a row.
pub(super) fn name(row: usize) -> &'static str {
    MOVES.get(row).map_or("", |row| row.name)
}

/// Makes a prompt of so many messages.
pub(super) fn prompt(messages: u32) -> Input {
    let message = || Arc::new(UserMessage::text("Do it."));
    Input::Prompt((0..messages).map(|_| message()).collect())
}

impl World<'_> {
    /// Lets something happen.
    pub(super) fn act(&mut self, row: usize, dice: &mut Dice) -> Result<(), Broken> {
        MOVES.get(row).map_or(Ok(()), |row| (row.act)(self, dice))
    }
}

/// Something outstanding comes to its end; where nothing is, time passes.
fn settle(world: &mut World<'_>, dice: &mut Dice) -> Result<(), Broken> {
    if world.process.effects.is_empty() {
        return timeout(world, dice);
    }
    world.settle(dice)
}

/// The time of the next timeout comes; now and then somebody looks too early.
fn timeout(world: &mut World<'_>, dice: &mut Dice) -> Result<(), Broken> {
    if let Some(due) = world.process.machine.next_timeout()
        && !dice.one_in(4)
    {
        world.now = world.now.max(due);
    }
    world.give(Input::Timeout).map(drop)
}

fn queue(
    world: &mut World<'_>,
    dice: &mut Dice,
    input: fn(QueueId, Arc<UserMessage>) -> Input,
) -> Result<(), Broken> {
    if let Some(input) = context(world, dice) {
        return world.give(input).map(drop);
    }
    // Ids come again, and so does the word of a user who says nothing.
    let id = QueueId::new(&format!("q{}", dice.roll(6))).expect("the name is valid");
    let text = if dice.one_in(20) { " " } else { "wait" };
    world
        .give(input(id, Arc::new(UserMessage::text(text))))
        .map(drop)
}

/// A running tool reports progress.
fn progress(world: &mut World<'_>, _dice: &mut Dice) -> Result<(), Broken> {
    let running = world
        .process
        .effects
        .iter()
        .find_map(|effect| match effect {
            Effect::RunTool(run) => Some(run.id.clone()),
            _ => None,
        });
    let Some(effect) = running else { return Ok(()) };
    world.answer(Input::ToolProgress(
        effect,
        ToolProgress {
            text: "half".to_owned(),
        },
    ))
}

/// Where the setting wants what the model reads changed, that happens instead.
fn context(world: &World<'_>, dice: &mut Dice) -> Option<Input> {
    world
        .setting
        .context(world.process.machine.transcript(), dice)
}

fn surface(world: &mut World<'_>, dice: &mut Dice) -> Result<(), Broken> {
    if let Some(input) = context(world, dice) {
        return world.give(input).map(drop);
    }
    let surface = world.scenario.surface.clone();
    let changed = match dice.roll(5) {
        0 => SurfaceChanged {
            system: Some(Arc::from("Be quick.")),
            ..SurfaceChanged::default()
        },
        1 => SurfaceChanged {
            tools: Some(surface.tools.iter().take(2).cloned().collect()),
            ..SurfaceChanged::default()
        },
        2 => SurfaceChanged {
            options: Some(Arc::new(Options {
                temperature: Some(0.5),
                ..Options::default()
            })),
            ..SurfaceChanged::default()
        },
        3 => SurfaceChanged {
            models: Some(surface.models.iter().take(1).cloned().collect()),
            ..SurfaceChanged::default()
        },
        // The same again, elsewhere in memory.
        _ => SurfaceChanged {
            system: Some(Arc::from(&*surface.system)),
            tools: Some(surface.tools.iter().cloned().collect()),
            models: Some(surface.models),
            options: None,
        },
    };
    world.give(Input::SurfaceChanged(changed)).map(drop)
}

/// Something that is not outstanding is answered: it ended before, or never was.
fn stale(world: &mut World<'_>, dice: &mut Dice) -> Result<(), Broken> {
    if let Some(input) = context(world, dice) {
        return world.give(input).map(drop);
    }
    let machine = &world.process.machine;
    let events = u64::try_from(world.events.len()).unwrap_or(u64::MAX);
    let seq = dice.roll(events + 3);
    let loop_id = machine.loop_id().clone();
    let effect = EffectId { loop_id, seq };
    let index = u32::try_from(dice.roll(4)).unwrap_or(0);
    let outstanding = machine.outstanding();
    let is_open = |open: &Effect| match open {
        Effect::Decide(id, _) => id.seq == seq,
        open => open.id() == Some(&effect),
    };
    if outstanding.iter().any(is_open) {
        return Ok(());
    }
    let input = match dice.roll(8) {
        0 => Input::ToolEnded(effect, ToolReport::returned(ToolResult::text("stale"))),
        1 => Input::ModelEnded(effect),
        2 => Input::ModelFailed(effect, ProviderError::new(ProviderErrorKind::Server, "no")),
        3 => Input::Delta(effect, Delta::text(0, "stale")),
        4 => Input::Approval(effect, Approval::Approved {}, AnswerScope::Once),
        5 => Input::Decided(DecisionId { seq, index }, Verdict::Proceed),
        6 => Input::Compacted(effect, Compacted::default(), Usage::default()),
        _ => Input::CompactionFailed(effect, "stale".to_owned(), Usage::default()),
    };
    let taken = world.give(input)?;
    Oracle::Refusals.holds(!taken, || {
        format!("an answer to {seq} was taken and nothing was due")
    })
}
