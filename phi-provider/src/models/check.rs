//! Finds out before sending that a model cannot do what a request asks for.

use phi_types::{Content, Entry, ProviderError, ProviderErrorKind, Request, Thinking};

use super::{Models, ThinkingKind};

/// Says what a request asks of a model that it cannot do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionError {
    /// The conversation shows images to a model that sees none.
    #[error("`{model}` sees no images, and entry {entry} holds one: choose a model with eyes")]
    Images {
        /// The model.
        model: String,
        /// The index of the first entry with an image.
        entry: usize,
    },
    /// The request offers tools to a model that calls none.
    #[error("`{model}` calls no tools: leave them out or choose another model")]
    Tools {
        /// The model.
        model: String,
    },
    /// The request wants reasoning of a model that does not reason.
    #[error("`{model}` does not reason: leave `thinking` out or choose another model")]
    Thinking {
        /// The model.
        model: String,
    },
    /// The request chooses the sampling of a model that does not let anybody.
    #[error("`{model}` takes no `{option}`: leave it out")]
    Sampling {
        /// The model.
        model: String,
        /// `temperature` or `top_p`.
        option: &'static str,
    },
    /// The request allows more output than the model can give.
    #[error("`{model}` gives at most {max} output tokens, not {asked}: lower `output_tokens_max`")]
    OutputTokens {
        /// The model.
        model: String,
        /// What is allowed.
        asked: u64,
        /// What it can give.
        max: u64,
    },
}

impl From<OptionError> for ProviderError {
    fn from(error: OptionError) -> Self {
        Self::new(ProviderErrorKind::InvalidRequest, error.to_string())
    }
}

impl Models {
    /// Says whether a model can do what a request asks for. What is not known passes.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use phi_provider::models::{Models, OptionError};
    /// use phi_types::Options;
    ///
    /// let mut request = phi_testkit::request("Hello");
    /// request.model = "o3".into();
    /// request.options = Arc::new(Options { temperature: Some(0.2), ..Options::default() });
    /// let error = Models::builtin().check(&request, "openai").unwrap_err();
    /// assert_eq!(error.to_string(), "`o3` takes no `temperature`: leave it out");
    /// ```
    ///
    /// # Errors
    /// [`OptionError`] says what to change.
    pub fn check(&self, request: &Request, provider: &str) -> Result<(), OptionError> {
        let Some(known) = self.lookup(provider, &request.model) else {
            return Ok(());
        };
        let (abilities, options) = (known.abilities, &request.options);
        let model = || request.model.to_string();
        if abilities.images == Some(false)
            && let Some(entry) = first_image(request)
        {
            let model = model();
            return Err(OptionError::Images { model, entry });
        }
        if abilities.tools == Some(false) && !request.tools.is_empty() {
            return Err(OptionError::Tools { model: model() });
        }
        let wants_thinking = match options.thinking {
            None | Some(Thinking::Off | Thinking::Adaptive | Thinking::BudgetTokens(0)) => false,
            Some(Thinking::Low | Thinking::Medium | Thinking::High | Thinking::BudgetTokens(_)) => {
                true
            }
        };
        if abilities.thinking == Some(ThinkingKind::None) && wants_thinking {
            return Err(OptionError::Thinking { model: model() });
        }
        // One is the only value that models without a choice of sampling take.
        let is_chosen = |value: Option<f64>| value.is_some_and(|value| value != 1.0);
        let sampling = [
            ("temperature", options.temperature),
            ("top_p", options.top_p),
        ];
        let chosen = sampling.into_iter().find(|(_, value)| is_chosen(*value));
        if let (Some(false), Some((option, _))) = (abilities.temperature, chosen) {
            let model = model();
            return Err(OptionError::Sampling { model, option });
        }
        match (options.output_tokens_max, known.output_tokens_max) {
            (Some(asked), Some(max)) if asked > max => Err(OptionError::OutputTokens {
                model: model(),
                asked,
                max,
            }),
            _ => Ok(()),
        }
    }
}

/// Returns the index of the first entry that shows an image.
fn first_image(request: &Request) -> Option<usize> {
    let is_image = |content: &Content| matches!(content, Content::Image { .. });
    let entries = request.view.entries();
    entries.iter().position(|entry| match entry {
        Entry::User(message) => message.content.iter().any(is_image),
        Entry::Results(results) => {
            let mut results = results.iter();
            results.any(|it| it.result.content.iter().any(is_image))
        }
        Entry::Assistant(_) | Entry::Extension(_) => false,
    })
}
