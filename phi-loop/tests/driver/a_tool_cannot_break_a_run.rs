//! Tools run at once up to a cap; one that fails, hangs, panics or floods hurts nobody else.

use std::sync::Arc;

use async_trait::async_trait;
use phi_loop::{Driver, Update};
use phi_testkit::{Gate, ScriptedTool};
use phi_types::{
    Configuration, Increment, InvalidArguments, Outcome, RawJson, Tool, ToolContext, ToolEnding,
    ToolExecution, ToolPolicy, ToolProgress, ToolResult, ToolSpec,
};

use crate::facts::{
    all, calling, done, driver, endings, finished, plain, provider, run, until_it_waits,
};
use crate::support::spec;

fn policy(tools: ToolPolicy) -> Configuration {
    Configuration {
        tools,
        ..Configuration::default()
    }
}

#[tokio::test]
async fn calls_are_in_flight_at_once_up_to_the_cap() {
    for (execution, first) in [
        (ToolExecution::Parallel { max: 128 }, 5),
        (ToolExecution::Parallel { max: 3 }, 3),
        (ToolExecution::Batched { size: 2 }, 2),
        (ToolExecution::Sequential, 1),
    ] {
        let gate = Gate::new();
        let tool = ScriptedTool::gated("look", &gate, "seen");
        let provider = provider([calling(&["look"; 5]), done()]);
        let configuration = policy(ToolPolicy {
            execution,
            ..ToolPolicy::default()
        });
        let mut run = run(&driver(&provider, &[&tool]), configuration);
        until_it_waits(&mut run);
        assert_eq!(tool.started(), first, "{execution:?}");
        gate.open();
        all(&mut run).await;
        assert_eq!((tool.returned(), tool.running_max()), (5, first));
        assert_eq!(finished(&run).outcome, Outcome::Completed {});
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_is_dropped_at_its_time_and_its_siblings_finish() {
    let hangs = ScriptedTool::hanging("hang");
    let works = ScriptedTool::returning("look", "seen");
    let provider = provider([calling(&["hang", "look"]), done()]);
    let configuration = policy(ToolPolicy {
        timeout_ms: Some(400),
        ..ToolPolicy::default()
    });
    let mut run = run(&driver(&provider, &[&hangs, &works]), configuration);
    let updates = all(&mut run).await;
    let late = "The call was stopped: it ran longer than 400 ms.".to_owned();
    let expected = [
        (ToolEnding::TimedOut, late),
        (ToolEnding::Finished, "seen".into()),
    ];
    assert_eq!(endings(&updates), expected);
    assert_eq!(hangs.dropped(), 1);
    assert_eq!(finished(&run).outcome, Outcome::Completed {});
}

#[tokio::test]
async fn a_panic_and_a_failure_are_results_that_the_model_reads() {
    let panics = ScriptedTool::panicking("panic", "boom");
    let fails = ScriptedTool::failing("fail", "it broke");
    let works = ScriptedTool::returning("look", "seen");
    let provider = provider([calling(&["panic", "fail", "look"]), done()]);
    let mut run = plain(&driver(&provider, &[&panics, &fails, &works]));
    let updates = all(&mut run).await;
    let expected = [
        (ToolEnding::Failed, "The tool panicked: boom.".to_owned()),
        (ToolEnding::Failed, "it broke".into()),
        (ToolEnding::Finished, "seen".into()),
    ];
    assert_eq!(endings(&updates), expected);
    assert_eq!(finished(&run).outcome, Outcome::Completed {});
}

#[tokio::test]
async fn a_flood_of_progress_is_bounded_and_the_newest_report_arrives() {
    const REPORTS: usize = 20_000;
    let gate = Gate::new();
    let passed = gate.clone();
    let tool = ScriptedTool::new("look", move |_, context: ToolContext| {
        let passed = passed.passed();
        async move {
            for n in 0..REPORTS {
                let text = n.to_string();
                context.progress(ToolProgress { text });
            }
            passed.await;
            context.progress(ToolProgress {
                text: "late".into(),
            });
            ToolResult::text("seen")
        }
    });
    let provider = provider([calling(&["look"]), done()]);
    let mut run = plain(&driver(&provider, &[&tool]));
    let mut updates = until_it_waits(&mut run);
    let progress = |updates: &[Update]| -> Vec<String> {
        let reports = updates.iter().filter_map(|update| match update {
            Update::Live(live) => match &live.increment {
                Increment::Progress(progress) => Some(progress.text.clone()),
                Increment::Delta(_) => None,
            },
            _ => None,
        });
        reports.collect()
    };
    assert_eq!(progress(&updates), [(REPORTS - 1).to_string()]);
    gate.open();
    updates.extend(all(&mut run).await);
    assert!(progress(&updates).len() <= 2);
    assert_eq!(finished(&run).outcome, Outcome::Completed {});
}

/// Refuses what it is told to refuse, before any work begins.
struct Picky(ToolSpec);

#[async_trait]
impl Tool for Picky {
    fn spec(&self) -> &ToolSpec {
        &self.0
    }

    fn validate(&self, arguments: &RawJson) -> Result<(), InvalidArguments> {
        assert!(!arguments.as_str().contains('1'), "validate panics");
        Err(InvalidArguments("n is wrong".into()))
    }

    async fn call(&self, _arguments: RawJson, _context: ToolContext) -> ToolResult {
        ToolResult::text("it ran")
    }
}

#[tokio::test]
async fn arguments_that_the_tool_refuses_end_as_invalid() {
    let provider = provider([calling(&["picky", "picky"]), done()]);
    let picky = Picky(spec("picky", phi_types::EffectClass::Pure));
    let driver = Driver::new(provider).tools(vec![Arc::new(picky)]);
    let mut run = plain(&driver);
    let updates = all(&mut run).await;
    let endings = endings(&updates);
    assert_eq!(endings[0], (ToolEnding::Invalid, "n is wrong".to_owned()));
    assert_eq!(endings[1].0, ToolEnding::Failed, "{endings:?}");
    assert!(endings[1].1.contains("validate panics"), "{endings:?}");
}

#[tokio::test]
async fn a_cancel_drops_what_hangs() {
    let tool = ScriptedTool::hanging("hang");
    let provider = provider([calling(&["hang", "hang"])]);
    let mut run = plain(&driver(&provider, &[&tool]));
    let handle = run.handle();
    until_it_waits(&mut run);
    assert_eq!(tool.started(), 2);
    handle.cancel();
    let updates = all(&mut run).await;
    assert_eq!(tool.dropped(), 2);
    assert!(
        endings(&updates)
            .iter()
            .all(|it| it.0 == ToolEnding::Cancelled)
    );
    assert_eq!(finished(&run).outcome, Outcome::Cancelled {});
}

#[tokio::test]
async fn a_tool_that_blocks_its_thread_holds_up_its_own_run_and_a_cancel_comes_after_it() {
    let handle: Arc<std::sync::OnceLock<phi_loop::Handle>> = Arc::default();
    let seen = Arc::clone(&handle);
    // Blocks as long as it likes: the cancel comes while it does, and nobody can look at it.
    let tool = ScriptedTool::new("block", move |_, _| {
        seen.get().unwrap().cancel();
        std::future::ready(ToolResult::text("at last"))
    });
    let provider = provider([calling(&["block"]), done()]);
    let mut run = plain(&driver(&provider, &[&tool]));
    handle.set(run.handle()).unwrap();
    let updates = all(&mut run).await;
    let expected = [(ToolEnding::Finished, "at last".to_owned())];
    assert_eq!(endings(&updates), expected);
    assert_eq!(provider.request_count(), 1, "nothing is started after it");
    assert_eq!(finished(&run).outcome, Outcome::Cancelled {});
}

#[tokio::test]
async fn a_thread_that_ignores_its_cancellation_keeps_no_run_from_its_end() {
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let (report, ended) = std::sync::mpsc::channel::<()>();
    let parts = std::sync::Mutex::new(Some((blocked, report)));
    let tool = ScriptedTool::new("block", move |_, _| {
        let (blocked, report) = parts.lock().unwrap().take().unwrap();
        let thread = tokio::task::spawn_blocking(move || {
            blocked.recv().unwrap();
            report.send(()).unwrap();
        });
        async move {
            thread.await.unwrap();
            ToolResult::text("at last")
        }
    });
    let provider = provider([calling(&["block"])]);
    let mut run = plain(&driver(&provider, &[&tool]));
    until_it_waits(&mut run);
    assert_eq!(tool.started(), 1);
    run.handle().cancel();
    let updates = all(&mut run).await;
    assert_eq!(finished(&run).outcome, Outcome::Cancelled {});
    assert_eq!(endings(&updates)[0].0, ToolEnding::Cancelled);
    // The loop has ended while the thread still works: to end it is the tool's own task.
    release.send(()).unwrap();
    ended.recv().unwrap();
}

/// Panics when it is dropped before its end.
struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "cleaning up failed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_panics_while_it_is_dropped_changes_nothing() {
    for cancelled in [true, false] {
        let hangs = ScriptedTool::new("hang", |_, _| async {
            let _guard = PanicsInDrop;
            std::future::pending().await
        });
        let works = ScriptedTool::returning("look", "seen");
        let provider = provider([calling(&["hang", "look"]), done()]);
        let configuration = policy(ToolPolicy {
            timeout_ms: Some(400),
            ..ToolPolicy::default()
        });
        let mut run = run(&driver(&provider, &[&hangs, &works]), configuration);
        let mut updates = until_it_waits(&mut run);
        if cancelled {
            run.handle().cancel();
        }
        updates.extend(all(&mut run).await);
        let (first, outcome) = if cancelled {
            (ToolEnding::Cancelled, Outcome::Cancelled {})
        } else {
            (ToolEnding::TimedOut, Outcome::Completed {})
        };
        let kinds: Vec<ToolEnding> = endings(&updates).into_iter().map(|it| it.0).collect();
        assert_eq!(kinds, [first, ToolEnding::Finished]);
        assert_eq!(finished(&run).outcome, outcome);
    }
}

#[tokio::test]
async fn a_flood_of_progress_of_many_calls_is_one_report_a_call() {
    const REPORTS: usize = 2_000;
    let tool = ScriptedTool::new("look", |_, context: ToolContext| async move {
        for n in 0..REPORTS {
            let text = n.to_string();
            context.progress(ToolProgress { text });
        }
        std::future::pending().await
    });
    let provider = provider([calling(&["look"; 100])]);
    let mut run = plain(&driver(&provider, &[&tool]));
    let updates = until_it_waits(&mut run);
    let reports = updates.iter().filter_map(|update| match update {
        Update::Live(live) => match &live.increment {
            Increment::Progress(progress) => Some(progress.text.clone()),
            Increment::Delta(_) => None,
        },
        _ => None,
    });
    let reports: Vec<String> = reports.collect();
    assert_eq!(reports, vec![(REPORTS - 1).to_string(); 100]);
}

#[tokio::test]
async fn progress_after_the_end_of_a_call_is_nobody_s() {
    let kept: Arc<std::sync::Mutex<Option<ToolContext>>> = Arc::default();
    let keeper = Arc::clone(&kept);
    let tool = ScriptedTool::new("look", move |_, context: ToolContext| {
        *keeper.lock().unwrap() = Some(context);
        std::future::ready(ToolResult::text("seen"))
    });
    let provider = provider([calling(&["look"]), done()]);
    let mut run = plain(&driver(&provider, &[&tool]));
    let mut late = 0;
    while let Some(update) = run.next().await {
        if let Some(context) = kept.lock().unwrap().as_ref() {
            let text = "late".to_owned();
            context.progress(ToolProgress { text });
        }
        late += usize::from(matches!(
            update,
            Update::Live(phi_types::Live {
                increment: Increment::Progress(_),
                ..
            })
        ));
    }
    assert_eq!(late, 0);
    assert_eq!(finished(&run).outcome, Outcome::Completed {});
}
