//! Answers as values of a type, with a bounded number of repairs.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use phi_loop::{EndDecision, Handle, HookContext, HookError, Hooks, Rejected, Update};
use phi_provider::structured::{OutputError, OutputFault, read_output_as};
use phi_types::{
    Approval, AssistantMessage, Content, EffectId, Entry, Event, EventKind, History, LimitKind,
    LoopError, Message, MessageAdded, Options, Origin, Outcome, OutputSchema, Point, RawJson,
    StopReason, Surface, Usage, UserMessage,
};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::error::{SessionError, outcome_text};
use crate::open::Session;
use crate::run::Run;

/// What a message begins with that asks for another answer.
const REPAIR: &str = "Your answer does not have the form that was asked for: ";

/// How often a model is asked again, unless said otherwise.
const REPAIRS: u32 = 2;

/// Says why there is no value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputFailed {
    /// The loop ended before there was an answer to read.
    #[error("get an answer: {}", outcome_text(.outcome))]
    Unanswered {
        /// How it ended.
        outcome: Outcome,
        /// What the model said last in this loop.
        reply: Option<Box<AssistantMessage>>,
    },
    /// The last answer is not what was asked for; the error holds it.
    #[error("read the answer, {repairs} times repaired: {error}")]
    Unfit {
        /// How often the model was asked again.
        repairs: u32,
        /// What is wrong with the last answer.
        error: Box<OutputError>,
    },
}

impl Session {
    /// Starts a loop with a prompt whose answer is read as a value.
    ///
    /// The model is asked for the schema of `T`, in the words of its protocol
    /// ([`Options::output`]). An answer that does not fit is answered with what is wrong with it, in
    /// the user's name, and the model tries again, twice unless [`OutputRun::repairs`] says otherwise.
    /// These are ordinary turns: limits count them and the log holds them. `T` should be a struct:
    /// several services take objects alone.
    ///
    /// # Errors
    /// Those of [`Session::prompt`].
    pub fn prompt_as<T>(
        &mut self,
        message: impl Into<UserMessage>,
    ) -> Result<OutputRun<'_, T>, SessionError>
    where
        T: DeserializeOwned + JsonSchema + 'static,
    {
        let (before, repair) = (self.transcript().history().len(), Repair::of::<T>());
        let (hooks, surface) = repair.beside(self);
        let run = self.prompt_with(hooks, surface, message.into())?;
        Ok(OutputRun::new(run, repair, before))
    }

    /// Goes on with a loop that was cut off and whose answer is read as a value; `None` if there is
    /// none. Repairs that were made before count.
    ///
    /// **Cancel safety:** a dropped call changes nothing.
    ///
    /// # Errors
    /// Those of [`Session::resume`].
    pub async fn resume_as<T>(&mut self) -> Result<Option<OutputRun<'_, T>>, SessionError>
    where
        T: DeserializeOwned + JsonSchema + 'static,
    {
        let (before, repair) = (self.transcript().history().len(), Repair::of::<T>());
        let (hooks, surface) = repair.beside(self);
        let run = self.resume_with(hooks, surface).await?;
        Ok(run.map(|run| OutputRun::new(run, repair, before)))
    }
}

/// A loop in progress whose answer is read as a value.
#[derive(Debug)]
pub struct OutputRun<'a, T> {
    run: Run<'a>,
    repair: Arc<Repair>,
    /// Entries of the conversation before the loop.
    before: usize,
    reply: Option<Arc<AssistantMessage>>,
    read: PhantomData<fn() -> T>,
}

impl<'a, T: DeserializeOwned> OutputRun<'a, T> {
    fn new(run: Run<'a>, repair: Arc<Repair>, before: usize) -> Self {
        Self {
            run,
            repair,
            before,
            reply: None,
            read: PhantomData,
        }
    }

    /// Sets how often the model may be asked again; 0 for never.
    #[must_use]
    pub fn repairs(self, repairs_max: u32) -> Self {
        self.repair.most.store(repairs_max, Ordering::Relaxed);
        self
    }

    /// Waits for the next update; `None` once the loop has ended and everything was handed out.
    ///
    /// **Cancel safety:** a dropped call loses nothing.
    pub async fn next(&mut self) -> Option<Update> {
        let update = self.run.next().await;
        if let Some(Update::Event(Event {
            kind:
                EventKind::Message(MessageAdded {
                    message: Message::Assistant(message),
                    ..
                }),
            ..
        })) = &update
        {
            self.reply = Some(Arc::clone(message));
        }
        update
    }

    /// Runs to the end and reads the answer.
    ///
    /// **Cancel safety:** a dropped call drops the run.
    ///
    /// # Errors
    /// [`OutputFailed`] with what the model said last; the session holds what was done.
    pub async fn output(mut self) -> Result<T, OutputFailed> {
        while self.next().await.is_some() {}
        let finished = self.run.finished();
        let history = finished.transcript.history();
        let reply = self.reply.or_else(|| last_answer(history, self.before));
        let repairs = repairs(finished.transcript.view(), &self.repair);
        let outcome = finished.outcome;
        if !is_answered(&outcome) {
            let reply = reply.map(|reply| Box::new(reply.as_ref().clone()));
            return Err(OutputFailed::Unanswered { outcome, reply });
        }
        let reply = reply.unwrap_or_else(|| Arc::new(nothing()));
        read_output_as(&reply, &self.repair.form).map_err(|error| {
            let error = Box::new(error);
            OutputFailed::Unfit { repairs, error }
        })
    }

    /// Returns a handle that steers, follows up, approves and cancels from elsewhere.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.run.handle()
    }

    /// Answers the question whether a call may run, at once.
    ///
    /// # Errors
    /// [`Rejected::NotOutstanding`] if nobody asks this any more.
    pub fn approve(&mut self, effect: EffectId, approval: Approval) -> Result<(), Rejected> {
        self.run.approve(effect, approval)
    }
}

