//! Finds tools by name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use phi_types::Tool;

use crate::disclosure::disclosed;
use crate::schema::InvalidTool;
use crate::workspace::Workspace;

type Factory = Arc<dyn Fn(&Workspace) -> Result<Arc<dyn Tool>, InvalidTool> + Send + Sync>;

/// The names that `default` stands for.
pub const DEFAULT_TOOLS: [&str; 6] = [
    "bash",
    "read_file",
    "write_file",
    "edit_file",
    "list_files",
    "search",
];

/// Says why a registry has no tool for a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// No factory has the name.
    #[error("tool {name:?} is not known: use one of {}", known.join(", "))]
    Unknown {
        /// The first characters of the name that was asked for.
        name: String,
        /// The names that are known, in order.
        known: Vec<String>,
    },
    /// A factory failed.
    #[error(transparent)]
    Invalid(#[from] InvalidTool),
}

/// Names, and what makes a tool for a workspace.
#[derive(Clone, Default)]
pub struct Registry {
    factories: BTreeMap<String, Factory>,
    disclosure: bool,
}

impl Registry {
    /// Makes a registry that knows no tool.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Makes a registry of the six built-in tools.
    #[must_use]
    pub fn built_in() -> Self {
        let mut registry = Self::empty();
        registry.add("bash", crate::bash::tool);
        registry.add("read_file", crate::read_file::tool);
        registry.add("write_file", crate::write_file::tool);
        registry.add("edit_file", crate::edit_file::tool);
        registry.add("list_files", crate::list_files::tool);
        registry.add("search", crate::search::tool);
        registry
    }

    /// Adds the tools with which a model changes what it reads: `prune_context` and
    /// `revert_context`. They name entries by their tags, so switch on
    /// [`phi_types::Configuration::tags`] with them.
    #[must_use]
    pub fn with_context_tools(mut self) -> Self {
        self.add("prune_context", crate::context::prune);
        self.add("revert_context", crate::context::revert);
        self
    }

    /// Adds a factory under a name, in place of what had the name before.
    pub fn add<T: Tool + 'static>(
        &mut self,
        name: &str,
        factory: impl Fn(&Workspace) -> Result<T, InvalidTool> + Send + Sync + 'static,
    ) {
        let factory: Factory = Arc::new(move |workspace| Ok(Arc::new(factory(workspace)?)));
        self.factories.insert(name.to_owned(), factory);
    }

    /// Shows models little of each tool of a selection, and adds `tool_help`, which tells the rest on
    /// demand: see [`disclosed`].
    #[must_use]
    pub fn with_disclosure(self) -> Self {
        Self {
            disclosure: true,
            ..self
        }
    }

    /// Lists the names that are known, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.factories.keys().map(String::as_str)
    }

    /// Makes one tool.
    ///
    /// # Errors
    /// [`RegistryError::Unknown`] lists the names that are known.
    pub fn make(&self, name: &str, workspace: &Workspace) -> Result<Arc<dyn Tool>, RegistryError> {
        let factory = self
            .factories
            .get(name)
            .ok_or_else(|| RegistryError::Unknown {
                name: name.chars().take(64).collect(),
                known: self.names().map(str::to_owned).collect(),
            })?;
        Ok(factory(workspace)?)
    }

    /// Makes the tools of a selection: `none`, `default` or names with commas between them.
    ///
    /// A name that comes twice counts once; the order is that of the selection.
    ///
    /// # Errors
    /// [`RegistryError::Unknown`] for the first name that is not known.
    pub fn select(
        &self,
        selection: &str,
        workspace: &Workspace,
    ) -> Result<Vec<Arc<dyn Tool>>, RegistryError> {
        let mut names: Vec<&str> = Vec::new();
        for name in selection.split(',').map(str::trim) {
            let meant: &[&str] = match name {
                "" | "none" => &[],
                "default" => &DEFAULT_TOOLS,
                _ => &[name],
            };
            for name in meant {
                if !names.contains(name) {
                    names.push(name);
                }
            }
        }
        let tools = names.into_iter().map(|name| self.make(name, workspace));
        let tools = tools.collect::<Result<Vec<_>, _>>()?;
        match self.disclosure {
            true => Ok(disclosed(tools)?),
            false => Ok(tools),
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}
