//! Keeping head and tail of long tool results.

use std::sync::Arc;

use async_trait::async_trait;
use phi_types::{Content, Entry, PrunedResult, ToolResult, Usage};

use super::{CompactionFailed, Compactor};
use crate::driver::ledger::Spending;
use crate::io::{Compact, Compacted};

/// Keeps head and tail of tool results, the oldest first, until the budget is kept. Images of such a
/// result go too.
#[derive(Debug, Clone, Copy)]
pub struct TruncateResults {
    bytes_max: usize,
}

/// The shortest result that is worth a note about what is missing.
const BYTES_LEAST: usize = 200;

impl TruncateResults {
    /// Makes the strategy: no text of a result stays longer than so many bytes, 200 at least.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max: bytes_max.max(BYTES_LEAST),
        }
    }

    fn shorter(&self, result: &ToolResult) -> Option<ToolResult> {
        let mut changed = false;
        let content = result.content.iter().map(|content| match content {
            Content::Text { text } if text.len() > self.bytes_max => {
                changed = true;
                Content::text(head_and_tail(text, self.bytes_max))
            }
            Content::Text { .. } => content.clone(),
            Content::Image { .. } => {
                changed = true;
                Content::text("[An image was left out.]")
            }
        });
        let content = content.collect();
        changed.then(|| ToolResult {
            content,
            change: None,
            ..result.clone()
        })
    }
}

impl Default for TruncateResults {
    fn default() -> Self {
        Self::new(4_000)
    }
}

#[async_trait]
impl Compactor for TruncateResults {
    async fn compact(&self, compact: &Compact) -> Result<(Compacted, Usage), CompactionFailed> {
        let mut pruned = Vec::new();
        let counting = &compact.counting;
        let mut counted = compact.surface_tokens + counting.view(&compact.view);
        'entries: for (entry, kept) in (0..).zip(compact.view.entries()) {
            let Entry::Results(results) = kept else {
                continue;
            };
            for (index, result) in (0..).zip(results.iter()) {
                if counting.tokens(counted) <= compact.budget_tokens {
                    break 'entries;
                }
                let Some(shorter) = self.shorter(&result.result) else {
                    continue;
                };
                let before = counting.content(&result.result.content);
                let after = counting.content(&shorter.content);
                if after < before {
                    counted -= before - after;
                    let result = Arc::new(shorter);
                    pruned.push(PrunedResult {
                        entry,
                        index,
                        result,
                    });
                }
            }
        }
        if pruned.is_empty() {
            return Err(CompactionFailed::NothingToLeaveOut);
        }
        let compacted = Compacted {
            pruned,
            ..Compacted::default()
        };
        Ok((compacted, Usage::default()))
    }

    fn spends_at_most(&self, _: &Compact) -> Spending {
        Spending::default()
    }
}

/// Cuts a text to so many bytes, its note included, at whole characters.
pub(super) fn head_and_tail(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    // The note is at most this long.
    let room = bytes_max.saturating_sub(64);
    let (mut head, mut tail) = (room * 2 / 3, text.len() - room / 3);
    while !text.is_char_boundary(head) {
        head -= 1;
    }
    while !text.is_char_boundary(tail) {
        tail += 1;
    }
    let (start, end) = (text.get(..head), text.get(tail..));
    let missing = tail - head;
    let (start, end) = (start.unwrap_or_default(), end.unwrap_or_default());
    format!("{start}\n[... {missing} bytes were left out ...]\n{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_text_keeps_both_ends_and_its_limit_and_is_cut_once() {
        for text in [
            "x".repeat(5_000),
            "\u{6f22}".repeat(3_000),
            "\u{1f600}".repeat(900),
        ] {
            for bytes_max in [200, 1_000, 4_000] {
                let cut = head_and_tail(&text, bytes_max);
                assert!(
                    cut.len() <= bytes_max.max(text.len().min(bytes_max)),
                    "{}",
                    cut.len()
                );
                assert_eq!(head_and_tail(&cut, bytes_max), cut);
                assert_eq!(cut.chars().next(), text.chars().next());
                assert_eq!(cut.chars().last(), text.chars().last());
            }
        }
    }
}
