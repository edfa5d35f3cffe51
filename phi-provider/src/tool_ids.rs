//! Gives every tool call of a conversation an id that a protocol accepts.

use std::collections::{HashMap, HashSet};

use phi_types::digest_of;

/// What a protocol accepts as the id of a tool call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IdRule {
    /// The fewest characters, at least one.
    pub(crate) chars_min: usize,
    /// The most characters.
    pub(crate) chars_max: usize,
    /// Whether a character may stand in an id.
    pub(crate) accepts: fn(char) -> bool,
}

/// Gives out ids in the order of the calls.
///
/// An id that is accepted and was not given out stays as it is, so a conversation that only grows
/// keeps its ids. Ids that differ stay different, and a repeated one becomes another.
#[derive(Debug)]
pub(crate) struct ToolIds {
    rule: IdRule,
    given: HashSet<String>,
    /// How often an id was made for what the model named so.
    made: HashMap<String, u64>,
}

impl ToolIds {
    pub(crate) fn new(rule: IdRule) -> Self {
        Self {
            rule,
            given: HashSet::new(),
            made: HashMap::new(),
        }
    }

    /// Returns the id for the next call, which the model named `id`.
    pub(crate) fn next(&mut self, id: &str) -> String {
        let fits = (self.rule.chars_min..=self.rule.chars_max).contains(&id.chars().count())
            && id.chars().all(self.rule.accepts);
        if fits && self.given.insert(id.to_owned()) {
            return id.to_owned();
        }
        let kept: String = id.chars().filter(|c| (self.rule.accepts)(*c)).collect();
        let seed = self.made.entry(id.to_owned()).or_default();
        // Each round hashes with another seed, so that one of them gives an id that is free.
        loop {
            let hash = format!("{:016x}", digest_of(*seed, id));
            *seed += 1;
            let hash: String = hash.chars().take(self.rule.chars_max).collect();
            let room = self.rule.chars_max.saturating_sub(hash.len());
            let made: String = kept.chars().take(room).chain(hash.chars()).collect();
            if self.given.insert(made.clone()) {
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

    #[test]
    fn an_id_that_is_accepted_stays_and_a_repeated_one_becomes_another() {
        let mut ids = ToolIds::new(RULE);
        assert_eq!(ids.next("toolu_1"), "toolu_1");
        let again = ids.next("toolu_1");
        let third = ids.next("toolu_1");
        assert!(again.starts_with("toolu_1") && third.starts_with("toolu_1"));
        let all: HashSet<_> = ["toolu_1", &again, &third].into_iter().collect();
        assert_eq!(all.len(), 3);
        assert_eq!(ids.next("toolu_2"), "toolu_2");
    }

    #[test]
    fn ids_that_differ_stay_different_whatever_characters_they_hold() {
        let long = "x".repeat(400);
        let given = ["a|b", "a+b", "a/b", "ab", "", " ", "é", &long, &long[1..]];
        let mut ids = ToolIds::new(RULE);
        let made: Vec<String> = given.iter().map(|id| ids.next(id)).collect();
        let distinct: HashSet<&String> = made.iter().collect();
        assert_eq!(distinct.len(), given.len());
        for id in &made {
            assert!((1..=40).contains(&id.len()), "{id}");
            assert!(id.chars().all(RULE.accepts), "{id}");
        }
        let mut again = ToolIds::new(RULE);
        let repeated: Vec<String> = given.iter().map(|id| again.next(id)).collect();
        assert_eq!(repeated, made);
    }
    #[test]
    fn a_rule_of_one_length_gives_ids_of_that_length() {
        let mut ids = ToolIds::new(IdRule {
            chars_min: 9,
            chars_max: 9,
            accepts: |c| c.is_ascii_alphanumeric(),
        });
        assert_eq!(ids.next("gSIMJiOkT"), "gSIMJiOkT");
        let made: HashSet<String> = ["call1", "call_1", "x", ""].map(|id| ids.next(id)).into();
        assert_eq!(made.len(), 4);
        for id in made {
            assert!(id.len() == 9 && id.chars().all(|c| c.is_ascii_alphanumeric()));
        }
    }
}
