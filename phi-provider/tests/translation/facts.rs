//! Each thing that a reader may not see as it was, and its report.

use std::sync::Arc;

use phi_provider::translate;
use phi_provider::translate::{
    Fate, Images, Kinship, LossKind, Message, Part, ResultImages, Rules,
};
use phi_types::{
    AssistantPart, CallResult, Content, Entry, History, ImageSource, OpaquePart, RawJson, TextPart,
    ThinkingPart, ToolResult, UserMessage,
};

use crate::views::{READER, call, facts, message, origin, results_of, rules_of, user};

/// Translates entries, shows each message as text, and returns what was lost.
fn seen(entries: Vec<Entry>, rules: &Rules) -> (Vec<String>, Vec<LossKind>) {
    let view: History = entries.into_iter().collect();
    let translation = translate(&view, READER, rules);
    let losses = translation.losses.iter().map(|loss| loss.kind.clone());
    let losses = losses.collect();
    (translation.messages.iter().map(shown).collect(), losses)
}

fn shown(message: &Message<'_>) -> String {
    let contents = |content: &[std::borrow::Cow<'_, Content>]| {
        let shown = content.iter().map(|content| match &**content {
            Content::Text { text } => text.clone(),
            Content::Image { media_type, .. } => format!("<{media_type}>"),
        });
        shown.collect::<Vec<_>>().join("|")
    };
    match message {
        Message::User(content) => format!("user: {}", contents(content)),
        Message::Assistant(answer) => {
            let parts = answer.parts.iter().map(|part| match part {
                Part::Text { text, facts } => {
                    format!("{text}{}", if facts.is_some() { "+" } else { "" })
                }
                Part::Thinking(part) => format!("({})", part.text),
                Part::Call { id, arguments, .. } => format!("{id}{arguments}"),
                Part::Opaque(part) => format!("<{}>", part.kind),
            });
            format!("assistant: {}", parts.collect::<Vec<_>>().join("|"))
        }
        Message::Results(results) => {
            let results = results.iter().map(|result| {
                let sign = if result.is_error { "!" } else { "=" };
                format!("{}{sign}{}", result.id, contents(&result.content))
            });
            format!("results: {}", results.collect::<Vec<_>>().join(";"))
        }
    }
}

fn thinking(text: &str, signature: Option<&str>) -> AssistantPart {
    AssistantPart::Thinking(ThinkingPart {
        text: text.to_owned(),
        facts: facts(signature),
    })
}

fn image() -> Content {
    Content::Image {
        media_type: "image/png".to_owned(),
        source: ImageSource::Base64("AAAA".to_owned()),
    }
}

#[test]
fn thinking_goes_back_to_its_author_and_becomes_what_the_rules_say_for_others() {
    let turn = |from: usize| {
        let parts = vec![thinking("signed", Some("s")), thinking("plain", None)];
        vec![user("u"), message(parts, origin(from))]
    };
    let rules = |unsigned_thinking, foreign_thinking| Rules {
        unsigned_thinking,
        foreign_thinking,
        ..rules_of(Kinship::Author)
    };
    let (own, lost) = seen(turn(0), &rules(Fate::Drop, Fate::Drop));
    assert_eq!(own, ["user: u", "assistant: (signed)"]);
    assert_eq!(lost, [LossKind::ThinkingDropped]);
    let (kept, lost) = seen(turn(0), &rules(Fate::Keep, Fate::Drop));
    assert_eq!(kept, ["user: u", "assistant: (signed)|(plain)"]);
    assert_eq!(lost, []);
    let (told, lost) = seen(turn(2), &rules(Fate::Keep, Fate::Text));
    assert_eq!(told, ["user: u", "assistant: signed|plain"]);
    assert_eq!(
        lost,
        [LossKind::ThinkingBecameText, LossKind::ThinkingBecameText]
    );
    let (dropped, lost) = seen(turn(1), &rules(Fate::Keep, Fate::Drop));
    assert_eq!(dropped, ["user: u"]);
    let all = [
        LossKind::ThinkingDropped,
        LossKind::ThinkingDropped,
        LossKind::MessageDropped,
    ];
    assert_eq!(lost, all);
}

#[test]
fn facts_and_opaque_parts_go_as_far_as_the_rules_let_them() {
    let turn = |from: usize| {
        let parts = vec![
            AssistantPart::Text(TextPart {
                text: "t".to_owned(),
                facts: facts(Some("sig")),
            }),
            AssistantPart::Opaque(OpaquePart {
                kind: "private".to_owned(),
                data: RawJson::empty_object(),
            }),
            AssistantPart::Opaque(OpaquePart {
                kind: "shared".to_owned(),
                data: RawJson::empty_object(),
            }),
        ];
        vec![user("u"), message(parts, origin(from))]
    };
    let rules = rules_of(Kinship::Service);
    let opaque = |kind: &str| LossKind::OpaqueDropped { kind: kind.into() };
    for (from, answer, lost) in [
        (0, "assistant: t+|<private>|<shared>", vec![]),
        (1, "assistant: t+|<shared>", vec![opaque("private")]),
        (
            2,
            "assistant: t",
            vec![LossKind::FactsDropped, opaque("private"), opaque("shared")],
        ),
    ] {
        assert_eq!(
            seen(turn(from), &rules),
            (vec!["user: u".to_owned(), answer.to_owned()], lost)
        );
    }
}

