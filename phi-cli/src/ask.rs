//! Asks on the terminal whether a call may run.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, BufRead as _, Write as _};
use std::sync::Arc;

use phi::types::{Approval, ApprovalRequested, EffectId};
use tokio::sync::oneshot;

use crate::failure::to_stderr;
use crate::steer::Line;
use crate::words::tame;

/// The most bytes of a call that a question shows.
const SHOWN_BYTES_MAX: usize = 8 << 10;

/// The questions of a run, asked one after the other.
#[derive(Debug, Default)]
pub(crate) struct Asker {
    waiting: VecDeque<(EffectId, ApprovalRequested)>,
    /// The answer that is being typed.
    typing: Option<oneshot::Receiver<String>>,
    stdin: Stdin,
    /// Tools that may run without a further question.
    always: BTreeSet<Arc<str>>,
}

/// Where answers are typed.
#[derive(Debug, Default)]
enum Stdin {
    /// On lines that are read for a question and for nothing else.
    #[default]
    Own,
    /// On lines that are messages while no question waits; here for the one that waits.
    Shared(Option<oneshot::Sender<String>>),
    /// Nowhere any more.
    Ended,
}

impl Asker {
    /// Makes an asker that is told what is typed.
    pub(crate) fn beside_messages() -> Self {
        Self {
            stdin: Stdin::Shared(None),
            ..Self::default()
        }
    }

    /// Takes a line where it answers a question, and returns any other one.
    pub(crate) fn typed(&mut self, line: Line) -> Option<Line> {
        let Stdin::Shared(asked) = &mut self.stdin else {
            return Some(line);
        };
        let Some(asked) = asked.take() else {
            return Some(line);
        };
        match asked.send(line.unwrap_or_default()) {
            // The question may have become pointless meanwhile.
            Ok(()) | Err(_) => None,
        }
    }

    /// Learns that nothing more is typed.
    pub(crate) fn hang_up(&mut self) {
        self.stdin = Stdin::Ended;
    }

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
            match &mut self.stdin {
                Stdin::Own => read_line(),
                Stdin::Shared(asked) => {
                    let (sender, line) = oneshot::channel();
                    *asked = Some(sender);
                    line
                }
                Stdin::Ended => oneshot::channel().1,
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use phi::types::{Arguments, ConfigurationId, LoopId, PartFacts, SessionId, ToolCall};
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn question(asker: &mut Asker, seq: u64) {
        let session = SessionId::new("s").unwrap();
        let configuration = ConfigurationId::new("c").unwrap();
        let loop_id = LoopId::numbered(&session, &configuration, 1);
        let call = ToolCall {
            id: "call".into(),
            name: "paint".into(),
            arguments: Arguments::parse("{}"),
            facts: PartFacts::default(),
        };
        let question = ApprovalRequested {
            index: 0,
            call: Arc::new(call),
            question: "May it?".to_owned(),
        };
        asker.ask(EffectId { loop_id, seq }, question);
    }

    fn answer(asker: &mut Asker) -> Poll<Approval> {
        let mut context = Context::from_waker(Waker::noop());
        let answered = pin!(asker.answer());
        answered.poll(&mut context).map(|(_, approval)| approval)
    }

    fn line(text: &str) -> Line {
        Ok(text.to_owned())
    }

    #[test]
    fn a_line_is_an_answer_while_a_question_waits_and_a_message_otherwise() {
        let mut asker = Asker::beside_messages();
        assert_eq!(asker.typed(line("Blue.")), Some(line("Blue.")));
        question(&mut asker, 1);
        question(&mut asker, 2);
        // Nobody has seen the question yet.
        assert_eq!(asker.typed(line("Blue.")), Some(line("Blue.")));
        assert_eq!(answer(&mut asker), Poll::Pending);
        assert_eq!(asker.typed(line("y")), None);
        assert_eq!(asker.typed(line("Thin.")), Some(line("Thin.")));
        assert_eq!(answer(&mut asker), Poll::Ready(Approval::Approved {}));
        assert_eq!(answer(&mut asker), Poll::Pending);
        asker.hang_up();
        assert!(matches!(
            answer(&mut asker),
            Poll::Ready(Approval::Denied { .. })
        ));
        question(&mut asker, 3);
        assert!(matches!(
            answer(&mut asker),
            Poll::Ready(Approval::Denied { .. })
        ));
    }
}
