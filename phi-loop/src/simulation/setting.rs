//! What a world is made of: a policy, tools, and what they do.

use std::sync::Arc;

use phi_types::{
    CompactAt, Configuration, Delivery, EffectClass, Event, Identity, LimitKind, Limits,
    ModelPatch, Point, QueuePolicy, RawJson, RetryPolicy, Surface, Target, ToolEnding,
    ToolExecution, ToolKind, ToolPolicy, ToolResult, ToolSpec, Transcript, UserMessage,
};

use super::dice::Dice;
use super::scenario::any_before;
use crate::decision::{Subject, Verdict};
use crate::io::{Input, RunTool, ToolReport};
use crate::machine::Machine;

/// What a world is made of. Every method has a default: any policy, any tools, any behaviour.
///
/// A method that rolls the dice gives another world for each seed; 0 is the simplest choice
/// everywhere, so that a scenario can be made smaller.
pub trait Setting: Sync {
    /// Returns the policy of the loop.
    fn configuration(&self, dice: &mut Dice) -> Configuration {
        any_configuration(dice)
    }

    /// Returns what the model is shown: tools with their effect classes, at least one model.
    fn surface(&self, _dice: &mut Dice) -> Surface {
        any_surface()
    }

    /// Returns the conversation that the loop continues.
    fn before(&self, dice: &mut Dice) -> Transcript {
        any_before(dice)
    }

    /// Returns the arguments with which the model calls a tool, as the text that it streams.
    fn arguments(&self, _tool: &str, dice: &mut Dice) -> String {
        match dice.roll(9) {
            7 => String::new(),
            8 => "{\"n\":".to_owned(),
            n => format!("{{\"n\":{}}}", n / 4),
        }
    }

    /// Returns how a tool call ended.
    fn report(&self, _run: &RunTool, dice: &mut Dice) -> ToolReport {
        let row = dice.place(REPORTS.len());
        let (ending, text) = REPORTS.get(row).copied().unwrap_or(REPORTS[0]);
        ToolReport {
            ending,
            ..ToolReport::returned(ToolResult::text(text))
        }
    }

    /// Returns what the caller wants changed in what the model reads: [`Input::Change`] or
    /// [`Input::Restore`]. It is asked now and then in the place of another move; `None` wants nothing.
    fn context(&self, _transcript: &Transcript, _dice: &mut Dice) -> Option<Input> {
        None
    }

    /// Returns what the hooks decide where the policy claims a point.
    fn verdict(&self, subject: &Subject, dice: &mut Dice) -> Verdict {
        let fits = VERDICTS.iter().filter(|(fits, ..)| fits(subject));
        let weights = fits.clone().map(|(_, weight, _)| weight).sum();
        let mut roll = dice.roll(weights);
        for (_, weight, make) in fits {
            match roll.checked_sub(*weight) {
                Some(rest) => roll = rest,
                None => return make(dice),
            }
        }
        Verdict::Proceed
    }

    /// Checks what must hold of every log and machine at the end of a world.
    ///
    /// # Errors
    /// What does not hold, for a person.
    fn check(&self, _events: &[Event], _machine: &Machine) -> Result<(), String> {
        Ok(())
    }
}

impl<S: Setting> Setting for &S {
    fn configuration(&self, dice: &mut Dice) -> Configuration {
        (**self).configuration(dice)
    }

    fn surface(&self, dice: &mut Dice) -> Surface {
        (**self).surface(dice)
    }

    fn before(&self, dice: &mut Dice) -> Transcript {
        (**self).before(dice)
    }

    fn arguments(&self, tool: &str, dice: &mut Dice) -> String {
        (**self).arguments(tool, dice)
    }

    fn context(&self, transcript: &Transcript, dice: &mut Dice) -> Option<Input> {
        (**self).context(transcript, dice)
    }

    fn report(&self, run: &RunTool, dice: &mut Dice) -> ToolReport {
        (**self).report(run, dice)
    }

