//! What is said to a loop while it runs: the lines of stdin, as messages.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, BufRead};
use std::pin::Pin;

use phi::agent_loop::{Handle, Rejected, Undelivered};
use phi::types::{Content, Queue, QueueId, UserMessage};
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::failure::Failure;
use crate::printer::{Form, Printer};
use crate::run::new_id;
use crate::words::excerpt;

/// The longest line, in bytes.
const LINE_BYTES_MAX: usize = 1 << 20;
/// How many lines wait for the loop; more wait in stdin.
const LINES_MAX: usize = 16;
/// The longest excerpt of a message, in characters.
const EXCERPT_MAX: usize = 80;

/// One line of stdin, or why it cannot be one.
pub(crate) type Line = Result<String, &'static str>;
/// Whether a loop took a message.
pub(crate) type Answer = Result<(), Undelivered>;

/// A message on its way to a loop.
type Saying = Pin<Box<dyn Future<Output = (Said, Answer)> + Send>>;

/// What happened on the way.
pub(crate) enum Heard {
    /// Stdin holds a line.
    Line(Line),
    /// Stdin has ended.
    End,
    /// A loop has taken a message, or not.
    Answer(Said, Answer),
}

/// The lines of stdin on their way to the loop, in their order.
pub(crate) struct Steering {
    form: Form,
    lines: mpsc::Receiver<Line>,
    /// Whether there are no more lines.
    is_over: bool,
    /// The message that is being said.
    saying: Option<Saying>,
    /// How many lines have come.
    count: u64,
    /// What makes the ids of lines that have none unlike those of other processes.
    name: String,
    /// Messages that no loop has taken.
    waiting: VecDeque<Said>,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    id: QueueId,
    queue: Queue,
    text: String,
}

/// A message as a line of JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SaidForm {
    id: QueueId,
    steer: Option<String>,
    follow_up: Option<String>,
}

impl fmt::Debug for Steering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Steering")
            .field("form", &self.form)
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

