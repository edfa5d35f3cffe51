//! Each promise of a port is broken once, and the contract names it.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use phi_testkit::contract::{self, ProviderBreach, ProviderRule, ToolBreach};
use phi_testkit::{Gate, Reply, ScriptedCall, ScriptedProvider, ScriptedTool, block_on, request};
use phi_types::{
    Delta, Identity, InvalidArguments, Provider, ProviderError, ProviderErrorKind, RawJson,
    Request, StopReason, Tool, ToolContext, ToolResult, ToolSpec, Usage,
};

type Item = Result<Delta, ProviderError>;

struct Fixed {
    service: &'static str,
    items: Vec<Item>,
}

impl Provider for Fixed {
    fn identity(&self) -> Identity<'_> {
        let (protocol, provider) = ("fixed", self.service);
        Identity { protocol, provider }
    }

    fn stream(&self, _request: Request) -> BoxStream<'static, Item> {
        stream::iter(self.items.clone()).boxed()
    }
}

fn breach(items: Vec<Item>) -> Option<ProviderBreach> {
    let service = "test";
    block_on(contract::provider(&Fixed { service, items }, request("go"))).err()
}

fn failure(message: &str) -> ProviderError {
    ProviderError::new(ProviderErrorKind::Server, message)
}

#[test]
fn the_scripted_provider_keeps_the_contract() {
    let provider = ScriptedProvider::new([Reply::text("hi")
        .with_thinking("hm")
        .with_call(ScriptedCall::new("look", "{}"))
        .with_usage(Usage::default())]);
    let message = block_on(contract::provider(&provider, request("go"))).unwrap();
    assert_eq!(message.unwrap().text(), "hi");
    let empty = ScriptedProvider::new([]);
    let error = block_on(contract::provider(&empty, request("go"))).unwrap();
    assert_eq!(error.unwrap_err().kind, ProviderErrorKind::InvalidRequest);
}

#[test]
fn each_promise_of_a_provider_is_checked() {
    use ProviderBreach as B;
    let finish = || Ok(Delta::finish(StopReason::EndTurn));
    let text = || Ok(Delta::text(0, "a"));
    let usage = || Ok(Delta::Usage(Usage::default()));
    assert_eq!(breach(vec![text(), usage(), finish(), usage()]), None);
    assert_eq!(breach(vec![text()]), Some(B::NoEnding));
    // A later finish corrects the first.
    assert_eq!(breach(vec![text(), finish(), usage(), finish()]), None);
    let more = vec![finish(), text()];
    assert_eq!(breach(more), Some(B::AfterFinish(Box::new(text()))));
    let late = vec![finish(), Err(failure("late"))];
    let late_error = Err(failure("late"));
    assert_eq!(breach(late), Some(B::AfterFinish(Box::new(late_error))));
    let after_error = vec![Err(failure("first")), text()];
    assert_eq!(breach(after_error), Some(B::AfterError(Box::new(text()))));
    let silent = vec![Err(failure(""))];
    let kind = ProviderErrorKind::Server;
    assert_eq!(breach(silent), Some(B::SilentError(kind)));
    let reopened = vec![text(), Ok(Delta::part_ended(0)), text()];
    let again = Delta::text(0, "a");
    assert_eq!(breach(reopened), Some(B::AfterPartEnd(Box::new(again))));
    let changed = vec![text(), Ok(Delta::thinking(0, "a")), finish()];
    assert!(matches!(breach(changed), Some(B::Misplaced(_))));
    let nameless = vec![Ok(Delta::arguments(0, "{}")), finish()];
    assert_eq!(breach(nameless), Some(B::NamelessCall));
    let items = vec![finish()];
    let nobody = Fixed { service: "", items };
    let breach = block_on(contract::provider(&nobody, request("go"))).err();
    assert_eq!(breach, Some(B::Nameless("service")));
}

