//! A scripted tool tells calls that returned from calls that were dropped or panicked.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::join;
use phi_testkit::{Gate, ProgressLog, ScriptedTool};
use phi_types::{
    EffectClass, EffectId, LoopId, RawJson, SessionId, Tool, ToolContext, ToolProgress, ToolResult,
};

fn effect() -> EffectId {
    let loop_id = LoopId::new("s.c.1").expect("a valid id");
    EffectId { loop_id, seq: 7 }
}

fn context(progress: &ProgressLog) -> ToolContext {
    let session = SessionId::new("s").expect("a valid id");
    ToolContext::new(session, effect(), Arc::new(progress.clone()))
}

fn no_arguments() -> RawJson {
    RawJson::empty_object()
}

#[test]
fn a_gated_tool_runs_until_the_gate_is_open() {
    let (gate, log) = (Gate::new(), ProgressLog::default());
    let tool = ScriptedTool::gated("wait", &gate, "done");
    let mut both = Box::pin(join(
        tool.call(no_arguments(), context(&log)),
        tool.call(no_arguments(), context(&log)),
    ));
    assert_eq!(both.as_mut().now_or_never(), None);
    assert_eq!((tool.started(), tool.running_max()), (2, 2));
    assert_eq!(tool.until_started(2).now_or_never(), Some(()));
    gate.open();
    let done = ToolResult::text("done");
    assert_eq!(both.now_or_never(), Some((done.clone(), done)));
    assert_eq!((tool.returned(), tool.dropped()), (2, 0));
}

#[test]
fn a_dropped_call_and_a_panic_are_counted_as_dropped() {
    let log = ProgressLog::default();
    let hanging = ScriptedTool::hanging("hang");
    assert_eq!(
        hanging.call(no_arguments(), context(&log)).now_or_never(),
        None
    );
    assert_eq!((hanging.started(), hanging.dropped()), (1, 1));
    let panicking =
        ScriptedTool::panicking("boom", "told to").with_effect_class(EffectClass::AtMostOnce);
    let call = AssertUnwindSafe(panicking.call(no_arguments(), context(&log)));
    let panic = call.catch_unwind().now_or_never().unwrap().unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"told to"));
    assert_eq!((panicking.returned(), panicking.dropped()), (0, 1));
    assert_eq!(panicking.spec().effect_class, EffectClass::AtMostOnce);
}

#[test]
fn arguments_and_progress_are_kept() {
    let log = ProgressLog::default();
    let tool = ScriptedTool::new("echo", |arguments, context: ToolContext| async move {
        let text = arguments.to_string();
        context.progress(ToolProgress { text: text.clone() });
        ToolResult::text(text)
    });
    let arguments = RawJson::parse("{\"a\":1}").unwrap();
    let result = tool.call(arguments.clone(), context(&log)).now_or_never();
    assert_eq!(result, Some(ToolResult::text("{\"a\":1}")));
    assert_eq!(tool.calls(), [(effect(), arguments)]);
    let text = "{\"a\":1}".to_owned();
    assert_eq!(log.reports(), [(effect(), ToolProgress { text })]);
}
