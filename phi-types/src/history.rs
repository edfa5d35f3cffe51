//! A conversation as a persistent path: append and fork are O(1), forks share everything.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh64::xxh64;

use crate::digest::{digest_of, mix, packed_digest_of};
use crate::message::{AssistantMessage, ExtensionMessage, UserMessage};
use crate::tokens::{EstimatedTokens, TokenCounter};
use crate::tool::{ToolCall, ToolResult};

/// One entry of a conversation as a model reads it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// What the user says.
    User(Arc<UserMessage>),
    /// What the model answered.
    Assistant(Arc<AssistantMessage>),
    /// The results of all calls of the assistant message before it, in call order.
    Results(Arc<[CallResult]>),
    /// What an application keeps here and no model reads.
    Extension(Arc<ExtensionMessage>),
}

/// The result of one call of the assistant message before it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CallResult {
    /// The call as the model asked for it. Its message holds it already, so its id stands for it.
    #[serde(serialize_with = "id_only")]
    pub call: Arc<ToolCall>,
    /// What the model reads.
    pub result: Arc<ToolResult>,
}

fn id_only<S: serde::Serializer>(call: &ToolCall, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&call.id)
}

/// A conversation from its first entry to one of its entries.
///
/// A clone is a fork: both sides share every entry and neither sees what the other appends.
/// Equality compares length and [`History::digest`], so it is about what a model reads.
#[derive(Clone, Default)]
pub struct History {
    head: Option<Arc<Node>>,
    /// How the digests of further entries are made.
    digest: HistoryDigest,
}

/// How the rolling hash of a [`History`] is made of its entries, and how a loop hashes what else it
/// notes of itself.
///
/// A log says which one its loop uses ([`crate::LoopStarted::history_digest`]), so that it replays to
/// the digests that it holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HistoryDigest {
    /// The JSON of an entry is hashed with the hash before it as the seed: whatever moves an entry
    /// hashes it again. Logs that do not say otherwise hold these.
    Chained,
    /// The JSON of an entry is hashed by itself, and that hash with the hash before it as the seed.
    Combined,
    /// As combined, and values are hashed word by word instead of as JSON, which takes a third of the
    /// time. An entry that moves is not hashed again.
    #[default]
    Packed,
}

impl HistoryDigest {
    /// Hashes a value under a seed. The same value gives the same digest on every machine and in every
    /// build.
    #[must_use]
    pub fn of<T: Serialize + ?Sized>(self, seed: u64, value: &T) -> u64 {
        match self {
            Self::Chained | Self::Combined => digest_of(seed, value),
            Self::Packed => packed_digest_of(seed, value),
        }
    }

    pub(crate) fn unsaid() -> Self {
        Self::Chained
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it so")]
    pub(crate) fn is_unsaid(&self) -> bool {
        *self == Self::unsaid()
    }
}

struct Node {
    item: Item,
    parent: Option<Arc<Self>>,
    len: usize,
    /// Of the path; made when it is asked for, because a record of a session never does.
    digest: Digest,
    /// Estimated tokens of the path.
    tokens: u64,
}

/// An entry and its own hash, which moves with it.
#[derive(Clone)]
pub(crate) struct Item {
    entry: Entry,
    /// The packed one; made when it is asked for.
    digest: Digest,
    /// Estimated. An entry of more would not fit into memory.
    tokens: u32,
    /// How the digest of the path is made that ends with it.
    digest_by: HistoryDigest,
}

/// A digest that is made when it is asked for, and again where it happens to be zero.
#[derive(Default)]
struct Digest(AtomicU64);

impl Digest {
    fn get(&self) -> Option<u64> {
        // Whoever reads it reads nothing else that was written beside it.
        Some(self.0.load(Ordering::Relaxed)).filter(|digest| *digest != 0)
    }

    fn or_make(&self, make: impl FnOnce() -> u64) -> u64 {
        self.get().unwrap_or_else(|| {
            let digest = make();
            self.0.store(digest, Ordering::Relaxed);
            digest
        })
    }
}

impl Clone for Digest {
    fn clone(&self) -> Self {
        Self(AtomicU64::new(self.0.load(Ordering::Relaxed)))
    }
}

impl Item {
    pub(crate) fn new(entry: Entry) -> Self {
        let tokens = EstimatedTokens.entry(&entry);
        let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        Self {
            entry,
            digest: Digest::default(),
            tokens,
            digest_by: HistoryDigest::default(),
        }
    }

