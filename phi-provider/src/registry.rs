//! Providers by name: `anthropic:claude-sonnet-4-5` is a provider and a model.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use phi_types::{Provider, Target};

use crate::models::{Model, Models};
#[cfg(feature = "transport")]
pub use crate::services::Services;

/// What somebody asks a registry for.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Entry<'a> {
    /// The name of the provider.
    pub provider: &'a str,
    /// The name of the model.
    pub model: &'a str,
}

/// A provider, and the model that was asked for.
#[derive(Clone)]
#[non_exhaustive]
pub struct Resolved {
    /// The provider.
    pub provider: Arc<dyn Provider>,
    /// The model at the provider, with its price and its window where they are known.
    pub target: Target,
}

impl fmt::Debug for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolved")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// Says why a name is none of a provider and a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The name has not both parts.
    #[error("`{given}` does not name a provider and a model: write provider:model, with a provider of {}", known.join(", "))]
    Incomplete {
        /// The name.
        given: String,
        /// The providers that are known.
        known: Vec<String>,
    },
    /// Nobody knows the provider.
    #[error("provider `{provider}` is not known: use one of {}", known.join(", "))]
    Unknown {
        /// The provider.
        provider: String,
        /// The providers that are known.
        known: Vec<String>,
    },
}

type Builder = dyn Fn(&Entry<'_>) -> Arc<dyn Provider> + Send + Sync;

/// Providers by name, and what is known of their models. There is no registry but those that
/// somebody makes. A clone shares the providers.
///
/// ```
/// use std::sync::Arc;
/// use phi_provider::models::Models;
/// use phi_provider::registry::Registry;
/// use phi_testkit::{Reply, ScriptedProvider};
///
/// let provider = Arc::new(ScriptedProvider::new([Reply::text("Hello")]));
/// let registry = Registry::new(Models::builtin()).with_provider("scripted", provider);
/// let resolved = registry.resolve("scripted:any:name")?;
/// assert_eq!(&*resolved.target.model, "any:name");
/// assert_eq!(
///     registry.resolve("openai:gpt-5").unwrap_err().to_string(),
///     "provider `openai` is not known: use one of scripted"
/// );
/// # Ok::<(), phi_provider::registry::RegistryError>(())
/// ```
#[derive(Clone, Default)]
pub struct Registry {
    builders: BTreeMap<String, Arc<Builder>>,
    models: Arc<Models>,
}

impl Registry {
    /// Makes a registry without a provider.
    #[must_use]
    pub fn new(models: impl Into<Arc<Models>>) -> Self {
        Self {
            builders: BTreeMap::new(),
            models: models.into(),
        }
    }

    /// Adds a provider under a name; one of that name is replaced. The function runs whenever the
    /// name is resolved: what is expensive belongs outside of it.
    #[must_use]
    pub fn with(
        mut self,
        name: impl Into<String>,
        builder: impl Fn(&Entry<'_>) -> Arc<dyn Provider> + Send + Sync + 'static,
    ) -> Self {
        self.builders.insert(name.into(), Arc::new(builder));
        self
    }

    /// Adds one provider for all models of a name.
    #[must_use]
    pub fn with_provider(self, name: impl Into<String>, provider: Arc<dyn Provider>) -> Self {
        self.with(name, move |_| Arc::clone(&provider))
    }

    /// Finds the provider of a name as `anthropic:claude-sonnet-4-5`. What follows the first colon
    /// is the model.
    ///
    /// # Errors
    /// [`RegistryError`] names the providers that are known.
    pub fn resolve(&self, name: &str) -> Result<Resolved, RegistryError> {
        let known = || self.names().map(str::to_owned).collect();
        let (provider, model) = match name.trim().split_once(':') {
            Some((provider, model)) if !provider.is_empty() && !model.is_empty() => {
                (provider, model)
            }
            _ => {
                return Err(RegistryError::Incomplete {
                    given: name.to_owned(),
                    known: known(),
                });
            }
        };
        let Some(builder) = self.builders.get(provider) else {
            return Err(RegistryError::Unknown {
                provider: provider.to_owned(),
                known: known(),
            });
        };
        let provider = builder(&Entry { provider, model });
        let target = self.models.target(provider.identity(), model);
        Ok(Resolved { provider, target })
    }

    /// Iterates over the names of the providers in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.builders.keys().map(String::as_str)
    }

    /// Returns what is known of models.
    #[must_use]
    pub fn models(&self) -> &Arc<Models> {
        &self.models
    }

    /// Returns what is known of the model of a name.
    #[must_use]
    pub fn model(&self, name: &str) -> Option<&Model> {
        let (provider, model) = name.split_once(':')?;
        self.models.lookup(provider, model)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.names().collect();
        f.debug_struct("Registry")
            .field("providers", &names)
            .finish_non_exhaustive()
    }
}
