//! `phi tool`: lists, describes and calls the built-in tools.

use std::path::Path;
use std::sync::Arc;

use phi::tools::{Registry, Workspace};
use phi::types::{
    Arguments, ConfigurationId, Content, EffectId, LoopId, RawJson, SessionId, Tool, ToolContext,
    ToolResult,
};
use serde::Serialize;

use crate::arguments::ToolCommand;
use crate::failure::{Exit, Failure, print};
use crate::files::directory;
use crate::interrupt::Interrupt;

/// A result as a line of JSON, with every key.
#[derive(Serialize)]
struct ResultLine<'a> {
    content: &'a [Content],
    is_error: bool,
    details: RawJson,
}

/// Does what was asked of the tools.
pub(crate) async fn tool(command: &ToolCommand) -> Result<Exit, Failure> {
    match command {
        ToolCommand::List => list(),
        ToolCommand::Describe { name } => describe(name),
        ToolCommand::Call {
            name,
            arguments,
            cwd,
        } => call(name, arguments, cwd.as_deref()).await,
    }
}

fn list() -> Result<Exit, Failure> {
    let folder = directory(None)?;
    let mut text = String::new();
    for name in Registry::built_in().names() {
        let tool = make(name, &folder)?;
        let description = &tool.spec().description;
        let first = description.split(". ").next().unwrap_or(description);
        text.push_str(&format!("{name:12} {}.\n", first.trim_end_matches('.')));
    }
    print(&text)?;
    Ok(Exit::Completed)
}

fn describe(name: &str) -> Result<Exit, Failure> {
    let tool = make(name, &directory(None)?)?;
    let text = serde_json::to_string_pretty(tool.spec());
    let text = text.map_err(|error| Failure::unwritable(&error))?;
    print(&format!("{text}\n"))?;
    Ok(Exit::Completed)
}

async fn call(name: &str, arguments: &str, cwd: Option<&Path>) -> Result<Exit, Failure> {
    let tool = make(name, &directory(cwd)?)?;
    let refused = |what: &dyn std::fmt::Display| {
        Failure::refused(format!("the arguments of `{name}` are wrong: {what}"))
    };
    let arguments = match Arguments::parse(arguments) {
        Arguments::Object(object) => object,
        Arguments::Malformed { error, .. } => {
            return Err(refused(&format!("{error}; give one JSON object")));
        }
    };
    tool.validate(&arguments).map_err(|error| refused(&error))?;
    let context = context()?;
    let interrupt = Interrupt::listen()?;
    let result = tokio::select! {
        result = tool.call(arguments, context) => result,
        () = interrupt.first() => {
            let text = "the call was cancelled: call it again";
            return Err(Failure::new(Exit::Cancelled, text));
        }
    };
    let ToolResult {
        content,
        is_error,
        details,
        ..
    } = result;
    let line = ResultLine {
        content: &content,
        is_error,
        details: details.unwrap_or_else(RawJson::empty_object),
    };
    let text = serde_json::to_string(&line).map_err(|error| Failure::unwritable(&error))?;
    print(&format!("{text}\n"))?;
    Ok(if is_error {
        Exit::Failed
    } else {
        Exit::Completed
    })
}

fn make(name: &str, folder: &Path) -> Result<Arc<dyn Tool>, Failure> {
    let workspace = Workspace::open(folder).map_err(|error| Failure::refused(error.to_string()))?;
    let made = Registry::built_in().make(name, &workspace);
    made.map_err(|error| Failure::refused(error.to_string()))
}

/// Makes the context of a call that belongs to no session.
fn context() -> Result<ToolContext, Failure> {
    let refused = |error: phi::types::InvalidId| Failure::refused(error.to_string());
    let session = SessionId::new("tool-call").map_err(refused)?;
    let configuration = ConfigurationId::new("default").map_err(refused)?;
    let effect = EffectId {
        loop_id: LoopId::numbered(&session, &configuration, 1),
        seq: 1,
    };
    Ok(ToolContext::new(session, effect, Arc::new(())))
}
