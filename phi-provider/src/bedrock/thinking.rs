//! How the models of each family are asked to reason.

use phi_types::{Options, Thinking};
use serde_json::{Value, json};

use super::family::ModelFamily;
use crate::claude::{BUDGET_TOKENS_MIN, Plan, plan, version};

/// What a request says of reasoning.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Reasoning {
    /// Fields of `additionalModelRequestFields`.
    pub(super) fields: Vec<(&'static str, Value)>,
    /// Whether the temperature and the sampling mass must be left out.
    pub(super) excludes_sampling: bool,
    /// Whether the output limit must be left out.
    pub(super) excludes_limit: bool,
}

/// Writes how much a model shall reason. A tool that is `forced` excludes the reasoning of Claude.
pub(super) fn reasoning(
    family: ModelFamily,
    model: &str,
    options: &Options,
    forced: bool,
) -> Reasoning {
    let Some(thinking) = options.thinking else {
        return Reasoning::default();
    };
    match family {
        ModelFamily::Claude if forced => Reasoning::default(),
        ModelFamily::Claude => claude(thinking, model, options.output_tokens_max),
        ModelFamily::Nova2 => nova(thinking),
        // It always reasons, so that the least is what comes next to nothing.
        ModelFamily::GptOss => match level(thinking) {
            Level::Adaptive => Reasoning::default(),
            Level::Off | Level::Low => one("reasoning_effort", "low".into()),
            Level::Medium => one("reasoning_effort", "medium".into()),
            Level::High => one("reasoning_effort", "high".into()),
        },
        // It knows two levels.
        ModelFamily::Qwen => match level(thinking) {
            Level::Adaptive => Reasoning::default(),
            Level::Off => one("reasoning_config", "none".into()),
            Level::Low => one("reasoning_config", "low".into()),
            Level::Medium | Level::High => one("reasoning_config", "high".into()),
        },
        ModelFamily::Nova
        | ModelFamily::Mistral
        | ModelFamily::Kimi
        | ModelFamily::Llama
        | ModelFamily::Other => Reasoning::default(),
    }
}

fn one(name: &'static str, value: Value) -> Reasoning {
    Reasoning {
        fields: vec![(name, value)],
        ..Reasoning::default()
    }
}

enum Level {
    Off,
    Adaptive,
    Low,
    Medium,
    High,
}

/// Returns the word for an amount of reasoning where there is no budget.
fn level(thinking: Thinking) -> Level {
    match thinking {
        Thinking::Off | Thinking::BudgetTokens(0) => Level::Off,
        Thinking::Adaptive => Level::Adaptive,
        Thinking::Low | Thinking::BudgetTokens(1..=4_096) => Level::Low,
        Thinking::Medium | Thinking::BudgetTokens(4_097..=16_384) => Level::Medium,
        Thinking::High | Thinking::BudgetTokens(_) => Level::High,
    }
}

fn claude(thinking: Thinking, model: &str, limit: Option<u64>) -> Reasoning {
    // Models before 3.7 know no field for it.
    if model.contains("claude-") && version(model).is_none_or(|version| version < (3, 7)) {
        return Reasoning::default();
    }
    let mut fields = Vec::new();
    let excludes_sampling = match plan(Some(thinking), model) {
        Plan::Unsaid => false,
        Plan::Disabled => {
            fields.push(("thinking", json!({"type": "disabled"})));
            false
        }
        Plan::Adaptive(effort) => {
            fields.push(("thinking", json!({"type": "adaptive"})));
            fields.extend(effort.map(|effort| ("output_config", json!({ "effort": effort }))));
            true
        }
        Plan::Budget(budget) => {
            // The limit must exceed the budget; where it leaves no room, nobody can think.
            let room = limit.map_or(u64::MAX, |limit| limit.saturating_sub(1));
            let budget = budget.min(room);
            let thinks = budget >= BUDGET_TOKENS_MIN;
            let value = if thinks {
                json!({"type": "enabled", "budget_tokens": budget})
            } else {
                json!({"type": "disabled"})
            };
            fields.push(("thinking", value));
            thinks
        }
    };
    Reasoning {
        fields,
        excludes_sampling,
        excludes_limit: false,
    }
}

fn nova(thinking: Thinking) -> Reasoning {
    let effort = match level(thinking) {
        Level::Off => return one("reasoningConfig", json!({"type": "disabled"})),
        Level::Low => "low",
        Level::Adaptive | Level::Medium => "medium",
        Level::High => "high",
    };
    let config = json!({"type": "enabled", "maxReasoningEffort": effort});
    Reasoning {
        fields: vec![("reasoningConfig", config)],
        excludes_sampling: effort == "high",
        excludes_limit: effort == "high",
    }
}
