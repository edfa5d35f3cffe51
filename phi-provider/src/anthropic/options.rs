//! Writes the options of a request: output limit, thinking, sampling and tool choice.

use phi_types::{Options, ToolChoice};
use serde_json::{Value, json};

use crate::claude::{BUDGET_TOKENS_MIN, Plan, plan};

/// The fields of a body that options decide, in the order in which they are written.
#[derive(Debug, Default, PartialEq)]
pub(super) struct OptionFields {
    pub(super) max_tokens: u64,
    pub(super) thinking: Option<Value>,
    pub(super) output_config: Option<Value>,
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
    pub(super) stop_sequences: Vec<String>,
    pub(super) tool_choice: Option<Value>,
}

/// Decides the fields.
///
/// Thinking excludes sampling options and a forced tool. A forced tool is what the caller needs to
/// go on, so it wins over thinking; sampling options give way.
pub(super) fn option_fields(
    options: &Options,
    model: &str,
    has_tools: bool,
    output_tokens_default: u64,
) -> OptionFields {
    let forced = has_tools
        && matches!(
            options.tool_choice,
            Some(ToolChoice::Required | ToolChoice::Tool(_))
        );
    let mut plan = if forced {
        Plan::Unsaid
    } else {
        plan(options.thinking, model)
    };
    let mut max_tokens = options.output_tokens_max.unwrap_or(output_tokens_default);
    if let Plan::Budget(budget) = plan {
        if options.output_tokens_max.is_none() {
            max_tokens = max_tokens.saturating_add(budget);
        }
        // The limit must exceed the budget; where it leaves no room, nobody can think.
        let budget = budget.min(max_tokens.saturating_sub(1));
        plan = if budget < BUDGET_TOKENS_MIN {
            Plan::Disabled
        } else {
            Plan::Budget(budget)
        };
    }
    let thinks = matches!(plan, Plan::Adaptive(_) | Plan::Budget(_));
    let effort = match plan {
        Plan::Adaptive(effort) => effort,
        Plan::Unsaid | Plan::Disabled | Plan::Budget(_) => None,
    };
    OptionFields {
        max_tokens,
        thinking: match plan {
            Plan::Unsaid => None,
            Plan::Disabled => Some(json!({"type": "disabled"})),
            Plan::Adaptive(_) => Some(json!({"type": "adaptive"})),
            Plan::Budget(tokens) => Some(json!({"type": "enabled", "budget_tokens": tokens})),
        },
        output_config: effort.map(|effort| json!({ "effort": effort })),
        temperature: options.temperature.filter(|_| !thinks),
        top_p: options.top_p.filter(|_| !thinks),
        stop_sequences: stop_sequences(options),
        tool_choice: has_tools.then(|| tool_choice(options)).flatten(),
    }
}

/// Leaves out sequences of white space alone, which the provider refuses.
fn stop_sequences(options: &Options) -> Vec<String> {
    let all = options.stop_sequences.iter();
    all.filter(|text| !text.trim().is_empty())
        .cloned()
        .collect()
}

fn tool_choice(options: &Options) -> Option<Value> {
    let mut choice = match &options.tool_choice {
        None => json!({"type": "auto"}),
        Some(ToolChoice::Auto) => json!({"type": "auto"}),
        Some(ToolChoice::None) => return Some(json!({"type": "none"})),
        Some(ToolChoice::Required) => json!({"type": "any"}),
        Some(ToolChoice::Tool(name)) => json!({"type": "tool", "name": name}),
    };
    if options.parallel_tool_calls == Some(false)
        && let Some(fields) = choice.as_object_mut()
    {
        fields.insert("disable_parallel_tool_use".to_owned(), true.into());
    }
    let is_said = options.tool_choice.is_some() || options.parallel_tool_calls == Some(false);
    is_said.then_some(choice)
}

#[cfg(test)]
mod tests {
    use phi_types::Thinking;

    use super::*;

    const OLD: &str = "claude-sonnet-4-5-20250929";
    const NEW: &str = "claude-opus-4-7";

