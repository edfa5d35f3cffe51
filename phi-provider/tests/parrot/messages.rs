//! How a conversation is written for Parrot.

// region: messages
use phi_provider::EncodeError;
use phi_provider::translate::{
    Fate, IdRule, Images, Kinship, Loss, Message, Part, Reader, ResultImages, Rules, translate,
};
use phi_types::{Content, Identity, Request};
use serde_json::{Value, json};

/// What Parrot takes; the translation makes it of any conversation.
const RULES: Rules = Rules {
    call_ids: IdRule {
        chars_min: 1,
        chars_max: 40,
        accepts: |c| c.is_ascii_alphanumeric() || c == '_' || c == '-',
    },
    unsigned_thinking: Fate::Drop,
    foreign_thinking: Fate::Drop,
    facts_from: Kinship::Author,
    opaque_from: |_kind| Kinship::Author,
    images: Images::NONE,
    result_images: ResultImages::AfterResults,
    keeps_blank_text: false,
};

pub(crate) fn messages(
    request: &Request,
    identity: Identity<'_>,
) -> Result<(Value, Vec<Loss>), EncodeError> {
    let reader = Reader {
        identity,
        model: &request.model,
    };
    let translation = translate(&request.view, reader, &RULES);
    if translation.messages.is_empty() {
        return Err(EncodeError::NothingToSend);
    }
    let messages = translation.messages.iter().map(|message| match message {
        Message::User(content) => json!({"who": "user", "say": text_of(content)}),
        Message::Assistant(answer) => {
            let parts = answer.parts.iter().filter_map(|part| match part {
                Part::Text { text, .. } => Some(json!({"say": text})),
                Part::Thinking(it) => Some(json!({"think": it.text, "seal": it.facts.signature})),
                Part::Call {
                    id,
                    name,
                    arguments,
                    ..
                } => Some(json!({"call": &**id, "tool": name, "input": arguments})),
                // Parrot sends no items of its own.
                Part::Opaque(_) => None,
            });
            json!({"who": "parrot", "parts": parts.collect::<Vec<_>>()})
        }
        Message::Results(results) => {
            let results = results.iter().map(
                |it| json!({"call": &*it.id, "failed": it.is_error, "say": text_of(&it.content)}),
            );
            json!({"who": "tools", "results": results.collect::<Vec<_>>()})
        }
    });
    Ok((messages.collect(), translation.losses))
}

/// Parrot takes no image, so the translation leaves text alone.
fn text_of(content: &[std::borrow::Cow<'_, Content>]) -> String {
    let texts = content.iter().filter_map(|content| match &**content {
        Content::Text { text } => Some(text.as_str()),
        Content::Image { .. } => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}
// endregion: messages
