//! What is known of models: their windows, limits, prices and abilities.

mod check;
mod file;
mod name;

use std::collections::HashMap;
use std::path::Path;

use phi_types::{Identity, Price, Target};
use serde::Serialize;

pub use check::OptionError;
pub use file::ModelsError;

/// One model of one service.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Model {
    /// The service, as `anthropic`: see [`Identity::provider`].
    pub provider: String,
    /// The name without the date of a version.
    pub model: String,
    /// Other names. One `*` stands for anything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// The context window in tokens.
    pub window_tokens: Option<u64>,
    /// The most output tokens that may be asked for, reasoning included.
    pub output_tokens_max: Option<u64>,
    /// What it costs, in US dollars for a million tokens.
    pub price: Option<Price>,
    /// What it can do.
    pub abilities: Abilities,
}

/// What a model can do. `None` means that nobody knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Abilities {
    /// Whether it sees images.
    pub images: Option<bool>,
    /// Whether it calls tools.
    pub tools: Option<bool>,
    /// How its reasoning is asked for.
    pub thinking: Option<ThinkingKind>,
    /// Whether the service makes it answer in the form of a schema.
    pub structured_output: Option<bool>,
    /// Whether its sampling can be chosen, by a temperature or a nucleus.
    pub temperature: Option<bool>,
}

/// How the reasoning of a model is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThinkingKind {
    /// It does not reason.
    None,
    /// By a number of tokens.
    Budget,
    /// By a word for how much.
    Effort,
    /// It decides by itself.
    Adaptive,
}

impl ThinkingKind {
    /// Returns the name that the files use, as `budget`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Budget => "budget",
            Self::Effort => "effort",
            Self::Adaptive => "adaptive",
        }
    }
}

/// What is known of models.
///
/// What is built in comes from public documentation and price lists and grows old; a file of one's
/// own overrides it field by field. A model that is not known is not an error anywhere.
///
/// ```
/// use phi_provider::models::Models;
///
/// let models = Models::builtin().overridden_by(
///     r#"{"models": [{"provider": "openai", "model": "gpt-5", "price": {"input_usd": 1.0}}]}"#,
/// )?;
/// let model = models.lookup("openai", "gpt-5-2025-08-07").expect("a dated name is known");
/// assert_eq!(model.window_tokens, Some(400_000));
/// assert_eq!(model.price.map(|price| (price.input_usd, price.output_usd)), Some((1.0, 10.0)));
/// assert!(models.lookup("openai", "gpt-99").is_none());
/// # Ok::<(), phi_provider::models::ModelsError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Models {
    models: Vec<Model>,
    /// The services whose models another service offers too.
    families: HashMap<String, Vec<String>>,
    /// By service and name in lower case; a name counts before an alias.
    index: HashMap<String, HashMap<String, usize>>,
}

impl Models {
    /// Knows nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Knows what is built in. It is read anew each time: keep it.
    #[must_use]
    pub fn builtin() -> Self {
        let builtin = Self::none().overridden_by(include_str!("models.json"));
        builtin.expect("the file is part of the crate, and a test reads it")
    }

    /// Takes over what a file in the form of `models.json` states, field by field; a name that is
    /// new begins with what is known of the model that it is a version of.
    ///
    /// ```
    /// use phi_provider::models::Models;
    ///
    /// let json = r#"{"models": [{"provider": "openai", "model": "gpt-5", "prize": 1}]}"#;
    /// let error = Models::builtin().overridden_by(json).unwrap_err();
    /// assert!(error.to_string().starts_with("line 1, `openai:gpt-5`: unknown field `prize`"));
    /// ```
    ///
    /// # Errors
    /// [`ModelsError`] names the line, the model and the field.
    pub fn overridden_by(mut self, json: &str) -> Result<Self, ModelsError> {
        let file = file::read(json)?;
        for (service, others) in file.families {
            self.families.insert(service.to_ascii_lowercase(), others);
        }
        for (at, stated) in file.models {
            self.state(stated).map_err(|error| at.wrong(error))?;
        }
        Ok(self)
    }

