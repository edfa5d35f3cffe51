//! Hooks of the parent see the calls of its sub-agents, and their progress comes with the call.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use phi::Agent;
use phi::agent_loop::{HookContext, HookError, Hooks, ToolDecision, Update};
use phi::types::{Increment, Outcome, Point, SessionId, ToolCall};
use phi_testkit::{Gate, Reply, ScriptedCall, ScriptedTool};

use crate::scene::{agent, asking, ended, finish, helper, id, memory, record, until_it_waits};

/// Writes down the session and the tool of every call, and denies `secret`.
#[derive(Clone, Default)]
struct Watches(Arc<Mutex<Vec<(SessionId, String)>>>);

#[async_trait]
impl Hooks for Watches {
    fn points(&self) -> Vec<Point> {
        vec![Point::BeforeTool]
    }

    async fn before_tool(
        &self,
        context: &HookContext,
        call: &ToolCall,
    ) -> Result<ToolDecision, HookError> {
        let name = call.name.to_string();
        self.0.lock().unwrap().push((context.session.clone(), name));
        if *call.name == *"secret" {
            return Ok(ToolDecision::Deny {
                reason: "secrets stay".to_owned(),
            });
        }
        Ok(ToolDecision::Allow)
    }
}

#[tokio::test]
async fn hooks_of_the_parent_come_first_and_its_own_come_too() {
    let secret = ScriptedTool::returning("secret", "hidden");
    let look = ScriptedTool::returning("look", "seen");
    let both = Reply::call("secret", "{}").with_call(ScriptedCall::new("look", "{}"));
    let own = Watches::default();
    let child = agent([both, Reply::text("I saw one.")])
        .tool(secret.clone())
        .tool(look.clone())
        .hooks(own.clone());
    let (watches, store) = (Watches::default(), memory());
    let parent = agent([asking(&["look_up"]), Reply::text("Done.")])
        .store(Arc::clone(&store))
        .hooks(watches.clone())
        .sub_agent(helper("look_up", child));
    let (updates, finished) = finish(&parent).await;
    assert_eq!(finished.outcome, Outcome::Completed {});
    assert_eq!((secret.started(), look.started()), (0, 1));
    let child = ended(&updates)[0].child.clone().unwrap();
    let seen = watches.0.lock().unwrap().clone();
    let expected = [
        (id("s"), "look_up"),
        (child.clone(), "secret"),
        (child.clone(), "look"),
    ];
    assert_eq!(seen, expected.map(|(at, name)| (at, name.to_owned())));
    let own = own.0.lock().unwrap().clone();
    assert_eq!(own, [(child, "look".to_owned())], "what the parent allowed");
}

fn shown(updates: &[Update]) -> Vec<String> {
    let shown = updates.iter().filter_map(|update| match update {
        Update::Live(live) => match &live.increment {
            Increment::Progress(progress) => Some(progress.text.clone()),
            Increment::Delta(_) => None,
        },
        _ => None,
    });
    shown.collect()
}

/// Runs until the child waits at its gate, opens it, and returns what was shown before and after.
async fn shows(child: Agent, gate: &Gate) -> Vec<String> {
    let parent = agent([asking(&["look_up"]), Reply::text("Done.")])
        .store(memory())
        .sub_agent(helper("look_up", child));
    let mut session = parent.session(id("s")).await.unwrap();
    let mut run = session.prompt("Do it.").unwrap();
    let mut updates = until_it_waits(&mut run).await;
    gate.open();
    while let Some(update) = run.next().await {
        updates.push(update);
    }
    assert_eq!(run.finished().outcome, Outcome::Completed {});
    shown(&updates)
}

#[tokio::test]
async fn calls_and_text_of_the_child_are_progress_of_the_call() {
    let gate = Gate::new();
    let text = Reply::text("It is blue all over.").gated_after(4, &gate);
    let child = agent([Reply::call("look", "{\"at\":\"sky\"}"), text])
        .tool(ScriptedTool::returning("look", "seen"));
    let shown = shows(child, &gate).await;
    let so_far = shown.first().unwrap();
    let (call, text) = so_far.split_once('\n').unwrap();
    assert_eq!(call, "look {\"at\":\"sky\"}");
    assert!(
        !text.is_empty() && "It is blue all over.".starts_with(text),
        "{text}"
    );
}

#[tokio::test]
async fn progress_of_a_grandchild_comes_all_the_way_up() {
    let gate = Gate::new();
    let text = Reply::text("It is deep down here.").gated_after(4, &gate);
    let child = agent([asking(&["deeper"]), Reply::text("Back.")])
        .sub_agent(helper("deeper", agent([text])));
    let shown = shows(child, &gate).await;
    let so_far = shown.first().unwrap();
    assert!(so_far.starts_with("deeper {"), "{so_far}");
    assert!(so_far.contains("\nIt"), "{so_far}");
}

#[tokio::test]
async fn progress_is_bounded_however_much_the_child_does() {
    let gate = Gate::new();
    let long = "x".repeat(10_000);
    let calls = (0..40).fold(Reply::new(), |reply, n| {
        reply.with_call(ScriptedCall::new(
            "look",
            format!("{{\"n\":\"{n}{long}\"}}"),
        ))
    });
    let text = Reply::text("\u{e4}".repeat(50_000));
    let before_end = text.deltas(1).len() - 2;
    let child = agent([calls, text.gated_after(before_end, &gate)])
        .tool(ScriptedTool::returning("look", "seen"));
    let shown = shows(child, &gate).await;
    let text = shown.first().unwrap();
    assert!(text.contains('\u{e4}') && text.contains("look"), "{text}");
    assert!(text.len() <= 8 * 110 + 2 * 2_000, "{}", text.len());
}

#[tokio::test]
async fn the_surface_that_is_recorded_offers_the_sub_agent() {
    let store = memory();
    let parent = agent([Reply::text("Done.")])
        .store(Arc::clone(&store))
        .tool(ScriptedTool::returning("look", "seen"))
        .sub_agent(helper("look_up", agent([])));
    finish(&parent).await;
    let record = record(store.as_ref(), &id("s")).await;
    let tools = record.transcript().unwrap().surface().tools.clone();
    let names: Vec<&str> = tools.iter().map(|spec| &*spec.name).collect();
    assert_eq!(names, ["look", "look_up"]);
}
