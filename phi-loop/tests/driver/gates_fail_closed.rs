//! Gates: each thing that a hook may decide, and that one that fails, panics or hangs lets nothing through.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use phi_loop::{HookContext, HookError, Hooks, ModelDecision, ToolDecision, Update};
use phi_testkit::{ScriptedProvider, ScriptedTool};
use phi_types::{
    EventKind, LimitKind, LoopError, ModelPatch, Outcome, Point, RawJson, Request, ToolCall,
    ToolEnding, UserMessage,
};

use crate::facts::{all, calling, done, driver, endings, events, finished, plain, provider};

/// Panics when it is dropped before its end.
struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "cleaning up failed");
    }
}

/// What a gate does.
#[derive(Clone)]
enum Act {
    Model(ModelDecision),
    Tool(ToolDecision),
    Fail,
    Panic,
    Hang,
    HangAndPanicInDrop,
}

struct Gatekeeper(Point, Act, AtomicUsize);

impl Gatekeeper {
    async fn act(&self) -> Result<&Act, HookError> {
        self.2.fetch_add(1, Ordering::Relaxed);
        match &self.1 {
            Act::Fail => Err(HookError("broken".into())),
            Act::Panic => panic!("boom"),
            Act::Hang => std::future::pending().await,
            Act::HangAndPanicInDrop => {
                let _guard = PanicsInDrop;
                std::future::pending().await
            }
            act => Ok(act),
        }
    }
}

#[async_trait]
impl Hooks for Gatekeeper {
    fn points(&self) -> Vec<Point> {
        vec![self.0]
    }

    async fn before_model(
        &self,
        _context: &HookContext,
        _request: &Request,
    ) -> Result<ModelDecision, HookError> {
        match self.act().await? {
            Act::Model(decision) => Ok(decision.clone()),
            _ => Ok(ModelDecision::Proceed),
        }
    }

    async fn before_tool(
        &self,
        _context: &HookContext,
        _call: &ToolCall,
    ) -> Result<ToolDecision, HookError> {
        match self.act().await? {
            Act::Tool(decision) => Ok(decision.clone()),
            _ => Ok(ToolDecision::Allow),
        }
    }
}

struct Came {
    outcome: Outcome,
    updates: Vec<Update>,
    provider: Arc<ScriptedProvider>,
    tool: ScriptedTool,
    asked: usize,
}

