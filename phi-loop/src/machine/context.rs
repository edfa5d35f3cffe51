//! The inputs that change what the model reads: checked first, then written down as events.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use phi_types::{AskedBy, ContextChange, EffectId, OverlayId, ToolEnding, ToolResult};

use super::Machine;
use crate::io::{Rejected, ToolReport};
use crate::state::{Calling, Phase, Stage};

impl Machine {
    pub(super) fn on_change(
        &mut self,
        now: DateTime<Utc>,
        change: &ContextChange,
    ) -> Result<(), Rejected> {
        self.view_may_change()?;
        let planned = self.state.plan(change, &AskedBy::Caller {})?;
        self.emit_with(now, planned.kind, Some(planned.next));
        Ok(())
    }

    pub(super) fn on_restore(
        &mut self,
        now: DateTime<Utc>,
        overlay: &OverlayId,
    ) -> Result<(), Rejected> {
        self.view_may_change()?;
        let planned = self.state.plan_restore(overlay)?;
        self.emit_with(now, planned.kind, Some(planned.next));
        Ok(())
    }

    /// A compactor works on the view as it was when it began.
    fn view_may_change(&self) -> Result<(), Rejected> {
        match &self.state.phase {
            Phase::New => Err(self.not_now("has not begun")),
            Phase::Calling(Calling {
                stage: Stage::Compacting { .. },
                ..
            }) => Err(self.not_now("is making its view smaller: ask again when it has")),
            Phase::Started
            | Phase::Between { .. }
            | Phase::Calling(_)
            | Phase::Settling { .. }
            | Phase::Ended(_) => Ok(()),
        }
    }

    /// Turns the result of a call into an error if the change that it asks for does not fit.
    pub(super) fn with_fitting_change(&self, effect: &EffectId, report: ToolReport) -> ToolReport {
        let Some(change) = &report.result.change else {
            return report;
        };
        if report.ending != ToolEnding::Finished {
            return report;
        }
        let effect = effect.clone();
        let Err(refused) = self.state.plan(change, &AskedBy::Call { effect }) else {
            return report;
        };
        let text = format!("The context stays as it is: {refused}.");
        ToolReport {
            ending: ToolEnding::Failed,
            result: Arc::new(ToolResult::error(text)),
            ..report
        }
    }
}
