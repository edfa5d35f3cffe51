//! A question in a sub-agent, at any depth, is answered by whoever runs the root, or denied.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use phi::agent_loop::{HookContext, HookError, Hooks, ToolDecision};
use phi::session::Store;
use phi::types::{Approval, Outcome, Point, SessionId, ToolCall, ToolEnding};
use phi::{Agent, Approver, Question};
use phi_testkit::{Gate, Reply, ScriptedTool};

use crate::scene::{agent, asking, finish, helper, id, memory, record, until_it_waits};

/// Has somebody asked about every call of `touch`.
struct Asks;

#[async_trait]
impl Hooks for Asks {
    fn points(&self) -> Vec<Point> {
        vec![Point::BeforeTool]
    }

    async fn before_tool(
        &self,
        _context: &HookContext,
        call: &ToolCall,
    ) -> Result<ToolDecision, HookError> {
        if *call.name != *"touch" {
            return Ok(ToolDecision::Allow);
        }
        Ok(ToolDecision::Ask {
            question: "May it touch?".to_owned(),
            arguments: None,
        })
    }
}

/// Answers once its gate is open, and remembers what it was asked.
struct Answers {
    gate: Gate,
    approval: Approval,
    asked: Mutex<Vec<Question>>,
}

impl Answers {
    fn new(gate: &Gate, approval: Approval) -> Arc<Self> {
        Arc::new(Self {
            gate: gate.clone(),
            approval,
            asked: Mutex::default(),
        })
    }

    fn asked(&self) -> Vec<Question> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait]
impl Approver for Answers {
    async fn approve(&self, question: Question) -> Approval {
        self.asked.lock().unwrap().push(question);
        self.gate.passed().await;
        self.approval.clone()
    }
}

fn family(store: &Arc<dyn Store>, touch: &ScriptedTool) -> Agent {
    let grandchild =
        agent([Reply::call("touch", "{}"), Reply::text("Touched.")]).tool(touch.clone());
    let child =
        agent([asking(&["deeper"]), Reply::text("Back.")]).sub_agent(helper("deeper", grandchild));
    agent([asking(&["deep"]), Reply::text("Done.")])
        .store(Arc::clone(store))
        .hooks(Asks)
        .sub_agent(helper("deep", child))
}

/// How the only call of `touch` ended, two levels below the session.
async fn ending(store: &dyn Store) -> ToolEnding {
    let mut session: SessionId = id("s");
    loop {
        let record = record(store, &session).await;
        let end = record.loops[0].turns[0].calls[0].end.clone().unwrap();
        match end.child {
            Some(child) => session = child,
            None => return end.ending,
        }
    }
}

#[tokio::test]
async fn an_approver_answers_for_a_grandchild() {
    let denied = Approval::Denied {
        reason: "no".to_owned(),
    };
    for (approval, expected) in [
        (Approval::Approved {}, ToolEnding::Finished),
        (denied, ToolEnding::Denied),
    ] {
        let (store, gate) = (memory(), Gate::new());
        gate.open();
        let touch = ScriptedTool::returning("touch", "ok");
        let answers = Answers::new(&gate, approval);
        let approver = Arc::clone(&answers) as Arc<dyn Approver>;
        let (_, finished) = finish(&family(&store, &touch).approver(approver)).await;
        assert_eq!(finished.outcome, Outcome::Completed {});
        assert_eq!(ending(store.as_ref()).await, expected);
        let asked = answers.asked();
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[0].question, "May it touch?");
        assert_eq!(&*asked[0].call.name, "touch");
        assert_ne!(asked[0].session, id("s"));
    }
}

#[tokio::test]
async fn where_nobody_can_be_asked_the_call_is_denied_with_a_reason() {
    let store = memory();
    let touch = ScriptedTool::returning("touch", "ok");
    let (_, finished) = finish(&family(&store, &touch)).await;
    assert_eq!(finished.outcome, Outcome::Completed {});
    assert_eq!(ending(store.as_ref()).await, ToolEnding::Denied);
    assert_eq!(touch.started(), 0);
}

struct Panics;

#[async_trait]
impl Approver for Panics {
    async fn approve(&self, _question: Question) -> Approval {
        panic!("boom")
    }
}

#[tokio::test]
async fn an_approver_that_panics_denies() {
    let store = memory();
    let touch = ScriptedTool::returning("touch", "ok");
    let (_, finished) = finish(&family(&store, &touch).approver(Arc::new(Panics))).await;
    assert_eq!(finished.outcome, Outcome::Completed {});
    assert_eq!(ending(store.as_ref()).await, ToolEnding::Denied);
}

#[tokio::test]
async fn a_question_that_nobody_answered_is_put_again_after_a_restart() {
    let (store, gate) = (memory(), Gate::new());
    let touch = ScriptedTool::returning("touch", "ok");
    for restarts in 0..3 {
        let answers = Answers::new(&gate, Approval::Approved {});
        let approver = Arc::clone(&answers) as Arc<dyn Approver>;
        let parent = family(&store, &touch).approver(approver);
        let mut session = parent.session(id("s")).await.unwrap();
        let mut run = match session.unfinished() {
            None => session.prompt("Do it.").unwrap(),
            Some(_) => session.resume().await.unwrap().unwrap(),
        };
        until_it_waits(&mut run).await;
        assert_eq!(answers.asked().len(), 1, "restart {restarts}");
        assert_eq!(touch.started(), 0);
        if restarts == 2 {
            gate.open();
            assert_eq!(run.finish().await.outcome, Outcome::Completed {});
            assert_eq!(touch.returned(), 1);
        }
    }
    assert_eq!(ending(store.as_ref()).await, ToolEnding::Finished);
}

#[tokio::test]
async fn a_cancel_takes_an_open_question_back() {
    let (store, gate) = (memory(), Gate::new());
    let touch = ScriptedTool::returning("touch", "ok");
    let answers = Answers::new(&gate, Approval::Approved {});
    let approver = Arc::clone(&answers) as Arc<dyn Approver>;
    let parent = family(&store, &touch).approver(approver);
    let mut session = parent.session(id("s")).await.unwrap();
    let mut run = session.prompt("Do it.").unwrap();
    until_it_waits(&mut run).await;
    run.handle().cancel();
    assert_eq!(run.finish().await.outcome, Outcome::Cancelled {});
    assert_eq!(ending(store.as_ref()).await, ToolEnding::Cancelled);
    assert_eq!(touch.started(), 0);
}
