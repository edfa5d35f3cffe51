//! The facts of the Anthropic Messages protocol and of its transport, each as a named test.
//!
//! A name begins with the number of its fact: `t` for facts of HTTP and event streams, `a` for
//! facts of the protocol. Facts that no test can show here:
//!
//! - T12 (a timeout of the client must not cap the whole body) is one of the transport.
//! - A20 (`count_tokens` rejects server tools): the wire does not call that endpoint.
#![cfg(feature = "anthropic")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail where the tests do"
)]

mod decoding;
mod encoding;
mod forms;
mod framing;
mod support;
