//! A tool that does nothing.

use async_trait::async_trait;
use phi_types::{EffectClass, RawJson, Tool, ToolContext, ToolKind, ToolResult, ToolSpec};

/// A tool that does nothing and says nothing.
#[derive(Debug)]
pub struct NoopTool {
    spec: ToolSpec,
}

impl Default for NoopTool {
    fn default() -> Self {
        Self {
            spec: ToolSpec {
                name: "noop".into(),
                description: "Does nothing.".into(),
                input_schema: RawJson::empty_object(),
                kind: ToolKind::Other,
                effect_class: EffectClass::Pure,
            },
        }
    }
}

#[async_trait]
impl Tool for NoopTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn call(&self, _arguments: RawJson, _context: ToolContext) -> ToolResult {
        ToolResult::default()
    }
}
