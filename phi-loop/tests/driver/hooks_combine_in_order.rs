//! Several hooks: a denial wins and ends the round, patches add up, rewrites chain, each where it claims.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use phi_loop::{HookContext, HookError, Hooks, ModelDecision, ToolDecision};
use phi_testkit::{ScriptedProvider, ScriptedTool};
use phi_types::{
    Approval, EffectId, EventKind, ModelPatch, Outcome, Point, RawJson, Request, ToolCall,
    ToolEnding, UserMessage,
};

use crate::facts::{
    all, calling, done, driver, endings, events, finished, plain, provider, until_it_waits,
};

type Log = Arc<Mutex<Vec<String>>>;

/// A hook that writes down what it was shown and answers as told.
struct Told {
    points: Vec<Point>,
    name: &'static str,
    model: ModelDecision,
    tool: ToolDecision,
    log: Log,
}

#[async_trait]
impl Hooks for Told {
    fn points(&self) -> Vec<Point> {
        self.points.clone()
    }

    async fn before_model(
        &self,
        _context: &HookContext,
        request: &Request,
    ) -> Result<ModelDecision, HookError> {
        let line = format!("{} {} {}", self.name, request.system, request.view.len());
        self.log.lock().unwrap().push(line);
        Ok(self.model.clone())
    }

    async fn before_tool(
        &self,
        _context: &HookContext,
        call: &ToolCall,
    ) -> Result<ToolDecision, HookError> {
        let line = format!("{} {}", self.name, call.arguments.text());
        self.log.lock().unwrap().push(line);
        Ok(self.tool.clone())
    }
}

fn tool_hooks(log: &Log, decisions: Vec<ToolDecision>) -> Arc<dyn Hooks> {
    let names = ["a", "b", "c"];
    let hooks = names.into_iter().zip(decisions).map(|(name, tool)| {
        let hook = Told {
            points: vec![Point::BeforeTool],
            name,
            model: ModelDecision::Proceed,
            tool,
            log: Arc::clone(log),
        };
        Arc::new(hook) as Arc<dyn Hooks>
    });
    Arc::new(hooks.collect::<Vec<_>>())
}

fn model_hooks(log: &Log, decisions: Vec<ModelDecision>) -> Arc<dyn Hooks> {
    let names = ["a", "b", "c"];
    let hooks = names.into_iter().zip(decisions).map(|(name, model)| {
        let hook = Told {
            points: vec![Point::BeforeModel],
            name,
            model,
            tool: ToolDecision::Allow,
            log: Arc::clone(log),
        };
        Arc::new(hook) as Arc<dyn Hooks>
    });
    Arc::new(hooks.collect::<Vec<_>>())
}

fn scripted() -> (Arc<ScriptedProvider>, ScriptedTool) {
    let tool = ScriptedTool::returning("look", "seen");
    (provider([calling(&["look"]), done()]), tool)
}

fn json(n: u32) -> RawJson {
    RawJson::parse(&format!("{{\"n\":{n}}}")).unwrap()
}

fn lines(log: &Log) -> Vec<String> {
    log.lock().unwrap().clone()
}

#[tokio::test]
async fn each_rewrite_is_seen_by_the_next_hook() {
    let (provider, tool) = scripted();
    let log = Log::default();
    let decisions = vec![
        ToolDecision::Rewrite(json(1)),
        ToolDecision::Allow,
        ToolDecision::Rewrite(json(3)),
    ];
    let hooks = tool_hooks(&log, decisions);
    let mut run = plain(&driver(&provider, &[&tool]).hooks(hooks));
    all(&mut run).await;
    assert_eq!(lines(&log), ["a {\"n\":0}", "b {\"n\":1}", "c {\"n\":1}"]);
    assert_eq!(tool.calls()[0].1.as_str(), "{\"n\":3}");
}

