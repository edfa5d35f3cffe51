//! Tokens that a provider reported, and what they cost.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Tokens of one attempt, one turn, one loop or one session.
///
/// `None` means "not reported" and never zero. The first three add up to the whole prompt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Input tokens billed in full, without cache reads and cache writes.
    ///
    /// Anthropic: `usage.input_tokens`. OpenAI: `prompt_tokens` less the cached ones.
    pub input_tokens: Option<u64>,
    /// Input tokens read from the provider's cache, billed at the cached rate.
    ///
    /// Anthropic: `usage.cache_read_input_tokens`. OpenAI: `prompt_tokens_details.cached_tokens`.
    pub cache_read_tokens: Option<u64>,
    /// Input tokens written to the provider's cache.
    ///
    /// Anthropic: `usage.cache_creation_input_tokens`.
    pub cache_write_tokens: Option<u64>,
    /// Output tokens, reasoning included.
    pub output_tokens: Option<u64>,
    /// The part of the output tokens that was reasoning.
    pub reasoning_tokens: Option<u64>,
}

impl Usage {
    /// Adds another report; a field stays `None` only while nobody reported it.
    pub fn add(&mut self, other: &Self) {
        fn sum(a: &mut Option<u64>, b: Option<u64>) {
            if let Some(b) = b {
                *a = Some(a.unwrap_or(0).saturating_add(b));
            }
        }
        sum(&mut self.input_tokens, other.input_tokens);
        sum(&mut self.cache_read_tokens, other.cache_read_tokens);
        sum(&mut self.cache_write_tokens, other.cache_write_tokens);
        sum(&mut self.output_tokens, other.output_tokens);
        sum(&mut self.reasoning_tokens, other.reasoning_tokens);
    }

    /// Takes over every field that a later report of the same attempt states.
    ///
    /// Providers report cumulatively: Anthropic's `message_delta.usage` replaces what
    /// `message_start` said, but only where it says something.
    pub fn replace_with(&mut self, later: &Self) {
        self.input_tokens = later.input_tokens.or(self.input_tokens);
        self.cache_read_tokens = later.cache_read_tokens.or(self.cache_read_tokens);
        self.cache_write_tokens = later.cache_write_tokens.or(self.cache_write_tokens);
        self.output_tokens = later.output_tokens.or(self.output_tokens);
        self.reasoning_tokens = later.reasoning_tokens.or(self.reasoning_tokens);
    }

    /// Returns all tokens that were reported: prompt with cache, and output.
    #[must_use]
    pub fn total_tokens(&self) -> u64 {
        self.prompt_tokens()
            .saturating_add(self.output_tokens.unwrap_or(0))
    }

    /// Returns the tokens of the prompt that were reported, cache reads and writes included.
    #[must_use]
    pub fn prompt_tokens(&self) -> u64 {
        [
            self.input_tokens,
            self.cache_read_tokens,
            self.cache_write_tokens,
        ]
        .iter()
        .flatten()
        .fold(0, |sum, tokens| sum.saturating_add(*tokens))
    }
}

/// What a model costs, in US dollars for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Price {
    /// Input that was not read from a cache.
    pub input_usd: f64,
    /// Output, reasoning included.
    pub output_usd: f64,
    /// Input read from the cache.
    pub cache_read_usd: f64,
    /// Input written to the cache.
    pub cache_write_usd: f64,
}

impl Price {
    /// Returns the cost of a usage in US dollars; what was not reported costs nothing.
    #[must_use]
    pub fn cost_usd(&self, usage: &Usage) -> f64 {
        #[expect(
            clippy::cast_precision_loss,
            reason = "token counts are far below 2^52"
        )]
        let cost = |tokens: Option<u64>, usd: f64| tokens.unwrap_or(0) as f64 * usd / 1e6;
        cost(usage.input_tokens, self.input_usd)
            + cost(usage.output_tokens, self.output_usd)
            + cost(usage.cache_read_tokens, self.cache_read_usd)
            + cost(usage.cache_write_tokens, self.cache_write_usd)
    }
}

/// What somebody else spent on behalf of a loop: a sub-agent with all that it spawned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Spent {
    /// Tokens.
    pub usage: Usage,
    /// US dollars; `None` where no price is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
}

impl Spent {
    /// Says whether nothing was reported.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns it as an event holds it: `None` if nothing was reported.
    #[must_use]
    pub fn reported(self) -> Option<Arc<Self>> {
        (!self.is_empty()).then(|| Arc::new(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_keeps_not_reported_apart_from_zero() {
        let mut sum = Usage {
            input_tokens: Some(1),
            ..Usage::default()
        };
        sum.add(&Usage {
            input_tokens: Some(2),
            output_tokens: Some(0),
            ..Usage::default()
        });
        let expected = Usage {
            input_tokens: Some(3),
            output_tokens: Some(0),
            ..Usage::default()
        };
        assert_eq!(sum, expected);
    }

    #[test]
    fn a_later_report_replaces_only_what_it_states() {
        let mut usage = Usage {
            input_tokens: Some(7),
            output_tokens: Some(1),
            ..Usage::default()
        };
        usage.replace_with(&Usage {
            output_tokens: Some(9),
            ..Usage::default()
        });
        assert_eq!(
            (usage.input_tokens, usage.output_tokens),
            (Some(7), Some(9))
        );
        assert_eq!(usage.total_tokens(), 16);
    }

    #[test]
    fn cost_counts_each_tier_once() {
        let price = Price {
            input_usd: 3.0,
            output_usd: 15.0,
            cache_read_usd: 0.3,
            cache_write_usd: 3.75,
        };
        let usage = Usage {
            input_tokens: Some(1_000_000),
            cache_read_tokens: Some(1_000_000),
            cache_write_tokens: Some(1_000_000),
            output_tokens: Some(1_000_000),
            reasoning_tokens: Some(500_000),
        };
        assert!((price.cost_usd(&usage) - 22.05).abs() < 1e-9);
    }
}
