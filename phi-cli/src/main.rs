//! The command line of phi: the binary `phi`.
//!
//! ```sh
//! phi demo
//! phi run --protocol anthropic-messages --model a-model "What does this project do?"
//! phi sessions list
//! ```

mod arguments;
mod ask;
mod console;
mod demo;
mod failure;
mod files;
mod interrupt;
mod lines;
mod model;
mod models;
mod page;
mod permission;
mod place;
mod printer;
mod protocol;
mod request;
mod resume;
mod run;
mod sessions;
mod show;
mod steer;
mod tool;
mod wire;
mod words;

use std::process::ExitCode;

use crate::arguments::{Command, parse};
use crate::failure::{Exit, Failure};

fn main() -> ExitCode {
    let done = match parse(std::env::args_os()) {
        Ok(Some(command)) => perform(command),
        Ok(None) => Ok(Exit::Completed),
        Err(failure) => Err(failure),
    };
    let exit = done.unwrap_or_else(|failure| failure.report());
    ExitCode::from(exit.code())
}

fn perform(command: Command) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::failed(format!(
                "cannot start ({error}): free some threads or files"
            ))
        })?;
    let done = runtime.block_on(async {
        interrupt::let_writes_fail()?;
        match command {
            Command::Demo(arguments) => demo::demo(&arguments).await,
            Command::Run(arguments) => run::run(&arguments).await,
            Command::Resume(arguments) => resume::resume(&arguments).await,
            Command::Sessions(command) => sessions::sessions(&command).await,
            Command::Models(arguments) => models::models(&arguments),
            Command::Tool(command) => tool::tool(&command).await,
            Command::Wire(command) => wire::wire(&command),
        }
    });
    // A thread that waits for the terminal must not hold the end up.
    runtime.shutdown_background();
    done
}
