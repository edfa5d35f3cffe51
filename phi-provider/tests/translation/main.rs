//! What a translation promises, for every view and every reader.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail where the tests do"
)]

mod facts;
mod views;

use std::collections::HashSet;
use std::sync::Arc;

use phi_provider::translate;
use phi_provider::translate::{Fate, Kinship, Loss, LossKind, Message, Part, Translation};
use phi_testkit::check_transcript;
use phi_types::{
    Arguments, AssistantMessage, AssistantPart, CallResult, Entry, History, Origin, PartFacts,
    RawJson, StopReason, TextPart, ThinkingPart, ToolCall, ToolResult, Usage, UserMessage,
};
use proptest::prelude::*;

use crate::views::{READER, entry, origin, rules};

/// Makes a conversation of the messages, as whoever reads them would record it.
fn recorded(translation: &Translation<'_>) -> History {
    let mut history = History::new();
    let mut calls: Vec<Arc<ToolCall>> = Vec::new();
    for message in &translation.messages {
        match message {
            Message::User(content) => {
                let content = content.iter().map(|it| it.clone().into_owned()).collect();
                history.push(Entry::User(Arc::new(UserMessage { content })));
            }
            Message::Assistant(answer) => {
                let parts: Vec<AssistantPart> = answer.parts.iter().map(part).collect();
                calls = parts.iter().filter_map(call_of).collect();
                history.push(Entry::Assistant(Arc::new(AssistantMessage {
                    parts,
                    // Services take one answer after another where the first was paused.
                    stop_reason: StopReason::PauseTurn,
                    stop_reason_raw: None,
                    usage: Usage::default(),
                    origin: Origin::default(),
                })));
            }
            Message::Results(results) => {
                let results = results.iter().map(|result| CallResult {
                    call: calls
                        .iter()
                        .find(|call| call.id == result.id)
                        .cloned()
                        .unwrap_or_else(|| panic!("a result of no call: {result:?}")),
                    result: Arc::new(ToolResult {
                        content: result
                            .content
                            .iter()
                            .map(|it| it.clone().into_owned())
                            .collect(),
                        is_error: result.is_error,
                        ..ToolResult::default()
                    }),
                });
                history.push(Entry::Results(results.collect()));
            }
        }
    }
    history
}

fn part(part: &Part<'_>) -> AssistantPart {
    match part {
        // A fact may stand on a text of nothing, which is something for its author.
        Part::Text { text, facts } if text.is_empty() && facts.is_some() => {
            AssistantPart::Text(TextPart::new("+"))
        }
        Part::Text { text, .. } => AssistantPart::Text(TextPart::new(text.as_ref())),
        Part::Thinking(part) => AssistantPart::Thinking(ThinkingPart::clone(part)),
        Part::Call {
            id,
            name,
            arguments,
            ..
        } => AssistantPart::ToolCall(Arc::new(ToolCall {
            id: Arc::clone(id),
            name: Arc::from(*name),
            arguments: Arguments::Object(RawJson::parse(arguments).unwrap()),
            facts: PartFacts::default(),
        })),
        Part::Opaque(part) => AssistantPart::Opaque((*part).clone()),
    }
}

fn call_of(part: &AssistantPart) -> Option<Arc<ToolCall>> {
    match part {
        AssistantPart::ToolCall(call) => Some(Arc::clone(call)),
        AssistantPart::Text(_) | AssistantPart::Thinking(_) | AssistantPart::Opaque(_) => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_view_becomes_a_conversation_that_services_accept(
        entries in prop::collection::vec(entry(), 0..12),
        rules in rules(),
    ) {
        let view: History = entries.into_iter().collect();
        let translation = translate(&view, READER, &rules);
        let history = recorded(&translation);
        if !history.is_empty() {
            prop_assert_eq!(check_transcript(&history), Ok(()));
        }

        let mut ids = HashSet::new();
        for message in &translation.messages {
            let Message::Assistant(answer) = message else { continue };
            prop_assert_eq!(answer.kinship, READER.kinship(&answer.source.origin));
            for part in &answer.parts {
                match part {
                    Part::Call { id, arguments, facts, .. } => {
                        prop_assert!(ids.insert(Arc::clone(id)), "{} twice", id);
                        let length = id.chars().count();
                        prop_assert!((rules.call_ids.chars_min..=rules.call_ids.chars_max).contains(&length));
                        prop_assert!(id.chars().all(rules.call_ids.accepts));
                        prop_assert!(RawJson::parse(arguments).unwrap().is_object());
                        prop_assert!(facts.is_none() || answer.kinship >= rules.facts_from);
                    }
                    Part::Thinking(_) => prop_assert!(
                        answer.kinship == Kinship::Author || rules.foreign_thinking == Fate::Keep
                    ),
                    Part::Opaque(part) => {
                        prop_assert!(answer.kinship >= (rules.opaque_from)(&part.kind));
                    }
                    Part::Text { text, facts } => {
                        prop_assert!(facts.is_some() || !text.is_empty());
                        prop_assert!(facts.is_none() || answer.kinship >= rules.facts_from);
                    }
                }
            }
        }
    }

    #[test]
    fn what_the_reader_wrote_itself_is_translated_without_a_loss(
        texts in prop::collection::vec("[a-z ]{0,3}[a-z]{1,6}", 1..8),
    ) {
        let mut view = History::new();
        for (turn, text) in texts.iter().enumerate() {
            view.push(views::user(text));
            view.push(views::own_turn(turn, text));
            view.push(views::results_of(view.last().unwrap()));
        }
        let rules = views::rules_of(Kinship::Author);
        let translation = translate(&view, READER, &rules);
        prop_assert_eq!(translation.losses, Vec::<Loss>::new());
        prop_assert_eq!(translation.messages.len(), view.len());
    }

    #[test]
    fn a_conversation_that_grew_begins_as_it_did(
        entries in prop::collection::vec(entry(), 1..10),
        rules in rules(),
    ) {
        // A call whose result is still to come is answered by a note until it is there.
        let whole: History = entries.into_iter().collect();
        let all = translate(&whole, READER, &rules);
        for len in 0..whole.len() {
            let part = whole.prefix(len);
            let short = translate(&part, READER, &rules);
            let invents = short.losses.iter().any(|it| it.kind == LossKind::ResultInvented);
            if !invents {
                prop_assert_eq!(&all.messages[..short.messages.len()], &short.messages[..]);
                prop_assert_eq!(&all.losses[..short.losses.len()], &short.losses[..]);
            }
        }
    }
}

#[test]
fn the_origin_of_a_message_says_how_near_its_author_is() {
    assert_eq!(READER.kinship(&origin(0)), Kinship::Author);
    assert_eq!(READER.kinship(&origin(1)), Kinship::Service);
    assert_eq!(READER.kinship(&origin(2)), Kinship::Foreign);
    assert_eq!(READER.kinship(&origin(3)), Kinship::Foreign);
}