    fn verdict(&self, subject: &Subject, dice: &mut Dice) -> Verdict {
        (**self).verdict(subject, dice)
    }

    fn check(&self, events: &[Event], machine: &Machine) -> Result<(), String> {
        (**self).check(events, machine)
    }
}

/// The setting that comes with phi: any policy, any tools, any behaviour.
#[derive(Debug, Clone, Copy, Default)]
pub struct Anything;

impl Setting for Anything {}

/// How tools end. The first is the simplest.
const REPORTS: [(ToolEnding, &str); 6] = [
    (ToolEnding::Finished, "ok"),
    (ToolEnding::Finished, "done at last"),
    (ToolEnding::Finished, ""),
    (ToolEnding::Failed, "it broke"),
    (ToolEnding::Failed, "the tool panicked"),
    (ToolEnding::Invalid, "n is missing"),
];

/// One thing that hooks may decide: about what, how often, and the verdict.
type VerdictRow = (fn(&Subject) -> bool, u64, fn(&mut Dice) -> Verdict);

/// What hooks decide. A new verdict is one more row; the first that fits is the simplest.
const VERDICTS: &[VerdictRow] = &[
    (|_| true, 6, |_| Verdict::Proceed),
    (is_tool, 1, |_| deny("not this")),
    (is_tool, 1, |_| ask(None)),
    (is_tool, 1, |_| ask(Some(object("{\"n\":9}")))),
    (is_tool, 1, |_| Verdict::Rewrite(object("{\"n\":7}"))),
    (is_tool, 1, |_| Verdict::Rewrite(object("[7]"))),
    (is_tool, 1, |_| fail()),
    (is_compaction, 3, |_| deny("not now")),
    (is_compaction, 1, |_| fail()),
    (is_compaction, 1, |_| no_room()),
    (is_model, 1, patch),
    (is_model, 1, |dice| unless(dice, |_| deny("no"))),
    (is_model, 1, |dice| unless(dice, |_| fail())),
    (is_model, 1, |dice| unless(dice, |_| no_room())),
    (is_tool, 1, |dice| unless(dice, |_| no_room())),
    (is_input, 2, |_| warn("be careful")),
    (is_input, 1, |_| deny("not in here")),
    (is_input, 1, |_| fail()),
    (is_gate, 1, |dice| unless(dice, |_| deny("no turn"))),
    (is_gate, 1, |dice| unless(dice, |_| fail())),
    (is_end, 2, go_on),
    (is_end, 1, |dice| unless(dice, |_| fail())),
];

fn is_tool(subject: &Subject) -> bool {
    matches!(subject, Subject::Tool(_))
}

fn is_compaction(subject: &Subject) -> bool {
    matches!(subject, Subject::Compaction(_))
}

fn is_input(subject: &Subject) -> bool {
    matches!(subject, Subject::Input(_))
}

fn is_gate(subject: &Subject) -> bool {
    matches!(subject, Subject::Loop(_) | Subject::Turn(_))
}

fn is_end(subject: &Subject) -> bool {
    matches!(subject, Subject::End(_))
}

fn is_model(subject: &Subject) -> bool {
    matches!(subject, Subject::Model(_))
}

fn deny(reason: &str) -> Verdict {
    let reason = reason.to_owned();
    Verdict::Deny { reason }
}

fn no_room() -> Verdict {
    let limit = LimitKind::Tokens;
    Verdict::Limit { limit }
}

fn warn(warning: &str) -> Verdict {
    let warning = warning.to_owned();
    Verdict::Warn { warning }
}

/// A hook has more to say, now and then nothing that can be said.
fn go_on(dice: &mut Dice) -> Verdict {
    let texts = match dice.roll(6) {
        0..4 => &["not yet"][..],
        4 => &["not yet", "look again"],
        _ => &[" "],
    };
    let message = |text: &&str| Arc::new(UserMessage::text(*text));
    Verdict::Continue(texts.iter().map(message).collect())
}

fn fail() -> Verdict {
    let reason = "the hook broke".to_owned();
    Verdict::Fail { reason }
}