    pub(crate) fn entry(&self) -> &Entry {
        &self.entry
    }
}

impl History {
    /// Makes an empty conversation.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends one entry in constant time.
    pub fn push(&mut self, entry: Entry) {
        self.push_item(Item::new(entry));
    }

    /// Appends an entry that is hashed only if it was not before.
    pub(crate) fn push_item(&mut self, mut item: Item) {
        item.digest_by = self.digest;
        let tokens = self.estimated_tokens() + u64::from(item.tokens);
        let len = self.len() + 1;
        let parent = self.head.take();
        self.head = Some(Arc::new(Node {
            item,
            parent,
            len,
            digest: Digest::default(),
            tokens,
        }));
    }

    /// Says how the digests of further entries are made.
    #[must_use]
    pub fn digested_by(&self) -> HistoryDigest {
        self.digest
    }

    /// Sets how the digests of further entries are made; those that are there keep theirs.
    pub(crate) fn digest_by(&mut self, digest: HistoryDigest) {
        self.digest = digest;
    }

    /// Replaces ranges of entries, which are in order and do not overlap. The entries before the first
    /// one stay shared, and none that merely moves is hashed again.
    pub(crate) fn spliced(&self, edits: Vec<(Range<usize>, Vec<Item>)>) -> Self {
        let Some(first) = edits.first().map(|(range, _)| range.start) else {
            return self.clone();
        };
        let mut rest: Vec<&Node> = Vec::with_capacity(self.len().saturating_sub(first));
        let mut head = self.head.as_ref();
        while let Some(node) = head.filter(|node| node.len > first) {
            rest.push(node);
            head = node.parent.as_ref();
        }
        let mut new = Self {
            head: head.cloned(),
            digest: self.digest,
        };
        let mut edits = edits.into_iter().peekable();
        let mut removed_to = first;
        for (at, node) in (first..).zip(rest.into_iter().rev()) {
            while let Some((range, items)) = edits.next_if(|(range, _)| range.start <= at) {
                items.into_iter().for_each(|item| new.push_item(item));
                removed_to = removed_to.max(range.end);
            }
            if at >= removed_to {
                new.push_item(node.item.clone());
            }
        }
        for (_, items) in edits {
            items.into_iter().for_each(|item| new.push_item(item));
        }
        new
    }

    /// Returns some of the entries, which are named in ascending order.
    ///
    /// The cost is linear in the entries after the first of them.
    pub(crate) fn items(&self, places: &[usize]) -> Vec<Item> {
        let mut items = Vec::with_capacity(places.len());
        let mut head = &self.head;
        for place in places.iter().rev() {
            while let Some(node) = head.as_ref().filter(|node| node.len > place + 1) {
                head = &node.parent;
            }
            let found = head.as_ref().filter(|node| node.len == place + 1);
            items.extend(found.map(|node| node.item.clone()));
        }
        items.reverse();
        items
    }

    /// Returns the number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.head.as_ref().map_or(0, |node| node.len)
    }