    fn fields(options: &Options, model: &str) -> OptionFields {
        option_fields(options, model, true, 8_192)
    }

    fn thinking(thinking: Thinking) -> Options {
        Options {
            thinking: Some(thinking),
            ..Options::default()
        }
    }

    #[test]
    fn a15_the_output_limit_is_always_there_and_exceeds_the_budget() {
        assert_eq!(fields(&Options::default(), OLD).max_tokens, 8_192);
        let wide = fields(&thinking(Thinking::BudgetTokens(3_000)), OLD);
        assert_eq!(wide.max_tokens, 11_192);
        assert_eq!(
            wide.thinking,
            Some(json!({"type": "enabled", "budget_tokens": 3_000}))
        );
        let stated = |limit| {
            let options = Options {
                output_tokens_max: Some(limit),
                ..thinking(Thinking::BudgetTokens(3_000))
            };
            let fields = fields(&options, OLD);
            assert_eq!(fields.max_tokens, limit);
            fields.thinking.unwrap()
        };
        assert_eq!(stated(2_000)["budget_tokens"], 1_999);
        assert_eq!(stated(1_024)["type"], "disabled");
    }

    #[test]
    fn a16_thinking_excludes_sampling_and_a_forced_tool_excludes_thinking() {
        for (level, model) in [
            (Thinking::BudgetTokens(2_000), OLD),
            (Thinking::High, OLD),
            (Thinking::High, NEW),
            (Thinking::Adaptive, NEW),
        ] {
            let mut options = Options {
                temperature: Some(0.5),
                top_p: Some(0.9),
                ..thinking(level)
            };
            let free = fields(&options, model);
            assert!(free.thinking.is_some(), "{level:?}");
            assert_eq!((free.temperature, free.top_p), (None, None));
            options.tool_choice = Some(ToolChoice::Required);
            let forced = fields(&options, model);
            assert_eq!((&forced.thinking, &forced.output_config), (&None, &None));
            assert_eq!(forced.temperature, Some(0.5));
            assert_eq!(forced.tool_choice, Some(json!({"type": "any"})));
        }
    }

    #[test]
    fn a16_models_that_think_adaptively_take_an_effort_and_no_budget() {
        let effort = |level, model| {
            let fields = fields(&thinking(level), model);
            (
                fields.thinking.unwrap()["type"].clone(),
                fields.output_config,
            )
        };
        let low = Some(json!({"effort": "low"}));
        assert_eq!(effort(Thinking::Low, NEW), (json!("adaptive"), low.clone()));
        assert_eq!(
            effort(Thinking::BudgetTokens(1_024), NEW),
            (json!("adaptive"), low)
        );
        assert_eq!(effort(Thinking::Adaptive, NEW), (json!("adaptive"), None));
        assert_eq!(effort(Thinking::Low, OLD), (json!("enabled"), None));
        assert_eq!(effort(Thinking::Off, NEW), (json!("disabled"), None));
    }

    #[test]
    fn parallel_calls_are_switched_off_in_the_tool_choice() {
        let choice = |tool_choice, parallel_tool_calls| {
            let options = Options {
                tool_choice,
                parallel_tool_calls,
                ..Options::default()
            };
            fields(&options, OLD).tool_choice
        };
        assert_eq!(choice(None, None), None);
        assert_eq!(choice(None, Some(true)), None);
        assert_eq!(
            choice(None, Some(false)),
            Some(json!({"type": "auto", "disable_parallel_tool_use": true}))
        );
        assert_eq!(
            choice(Some(ToolChoice::Tool("x".into())), Some(false)),
            Some(json!({"type": "tool", "name": "x", "disable_parallel_tool_use": true}))
        );
        assert_eq!(
            choice(Some(ToolChoice::None), Some(false)),
            Some(json!({"type": "none"}))
        );
        let none = option_fields(&Options::default(), OLD, false, 1).tool_choice;
        assert_eq!(none, None);
    }
}
