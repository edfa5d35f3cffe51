//! A world in full: what a loop begins with, and what happens to it.

use std::sync::Arc;

use phi_types::{
    Arguments, AssistantMessage, AssistantPart, CallResult, Configuration, Continuation, Entry,
    History, Origin, PartFacts, Point, RawJson, SessionId, StopReason, Surface, TextPart, ToolCall,
    ToolResult, Transcript, Usage, UserMessage,
};

use super::dice::Dice;
use super::moves;
use super::setting::Setting;
use crate::io::Input;
use crate::machine::Start;

/// The most moves of a scenario; afterwards everything comes to its simplest end.
const MOVES_MAX: u64 = 120;

/// What a loop begins with, and what happens to it.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The policy.
    pub configuration: Configuration,
    /// The tools and models.
    pub surface: Surface,
    /// The conversation that the loop continues; one that ends with what a user said needs no
    /// prompt.
    pub before: Transcript,
    /// In which way the loop continues it.
    pub continuation: Continuation,
    /// What changes in what the model reads before the loop has its prompt.
    pub changes: Vec<Input>,
    /// The points that whoever resumes the loop claims besides.
    pub claims: Vec<Point>,
    /// How many messages the prompt has.
    pub prompts: u32,
    /// What happens, in order.
    pub moves: Vec<Move>,
    /// Where a process ends besides: after so many events.
    pub crash_after: Option<usize>,
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Which row of the table of moves it is.
    pub(super) row: usize,
    /// How long nothing happens before it, in milliseconds.
    pub(super) wait_ms: u64,
    /// Decides everything else about it.
    pub(super) dice: Dice,
}

impl Scenario {
    /// Makes the scenario of a seed.
    #[must_use]
    pub fn of(setting: &dyn Setting, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let configuration = setting.configuration(&mut dice.split());
        let surface = setting.surface(&mut dice.split());
        let before = setting.before(&mut dice.split());
        let mut wishes = dice.split();
        let changes = (0..wishes.roll(3)).filter_map(|_| setting.context(&before, &mut wishes));
        let changes = changes.collect();
        let continuation = match wishes.roll(3) {
            2 => Continuation::ContextChange,
            _ => Continuation::Default,
        };
        let claims = [
            Point::BeforeModel,
            Point::BeforeTool,
            Point::BeforeCompaction,
        ];
        let claims = claims.into_iter().filter(|_| wishes.one_in(4)).collect();
        let prompts = 1 + u32::from(dice.one_in(3));
        let moves = (0..=dice.roll(MOVES_MAX)).map(|_| Move {
            row: moves::draw(&mut dice),
            wait_ms: dice.roll(120),
            dice: dice.split(),
        });
        let moves = moves.collect();
        Self {
            configuration,
            surface,
            before,
            continuation,
            changes,
            claims,
            prompts,
            moves,
            crash_after: None,
        }
    }

    /// Returns the first input.
    pub(super) fn opening(&self) -> Input {
        match self.before.view().last() {
            Some(Entry::User(_)) => Input::Continue,
            _ => moves::prompt(self.prompts),
        }
    }

    /// Returns what the machine begins with.
    pub(super) fn start(&self) -> Start {
        let session = SessionId::new("simulated").expect("the name is valid");
        Start {
            continuation: self.continuation,
            transcript: self.before.clone(),
            ..Start::new(session, self.configuration.clone(), self.surface.clone())
        }
    }
}

impl Move {
    /// Returns the name of what happens, as the table of moves has it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        moves::name(self.row)
    }
}

/// Makes the conversation that a loop continues: mostly none.
pub(super) fn any_before(dice: &mut Dice) -> Transcript {
    match dice.roll(8) {
        5 => Transcript::from_history(earlier()),
        6 => Transcript::from_history(earlier().prefix(1)),
        7 => Transcript::from_history(earlier().prefix(4)),
        _ => Transcript::new(),
    }
}

/// A conversation that went before.
fn earlier() -> History {
    let text = |text: &str| {
        AssistantPart::Text(TextPart {
            text: text.into(),
            ..TextPart::default()
        })
    };
    let call = Arc::new(ToolCall {
        id: "e0".into(),
        name: "pure".into(),
        arguments: Arguments::Object(RawJson::empty_object()),
        facts: PartFacts::default(),
    });
    let answer = |part, stop_reason| {
        Entry::Assistant(Arc::new(AssistantMessage {
            parts: vec![part],
            stop_reason,
            stop_reason_raw: None,
            usage: Usage::default(),
            origin: Origin::default(),
        }))
    };
    let result = Arc::new(ToolResult::text(
        "a lamp, a chair and a table by the window",
    ));
    let ask = |text| Entry::User(Arc::new(UserMessage::text(text)));
    let entries = [
        ask("Are you there?"),
        answer(
            AssistantPart::ToolCall(Arc::clone(&call)),
            StopReason::ToolUse,
        ),
        Entry::Results([CallResult { call, result }].into_iter().collect()),
        answer(text("I am here."), StopReason::EndTurn),
        ask("Good."),
        answer(text("Is it?"), StopReason::EndTurn),
    ];
    entries.into_iter().collect()
}
