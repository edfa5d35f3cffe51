//! What the token counts of a service mean.

use phi_types::Usage;
use serde::Deserialize;

use crate::lenient::{Count, Object};

/// `usage` of a response.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ReportedUsage {
    input_tokens: Count,
    output_tokens: Count,
    total_tokens: Count,
    input_tokens_details: Object<InputDetails>,
    output_tokens_details: Object<OutputDetails>,
    /// The name of Chat Completions, which gateways use here too.
    prompt_tokens: Count,
    /// The name of Chat Completions, which gateways use here too.
    completion_tokens: Count,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(default)]
struct InputDetails {
    cached_tokens: Count,
    cache_write_tokens: Count,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(default)]
struct OutputDetails {
    reasoning_tokens: Count,
}

impl ReportedUsage {
    /// Returns the counts in phi's terms: input without cache, output with reasoning.
    pub(super) fn usage(&self) -> Usage {
        let details = self.input_tokens_details.0.unwrap_or_default();
        let (read, write) = (details.cached_tokens.0, details.cache_write_tokens.0);
        let cached = read.unwrap_or(0).saturating_add(write.unwrap_or(0));
        let input = self.input_tokens.0.or(self.prompt_tokens.0);
        let output = self.output_tokens.0.or(self.completion_tokens.0);
        let details = self.output_tokens_details.0.unwrap_or_default();
        let reasoning = details.reasoning_tokens.0;
        // Some services count reasoning beside the output: then the total tells.
        let with_reasoning = output.map(|output| output.saturating_add(reasoning.unwrap_or(0)));
        let total = with_reasoning.and_then(|output| output.checked_add(input.unwrap_or(0)));
        let is_beside = total.is_some() && self.total_tokens.0 == total;
        Usage {
            // More than there is: the service counts the cached tokens beside the others.
            input_tokens: input.map(|input| input.checked_sub(cached).unwrap_or(input)),
            cache_read_tokens: read,
            cache_write_tokens: write,
            output_tokens: if is_beside { with_reasoning } else { output },
            reasoning_tokens: reasoning,
        }
    }
}
