//! What the tests of tools share.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use phi_tools::{Registry, Workspace};
use phi_types::{Content, EffectId, LoopId, RawJson, SessionId, Tool, ToolContext, ToolResult};
use serde_json::Value;

/// A folder, and the tools that work in it.
pub(crate) struct Bench {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) workspace: Workspace,
    pub(crate) registry: Registry,
}

pub(crate) fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let workspace = Workspace::open(folder.path()).unwrap();
    Bench {
        folder,
        workspace,
        registry: Registry::built_in(),
    }
}

pub(crate) fn context() -> ToolContext {
    let effect = EffectId {
        loop_id: LoopId::new("s.c.1").unwrap(),
        seq: 1,
    };
    ToolContext::new(SessionId::new("s").unwrap(), effect, Arc::new(()))
}

impl Bench {
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn file(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn content(&self, path: &str) -> String {
        String::from_utf8(fs::read(self.path().join(path)).unwrap()).unwrap()
    }

    pub(crate) fn tool(&self, name: &str) -> Arc<dyn Tool> {
        self.registry.make(name, &self.workspace).unwrap()
    }

    /// Validates and calls.
    pub(crate) async fn call(&self, name: &str, arguments: Value) -> ToolResult {
        let tool = self.tool(name);
        let arguments = RawJson::from_value(&arguments).unwrap();
        tool.validate(&arguments).unwrap();
        tool.call(arguments, context()).await
    }

    /// The text of a call that must succeed.
    pub(crate) async fn text(&self, name: &str, arguments: Value) -> String {
        let result = self.call(name, arguments).await;
        assert!(!result.is_error, "{}", text(&result));
        text(&result)
    }

    /// The text of a call that must fail.
    pub(crate) async fn error(&self, name: &str, arguments: Value) -> String {
        let result = self.call(name, arguments).await;
        assert!(result.is_error, "{}", text(&result));
        text(&result)
    }

    /// What validation says of arguments that are wrong.
    pub(crate) fn invalid(&self, name: &str, arguments: &Value) -> String {
        let arguments = RawJson::from_value(arguments).unwrap();
        self.tool(name)
            .validate(&arguments)
            .unwrap_err()
            .to_string()
    }
}

pub(crate) fn text(result: &ToolResult) -> String {
    result
        .content
        .iter()
        .map(|content| match content {
            Content::Text { text } => text.as_str(),
            Content::Image { .. } => "[image]",
        })
        .collect()
}

pub(crate) fn details(result: &ToolResult) -> Value {
    result.details.as_ref().unwrap().read().unwrap()
}
