//! Gives every call of a conversation an id that the service accepts and no other call has.

use std::borrow::Cow;
use std::collections::HashSet;

use phi_types::digest_of;

use super::quirks::CallIds;

/// The ids of a conversation so far. What a call gets depends only on the calls before it, so a
/// conversation that grows keeps its ids.
#[derive(Debug)]
pub(super) struct IdTable<'v> {
    rule: CallIds,
    used: HashSet<Cow<'v, str>>,
}

const CHARS_MAX: usize = 40;

impl<'v> IdTable<'v> {
    pub(super) fn new(rule: CallIds) -> Self {
        Self {
            rule,
            used: HashSet::new(),
        }
    }

    /// Returns the id under which the next call is sent.
    pub(super) fn next(&mut self, id: &'v str) -> Cow<'v, str> {
        if self.accepts(id) && self.used.insert(Cow::Borrowed(id)) {
            return Cow::Borrowed(id);
        }
        let mut nth = u64::try_from(self.used.len()).unwrap_or(u64::MAX);
        loop {
            let made: Cow<'v, str> = Cow::Owned(self.make(nth, id));
            if self.used.insert(made.clone()) {
                return made;
            }
            nth = nth.wrapping_add(1);
        }
    }

    fn accepts(&self, id: &str) -> bool {
        match self.rule {
            CallIds::UpTo40 => !id.is_empty() && id.chars().count() <= CHARS_MAX,
            CallIds::Alphanumeric9 => {
                id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
            }
        }
    }

    fn make(&self, seed: u64, id: &str) -> String {
        let mut digest = digest_of(seed, id);
        match self.rule {
            CallIds::UpTo40 => format!("call_{digest:016x}"),
            CallIds::Alphanumeric9 => {
                let digit = |digest: &mut u64| {
                    let digit = u32::try_from(*digest % 36).unwrap_or_default();
                    *digest /= 36;
                    char::from_digit(digit, 36).unwrap_or('0')
                };
                (0..9).map(|_| digit(&mut digest)).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(rule: CallIds, raw: &[&str]) -> Vec<String> {
        let raw: Vec<String> = raw.iter().map(ToString::to_string).collect();
        let mut table = IdTable::new(rule);
        raw.iter().map(|id| table.next(id).into_owned()).collect()
    }

    #[test]
    fn an_accepted_id_stays_and_a_repeated_or_long_one_is_replaced() {
        let long = "x".repeat(41);
        let made = ids(CallIds::UpTo40, &["a", "a", &long, "", "b", &long]);
        assert_eq!((&*made[0], &*made[4]), ("a", "b"));
        let distinct: HashSet<&String> = made.iter().collect();
        assert_eq!(distinct.len(), made.len());
        assert!(made.iter().all(|id| (1..=40).contains(&id.len())));
    }

    #[test]
    fn a_conversation_that_grows_keeps_its_ids() {
        let all = ["a", "a", "", "a", "b"];
        let whole = ids(CallIds::UpTo40, &all);
        for len in 0..all.len() {
            assert_eq!(ids(CallIds::UpTo40, &all[..len]), whole[..len]);
        }
    }

    #[test]
    fn ids_for_mistral_have_nine_letters_or_digits() {
        let made = ids(CallIds::Alphanumeric9, &["gSIMJiOkT", "call_1", "call_2"]);
        assert_eq!(made[0], "gSIMJiOkT");
        assert_ne!(made[1], made[2]);
        for id in made {
            assert_eq!(id.len(), 9);
            assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        }
    }
}
