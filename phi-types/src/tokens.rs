//! Counting tokens: the port of exact counters, the estimate, and what reports teach about it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::history::{CallResult, Entry};
use crate::image::ImageSize;
use crate::message::{AssistantMessage, AssistantPart, Content};
use crate::request::Surface;

/// Counts the tokens of what a model reads.
///
/// Only [`TokenCounter::text`] has to be written; the rest walks over the parts.
pub trait TokenCounter: Send + Sync {
    /// Counts a text.
    fn text(&self, text: &str) -> u64;

    /// Counts an image: unless said otherwise a token for each 750 pixels, 1,600 at most, and 1,600
    /// where its size is not known.
    ///
    /// Anthropic: about `width * height / 750`; what is larger than about 1.2 million pixels is
    /// scaled down before it is read.
    fn image(&self, size: Option<ImageSize>) -> u64 {
        let pixels = size.map(|size| u64::from(size.width) * u64::from(size.height));
        pixels.map_or(IMAGE_MAX, |pixels| pixels.div_ceil(750).min(IMAGE_MAX))
    }

    /// Counts an entry of a conversation, with what a provider puts around each message.
    fn entry(&self, entry: &Entry) -> u64 {
        match entry {
            Entry::User(message) => AROUND + self.content(&message.content),
            Entry::Assistant(message) => AROUND + answer(self, message),
            Entry::Results(results) => results.iter().map(|it| AROUND + result(self, it)).sum(),
            Entry::Extension(_) => 0,
        }
    }

    /// Counts what a user says or a tool returns.
    fn content(&self, content: &[Content]) -> u64 {
        let each = content.iter().map(|content| match content {
            Content::Text { text } => self.text(text),
            Content::Image { source, .. } => self.image(source.size()),
        });
        each.sum()
    }

    /// Counts the system prompt, the tools and the form of the answer.
    fn surface(&self, surface: &Surface) -> u64 {
        let tools = surface.tools.iter().map(|spec| {
            let schema = spec.input_schema.as_str();
            AROUND + self.text(&spec.name) + self.text(&spec.description) + self.text(schema)
        });
        let form = surface.options.output.as_ref();
        let form = form.map_or(0, |form| self.text(form.schema.as_str()));
        self.text(&surface.system) + tools.sum::<u64>() + form
    }
}

impl fmt::Debug for dyn TokenCounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenCounter")
    }
}

/// What a provider puts around a message, a call or a tool.
const AROUND: u64 = 4;

/// The tokens of an image that is scaled down, or may be.
const IMAGE_MAX: u64 = 1_600;

fn answer<C: TokenCounter + ?Sized>(counter: &C, message: &AssistantMessage) -> u64 {
    let each = message.parts.iter().map(|part| match part {
        AssistantPart::Text(part) => counter.text(&part.text),
        AssistantPart::Thinking(part) => counter.text(&part.text),
        AssistantPart::ToolCall(call) => {
            AROUND + counter.text(&call.name) + counter.text(call.arguments.text())
        }
        AssistantPart::Opaque(part) => counter.text(part.data.as_str()),
    });
    each.sum()
}

fn result<C: TokenCounter + ?Sized>(counter: &C, result: &CallResult) -> u64 {
    counter.content(&result.result.content)
}

/// The estimate that needs no tables: four letters of ASCII are a token, and two bytes of anything
/// else. [`Calibration`] corrects it by what providers report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EstimatedTokens;

impl TokenCounter for EstimatedTokens {
    fn text(&self, text: &str) -> u64 {
        // Most text is ASCII alone, which is known many bytes at a time.
        let others = if text.is_ascii() {
            0
        } else {
            text.bytes().filter(|byte| !byte.is_ascii()).count()
        };
        let tokens = (text.len() - others).div_ceil(4) + others.div_ceil(2);
        u64::try_from(tokens).unwrap_or(u64::MAX)
    }
}

/// The tokens of a request as an exact counter counts them, before and after a compaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountedTokens {
    /// Tokens of the request that there would have been.
    pub before: u64,
    /// Tokens of the request that there is.
    pub after: u64,
}

/// What a report teaches about counts: how many tokens a request was said to have, and how many were
/// counted. The default has learnt nothing and takes counts as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calibration {
    reported: u64,
    counted: u64,
}

impl Calibration {
    /// Learns from a report.
    #[must_use]
    pub fn new(reported: u64, counted: u64) -> Self {
        Self { reported, counted }
    }

    /// Returns the tokens of a request of which so many were counted.
    ///
    /// What is more than in the request of the report is added to the report, so that the share of a
    /// provider's own words in it does not grow; what is less shrinks in proportion.
    #[must_use]
    pub fn tokens(self, counted: u64) -> u64 {
        if self.counted == 0 || self.reported == 0 {
            return counted;
        }
        if counted <= self.counted {
            return scaled(counted, self.reported, self.counted);
        }
        // One report may be far off; no text is four times as long in tokens as it was counted.
        let most = self.counted.saturating_mul(4);
        let reported = self.reported.clamp(self.counted / 4, most).max(1);
        let more = scaled(counted - self.counted, reported, self.counted);
        self.reported.saturating_add(more)
    }
}

fn scaled(count: u64, reported: u64, counted: u64) -> u64 {
    let tokens = u128::from(count) * u128::from(reported) / u128::from(counted.max(1));
    u64::try_from(tokens).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::ImageSource;

    #[test]
    fn letters_and_signs_of_other_scripts_count_differently() {
        for (text, tokens) in [("", 0), ("abcd", 1), ("abcde", 2), ("\u{6f22}\u{5b57}", 3)] {
            assert_eq!(EstimatedTokens.text(text), tokens, "{text:?}");
        }
    }

    #[test]
    fn an_image_counts_by_its_size_where_that_is_known() {
        let of = |width, height| EstimatedTokens.image(Some(ImageSize { width, height }));
        assert_eq!(of(750, 100), 100);
        assert_eq!(of(1, 1), 1);
        assert_eq!(of(u32::MAX, u32::MAX), 1_600);
        assert_eq!(EstimatedTokens.image(None), 1_600);
        let gif = ImageSource::Base64("R0lGODlhgALgAfc=".to_owned());
        let content = |source| Content::Image {
            media_type: "image/gif".to_owned(),
            source,
        };
        let url = ImageSource::Url("https://example.com/a.gif".to_owned());
        let all = [content(gif), content(url), Content::text("abcd")];
        assert_eq!(EstimatedTokens.content(&all), 410 + 1_600 + 1);
    }

    #[test]
    fn a_report_corrects_the_count() {
        let calibration = Calibration::new(300, 100);
        for (counted, tokens) in [(0, 0), (50, 150), (100, 300), (110, 330)] {
            assert_eq!(calibration.tokens(counted), tokens);
        }
        assert_eq!(Calibration::default().tokens(7), 7);
        assert_eq!(Calibration::new(0, 9).tokens(7), 7);
        // A provider's long preface is not multiplied with what comes after it.
        assert_eq!(Calibration::new(1_000, 10).tokens(20), 1_040);
        assert_eq!(Calibration::new(u64::MAX, 1).tokens(u64::MAX), u64::MAX);
    }
}
