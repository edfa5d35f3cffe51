//! `phi demo`: the real loop and the real tools at work on a small project, with a scripted model.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use phi::session::{Store, read_events};
use phi::types::{Event, EventKind, SessionId, ToolEnding};
use phi_testkit::{Reply, ScriptedCall, ScriptedProvider};

use crate::arguments::{DemoArguments, TalkArguments};
use crate::console::Console;
use crate::failure::{Exit, Failure};
use crate::place::{Place, session_failure, store_failure};
use crate::printer::Printer;
use crate::run::{new_id, system_prompt, tools};
use crate::words::quoted;

const GREET: &str = r#"# Prints a greeting for the name that it is given.
greet() {
  printf 'Helo, %s!\n' "$1"
}
"#;

const TEST: &str = r#"# Fails unless the greeting is right.
. ./greet.sh
wanted='Hello, world!'
found=$(greet world)
if [ "$found" != "$wanted" ]; then
  echo "FAILED: wanted '$wanted', found '$found'"
  exit 1
fi
echo "passed: $found"
"#;

const README: &str = "A greeting in shell. `sh test.sh` tests it.\n";

const PROMPT: &str = "The test of this project fails. Find out why and repair it.";

/// Runs the demo.
pub(crate) async fn demo(arguments: &DemoArguments) -> Result<Exit, Failure> {
    let scratch = tempfile::Builder::new().prefix("phi-demo-").tempdir();
    let scratch = scratch.map_err(|error| no_scratch(&error))?;
    let project = scratch.path().to_owned();
    lay_out(&project).map_err(|error| no_scratch(&error))?;
    let place = Place::find(None)?;
    let store = place.store()?;
    let id = new_id("demo-")?;
    let mut console = Console::new(TalkArguments::default(), id.clone(), None)?;
    let folder = project.display();
    console.printer.say(&format!("scratch directory: {folder}"));
    let told = "the model is scripted: its replies are fixed; loop, tools and log are real";
    console.printer.say(told);

    let mut done = work(&mut console, &store, &id, &project).await;
    if matches!(done, Ok(Exit::Completed)) {
        done = proof(&*store, &id).await;
    }
    if matches!(done, Ok(Exit::Completed)) {
        done = check(&project);
    }
    if matches!(store.exists(&id).await, Ok(true)) {
        show_commands(&console.printer, &place, &id);
    }
    if arguments.keep {
        let kept = scratch.keep();
        console.printer.say(&format!("kept {}", kept.display()));
    } else {
        scratch.close().map_err(|error| {
            let path = project.display();
            Failure::failed(format!("cannot remove {path} ({error}): remove it by hand"))
        })?;
    }
    done
}

/// Lets the agent work.
async fn work(
    console: &mut Console,
    store: &Arc<dyn Store>,
    id: &SessionId,
    project: &Path,
) -> Result<Exit, Failure> {
    let agent = phi::Agent::new(Arc::new(ScriptedProvider::new(replies())), "scripted")
        .named("phi-demo")
        .system(system_prompt(project))
        .tools(tools("default", project)?)
        .store(Arc::clone(store));
    let opened = agent.session(id.clone()).await;
    let mut session = opened.map_err(|error| session_failure(&error))?;
    console.printer.say(&format!("session: {id}"));
    console.printer.say(&format!("prompt: {PROMPT}"));
    let run = session.prompt(PROMPT);
    console
        .pull(run.map_err(|error| session_failure(&error))?)
        .await
}

/// What the scripted model says, turn by turn.
fn replies() -> Vec<Reply> {
    let test = r#"{"command":"sh test.sh"}"#;
    let edit = r#"{"path":"greet.sh","edits":[{"old_text":"Helo","new_text":"Hello"}]}"#;
    let call = |name: &str, arguments: &str| ScriptedCall::new(name, arguments);
    vec![
        Reply::text("I look at what there is.").with_call(call("list_files", "{}")),
        Reply::text("I search for the greeting.")
            .with_call(call("search", r#"{"pattern":"greet"}"#)),
        Reply::text("I read both files.")
            .with_call(call("read_file", r#"{"path":"greet.sh"}"#))
            .with_call(call("read_file", r#"{"path":"test.sh"}"#)),
        Reply::text("I run the test to see it fail.").with_call(call("bash", test)),
        Reply::text("The greeting lacks an `l`. I correct it.").with_call(call("edit_file", edit)),
        Reply::text("I run the test again.").with_call(call("bash", test)),
        Reply::text(
            "The test passes now. `greet.sh` said `Helo` where the test wants `Hello`; I corrected \
             that one word.",
        ),
    ]
}

fn lay_out(project: &Path) -> io::Result<()> {
    fs::write(project.join("README.md"), README)?;
    fs::write(project.join("greet.sh"), GREET)?;
    fs::write(project.join("test.sh"), TEST)
}

/// Runs the test of the project once more, beside the agent.
fn check(project: &Path) -> Result<Exit, Failure> {
    let ran = Command::new("sh")
        .arg("test.sh")
        .current_dir(project)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match ran {
        Ok(status) if status.success() => Ok(Exit::Completed),
        Ok(_) => Err(Failure::failed(
            "the test of the demo still fails: see what the tools said above",
        )),
        Err(error) => Err(Failure::failed(format!(
            "cannot run sh ({error}): install a shell"
        ))),
    }
}

/// Looks in the log whether the test failed before the edit and passed after it.
async fn proof(store: &dyn Store, id: &SessionId) -> Result<Exit, Failure> {
    let events = read_events(store, id).await;
    let events = events.map_err(|error| store_failure(&error))?;
    let ends = events.iter().filter_map(|event| match &event.kind {
        EventKind::ToolEnded(ended) => Some((name_of(&events, ended.started)?, ended.ending)),
        _ => None,
    });
    let ends: Vec<(&str, ToolEnding)> = ends
        .filter(|(name, _)| matches!(*name, "bash" | "edit_file"))
        .collect();
    let wanted = [
        ("bash", ToolEnding::Failed),
        ("edit_file", ToolEnding::Finished),
        ("bash", ToolEnding::Finished),
    ];
    if ends == wanted {
        return Ok(Exit::Completed);
    }
    Err(Failure::failed(
        "the test did not fail before the edit and pass after it: see what the tools said above",
    ))
}

/// Finds the tool of a call by the `seq` of its start.
fn name_of(events: &[Event], started: Option<u64>) -> Option<&str> {
    let mut starts = events.iter().filter_map(|event| match &event.kind {
        EventKind::ToolStarted(started) => Some((event.seq, &*started.call.name)),
        _ => None,
    });
    starts.find_map(|(seq, name)| (Some(seq) == started).then_some(name))
}

/// Says how to look at the session.
fn show_commands(printer: &Printer, place: &Place, id: &SessionId) {
    let program = program();
    let store = quoted(&place.to_string());
    printer.say("look at the session:");
    for command in ["show", "events", "replay"] {
        let line = format!("  {program} sessions {command} {id} --store {store}");
        printer.say(&line);
    }
}

/// Names this program so that a shell finds it.
fn program() -> String {
    let Ok(path) = std::env::current_exe() else {
        return "phi".to_owned();
    };
    let here = std::env::current_dir().unwrap_or_default();
    let near: PathBuf = match path.strip_prefix(&here) {
        Ok(near) if near.components().count() > 1 => near.to_owned(),
        Ok(_) | Err(_) => path,
    };
    quoted(&near.to_string_lossy())
}

fn no_scratch(error: &io::Error) -> Failure {
    Failure::refused(format!(
        "cannot make a scratch directory ({error}): set TMPDIR to one that can be written"
    ))
}
