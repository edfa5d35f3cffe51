//! A world for the machine: a seeded model, tools in any order, faults, crashes.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its part of the world"
)]

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use phi_loop::{Compacted, Effect, Input, Machine, Output, Start, Subject, ToolReport, Verdict};
use phi_types::{
    AnswerScope, Approval, CompactAt, Configuration, ContextChange, CountedTokens, Delivery, Delta,
    EffectClass, EffectId, Entry, Event, EventKind, History, Identity, ModelPatch, Options,
    OverlayId, Point, ProviderError, ProviderErrorKind, Prune, PrunedResult, QueueId, QueuePolicy,
    RawJson, Revert, RevertCategory, SessionId, StopReason, Surface, SurfaceChanged, Tag, Tags,
    Target, ToolEnding, ToolKind, ToolResult, ToolSpec, Transcript, Usage, UserMessage,
};

/// A small generator: the same seed gives the same world.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides.max(1)
    }

    pub fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }
}

pub fn session() -> SessionId {
    SessionId::new("s").unwrap()
}

pub fn spec(name: &str, effect_class: EffectClass) -> ToolSpec {
    ToolSpec {
        name: Arc::from(name),
        description: Arc::from("A tool."),
        input_schema: RawJson::parse("{\"type\":\"object\"}").unwrap(),
        kind: ToolKind::Other,
        effect_class,
    }
}

pub fn surface() -> Surface {
    let identity = Identity {
        protocol: "test",
        provider: "test",
    };
    Surface {
        system: Arc::from("Be brief."),
        tools: Arc::from([
            spec("pure", EffectClass::Pure),
            spec("again", EffectClass::Idempotent),
            spec("once", EffectClass::AtMostOnce),
        ]),
        models: Arc::from([
            Target::new(identity, "first"),
            Target::new(identity, "second"),
        ]),
        ..Surface::default()
    }
}

pub fn start(configuration: Configuration) -> Start {
    Start::new(session(), configuration, surface())
}

pub fn at(ms: i64) -> DateTime<Utc> {
    DateTime::<Utc>::UNIX_EPOCH + TimeDelta::milliseconds(ms)
}

pub fn user(text: &str) -> Arc<UserMessage> {
    Arc::new(UserMessage::text(text))
}

pub fn prompt(text: &str) -> Input {
    Input::Prompt(vec![user(text)])
}

pub fn queue_id(id: &str) -> QueueId {
    QueueId::new(id).unwrap()
}

/// A machine under test with everything that it wrote and asked for.
#[derive(Debug, Clone)]
pub struct Bench {
    pub machine: Machine,
    pub now: DateTime<Utc>,
    pub events: Vec<Event>,
    pub effects: Vec<Effect>,
    pub aborted: Vec<EffectId>,
    pub live: usize,
    /// Everything that came out, in order.
    pub outputs: Vec<Output>,
}

impl Bench {
    pub fn new(configuration: Configuration) -> Self {
        Self::with(Machine::new(start(configuration)))
    }

    pub fn with(machine: Machine) -> Self {
        let mut bench = Self {
            machine,
            now: at(0),
            events: Vec::new(),
            effects: Vec::new(),
            aborted: Vec::new(),
            live: 0,
            outputs: Vec::new(),
        };
        bench.drain();
        bench
    }

    pub fn started(configuration: Configuration, text: &str) -> Self {
        let mut bench = Self::new(configuration);
        bench.handle(prompt(text));
        bench
    }

    pub fn drain(&mut self) {
        while let Some(output) = self.machine.poll() {
            self.outputs.push(output.clone());
            match output {
                Output::Events(batch) => self.events.extend(batch),
                Output::Live(_) => self.live += 1,
                Output::Effect(effect) => self.effects.push(effect),
                Output::Abort(effect) => {
                    self.effects.retain(|open| open.id() != Some(&effect));
                    self.aborted.push(effect);
                }
            }
        }
    }

    pub fn handle(&mut self, input: Input) {
        self.machine.handle(self.now, input).unwrap();
        self.drain();
    }

    pub fn pass(&mut self, ms: i64) {
        self.now += TimeDelta::milliseconds(ms);
    }

    /// The model call that is in flight.
    pub fn model(&mut self) -> EffectId {
        let place = self
            .effects
            .iter()
            .position(|it| matches!(it, Effect::CallModel(_)));
        let Effect::CallModel(call) = self.effects.remove(place.expect("a model is called")) else {
            unreachable!("the place was found by its kind")
        };
        call.id
    }