#[tokio::test]
async fn a_denial_wins_over_all_and_nobody_is_asked_after_it() {
    let (provider, tool) = scripted();
    let log = Log::default();
    let reason = "not here".to_owned();
    let ask = ToolDecision::Ask {
        question: "May it?".into(),
        arguments: Some(json(5)),
    };
    let deny = ToolDecision::Deny {
        reason: reason.clone(),
    };
    let hooks = tool_hooks(&log, vec![ask, deny, ToolDecision::Allow]);
    let mut run = plain(&driver(&provider, &[&tool]).hooks(hooks));
    let updates = all(&mut run).await;
    assert_eq!(endings(&updates), [(ToolEnding::Denied, reason)]);
    assert_eq!(lines(&log), ["a {\"n\":0}", "b {\"n\":5}"]);
    assert_eq!(tool.started(), 0);
}

#[tokio::test]
async fn a_question_is_asked_about_the_arguments_that_come_out_last() {
    let (provider, tool) = scripted();
    let log = Log::default();
    let ask = ToolDecision::Ask {
        question: "May it?".into(),
        arguments: None,
    };
    let hooks = tool_hooks(&log, vec![ask, ToolDecision::Rewrite(json(2))]);
    let mut run = plain(&driver(&provider, &[&tool]).hooks(hooks));
    let events = events(&until_it_waits(&mut run));
    let asked = events.last().unwrap();
    let EventKind::ApprovalRequested(requested) = &asked.kind else {
        panic!("{asked:?}")
    };
    assert_eq!(requested.call.arguments.text(), "{\"n\":2}");
    let effect = EffectId {
        loop_id: asked.loop_id.clone().unwrap(),
        seq: asked.seq,
    };
    run.approve(effect, Approval::Approved {}).unwrap();
    all(&mut run).await;
    assert_eq!(tool.calls()[0].1.as_str(), "{\"n\":2}");
}

#[tokio::test]
async fn patches_add_up_and_each_hook_sees_those_before_it() {
    let (provider, tool) = scripted();
    let log = Log::default();
    let patch = |system: &str, text: &str| {
        ModelDecision::Patch(ModelPatch {
            system: Some(system.into()),
            messages: vec![Arc::new(UserMessage::text(text))],
            ..ModelPatch::default()
        })
    };
    let hooks = model_hooks(&log, vec![patch("one", "x"), patch("two", "y")]);
    let mut run = plain(&driver(&provider, &[&tool]).hooks(hooks));
    all(&mut run).await;
    assert_eq!(lines(&log)[..2], ["a  1", "b one 2"]);
    let sent = &provider.requests()[0];
    assert_eq!((&*sent.system, sent.view.len()), ("two", 3));
}

#[tokio::test]
async fn a_refusal_of_a_model_call_wins() {
    let (provider, tool) = scripted();
    let log = Log::default();
    let reason = "no".to_owned();
    let reject = ModelDecision::Reject {
        reason: reason.clone(),
    };
    let patch = ModelDecision::Patch(ModelPatch {
        system: Some("one".into()),
        ..ModelPatch::default()
    });
    let hooks = model_hooks(&log, vec![patch, reject, ModelDecision::Proceed]);
    let mut run = plain(&driver(&provider, &[&tool]).hooks(hooks));
    all(&mut run).await;
    assert_eq!(finished(&run).outcome, Outcome::Rejected { reason });
    assert_eq!(lines(&log), ["a  1", "b one 1"]);
    assert_eq!(provider.request_count(), 0);
}

#[tokio::test]
async fn each_hook_is_called_only_where_it_claims() {
    let (provider, tool) = scripted();
    let log = Log::default();
    let both: Vec<Arc<dyn Hooks>> = vec![
        tool_hooks(&log, vec![ToolDecision::Allow]),
        model_hooks(&log, vec![ModelDecision::Proceed]),
    ];
    let mut run = plain(&driver(&provider, &[&tool]).hooks(Arc::new(both)));
    all(&mut run).await;
    assert_eq!(lines(&log), ["a  1", "a {\"n\":0}", "a  3"]);
    assert_eq!(finished(&run).outcome, Outcome::Completed {});
}
