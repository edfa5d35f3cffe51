//! What was under way when a process was killed is settled by `phi resume`: questions wait on, an
//! answer that was being shown is asked for again, and so is a view that was being made smaller.

use std::fs;
use std::sync::Arc;

use phi::types::{CompactionStarted, Content, Event, EventKind, ModelFailed, ToolEnding};
use phi_testkit::{Response, Server};
use rustix::process::Signal;

use crate::support::{OnTerminal, Running, Scratch};

const WRITE: &str = r#"[{"tool_calls":[{"name":"write_file","arguments":{"path":"a.txt","content":"x"}}]},
    {"text":"Well."}]"#;

/// A session whose process was killed while a question waited for an answer.
fn asked(scratch: &Scratch) {
    let mut run = OnTerminal::run(scratch, WRITE);
    run.until("in this run? ");
    run.child.kill().unwrap();
    run.child.wait().unwrap();
}

fn script(scratch: &Scratch) -> String {
    scratch.path("script.json").to_str().unwrap().to_owned()
}

/// The one call of a session: how it ended, and what the model read.
fn ended(events: &[Event]) -> (ToolEnding, String) {
    let ends = events.iter().filter_map(|event| match &event.kind {
        EventKind::ToolEnded(ended) => Some((ended.ending, text(&ended.result.content))),
        _ => None,
    });
    let ends: Vec<_> = ends.collect();
    assert_eq!(ends.len(), 1, "{ends:?}");
    ends.into_iter().next().unwrap()
}

fn text(content: &[Content]) -> String {
    let texts = content.iter().map(|part| match part {
        Content::Text { text } => text.as_str(),
        Content::Image { .. } => "",
    });
    texts.collect()
}

fn questions(events: &[Event]) -> usize {
    let asked = |event: &&Event| matches!(event.kind, EventKind::ApprovalRequested(_));
    events.iter().filter(asked).count()
}

#[test]
fn a_question_waits_on_and_is_asked_again_on_a_terminal() {
    for (answer, ending) in [("y\n", ToolEnding::Finished), ("n\n", ToolEnding::Denied)] {
        let scratch = Scratch::new();
        asked(&scratch);
        let mut resumed =
            OnTerminal::start(&scratch, &["resume", "s", "--script", &script(&scratch)]);
        resumed.answer(answer);
        let shown = resumed.end();
        assert!(shown.contains("May `write_file` run?"), "{shown}");
        assert!(shown.contains("Well."), "{shown}");
        let events = scratch.stored("s");
        assert_eq!(questions(&events), 1, "it is one question");
        assert_eq!(ended(&events).0, ending);
        assert_eq!(
            scratch.work().join("a.txt").exists(),
            ending == ToolEnding::Finished
        );
        assert_eq!(phi::replay(&events), Ok(1));
    }
}

#[test]
fn a_question_without_a_terminal_is_denied_with_a_reason_that_the_model_reads() {
    let scratch = Scratch::new();
    asked(&scratch);
    let ran = scratch.phi(["resume", "s", "--script", &script(&scratch)]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "Well.\n"),
        "{ran:?}"
    );
    let events = scratch.stored("s");
    let (ending, text) = ended(&events);
    assert_eq!(ending, ToolEnding::Denied);
    assert!(
        text.contains("no terminal") && text.contains("--yes"),
        "{text}"
    );
    assert_eq!(questions(&events), 1);
    assert!(!scratch.work().join("a.txt").exists());
    assert_eq!(phi::replay(&events), Ok(1));
}

#[test]
fn a_question_is_answered_by_a_yes_on_the_command_line() {
    let scratch = Scratch::new();
    asked(&scratch);
    let ran = scratch.phi(["resume", "s", "--yes", "--script", &script(&scratch)]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "Well.\n"),
        "{ran:?}"
    );
    assert_eq!(ended(&scratch.stored("s")).0, ToolEnding::Finished);
    assert_eq!(
        fs::read_to_string(scratch.work().join("a.txt")).unwrap(),
        "x"
    );
}