fn ask(arguments: Option<RawJson>) -> Verdict {
    let question = "May it?".to_owned();
    Verdict::Ask {
        question,
        arguments,
    }
}

fn patch(dice: &mut Dice) -> Verdict {
    let hurry = || vec![Arc::new(UserMessage::text("and hurry"))];
    Verdict::Patch(ModelPatch {
        tools: dice.one_in(2).then(|| vec![Arc::from("pure")]),
        messages: if dice.one_in(2) { hurry() } else { Vec::new() },
        ..ModelPatch::default()
    })
}

/// What ends a loop is decided less often.
fn unless(dice: &mut Dice, then: fn(&mut Dice) -> Verdict) -> Verdict {
    if dice.one_in(5) {
        return then(dice);
    }
    Verdict::Proceed
}

fn object(text: &str) -> RawJson {
    RawJson::parse(text).unwrap_or_else(|_| RawJson::empty_object())
}

/// Makes any policy: limits near and far, every way to run tools, hooks here and there.
#[must_use]
pub fn any_configuration(dice: &mut Dice) -> Configuration {
    const POINTS: [Point; 7] = [
        Point::FilterInput,
        Point::BeforeLoop,
        Point::BeforeTurn,
        Point::BeforeModel,
        Point::BeforeTool,
        Point::BeforeCompaction,
        Point::BeforeEnd,
    ];
    let execution = match dice.roll(4) {
        0 => ToolExecution::Sequential,
        1 => ToolExecution::Parallel { max: 16 },
        2 => ToolExecution::Parallel { max: 2 },
        _ => ToolExecution::Batched { size: 2 },
    };
    let turns = u32::try_from(9 - dice.roll(8)).unwrap_or(9);
    Configuration {
        limits: Limits {
            turns: Some(turns),
            tokens: dice.one_in(6).then(|| 40 + dice.roll(100)),
            wall_time_ms: dice.one_in(6).then(|| 500 + dice.roll(5_000)),
            tool_calls: dice.one_in(6).then_some(4),
            identical_calls: dice.one_in(4).then(|| 1 + u32::from(dice.one_in(2))),
            ..Limits::default()
        },
        retry: RetryPolicy {
            attempts_max: 3,
            wait_first_ms: 100,
            wait_max_ms: 1_000,
        },
        tools: ToolPolicy {
            execution,
            timeout_ms: dice.one_in(2).then_some(400),
            early_start: dice.one_in(2),
        },
        grace_turn: dice.one_in(3),
        compaction: dice.one_in(2),
        exact_count: dice.one_in(3),
        compact_at: dice.one_in(2).then(|| CompactAt::Tokens(8 + dice.roll(12))),
        queues: QueuePolicy {
            steering: any_delivery(dice),
            follow_up: any_delivery(dice),
        },
        points: POINTS.into_iter().filter(|_| dice.one_in(3)).collect(),
        seed: dice.roll(1_000),
        ..Configuration::default()
    }
}

fn any_delivery(dice: &mut Dice) -> Delivery {
    if dice.one_in(2) {
        Delivery::OneAtATime
    } else {
        Delivery::All
    }
}

/// Makes a surface with a tool of each effect class and two models.
#[must_use]
pub fn any_surface() -> Surface {
    let identity = Identity {
        protocol: "simulated",
        provider: "simulated",
    };
    let tool = |name: &str, effect_class| ToolSpec {
        name: Arc::from(name),
        description: Arc::from("A tool."),
        input_schema: RawJson::empty_object(),
        kind: ToolKind::Other,
        effect_class,
    };
    Surface {
        system: Arc::from("Be brief."),
        tools: Arc::from([
            tool("pure", EffectClass::Pure),
            tool("again", EffectClass::Idempotent),
            tool("once", EffectClass::AtMostOnce),
        ]),
        models: Arc::from([
            Target::new(identity, "first"),
            Target::new(identity, "second"),
        ]),
        ..Surface::default()
    }
}
