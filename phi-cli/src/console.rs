//! Pulls a run to its end, with questions and signals, and says what its outcome means.

use std::io;

use phi::agent_loop::Update;
use phi::types::{
    ApprovalRequested, EffectId, Event, EventKind, LimitKind, LoopError, Outcome,
    ProviderErrorKind, SessionId,
};

use crate::arguments::TalkArguments;
use crate::ask::Asker;
use crate::failure::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::printer::{Form, Printer};
use crate::steer::{self, Heard, Steering, hear};
use crate::words::one_line;

/// What a run speaks with.
#[derive(Debug)]
pub(crate) struct Console {
    pub(crate) printer: Printer,
    asker: Asker,
    steering: Option<Steering>,
    interrupt: Interrupt,
    session: SessionId,
    /// The variable of the key, for the remedy of a wrong one; `None` for a script.
    key_variable: Option<String>,
}

impl Console {
    /// Makes the console of a session and takes the signals over, and stdin where it is for messages.
    pub(crate) fn new(
        talk: TalkArguments,
        session: SessionId,
        key_variable: Option<String>,
    ) -> Result<Self, Failure> {
        let form = Form::of(talk.json);
        let (steering, asker) = if talk.steer {
            (Some(Steering::of_stdin(form)?), Asker::beside_messages())
        } else {
            (None, Asker::default())
        };
        Ok(Self {
            printer: Printer::new(form),
            asker,
            steering,
            interrupt: Interrupt::listen()?,
            session,
            key_variable,
        })
    }

    /// Asks a question on the terminal while the next run is pulled.
    pub(crate) fn ask(&mut self, effect: EffectId, question: ApprovalRequested) {
        self.asker.ask(effect, question);
    }

    /// Pulls a run to its end.
    pub(crate) async fn pull(&mut self, mut run: phi::Run<'_>) -> Result<Exit, Failure> {
        let mut lost = None;
        let mut is_cancelled = false;
        let handle = run.handle();
        loop {
            tokio::select! {
                () = self.interrupt.first(), if !is_cancelled => {
                    is_cancelled = true;
                    run.handle().cancel();
                }
                (effect, approval) = self.asker.answer(), if !is_cancelled => {
                    // The question may have become pointless meanwhile.
                    if run.approve(effect, approval).is_err() {}
                }
                heard = hear(&mut self.steering, &handle), if !is_cancelled => self.heard(heard),
                update = run.next() => {
                    let Some(update) = update else { break };
                    self.listen(&update);
                    if lost.is_none()
                        && let Err(error) = self.printer.update(&update)
                    {
                        // Nobody reads the answer: what was begun is put away properly.
                        is_cancelled = true;
                        run.handle().cancel();
                        lost = Some(error);
                    }
                }
            }
        }
        let finished = run.finished();
        // What still waits for it is answered.
        drop(run);
        if let Some(steering) = &mut self.steering {
            steering.settle(&self.printer).await;
        }
        for queued in &finished.undelivered {
            steer::undelivered(&self.printer, &steer::text_of(&queued.message));
        }
        self.printer.usage(&finished.usage);
        match lost {
            Some(error) => Err(self.unread(&error)),
            None => self.exit_of(&finished.outcome),
        }
    }

    /// Tells of what was said too late.
    pub(crate) fn end(self) {
        if let Some(steering) = self.steering {
            steering.end(&self.printer);
        }
    }

    fn heard(&mut self, heard: Heard) {
        let Some(steering) = &mut self.steering else {
            return;
        };
        match heard {
            // While a question waits, a line is its answer.
            Heard::Line(line) => {
                if let Some(line) = self.asker.typed(line) {
                    steering.take(line, &self.printer);
                }
            }
            Heard::End => self.asker.hang_up(),
            Heard::Answer(said, answer) => steering.answered(said, answer, &self.printer),
        }
    }

