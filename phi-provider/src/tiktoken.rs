//! Counts tokens exactly as models of OpenAI do.

use phi_types::{ImageSize, TokenCounter};
use tiktoken_rs::tokenizer::get_tokenizer;
use tiktoken_rs::{CoreBPE, bpe_for_tokenizer};

/// Longer texts are counted in pieces: the splitter of the tokenizer has a limit to its steps, beyond
/// which it panics.
const PIECE_BYTES_MAX: usize = 32 * 1024;

/// Counts the tokens of a text as the tokenizer of a model does.
///
/// The tables of all encodings are part of the program, 8.7 MB, and nothing is fetched. One is read
/// when a counter for it is made first, and kept for the life of the program. Exact is the count of a
/// text; what a service puts around each message and makes of tools is nowhere stated, so that a
/// whole request may differ by a few tokens a message. A word of more than 16 KiB may count a token
/// more.
///
/// ```
/// use phi_provider::TiktokenCounter;
/// use phi_types::TokenCounter;
///
/// let counter = TiktokenCounter::for_model("gpt-4o-2024-08-06").expect("the model is known");
/// assert_eq!(counter.text("tiktoken is great!"), 6);
/// assert!(TiktokenCounter::for_model("claude-sonnet-4-5").is_none());
/// ```
#[derive(Clone)]
pub struct TiktokenCounter {
    encoding: &'static CoreBPE,
    image: ImageCost,
}

impl TiktokenCounter {
    /// Makes the counter of a model by its name, also as `openai/gpt-5` or with the date of a version;
    /// `None` for a model that counts otherwise.
    #[must_use]
    pub fn for_model(model: &str) -> Option<Self> {
        let name = model.rsplit('/').next().unwrap_or(model);
        let encoding = bpe_for_tokenizer(get_tokenizer(name)?).ok()?;
        let image = ImageCost::of(name);
        Some(Self { encoding, image })
    }
}

impl TokenCounter for TiktokenCounter {
    fn text(&self, text: &str) -> u64 {
        let (mut tokens, mut rest) = (0, text);
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(piece_len(rest));
            tokens += self.encoding.count_ordinary(piece);
            rest = after;
        }
        u64::try_from(tokens).unwrap_or(u64::MAX)
    }

    /// One whose size is not known counts as 1024 by 1024 pixels.
    fn image(&self, size: Option<ImageSize>) -> u64 {
        let (width, height) = (1024, 1024);
        self.image
            .tokens(size.unwrap_or(ImageSize { width, height }))
    }
}

impl std::fmt::Debug for TiktokenCounter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TiktokenCounter").finish_non_exhaustive()
    }
}

/// Finds how much of a text is counted at one go. No token reaches over a single space between
/// letters of ASCII, so that a cut before one changes nothing.
fn piece_len(text: &str) -> usize {
    if text.len() <= PIECE_BYTES_MAX {
        return text.len();
    }
    let window = text.as_bytes().get(..=PIECE_BYTES_MAX).unwrap_or_default();
    let is_between = |three: &[u8]| {
        matches!(three, [before, b' ', after]
            if before.is_ascii_alphabetic() && after.is_ascii_alphabetic())
    };
    let latest = window.windows(3).rposition(is_between);
    if let Some(before) = latest.filter(|at| *at >= PIECE_BYTES_MAX / 2) {
        return before + 1;
    }
    let boundary = (1..=PIECE_BYTES_MAX)
        .rev()
        .find(|at| text.is_char_boundary(*at));
    boundary.unwrap_or(text.len())
}

/// What an image costs in full detail.
///
/// OpenAI, "Images and vision", calculating costs: tiles of 512 pixels, or patches of 32.
#[derive(Clone, Copy)]
enum ImageCost {
    Tiles {
        base: u64,
        tile: u64,
    },
    /// Hundredths of a token for each patch.
    Patches {
        percent: u64,
    },
}

impl ImageCost {
    fn of(model: &str) -> Self {
        let costs = [
            (
                "gpt-4o-mini",
                Self::Tiles {
                    base: 2_833,
                    tile: 5_667,
                },
            ),
            ("gpt-4.1-mini", Self::Patches { percent: 162 }),
            ("gpt-4.1-nano", Self::Patches { percent: 246 }),
            ("gpt-5-mini", Self::Patches { percent: 162 }),
            ("gpt-5-nano", Self::Patches { percent: 246 }),
            ("o4-mini", Self::Patches { percent: 172 }),
            (
                "gpt-5",
                Self::Tiles {
                    base: 70,
                    tile: 140,
                },
            ),
            (
                "o1",
                Self::Tiles {
                    base: 75,
                    tile: 150,
                },
            ),
            (
                "o3",
                Self::Tiles {
                    base: 75,
                    tile: 150,
                },
            ),
        ];
        let known = costs.into_iter().find(|(name, _)| model.starts_with(name));
        let usual = Self::Tiles {
            base: 85,
            tile: 170,
        };
        known.map_or(usual, |(_, cost)| cost)
    }

