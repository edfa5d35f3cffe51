//! Puts the pieces of `reasoning_details` together, so that they go back as one whole answer would
//! have held them.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::chunk::Detail;
use crate::lenient::Str;
use crate::object::push_string;

/// The entries of `reasoning_details`, in the order in which they began.
#[derive(Debug, Default)]
pub(super) struct Details {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    kind: String,
    index: Option<u64>,
    fields: Vec<(String, Field)>,
}

#[derive(Debug)]
enum Field {
    /// Grows piece by piece.
    Text(String),
    /// The JSON as it came.
    Raw(String),
}

/// More entries than this are refused: no model writes so many.
const ENTRIES_MAX: usize = 4_096;

impl Details {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes one piece and returns the text that it shows, if any.
    ///
    /// # Errors
    /// The text of a field is no JSON string, or there are too many entries.
    pub(super) fn push<'a>(&mut self, piece: Detail<'a>) -> Result<Cow<'a, str>, String> {
        let mut shown = Cow::Borrowed("");
        let at = match self
            .entries
            .iter()
            .rposition(|entry| entry.is_continued_by(&piece))
        {
            Some(at) => at,
            None if self.entries.len() >= ENTRIES_MAX => {
                return Err(format!(
                    "`reasoning_details` has more than {ENTRIES_MAX} entries"
                ));
            }
            None => {
                self.entries.push(Entry {
                    kind: piece.kind.as_str().to_owned(),
                    index: piece.index,
                    fields: Vec::new(),
                });
                self.entries.len() - 1
            }
        };
        let Some(entry) = self.entries.get_mut(at) else {
            return Ok(shown);
        };
        for (name, value) in piece.fields {
            let grows = matches!(&*name, "text" | "summary") && value.get().starts_with('"');
            if grows {
                let text = serde_json::from_str::<Str<'a>>(value.get())
                    .map_err(|error| format!("`{name}` of `reasoning_details`: {error}"))?
                    .into_cow();
                entry.grow(&name, &text);
                shown = text;
            } else {
                entry.set(&name, value);
            }
        }
        Ok(shown)
    }

    /// Writes the entries as a JSON array.
    pub(super) fn write(&self, json: &mut String) {
        json.push('[');
        for (nth, entry) in self.entries.iter().enumerate() {
            json.push_str(if nth == 0 { "{" } else { ",{" });
            for (nth, (name, field)) in entry.fields.iter().enumerate() {
                if nth > 0 {
                    json.push(',');
                }
                push_string(json, name);
                json.push(':');
                match field {
                    Field::Text(text) => push_string(json, text),
                    Field::Raw(raw) => json.push_str(raw),
                }
            }
            json.push('}');
        }
        json.push(']');
    }
}

impl Entry {
    /// Pieces belong together by index and type, unless both name an id and the ids differ.
    fn is_continued_by(&self, piece: &Detail<'_>) -> bool {
        if self.kind != piece.kind.as_str() || self.index != piece.index {
            return false;
        }
        let id_of_piece = piece.fields.iter().find(|(name, _)| name == "id");
        let id = self.fields.iter().find(|(name, _)| name == "id");
        match (id, id_of_piece) {
            (Some((_, Field::Raw(id))), Some((_, of_piece))) => {
                id == of_piece.get() || id == "null" || of_piece.get() == "null"
            }
            _ => true,
        }
    }

    fn grow(&mut self, name: &str, text: &str) {
        match self.fields.iter_mut().find(|(known, _)| known == name) {
            Some((_, Field::Text(so_far))) => so_far.push_str(text),
            Some((_, field @ Field::Raw(_))) => *field = Field::Text(text.to_owned()),
            None => self
                .fields
                .push((name.to_owned(), Field::Text(text.to_owned()))),
        }
    }

    /// A later piece that says nothing of a field takes nothing back.
    fn set(&mut self, name: &str, value: &RawValue) {
        match self.fields.iter_mut().find(|(known, _)| known == name) {
            Some((_, Field::Raw(so_far))) if value.get() != "null" && so_far != value.get() => {
                value.get().clone_into(so_far);
            }
            Some(_) => {}
            None => self
                .fields
                .push((name.to_owned(), Field::Raw(value.get().to_owned()))),
        }
    }
}
