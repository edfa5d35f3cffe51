//! What a test reads off a bench.

use phi_loop::{DecisionId, Effect, Input, Machine, Rejected, Start, Verdict, replay};
use phi_testkit::check_transcript;
use phi_types::{
    CompactionBlock, Configuration, Content, Entry, Event, EventKind, History, Limits, Outcome,
    Point, Request, Surface, ToolEnding, ToolExecution, ToolPolicy, ToolResult, Transcript,
};

use crate::support::{Bench, prompt, session, user};

/// Calls that end in this way, with the place of the call and the text that the model reads.
pub(crate) fn results(bench: &Bench) -> Vec<(u32, ToolEnding, String)> {
    let ended = bench.events.iter().filter_map(|event| match &event.kind {
        EventKind::ToolEnded(it) => Some((it.index, it.ending, text_of(&it.result))),
        _ => None,
    });
    ended.collect()
}

pub(crate) fn text_of(result: &ToolResult) -> String {
    let texts = result.content.iter().map(|content| match content {
        Content::Text { text } => text.as_str(),
        Content::Image { .. } => "(image)",
    });
    texts.collect()
}

/// A view in words, one for each entry.
pub(crate) fn words(view: &History) -> Vec<String> {
    let words = view.entries().into_iter().map(|entry| match entry {
        Entry::User(message) => match message.content.first() {
            Some(Content::Text { text }) => format!("user: {text}"),
            _ => "user: (no text)".into(),
        },
        Entry::Assistant(message) => {
            let calls: Vec<&str> = message.tool_calls().map(|call| &*call.name).collect();
            format!("model: {}{}", message.text(), calls.join(","))
        }
        Entry::Results(results) => {
            let texts: Vec<String> = results.iter().map(|it| text_of(&it.result)).collect();
            format!("results: {}", texts.join(" | "))
        }
        Entry::Extension(_) => "extension".into(),
    });
    words.collect()
}

/// The request of the model call in flight.
pub(crate) fn request(bench: &Bench) -> &Request {
    let mut calls = bench.effects.iter().filter_map(|effect| match effect {
        Effect::CallModel(call) => Some(&call.request),
        _ => None,
    });
    calls.next().expect("a model is called")
}

/// The decisions that are asked for, in order; they are taken off the bench.
pub(crate) fn decisions(bench: &mut Bench) -> Vec<DecisionId> {
    let mut asked = Vec::new();
    bench.effects.retain(|effect| match effect {
        Effect::Decide(id, _) => {
            asked.push(*id);
            false
        }
        _ => true,
    });
    asked
}

/// Every decision that is asked for gets this verdict.
pub(crate) fn decide_all(bench: &mut Bench, verdict: &Verdict) {
    for id in decisions(bench) {
        bench.handle(Input::Decided(id, verdict.clone()));
    }
}

pub(crate) fn ask() -> Verdict {
    Verdict::Ask {
        question: "May it?".into(),
        arguments: None,
    }
}

/// The input is refused, and nothing of the machine has changed.
pub(crate) fn refused(bench: &mut Bench, input: Input) -> Rejected {
    let before = format!("{:?}", bench.machine);
    let text = format!("{input:?}");
    let answer = bench.machine.handle(bench.now, input);
    let after = format!("{:?}", bench.machine);
    assert_eq!(before, after, "{text} changed the machine");
    assert_eq!(bench.machine.poll(), None, "{text} led to something");
    answer.expect_err(&text)
}

/// The log folds to the machine, replays once it has ended, and the conversation is in order.
pub(crate) fn check(bench: &Bench) {
    let before = Transcript::new();
    let restored = Machine::restore(&before, &bench.events).unwrap();
    assert_eq!(restored, bench.machine);
    let transcript = bench.machine.transcript();
    if bench.machine.outcome().is_some() {
        replay(&before, &bench.events).unwrap();
        assert_eq!(transcript.unanswered(), 0);
        if !transcript.view().is_empty() {
            assert_eq!(check_transcript(transcript.view()), Ok(()));
        }
    }
    for effect in &bench.effects {
        if let Effect::CallModel(call) = effect {
            assert_eq!(check_transcript(&call.request.view), Ok(()));
        }
    }
}

/// The loop has ended in this way, and its log holds.
pub(crate) fn ends(bench: &Bench, outcome: &Outcome) {
    assert_eq!(
        bench.machine.outcome(),
        Some(outcome),
        "{:?}",
        bench.kinds()
    );
    assert_eq!(bench.machine.next_timeout(), None);
    assert_eq!(bench.machine.outstanding(), []);
    check(bench);
}

pub(crate) fn last(bench: &Bench) -> &Event {
    bench.events.last().expect("an event was written")
}

pub(crate) fn limits(limits: Limits) -> Configuration {
    Configuration {
        limits,
        ..Configuration::default()
    }
}

pub(crate) fn execution(execution: ToolExecution) -> Configuration {
    Configuration {
        tools: ToolPolicy {
            execution,
            ..ToolPolicy::default()
        },
        ..Configuration::default()
    }
}

pub(crate) fn hooked(point: Point) -> Configuration {
    Configuration {
        points: vec![point],
        ..Configuration::default()
    }
}

pub(crate) fn on_surface(configuration: Configuration, surface: Surface) -> Bench {
    let start = Start::new(session(), configuration, surface);
    let mut bench = Bench::with(Machine::new(start));
    bench.handle(prompt("Do it."));
    bench
}

pub(crate) fn block(first: u64, count: u64, replacement: &[&str]) -> CompactionBlock {
    CompactionBlock {
        first,
        count,
        replacement: replacement.iter().map(|text| user(text)).collect(),
    }
}