/// Says whether a loop ended with an answer, whatever it is worth.
fn is_answered(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Completed {}
        | Outcome::LimitReached {
            limit: LimitKind::OutputTokens | LimitKind::ContextWindow,
        }
        | Outcome::Failed {
            error: LoopError::Stopped { .. },
        } => true,
        Outcome::LimitReached { .. }
        | Outcome::Failed { .. }
        | Outcome::Rejected { .. }
        | Outcome::Cancelled {}
        | Outcome::Aborted { .. } => false,
    }
}

fn last_answer(history: &History, before: usize) -> Option<Arc<AssistantMessage>> {
    let new = history.len().saturating_sub(before);
    let mut entries = history.newest_first().take(new);
    entries.find_map(|entry| match entry {
        Entry::Assistant(message) => Some(Arc::clone(message)),
        Entry::User(_) | Entry::Results(_) | Entry::Extension(_) => None,
    })
}

/// An answer without a part, which no conversation keeps.
fn nothing() -> AssistantMessage {
    AssistantMessage {
        parts: Vec::new(),
        stop_reason: StopReason::EndTurn,
        stop_reason_raw: None,
        usage: Usage::default(),
        origin: Origin::default(),
    }
}

type Check = dyn Fn(&AssistantMessage) -> Result<(), OutputError> + Send + Sync;

/// Keeps a loop from its end while its answer does not fit.
struct Repair {
    form: OutputSchema,
    check: Box<Check>,
    most: AtomicU32,
    made: AtomicU32,
}

impl Repair {
    fn of<T: DeserializeOwned + JsonSchema + 'static>() -> Arc<Self> {
        let form = form_of::<T>();
        let asked = form.clone();
        Arc::new(Self {
            form,
            check: Box::new(move |reply| read_output_as::<T>(reply, &asked).map(drop)),
            most: AtomicU32::new(REPAIRS),
            made: AtomicU32::new(0),
        })
    }

    /// Joins the hooks of a session, and asks for the form besides what its models are shown.
    fn beside(self: &Arc<Self>, session: &Session) -> (Arc<dyn Hooks>, Surface) {
        let (hooks, mut surface) = session.policy();
        surface.options = Arc::new(Options {
            output: Some(self.form.clone()),
            ..surface.options.as_ref().clone()
        });
        let all: Vec<Arc<dyn Hooks>> = vec![hooks, Arc::clone(self) as Arc<dyn Hooks>];
        (Arc::new(all), surface)
    }
}

fn form_of<T: JsonSchema>() -> OutputSchema {
    let schema = schemars::schema_for!(T);
    let accepted = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let name = T::schema_name();
    let name: String = name.chars().filter(|c| accepted(*c)).take(64).collect();
    let name = match name.is_empty() {
        true => "answer".to_owned(),
        false => name,
    };
    // A schema is made of JSON already.
    let schema = RawJson::from_value(&schema).unwrap_or_else(|_| RawJson::empty_object());
    OutputSchema { name, schema }
}

#[async_trait]
impl Hooks for Repair {
    fn points(&self) -> Vec<Point> {
        vec![Point::BeforeEnd]
    }

    async fn before_end(&self, _: &HookContext, view: &History) -> Result<EndDecision, HookError> {
        let checked = match view.last() {
            Some(Entry::Assistant(reply)) => (self.check)(reply),
            // An answer without a part joins no conversation.
            Some(Entry::User(_) | Entry::Results(_) | Entry::Extension(_)) | None => {
                (self.check)(&nothing())
            }
        };
        let Some(wrong) = checked.err().and_then(|error| what_is_wrong(&error.fault)) else {
            return Ok(EndDecision::End);
        };
        if repairs(view, self) >= self.most.load(Ordering::Relaxed) {
            return Ok(EndDecision::End);
        }
        self.made.fetch_add(1, Ordering::Relaxed);
        let text = format!("{REPAIR}{wrong}. Answer again, with the whole answer as JSON alone.");
        Ok(EndDecision::Continue(vec![Arc::new(UserMessage::text(
            text,
        ))]))
    }
}

/// Returns what the model can do something about.
fn what_is_wrong(fault: &OutputFault) -> Option<String> {
    match fault {
        OutputFault::NoText { .. } => Some("it holds no text".to_owned()),
        OutputFault::NotJson { reason } => Some(format!("its text is not JSON ({reason})")),
        OutputFault::Mismatch { places } => {
            let places: Vec<String> = places.iter().map(ToString::to_string).collect();
            Some(places.join("; "))
        }
        OutputFault::Type { reason } => Some(reason.clone()),
        _ => None,
    }
}

/// Counts the repairs of a loop: those of this process, and those that the conversation holds since
/// the user's own words, of a process before.
fn repairs(view: &History, repair: &Repair) -> u32 {
    let said = view.newest_first().filter_map(|entry| match entry {
        Entry::User(message) => Some(message),
        Entry::Assistant(_) | Entry::Results(_) | Entry::Extension(_) => None,
    });
    let held = said.take_while(|message| is_repair(message)).count();
    let held = u32::try_from(held).unwrap_or(u32::MAX);
    held.max(repair.made.load(Ordering::Relaxed))
}

fn is_repair(message: &UserMessage) -> bool {
    let first = message.content.first();
    matches!(first, Some(Content::Text { text }) if text.starts_with(REPAIR))
}

impl fmt::Debug for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repair")
            .field("form", &self.form.name)
            .field("most", &self.most)
            .field("made", &self.made)
            .finish_non_exhaustive()
    }
}
