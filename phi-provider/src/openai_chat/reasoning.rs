//! Collects the reasoning of one answer, and what the service wants back of it.

use phi_types::{Delta, PartFactsDelta, RawJson};

use super::details::Details;
use super::facts::{Extra, ReasoningField};

/// The reasoning of one answer as far as it came.
#[derive(Debug, Default)]
pub(super) struct Reasoning {
    /// The part that grows.
    pub(super) part: Option<u32>,
    pub(super) details: Details,
    /// Where the service puts it.
    pub(super) field: Option<ReasoningField>,
    /// The part that carries what the service wants back.
    first: Option<u32>,
}

impl Reasoning {
    /// Goes on in a new part.
    pub(super) fn begin(&mut self, part: u32) {
        self.first.get_or_insert(part);
        self.part = Some(part);
    }

    /// States what the service wants back.
    pub(super) fn seal(&self, deltas: &mut Vec<Delta>) {
        let Some(part) = self.first else {
            return;
        };
        let extra = Extra {
            field: self.field,
            reasoning_details: self.reasoning_details(),
            ..Extra::default()
        };
        let facts = extra.facts();
        deltas.push(Delta::PartFacts(PartFactsDelta { part, facts }));
    }

    fn reasoning_details(&self) -> Option<RawJson> {
        if self.details.is_empty() {
            return None;
        }
        let mut json = String::new();
        self.details.write(&mut json);
        RawJson::parse(&json).ok()
    }
}