impl Steering {
    /// Begins to read stdin, on a thread that the end of the process does not wait for.
    pub(crate) fn of_stdin(form: Form) -> Result<Self, Failure> {
        let (sender, lines) = mpsc::channel(LINES_MAX);
        std::thread::spawn(move || {
            let mut stdin = io::stdin().lock();
            while let Some(line) = read_line(&mut stdin) {
                if sender.blocking_send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            form,
            lines,
            is_over: false,
            saying: None,
            count: 0,
            name: new_id("")?.to_string(),
            waiting: VecDeque::new(),
        })
    }

    /// Takes a line for a message, unless there is nothing in it.
    pub(crate) fn take(&mut self, line: Line, printer: &Printer) {
        self.count += 1;
        let count = self.count;
        let said = line.map_err(str::to_owned).and_then(|line| {
            if line.trim().is_empty() {
                return Ok(None);
            }
            let said = match self.form {
                Form::Json => from_json(&line)?,
                Form::Text => from_text(line, &format!("{}-{count}", self.name))?,
            };
            Ok(Some(said))
        });
        match said {
            Ok(said) => self.waiting.extend(said),
            Err(reason) => {
                printer.say(&format!(
                    "warning: line {count} of stdin counts as nothing: {reason}"
                ));
            }
        }
    }

    /// Hears what became of a message.
    pub(crate) fn answered(&mut self, said: Said, answer: Answer, printer: &Printer) {
        match answer {
            Ok(()) => {}
            // The next loop may take it.
            Err(Undelivered {
                reason: Rejected::Ended,
                ..
            }) => self.waiting.push_front(said),
            Err(Undelivered { reason, .. }) => {
                let text = excerpt(&said.text, EXCERPT_MAX);
                printer.say(&format!(
                    "warning: a message was not taken ({reason}): {text}"
                ));
            }
        }
    }

    /// Hears what became of the message that was being said to a loop that is over.
    pub(crate) async fn settle(&mut self, printer: &Printer) {
        if let Some(saying) = self.saying.take() {
            let (said, answer) = saying.await;
            self.answered(said, answer, printer);
        }
    }

    /// Says what waits to a loop and reads on.
    async fn hear(&mut self, handle: &Handle) -> Heard {
        loop {
            if let Some(saying) = &mut self.saying {
                let (said, answer) = saying.await;
                self.saying = None;
                return Heard::Answer(said, answer);
            }
            if let Some(said) = self.waiting.pop_front() {
                self.saying = Some(Box::pin(said.say(handle.clone())));
                continue;
            }
            if self.is_over {
                return std::future::pending().await;
            }
            match self.lines.recv().await {
                Some(line) => return Heard::Line(line),
                None => {
                    self.is_over = true;
                    return Heard::End;
                }
            }
        }
    }

    /// Tells of the messages that came too late.
    pub(crate) fn end(mut self, printer: &Printer) {
        self.lines.close();
        while let Ok(line) = self.lines.try_recv() {
            self.take(line, printer);
        }
        for said in self.waiting {
            undelivered(printer, &said.text);
        }
    }
}

impl Said {
    /// Says it to a loop; returns once the loop has written it down.
    async fn say(self, handle: Handle) -> (Self, Answer) {
        let (id, message) = (self.id.clone(), UserMessage::from(self.text.as_str()));
        let answer = match self.queue {
            Queue::Steering => handle.steer(id, message).await,
            Queue::FollowUp => handle.follow_up(id, message).await,
        };
        (self, answer)
    }
}

/// Waits for what stdin and the loop have to say; forever where stdin is not for messages.
///
/// **Cancel safety:** a dropped call loses nothing.
pub(crate) async fn hear(steering: &mut Option<Steering>, handle: &Handle) -> Heard {
    match steering {
        Some(steering) => steering.hear(handle).await,
        None => std::future::pending().await,
    }
}

/// Tells of a message that no model has read.
pub(crate) fn undelivered(printer: &Printer, text: &str) {
    let text = excerpt(text, EXCERPT_MAX);
    printer.say(&format!(
        "warning: the loop ended before the model read: {text}"
    ));
}

/// Returns the text of a message.
pub(crate) fn text_of(message: &UserMessage) -> String {
    let texts = message.content.iter().map(|part| match part {
        Content::Text { text } => text.as_str(),
        Content::Image { .. } => "(an image)",
    });
    texts.collect::<Vec<_>>().join(" ")
}

fn from_text(line: String, id: &str) -> Result<Said, String> {
    Ok(Said {
        id: QueueId::new(id).map_err(|error| error.to_string())?,
        queue: Queue::Steering,
        text: line,
    })
}

fn from_json(line: &str) -> Result<Said, String> {
    let wanted = r#"write {"id":"…","steer":"…"} or {"id":"…","follow_up":"…"}"#;
    let form: SaidForm =
        serde_json::from_str(line).map_err(|error| format!("{error}; {wanted}"))?;
    let (queue, text) = match (form.steer, form.follow_up) {
        (Some(text), None) => (Queue::Steering, text),
        (None, Some(text)) => (Queue::FollowUp, text),
        (Some(_), Some(_)) | (None, None) => return Err(wanted.to_owned()),
    };
    let id = form.id;
    Ok(Said { id, queue, text })
}

/// Reads a line without its end; `None` at the end of the input, also where it cannot be read on.
fn read_line(from: &mut impl BufRead) -> Option<Line> {
    let mut bytes = Vec::new();
    let mut is_long = false;
    loop {
        let read = match from.fill_buf() {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return None,
        };
        if read.is_empty() && bytes.is_empty() && !is_long {
            return None;
        }
        let end = read.iter().position(|byte| *byte == b'\n');
        let is_last = end.is_some() || read.is_empty();
        let taken = end.map_or(read.len(), |end| end + 1);
        let part = read.get(..end.unwrap_or(taken)).unwrap_or_default();
        is_long |= bytes.len() + part.len() > LINE_BYTES_MAX;
        if is_long {
            bytes = Vec::new();
        } else {
            bytes.extend_from_slice(part);
        }
        from.consume(taken);
        if !is_last {
            continue;
        }
        return Some(match (is_long, String::from_utf8(bytes)) {
            (true, _) => Err("it is longer than 1 MiB; write less"),
            (false, Err(_)) => Err("it is not UTF-8; convert it to UTF-8"),
            (false, Ok(line)) => Ok(line),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    fn lines(bytes: &[u8], at_once: usize) -> Vec<Line> {
        let mut from = BufReader::with_capacity(at_once, bytes);
        std::iter::from_fn(|| read_line(&mut from)).collect()
    }

    #[test]
    fn lines_are_the_same_however_they_come() {
        for at_once in [1, 2, 3, 100] {
            let read = lines(b"one\n\ntwo \xff\nthr\xc3\xa9\nend", at_once);
            let wanted = [
                Ok("one".to_owned()),
                Ok(String::new()),
                Err("it is not UTF-8; convert it to UTF-8"),
                Ok("thr\u{e9}".to_owned()),
                Ok("end".to_owned()),
            ];
            assert_eq!(read, wanted, "{at_once}");
        }
        assert_eq!(lines(b"", 8), []);
    }

    #[test]
    fn a_line_that_is_too_long_is_left_out_and_the_next_one_read() {
        let mut bytes = vec![b'x'; LINE_BYTES_MAX];
        bytes.extend(b"\n");
        bytes.extend(vec![b'y'; LINE_BYTES_MAX + 1]);
        bytes.extend(b"\nshort\n");
        let read = lines(&bytes, 8 << 10);
        assert_eq!(read.len(), 3);
        assert_eq!(read[0].as_ref().map(String::len), Ok(LINE_BYTES_MAX));
        assert_eq!(read[1], Err("it is longer than 1 MiB; write less"));
        assert_eq!(read[2], Ok("short".to_owned()));
    }

    #[test]
    fn a_line_of_json_is_a_steering_message_or_a_follow_up() {
        let said = from_json(r#"{"id":"a","steer":"Left."}"#).unwrap();
        assert_eq!((said.queue, said.text.as_str()), (Queue::Steering, "Left."));
        let said = from_json(r#"{"id":"a","follow_up":"Home."}"#).unwrap();
        assert_eq!((said.queue, said.text.as_str()), (Queue::FollowUp, "Home."));
        for bad in [
            "",
            "Left.",
            "{}",
            r#"{"id":"a"}"#,
            r#"{"steer":"Left."}"#,
            r#"{"id":"","steer":"Left."}"#,
            r#"{"id":"a b","steer":"Left."}"#,
            r#"{"id":"a","steer":"Left.","follow_up":"Home."}"#,
            r#"{"id":"a","steer":"Left.","now":true}"#,
            r#"{"id":"a","steer":1}"#,
        ] {
            let reason = from_json(bad).unwrap_err();
            assert!(reason.contains(r#""follow_up":"#), "{bad}: {reason}");
        }
    }
}
