//! Asks on the terminal whether a call may run.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, BufRead as _, Write as _};
use std::sync::Arc;

use phi::types::{Approval, ApprovalRequested, EffectId};
use tokio::sync::oneshot;

use crate::failure::to_stderr;
use crate::words::tame;

/// The most bytes of a call that a question shows.
const SHOWN_BYTES_MAX: usize = 8 << 10;

/// The questions of a run, asked one after the other.
#[derive(Debug, Default)]
pub(crate) struct Asker {
    waiting: VecDeque<(EffectId, ApprovalRequested)>,
    /// The answer that is being typed.
    typing: Option<oneshot::Receiver<String>>,
    /// Tools that may run without a further question.
    always: BTreeSet<Arc<str>>,
}

impl Asker {
    /// Takes a question.
    pub(crate) fn ask(&mut self, effect: EffectId, question: ApprovalRequested) {
        self.waiting.push_back((effect, question));
    }

    /// Waits for the next answer; forever if there is no question.
    ///
    /// **Cancel safety:** a dropped call loses nothing.
    pub(crate) async fn answer(&mut self) -> (EffectId, Approval) {
        let Some((effect, question)) = self.waiting.front() else {
            return std::future::pending().await;
        };
        let (effect, tool) = (effect.clone(), Arc::clone(&question.call.name));
        if self.always.contains(&tool) {
            self.waiting.pop_front();
            return (effect, Approval::Approved {});
        }
        let typing = self.typing.get_or_insert_with(|| {
            show(question);
            read_line()
        });
        // A reader that went away without a line met the end of the terminal.
        let line = typing.await.unwrap_or_default();
        self.typing = None;
        self.waiting.pop_front();
        let approval = match line.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Approval::Approved {},
            "a" | "always" => {
                self.always.insert(tool);
                Approval::Approved {}
            }
            _ => Approval::Denied {
                reason: "the user was asked and did not allow it".to_owned(),
            },
        };
        (effect, approval)
    }
}

fn show(question: &ApprovalRequested) {
    let call = question.call.arguments.text();
    let ends = call.char_indices().map(|(at, c)| at + c.len_utf8());
    let end = ends.take_while(|end| *end <= SHOWN_BYTES_MAX).last();
    let (shown, rest) = call.split_at(end.unwrap_or(0));
    to_stderr(&tame(&format!("{}\n  {shown}", question.question)));
    if !rest.is_empty() {
        to_stderr(&format!("  … {} more bytes are not shown", rest.len()));
    }
    let name = tame(&question.call.name);
    let choice = format!("[y]es, [n]o, [a]lways `{name}` in this run? ");
    let mut stderr = io::stderr().lock();
    let asked = stderr.write_all(choice.as_bytes());
    // Without a reader there is nobody to ask; the answer is then the end of the terminal.
    if asked.and_then(|()| stderr.flush()).is_err() {}
}

/// Reads a line on a thread of its own, which the end of the process does not wait for.
fn read_line() -> oneshot::Receiver<String> {
    let (sender, line) = oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        if io::stdin().lock().read_line(&mut line).is_ok() {
            // Whoever asked may have gone.
            if sender.send(line).is_err() {}
        }
    });
    line
}