#[test]
fn the_card_of_a_provider_has_a_row_for_each_rule_and_shows_the_first_breach() {
    let good = ScriptedProvider::new([Reply::text("hi"), Reply::text("hi")]);
    let card = block_on(contract::provider_card(&good, [request("a"), request("b")]));
    card.assert();
    assert_eq!((card.calls, card.rows.len()), (2, ProviderRule::ALL.len()));
    let items = vec![
        Ok(Delta::finish(StopReason::EndTurn)),
        Ok(Delta::text(0, "a")),
        Ok(Delta::thinking(0, "a")),
    ];
    let bad = Fixed { service: "", items };
    let card = block_on(contract::provider_card(&bad, [request("a")]));
    let failed: Vec<ProviderRule> = card
        .rows
        .iter()
        .filter(|(_, breach)| breach.is_some())
        .map(|(rule, _)| *rule)
        .collect();
    let expected = [
        ProviderRule::Identity,
        ProviderRule::Finish,
        ProviderRule::Nature,
    ];
    assert_eq!(failed, expected);
    let shown = card.to_string();
    assert!(
        shown.contains("protocol and service have names          FAILED"),
        "{shown}"
    );
    assert!(
        shown.contains("each call has a name                     passed"),
        "{shown}"
    );
    assert!(std::panic::catch_unwind(|| card.assert()).is_err());
}

fn tool_breach(tool: &dyn Tool) -> Option<ToolBreach> {
    block_on(contract::tool(tool, RawJson::empty_object())).err()
}

#[test]
fn scripted_tools_keep_the_contract_and_may_wait_or_fail() {
    assert_eq!(tool_breach(&ScriptedTool::returning("a", "b")), None);
    assert_eq!(tool_breach(&ScriptedTool::failing("a", "b")), None);
    let gate = Gate::new();
    let waiting = ScriptedTool::gated("a", &gate, "b");
    let opener = std::thread::spawn({
        let (started, gate) = (waiting.until_started(2), gate);
        move || {
            block_on(started);
            gate.open();
        }
    });
    assert_eq!(tool_breach(&waiting), None);
    opener.join().unwrap();
    assert_eq!((waiting.dropped(), waiting.returned()), (1, 1));
}

struct Picky(ScriptedTool);

#[async_trait]
impl Tool for Picky {
    fn spec(&self) -> &ToolSpec {
        self.0.spec()
    }

    fn validate(&self, _arguments: &RawJson) -> Result<(), InvalidArguments> {
        Err(InvalidArguments("never".to_owned()))
    }

    async fn call(&self, arguments: RawJson, context: ToolContext) -> ToolResult {
        self.0.call(arguments, context).await
    }
}

#[test]
fn each_promise_of_a_tool_is_checked() {
    let named = |name: &str| tool_breach(&ScriptedTool::returning(name, "b"));
    for name in ["", "a b", "ä", &"x".repeat(65)] {
        assert_eq!(named(name), Some(ToolBreach::Name(Arc::from(name))));
    }
    let schema = RawJson::parse("{\"type\":\"string\"}").unwrap();
    let wrong = ScriptedTool::returning("a", "b").with_schema(schema.clone());
    assert_eq!(tool_breach(&wrong), Some(ToolBreach::Schema(schema)));
    let empty = ScriptedTool::returning("a", "");
    assert_eq!(tool_breach(&empty), Some(ToolBreach::EmptyText));
    let panicking = ScriptedTool::panicking("a", "told to");
    assert_eq!(tool_breach(&panicking), Some(ToolBreach::Panicked));
    let picky = Picky(ScriptedTool::returning("a", "b"));
    let refused = tool_breach(&picky).unwrap().to_string();
    assert_eq!(refused, "the arguments {} are refused: never");
}

struct Changing {
    before: ScriptedTool,
    after: ScriptedTool,
}

#[async_trait]
impl Tool for Changing {
    fn spec(&self) -> &ToolSpec {
        match self.before.started() {
            0 => self.before.spec(),
            _ => self.after.spec(),
        }
    }

    async fn call(&self, arguments: RawJson, context: ToolContext) -> ToolResult {
        self.before.call(arguments, context).await
    }
}

#[test]
fn a_spec_that_changes_is_a_breach() {
    let changing = Changing {
        before: ScriptedTool::returning("a", "b"),
        after: ScriptedTool::returning("c", "b"),
    };
    let breach = tool_breach(&changing);
    assert!(matches!(breach, Some(ToolBreach::SpecChanged { .. })));
}
