//! Gives every tool call of a conversation an id that a protocol accepts.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use phi_types::digest_of;

/// What a protocol accepts as the id of a tool call.
#[derive(Debug, Clone, Copy)]
pub struct IdRule {
    /// The fewest characters, at least one.
    pub chars_min: usize,
    /// The most characters.
    pub chars_max: usize,
    /// Whether a character may stand in an id.
    pub accepts: fn(char) -> bool,
}

/// Gives out ids in the order of the calls.
///
/// An id that is accepted and was not given out stays as it is, so a conversation that only grows
/// keeps its ids. Ids that differ stay different, and a repeated one becomes another.
#[derive(Debug)]
pub(crate) struct ToolIds {
    rule: IdRule,
    given: HashSet<Arc<str>>,
    /// How often an id was made for what the model named so.
    made: HashMap<Arc<str>, u64>,
    /// The ids in the order in which they were given out, and the name of each that was made.
    log: Vec<(Arc<str>, Option<Made>)>,
}

/// An id that was made, and how often one was made for that name before.
#[derive(Debug)]
struct Made {
    name: Arc<str>,
    before: Option<u64>,
}

impl ToolIds {
    pub(crate) fn new(rule: IdRule) -> Self {
        Self {
            rule,
            given: HashSet::new(),
            made: HashMap::new(),
            log: Vec::new(),
        }
    }

    /// Returns how many ids were given out.
    pub(crate) fn len(&self) -> usize {
        self.log.len()
    }

    /// Takes back all ids but the first `len`.
    pub(crate) fn truncate(&mut self, len: usize) {
        while self.log.len() > len
            && let Some((id, made)) = self.log.pop()
        {
            self.given.remove(&id);
            if let Some(Made { name, before }) = made {
                match before {
                    Some(count) => self.made.insert(name, count),
                    None => self.made.remove(&name),
                };
            }
        }
    }

    /// Returns the id for the next call, which the model named `id`.
    pub(crate) fn next(&mut self, id: &Arc<str>) -> Arc<str> {
        let fits = (self.rule.chars_min..=self.rule.chars_max).contains(&id.chars().count())
            && id.chars().all(self.rule.accepts);
        if fits && self.given.insert(Arc::clone(id)) {
            self.log.push((Arc::clone(id), None));
            return Arc::clone(id);
        }
        let kept: String = id.chars().filter(|c| (self.rule.accepts)(*c)).collect();
        let before = self.made.get(id).copied();
        let mut seed = before.unwrap_or(0);
        // Each round hashes with another seed, so that one of them gives an id that is free.
        loop {
            let hash = format!("{:016x}", digest_of(seed, &**id));
            seed += 1;
            let hash: String = hash.chars().take(self.rule.chars_max).collect();
            let room = self.rule.chars_max.saturating_sub(hash.len());
            let made: String = kept.chars().take(room).chain(hash.chars()).collect();
            let made: Arc<str> = Arc::from(made);
            if self.given.insert(Arc::clone(&made)) {
                self.made.insert(Arc::clone(id), seed);
                let name = Arc::clone(id);
                self.log
                    .push((Arc::clone(&made), Some(Made { name, before })));
                return made;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: IdRule = IdRule {
        chars_min: 1,
        chars_max: 40,
        accepts: |c| c.is_ascii_alphanumeric() || c == '_' || c == '-',
    };

    fn next(ids: &mut ToolIds, id: &str) -> String {
        ids.next(&Arc::from(id)).to_string()
    }

    #[test]
    fn an_id_that_is_accepted_stays_and_a_repeated_one_becomes_another() {
        let mut ids = ToolIds::new(RULE);
        assert_eq!(next(&mut ids, "toolu_1"), "toolu_1");
        let again = next(&mut ids, "toolu_1");
        let third = next(&mut ids, "toolu_1");
        assert!(again.starts_with("toolu_1") && third.starts_with("toolu_1"));
        let all: HashSet<_> = ["toolu_1", &again, &third].into_iter().collect();
        assert_eq!(all.len(), 3);
        assert_eq!(next(&mut ids, "toolu_2"), "toolu_2");
    }

    #[test]
    fn ids_that_differ_stay_different_whatever_characters_they_hold() {
        let long = "x".repeat(400);
        let given = ["a|b", "a+b", "a/b", "ab", "", " ", "é", &long, &long[1..]];
        let mut ids = ToolIds::new(RULE);
        let made: Vec<String> = given.iter().map(|id| next(&mut ids, id)).collect();
        let distinct: HashSet<&String> = made.iter().collect();
        assert_eq!(distinct.len(), given.len());
        for id in &made {
            assert!((1..=40).contains(&id.len()), "{id}");
            assert!(id.chars().all(RULE.accepts), "{id}");
        }
        let mut again = ToolIds::new(RULE);
        let repeated: Vec<String> = given.iter().map(|id| next(&mut again, id)).collect();
        assert_eq!(repeated, made);
    }
    #[test]
    fn a_rule_of_one_length_gives_ids_of_that_length() {
        let mut ids = ToolIds::new(IdRule {
            chars_min: 9,
            chars_max: 9,
            accepts: |c| c.is_ascii_alphanumeric(),
        });
        assert_eq!(next(&mut ids, "gSIMJiOkT"), "gSIMJiOkT");
        let made: HashSet<String> = ["call1", "call_1", "x", ""]
            .map(|id| next(&mut ids, id))
            .into();
        assert_eq!(made.len(), 4);
        for id in made {
            assert!(id.len() == 9 && id.chars().all(|c| c.is_ascii_alphanumeric()));
        }
    }

    #[test]
    fn ids_that_were_taken_back_are_given_out_again_as_if_they_never_were() {
        let names = ["a", "a|b", "a", "c", "a|b", "a"];
        let mut ids = ToolIds::new(RULE);
        let given: Vec<String> = names.iter().map(|id| next(&mut ids, id)).collect();
        for len in 0..names.len() {
            ids.truncate(len);
            assert_eq!(ids.len(), len);
            let again: Vec<String> = names[len..].iter().map(|id| next(&mut ids, id)).collect();
            assert_eq!(again, given[len..], "from {len} on");
        }
    }
}
