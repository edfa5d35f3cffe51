//! `phi run`: gives the agent a prompt.

use std::ffi::OsStr;
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::sync::Arc;

use phi::provider::models::Models;
use phi::session::Store;
use phi::tools::{Registry, Workspace};
use phi::types::{Configuration, EventKind, Limits, SessionId, Tool};

use crate::arguments::{RunArguments, TalkArguments, WorkArguments};
use crate::console::Console;
use crate::failure::{Exit, Failure};
use crate::files::{directory, read_stdin, read_text};
use crate::model::Model;
use crate::permission::{Permission, Terminal};
use crate::place::{self, session_failure, store_failure};
use crate::printer::Printer;
use crate::resume::CutOff;

/// Runs one prompt to its end.
pub(crate) async fn run(arguments: &RunArguments) -> Result<Exit, Failure> {
    let model = Model::of(&arguments.model)?;
    let store = place::store(arguments.store.store.as_deref())?;
    let id = match &arguments.session {
        Some(id) => place::session_id(id)?,
        None => new_id("")?,
    };
    let key_variable = model.key_variable.clone();
    let agent = agent(&arguments.work, model)?.store(Arc::clone(&store));
    let prompt = prompt(arguments.prompt.as_deref(), arguments.talk)?;

    let known = store.exists(&id).await;
    let is_new = !known.map_err(|error| store_failure(&error))?;
    let opened = agent.session(id.clone()).await;
    let mut session = opened.map_err(|error| session_failure(&error))?;
    let mut console = Console::new(arguments.talk, id.clone(), key_variable)?;
    console.printer.say(&format!("session: {id}"));
    if is_new {
        show_start(&mut console.printer, &*store, &id).await?;
    }
    for event in session.recovered() {
        let shown = console.printer.event(event);
        shown.map_err(|error| Failure::stdout(&error))?;
    }

    if session.unfinished().is_some()
        && let Some(cut_off) = CutOff::find(&*store, &id).await?
    {
        let told = "the loop before was cut off: it goes on first, and then the prompt";
        console.printer.say(told);
        let is_allowed = arguments.work.yes;
        cut_off
            .go_on(&mut session, &mut console, is_allowed)
            .await?;
    }
    let run = session.prompt(prompt);
    let run = run.map_err(|error| session_failure(&error))?;
    let done = console.pull(run).await;
    console.end();
    done
}

/// Makes the agent that the command line describes.
fn agent(work: &WorkArguments, model: Model) -> Result<phi::Agent, Failure> {
    let folder = directory(work.cwd.as_deref())?;
    let tools = tools(&work.tools, &folder)?;
    let system = match &work.system {
        Some(system) => match system.strip_prefix('@') {
            Some(path) => read_text(Path::new(path))?,
            None => system.clone(),
        },
        None if tools.is_empty() => String::new(),
        None => system_prompt(&folder),
    };
    let limits = Limits {
        turns: work.max_turns.or(Limits::default().turns),
        ..Limits::default()
    };
    let configuration = Configuration {
        limits,
        ..Configuration::default()
    };
    let agent = assemble(model, tools, work.yes);
    Ok(agent.system(system).configuration(configuration))
}

/// Makes an agent that asks for what it may not do on its own.
pub(crate) fn assemble(model: Model, tools: Vec<Arc<dyn Tool>>, is_allowed: bool) -> phi::Agent {
    let known = Models::builtin().target(model.provider.identity(), &model.name);
    let mut agent = phi::Agent::new(model.provider, model.name).named("phi");
    if let Some(price) = known.price {
        agent = agent.price(price);
    }
    if let Some(tokens) = known.window_tokens {
        agent = agent.window(tokens);
    }
    let agent = if is_allowed {
        agent
    } else {
        agent.hooks(Permission::new(&tools, Terminal::find()))
    };
    agent.tools(tools)
}

/// Makes the tools of a selection for a directory.
pub(crate) fn tools(selection: &str, folder: &Path) -> Result<Vec<Arc<dyn Tool>>, Failure> {
    let workspace = Workspace::open(folder).map_err(|error| Failure::refused(error.to_string()))?;
    let selected = Registry::built_in().select(selection, &workspace);
    selected.map_err(|error| Failure::refused(error.to_string()))
}

/// Says what an agent without a prompt of its own is there for.
pub(crate) fn system_prompt(folder: &Path) -> String {
    format!(
        "You are an agent that works in the directory {} with the tools that you have. Look before \
         you change anything, make the smallest change that does what was asked, and check it. \
         Then say in a few sentences what you did and what you found.",
        folder.display()
    )
}

/// Makes a name that no session has.
pub(crate) fn new_id(prefix: &str) -> Result<SessionId, Failure> {
    // Every hasher of the standard library begins with fresh randomness.
    let random = RandomState::new().hash_one(std::process::id());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seconds = now.unwrap_or_default().as_secs();
    place::session_id(&format!("{prefix}{seconds:010}-{:010x}", random >> 24))
}

fn prompt(given: Option<&OsStr>, talk: TalkArguments) -> Result<String, Failure> {
    let given = given.ok_or_else(|| {
        Failure::refused("no prompt is given: add it, or `-` to read it from stdin")
    })?;
    let text = match given.to_str() {
        Some("-") if talk.steer => {
            let text = "stdin cannot hold both the prompt and what --steer reads: give the prompt as \
                        an argument";
            return Err(Failure::refused(text));
        }
        Some("-") => read_stdin()?,
        Some(text) => text.to_owned(),
        None => {
            let text = "the prompt is not UTF-8: convert it to UTF-8";
            return Err(Failure::refused(text));
        }
    };
    if text.trim().is_empty() {
        return Err(Failure::refused("the prompt is empty: say what to do"));
    }
    Ok(text)
}

/// Shows the event that created the session.
async fn show_start(
    printer: &mut Printer,
    store: &dyn Store,
    id: &SessionId,
) -> Result<(), Failure> {
    let failure = |error| store_failure(&error);
    let mut reader = store.reader(id, 1).await.map_err(failure)?;
    for stored in reader.events(1).await.map_err(failure)? {
        if matches!(stored.event.kind, EventKind::SessionStarted(_)) {
            let shown = printer.event(&stored.event);
            shown.map_err(|error| Failure::stdout(&error))?;
        }
    }
    Ok(())
}
