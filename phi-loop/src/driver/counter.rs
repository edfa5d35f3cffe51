//! An exact counter that counts each entry of a conversation once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use phi_types::{
    AssistantMessage, CallResult, Content, Entry, History, ImageSize, Surface, TokenCounter,
    UserMessage,
};

use crate::decision::Subject;
use crate::driver::others::others_first;
use crate::io::Compact;

/// How many entries a cache holds.
const ENTRIES_MAX: usize = 65_536;

/// After so many estimated tokens, others may run before the counting goes on.
const TOKENS_AT_ONCE: u64 = 16_384;

/// Counts every entry once, as long as it is somewhere in memory.
pub(crate) struct CachedCounter {
    inner: Arc<dyn TokenCounter>,
    counts: Mutex<HashMap<usize, Counted>>,
}

/// The count of an entry. An address is not used again while this knows it.
struct Counted {
    entry: WeakEntry,
    tokens: u64,
}

enum WeakEntry {
    User(Weak<UserMessage>),
    Assistant(Weak<AssistantMessage>),
    Results(Weak<[CallResult]>),
}

impl WeakEntry {
    /// Names an entry by its place in memory; `None` for one that no model reads.
    fn of(entry: &Entry) -> Option<(usize, Self)> {
        Some(match entry {
            Entry::User(it) => (Arc::as_ptr(it).addr(), Self::User(Arc::downgrade(it))),
            Entry::Assistant(it) => (Arc::as_ptr(it).addr(), Self::Assistant(Arc::downgrade(it))),
            Entry::Results(it) => (
                Arc::as_ptr(it).cast::<CallResult>().addr(),
                Self::Results(Arc::downgrade(it)),
            ),
            Entry::Extension(_) => return None,
        })
    }

    fn is_alive(&self) -> bool {
        match self {
            Self::User(it) => it.strong_count() > 0,
            Self::Assistant(it) => it.strong_count() > 0,
            Self::Results(it) => it.strong_count() > 0,
        }
    }
}

impl CachedCounter {
    pub(crate) fn new(inner: Arc<dyn TokenCounter>) -> Self {
        Self {
            inner,
            counts: Mutex::default(),
        }
    }
}

impl TokenCounter for CachedCounter {
    fn text(&self, text: &str) -> u64 {
        self.inner.text(text)
    }

    fn image(&self, size: Option<ImageSize>) -> u64 {
        self.inner.image(size)
    }

    fn content(&self, content: &[Content]) -> u64 {
        self.inner.content(content)
    }

    fn entry(&self, entry: &Entry) -> u64 {
        let Some((address, weak)) = WeakEntry::of(entry) else {
            return self.inner.entry(entry);
        };
        let known = |counts: &HashMap<usize, Counted>| {
            let counted = counts.get(&address)?;
            counted.entry.is_alive().then_some(counted.tokens)
        };
        let lock = || self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tokens) = known(&lock()) {
            return tokens;
        }
        let tokens = self.inner.entry(entry);
        let mut counts = lock();
        if counts.len() >= ENTRIES_MAX {
            counts.retain(|_, counted| counted.entry.is_alive());
        }
        if counts.len() >= ENTRIES_MAX {
            counts.clear();
        }
        let entry = weak;
        counts.insert(address, Counted { entry, tokens });
        tokens
    }

    fn surface(&self, surface: &Surface) -> u64 {
        self.inner.surface(surface)
    }
}

/// Counts everything that a compaction begins with, so that what follows finds it counted, and lets
/// others run in between.
pub(crate) async fn counted(compact: Compact, counter: Option<Arc<dyn TokenCounter>>) -> Compact {
    let Some(counter) = counter else {
        return compact;
    };
    count_all(&compact.view, counter.as_ref()).await;
    compact.counted_by(counter)
}

/// Does so where hooks decide about a compaction.
pub(crate) async fn counted_subject(
    subject: Subject,
    counter: Option<Arc<dyn TokenCounter>>,
) -> Subject {
    match subject {
        Subject::Compaction(compact) => {
            Subject::Compaction(Box::new(counted(*compact, counter).await))
        }
        other => other,
    }
}

async fn count_all(view: &History, counter: &dyn TokenCounter) {
    let mut at_once = 0_u64;
    let estimates = view.estimated_tokens_by_entry();
    for (entry, estimated) in view.entries().into_iter().zip(estimates) {
        counter.entry(entry);
        at_once = at_once.saturating_add(estimated);
        if at_once >= TOKENS_AT_ONCE {
            at_once = 0;
            others_first().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Letters(AtomicUsize);

    impl TokenCounter for Letters {
        fn text(&self, text: &str) -> u64 {
            self.0.fetch_add(1, Ordering::Relaxed);
            text.chars().count() as u64
        }
    }

    fn user(text: &str) -> Entry {
        Entry::User(Arc::new(UserMessage::text(text)))
    }

    #[test]
    fn an_entry_is_counted_once_while_it_lives_and_no_place_is_mistaken_for_another() {
        let letters = Arc::new(Letters::default());
        let counter = CachedCounter::new(Arc::clone(&letters) as Arc<dyn TokenCounter>);
        let kept = user("abc");
        for _ in 0..3 {
            assert_eq!(counter.entry(&kept), 7);
        }
        assert_eq!(letters.0.load(Ordering::Relaxed), 1);
        // Entries that come and go may lie where others lay before.
        for length in 0..1_000 {
            let entry = user(&"x".repeat(length));
            assert_eq!(counter.entry(&entry), length as u64 + 4);
        }
        assert_eq!(counter.entry(&Entry::Results([].into())), 0);
    }

    #[test]
    fn the_memory_of_counts_is_bounded() {
        let counter = CachedCounter::new(Arc::new(Letters::default()));
        for _ in 0..=ENTRIES_MAX {
            counter.entry(&user("gone"));
        }
        assert_eq!(counter.counts.lock().unwrap().len(), 1);
        let alive: Vec<Entry> = (0..=ENTRIES_MAX).map(|_| user("here")).collect();
        for entry in &alive {
            assert_eq!(counter.entry(entry), 8);
        }
        assert!(counter.counts.lock().unwrap().len() <= ENTRIES_MAX);
    }
}
