//! Knows the models of Claude by their names: which of them decide themselves how much to think.

use phi_types::Thinking;

/// The smallest budget that the provider accepts.
pub(crate) const BUDGET_TOKENS_MIN: u64 = 1_024;

/// How a model is asked to think.
pub(crate) enum Plan {
    /// Nothing is said.
    Unsaid,
    Disabled,
    Adaptive(Option<&'static str>),
    Budget(u64),
}

/// Models from 4.6 on decide themselves how much to think and take an effort; those before, and
/// those of other services, take a budget. From 4.7 on a budget is refused.
pub(crate) fn plan(thinking: Option<Thinking>, model: &str) -> Plan {
    let version = version(model);
    let adaptive = version.is_some_and(|version| version >= (4, 6));
    let by_level = |effort: &'static str, budget: u64| {
        if adaptive {
            Plan::Adaptive(Some(effort))
        } else {
            Plan::Budget(budget)
        }
    };
    match thinking {
        None => Plan::Unsaid,
        Some(Thinking::Off) => Plan::Disabled,
        Some(Thinking::Adaptive) if adaptive => Plan::Adaptive(None),
        Some(Thinking::Adaptive) => Plan::Budget(8_192),
        Some(Thinking::Low) => by_level("low", 2_048),
        Some(Thinking::Medium) => by_level("medium", 8_192),
        Some(Thinking::High) => by_level("high", 24_576),
        Some(Thinking::BudgetTokens(tokens)) => {
            let takes_budget = version.is_none_or(|version| version < (4, 7));
            let tokens = tokens.max(BUDGET_TOKENS_MIN);
            if takes_budget {
                Plan::Budget(tokens)
            } else if tokens <= 4_096 {
                Plan::Adaptive(Some("low"))
            } else if tokens <= 16_384 {
                Plan::Adaptive(Some("medium"))
            } else {
                Plan::Adaptive(Some("high"))
            }
        }
    }
}

/// Reads the version of a Claude model from its name, as `claude-sonnet-4-6` or
/// `anthropic/claude-opus-4.1-20250805`. Older names, as `claude-3-7-sonnet`, put it first.
pub(crate) fn version(model: &str) -> Option<(u64, u64)> {
    let (_, name) = model.split_once("claude-")?;
    let mut numbers = name
        .split(['-', '.', '@', ':'])
        .map_while(|word| match word.parse::<u64>() {
            // A date is no version.
            Ok(number) if number >= 100 => None,
            Ok(number) => Some(Some(number)),
            Err(_) => Some(None),
        })
        .skip_while(Option::is_none);
    let major = numbers.next()??;
    Some((major, numbers.next().flatten().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_every_spelling() {
        for (model, expected) in [
            ("claude-sonnet-4-6", Some((4, 6))),
            ("claude-sonnet-5", Some((5, 0))),
            ("claude-sonnet-4-20250514", Some((4, 0))),
            ("anthropic/claude-opus-4.1", Some((4, 1))),
            ("us.anthropic.claude-haiku-4-5-20251001-v1:0", Some((4, 5))),
            ("claude-3-7-sonnet-20250219", Some((3, 7))),
            ("claude-opus-4@20250514", Some((4, 0))),
            ("kimi-k2", None),
            ("claude-instant", None),
        ] {
            assert_eq!(version(model), expected, "{model}");
        }
    }
}
