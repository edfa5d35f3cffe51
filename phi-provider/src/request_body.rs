//! What the bodies of several protocols share: fields in order, and the fields that a caller adds.

use bytes::Bytes;
use phi_types::Options;
use serde::Serialize;

use crate::object::{Object, push_string};
use crate::surrogates::without_lone_surrogates;
use crate::view_writer::Output;
use crate::wire::EncodeError;

/// Sets a field to a value.
pub(crate) fn add<T: Serialize + ?Sized>(fields: &mut Object<'_>, name: &str, value: &T) {
    let mut out = Output::default();
    out.json(value);
    fields.set(name, out.into_string());
}

/// Sets a field, if there is a value.
pub(crate) fn add_some<T: Serialize>(fields: &mut Object<'_>, name: &str, value: Option<T>) {
    if let Some(value) = value {
        add(fields, name, &value);
    }
}

/// Reads the fields that join the body last.
pub(crate) fn extra_fields(options: &Options) -> Result<Object<'_>, EncodeError> {
    let Some(extra) = &options.extra else {
        return Ok(Object::default());
    };
    Object::read(extra.as_str()).map_err(|_| EncodeError::ExtraNotAnObject {
        found: match extra.as_str().trim_start().bytes().next() {
            Some(b'[') => "an array",
            Some(b'"') => "a string",
            Some(b't' | b'f') => "a boolean",
            Some(b'n') => "null",
            _ => "a number",
        },
    })
}

/// Lets fields replace those of the same name, and join the others.
pub(crate) fn join(fields: &mut Object<'_>, extra: Object<'_>) {
    for (name, value) in extra.into_fields() {
        let value = without_lone_surrogates(&value).into_owned();
        fields.set(&name, value);
    }
}

/// Writes an object up to the value of its last field, `messages`.
pub(crate) fn up_to_messages(fields: Object<'_>) -> String {
    up_to(fields, "messages")
}

/// Writes an object up to the value of its last field.
pub(crate) fn up_to(fields: Object<'_>, last: &str) -> String {
    let mut head = String::from("{");
    for (name, json) in fields.into_fields() {
        push_string(&mut head, &name);
        head.push(':');
        head.push_str(&json);
        head.push(',');
    }
    push_string(&mut head, last);
    head.push(':');
    head
}

/// Makes the chunks of a body whose messages are its last field: what stands before them, the
/// system message, and the others.
pub(crate) fn chunks(mut head: String, system: Output, messages: Vec<Bytes>) -> Vec<Bytes> {
    head.push('[');
    if system.position() > 0 {
        head.push_str(&system.into_string());
        head.push(',');
    }
    let mut chunks = vec![Bytes::from(head)];
    chunks.extend(messages);
    chunks.push(Bytes::from_static(b"]}"));
    chunks
}
