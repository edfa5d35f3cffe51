//! The inputs that change what the model reads: checked first, then written down as events.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use phi_types::{AskedBy, ContextChange, EffectId, OverlayId, ToolEnding, ToolResult};

use super::Machine;
use crate::io::{ContextRefused, Rejected, ToolReport};
use crate::state::{Calling, Phase, Planned, Stage, State};

impl Machine {
    pub(super) fn on_change(
        &mut self,
        now: DateTime<Utc>,
        change: &ContextChange,
    ) -> Result<(), Rejected> {
        self.changed(now, |state| state.plan(change, &AskedBy::Caller {}))
    }

    pub(super) fn on_restore(
        &mut self,
        now: DateTime<Utc>,
        overlay: &OverlayId,
    ) -> Result<(), Rejected> {
        self.changed(now, |state| state.plan_restore(overlay))
    }

    fn changed(
        &mut self,
        now: DateTime<Utc>,
        plan: impl Fn(&State) -> Result<Planned, ContextRefused>,
    ) -> Result<(), Rejected> {
        self.view_may_change()?;
        if matches!(self.state.phase, Phase::New) {
            // The overlay is named by the event that lays it, and what does not fit begins nothing.
            let mut begun = self.clone();
            begun.begin(now)?;
            begun.changed(now, plan)?;
            *self = begun;
            return Ok(());
        }
        let planned = plan(&self.state)?;
        self.emit_with(now, planned.kind, Some(planned.next));
        Ok(())
    }

    /// A compactor works on the view as it was when it began.
    fn view_may_change(&self) -> Result<(), Rejected> {
        match &self.state.phase {
            Phase::Calling(Calling {
                stage: Stage::Compacting { .. },
                ..
            }) => Err(self.not_now("is making its view smaller: ask again when it has")),
            Phase::New
            | Phase::Started
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
