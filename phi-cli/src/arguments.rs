//! What can be asked of phi on its command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use crate::failure::Failure;

/// An agent that reads, edits and runs things in a directory.
#[derive(Debug, Parser)]
#[command(name = "phi", version, disable_help_subcommand = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

/// One command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the agent at work, without key and without network
    Demo(DemoArguments),
    /// Give the agent a prompt
    Run(Box<RunArguments>),
    /// Go on with a session that was cut off
    Resume(Box<ResumeArguments>),
    /// List, show, explain, check, fork and delete stored sessions
    #[command(subcommand)]
    Sessions(SessionsCommand),
    /// List what is known of models: windows, prices, abilities
    Models(ModelsArguments),
    /// List, describe and call the built-in tools
    #[command(subcommand)]
    Tool(ToolCommand),
    /// Decode recorded answers of model services
    #[command(subcommand)]
    Wire(WireCommand),
}

#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Keep the scratch directory
    #[arg(long)]
    pub(crate) keep: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ModelsArguments {
    /// Write a JSON line for each model
    #[arg(long)]
    pub(crate) json: bool,
    /// A file that overrides what is built in, field by field; a later one overrides an earlier one
    #[arg(long = "file", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// What the agent shall do; `-` reads it from stdin
    pub(crate) prompt: Option<OsString>,
    #[command(flatten)]
    pub(crate) model: ModelArguments,
    #[command(flatten)]
    pub(crate) work: WorkArguments,
    #[command(flatten)]
    pub(crate) store: StoreArguments,
    /// The session to create or to continue; without it a new one gets a name
    #[arg(long, value_name = "ID")]
    pub(crate) session: Option<String>,
    #[command(flatten)]
    pub(crate) talk: TalkArguments,
}

#[derive(Debug, Args)]
pub(crate) struct ResumeArguments {
    /// The session
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) model: ModelArguments,
    /// The directory to work in
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,
    /// Let tools that write or execute run without a question
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) store: StoreArguments,
    #[command(flatten)]
    pub(crate) talk: TalkArguments,
}

/// Which model answers.
#[derive(Debug, Clone, Args)]
pub(crate) struct ModelArguments {
    /// What the service speaks: anthropic-messages or openai-chat
    #[arg(long, value_name = "P")]
    pub(crate) protocol: Option<String>,
    /// The model as the service names it
    #[arg(long, value_name = "M")]
    pub(crate) model: Option<String>,
    /// The address of the service; that of OpenAI includes `/v1`, that of Anthropic does not
    #[arg(long, value_name = "U")]
    pub(crate) base_url: Option<String>,
    /// The variable that holds the key
    #[arg(long, value_name = "V")]
    pub(crate) api_key_env: Option<String>,
    /// A header to send with each request
    #[arg(long = "header", value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<String>,
    /// Answer from a script, a JSON array of replies, in place of a model
    #[arg(long, value_name = "FILE")]
    pub(crate) script: Option<PathBuf>,
}

/// What the agent works with.
#[derive(Debug, Args)]
pub(crate) struct WorkArguments {
    /// The system prompt, or `@FILE` that holds it
    #[arg(long, value_name = "TEXT|@FILE")]
    pub(crate) system: Option<String>,
    /// The tools by name with commas between them, `none` or `default`
    #[arg(long, value_name = "LIST", default_value = "default")]
    pub(crate) tools: String,
    /// The most turns of the loop
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_turns: Option<u32>,
    /// The directory to work in
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,
    /// Let tools that write or execute run without a question
    #[arg(long)]
    pub(crate) yes: bool,
}

/// What goes back and forth while a loop runs.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct TalkArguments {
    /// Write events and live increments as JSON lines to stdout
    #[arg(long)]
    pub(crate) json: bool,
    /// Read lines from stdin while the loop runs: the model reads each before its next turn. With
    /// --json a line is {"id":"…","steer":"…"}, or {"id":"…","follow_up":"…"} for the end of the
    /// loop; the event `message_queued` says that it is written down, and an id counts once in a loop
    #[arg(long)]
    pub(crate) steer: bool,
}

