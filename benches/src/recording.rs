//! Recorded streams, made as long as a measurement needs.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// A stream of a protocol whose deltas are those of a recording, over and over.
#[derive(Debug)]
pub struct Recording {
    /// The name of the protocol.
    pub protocol: &'static str,
    /// The stream.
    pub body: Vec<u8>,
    /// How many events the stream has.
    pub events: usize,
}

impl Recording {
    /// A stream of Anthropic Messages of at least so many bytes.
    ///
    /// # Panics
    /// If the recording is not where the tests of phi-provider keep it.
    #[must_use]
    pub fn anthropic(bytes: usize) -> Self {
        let is_delta = |event: &str| event.contains("\"text_delta\"");
        let file = "anthropic/rig--anthropic-reasoning-roundtrip-streaming.1.sse";
        Self::repeated("anthropic-messages", file, is_delta, bytes)
    }

    /// A stream of OpenAI Chat Completions of at least so many bytes.
    ///
    /// # Panics
    /// If the recording is not where the tests of phi-provider keep it.
    #[must_use]
    pub fn openai_chat(bytes: usize) -> Self {
        let is_delta = |event: &str| event.contains("\"delta\":{\"content\":\"");
        let file = "deepseek/rig--deepseek-reasoning-tool-roundtrip-streaming.1.sse";
        Self::repeated("openai-chat", file, is_delta, bytes)
    }

    fn repeated(
        protocol: &'static str,
        file: &str,
        is_delta: fn(&str) -> bool,
        bytes: usize,
    ) -> Self {
        let path = root().join(file);
        let text = fs::read_to_string(&path).expect("a recording of the tests of phi-provider");
        let text = text.replace("\r\n", "\n");
        let events: Vec<&str> = text.split("\n\n").filter(|it| !it.is_empty()).collect();
        let deltas: Vec<&str> = events.iter().copied().filter(|it| is_delta(it)).collect();
        assert!(!deltas.is_empty(), "{file} has no deltas of text");
        let mut body = String::with_capacity(bytes + text.len());
        let mut count = 0;
        let mut push = |body: &mut String, event: &str| {
            count += 1;
            write!(body, "{event}\n\n").is_ok()
        };
        let last = events.iter().rposition(|it| is_delta(it)).unwrap_or(0);
        for (index, event) in events.iter().enumerate() {
            push(&mut body, event);
            if index == last {
                while body.len() < bytes {
                    for delta in &deltas {
                        push(&mut body, delta);
                    }
                }
            }
        }
        Self {
            protocol,
            body: body.into_bytes(),
            events: count,
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../phi-provider/tests/data/wire")
}