#[test]
fn a_question_waits_on_through_a_resume_that_is_killed_too() {
    let scratch = Scratch::new();
    asked(&scratch);
    for _ in 0..2 {
        let words = ["resume", "s", "--script", &script(&scratch)];
        let mut resumed = OnTerminal::start(&scratch, &words);
        resumed.until("in this run? ");
        resumed.child.kill().unwrap();
        resumed.child.wait().unwrap();
    }
    let ran = scratch.phi(["resume", "s", "--yes", "--script", &script(&scratch)]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let events = scratch.stored("s");
    assert_eq!(
        (questions(&events), ended(&events).0),
        (1, ToolEnding::Finished)
    );
    assert_eq!(phi::replay(&events), Ok(1));
}

/// An answer of an OpenAI service in two pieces of text.
fn answer() -> Response {
    let delta = |text: &str| {
        format!(
            "data: {{\"id\":\"r\",\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n"
        )
    };
    let finish = "data: {\"id\":\"r\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    Response::events([
        delta("Shown "),
        delta("once."),
        finish.to_owned(),
        "data: [DONE]\n\n".to_owned(),
    ])
}

#[test]
fn an_answer_that_was_cut_off_after_it_was_shown_is_asked_for_again() {
    let scratch = Scratch::new();
    let server = Server::start([answer().stalling_after(100), answer()]).unwrap();
    let url = server.base_url();
    let model = [
        "--protocol",
        "openai-chat",
        "--model",
        "m",
        "--base-url",
        &url,
    ];
    let start = ["run", "Hi.", "--session", "s", "--json", "--tools", "none"];
    let mut running = Running::start(&mut scratch.command(start.iter().chain(&model)));
    running.until("Shown ");
    running.signal(Signal::KILL);
    running.end();
    // The model and its protocol are in the log.
    let ran = scratch.phi(["resume", "s", "--base-url", &url]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "Shown once.\n"),
        "{ran:?}"
    );
    assert_eq!(server.received().len(), 2);
    let events = scratch.stored("s");
    let failed: Vec<&ModelFailed> = events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::ModelFailed(failed) => Some(&**failed),
            _ => None,
        })
        .collect();
    assert!(
        failed.len() == 1 && failed[0].facts.interrupted,
        "{failed:?}"
    );
    assert_eq!(phi::replay(&events), Ok(1));
    let shown = scratch.phi(["sessions", "show", "s"]);
    assert_eq!(shown.out.matches("Shown once.").count(), 1, "{shown:?}");
}

#[test]
fn a_compaction_that_was_cut_off_starts_again_and_ends_in_one_clear_line() {
    let script =
        r#"[{"text":"Well.","errors":[{"kind":"context_overflow","message":"too long"}]}]"#;
    let scratch = Scratch::new();
    assert_eq!(scratch.scripted("s", script, &[]).code, Some(1));
    // What a process leaves that was killed while it made the view smaller.
    let mut events = scratch.stored("s");
    let failed = events
        .iter()
        .position(|it| matches!(it.kind, EventKind::ModelFailed(_)));
    events.truncate(failed.unwrap() + 1);
    for event in &mut events {
        if let EventKind::LoopStarted(started) = &mut event.kind {
            Arc::make_mut(started).configuration.compaction = true;
        }
    }
    let mut last = events.last().unwrap().clone();
    last.seq += 1;
    last.kind = EventKind::CompactionStarted(CompactionStarted {
        entries: 1,
        tokens: None,
    });
    events.push(last);
    scratch.rewrite(&events);
    let script = scratch.path("script.json");
    let ran = scratch.phi(["resume", "s", "--script", script.to_str().unwrap()]);
    // The binary has nothing that makes a view smaller.
    let line = ran.failure(1);
    assert!(line.contains("no compactor is at hand"), "{line}");
    assert!(line.ends_with("begin a new session"), "{line}");
    let stored = scratch.stored("s");
    let ends = stored.iter().filter_map(|event| match &event.kind {
        EventKind::CompactionEnded(ended) => Some(ended.error.is_some()),
        _ => None,
    });
    // The one that was cut off has no error, and the one that began again has.
    assert_eq!(ends.collect::<Vec<_>>(), [false, true]);
    let ran = scratch.phi(["sessions", "verify", "s"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let again = scratch.phi(["resume", "s"]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.err.contains("nothing is outstanding"), "{again:?}");
}
