//! Every transcript that a real API refuses is refused, and the fault says where.

use std::sync::Arc;

use futures_util::StreamExt;
use phi_testkit::{Reply, ScriptedProvider, TranscriptFault, block_on, check_transcript, request};
use phi_types::{
    Arguments, AssistantMessage, AssistantPart, CallResult, Entry, ExtensionMessage, History,
    Origin, Provider, ProviderErrorKind, RawJson, StopReason, TextPart, ToolCall, ToolResult,
    Usage, UserMessage,
};

fn user(text: &str) -> Entry {
    Entry::User(Arc::new(UserMessage::text(text)))
}

fn call(id: &str) -> Arc<ToolCall> {
    Arc::new(ToolCall {
        id: Arc::from(id),
        name: Arc::from("look"),
        arguments: Arguments::parse("{}"),
        facts: phi_types::PartFacts::default(),
    })
}

fn answer(stop_reason: StopReason, parts: Vec<AssistantPart>) -> Entry {
    Entry::Assistant(Arc::new(AssistantMessage {
        parts,
        stop_reason,
        stop_reason_raw: None,
        usage: Usage::default(),
        origin: Origin::default(),
    }))
}

fn text(text: &str) -> Entry {
    let part = AssistantPart::Text(TextPart::new(text));
    answer(StopReason::EndTurn, vec![part])
}

fn calls(ids: &[&str]) -> Entry {
    let parts = ids.iter().map(|id| AssistantPart::ToolCall(call(id)));
    answer(StopReason::ToolUse, parts.collect())
}

fn results(ids: &[&str]) -> Entry {
    let results = ids.iter().map(|id| CallResult {
        call: call(id),
        result: Arc::new(ToolResult::text("seen")),
    });
    Entry::Results(results.collect())
}

fn extension() -> Entry {
    Entry::Extension(Arc::new(ExtensionMessage {
        namespace: "test".into(),
        name: "note".into(),
        data: RawJson::empty_object(),
    }))
}

fn fault(entries: &[Entry]) -> Option<TranscriptFault> {
    let history: History = entries.iter().cloned().collect();
    check_transcript(&history).err()
}

#[test]
fn a_sound_transcript_passes() {
    let sound = [
        extension(),
        user("a"),
        user("b"),
        calls(&["1", "2"]),
        extension(),
        results(&["1", "2"]),
        text("c"),
        user("d"),
        calls(&["1"]),
        results(&["1"]),
    ];
    assert_eq!(fault(&sound), None);
    let part = || vec![AssistantPart::Text(TextPart::new("so far"))];
    let paused = [
        user("a"),
        answer(StopReason::PauseTurn, part()),
        text("done"),
    ];
    assert_eq!(fault(&paused), None);
}

#[test]
fn each_fault_is_named_with_its_place() {
    use TranscriptFault as F;
    let id = |id: &str| Arc::<str>::from(id);
    let empty_user = Entry::User(Arc::new(UserMessage { content: vec![] }));
    let empty_result = Entry::Results(Arc::from([CallResult {
        call: call("1"),
        result: Arc::new(ToolResult::text("")),
    }]));
    let (is_user, is_answer, is_result) =
        ("a user message", "an assistant message", "a tool result");
    let cases: Vec<(Vec<Entry>, F)> = vec![
        (vec![], F::Empty),
        (vec![extension()], F::Empty),
        (
            vec![text("a")],
            F::FirstIsNotUser {
                entry: 0,
                is: is_answer,
            },
        ),
        (
            vec![extension(), results(&["1"])],
            F::FirstIsNotUser {
                entry: 1,
                is: is_result,
            },
        ),
        (
            vec![user("a"), calls(&["1", "2"]), results(&["1"])],
            F::Unanswered {
                entry: 1,
                call: id("2"),
            },
        ),
        (
            vec![user("a"), calls(&["1"]), user("b")],
            F::Unanswered {
                entry: 1,
                call: id("1"),
            },
        ),
        (
            vec![user("a"), calls(&["1"])],
            F::Unanswered {
                entry: 1,
                call: id("1"),
            },
        ),
        (
            vec![user("a"), results(&["1"])],
            F::ResultWithoutCall {
                entry: 1,
                call: id("1"),
            },
        ),
        (
            vec![user("a"), calls(&["1"]), results(&["1"]), results(&["1"])],
            F::ResultWithoutCall {
                entry: 3,
                call: id("1"),
            },
        ),
        (
            vec![user("a"), calls(&["1"]), results(&["3"])],
            F::ResultWithoutCall {
                entry: 2,
                call: id("3"),
            },
        ),
        (
            vec![user("a"), calls(&["1", "2"]), results(&["2", "1"])],
            F::ResultsOutOfOrder {
                entry: 2,
                expected: id("1"),
                found: id("2"),
            },
        ),
        (
            vec![user("a"), calls(&["1", "2"]), results(&["1", "1"])],
            F::ResultsOutOfOrder {
                entry: 2,
                expected: id("2"),
                found: id("1"),
            },
        ),
        (
            vec![user("a"), calls(&["1"]), results(&[])],
            F::NoResults { entry: 2 },
        ),
        (
            vec![user("a"), calls(&["1", "1"])],
            F::RepeatedCallId {
                entry: 1,
                call: id("1"),
            },
        ),
        (
            vec![user("a"), calls(&[""])],
            F::NamelessCall {
                entry: 1,
                without: "an id",
            },
        ),
        (
            vec![user("a"), text("b"), text("c")],
            F::AnswerAfterAnswer { entry: 2 },
        ),
        (
            vec![user("a"), answer(StopReason::EndTurn, vec![])],
            F::NoContent {
                entry: 1,
                is: is_answer,
            },
        ),
        (
            vec![empty_user],
            F::NoContent {
                entry: 0,
                is: is_user,
            },
        ),
        (
            vec![user(" \n")],
            F::EmptyText {
                entry: 0,
                is: is_user,
            },
        ),
        (
            vec![user("a"), text("")],
            F::EmptyText {
                entry: 1,
                is: is_answer,
            },
        ),
        (
            vec![user("a"), calls(&["1"]), empty_result],
            F::EmptyText {
                entry: 2,
                is: is_result,
            },
        ),
    ];
    for (entries, expected) in cases {
        assert_eq!(fault(&entries), Some(expected), "{entries:?}");
    }
}

#[test]
fn a_result_without_content_is_no_fault() {
    let silent = Entry::Results(Arc::from([CallResult {
        call: call("1"),
        result: Arc::new(ToolResult::default()),
    }]));
    assert_eq!(fault(&[user("a"), calls(&["1"]), silent]), None);
}

#[test]
fn the_provider_refuses_what_the_check_refuses_and_what_asks_nothing() {
    let provider = ScriptedProvider::new([Reply::text("a"), Reply::text("b")]);
    for (entries, wanted) in [
        (vec![user("a"), calls(&["1"])], "call \"1\" of entry 1"),
        (vec![user("a"), text("b")], "entry 1 is an answer"),
    ] {
        let mut bad = request("unused");
        bad.view = entries.into_iter().collect();
        let error = block_on(provider.stream(bad).next()).unwrap().unwrap_err();
        assert_eq!(error.kind, ProviderErrorKind::InvalidRequest);
        assert!(error.message.contains(wanted), "{error}");
    }
    assert_eq!(provider.request_count(), 2);
}