    fn tokens(self, size: ImageSize) -> u64 {
        let (width, height) = (u64::from(size.width).max(1), u64::from(size.height).max(1));
        match self {
            Self::Tiles { base, tile } => {
                // First into a square of 2,048 pixels, then to a shorter side of 768.
                let (long, short) = (width.max(height), width.min(height));
                let (long, short) = scaled((long, short), 2_048.min(long), long);
                let (long, short) = scaled((long, short), 768.min(short), short);
                base + tile * long.div_ceil(512) * short.div_ceil(512)
            }
            Self::Patches { percent } => {
                let patches = width.div_ceil(32) * height.div_ceil(32);
                (patches.min(1_536) * percent).div_ceil(100)
            }
        }
    }
}

/// Scales both sides by a ratio; none vanishes.
fn scaled((long, short): (u64, u64), most: u64, of: u64) -> (u64, u64) {
    ((long * most / of).max(1), (short * most / of).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter() -> TiktokenCounter {
        TiktokenCounter::for_model("gpt-4o").unwrap()
    }

    #[test]
    fn a_model_is_known_by_its_name_in_every_spelling() {
        for model in [
            "gpt-5",
            "gpt-5-2025-08-07",
            "openai/gpt-4o-mini",
            "o3",
            "gpt-4",
            "gpt-oss-20b",
        ] {
            assert!(TiktokenCounter::for_model(model).is_some(), "{model}");
        }
        for model in [
            "",
            "claude-opus-4-1",
            "gemini-2.5-pro",
            "a/b",
            "mistral-large",
        ] {
            assert!(TiktokenCounter::for_model(model).is_none(), "{model}");
        }
    }

    /// The counts are those of OpenAI's own tokenizer (its cookbook, "How to count tokens").
    #[test]
    fn counts_are_those_of_the_published_examples() {
        let older = TiktokenCounter::for_model("gpt-4").unwrap();
        for (text, newer_count, older_count) in [
            ("", 0, 0),
            ("antidisestablishmentarianism", 6, 6),
            ("2 + 2 = 4", 7, 7),
            (
                "\u{304a}\u{8a95}\u{751f}\u{65e5}\u{304a}\u{3081}\u{3067}\u{3068}\u{3046}",
                8,
                9,
            ),
        ] {
            assert_eq!(counter().text(text), newer_count, "{text}");
            assert_eq!(older.text(text), older_count, "{text}");
        }
        // Words that the tokenizer treats as its own are text here.
        assert!(counter().text("<|endoftext|>") > 1);
    }

    #[test]
    fn a_text_counted_in_pieces_counts_the_same() {
        let words =
            "The quick brown fox, 12345 times,\n jumps over \u{6f22}\u{5b57} and   that's it. ";
        let text = words.repeat(3_000);
        assert!(text.len() > 3 * PIECE_BYTES_MAX);
        let whole = counter().encoding.count_ordinary(&text);
        assert_eq!(counter().text(&text), whole as u64);
    }

    #[test]
    fn hostile_texts_are_counted_without_a_panic() {
        let length = 1 << 17;
        for text in [
            " ".repeat(length) + "x",
            "\n ".repeat(length / 2) + "x",
            "a".repeat(length),
            "\u{1f600}".repeat(length / 4),
            "0123456789abcdef".repeat(length / 16),
            "\u{301}".repeat(length / 2),
        ] {
            let tokens = counter().text(&text);
            assert!(tokens > 0 && tokens <= text.len() as u64);
        }
    }

    #[test]
    fn images_cost_what_the_price_list_says() {
        let cost = |model: &str, width, height| {
            let counter = TiktokenCounter::for_model(model).unwrap();
            counter.image(Some(ImageSize { width, height }))
        };
        // The examples of the guide: 1024 x 1024 costs 765, 2048 x 4096 costs 1105.
        assert_eq!(cost("gpt-4o", 1024, 1024), 765);
        assert_eq!(cost("gpt-4o", 2048, 4096), 1_105);
        assert_eq!(cost("gpt-5", 1024, 1024), 630);
        assert_eq!(cost("gpt-4.1-mini", 1024, 1024), 1_659);
        for model in ["gpt-4o", "gpt-5-nano"] {
            assert!(cost(model, u32::MAX, 1) > 0 && cost(model, u32::MAX, u32::MAX) < 10_000);
        }
        assert_eq!(counter().image(None), 765);
    }
}
