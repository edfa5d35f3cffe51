//! What the families of models on Bedrock take, as data.

use crate::claude::version;
use crate::translate::IdRule;

/// A family of models that take the same requests. Converse is one protocol, yet the models behind
/// it refuse each other's fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModelFamily {
    /// Claude of Anthropic.
    Claude,
    /// Nova of Amazon, its first generation.
    Nova,
    /// Nova of Amazon from its second generation on, which reasons.
    Nova2,
    /// The open models of OpenAI.
    GptOss,
    /// Qwen of Alibaba.
    Qwen,
    /// The models of Mistral.
    Mistral,
    /// Kimi of Moonshot.
    Kimi,
    /// Llama of Meta.
    Llama,
    /// Any other: it gets nothing that only some models take.
    #[default]
    Other,
}

/// Where a family takes cache points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CachePlaces {
    Nowhere,
    SystemAndMessages,
    ToolsSystemAndMessages,
}

impl ModelFamily {
    /// Table: the beginnings of model ids, the longer one first.
    const PREFIXES: &'static [(&'static str, Self)] = &[
        ("anthropic.", Self::Claude),
        ("amazon.nova-micro", Self::Nova),
        ("amazon.nova-lite", Self::Nova),
        ("amazon.nova-pro", Self::Nova),
        ("amazon.nova-premier", Self::Nova),
        ("amazon.nova-2-", Self::Nova2),
        ("openai.gpt-oss", Self::GptOss),
        ("qwen.", Self::Qwen),
        ("mistral.", Self::Mistral),
        ("moonshot.", Self::Kimi),
        ("moonshotai.", Self::Kimi),
        ("meta.llama", Self::Llama),
    ];

    /// Reads the family from the id of a model, of an inference profile, or from an ARN that ends
    /// with one, as `us.anthropic.claude-haiku-4-5-20251001-v1:0`.
    ///
    /// The ARN of an application inference profile does not say which model stands behind it.
    #[must_use]
    pub fn of(model: &str) -> Self {
        let (_, name) = model.rsplit_once('/').unwrap_or(("", model));
        let mut rest = name;
        loop {
            let known = Self::PREFIXES.iter();
            if let Some((_, family)) = known.clone().find(|(it, _)| rest.starts_with(it)) {
                return *family;
            }
            // What stands before the first full stop may be the region of a profile.
            match rest.split_once('.') {
                Some((_, after)) => rest = after,
                None => return Self::Other,
            }
        }
    }

    pub(super) fn cache_places(self, model: &str) -> CachePlaces {
        match self {
            Self::Claude if caches(model) => CachePlaces::ToolsSystemAndMessages,
            Self::Nova | Self::Nova2 => CachePlaces::SystemAndMessages,
            Self::Claude
            | Self::GptOss
            | Self::Qwen
            | Self::Mistral
            | Self::Kimi
            | Self::Llama
            | Self::Other => CachePlaces::Nowhere,
        }
    }

    /// Says whether a model keeps its cache for an hour, if asked to.
    pub(super) fn caches_for_an_hour(self, model: &str) -> bool {
        self == Self::Claude && version(model).is_none_or(|version| version >= (4, 5))
    }

    pub(super) fn call_ids(self) -> IdRule {
        let (chars_min, chars_max) = match self {
            Self::Mistral => (9, 9),
            _ => (1, 64),
        };
        IdRule {
            chars_min,
            chars_max,
            accepts: match self {
                Self::Mistral => |c| c.is_ascii_alphanumeric(),
                // Its own ids read `functions.name:0`.
                Self::Kimi => |c| is_word(c) || matches!(c, '.' | ':'),
                _ => is_word,
            },
        }
    }

    /// Says whether tools may return images.
    pub(super) fn takes_images_in_results(self) -> bool {
        matches!(self, Self::Claude | Self::Nova | Self::Nova2 | Self::Llama)
    }

    /// Says whether nothing may stand beside the results of tools in a message.
    pub(super) fn wants_results_alone(self) -> bool {
        matches!(self, Self::Mistral | Self::Llama)
    }
}

