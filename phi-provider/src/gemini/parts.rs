//! Makes parts of what the chunks hold, one after the other.

use std::borrow::Cow;

use phi_types::{Delta, Facts, OpaqueDelta, PartFacts, PartFactsDelta, RawJson};
use serde_json::value::RawValue;

use super::chunk::{FunctionCall, Part};
use super::partial_args::PartialArgs;
use crate::body::Fault;
use crate::object::push_string;

/// The parts of an answer so far.
#[derive(Debug)]
pub(super) struct Parts {
    /// The index of the next part.
    next: u32,
    open: Option<Open>,
    calls: usize,
    /// The last part is code that the service runs.
    awaits_output: bool,
    /// The most bytes of the arguments of a call that come in pieces.
    bytes_max: usize,
}

/// The part that the next chunk may continue.
#[derive(Debug)]
enum Open {
    Text(u32),
    Thinking(u32),
    Call(u32, Box<PartialArgs>),
}

/// Where a part stands in its answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing<'a> {
    /// Whether it is the first of its chunk: the others begin something new.
    pub(super) is_first: bool,
    /// The id of the response, where it is known.
    pub(super) response_id: Option<&'a str>,
}

/// Fields that hold data and make a part what it is; every other stands beside one of them.
const DATA: &[&str] = &[
    "executableCode",
    "codeExecutionResult",
    "inlineData",
    "fileData",
    "toolCall",
    "toolResponse",
    "functionResponse",
];

/// The most parts of an answer. Texts that follow each other are one.
const PARTS_MAX: u32 = 10_000;

impl Parts {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            next: 0,
            open: None,
            calls: 0,
            awaits_output: false,
            bytes_max,
        }
    }

    pub(super) fn has_calls(&self) -> bool {
        self.calls > 0
    }

    /// Says whether the answer breaks off before the output of the code that the service runs.
    pub(super) fn awaits_output(&self) -> bool {
        self.awaits_output
    }

    /// Takes a part. Says whether it adds something that is read.
    pub(super) fn take(
        &mut self,
        mut part: Part<'_>,
        standing: Standing<'_>,
        deltas: &mut Vec<Delta>,
    ) -> Result<bool, Fault> {
        if let Some(call) = part.call.take() {
            return self.take_call(call, &part, standing, deltas);
        }
        let kind = part.others.iter().find(|(name, _)| DATA.contains(&&**name));
        let kind = kind.or_else(|| part.others.first().filter(|_| part.text.is_none()));
        if let Some((kind, _)) = kind {
            let kind = kind.clone().into_owned();
            let awaits_output = kind == "executableCode";
            self.push_opaque(kind, part_json(&part), deltas)?;
            self.awaits_output = awaits_output;
            return Ok(true);
        }
        self.take_text(part, standing, deltas)
    }

    fn take_text(
        &mut self,
        part: Part<'_>,
        standing: Standing<'_>,
        deltas: &mut Vec<Delta>,
    ) -> Result<bool, Fault> {
        let facts = facts_of(&part);
        let text = part.text.unwrap_or_default().into_cow();
        if text.is_empty() && facts.is_empty() {
            return Ok(false);
        }
        let is_read = !text.is_empty();
        let text = text.into_owned();
        let continued = match (&self.open, part.is_thought) {
            (Some(Open::Text(index)), false) | (Some(Open::Thinking(index)), true) => Some(*index),
            _ => None,
        };
        // A signature belongs to the one part that it came on.
        let continued = continued.filter(|_| standing.is_first && facts.is_empty());
        let index = match continued {
            Some(index) => index,
            None => self.begin(deltas)?,
        };
        deltas.push(if part.is_thought {
            Delta::thinking(index, text)
        } else {
            Delta::text(index, text)
        });
        if facts.is_empty() {
            self.open = Some(if part.is_thought {
                Open::Thinking(index)
            } else {
                Open::Text(index)
            });
        } else {
            push_facts(index, facts, deltas);
            deltas.push(Delta::part_ended(index));
        }
        Ok(is_read)
    }

    fn take_call(
        &mut self,
        mut call: FunctionCall<'_>,
        part: &Part<'_>,
        standing: Standing<'_>,
        deltas: &mut Vec<Delta>,
    ) -> Result<bool, Fault> {
        let pieces = std::mem::take(&mut call.partial_args);
        let is_piece = call.name.is_empty();
        if let Some(Open::Call(index, args)) = &mut self.open
            && is_piece
        {
            let index = *index;
            for arg in pieces {
                args.take(&arg, self.bytes_max)?;
            }
            push_facts(index, facts_of(part), deltas);
            if !call.will_continue.0 {
                self.end(deltas);
            }
            return Ok(true);
        }
        if is_piece && call.args.is_none() {
            // The end of a call that has ended.
            return Ok(false);
        }
        let index = self.begin(deltas)?;
        let mut facts = facts_of(part);
        let id = if call.id.is_empty() {
            // The service matches the result by its place; phi and other services by an id.
            standing
                .response_id
                .map(|response| format!("{response}_{}", self.calls))
                .unwrap_or_default()
        } else {
            facts.item_id = Some(call.id.as_str().to_owned());
            call.id.as_str().to_owned()
        };
        self.calls += 1;
        deltas.push(Delta::tool_call(index, id, call.name.as_str()));
        push_facts(index, facts, deltas);
        let args = call.args.map(arguments).unwrap_or_default();
        if pieces.is_empty() && !call.will_continue.0 {
            if !args.is_empty() {
                deltas.push(Delta::arguments(index, args));
            }
            deltas.push(Delta::part_ended(index));
            return Ok(true);
        }
        let mut partial = PartialArgs::new(&args);
        for arg in pieces {
            partial.take(&arg, self.bytes_max)?;
        }
        self.open = Some(Open::Call(index, Box::new(partial)));
        if !call.will_continue.0 {
            self.end(deltas);
        }
        Ok(true)
    }

    /// Adds an item of the service as a part.
    pub(super) fn push_opaque(
        &mut self,
        kind: String,
        data: Option<RawJson>,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Fault> {
        if let Some(data) = data {
            let part = self.begin(deltas)?;
            deltas.push(Delta::Opaque(OpaqueDelta { part, kind, data }));
        }
        Ok(())
    }

    /// Ends the open part and gives out the index of the next one.
    fn begin(&mut self, deltas: &mut Vec<Delta>) -> Result<u32, Fault> {
        self.end(deltas);
        self.awaits_output = false;
        if self.next >= PARTS_MAX {
            let what = format!("the answer has more than {PARTS_MAX} parts");
            return Err(Fault::Protocol(what));
        }
        self.next += 1;
        Ok(self.next - 1)
    }

    fn end(&mut self, deltas: &mut Vec<Delta>) {
        match self.open.take() {
            None => {}
            Some(Open::Text(index) | Open::Thinking(index)) => {
                deltas.push(Delta::part_ended(index));
            }
            Some(Open::Call(index, args)) => {
                deltas.push(Delta::arguments(index, args.text()));
                deltas.push(Delta::part_ended(index));
            }
        }
    }

    /// Takes the end of the answer. A call that is still open may be cut off, so it is not ended.
    pub(super) fn close(&mut self, deltas: &mut Vec<Delta>) {
        if let Some(Open::Call(index, args)) = &self.open {
            deltas.push(Delta::arguments(*index, args.text()));
            self.open = None;
        }
        self.end(deltas);
    }
}

