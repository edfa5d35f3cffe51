//! A machine on a bench: what goes in by hand, and everything that comes out.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its part of the bench"
)]

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use phi_loop::{Effect, Input, Machine, Output, Start, ToolReport};
use phi_types::{
    Configuration, Delta, EffectClass, EffectId, Event, EventKind, Identity, ProviderError,
    ProviderErrorKind, QueueId, RawJson, SessionId, StopReason, Surface, Target, ToolEnding,
    ToolKind, ToolResult, ToolSpec, Transcript, Usage, UserMessage,
};

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