#[test]
fn ids_that_the_reader_does_not_accept_change_in_the_call_and_in_its_result() {
    let calls = message(vec![AssistantPart::ToolCall(call("a|b", "{}"))], origin(2));
    let results = results_of(&calls);
    let (messages, lost) = seen(vec![user("u"), calls, results], &rules_of(Kinship::Author));
    let id = messages[1]
        .strip_prefix("assistant: ")
        .unwrap()
        .strip_suffix("{}")
        .unwrap();
    assert!(id.starts_with("ab") && id.len() <= 20, "{id}");
    assert_eq!(messages[2], format!("results: {id}=seen"));
    assert_eq!(lost, [LossKind::CallIdChanged, LossKind::FactsDropped]);
}

#[test]
fn a_call_without_a_result_gets_one_and_a_result_without_a_call_becomes_text() {
    let calls = message(vec![AssistantPart::ToolCall(call("a", "{}"))], origin(0));
    let stray = results_of(&message(
        vec![AssistantPart::ToolCall(call("gone", "{}"))],
        origin(0),
    ));
    let (messages, lost) = seen(vec![user("u"), calls, stray], &rules_of(Kinship::Author));
    assert_eq!(
        messages,
        [
            "user: u",
            "assistant: a{}",
            "results: a!no result was recorded",
            "user: [result of an earlier call of `look`]|seen"
        ]
    );
    assert_eq!(lost, [LossKind::ResultInvented, LossKind::ResultBecameText]);
}

#[test]
fn malformed_arguments_are_wrapped_so_that_the_model_sees_what_it_wrote() {
    let calls = message(
        vec![AssistantPart::ToolCall(call("a", "{\"x\":"))],
        origin(0),
    );
    let results = results_of(&calls);
    let (messages, lost) = seen(vec![user("u"), calls, results], &rules_of(Kinship::Author));
    assert_eq!(
        messages[1],
        r#"assistant: a{"malformed_arguments":"{\"x\":"}"#
    );
    assert_eq!(lost, [LossKind::ArgumentsWrapped]);
}

#[test]
fn images_stay_move_or_become_a_note() {
    let shot = |is_error| {
        let calls = message(vec![AssistantPart::ToolCall(call("a", "{}"))], origin(0));
        let Entry::Assistant(answer) = &calls else {
            panic!("no answer")
        };
        let results = Entry::Results(Arc::from([CallResult {
            call: Arc::clone(answer.tool_calls().next().unwrap()),
            result: Arc::new(ToolResult {
                content: vec![Content::text("shot"), image()],
                is_error,
                ..ToolResult::default()
            }),
        }]));
        let content = vec![image()];
        vec![
            Entry::User(Arc::new(UserMessage { content })),
            calls,
            results,
        ]
    };
    let rules = |images, result_images| Rules {
        images,
        result_images,
        ..rules_of(Kinship::Author)
    };
    let (messages, lost) = seen(shot(false), &rules(Images::COMMON, ResultImages::InResult));
    assert_eq!(messages[0], "user: <image/png>");
    assert_eq!(messages[2], "results: a=shot|<image/png>");
    assert_eq!(lost, []);
    let blind = rules(Images::NONE, ResultImages::InResult);
    let (messages, lost) = seen(shot(false), &blind);
    let note = "[an image of type image/png was left out]";
    assert_eq!(messages[0], format!("user: {note}"));
    assert_eq!(messages[2], format!("results: a=shot|{note}"));
    assert_eq!(lost, [LossKind::ImageReplaced, LossKind::ImageReplaced]);
    let moving = rules(Images::COMMON, ResultImages::AfterResults);
    let (messages, lost) = seen(shot(false), &moving);
    assert_eq!(
        messages[2..],
        [
            "results: a=shot|(the next user message shows the image of this result)",
            "user: the image of the result of tool `look`:|<image/png>"
        ]
    );
    assert_eq!(lost, [LossKind::ImageMoved]);
    let failed = rules(Images::COMMON, ResultImages::InResultOfSuccess);
    let (messages, _) = seen(shot(true), &failed);
    assert_eq!(messages[2], format!("results: a!shot|{note}"));
}

#[test]
fn a_conversation_that_begins_with_an_answer_gets_a_beginning() {
    let answer = message(vec![AssistantPart::Text(TextPart::new("so"))], origin(0));
    let (messages, lost) = seen(vec![answer], &rules_of(Kinship::Author));
    let note = "user: (the beginning of the conversation is not shown)";
    assert_eq!(messages, [note, "assistant: so"]);
    assert_eq!(lost, [LossKind::BeginningInvented]);
}
