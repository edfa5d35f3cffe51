//! How services differ in what they accept, as data.

use crate::tool_ids::IdRule;

/// What a service accepts where services differ. The default is OpenAI itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quirks {
    /// The name of the output limit.
    pub output_limit: OutputLimit,
    /// The role of the system prompt.
    pub system_role: SystemRole,
    /// Whether a stream is asked to report usage.
    pub stream_usage: StreamUsage,
    /// What stands for the text of an assistant message that only calls tools.
    pub empty_content: EmptyContent,
    /// When reasoning goes back to the service that wrote it.
    pub reasoning_replay: ReasoningReplay,
    /// What `<think>` tags at the beginning of a text are.
    pub think_tags: ThinkTags,
    /// Where the images of tool results go.
    pub tool_images: ToolImages,
    /// Which ids of tool calls are accepted.
    pub call_ids: CallIds,
    /// In which header a key travels.
    pub key_place: KeyPlace,
}

impl Quirks {
    /// Returns what most services accept that follow OpenAI without being OpenAI.
    #[must_use]
    pub fn compatible() -> Self {
        Self {
            output_limit: OutputLimit::MaxTokens,
            ..Self::default()
        }
    }
}

/// The name of the output limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OutputLimit {
    /// `max_completion_tokens`: reasoning models of OpenAI reject the older name.
    #[default]
    MaxCompletionTokens,
    /// `max_tokens`: most other services know only this one.
    MaxTokens,
}

/// The role of the system prompt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SystemRole {
    /// `system`, which OpenAI reads as `developer` where it must.
    #[default]
    System,
    /// `developer`.
    Developer,
}

/// Whether a stream is asked to report usage, as `stream_options.include_usage`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StreamUsage {
    /// Asked.
    #[default]
    Asked,
    /// Not asked: some services reject the field, some report unasked.
    NotAsked,
}

/// What stands for the text of an assistant message that only calls tools.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EmptyContent {
    /// `null`.
    #[default]
    Null,
    /// `""`, for services that reject `null`.
    Empty,
    /// No field, for services that reject both.
    Omitted,
}

/// When reasoning goes back to the service and model that wrote it. It never goes anywhere else.
///
/// `reasoning_details` and typed blocks go back always unless this is `Never`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ReasoningReplay {
    /// Not at all.
    Never,
    /// While the request has tools. DeepSeek wants it then, and rejects it otherwise.
    #[default]
    WithTools,
    /// While the request has tools, and `""` where there was none.
    WithToolsOrEmpty,
    /// Always.
    Always,
}

/// What `<think>` tags at the beginning of a text are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ThinkTags {
    /// Text like any other.
    #[default]
    Text,
    /// The marks of reasoning, where a server does not take it out of the text. It goes back
    /// nowhere.
    Thinking,
}

/// Where the images of tool results go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ToolImages {
    /// In a user message after the results: OpenAI takes text alone in a result.
    #[default]
    AfterResults,
    /// In the result, where llama.cpp and some others take them.
    InResult,
}

/// Which ids of tool calls are accepted. An id that is not, or that an earlier call has, is
/// replaced in the call and in its result by one that depends on the conversation alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CallIds {
    /// Up to 40 characters.
    #[default]
    UpTo40,
    /// Exactly nine letters or digits, as Mistral wants them.
    Alphanumeric9,
}

/// In which header a key travels. An access token always is a bearer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KeyPlace {
    /// `authorization: Bearer …`.
    #[default]
    Bearer,
    /// `api-key`, for keys of Azure.
    ApiKey,
}

impl CallIds {
    pub(super) fn rule(self) -> IdRule {
        match self {
            Self::UpTo40 => IdRule {
                chars_min: 1,
                chars_max: 40,
                accepts: |c| !c.is_control(),
            },
            Self::Alphanumeric9 => IdRule {
                chars_min: 9,
                chars_max: 9,
                accepts: |c| c.is_ascii_alphanumeric(),
            },
        }
    }
}
