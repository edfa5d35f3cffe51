//! What happens in a session, as session updates of the Agent Client Protocol (ACP).
//!
//! [`Updates`] is a fold: fed with the events of a session and the live increments between them, it
//! returns for each the JSON of what a client is told by `session/update`. It invents no tag: where
//! the protocol has no word for a fact, nothing is told. `docs/event-stream.md` has the table.

mod diff;
mod json;
mod state;

use std::collections::BTreeMap;
use std::sync::Arc;

use phi_types::{
    AssistantMessage, AssistantPart, CompactionEnded, Delta, EffectId, Event, EventKind,
    ExtensionMessage, FilterVerdict, Increment, Live, LoopId, Message, MessageAdded, ModelFailed,
    Recovered, ToolCall, ToolEnded, ToolKind, ToolStarted,
};
use serde_json::Value;

use self::state::{Running, Spent, State};
use crate::stream::Update;

/// The namespace of the [`phi_types::Extension`] that holds a plan.
pub const PLAN_NAMESPACE: &str = "phi";
/// The name of the [`phi_types::Extension`] that holds a plan, in the form of the protocol:
/// `{"entries":[{"content":"…","priority":"high","status":"pending"}]}`.
pub const PLAN_NAME: &str = "plan";

/// How many loops that have not ended are known at once; of more, some are forgotten.
const LOOPS_MAX: usize = 1_024;

/// What a client can take, and what it knows already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Client {
    /// Whether it takes `notice`: it advertised `session.notices`, and what is told happens now and
    /// is not read back from a log.
    pub notices: bool,
    /// Whether it takes `compaction_update`: it advertised `session.compaction`.
    pub compaction: bool,
    /// Whether it is told what users say.
    pub user_messages: UserMessages,
    /// The directory beneath which tools name files; without it only absolute paths are told.
    pub root: Option<Arc<str>>,
}

/// Whether a client is told what users say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UserMessages {
    /// It is: it watches, or a session is loaded for it.
    #[default]
    Told,
    /// It is not: it sent them itself and shows them already.
    Known,
}

/// The fold from events and live increments to session updates, for one client.
///
/// Text is told once. While the model answers, the increments are told; the committed message adds
/// what the client has not got: everything where no increment came, nothing where they all came, and
/// the whole once more as a message of its own where some are missing. What a failed attempt had
/// said stays a message of its own, because the protocol takes nothing back.
///
/// It wants the events from the first one of a loop on. Memory is bounded by the calls of one turn
/// and 1,024 loops.
#[derive(Debug, Clone, Default)]
pub struct Updates {
    /// The client; it may change between two updates.
    pub client: Client,
    loops: BTreeMap<LoopId, State>,
    spent: Spent,
}

