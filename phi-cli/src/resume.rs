//! `phi resume`: goes on with a loop that was cut off.

use std::sync::Arc;

use phi::session::{Store, load};
use phi::types::{
    Approval, ApprovalRequested, AssistantMessage, EffectId, Entry, Identity, LoopId, SessionId,
    Surface, Target,
};

use crate::arguments::{ModelArguments, ResumeArguments};
use crate::console::Console;
use crate::failure::{Exit, Failure};
use crate::files::directory;
use crate::model::Model;
use crate::permission::{Terminal, denied};
use crate::place::{self, session_failure, store_failure};
use crate::printer::{Form, Printer};
use crate::run;

/// Brings the loop of a session that was cut off to its end.
pub(crate) async fn resume(arguments: &ResumeArguments) -> Result<Exit, Failure> {
    let store = place::store(arguments.store.store.as_deref())?;
    let id = place::session_id(&arguments.id)?;
    let Some(cut_off) = CutOff::find(&*store, &id).await? else {
        let printer = Printer::new(Form::of(arguments.talk.json));
        return Ok(nothing(&printer, &id));
    };
    let model = model(&arguments.model, &cut_off.surface, &id)?;
    let key_variable = model.key_variable.clone();
    let folder = directory(arguments.cwd.as_deref())?;
    let names: Vec<&str> = cut_off.surface.tools.iter().map(|it| &*it.name).collect();
    let tools = match names.as_slice() {
        [] => Vec::new(),
        names => run::tools(&names.join(","), &folder)?,
    };
    let agent = run::assemble(model, tools, arguments.yes)
        .system(cut_off.surface.system.to_string())
        .store(Arc::clone(&store));
    let opened = agent.session(id.clone()).await;
    let mut session = opened.map_err(|error| session_failure(&error))?;
    let mut console = Console::new(arguments.talk, id.clone(), key_variable)?;
    for event in session.recovered() {
        let shown = console.printer.event(event);
        shown.map_err(|error| Failure::stdout(&error))?;
    }
    let gone_on = cut_off
        .go_on(&mut session, &mut console, arguments.yes)
        .await;
    if let Ok(None) = &gone_on {
        nothing(&console.printer, &id);
    }
    console.end();
    Ok(gone_on?.unwrap_or(Exit::Completed))
}

fn nothing(printer: &Printer, id: &SessionId) -> Exit {
    printer.say(&format!("nothing is outstanding in session `{id}`"));
    Exit::Completed
}

/// A loop that has begun and not ended, as the log tells it.
#[derive(Debug)]
pub(crate) struct CutOff {
    loop_id: LoopId,
    surface: Surface,
    /// Questions that nobody has answered.
    questions: Vec<(u64, ApprovalRequested)>,
    /// The answer with which it was about to end.
    answer: Option<Arc<AssistantMessage>>,
}

impl CutOff {
    /// Looks whether the newest loop of a session was cut off.
    pub(crate) async fn find(store: &dyn Store, id: &SessionId) -> Result<Option<Self>, Failure> {
        let recorder = load(store, id).await;
        let recorder = recorder.map_err(|error| store_failure(&error))?;
        let newest = recorder.session().newest_loop();
        let open = newest.filter(|record| record.outcome.is_none());
        Ok(open.map(|record| {
            let calls = record.turns.last().into_iter().flat_map(|turn| &turn.calls);
            let open = calls.filter(|call| call.end.is_none());
            let asked = open.flat_map(|call| &call.approvals);
            let waiting = asked.filter(|asked| asked.answer.is_none());
            let answer = match record.transcript.history().last() {
                Some(Entry::Assistant(message)) if message.tool_calls().next().is_none() => {
                    Some(Arc::clone(message))
                }
                Some(_) | None => None,
            };
            Self {
                answer,
                loop_id: record.id.clone(),
                surface: record.transcript.surface().clone(),
                questions: waiting
                    .map(|asked| (asked.seq, asked.requested.clone()))
                    .collect(),
            }
        }))
    }

    /// Brings it to its end; `None` if there was nothing left to do. A question that waits goes on
    /// waiting where somebody can be asked.
    pub(crate) async fn go_on(
        self,
        session: &mut phi::Session,
        console: &mut Console,
        is_allowed: bool,
    ) -> Result<Option<Exit>, Failure> {
        let resumed = session.resume().await;
        let Some(mut run) = resumed.map_err(|error| session_failure(&error))? else {
            return Ok(None);
        };
        if let Some(answer) = &self.answer {
            // It may have been written and not shown.
            let shown = console.printer.answer(answer);
            shown.map_err(|error| Failure::stdout(&error))?;
        }
        for (seq, question) in self.questions {
            let loop_id = self.loop_id.clone();
            let effect = EffectId { loop_id, seq };
            let approval = match Terminal::find() {
                _ if is_allowed => Approval::Approved {},
                Terminal::Absent => Approval::Denied {
                    reason: denied(&question.call.name),
                },
                Terminal::Present => {
                    console.ask(effect, question);
                    continue;
                }
            };
            // The question may have become pointless meanwhile.
            if run.approve(effect, approval).is_err() {}
        }
        console.pull(run).await.map(Some)
    }
}

/// Finds the model: what the options leave open is what the log says.
fn model(given: &ModelArguments, surface: &Surface, id: &SessionId) -> Result<Model, Failure> {
    let is_chosen = given.script.is_some()
        || given.base_url.is_some()
        || (given.protocol.is_some() && given.model.is_some());
    let Some(target) = surface.models.first().filter(|_| given.script.is_none()) else {
        return Model::of(given);
    };
    if target.protocol.as_ref() == SCRIPTED && given.protocol.is_none() {
        return Err(Failure::refused(format!(
            "session `{id}` was run with a script: add --script, or --protocol and --model"
        )));
    }
    let mut arguments = given.clone();
    let protocol = arguments
        .protocol
        .get_or_insert_with(|| target.protocol.to_string());
    if *protocol == *target.protocol {
        arguments
            .model
            .get_or_insert_with(|| target.model.to_string());
    }
    let model = Model::of(&arguments)?;
    // What was said in the session goes to no other service unless somebody asked for it.
    if !is_chosen && !is_same(&model.provider.identity(), target) {
        return Err(Failure::refused(format!(
            "session `{id}` was run with the service `{}`: add --base-url with its address",
            target.provider
        )));
    }
    Ok(model)
}

/// The protocol that a script says it speaks.
const SCRIPTED: &str = "scripted";

fn is_same(identity: &Identity<'_>, target: &Target) -> bool {
    identity.protocol == &*target.protocol && identity.provider == &*target.provider
}