    fn listen(&mut self, update: &Update) {
        if let Update::Event(Event {
            loop_id: Some(loop_id),
            seq,
            kind: EventKind::ApprovalRequested(question),
            ..
        }) = update
        {
            let effect = EffectId {
                loop_id: loop_id.clone(),
                seq: *seq,
            };
            self.asker.ask(effect, question.clone());
        }
    }

    fn exit_of(&self, outcome: &Outcome) -> Result<Exit, Failure> {
        let failed = |text: String| Err(Failure::failed(text));
        match outcome {
            Outcome::Completed {} => Ok(Exit::Completed),
            Outcome::Rejected { reason } => failed(format!(
                "the input was refused ({reason}): change the prompt"
            )),
            Outcome::Cancelled {} => {
                let text = format!("the run was cancelled: {}", self.go_on());
                Err(Failure::new(Exit::Cancelled, text))
            }
            Outcome::LimitReached { limit } => {
                let (what, remedy) = (limit.as_str(), self.limit_remedy(*limit));
                let text = format!("a limit was reached ({what}): {remedy}");
                Err(Failure::new(Exit::Limit, text))
            }
            Outcome::Aborted { reason } => {
                failed(format!("the run was stopped ({reason}): {}", self.go_on()))
            }
            Outcome::Failed { error } => failed(self.error_line(error)),
        }
    }

    fn error_line(&self, error: &LoopError) -> String {
        let what = one_line(&error.to_string());
        let remedy = match error {
            LoopError::Provider { error } => self.remedy(error.kind, error.status),
            LoopError::Stopped { .. } => "change the prompt or the model".to_owned(),
            LoopError::Journal { .. } => {
                format!("see that the store can be written, then {}", self.go_on())
            }
            LoopError::Hook { .. } => self.go_on(),
            LoopError::Overflow { .. } => "begin a new session".to_owned(),
        };
        format!("{what}: {remedy}")
    }

    fn remedy(&self, kind: ProviderErrorKind, status: Option<u16>) -> String {
        let Some(variable) = &self.key_variable else {
            return "correct the script".to_owned();
        };
        match kind {
            ProviderErrorKind::Auth => format!("check the key in {variable}"),
            ProviderErrorKind::Billing => "check the account at the service".to_owned(),
            ProviderErrorKind::RateLimited
            | ProviderErrorKind::Overloaded
            | ProviderErrorKind::Server
            | ProviderErrorKind::Timeout
            | ProviderErrorKind::Incomplete
            | ProviderErrorKind::Cancelled => format!("wait, then {}", self.go_on()),
            ProviderErrorKind::Network => "check --base-url and the network".to_owned(),
            ProviderErrorKind::InvalidRequest if status == Some(404) => {
                "check --model and --base-url".to_owned()
            }
            ProviderErrorKind::InvalidRequest => "check --model and the prompt".to_owned(),
            ProviderErrorKind::ContextOverflow => "begin a new session".to_owned(),
            ProviderErrorKind::ContentFilter => "change the prompt".to_owned(),
            ProviderErrorKind::Protocol => "check --base-url and --protocol".to_owned(),
        }
    }

    fn limit_remedy(&self, limit: LimitKind) -> String {
        match limit {
            LimitKind::Turns => format!("raise --max-turns and {}", self.go_on()),
            LimitKind::ContextWindow => "begin a new session".to_owned(),
            LimitKind::Tokens
            | LimitKind::Cost
            | LimitKind::WallTime
            | LimitKind::ToolCalls
            | LimitKind::IdenticalCalls
            | LimitKind::OutputTokens
            | LimitKind::Agents
            | LimitKind::AgentsAtOnce
            | LimitKind::Depth => self.go_on(),
        }
    }

    fn go_on(&self) -> String {
        format!("go on with --session {}", self.session)
    }

    fn unread(&self, error: &io::Error) -> Failure {
        if error.kind() == io::ErrorKind::BrokenPipe {
            let go_on = self.go_on();
            let text = format!("stdout was closed, so the run was cancelled: {go_on}");
            return Failure::new(Exit::Cancelled, text);
        }
        Failure::stdout(error)
    }
}