    /// Says whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// Returns the rolling hash over what a model reads of all entries: a hash of each, and of these
    /// hashes in their order as [`HistoryDigest`] says. It is the same on every machine.
    /// Usage and origin of an answer are not part of it.
    ///
    /// The cost is linear in the entries that were not hashed yet, each of which is hashed once.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.head.as_ref().map_or(0, |node| node.digest())
    }

    /// Returns the tokens of all entries as [`EstimatedTokens`] counts them, in constant time.
    #[must_use]
    pub fn estimated_tokens(&self) -> u64 {
        self.head.as_ref().map_or(0, |node| node.tokens)
    }

    /// Collects the tokens of each entry from the first to the newest, without counting them again.
    #[must_use]
    pub fn estimated_tokens_by_entry(&self) -> Vec<u64> {
        let mut tokens = Vec::with_capacity(self.len());
        tokens.extend(self.ancestors().map(|node| u64::from(node.item.tokens)));
        tokens.reverse();
        tokens
    }

    /// Returns the newest entry.
    #[must_use]
    pub fn last(&self) -> Option<&Entry> {
        self.head.as_ref().map(|node| &node.item.entry)
    }

    /// Iterates from the newest entry to the first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Entry> {
        self.ancestors().map(|node| &node.item.entry)
    }

    /// Collects the entries from the first to the newest, in one allocation.
    #[must_use]
    pub fn entries(&self) -> Vec<&Entry> {
        let mut entries = Vec::with_capacity(self.len());
        entries.extend(self.newest_first());
        entries.reverse();
        entries
    }

    /// Returns the first `len` entries as a conversation of their own, which shares them.
    ///
    /// The cost is linear in the entries that are left out. A `len` beyond the end returns a clone.
    #[must_use]
    pub fn prefix(&self, len: usize) -> Self {
        Self {
            head: node_at(&self.head, len).cloned(),
            digest: self.digest,
        }
    }

    /// Says whether both are one and the same path in memory, not merely equal.
    #[must_use]
    pub fn is_same_path(&self, other: &Self) -> bool {
        match (&self.head, &other.head) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// Returns the place of the first entry at which this conversation departs from another one, or
    /// its own length where it merely ends earlier; `None` if it continues the other one.
    ///
    /// The cost is linear in the entries after the last one that both share.
    #[must_use]
    pub fn departs_from(&self, other: &Self) -> Option<usize> {
        let len = self.len().min(other.len());
        let mut pair = (node_at(&self.head, len), node_at(&other.head, len));
        while let (Some(mine), Some(theirs)) = pair {
            if Arc::ptr_eq(mine, theirs) || mine.digest() == theirs.digest() {
                let shared = mine.len;
                return (shared < other.len()).then_some(shared);
            }
            pair = (mine.parent.as_ref(), theirs.parent.as_ref());
        }
        (!other.is_empty()).then_some(0)
    }

    fn ancestors(&self) -> impl Iterator<Item = &Node> {
        std::iter::successors(self.head.as_deref(), |node| node.parent.as_deref())
    }
}

impl FromIterator<Entry> for History {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let mut history = Self::new();
        for entry in entries {
            history.push(entry);
        }
        history
    }
}

impl PartialEq for History {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.digest() == other.digest()
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries()).finish()
    }
}

/// How many entries are hashed at once without an allocation: a turn adds fewer.
const HASHED_AT_ONCE: usize = 16;

impl Node {
    fn digest(&self) -> u64 {
        if let Some(digest) = self.digest.get() {
            return digest;
        }
        let path = || std::iter::successors(Some(self), |node| node.parent.as_deref());
        let new = || path().take_while(|node| node.digest.get().is_none());
        let count = new().count();
        let before = path().nth(count).map_or(0, |node| node.digest());
        let mut few = [self; HASHED_AT_ONCE];
        if count > few.len() {
            let many: Vec<&Self> = new().collect();
            return hash_oldest_first(before, &many);
        }
        few.iter_mut()
            .zip(new())
            .for_each(|(place, node)| *place = node);
        let (few, _) = few.split_at(count);
        hash_oldest_first(before, few)
    }
}

impl Node {
    fn digest_after(&self, before: u64) -> u64 {
        let Item { entry, digest, .. } = &self.item;
        let by = self.item.digest_by;
        match by {
            HistoryDigest::Chained => entry_digest(by, before, entry),
            HistoryDigest::Combined => xxh64(&entry_digest(by, 0, entry).to_le_bytes(), before),
            HistoryDigest::Packed => {
                let own = digest.or_make(|| entry_digest(by, 0, entry));
                mix(before, own)
            }
        }
    }
}

/// Hashes nodes of one path, the newest of which comes first; returns the digest of that one.
fn hash_oldest_first(before: u64, nodes: &[&Node]) -> u64 {
    nodes.iter().rev().fold(before, |before, node| {
        node.digest.or_make(|| node.digest_after(before))
    })
}

/// Dropping a path of any length takes constant stack.
impl Drop for Node {
    fn drop(&mut self) {
        let mut next = self.parent.take();
        while let Some(mut node) = next.and_then(Arc::into_inner) {
            next = node.parent.take();
        }
    }
}

