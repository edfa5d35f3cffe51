//! Views that hold everything that a conversation can.

use std::sync::Arc;

use phi_provider::translate::{Fate, IdRule, Images, Kinship, Reader, ResultImages, Rules};
use phi_types::{
    Arguments, AssistantMessage, AssistantPart, CallResult, Content, Entry, ExtensionMessage,
    Facts, Identity, ImageSource, OpaquePart, Origin, PartFacts, RawJson, StopReason, TextPart,
    ThinkingPart, ToolCall, ToolResult, Usage, UserMessage,
};
use proptest::prelude::*;

pub(crate) const READER: Reader<'static> = Reader {
    identity: Identity {
        protocol: "p",
        provider: "s",
    },
    model: "m",
};

/// The reader itself, another model of its service, another service, another protocol.
pub(crate) fn origin(which: usize) -> Origin {
    let (protocol, provider, model) = match which {
        0 => ("p", "s", "m"),
        1 => ("p", "s", "n"),
        2 => ("p", "t", "m"),
        _ => ("q", "s", "m"),
    };
    Origin {
        protocol: protocol.into(),
        provider: provider.into(),
        model: model.into(),
        ..Origin::default()
    }
}

pub(crate) fn rules_of(facts_from: Kinship) -> Rules {
    Rules {
        call_ids: IdRule {
            chars_min: 1,
            chars_max: 20,
            accepts: |c| c.is_ascii_alphanumeric() || c == '_',
        },
        unsigned_thinking: Fate::Keep,
        foreign_thinking: Fate::Drop,
        facts_from,
        opaque_from: |kind| match kind {
            "private" => Kinship::Author,
            _ => Kinship::Service,
        },
        images: Images::COMMON,
        result_images: ResultImages::InResult,
        keeps_blank_text: false,
    }
}

pub(crate) fn rules() -> impl Strategy<Value = Rules> {
    let fate = || prop_oneof![Just(Fate::Keep), Just(Fate::Text), Just(Fate::Drop)];
    let foreign = prop_oneof![Just(Fate::Text), Just(Fate::Drop)];
    let kinship = prop_oneof![
        Just(Kinship::Foreign),
        Just(Kinship::Service),
        Just(Kinship::Author)
    ];
    let images = prop_oneof![Just(Images::NONE), Just(Images::COMMON), Just(Images::ALL)];
    let place = prop_oneof![
        Just(ResultImages::InResult),
        Just(ResultImages::InResultOfSuccess),
        Just(ResultImages::AfterResults)
    ];
    let ids = prop_oneof![Just((1, 40)), Just((9, 9)), Just((1, 4))];
    (fate(), foreign, kinship, images, place, ids).prop_map(
        |(unsigned_thinking, foreign_thinking, facts_from, images, result_images, ids)| Rules {
            call_ids: IdRule {
                chars_min: ids.0,
                chars_max: ids.1,
                accepts: |c| c.is_ascii_alphanumeric(),
            },
            unsigned_thinking,
            foreign_thinking,
            images,
            result_images,
            ..rules_of(facts_from)
        },
    )
}

pub(crate) fn user(text: &str) -> Entry {
    Entry::User(Arc::new(UserMessage::text(text)))
}

pub(crate) fn message(parts: Vec<AssistantPart>, origin: Origin) -> Entry {
    Entry::Assistant(Arc::new(AssistantMessage {
        parts,
        stop_reason: StopReason::EndTurn,
        stop_reason_raw: None,
        usage: Usage::default(),
        origin,
    }))
}

pub(crate) fn call(id: &str, arguments: &str) -> Arc<ToolCall> {
    Arc::new(ToolCall {
        id: id.into(),
        name: "look".into(),
        arguments: Arguments::parse(arguments),
        facts: facts(Some("sig")),
    })
}

pub(crate) fn facts(signature: Option<&str>) -> PartFacts {
    PartFacts::from(Facts {
        signature: signature.map(str::to_owned),
        ..Facts::default()
    })
}