/// Says whether a character may stand in the name of a tool, and in the id of a call.
pub(super) fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

/// Says whether a model of Claude takes cache points. One whose name is hidden is a recent one.
fn caches(model: &str) -> bool {
    let Some((_, name)) = model.split_once("claude-") else {
        return true;
    };
    let from = if name.contains("haiku") {
        (3, 5)
    } else {
        (3, 7)
    };
    version(model).is_some_and(|version| version >= from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_family_is_read_from_ids_profiles_and_arns() {
        for (model, expected) in [
            ("anthropic.claude-v2", ModelFamily::Claude),
            (
                "us.anthropic.claude-haiku-4-5-20251001-v1:0",
                ModelFamily::Claude,
            ),
            ("global.amazon.nova-2-lite-v1:0", ModelFamily::Nova2),
            ("amazon.nova-lite-v1:0", ModelFamily::Nova),
            ("amazon.titan-text-lite-v1", ModelFamily::Other),
            ("openai.gpt-oss-120b-1:0", ModelFamily::GptOss),
            ("eu.mistral.pixtral-large-2502-v1:0", ModelFamily::Mistral),
            ("moonshot.kimi-k2-thinking", ModelFamily::Kimi),
            ("qwen.qwen3-32b-v1:0", ModelFamily::Qwen),
            (
                "us.meta.llama4-maverick-17b-instruct-v1:0",
                ModelFamily::Llama,
            ),
            ("us.deepseek.r1-v1:0", ModelFamily::Other),
            (
                "arn:aws:bedrock:us-east-1:012345678901:inference-profile/us.anthropic.claude-3-7-sonnet-20250219-v1:0",
                ModelFamily::Claude,
            ),
            (
                "arn:aws:bedrock:us-east-1:012345678901:application-inference-profile/a1b2c3",
                ModelFamily::Other,
            ),
            ("", ModelFamily::Other),
            ("...", ModelFamily::Other),
        ] {
            assert_eq!(ModelFamily::of(model), expected, "{model}");
        }
    }

    #[test]
    fn b8_only_models_that_cache_get_cache_points() {
        use CachePlaces::{Nowhere, SystemAndMessages, ToolsSystemAndMessages};
        for (model, expected) in [
            ("anthropic.claude-v2:1", Nowhere),
            ("anthropic.claude-instant-v1", Nowhere),
            ("anthropic.claude-3-5-sonnet-20240620-v1:0", Nowhere),
            ("anthropic.claude-3-haiku-20240307-v1:0", Nowhere),
            (
                "anthropic.claude-3-5-haiku-20241022-v1:0",
                ToolsSystemAndMessages,
            ),
            (
                "us.anthropic.claude-3-7-sonnet-20250219-v1:0",
                ToolsSystemAndMessages,
            ),
            ("us.anthropic.claude-sonnet-4-6", ToolsSystemAndMessages),
            ("amazon.nova-micro-v1:0", SystemAndMessages),
            ("meta.llama3-2-1b-instruct-v1:0", Nowhere),
            ("mistral.mistral-large-2402-v1:0", Nowhere),
        ] {
            let places = ModelFamily::of(model).cache_places(model);
            assert_eq!(places, expected, "{model}");
        }
        assert_eq!(
            ModelFamily::Claude.cache_places("arn:aws:bedrock:eu-west-1:1:x/y"),
            ToolsSystemAndMessages
        );
        assert!(ModelFamily::Claude.caches_for_an_hour("anthropic.claude-haiku-4-5"));
        assert!(!ModelFamily::Claude.caches_for_an_hour("anthropic.claude-sonnet-4-20250514"));
        assert!(!ModelFamily::Nova.caches_for_an_hour("amazon.nova-lite-v1:0"));
    }
}
