//! What the name of a model says about what it takes.

use phi_types::Thinking;
use serde_json::{Map, Value, json};

/// The generation of the model that is asked: the same protocol takes other words for each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Generation {
    /// As the name of the model says. A name without a number, as `gemini-flash-latest`, is of the
    /// newest generation, and a model of another family does not think.
    #[default]
    ByName,
    /// The model does not think (Gemini 2.0 and before, Gemma): `thinkingConfig` is refused.
    Plain,
    /// Thinking is asked for by a `thinkingBudget` in tokens (Gemini 2.5).
    Budgets,
    /// Thinking is asked for by a `thinkingLevel`, calls of the turn need a signature, and results
    /// may hold images (Gemini 3 and later).
    Levels,
}

impl Generation {
    /// Returns the generation of a model.
    pub(super) fn of(self, model: &str) -> Self {
        if self != Self::ByName {
            return self;
        }
        let name = model.rsplit('/').next().unwrap_or_default();
        let name = name.to_ascii_lowercase();
        let Some((_, version)) = name.split_once("gemini-") else {
            return Self::Plain;
        };
        let end = version.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, _) = version.split_at(end.unwrap_or(version.len()));
        match number.parse::<f32>() {
            Ok(number) if number < 2.5 => Self::Plain,
            Ok(number) if number < 3.0 => Self::Budgets,
            Ok(_) => Self::Levels,
            // `gemini-pro` and its like are of the first generation.
            Err(_) if !version.ends_with("latest") => Self::Plain,
            Err(_) => Self::Levels,
        }
    }

    /// Returns `thinkingConfig`; `None` where nothing is asked for or the model does not think.
    pub(super) fn thinking_config(self, model: &str, thinking: Option<Thinking>) -> Option<Value> {
        let thinking = thinking?;
        let mut config = Map::new();
        match self.of(model) {
            Self::ByName | Self::Plain => return None,
            Self::Budgets => {
                let budget = budget(model, thinking);
                config.insert("thinkingBudget".to_owned(), budget);
            }
            Self::Levels => match (thinking, level(model, thinking)) {
                // A budget is taken by these models too, and it is what was asked for.
                (Thinking::BudgetTokens(tokens), _) if tokens > 0 => {
                    config.insert("thinkingBudget".to_owned(), tokens.into());
                }
                (_, Some(level)) => {
                    config.insert("thinkingLevel".to_owned(), level.into());
                }
                (_, None) => {}
            },
        }
        let is_off = matches!(thinking, Thinking::Off | Thinking::BudgetTokens(0));
        config.insert("includeThoughts".to_owned(), (!is_off).into());
        Some(Value::Object(config))
    }
}

/// Returns the budget of Gemini 2.5. Its Pro model cannot but think, 128 tokens at least.
fn budget(model: &str, thinking: Thinking) -> Value {
    let tokens = match thinking {
        Thinking::Off | Thinking::BudgetTokens(0) if model.contains("-pro") => 128,
        Thinking::Off => 0,
        Thinking::Adaptive => return json!(-1),
        Thinking::Low => 1_024,
        Thinking::Medium => 8_192,
        Thinking::High => 24_576,
        Thinking::BudgetTokens(tokens) => tokens,
    };
    json!(tokens)
}

/// Returns the level of Gemini 3 and later; the Pro models do not know the lowest, and the first of
/// them none between low and high.
fn level(model: &str, thinking: Thinking) -> Option<&'static str> {
    let is_pro = model.contains("-pro");
    match thinking {
        Thinking::Adaptive | Thinking::BudgetTokens(1..) => None,
        Thinking::Off | Thinking::BudgetTokens(0) if !is_pro => Some("minimal"),
        Thinking::Off | Thinking::BudgetTokens(0) | Thinking::Low => Some("low"),
        Thinking::Medium if model.contains("gemini-3-pro") => Some("high"),
        Thinking::Medium => Some("medium"),
        Thinking::High => Some("high"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_model_tells_its_generation() {
        for (model, expected) in [
            ("gemini-1.5-pro-002", Generation::Plain),
            ("gemini-2.0-flash", Generation::Plain),
            ("gemini-2.5-flash-lite", Generation::Budgets),
            ("models/gemini-2.5-pro", Generation::Budgets),
            ("gemini-3-pro-preview", Generation::Levels),
            ("Gemini-3.1-pro-preview", Generation::Levels),
            ("gemini-10-ultra", Generation::Levels),
            ("gemini-flash-latest", Generation::Levels),
            ("gemini-pro", Generation::Plain),
            ("gemma-3-27b-it", Generation::Plain),
            ("endpoints/123", Generation::Plain),
            ("", Generation::Plain),
        ] {
            assert_eq!(Generation::ByName.of(model), expected, "{model}");
            assert_eq!(Generation::Levels.of(model), Generation::Levels);
        }
    }
}