fn push_facts(part: u32, facts: PartFacts, deltas: &mut Vec<Delta>) {
    if !facts.is_empty() {
        deltas.push(Delta::PartFacts(PartFactsDelta { part, facts }));
    }
}

/// Arguments are an object; some gateways send it as its text.
fn arguments(args: &RawValue) -> String {
    match args.get() {
        "null" => String::new(),
        text if text.starts_with('"') => serde_json::from_str(text).unwrap_or_default(),
        object => compact(object).into_owned(),
    }
}

/// Leaves out the white space between tokens: whole answers come with line ends and indentation.
pub(super) fn compact(json: &str) -> Cow<'_, str> {
    if !json.contains('\n') {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len());
    let (mut in_text, mut escaped) = (false, false);
    for c in json.chars() {
        if in_text || !c.is_ascii_whitespace() {
            out.push(c);
        }
        in_text ^= c == '"' && !escaped;
        escaped = in_text && c == '\\' && !escaped;
    }
    Cow::Owned(out)
}

/// Collects what stands beside a text or a call.
fn facts_of(part: &Part<'_>) -> PartFacts {
    let signature = part.signature.as_str();
    let mut extra = None;
    if !part.others.is_empty() {
        let mut json = String::from("{");
        push_fields(&mut json, &part.others);
        json.push('}');
        extra = RawJson::parse(&json).ok();
    }
    PartFacts::from(Facts {
        signature: (!signature.is_empty()).then(|| signature.to_owned()),
        item_id: None,
        extra,
    })
}

/// Writes a part as it came.
fn part_json(part: &Part<'_>) -> Option<RawJson> {
    let mut json = String::from("{");
    push_fields(&mut json, &part.others);
    if part.is_thought {
        json.push_str(",\"thought\":true");
    }
    if let Some(text) = part.text.as_ref().filter(|text| !text.is_empty()) {
        json.push_str(",\"text\":");
        push_string(&mut json, text.as_str());
    }
    if !part.signature.is_empty() {
        json.push_str(",\"thoughtSignature\":");
        push_string(&mut json, part.signature.as_str());
    }
    json.push('}');
    RawJson::parse(&json).ok()
}

fn push_fields(json: &mut String, fields: &[(Cow<'_, str>, &RawValue)]) {
    for (at, (name, value)) in fields.iter().enumerate() {
        if at > 0 {
            json.push(',');
        }
        push_string(json, name);
        json.push(':');
        json.push_str(&compact(value.get()));
    }
}
