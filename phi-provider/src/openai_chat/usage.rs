//! What the token counts of a service mean.

use phi_types::Usage;

use super::chunk::ReportedUsage;
use crate::lenient::Count;

impl ReportedUsage {
    /// Returns the counts in phi's terms: input without cache, output with reasoning.
    pub(super) fn usage(&self) -> Usage {
        let prompt = self.prompt_tokens_details.unwrap_or_default();
        let cache_read = best([
            prompt.cached_tokens,
            self.prompt_cache_hit_tokens,
            self.cached_tokens,
            self.num_cached_tokens,
            self.cache_read_input_tokens,
        ]);
        let cache_write = best([prompt.cache_write_tokens, self.cache_creation_input_tokens]);
        let cached = cache_read
            .unwrap_or(0)
            .saturating_add(cache_write.unwrap_or(0));
        let completion = self.completion_tokens_details.unwrap_or_default();
        let reasoning = best([completion.reasoning_tokens, self.reasoning_tokens]);
        Usage {
            // Grok on Azure counts the cached tokens beside the others.
            input_tokens: self
                .prompt_tokens
                .0
                .map(|prompt| prompt.checked_sub(cached).unwrap_or(prompt)),
            cache_read_tokens: cache_read,
            cache_write_tokens: cache_write,
            output_tokens: self.output(reasoning),
            reasoning_tokens: reasoning,
        }
    }

    /// Most services count reasoning inside `completion_tokens`, some beside it: then the total
    /// tells.
    fn output(&self, reasoning: Option<u64>) -> Option<u64> {
        let completion = self.completion_tokens.0?;
        let with_reasoning = completion.saturating_add(reasoning.unwrap_or(0));
        let prompt = self.prompt_tokens.0.unwrap_or(0);
        let is_beside = self.total_tokens.0 == prompt.checked_add(with_reasoning);
        Some(if is_beside {
            with_reasoning
        } else {
            completion
        })
    }
}

/// Returns the first count that is not zero, else zero if one was stated.
fn best<const N: usize>(counts: [Count; N]) -> Option<u64> {
    let mut stated = counts.iter().filter_map(|count| count.0);
    let first = stated.next()?;
    if first > 0 {
        return Some(first);
    }
    Some(stated.find(|count| *count > 0).unwrap_or(0))
}