    /// Takes over a file as [`Models::overridden_by`] does. It reads the file at once.
    ///
    /// # Errors
    /// [`ModelsError`] also where the file cannot be read.
    pub fn overridden_by_file(self, path: &Path) -> Result<Self, ModelsError> {
        let json = std::fs::read_to_string(path).map_err(|error| ModelsError::Unreadable {
            path: path.display().to_string(),
            reason: error.to_string(),
        })?;
        self.overridden_by(&json)
    }

    fn state(&mut self, stated: file::Stated) -> Result<(), String> {
        let known = self.indexed(&stated.provider, &stated.model);
        let is_name = |at: &usize| {
            let model = self.models.get(*at);
            model.is_some_and(|model| model.model.eq_ignore_ascii_case(&stated.model))
        };
        let at = match known.filter(is_name) {
            Some(at) => at,
            None => {
                let like = self.lookup(&stated.provider, &stated.model);
                let model = file::new_model(&stated, like);
                self.models.push(model);
                self.models.len() - 1
            }
        };
        let Some(model) = self.models.get_mut(at) else {
            return Ok(());
        };
        file::merge(model, stated)?;
        let names = self.index.entry(model.provider.to_ascii_lowercase());
        let names = names.or_default();
        names.insert(model.model.to_ascii_lowercase(), at);
        for alias in model.aliases.iter().filter(|alias| !alias.contains('*')) {
            names.entry(alias.to_ascii_lowercase()).or_insert(at);
        }
        Ok(())
    }

    /// Finds a model by the name that its service uses, also with the date of a version, a region
    /// or a vendor in it, as `us.anthropic.claude-sonnet-4-5-20250929-v1:0`.
    #[must_use]
    pub fn lookup(&self, provider: &str, model: &str) -> Option<&Model> {
        let provider = provider.to_ascii_lowercase();
        let others = self.families.get(&provider).into_iter().flatten();
        let services: Vec<&str> = [&*provider]
            .into_iter()
            .chain(others.map(|it| &**it))
            .collect();
        let forms = name::forms(&model.to_ascii_lowercase());
        let found = forms.iter().find_map(|form| {
            let mut services = services.iter();
            services.find_map(|service| self.indexed(service, form))
        });
        match found {
            Some(at) => self.models.get(at),
            None => self.by_pattern(&services, &forms),
        }
    }

    fn indexed(&self, provider: &str, name: &str) -> Option<usize> {
        let names = self.index.get(&provider.to_ascii_lowercase())?;
        names.get(&name.to_ascii_lowercase()).copied()
    }

    /// The longest pattern counts.
    fn by_pattern(&self, services: &[&str], forms: &[String]) -> Option<&Model> {
        let of_services = self.models.iter().filter(|model| {
            let mut services = services.iter();
            services.any(|service| service.eq_ignore_ascii_case(&model.provider))
        });
        let matching = of_services.filter_map(|model| {
            let matches = |alias: &&String| forms.iter().any(|form| name::matches(alias, form));
            let longest = model.aliases.iter().filter(matches).map(String::len).max();
            longest.map(|length| (length, model))
        });
        matching
            .max_by_key(|(length, _)| *length)
            .map(|(_, model)| model)
    }

    /// Makes a target with the price and the window that are known.
    ///
    /// ```
    /// use phi_provider::models::Models;
    /// use phi_types::{Identity, Usage};
    ///
    /// let identity = Identity { protocol: "anthropic-messages", provider: "anthropic" };
    /// let target = Models::builtin().target(identity, "claude-sonnet-4-5-20250929");
    /// let usage = Usage { input_tokens: Some(1_000_000), ..Usage::default() };
    /// assert_eq!(target.price.map(|price| price.cost_usd(&usage)), Some(3.0));
    /// ```
    #[must_use]
    pub fn target(&self, identity: Identity<'_>, model: &str) -> Target {
        let known = self.lookup(identity.provider, model);
        Target {
            price: known.and_then(|model| model.price),
            window_tokens: known.and_then(|model| model.window_tokens),
            ..Target::new(identity, model)
        }
    }

    /// Iterates over the models in the order of the files.
    pub fn iter(&self) -> impl Iterator<Item = &Model> {
        self.models.iter()
    }
}