async fn came_to(point: Point, act: Act) -> Came {
    let provider = provider([calling(&["look"]), done()]);
    let tool = ScriptedTool::returning("look", "seen");
    let hooks = Arc::new(Gatekeeper(point, act, AtomicUsize::new(0)));
    let driver = driver(&provider, &[&tool])
        .hooks(Arc::clone(&hooks) as Arc<dyn Hooks>)
        .hook_timeout(Duration::from_secs(5));
    let mut run = plain(&driver);
    let updates = all(&mut run).await;
    let outcome = finished(&run).outcome;
    let asked = hooks.2.load(Ordering::Relaxed);
    Came {
        outcome,
        updates,
        provider,
        tool,
        asked,
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_gate_that_breaks_fails_the_loop_and_no_model_is_called() {
    for (act, reason) in [
        (Act::Fail, "broken"),
        (Act::Panic, "a hook panicked: boom"),
        (Act::Hang, "a hook took longer than 5s"),
        (Act::HangAndPanicInDrop, "a hook took longer than 5s"),
    ] {
        let came = came_to(Point::BeforeModel, act).await;
        let reason = reason.to_owned();
        let error = LoopError::Hook { reason };
        assert_eq!(came.outcome, Outcome::Failed { error });
        assert_eq!((came.provider.request_count(), came.asked), (0, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_tool_gate_that_breaks_denies_the_call_and_the_loop_goes_on() {
    for (act, reason) in [
        (Act::Fail, "broken"),
        (Act::Panic, "a hook panicked: boom"),
        (Act::Hang, "a hook took longer than 5s"),
        (Act::HangAndPanicInDrop, "a hook took longer than 5s"),
    ] {
        let came = came_to(Point::BeforeTool, act).await;
        let expected = [(ToolEnding::Denied, reason.to_owned())];
        assert_eq!(endings(&came.updates), expected);
        assert_eq!((came.tool.started(), came.asked), (0, 1));
        assert_eq!(came.outcome, Outcome::Completed {});
    }
}

#[tokio::test]
async fn a_model_gate_may_refuse_or_patch_the_request() {
    let reason = "not this".to_owned();
    let act = Act::Model(ModelDecision::Reject {
        reason: reason.clone(),
    });
    let came = came_to(Point::BeforeModel, act).await;
    assert_eq!(came.outcome, Outcome::Rejected { reason });
    assert_eq!(came.provider.request_count(), 0);

    let patch = ModelPatch {
        system: Some("Be long.".into()),
        messages: vec![Arc::new(UserMessage::text("Hurry."))],
        ..ModelPatch::default()
    };
    let act = Act::Model(ModelDecision::Patch(patch.clone()));
    let came = came_to(Point::BeforeModel, act).await;
    assert_eq!(came.outcome, Outcome::Completed {});
    assert_eq!(came.asked, 2, "before each call");
    let systems: Vec<_> = came
        .provider
        .requests()
        .iter()
        .map(|it| it.system.clone())
        .collect();
    assert_eq!(systems, ["Be long.".into(), "Be long.".into()]);
    let patches = events(&came.updates)
        .into_iter()
        .filter_map(|event| match event.kind {
            EventKind::ModelStarted(started) => Some(started.patch),
            _ => None,
        });
    assert_eq!(patches.collect::<Vec<_>>(), [patch.clone(), patch]);
}

#[tokio::test]
async fn a_tool_gate_may_allow_rewrite_or_deny() {
    let came = came_to(Point::BeforeTool, Act::Tool(ToolDecision::Allow)).await;
    assert_eq!(came.tool.calls()[0].1.as_str(), "{\"n\":0}");

    let rewrite = ToolDecision::Rewrite(RawJson::parse("{\"n\":9}").unwrap());
    let came = came_to(Point::BeforeTool, Act::Tool(rewrite)).await;
    assert_eq!(came.tool.calls()[0].1.as_str(), "{\"n\":9}");
    let announced = events(&came.updates)
        .into_iter()
        .find_map(|event| match event.kind {
            EventKind::ToolStarted(started) => Some(started.call.arguments.text().to_owned()),
            _ => None,
        });
    assert_eq!(announced.as_deref(), Some("{\"n\":9}"));

    let reason = "not here".to_owned();
    let deny = ToolDecision::Deny {
        reason: reason.clone(),
    };
    let came = came_to(Point::BeforeTool, Act::Tool(deny)).await;
    assert_eq!(endings(&came.updates), [(ToolEnding::Denied, reason)]);
    assert_eq!(came.tool.started(), 0);
    assert_eq!(came.outcome, Outcome::Completed {});
}

#[tokio::test]
async fn a_gate_is_never_called_at_a_point_that_it_does_not_claim() {
    let came = came_to(Point::AfterTool, Act::Panic).await;
    assert_eq!(came.asked, 0);
    assert_eq!(came.outcome, Outcome::Completed {});
}

/// A model that wants one thing and a hook that forbids everything.
#[tokio::test]
async fn a_gate_that_denies_everything_ends_a_model_that_insists_by_a_limit() {
    let provider = ScriptedProvider::from_fn(|_, _| Some(phi_testkit::Reply::call("look", "{}")));
    let tool = ScriptedTool::returning("look", "seen");
    let reason = "never".to_owned();
    let act = Act::Tool(ToolDecision::Deny {
        reason: reason.clone(),
    });
    let hooks = Gatekeeper(Point::BeforeTool, act, AtomicUsize::new(0));
    let driver = driver(&Arc::new(provider), &[&tool]).hooks(Arc::new(hooks));
    let mut run = plain(&driver);
    let updates = all(&mut run).await;
    let limit = LimitKind::IdenticalCalls;
    assert_eq!(finished(&run).outcome, Outcome::LimitReached { limit });
    let denied = endings(&updates);
    let denied = denied
        .iter()
        .filter(|it| **it == (ToolEnding::Denied, reason.clone()));
    assert_eq!((denied.count(), tool.started()), (20, 0));
}