/// Where sessions are kept.
#[derive(Debug, Args)]
pub(crate) struct StoreArguments {
    /// Where sessions are kept: a folder, or a database of SQLite in a build with the feature `sqlite`
    /// [default: $PHI_STORE, $XDG_STATE_HOME/phi or ~/.local/state/phi]
    #[arg(long, value_name = "DIR|sqlite:FILE")]
    pub(crate) store: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionsCommand {
    /// List the sessions
    List {
        #[command(flatten)]
        store: StoreArguments,
        /// Write a JSON line for each session
        #[arg(long)]
        json: bool,
    },
    /// Show a session to a person
    Show {
        #[command(flatten)]
        session: SessionArguments,
        /// Write a page with a timeline instead; `-` writes it to stdout
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
    /// Print the stored lines of a session
    Events(SessionArguments),
    /// Print what a model was asked, as JSON, with the events that each block of it comes from
    ///
    /// Without an option it is the newest request of the session.
    Request {
        #[command(flatten)]
        session: SessionArguments,
        #[command(flatten)]
        which: AttemptArguments,
    },
    /// Drive a fresh loop with what a session recorded and compare every event
    Replay(SessionArguments),
    /// Check everything that is stored of a session
    Verify(SessionArguments),
    /// Begin a session that shares the past of another one, and print its name
    Fork {
        #[command(flatten)]
        session: SessionArguments,
        /// The position of the last event that both share, from 1
        #[arg(long, value_name = "POSITION")]
        at: u64,
    },
    /// Delete a session
    Delete(SessionArguments),
}

#[derive(Debug, Args)]
pub(crate) struct SessionArguments {
    /// The session
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) store: StoreArguments,
}

/// Which request of a session.
#[derive(Debug, Args)]
pub(crate) struct AttemptArguments {
    /// The position of its event `model_started`, from 1
    #[arg(long, value_name = "POSITION", conflicts_with = "turn")]
    pub(crate) at: Option<u64>,
    /// The turn of the session, from 1: its newest attempt
    #[arg(long, value_name = "N")]
    pub(crate) turn: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ToolCommand {
    /// List the tools
    List,
    /// Print what a model is told about a tool
    Describe {
        /// The tool
        name: String,
    },
    /// Call a tool without a question and print its result
    Call {
        /// The tool
        name: String,
        /// The arguments as a JSON object
        arguments: String,
        /// The directory to work in
        #[arg(long, value_name = "DIR")]
        cwd: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum WireCommand {
    /// Print what a recorded response body says
    Decode(DecodeArguments),
}

#[derive(Debug, Args)]
pub(crate) struct DecodeArguments {
    /// What the service speaks: anthropic-messages or openai-chat
    #[arg(long, value_name = "P")]
    pub(crate) protocol: String,
    /// The HTTP status of the response
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u16).range(100..1000))]
    pub(crate) status: u16,
    /// The content type of the response
    #[arg(long, value_name = "T")]
    pub(crate) content_type: Option<String>,
    /// A header of the response
    #[arg(long = "header", value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<String>,
    /// Feed so many bytes at a time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) chunk: Option<u64>,
    /// The body; `-` reads it from stdin
    #[arg(value_name = "FILE|-")]
    pub(crate) file: PathBuf,
}

/// Reads the command line; `None` where help or the version was asked for and printed.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Option<Command>, Failure> {
    let error = match CommandLine::try_parse_from(arguments) {
        Ok(line) => return Ok(Some(line.command)),
        Err(error) => error,
    };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => match error.print() {
            Ok(()) => Ok(None),
            Err(error) => Err(Failure::stdout(&error)),
        },
        _ => Err(Failure::refused(usage_error(&error))),
    }
}

/// Says in one line what is wrong with the command line.
fn usage_error(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "no command is given: see `phi --help`".to_owned();
    }
    let text = error.to_string();
    let mut paragraphs = text.split("\n\n");
    let what = paragraphs.next().unwrap_or_default();
    let what = what
        .strip_prefix("error: ")
        .unwrap_or(what)
        .trim_end_matches(':');
    let tips = paragraphs.filter_map(|it| it.trim().strip_prefix("tip: "));
    let tips: Vec<&str> = tips.collect();
    if tips.is_empty() {
        format!("{what}: see `phi --help`")
    } else {
        format!("{what}: {}", tips.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        use clap::CommandFactory as _;
        CommandLine::command().debug_assert();
    }
}
