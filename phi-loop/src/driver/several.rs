//! Several hooks as one.

use std::sync::Arc;

use async_trait::async_trait;
use phi_types::{
    Arguments, AssistantMessage, CompactionEnded, LoopEnded, ModelFailed, ModelPatch, Point,
    Request, ToolCall, ToolEnded, TurnEnded,
};

use crate::driver::hooks::{
    CompactionDecision, HookContext, HookError, Hooks, ModelDecision, ToolDecision,
};
use crate::io::Compact;

/// Several hooks in order: each is called where it claims the point.
#[async_trait]
impl Hooks for Vec<Arc<dyn Hooks>> {
    fn points(&self) -> Vec<Point> {
        let mut points: Vec<Point> = self.iter().flat_map(|hooks| hooks.points()).collect();
        points.sort_unstable();
        points.dedup();
        points
    }

    async fn before_model(
        &self,
        context: &HookContext,
        request: &Request,
    ) -> Result<ModelDecision, HookError> {
        let mut request = request.clone();
        let mut sum = ModelPatch::default();
        for hooks in self
            .iter()
            .filter(|hooks| hooks.points().contains(&Point::BeforeModel))
        {
            match hooks.before_model(context, &request).await? {
                ModelDecision::Proceed => {}
                ModelDecision::Reject { reason } => return Ok(ModelDecision::Reject { reason }),
                ModelDecision::Patch(patch) => {
                    patch.apply(&mut request);
                    sum.merge(patch);
                }
            }
        }
        Ok(if sum.is_empty() {
            ModelDecision::Proceed
        } else {
            ModelDecision::Patch(sum)
        })
    }

    async fn before_tool(
        &self,
        context: &HookContext,
        call: &ToolCall,
    ) -> Result<ToolDecision, HookError> {
        let mut call = call.clone();
        let (mut rewritten, mut asked) = (None, None);
        for hooks in self
            .iter()
            .filter(|hooks| hooks.points().contains(&Point::BeforeTool))
        {
            match hooks.before_tool(context, &call).await? {
                ToolDecision::Allow => {}
                ToolDecision::Deny { reason } => return Ok(ToolDecision::Deny { reason }),
                ToolDecision::Ask {
                    question,
                    arguments,
                } => {
                    asked = asked.or(Some(question));
                    rewritten = arguments.or(rewritten);
                }
                ToolDecision::Rewrite(arguments) => rewritten = Some(arguments),
            }
            if let Some(arguments) = &rewritten {
                call.arguments = Arguments::Object(arguments.clone());
            }
        }
        Ok(match (asked, rewritten) {
            (Some(question), arguments) => ToolDecision::Ask {
                question,
                arguments,
            },
            (None, Some(arguments)) => ToolDecision::Rewrite(arguments),
            (None, None) => ToolDecision::Allow,
        })
    }

    async fn before_compaction(
        &self,
        context: &HookContext,
        compact: &Compact,
    ) -> Result<CompactionDecision, HookError> {
        for hooks in self
            .iter()
            .filter(|hooks| hooks.points().contains(&Point::BeforeCompaction))
        {
            match hooks.before_compaction(context, compact).await? {
                CompactionDecision::Proceed => {}
                skip @ CompactionDecision::Skip { .. } => return Ok(skip),
            }
        }
        Ok(CompactionDecision::Proceed)
    }

    async fn after_compaction(
        &self,
        context: &HookContext,
        ended: &CompactionEnded,
    ) -> Result<(), HookError> {
        let mut failed = Vec::new();
        for hooks in self
            .iter()
            .filter(|hooks| hooks.points().contains(&Point::AfterCompaction))
        {
            failed.extend(hooks.after_compaction(context, ended).await.err());
        }
        all_failures(failed)
    }

    async fn on_error(&self, context: &HookContext, failed: &ModelFailed) -> Result<(), HookError> {
        let mut failures = Vec::new();
        for hooks in self
            .iter()
            .filter(|hooks| hooks.points().contains(&Point::OnError))
        {
            failures.extend(hooks.on_error(context, failed).await.err());
        }
        all_failures(failures)
    }

    async fn after_turn(&self, context: &HookContext, ended: &TurnEnded) -> Result<(), HookError> {
        let mut failures = Vec::new();
        for hooks in self
            .iter()
            .filter(|hooks| hooks.points().contains(&Point::AfterTurn))
        {
            failures.extend(hooks.after_turn(context, ended).await.err());
        }
        all_failures(failures)
    }

    async fn after_loop(&self, context: &HookContext, ended: &LoopEnded) -> Result<(), HookError> {
        let mut failures = Vec::new();
        for hooks in self
            .iter()
            .filter(|hooks| hooks.points().contains(&Point::AfterLoop))
        {
            failures.extend(hooks.after_loop(context, ended).await.err());
        }
        all_failures(failures)
    }

    async fn after_model(
        &self,
        context: &HookContext,
        message: &AssistantMessage,
    ) -> Result<(), HookError> {
        let mut failed = Vec::new();
        for hooks in self
            .iter()
            .filter(|hooks| hooks.points().contains(&Point::AfterModel))
        {
            failed.extend(hooks.after_model(context, message).await.err());
        }
        all_failures(failed)
    }

    async fn after_tool(&self, context: &HookContext, ended: &ToolEnded) -> Result<(), HookError> {
        let mut failed = Vec::new();
        for hooks in self
            .iter()
            .filter(|hooks| hooks.points().contains(&Point::AfterTool))
        {
            failed.extend(hooks.after_tool(context, ended).await.err());
        }
        all_failures(failed)
    }
}

/// Every observer is called; what failed is reported together.
fn all_failures(failed: Vec<HookError>) -> Result<(), HookError> {
    if failed.is_empty() {
        return Ok(());
    }
    let texts: Vec<String> = failed.into_iter().map(|HookError(text)| text).collect();
    Err(HookError(texts.join("; ")))
}
