//! Structured output: answers in the form of a schema, whatever a protocol has for that.
//!
//! A wire asks for them in its own words: [`sanitise`] makes of any JSON Schema one that a service
//! takes. A protocol without words for a form is given a tool instead, [`OUTPUT_TOOL`], which the
//! model must call; [`OutputToolDecoder`] makes the call text again. With the feature
//! `structured-output`, `read_output` reads the answer and checks it.

mod node;
mod nulls;
#[cfg(feature = "structured-output")]
mod prune;
#[cfg(feature = "structured-output")]
mod read;
mod rule;
mod sanitise;
mod tool;

#[cfg(feature = "structured-output")]
pub use read::{Mismatch, OutputError, OutputFault, read_output, read_output_as};
pub use rule::{Keywords, Nulls, Objects, References, SchemaRule};
pub use sanitise::{Sanitised, sanitise};
pub use tool::{OUTPUT_TOOL, OUTPUT_TOOL_DESCRIPTION, OutputToolDecoder};
