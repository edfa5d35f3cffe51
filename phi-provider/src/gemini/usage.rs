//! What the service reports of tokens.

use phi_types::Usage;

use super::chunk::UsageMetadata;
use crate::lenient::Count;

impl UsageMetadata {
    /// Takes over what a later report states: a stream states less in some chunks than in others.
    pub(super) fn replace_with(&mut self, later: Self) {
        let later_or = |later: Count, before: Count| Count(later.0.or(before.0));
        *self = Self {
            prompt_token_count: later_or(later.prompt_token_count, self.prompt_token_count),
            candidates_token_count: later_or(
                later.candidates_token_count,
                self.candidates_token_count,
            ),
            thoughts_token_count: later_or(later.thoughts_token_count, self.thoughts_token_count),
            cached_content_token_count: later_or(
                later.cached_content_token_count,
                self.cached_content_token_count,
            ),
            tool_use_prompt_token_count: later_or(
                later.tool_use_prompt_token_count,
                self.tool_use_prompt_token_count,
            ),
        };
    }

    /// Says it in the words of phi.
    ///
    /// `promptTokenCount` holds the cached tokens; what the service's own tools brought into the
    /// prompt stands beside it. `thoughtsTokenCount` stands beside `candidatesTokenCount`, and both
    /// are billed as output.
    pub(super) fn usage(self) -> Usage {
        let cached = self.cached_content_token_count.0;
        let tools = self.tool_use_prompt_token_count.0;
        let prompt = sum(self.prompt_token_count.0, tools);
        let thoughts = self.thoughts_token_count.0;
        Usage {
            input_tokens: prompt.map(|prompt| prompt.saturating_sub(cached.unwrap_or(0))),
            cache_read_tokens: cached,
            cache_write_tokens: None,
            output_tokens: sum(self.candidates_token_count.0, thoughts),
            reasoning_tokens: thoughts,
        }
    }
}

fn sum(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.saturating_add(b)),
        (a, b) => a.or(b),
    }
}
