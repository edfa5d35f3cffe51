//! Where hooks decide before a step, and which messages that wait may join.

use std::sync::Arc;

use phi_types::{
    Approval, ApprovalRequested, Arguments, Delivery, EventKind, Outcome, Point, Queue, Queued,
    RawJson, ToolCall, ToolEnding, TurnStarted, TurnTrigger,
};

use crate::decision::Verdict;
use crate::state::State;
use crate::step::{Asked, Step};

impl Asked<'_> {
    /// Asks at a point, or waits for the answer.
    pub(crate) fn decide(&self, point: Point) -> Step {
        match self.outstanding {
            Some(_) => Step::Wait,
            None => Step::Decide(point),
        }
    }
}

impl State {
    /// Says whether hooks decide at a point.
    pub(crate) fn claims(&self, point: Point) -> bool {
        self.configuration.points.contains(&point)
    }

    /// Begins a turn, once the hooks have let it pass.
    pub(crate) fn begin_turn(&self, trigger: TurnTrigger, asked: &Asked<'_>) -> Step {
        let before_loop = self.counts.turns == 0 && asked.passed.is_none();
        if before_loop && self.claims(Point::BeforeLoop) {
            return asked.decide(Point::BeforeLoop);
        }
        if asked.passed != Some(Point::BeforeTurn) && self.claims(Point::BeforeTurn) {
            return asked.decide(Point::BeforeTurn);
        }
        let index = self.next_turn_index(trigger);
        Step::Emit(EventKind::TurnStarted(TurnStarted { index, trigger }))
    }

    /// Returns the number of the turn that begins; a grace turn has the number of the turn before.
    pub(crate) fn next_turn_index(&self, trigger: TurnTrigger) -> u32 {
        if trigger == TurnTrigger::Grace {
            self.counts.turns
        } else {
            self.turn_index()
        }
    }

    /// Ends the loop, once the filters have decided about every message that waits, and the hooks
    /// about the end. Who asked the loop to stop is not asked to go on.
    pub(crate) fn step_end(&self, outcome: Outcome, asked: &Asked<'_>) -> Step {
        if self.stop.is_none() {
            if self.transcript.queue().iter().any(|queued| queued.held) {
                return Step::Wait;
            }
            let completed = outcome == Outcome::Completed {};
            let passed = asked.passed == Some(Point::BeforeEnd);
            if completed && !passed && self.claims(Point::BeforeEnd) {
                return asked.decide(Point::BeforeEnd);
            }
        }
        Step::Emit(self.loop_ended(outcome))
    }

    /// Finds the message that joins between two turns; without a trigger the loop would end.
    pub(crate) fn next_waiting(&self, trigger: Option<TurnTrigger>) -> Option<&Queued> {
        let queue = self.transcript.queue();
        if queue.is_empty() {
            return None;
        }
        let follow_up = match trigger {
            None => true,
            Some(TurnTrigger::FollowUp) => self.configuration.queues.follow_up == Delivery::All,
            Some(_) => false,
        };
        let mut free = queue.iter().filter(|queued| follow_up && !queued.held);
        self.next_steering().or_else(|| free.next())
    }

    /// Finds the steering message that joins before the next model call.
    pub(crate) fn next_steering(&self) -> Option<&Queued> {
        let one = self.configuration.queues.steering == Delivery::OneAtATime;
        self.first_steering()
            .filter(|_| !(one && self.counts.steered))
    }

    /// Finds the oldest steering message that the filters have let in.
    pub(crate) fn first_steering(&self) -> Option<&Queued> {
        let queue = self.transcript.queue();
        queue
            .iter()
            .find(|queued| queued.queue == Queue::Steering && !queued.held)
    }

    /// Says whether the filters have yet to decide about a steering message.
    pub(crate) fn holds_steering(&self) -> bool {
        let queue = self.transcript.queue();
        queue
            .iter()
            .any(|queued| queued.queue == Queue::Steering && queued.held)
    }

    /// Turns what the hooks decided about a call into the event that records it; `None` for a
    /// verdict that makes no sense for a call.
    pub(crate) fn decided_tool(
        &self,
        index: u32,
        call: &Arc<ToolCall>,
        verdict: Verdict,
    ) -> Option<Step> {
        let denied = |reason: &str| self.answered(index, call, None, ToolEnding::Denied, reason);
        Some(match verdict {
            Verdict::Proceed => self.tool_started(index, call),
            Verdict::Rewrite(arguments) => match rewritten(call, arguments) {
                Some(call) => self.tool_started(index, &call),
                None => denied(NO_OBJECT),
            },
            Verdict::Ask {
                question,
                arguments,
            } => {
                let asked = match arguments {
                    Some(arguments) => rewritten(call, arguments),
                    None => Some(Arc::clone(call)),
                };
                let Some(call) = asked else {
                    return Some(denied(NO_OBJECT));
                };
                match self.transcript.sticky_answers().of(&call) {
                    Some(Approval::Approved {}) => return Some(self.tool_started(index, &call)),
                    Some(Approval::Denied { reason }) => return Some(denied(reason)),
                    None => {}
                }
                Step::Emit(EventKind::ApprovalRequested(ApprovalRequested {
                    index,
                    call,
                    question,
                }))
            }
            Verdict::Deny { reason } | Verdict::Fail { reason } => denied(&reason),
            Verdict::Patch(_)
            | Verdict::Warn { .. }
            | Verdict::Continue(_)
            | Verdict::Limit { .. } => return None,
        })
    }
}

const NO_OBJECT: &str = "A hook rewrote the arguments to something that is no JSON object.";

fn rewritten(call: &ToolCall, arguments: RawJson) -> Option<Arc<ToolCall>> {
    let arguments = arguments
        .is_object()
        .then_some(Arguments::Object(arguments))?;
    Some(Arc::new(ToolCall {
        arguments,
        ..call.clone()
    }))
}