    /// The tool calls that run, in the order in which they started.
    pub fn tools(&mut self) -> Vec<EffectId> {
        let (tools, rest): (Vec<Effect>, Vec<Effect>) = std::mem::take(&mut self.effects)
            .into_iter()
            .partition(|it| matches!(it, Effect::RunTool(_)));
        self.effects = rest;
        tools.iter().filter_map(|it| it.id().cloned()).collect()
    }

    /// The model answers the call in flight.
    pub fn answer(&mut self, deltas: &[Delta]) -> EffectId {
        let effect = self.model();
        for delta in deltas {
            self.handle(Input::Delta(effect.clone(), delta.clone()));
        }
        self.handle(Input::ModelEnded(effect.clone()));
        effect
    }

    pub fn say(&mut self, text: &str) {
        self.answer(&[Delta::text(0, text), Delta::finish(StopReason::EndTurn)]);
    }

    pub fn call(&mut self, names: &[&str]) {
        self.answer(&calls(names));
    }

    pub fn fail(&mut self, kind: ProviderErrorKind) {
        let effect = self.model();
        self.handle(Input::ModelFailed(effect, ProviderError::new(kind, "no")));
    }

    pub fn end_tool(&mut self, effect: EffectId, text: &str) {
        self.handle(Input::ToolEnded(
            effect,
            ToolReport::returned(ToolResult::text(text)),
        ));
    }

    /// The `type` of every event, in order.
    pub fn kinds(&self) -> Vec<String> {
        self.events.iter().map(kind_of).collect()
    }

    pub fn endings(&self) -> Vec<ToolEnding> {
        let endings = self.events.iter().filter_map(|event| match &event.kind {
            EventKind::ToolEnded(ended) => Some(ended.ending),
            _ => None,
        });
        endings.collect()
    }
}

pub fn kind_of(event: &Event) -> String {
    let value = serde_json::to_value(&event.kind).unwrap();
    value["type"].as_str().unwrap().to_owned()
}

pub fn calls(names: &[&str]) -> Vec<Delta> {
    let mut deltas = Vec::new();
    for (part, name) in (0..).zip(names) {
        deltas.push(Delta::tool_call(part, format!("c{part}"), *name));
        deltas.push(Delta::arguments(part, format!("{{\"n\":{part}}}")));
        deltas.push(Delta::part_ended(part));
    }
    deltas.push(Delta::Usage(Usage {
        input_tokens: Some(10),
        output_tokens: Some(5),
        ..Usage::default()
    }));
    deltas.push(Delta::finish(StopReason::ToolUse));
    deltas
}