/// Walks back to the node of the first `len` entries.
fn node_at(head: &Option<Arc<Node>>, len: usize) -> Option<&Arc<Node>> {
    let mut head = head.as_ref();
    while let Some(node) = head.filter(|node| node.len > len) {
        head = node.parent.as_ref();
    }
    head
}

fn entry_digest(by: HistoryDigest, seed: u64, entry: &Entry) -> u64 {
    match entry {
        Entry::Assistant(message) => by.of(seed, &("assistant", &message.parts)),
        Entry::User(_) | Entry::Results(_) | Entry::Extension(_) => by.of(seed, entry),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(text: &str) -> Entry {
        Entry::User(Arc::new(UserMessage::text(text)))
    }

    #[test]
    fn a_fork_shares_the_past_and_not_the_future() {
        let mut trunk: History = [user("a"), user("b")].into_iter().collect();
        let mut fork = trunk.clone();
        trunk.push(user("c"));
        fork.push(user("d"));
        assert_eq!(trunk.entries(), [&user("a"), &user("b"), &user("c")]);
        assert_eq!(fork.entries(), [&user("a"), &user("b"), &user("d")]);
        assert!(trunk.prefix(2).is_same_path(&fork.prefix(2)));
        assert_ne!(trunk, fork);
    }

    #[test]
    fn a_conversation_departs_where_its_first_other_entry_is() {
        let of = |texts: &str| -> History { texts.chars().map(|c| user(&c.to_string())).collect() };
        let cases = [
            ("", "", None),
            ("a", "", None),
            ("", "a", Some(0)),
            ("ab", "ab", None),
            ("abc", "ab", None),
            ("ab", "abc", Some(2)),
            ("xb", "ab", Some(0)),
            ("axcd", "abc", Some(1)),
            ("ax", "abc", Some(1)),
        ];
        for (mine, other, at) in cases {
            assert_eq!(of(mine).departs_from(&of(other)), at, "{mine} from {other}");
        }
        let mut shared = of("ab");
        let before = shared.clone();
        shared.push(user("c"));
        assert_eq!(shared.departs_from(&before), None);
        assert_eq!(before.departs_from(&shared), Some(2));
    }

    #[test]
    fn the_digest_depends_on_content_and_order_alone() {
        let ab: History = [user("a"), user("b")].into_iter().collect();
        let again: History = [user("a"), user("b")].into_iter().collect();
        let ba: History = [user("b"), user("a")].into_iter().collect();
        assert_eq!(ab, again);
        assert_ne!(ab.digest(), ba.digest());
    }

    #[test]
    fn the_digest_is_the_same_whenever_it_is_asked_for() {
        for length in [1, 2, 16, 17, 100] {
            let mut asked = History::new();
            let mut silent = History::new();
            for n in 0..length {
                let entry = user(&n.to_string());
                asked.push(entry.clone());
                silent.push(entry);
                assert_eq!(asked.digest(), asked.prefix(n + 1).digest());
            }
            let fork = silent.prefix(length / 2);
            assert_eq!(fork.digest(), asked.prefix(length / 2).digest());
            assert_eq!(silent.digest(), asked.digest(), "{length}");
        }
    }

    #[test]
    fn the_tokens_of_a_path_are_the_sum_of_its_entries() {
        let history: History = [user("abcd"), user(""), user("abcde")]
            .into_iter()
            .collect();
        assert_eq!(history.estimated_tokens_by_entry(), [5, 4, 6]);
        assert_eq!(history.estimated_tokens(), 15);
        assert_eq!(history.prefix(2).estimated_tokens(), 9);
        assert_eq!(History::new().estimated_tokens_by_entry(), [0; 0]);
    }

    #[test]
    fn a_million_entries_drop_without_a_deep_stack() {
        let entry = user("x");
        let history: History = std::iter::repeat_n(entry, 1_000_000).collect();
        let fork = history.prefix(500_000);
        drop(history);
        assert_eq!(fork.len(), 500_000);
        assert_eq!(fork.newest_first().count(), 500_000);
    }
}