/// An answer of the reader with thinking, text, something opaque and a call.
pub(crate) fn own_turn(turn: usize, text: &str) -> Entry {
    let id = format!("id_{turn}");
    message(
        vec![
            AssistantPart::Thinking(ThinkingPart {
                text: "hm".to_owned(),
                facts: facts(Some("sig")),
            }),
            AssistantPart::Text(TextPart::new(text)),
            AssistantPart::Opaque(OpaquePart {
                kind: "private".to_owned(),
                data: RawJson::empty_object(),
            }),
            AssistantPart::ToolCall(call(&id, "{}")),
        ],
        origin(0),
    )
}

pub(crate) fn results_of(entry: &Entry) -> Entry {
    let Entry::Assistant(message) = entry else {
        panic!("no answer")
    };
    let results = message.tool_calls().map(|call| CallResult {
        call: Arc::clone(call),
        result: Arc::new(ToolResult::text("seen")),
    });
    Entry::Results(results.collect())
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just(" \n".to_owned()),
        "\\PC{1,12}",
        Just("said".to_owned())
    ]
}

fn content() -> impl Strategy<Value = Content> {
    let media_type = prop_oneof![Just("image/png"), Just("image/tiff")];
    let source = prop_oneof![
        Just(ImageSource::Base64("AAAA".to_owned())),
        Just(ImageSource::Url("https://example.com/i".to_owned()))
    ];
    prop_oneof![
        3 => text().prop_map(Content::text),
        1 => (media_type, source).prop_map(|(media_type, source)| Content::Image {
            media_type: media_type.to_owned(),
            source,
        }),
    ]
}

fn id() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("a".to_owned()),
        Just("call_1".to_owned()),
        Just("x".repeat(400)),
        "\\PC{0,12}"
    ]
}

fn any_call() -> impl Strategy<Value = Arc<ToolCall>> {
    let arguments = prop_oneof![Just("{}"), Just("{\"a\":1}"), Just("[1]"), Just("{\"a\":")];
    (id(), arguments).prop_map(|(id, arguments)| call(&id, arguments))
}

fn any_part() -> impl Strategy<Value = AssistantPart> {
    let signature = || prop_oneof![Just(None), Just(Some("sig")), Just(Some(""))];
    let kind = prop_oneof![Just("private"), Just("shared")];
    prop_oneof![
        (text(), signature()).prop_map(|(text, signature)| AssistantPart::Text(TextPart {
            text,
            facts: facts(signature),
        })),
        (text(), signature()).prop_map(|(text, signature)| {
            AssistantPart::Thinking(ThinkingPart {
                text,
                facts: facts(signature),
            })
        }),
        any_call().prop_map(AssistantPart::ToolCall),
        kind.prop_map(|kind| AssistantPart::Opaque(OpaquePart {
            kind: kind.to_owned(),
            data: RawJson::empty_object(),
        })),
    ]
}

fn any_results() -> impl Strategy<Value = Entry> {
    let result = (
        any_call(),
        prop::collection::vec(content(), 0..3),
        any::<bool>(),
    )
        .prop_map(|(call, content, is_error)| CallResult {
            call,
            result: Arc::new(ToolResult {
                content,
                is_error,
                ..ToolResult::default()
            }),
        });
    prop::collection::vec(result, 0..4).prop_map(|results| Entry::Results(results.into()))
}

/// Any entry in any place: also orphans, and messages without anything in them.
pub(crate) fn entry() -> impl Strategy<Value = Entry> {
    let extension = Entry::Extension(Arc::new(ExtensionMessage {
        namespace: "n".to_owned(),
        name: "x".to_owned(),
        data: RawJson::empty_object(),
    }));
    prop_oneof![
        prop::collection::vec(content(), 0..3)
            .prop_map(|content| Entry::User(Arc::new(UserMessage { content }))),
        (prop::collection::vec(any_part(), 0..5), 0..4_usize)
            .prop_map(|(parts, which)| message(parts, origin(which))),
        any_results(),
        Just(extension),
    ]
}
