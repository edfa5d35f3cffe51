//! Shows a run as it goes: the product on stdout, the rest on stderr.

use std::io::{self, IsTerminal as _, Write as _};

use phi::agent_loop::Update;
use phi::types::{AssistantMessage, Delta, Event, EventKind, Increment, Live, Message, Usage};
use serde::Serialize;

use crate::failure::to_stderr;
use crate::lines;
use crate::words::{one_line, tame, tame_json};

/// What stdout holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The text of the assistant.
    Text,
    /// Events and live increments as JSON lines.
    Json,
}

impl Form {
    /// Returns the form that the option `--json` chooses.
    pub(crate) fn of(is_json: bool) -> Self {
        if is_json { Self::Json } else { Self::Text }
    }
}

/// Shows a run as it goes.
#[derive(Debug)]
pub(crate) struct Printer {
    form: Form,
    /// Whether a terminal obeys what stdout gets.
    is_terminal: bool,
    colour: Colour,
    /// Bytes of the current answer that stdout has.
    shown: usize,
    /// Whether stdout stands at the start of a line.
    at_line_start: bool,
    /// The names of the calls of the current turn, by their index.
    calls: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Colour {
    Dim,
    None,
}

/// One live increment as a line.
#[derive(Serialize)]
struct LiveLine<'a> {
    live: &'a Live,
}

impl Printer {
    pub(crate) fn new(form: Form) -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colour = if io::stderr().is_terminal() && !no_colour {
            Colour::Dim
        } else {
            Colour::None
        };
        Self {
            form,
            is_terminal: io::stdout().is_terminal(),
            colour,
            shown: 0,
            at_line_start: true,
            calls: Vec::new(),
        }
    }

    /// Shows what a run handed out.
    pub(crate) fn update(&mut self, update: &Update) -> io::Result<()> {
        match update {
            Update::Event(event) => self.event(event),
            Update::Live(live) => self.live(live),
            Update::HookFailed(failed) => {
                let reason = one_line(&failed.reason);
                self.say(&format!("warning: a hook failed ({reason})"));
                Ok(())
            }
        }
    }

    /// Shows an event.
    pub(crate) fn event(&mut self, event: &Event) -> io::Result<()> {
        match self.form {
            Form::Json => self.json(event)?,
            Form::Text => self.text(event)?,
        }
        self.tell(&event.kind);
        Ok(())
    }

    /// Shows an answer that is in the log already, where its text is the product.
    pub(crate) fn answer(&mut self, message: &AssistantMessage) -> io::Result<()> {
        match self.form {
            Form::Json => Ok(()),
            Form::Text => {
                self.write(&message.text())?;
                self.end_line()
            }
        }
    }

    /// Writes a line of a person's business to stderr.
    pub(crate) fn say(&self, line: &str) {
        match self.colour {
            Colour::Dim => to_stderr(&format!("\u{1b}[2m{}\u{1b}[0m", tame(line))),
            Colour::None => to_stderr(&tame(line)),
        }
    }

    /// Says what the tokens of a loop were.
    pub(crate) fn usage(&self, usage: &Usage) {
        if let Some(line) = lines::usage(usage) {
            self.say(&line);
        }
    }

    fn json(&self, line: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_string(line)?;
        if self.is_terminal {
            text = tame_json(&text).into_owned();
        }
        text.push('\n');
        write(&text)
    }

    fn live(&mut self, live: &Live) -> io::Result<()> {
        match (self.form, &live.increment) {
            (Form::Json, _) => self.json(&LiveLine { live }),
            (Form::Text, Increment::Delta(Delta::Text(delta))) => self.write(&delta.text),
            (Form::Text, Increment::Delta(_) | Increment::Progress(_)) => Ok(()),
        }
    }

    fn text(&mut self, event: &Event) -> io::Result<()> {
        match &event.kind {
            EventKind::ModelStarted(_) => self.shown = 0,
            EventKind::ModelFailed(_) => self.end_line()?,
            EventKind::Message(added) => {
                if let Message::Assistant(message) = &added.message {
                    // A provider need not have shown its text in increments.
                    if self.shown == 0 {
                        self.write(&message.text())?;
                    }
                    self.end_line()?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.shown += text.len();
        self.at_line_start = text.ends_with('\n');
        if self.is_terminal {
            write(&tame(text))
        } else {
            write(text)
        }
    }

    fn end_line(&mut self) -> io::Result<()> {
        if self.at_line_start {
            return Ok(());
        }
        self.at_line_start = true;
        write("\n")
    }

    /// Says on stderr what happened beside the answer.
    fn tell(&mut self, kind: &EventKind) {
        if let EventKind::Message(added) = kind
            && let Message::Assistant(message) = &added.message
        {
            let calls = message.tool_calls();
            self.calls = calls.map(|call| call.name.to_string()).collect();
        }
        if let Some(line) = lines::event(kind, &self.calls) {
            self.say(&line);
        }
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
