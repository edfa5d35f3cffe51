//! Overlays: what a compaction leaves out of a view, which the history keeps.

use std::collections::{BTreeMap, btree_map};
use std::ops::Range;
use std::sync::Arc;

use crate::facts::{CompactionBlock, PrunedResult};
use crate::history::{CallResult, Entry, History, Item};
use crate::transcript::IllegalEvent;

impl History {
    /// Returns the view with tool results replaced and then a block of entries replaced. Both name
    /// entries as they stand in this view. The entries before the first change stay shared.
    ///
    /// # Errors
    /// [`IllegalEvent`] for a place that the view does not have.
    pub fn overlaid(
        &self,
        pruned: &[PrunedResult],
        block: Option<&CompactionBlock>,
    ) -> Result<Self, IllegalEvent> {
        let block = block
            .map(|block| Ok((range(block, self.len())?, block)))
            .transpose()?;
        let mut replaced: BTreeMap<usize, Vec<CallResult>> = BTreeMap::new();
        for new in pruned {
            self.replace(&mut replaced, new)?;
        }
        let mut edits: Vec<(Range<usize>, Vec<Item>)> = Vec::new();
        if let Some(((start, end), block)) = block {
            replaced.retain(|at, _| !(start..end).contains(at));
            let messages = block.replacement.iter();
            let messages = messages.map(|it| Item::new(Entry::User(Arc::clone(it))));
            edits.push((start..end, messages.collect()));
        }
        for (at, results) in replaced {
            edits.push((at..at + 1, vec![Item::new(Entry::Results(results.into()))]));
        }
        edits.sort_by_key(|(range, _)| range.start);
        Ok(self.spliced(edits))
    }

    fn replace(
        &self,
        replaced: &mut BTreeMap<usize, Vec<CallResult>>,
        new: &PrunedResult,
    ) -> Result<(), IllegalEvent> {
        let (entry, index) = (new.entry, new.index);
        let missing = IllegalEvent::NoSuchResult { entry, index };
        let Some(at) = usize::try_from(entry).ok().filter(|at| *at < self.len()) else {
            return Err(missing);
        };
        let results = match replaced.entry(at) {
            btree_map::Entry::Occupied(there) => there.into_mut(),
            btree_map::Entry::Vacant(place) => match self.prefix(at + 1).last() {
                Some(Entry::Results(results)) => place.insert(results.to_vec()),
                _ => return Err(missing),
            },
        };
        let one = usize::try_from(index).ok();
        let one = one
            .and_then(|index| results.get_mut(index))
            .ok_or(missing)?;
        one.result = Arc::clone(&new.result);
        Ok(())
    }
}

pub(crate) fn range(block: &CompactionBlock, len: usize) -> Result<(usize, usize), IllegalEvent> {
    let CompactionBlock { first, count, .. } = *block;
    let start = usize::try_from(first).ok();
    let end = first
        .checked_add(count)
        .and_then(|end| usize::try_from(end).ok());
    match (start, end) {
        (Some(start), Some(end)) if end <= len && count > 0 => Ok((start, end)),
        _ => Err(IllegalEvent::NoSuchBlock { first, count, len }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::CompactionEnded;
    use crate::json::RawJson;
    use crate::message::UserMessage;
    use crate::part_facts::PartFacts;
    use crate::tokens::CountedTokens;
    use crate::tool::{Arguments, ToolCall, ToolResult};

    fn user(text: &str) -> Entry {
        Entry::User(Arc::new(UserMessage::text(text)))
    }

    fn results(texts: &[&str]) -> Entry {
        let results = texts.iter().map(|text| CallResult {
            call: Arc::new(ToolCall {
                id: "c".into(),
                name: "look".into(),
                arguments: Arguments::Object(RawJson::empty_object()),
                facts: PartFacts::default(),
            }),
            result: Arc::new(ToolResult::text(*text)),
        });
        Entry::Results(results.collect())
    }

    fn pruned(entry: u64, index: u32, text: &str) -> PrunedResult {
        let result = Arc::new(ToolResult::text(text));
        PrunedResult {
            entry,
            index,
            result,
        }
    }

    fn block(first: u64, count: u64, text: &str) -> CompactionBlock {
        let replacement = vec![Arc::new(UserMessage::text(text))];
        CompactionBlock {
            first,
            count,
            replacement,
        }
    }

    #[test]
    fn both_parts_name_entries_of_the_view_as_it_was() {
        let view: History = [user("a"), results(&["b", "c"]), user("d"), results(&["e"])]
            .into_iter()
            .collect();
        let changes = [pruned(3, 0, "E"), pruned(1, 1, "C")];
        let cut = view.overlaid(&changes, None).unwrap();
        let expected = [user("a"), results(&["b", "C"]), user("d"), results(&["E"])];
        assert_eq!(cut, expected.into_iter().collect());
        assert!(cut.prefix(1).is_same_path(&view.prefix(1)));

        let both = view.overlaid(&changes, Some(&block(1, 2, "x"))).unwrap();
        let expected = [user("a"), user("x"), results(&["E"])];
        assert_eq!(both, expected.into_iter().collect());
        assert_eq!(view.overlaid(&[], None).unwrap(), view);
    }

    #[test]
    fn a_place_that_the_view_does_not_have_is_a_typed_error() {
        let view: History = [user("a"), results(&["b"])].into_iter().collect();
        for change in [
            pruned(0, 0, ""),
            pruned(1, 1, ""),
            pruned(2, 0, ""),
            pruned(u64::MAX, 0, ""),
        ] {
            let (entry, index) = (change.entry, change.index);
            let error = IllegalEvent::NoSuchResult { entry, index };
            assert_eq!(view.overlaid(&[change], None), Err(error));
        }
        for (first, count) in [(0, 0), (0, 3), (2, 1), (u64::MAX, 1), (1, u64::MAX)] {
            let error = IllegalEvent::NoSuchBlock {
                first,
                count,
                len: 2,
            };
            assert_eq!(
                view.overlaid(&[], Some(&block(first, count, ""))),
                Err(error)
            );
        }
    }

    #[test]
    fn a_compaction_reads_back_with_and_without_what_joined_later() {
        let before = r#"{"entries":3,"usage":{"input_tokens":7,"cache_read_tokens":null,"cache_write_tokens":null,"output_tokens":null,"reasoning_tokens":null}}"#;
        let mut ended: CompactionEnded = serde_json::from_str(before).unwrap();
        assert_eq!(serde_json::to_string(&ended).unwrap(), before);
        ended.pruned = vec![pruned(1, 0, "b")];
        ended.tokens = Some(9);
        ended.counted = Some(Box::new(CountedTokens {
            before: 20,
            after: 9,
        }));
        let text = serde_json::to_string(&ended).unwrap();
        assert_eq!(
            serde_json::from_str::<CompactionEnded>(&text).unwrap(),
            ended
        );
    }
}
