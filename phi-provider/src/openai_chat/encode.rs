//! Writes the body of a request.

use bytes::Bytes;
use phi_types::Request;

use super::OpenAiChat;
use super::messages::{ChatWriter, rules};
use super::options::{options, system, tools};
use super::quirks::{Prefill, Quirks};
use crate::object::Object;
use crate::request_body::{chunks, extra_fields, join, up_to_messages};
use crate::translate::{Loss, Reader};
use crate::wire::{EncodeError, Wire};

/// A body in chunks, and what is known of the conversation that it holds.
#[derive(Debug, Default)]
pub(super) struct Body {
    pub(super) chunks: Vec<Bytes>,
    /// What was lost of the conversation.
    pub(super) losses: Vec<Loss>,
    /// Whether it holds an image.
    pub(super) has_images: bool,
}

/// Writes the body of a request.
///
/// `messages` is the last field, so that a conversation that only grew gives a body whose beginning
/// did not change.
pub(super) fn body(
    wire: &OpenAiChat,
    request: &Request,
    quirks: Quirks,
) -> Result<Body, EncodeError> {
    let mut fields = Object::default();
    options(&mut fields, request, quirks, wire.delivery);
    let mut extra = extra_fields(&request.options)?;
    if let Some(messages) = extra.remove("messages") {
        tools(&mut fields, request, quirks, false)?;
        join(&mut fields, extra);
        let body = up_to_messages(fields) + &messages + "}";
        return Ok(Body {
            chunks: vec![Bytes::from(body)],
            ..Body::default()
        });
    }
    let writer = ChatWriter::new(quirks, !request.tools.is_empty());
    let system = writer.system(&system(request, quirks));
    let reader = Reader {
        identity: wire.identity(),
        model: &request.model,
    };
    let view = wire.views.write(request, reader, &rules(quirks), writer);
    let mut messages = view.json;
    if messages.is_empty() {
        return Err(EncodeError::NothingToSend);
    }
    if quirks.prefill == Prefill::Prefix && view.writer.ends_with_answer() {
        // A message ends with a brace.
        let at = messages.len().saturating_sub(1);
        messages.insert(at, Bytes::from_static(b",\"prefix\":true"));
    }
    if let Some(mark) = quirks.prompt_cache.mark() {
        for at in view.writer.marks() {
            messages.insert(at, Bytes::from_static(mark.as_bytes()));
        }
    }
    tools(&mut fields, request, quirks, view.writer.has_calls())?;
    join(&mut fields, extra);
    let head = up_to_messages(fields);
    Ok(Body {
        chunks: chunks(head, system, messages.into_chunks()),
        losses: view.losses,
        has_images: view.writer.has_images(),
    })
}
