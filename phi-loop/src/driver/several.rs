//! Several hooks as one.

use std::sync::Arc;

use async_trait::async_trait;
use phi_types::{
    Arguments, AssistantMessage, CompactionEnded, History, LoopEnded, ModelFailed, ModelPatch,
    Point, Request, ToolCall, ToolEnded, TurnEnded,
};

use crate::decision::{Incoming, NextTurn};
use crate::driver::hooks::{
    CompactionDecision, EndDecision, GateDecision, HookContext, HookError, Hooks, InputDecision,
    ModelDecision, ToolDecision, ToolUpdate, UpdateDecision,
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

    async fn filter_input(
        &self,
        context: &HookContext,
        input: &Incoming,
    ) -> Result<InputDecision, HookError> {
        let mut warnings = Vec::new();
        for hooks in claiming(self, Point::FilterInput) {
            match hooks.filter_input(context, input).await? {
                InputDecision::Pass => {}
                InputDecision::Warn { warning } => warnings.push(warning),
                reject @ InputDecision::Reject { .. } => return Ok(reject),
            }
        }
        if warnings.is_empty() {
            return Ok(InputDecision::Pass);
        }
        let warning = warnings.join("\n");
        Ok(InputDecision::Warn { warning })
    }

    async fn before_loop(
        &self,
        context: &HookContext,
        view: &History,
    ) -> Result<GateDecision, HookError> {
        for hooks in claiming(self, Point::BeforeLoop) {
            match hooks.before_loop(context, view).await? {
                GateDecision::Proceed => {}
                reject @ GateDecision::Reject { .. } => return Ok(reject),
            }
        }
        Ok(GateDecision::Proceed)
    }

    async fn before_turn(
        &self,
        context: &HookContext,
        turn: &NextTurn,
    ) -> Result<GateDecision, HookError> {
        for hooks in claiming(self, Point::BeforeTurn) {
            match hooks.before_turn(context, turn).await? {
                GateDecision::Proceed => {}
                reject @ GateDecision::Reject { .. } => return Ok(reject),
            }
        }
        Ok(GateDecision::Proceed)
    }

    async fn before_model(
        &self,
        context: &HookContext,
        request: &Request,
    ) -> Result<ModelDecision, HookError> {
        let mut request = request.clone();
        let mut sum = ModelPatch::default();
        for hooks in claiming(self, Point::BeforeModel) {
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
        for hooks in claiming(self, Point::BeforeTool) {
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
        for hooks in claiming(self, Point::BeforeCompaction) {
            match hooks.before_compaction(context, compact).await? {
                CompactionDecision::Proceed => {}
                skip @ CompactionDecision::Skip { .. } => return Ok(skip),
            }
        }
        Ok(CompactionDecision::Proceed)
    }

    async fn before_tool_update(
        &self,
        context: &HookContext,
        update: &ToolUpdate,
    ) -> Result<UpdateDecision, HookError> {
        let mut shown = update.clone();
        for hooks in claiming(self, Point::BeforeToolUpdate) {
            match hooks.before_tool_update(context, &shown).await? {
                UpdateDecision::Show => {}
                UpdateDecision::Replace(progress) => shown.progress = progress,
                UpdateDecision::Hide => return Ok(UpdateDecision::Hide),
            }
        }
        Ok(UpdateDecision::Replace(shown.progress))
    }

    async fn before_end(
        &self,
        context: &HookContext,
        view: &History,
    ) -> Result<EndDecision, HookError> {
        let mut all = Vec::new();
        for hooks in claiming(self, Point::BeforeEnd) {
            match hooks.before_end(context, view).await? {
                EndDecision::End => {}
                // A hook that goes on without a word has failed.
                EndDecision::Continue(messages) if messages.is_empty() => {
                    return Ok(EndDecision::Continue(messages));
                }
                EndDecision::Continue(messages) => all.extend(messages),
            }
        }
        Ok(if all.is_empty() {
            EndDecision::End
        } else {
            EndDecision::Continue(all)
        })
    }

    async fn after_model(
        &self,
        context: &HookContext,
        message: &AssistantMessage,
    ) -> Result<(), HookError> {
        let mut failed = Vec::new();
        for hooks in claiming(self, Point::AfterModel) {
            failed.extend(hooks.after_model(context, message).await.err());
        }
        all_failures(failed)
    }

    async fn after_tool(&self, context: &HookContext, ended: &ToolEnded) -> Result<(), HookError> {
        let mut failed = Vec::new();
        for hooks in claiming(self, Point::AfterTool) {
            failed.extend(hooks.after_tool(context, ended).await.err());
        }
        all_failures(failed)
    }

    async fn after_tool_update(
        &self,
        context: &HookContext,
        update: &ToolUpdate,
    ) -> Result<(), HookError> {
        let mut failed = Vec::new();
        for hooks in claiming(self, Point::AfterToolUpdate) {
            failed.extend(hooks.after_tool_update(context, update).await.err());
        }
        all_failures(failed)
    }

    async fn after_compaction(
        &self,
        context: &HookContext,
        ended: &CompactionEnded,
    ) -> Result<(), HookError> {
        let mut failed = Vec::new();
        for hooks in claiming(self, Point::AfterCompaction) {
            failed.extend(hooks.after_compaction(context, ended).await.err());
        }
        all_failures(failed)
    }

    async fn on_error(&self, context: &HookContext, error: &ModelFailed) -> Result<(), HookError> {
        let mut failed = Vec::new();
        for hooks in claiming(self, Point::OnError) {
            failed.extend(hooks.on_error(context, error).await.err());
        }
        all_failures(failed)
    }

    async fn after_turn(&self, context: &HookContext, ended: &TurnEnded) -> Result<(), HookError> {
        let mut failed = Vec::new();
        for hooks in claiming(self, Point::AfterTurn) {
            failed.extend(hooks.after_turn(context, ended).await.err());
        }
        all_failures(failed)
    }

    async fn after_loop(&self, context: &HookContext, ended: &LoopEnded) -> Result<(), HookError> {
        let mut failed = Vec::new();
        for hooks in claiming(self, Point::AfterLoop) {
            failed.extend(hooks.after_loop(context, ended).await.err());
        }
        all_failures(failed)
    }
}

fn claiming(all: &[Arc<dyn Hooks>], point: Point) -> impl Iterator<Item = &Arc<dyn Hooks>> {
    all.iter()
        .filter(move |hooks| hooks.points().contains(&point))
}

/// Every observer is called; what failed is reported together.
fn all_failures(failed: Vec<HookError>) -> Result<(), HookError> {
    if failed.is_empty() {
        return Ok(());
    }
    let texts: Vec<String> = failed.into_iter().map(|HookError(text)| text).collect();
    Err(HookError(texts.join("; ")))
}
