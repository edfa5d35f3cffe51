//! Builds the arguments of a call whose pieces come one by one.

use serde_json::{Map, Value};

use super::chunk::PartialArg;
use crate::body::Fault;

/// The arguments of one call so far.
///
/// A piece names its place by a JSON path (RFC 9535) of names and indices; pieces of one text follow
/// each other.
#[derive(Debug)]
pub(super) struct PartialArgs {
    root: Value,
    /// The path of the text that the next piece continues.
    open_text: Option<String>,
    /// How many bytes came in.
    bytes: usize,
}

/// A step of a path.
#[derive(Debug, PartialEq)]
enum Step {
    Name(String),
    Index(usize),
}

/// The deepest place of an argument.
const DEPTH_MAX: usize = 100;

/// The most items of a list that a piece may leave out before its own.
const GAP_MAX: usize = 1_000;

impl PartialArgs {
    /// Begins with the arguments that came whole.
    pub(super) fn new(args: &str) -> Self {
        let root = serde_json::from_str(args).unwrap_or_default();
        Self {
            root: match root {
                Value::Object(_) => root,
                _ => Value::Object(Map::new()),
            },
            open_text: None,
            bytes: args.len(),
        }
    }

    /// Takes a piece.
    pub(super) fn take(&mut self, arg: &PartialArg<'_>, bytes_max: usize) -> Result<(), Fault> {
        let path = arg.json_path.as_str();
        let text = arg.string_value.as_ref().map(|text| text.as_str());
        self.bytes += path.len() + text.unwrap_or_default().len();
        let steps = steps(path).filter(|steps| steps.len() <= DEPTH_MAX);
        let Some(steps) = steps.filter(|_| self.bytes <= bytes_max) else {
            return Err(Fault::Protocol(format!(
                "a piece of the arguments of a call cannot be placed at `{path}`"
            )));
        };
        let continues = self.open_text.take().is_some_and(|open| open == path);
        let place = self.place(&steps)?;
        match (place, text) {
            (Value::String(so_far), Some(text)) if continues => so_far.push_str(text),
            (Value::String(_), None) if continues && !arg.has_scalar() => {}
            (place, Some(text)) => *place = Value::from(text),
            (place, None) => *place = arg.scalar(),
        }
        if text.is_some() && arg.will_continue.0 {
            self.open_text = Some(path.to_owned());
        }
        Ok(())
    }

    /// Returns the arguments as JSON.
    pub(super) fn text(&self) -> String {
        self.root.to_string()
    }

    /// Finds the place of a path, and makes it where there is none.
    fn place(&mut self, steps: &[Step]) -> Result<&mut Value, Fault> {
        let mut place = &mut self.root;
        for step in steps {
            place = match step {
                Step::Name(name) => {
                    if !place.is_object() {
                        *place = Value::Object(Map::new());
                    }
                    let fields = place.as_object_mut().ok_or_else(unplaced)?;
                    fields.entry(name.as_str()).or_insert(Value::Null)
                }
                Step::Index(index) => {
                    if !place.is_array() {
                        *place = Value::Array(Vec::new());
                    }
                    let items = place.as_array_mut().ok_or_else(unplaced)?;
                    if *index >= items.len() {
                        let gap = index - items.len();
                        if gap > GAP_MAX {
                            return Err(unplaced());
                        }
                        self.bytes += gap;
                        items.resize(index + 1, Value::Null);
                    }
                    items.get_mut(*index).ok_or_else(unplaced)?
                }
            };
        }
        Ok(place)
    }
}

impl PartialArg<'_> {
    fn has_scalar(&self) -> bool {
        self.number_value.is_some() || self.bool_value.is_some()
    }

    fn scalar(&self) -> Value {
        let raw = self.number_value.or(self.bool_value);
        raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
            .unwrap_or_default()
    }
}

fn unplaced() -> Fault {
    Fault::Protocol("a piece of the arguments of a call has no place".to_owned())
}

/// Reads a path as `$.a[0]['b c']`.
fn steps(path: &str) -> Option<Vec<Step>> {
    let mut rest = path.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        let (step, after) = step(rest)?;
        steps.push(step);
        rest = after;
    }
    Some(steps)
}

fn step(path: &str) -> Option<(Step, &str)> {
    if let Some(named) = path.strip_prefix('.') {
        let end = named.find(['.', '[']).unwrap_or(named.len());
        let (name, rest) = named.split_at(end);
        return (!name.is_empty()).then(|| (Step::Name(name.to_owned()), rest));
    }
    let inner = path.strip_prefix('[')?;
    let quote = inner.chars().next().filter(|c| matches!(c, '\'' | '"'));
    let Some(quote) = quote else {
        let (index, rest) = inner.split_once(']')?;
        return Some((Step::Index(index.trim().parse().ok()?), rest));
    };
    let mut name = String::new();
    let mut chars = inner.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == quote {
            let (_, rest) = inner.split_at(at + 1);
            return Some((Step::Name(name), rest.strip_prefix(']')?));
        }
        name.push(if c == '\\' { chars.next()?.1 } else { c });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_fields_and_items() {
        let name = |name: &str| Step::Name(name.to_owned());
        let expected = vec![name("a"), Step::Index(10), name("b.c'd"), name("é")];
        assert_eq!(steps("$.a[10]['b.c\\'d'].é"), Some(expected));
        assert_eq!(steps("$"), Some(vec![]));
        for wrong in ["", "a", "$a", "$.", "$..a", "$[", "$[x]", "$['a", "$['a'x"] {
            assert_eq!(steps(wrong), None, "{wrong}");
        }
    }
}