/// A seeded configuration: limits near and far, every way to run tools, hooks here and there.
pub fn configuration(dice: &mut Dice) -> Configuration {
    use phi_types::{Limits, RetryPolicy, ToolExecution, ToolPolicy};
    let execution = match dice.roll(4) {
        0 => ToolExecution::Sequential,
        1 => ToolExecution::Batched { size: 2 },
        2 => ToolExecution::Parallel { max: 2 },
        _ => ToolExecution::Parallel { max: 16 },
    };
    let mut points = Vec::new();
    for point in [
        Point::FilterInput,
        Point::BeforeLoop,
        Point::BeforeTurn,
        Point::BeforeModel,
        Point::BeforeTool,
        Point::BeforeCompaction,
        Point::BeforeEnd,
    ] {
        if dice.one_in(3) {
            points.push(point);
        }
    }
    Configuration {
        limits: Limits {
            turns: Some(u32::try_from(2 + dice.roll(8)).unwrap()),
            tokens: dice.one_in(6).then(|| 40 + dice.roll(100)),
            wall_time_ms: dice.one_in(6).then(|| 500 + dice.roll(5_000)),
            tool_calls: dice.one_in(6).then_some(4),
            identical_calls: dice.one_in(4).then_some(2),
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
        queues: QueuePolicy {
            steering: delivery(dice),
            follow_up: delivery(dice),
        },
        grace_turn: dice.one_in(3),
        compaction: dice.one_in(2),
        exact_count: dice.one_in(3),
        tags: match dice.roll(6) {
            0 => Some(Tags::Stay),
            1 => Some(Tags::Newest(3)),
            _ => None,
        },
        compact_at: dice.one_in(2).then(|| CompactAt::Tokens(8 + dice.roll(12))),
        points,
        seed: dice.roll(1_000),
        ..Configuration::default()
    }
}

fn delivery(dice: &mut Dice) -> Delivery {
    if dice.one_in(2) {
        Delivery::All
    } else {
        Delivery::OneAtATime
    }
}

/// The world's next move: something outstanding comes to an end, or somebody interferes.
pub fn world_move(bench: &mut Bench, dice: &mut Dice, step: u64) {
    let jitter = i64::try_from(dice.roll(120)).unwrap();
    bench.pass(jitter);
    match dice.roll(24) {
        0 => {
            let id = queue_id(&format!("q{}", dice.roll(6)));
            let text = user("wait");
            let input = if dice.one_in(2) {
                Input::Steer(id, text)
            } else {
                Input::FollowUp(id, text)
            };
            return refusable(bench, input);
        }
        4 if dice.one_in(2) => {
            let changed = match dice.roll(4) {
                0 => SurfaceChanged {
                    system: Some(Arc::from("Be quick.")),
                    ..SurfaceChanged::default()
                },
                1 => SurfaceChanged {
                    tools: Some(surface().tools.iter().take(2).cloned().collect()),
                    ..SurfaceChanged::default()
                },
                2 => SurfaceChanged {
                    options: Some(Arc::new(Options {
                        temperature: Some(0.5),
                        ..Options::default()
                    })),
                    ..SurfaceChanged::default()
                },
                // The same again, elsewhere in memory.
                _ => SurfaceChanged {
                    system: Some(surface().system),
                    tools: Some(surface().tools),
                    models: Some(surface().models),
                    options: None,
                },
            };
            return refusable(bench, Input::SurfaceChanged(changed));
        }
        5 | 6 => {
            let input = context_input(bench, dice);
            return refusable(bench, input);
        }
        1 if step > 6 && dice.one_in(4) => return refusable(bench, Input::Cancel),
        2 if step > 6 && dice.one_in(3) => return refusable(bench, Input::Stop("enough".into())),
        3 => {
            let seq = dice.roll(30);
            let loop_id = bench.machine.loop_id().clone();
            let effect = EffectId { loop_id, seq };
            let stale = bench.effects.iter().all(|open| open.id() != Some(&effect));
            if stale
                && bench
                    .machine
                    .outstanding()
                    .iter()
                    .all(|open| open.id() != Some(&effect))
            {
                let before = bench.machine.clone();
                let report = ToolReport::returned(ToolResult::text("stale"));
                assert!(
                    bench
                        .machine
                        .handle(bench.now, Input::ToolEnded(effect, report))
                        .is_err()
                );
                assert_eq!(before, bench.machine, "a refused input changed the machine");
                assert_eq!(bench.machine.poll(), None);
            }
            return;
        }
        _ => {}
    }
    if bench.effects.is_empty() || dice.one_in(12) {
        if let Some(due) = bench.machine.next_timeout() {
            bench.now = bench.now.max(due);
            refusable(bench, Input::Timeout);
        }
        return;
    }
    let place = usize::try_from(dice.roll(bench.effects.len() as u64)).unwrap();
    let effect = bench.effects.remove(place);
    settle(bench, dice, effect);
}

fn refusable(bench: &mut Bench, input: Input) {
    let before = bench.machine.clone();
    if bench.machine.handle(bench.now, input).is_err() {
        assert_eq!(before, bench.machine, "a refused input changed the machine");
    }
    bench.drain();
}

fn settle(bench: &mut Bench, dice: &mut Dice, effect: Effect) {
    match effect {
        Effect::CallModel(call) => model_reply(bench, dice, call.id),
        Effect::RunTool(run) => {
            let report = match dice.roll(5) {
                0 => ToolReport::returned(ToolResult::error("it broke")),
                1 => ToolReport {
                    ending: ToolEnding::Invalid,
                    ..ToolReport::returned(ToolResult::error("n is missing"))
                },
                2 => {
                    let change = context_change(bench, dice);
                    ToolReport::returned(ToolResult::text("ok").with_change(change))
                }
                3 => ToolReport::returned(ToolResult::text("ok, ".repeat(40))),
                _ => ToolReport::returned(ToolResult::text("ok")),
            };
            bench.handle(Input::ToolEnded(run.id, report));
        }
        Effect::Compact(compact) => {
            let len = compact.view.len() as u64;
            let pruned = pruned(dice, &compact.view);
            let block = dice.one_in(2).then(|| phi_types::CompactionBlock {
                first: 1 + dice.roll(3),
                count: dice.roll(len + 2),
                replacement: vec![user("before")],
            });
            let usage = Usage {
                input_tokens: Some(3),
                ..Usage::default()
            };
            if dice.one_in(4) {
                let reason = "nothing to leave out".to_owned();
                return bench.handle(Input::CompactionFailed(compact.id, reason, usage));
            }
            let counted = dice.one_in(3).then(|| {
                let before = dice.roll(2_000);
                let after = if dice.one_in(3) {
                    before
                } else {
                    dice.roll(2_000)
                };
                CountedTokens { before, after }
            });
            let compacted = Compacted {
                pruned,
                block,
                counted,
            };
            bench.handle(Input::Compacted(compact.id, compacted, usage));
        }
        Effect::AskApproval(ask) => {
            let approval = if dice.one_in(2) {
                Approval::Approved {}
            } else {
                Approval::Denied {
                    reason: "no".into(),
                }
            };
            let scope = if dice.one_in(2) {
                AnswerScope::Once
            } else {
                AnswerScope::Session
            };
            bench.handle(Input::Approval(ask.id, approval, scope));
        }
        Effect::Decide(id, subject) => {
            let verdict = match (subject, dice.roll(9)) {
                (Subject::Tool(_), 0) => Verdict::Deny {
                    reason: "not this".into(),
                },
                (Subject::Tool(_), 1 | 2) => {
                    let arguments = dice.one_in(2).then(|| RawJson::parse("{\"n\":9}").unwrap());
                    Verdict::Ask {
                        question: "May it?".into(),
                        arguments,
                    }
                }
                (Subject::Tool(_), 3) => Verdict::Rewrite(RawJson::parse("{\"n\":7}").unwrap()),
                (Subject::Tool(_), 4) => Verdict::Fail {
                    reason: "hook broke".into(),
                },
                (Subject::Compaction(_), 0..3) => Verdict::Deny {
                    reason: "not now".into(),
                },
                (Subject::Compaction(_), 3) => Verdict::Fail {
                    reason: "oh".into(),
                },
                (Subject::Model(_), 0) => Verdict::Patch(ModelPatch {
                    tools: Some(vec![Arc::from("pure")]),
                    messages: vec![user("and hurry")],
                    ..ModelPatch::default()
                }),
                (Subject::Model(_), 1) if dice.one_in(4) => Verdict::Deny {
                    reason: "no".into(),
                },
                (Subject::Model(_), 2) if dice.one_in(4) => Verdict::Fail {
                    reason: "oh".into(),
                },
                (Subject::Input(_), 0 | 1) => Verdict::Warn {
                    warning: "be careful".into(),
                },
                (Subject::Input(_), 2) => Verdict::Deny {
                    reason: "not in here".into(),
                },
                (Subject::Input(_), 3) => Verdict::Fail {
                    reason: "filter broke".into(),
                },
                (Subject::Loop(_) | Subject::Turn(_), 0) if dice.one_in(3) => Verdict::Deny {
                    reason: "no turn".into(),
                },
                (Subject::Loop(_) | Subject::Turn(_) | Subject::End(_), 1) if dice.one_in(3) => {
                    Verdict::Fail {
                        reason: "gate broke".into(),
                    }
                }
                (Subject::End(_), 2..5) => {
                    let more = 1 + usize::from(dice.one_in(3));
                    Verdict::Continue(vec![user("not yet"); more])
                }
                _ => Verdict::Proceed,
            };
            // A step in between may have made the question moot.
            refusable(bench, Input::Decided(id, verdict));
        }
    }
}

/// Somebody wants what the model reads changed, or an overlay taken off.
fn context_input(bench: &Bench, dice: &mut Dice) -> Input {
    let overlays: Vec<&OverlayId> = bench.machine.transcript().overlays().collect();
    if overlays.is_empty() || dice.one_in(2) {
        return Input::Change(context_change(bench, dice));
    }
    let place = usize::try_from(dice.roll(overlays.len() as u64)).unwrap();
    Input::Restore(overlays[place].clone())
}

fn context_change(bench: &Bench, dice: &mut Dice) -> ContextChange {
    let entries = bench.machine.transcript().history().len() as u64;
    let results = bench.machine.transcript().history().entries();
    let results = (0..)
        .zip(results)
        .filter(|(_, it)| matches!(it, Entry::Results(_)));
    let results: Vec<u64> = results.map(|(at, _)| at).collect();
    if results.is_empty() || dice.one_in(2) {
        return ContextChange::Revert(Revert {
            to: Tag::entry(dice.roll(entries + 1)),
            category: RevertCategory::DeadEnd,
            summary: if dice.one_in(8) {
                " ".into()
            } else {
                "no".into()
            },
        });
    }
    let tags = (0..1 + dice.roll(2)).map(|_| Tag {
        entry: results[usize::try_from(dice.roll(results.len() as u64)).unwrap()],
        result: dice.one_in(2).then(|| u32::try_from(dice.roll(3)).unwrap()),
    });
    ContextChange::Prune(Prune {
        tags: tags.collect(),
        memo: dice.one_in(2).then(|| "x".into()),
    })
}

/// Some results of the view, shorter; now and then a place where none is.
fn pruned(dice: &mut Dice, view: &History) -> Vec<PrunedResult> {
    let mut pruned = Vec::new();
    for (entry, kept) in (0..).zip(view.entries()) {
        let results = match kept {
            Entry::Results(results) => results.len(),
            _ => usize::from(dice.one_in(40)),
        };
        for index in 0..u32::try_from(results).unwrap() {
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

fn model_reply(bench: &mut Bench, dice: &mut Dice, id: EffectId) {
    let mut deltas = Vec::new();
    let mut part = 0;
    if dice.one_in(2) {
        deltas.push(Delta::thinking(part, "hm"));
        part += 1;
    }
    if dice.one_in(2) {
        deltas.push(Delta::text(part, "some text"));
        part += 1;
    }
    let names = ["pure", "again", "once", "pure", "again", "unknown"];
    let all_pure = dice.one_in(2);
    for n in 0..dice.roll(5) {
        let name = names[usize::try_from(dice.roll(6)).unwrap()];
        let name = if all_pure { "pure" } else { name };
        deltas.push(Delta::tool_call(part, format!("c{}", dice.roll(2)), name));
        let arguments = match dice.roll(8) {
            0 => "{\"n\":".to_owned(),
            1 => String::new(),
            _ => format!("{{\"n\":{n}}}"),
        };
        deltas.push(Delta::arguments(part, arguments));
        if !dice.one_in(5) {
            deltas.push(Delta::part_ended(part));
        }
        part += 1;
    }
    deltas.push(Delta::Usage(Usage {
        input_tokens: Some(10),
        output_tokens: dice.one_in(2).then_some(3),
        ..Usage::default()
    }));
    let stop = match dice.roll(12) {
        0 => StopReason::MaxTokens,
        1 => StopReason::PauseTurn,
        2 => StopReason::ContextWindow,
        3 if dice.one_in(3) => StopReason::Other,
        4 if dice.one_in(3) => StopReason::Refusal,
        _ => StopReason::ToolUse,
    };
    deltas.push(Delta::finish(stop));
    let fault = dice.one_in(4);
    let cut = usize::try_from(dice.roll(deltas.len() as u64)).unwrap();
    let shown = if fault { &deltas[..cut] } else { &deltas[..] };
    for delta in shown {
        bench.handle(Input::Delta(id.clone(), delta.clone()));
        if dice.one_in(4) {
            settle_early(bench, dice);
            let outstanding = bench.machine.outstanding();
            if outstanding.iter().all(|open| open.id() != Some(&id)) {
                // The time of the loop is used up.
                return;
            }
        }
        if dice.one_in(60) {
            // Somebody cancels while the model speaks.
            refusable(bench, Input::Cancel);
            return;
        }
    }
    if !fault {
        bench.handle(Input::ModelEnded(id));
        return;
    }
    use ProviderErrorKind as K;
    let kinds = [
        K::RateLimited,
        K::Overloaded,
        K::Auth,
        K::ContextOverflow,
        K::Network,
        K::Server,
    ];
    let kind = kinds[usize::try_from(dice.roll(6)).unwrap()];
    let mut error = ProviderError::new(kind, "no");
    if dice.one_in(3) {
        error.retry_after_ms = Some(dice.roll(1_500));
    }
    let input = if dice.one_in(4) {
        Input::ModelEnded(id)
    } else {
        Input::ModelFailed(id, error)
    };
    bench.handle(input);
}

/// While the model speaks, a call that started early makes progress, ends, or runs out of time.
fn settle_early(bench: &mut Bench, dice: &mut Dice) {
    let jitter = i64::try_from(dice.roll(300)).unwrap();
    bench.pass(jitter);
    if bench
        .machine
        .next_timeout()
        .is_some_and(|at| at <= bench.now)
    {
        return refusable(bench, Input::Timeout);
    }
    let running = bench
        .effects
        .iter()
        .position(|it| matches!(it, Effect::RunTool(_)));
    if let Some(place) = running {
        let effect = bench.effects.remove(place);
        settle(bench, dice, effect);
    }
}

/// Restores a machine from a log and goes on, as a new process would.
pub fn restarted(events: &[Event], now: DateTime<Utc>) -> Bench {
    let mut machine = Machine::restore(&Transcript::new(), events).unwrap();
    machine.resume(now);
    let mut bench = Bench::with(machine);
    bench.now = now;
    bench.events.splice(0..0, events.iter().cloned());
    // What the restored machine does not start by itself was settled by the resume.
    bench
}
