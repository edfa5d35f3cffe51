//! Which tool calls need a permission: those that write or execute.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::sync::Arc;

use async_trait::async_trait;
use phi::agent_loop::{HookContext, HookError, Hooks, ToolDecision};
use phi::types::{Point, Tool, ToolCall, ToolKind};

/// Lets tools that only read run, and has the rest asked or denied.
#[derive(Debug)]
pub(crate) struct Permission {
    free: BTreeSet<Arc<str>>,
    terminal: Terminal,
}

/// Whether somebody can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Terminal {
    /// Stdin and stderr are a terminal.
    Present,
    /// One of them is not.
    Absent,
}

impl Terminal {
    /// Looks whether questions can be shown and answers typed.
    pub(crate) fn find() -> Self {
        if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
            Self::Present
        } else {
            Self::Absent
        }
    }
}

impl Permission {
    pub(crate) fn new(tools: &[Arc<dyn Tool>], terminal: Terminal) -> Self {
        let specs = tools.iter().map(|tool| tool.spec());
        let free = specs.filter(|spec| match spec.kind {
            ToolKind::Read | ToolKind::Search | ToolKind::Think => true,
            ToolKind::Edit
            | ToolKind::Delete
            | ToolKind::Move
            | ToolKind::Execute
            | ToolKind::Fetch
            | ToolKind::Other => false,
        });
        Self {
            free: free.map(|spec| Arc::clone(&spec.name)).collect(),
            terminal,
        }
    }
}

/// Says to the model why a call is not run where nobody can be asked.
pub(crate) fn denied(tool: &str) -> String {
    format!(
        "`{tool}` was not run: it needs the user's permission and there is no terminal to ask on. \
         The user can allow it with the option --yes. Go on without it, or say what you would have \
         done."
    )
}

#[async_trait]
impl Hooks for Permission {
    fn points(&self) -> Vec<Point> {
        vec![Point::BeforeTool]
    }

    async fn before_tool(
        &self,
        _context: &HookContext,
        call: &ToolCall,
    ) -> Result<ToolDecision, HookError> {
        if self.free.contains(&call.name) {
            return Ok(ToolDecision::Allow);
        }
        Ok(match self.terminal {
            Terminal::Present => ToolDecision::Ask {
                question: format!("May `{}` run?", call.name),
                arguments: None,
            },
            Terminal::Absent => ToolDecision::Deny {
                reason: denied(&call.name),
            },
        })
    }
}