impl Updates {
    /// Makes the fold for a client.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self {
            client,
            ..Self::default()
        }
    }

    /// Takes what a subscription or a sink yields; a gap tells nothing.
    pub fn update(&mut self, update: &Update) -> Vec<Value> {
        match update {
            Update::Event { event, .. } => self.event(event),
            Update::Live(live) => self.live(live).into_iter().collect(),
            Update::Gap(_) => Vec::new(),
        }
    }

    /// Takes an event; a message makes several updates, anything else at most one.
    pub fn event(&mut self, event: &Event) -> Vec<Value> {
        let Some(loop_id) = &event.loop_id else {
            return self.fact(&event.kind).into_iter().collect();
        };
        if let EventKind::LoopEnded(_) = &event.kind {
            self.loops.remove(loop_id);
            return Vec::new();
        }
        let mut state = self.loops.remove(loop_id).unwrap_or_default();
        let place = Place {
            loop_id,
            seq: event.seq,
        };
        let told = self.in_loop(&mut state, place, &event.kind);
        if self.loops.len() >= LOOPS_MAX {
            self.loops.pop_first();
        }
        self.loops.insert(loop_id.clone(), state);
        told
    }

    /// Takes a live increment.
    pub fn live(&mut self, live: &Live) -> Option<Value> {
        let EffectId { loop_id, seq } = &live.effect;
        let state = self.loops.get_mut(loop_id)?;
        let place = Place { loop_id, seq: *seq };
        match &live.increment {
            Increment::Progress(progress) => {
                let running = state.running.get(seq)?;
                Some(json::progress(&running.id, &progress.text))
            }
            Increment::Delta(Delta::Text(delta)) => {
                state.show(*seq)?.text += delta.text.len();
                json::text_chunk("agent_message_chunk", &place.to_string(), &delta.text)
            }
            Increment::Delta(Delta::Thinking(delta)) => {
                state.show(*seq)?.thinking += delta.text.len();
                json::text_chunk("agent_thought_chunk", &place.to_string(), &delta.text)
            }
            // A call is told once it is complete, when its message is committed.
            Increment::Delta(
                Delta::Started(_)
                | Delta::ToolCall(_)
                | Delta::Arguments(_)
                | Delta::PartFacts(_)
                | Delta::Opaque(_)
                | Delta::PartEnded(_)
                | Delta::Usage(_)
                | Delta::Finish(_),
            ) => None,
        }
    }

    /// Takes an event that belongs to no loop.
    fn fact(&self, kind: &EventKind) -> Option<Value> {
        match kind {
            EventKind::Recovered(recovered) => self.notice(&recovery(recovered)),
            EventKind::Extension(it) => json::plan(&it.namespace, &it.name, &it.data),
            _ => None,
        }
    }

    fn in_loop(&mut self, state: &mut State, place: Place<'_>, kind: &EventKind) -> Vec<Value> {
        let one = match kind {
            EventKind::Message(added) => return self.message(state, place, added),
            EventKind::SurfaceChanged(changed) => state.surface(changed),
            EventKind::ModelStarted(started) => state.call_model(place.seq, started),
            EventKind::ModelFailed(failed) => {
                let price = state.price(state.target);
                self.spent.add(price, &failed.facts.usage);
                self.notice(&failure(failed))
            }
            EventKind::TurnEnded(_) => {
                state.running.clear();
                self.usage(state)
            }
            EventKind::ToolStarted(started) => Some(self.tool_started(state, place, started)),
            EventKind::ToolEnded(ended) => Some(self.tool_ended(state, place, ended)),
            EventKind::CompactionStarted(_) => {
                state.compaction = Some(place.seq);
                let is_told = self.client.compaction;
                is_told.then(|| json::compaction_started(&place.to_string()))
            }
            EventKind::CompactionEnded(ended) => self.compaction_ended(state, place, ended),
            EventKind::LimitWarning(warning) => self.notice(&Notice {
                severity: "warning",
                title: format!("A limit is near: {}", warning.limit.as_str()),
                description: None,
            }),
            EventKind::LimitReached(reached) => self.notice(&Notice {
                severity: "warning",
                title: format!("A limit is reached: {}", reached.limit.as_str()),
                description: None,
            }),
            EventKind::LoopStuck(stuck) => self.notice(&Notice {
                severity: "warning",
                title: "The model goes round in circles".to_owned(),
                description: Some(format!("`{}`, {} times in a row", stuck.tool, stuck.times)),
            }),
            EventKind::InputFiltered(filtered) => match &filtered.verdict {
                FilterVerdict::Rejected { reason } => self.notice(&Notice {
                    severity: "warning",
                    title: "The input was rejected".to_owned(),
                    description: Some(reason.clone()),
                }),
                FilterVerdict::Passed {} | FilterVerdict::Warned { .. } => None,
            },
            EventKind::Recovered(_) | EventKind::Extension(_) => self.fact(kind),
            // The answer to `session/prompt` says how a loop ended; `session/request_permission`
            // asks whether a call may run. For the rest the protocol has no word.
            _ => None,
        };
        one.into_iter().collect()
    }

    fn message(&mut self, state: &mut State, place: Place<'_>, added: &MessageAdded) -> Vec<Value> {
        match &added.message {
            Message::User(message) => match self.client.user_messages {
                UserMessages::Told => json::user_chunks(&place.to_string(), message),
                UserMessages::Known => Vec::new(),
            },
            Message::Assistant(message) => self.answer(state, place, message),
            Message::Extension(message) => {
                let ExtensionMessage {
                    namespace,
                    name,
                    data,
                } = message.as_ref();
                json::plan(namespace, name, data).into_iter().collect()
            }
        }
    }

    fn answer(
        &mut self,
        state: &mut State,
        place: Place<'_>,
        message: &AssistantMessage,
    ) -> Vec<Value> {
        self.spent.add(state.price(state.target), &message.usage);
        state.usage = message.usage;
        let missing = state.missing(message);
        let was_shown = state.shown.text + state.shown.thinking > 0;
        let call = Place {
            seq: if was_shown { place.seq } else { state.model },
            ..place
        };
        let message_id = call.to_string();
        let mut told = Vec::new();
        let mut index = 0;
        for part in &message.parts {
            match part {
                AssistantPart::Text(part) if missing.text => {
                    told.extend(json::text_chunk(
                        "agent_message_chunk",
                        &message_id,
                        &part.text,
                    ));
                }
                AssistantPart::Thinking(part) if missing.thinking => {
                    told.extend(json::text_chunk(
                        "agent_thought_chunk",
                        &message_id,
                        &part.text,
                    ));
                }
                AssistantPart::ToolCall(call) => {
                    if !state.was_early(call) && state.told.insert(index) {
                        let id = state.call_id(place.loop_id, index);
                        told.push(self.call(state, &id, call));
                    }
                    index += 1;
                }
                AssistantPart::Text(_) | AssistantPart::Thinking(_) | AssistantPart::Opaque(_) => {}
            }
        }
        told
    }

    /// Tells a call that waits to run.
    fn call(&self, state: &State, id: &str, call: &ToolCall) -> Value {
        let kind = state.kind(&call.name);
        let path = json::path(kind, call.arguments.object(), self.client.root.as_deref());
        let edits = diff::edits(kind, call.arguments.object(), path.as_deref());
        let mut told = json::call(id, kind, call, path);
        if !edits.is_empty() {
            json::set(&mut told, "content", edits);
        }
        told
    }

    /// Adds to the result of a call what it did to its file.
    fn change(&self, state: &State, call: &ToolCall, ended: &ToolEnded, told: &mut Value) {
        let (kind, arguments) = (state.kind(&call.name), call.arguments.object());
        let path = json::path(kind, arguments, self.client.root.as_deref());
        let details = ended.result.details.as_ref();
        let diffs = diff::done(kind, arguments, path.as_deref(), details);
        if let Some(content) = told.get_mut("content").and_then(Value::as_array_mut) {
            content.splice(0..0, diffs);
        }
        let places = path.filter(|_| kind == ToolKind::Edit);
        let places = places.map(|path| diff::places(&path, details));
        if let Some(places) = places.filter(|places| !places.is_empty()) {
            json::set(told, "locations", places);
        }
    }

    fn tool_started(&self, state: &mut State, place: Place<'_>, started: &ToolStarted) -> Value {
        // An early call may stand at another place in its answer, so its start names it.
        let (id, is_new) = if started.early.is_some() {
            state.early.push(Arc::clone(&started.call));
            (format!("{place}/early"), true)
        } else {
            let id = state.call_id(place.loop_id, started.index);
            (id, state.told.insert(started.index))
        };
        let mut told = self.call(state, &id, &started.call);
        if !is_new {
            json::set(&mut told, "sessionUpdate", "tool_call_update");
        }
        json::set(&mut told, "status", "in_progress");
        let call = Arc::clone(&started.call);
        state.running.insert(place.seq, Running { id, call });
        told
    }

    fn tool_ended(&self, state: &mut State, place: Place<'_>, ended: &ToolEnded) -> Value {
        let started = ended.started.and_then(|seq| state.running.remove(&seq));
        if let Some(Running { id, call }) = started {
            let mut told = json::result(&id, ended);
            if json::is_right(ended) {
                self.change(state, &call, ended, &mut told);
            }
            return told;
        }
        let id = state.call_id(place.loop_id, ended.index);
        let mut told = json::result(&id, ended);
        if state.told.insert(ended.index) {
            json::set(&mut told, "sessionUpdate", "tool_call");
            json::set(&mut told, "title", &ended.call_id);
        }
        told
    }

    fn compaction_ended(
        &mut self,
        state: &mut State,
        place: Place<'_>,
        ended: &CompactionEnded,
    ) -> Option<Value> {
        self.spent.add(state.price(0), &ended.usage);
        let seq = state.compaction.take().unwrap_or(place.seq);
        let id = Place { seq, ..place }.to_string();
        self.client
            .compaction
            .then(|| json::compaction_ended(&id, ended))
    }

    /// Tells how full the window is, where that is known.
    fn usage(&self, state: &State) -> Option<Value> {
        let used = state.usage.total_tokens();
        let size = state.target(state.target)?.window_tokens?;
        (used > 0).then(|| json::usage(used, size, self.spent.known()))
    }

    fn notice(&self, notice: &Notice) -> Option<Value> {
        self.client.notices.then(|| json::notice(notice))
    }
}

/// An event or an effect, and what it is called towards a client.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    loop_id: &'a LoopId,
    seq: u64,
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.loop_id, self.seq)
    }
}

/// Something that a user should know now.
#[derive(Debug)]
struct Notice {
    severity: &'static str,
    title: String,
    description: Option<String>,
}

fn failure(failed: &ModelFailed) -> Notice {
    let severity = if failed.retry_at.is_some() {
        "warning"
    } else {
        "error"
    };
    Notice {
        severity,
        title: format!("The model call failed: {}", failed.error.kind),
        description: Some(failed.error.message.clone()),
    }
}

fn recovery(recovered: &Recovered) -> Notice {
    match recovered {
        Recovered::TornTail { bytes, moved_to } => Notice {
            severity: "warning",
            title: format!("The log ended in {bytes} bytes of an unfinished write"),
            description: Some(format!("They were moved to {moved_to}")),
        },
        Recovered::Restart { .. } => Notice {
            severity: "info",
            title: "The loop goes on after its process ended".to_owned(),
            description: None,
        },
    }
}
