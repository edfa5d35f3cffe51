//! What a sub-agent shows of itself while it works: its newest calls and the end of its text.

use std::collections::VecDeque;

use phi_loop::Update;
use phi_types::{Delta, EventKind, Increment};

/// How many calls are shown.
const CALLS_MAX: usize = 8;
/// How much is shown of a text and of the progress of a call, in characters.
const TEXT_MAX: usize = 1_000;
/// How much is shown of the arguments of a call, in characters.
const ARGUMENTS_MAX: usize = 100;

/// What a sub-agent shows, in bounded memory.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    calls: VecDeque<String>,
    /// What the newest of its calls shows.
    progress: String,
    text: String,
}

impl Shown {
    /// Takes an update and returns what is to be shown, if that changed.
    pub(crate) fn take(&mut self, update: &Update) -> Option<String> {
        match update {
            Update::Event(event) => match &event.kind {
                EventKind::ModelStarted(_) => {
                    self.text.clear();
                    self.progress.clear();
                    return None;
                }
                EventKind::ToolStarted(started) => {
                    let arguments = started.call.arguments.text();
                    let arguments: String = arguments.chars().take(ARGUMENTS_MAX).collect();
                    if self.calls.len() == CALLS_MAX {
                        self.calls.pop_front();
                    }
                    self.calls
                        .push_back(format!("{} {arguments}", started.call.name));
                }
                _ => return None,
            },
            Update::Live(live) => match &live.increment {
                Increment::Delta(Delta::Text(delta)) => {
                    self.text.push_str(&delta.text);
                    keep_end(&mut self.text);
                }
                Increment::Progress(progress) => {
                    self.progress.clone_from(&progress.text);
                    keep_end(&mut self.progress);
                }
                Increment::Delta(_) => return None,
            },
            Update::HookFailed(_) => return None,
        }
        Some(self.to_text())
    }

    fn to_text(&self) -> String {
        let calls = self.calls.iter().map(String::as_str);
        let rest = [self.progress.as_str(), self.text.as_str()];
        let lines = calls.chain(rest).filter(|text| !text.is_empty());
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// Cuts the beginning off. It is moved seldom: only when there is twice as much as is kept.
fn keep_end(text: &mut String) {
    if text.len() <= 2 * TEXT_MAX {
        return;
    }
    let from = text.char_indices().rev().nth(TEXT_MAX - 1);
    if let Some((from, _)) = from {
        text.drain(..from);
    }
}
