//! How services differ in what they accept, as data.

use serde::{Deserialize, Serialize};

use crate::tool_ids::IdRule;

/// What a service accepts where services differ. The default is OpenAI itself.
///
/// As JSON every field is a word in `snake_case`, and one that is missing has its default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quirks {
    // Wide: one field for each way in which services differ.
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
    /// Whether images are taken.
    pub images: ImageInput,
    /// Where the images of tool results go.
    pub tool_images: ToolImages,
    /// Which ids of tool calls are accepted.
    pub call_ids: CallIds,
    /// In which header a key travels.
    pub key_place: KeyPlace,
    /// Which headers the service wants beside the usual ones.
    pub client_headers: ClientHeaders,
    /// When temperature and nucleus sampling are accepted.
    pub sampling: Sampling,
    /// Whether stop sequences are accepted.
    pub stop_sequences: OptionField,
    /// Whether `parallel_tool_calls` is accepted.
    pub parallel_tool_calls: OptionField,
    /// How a call is forced.
    pub forced_tools: ForcedTools,
    /// Whether calls follow the schemas of their tools.
    pub tool_schemas: StrictTools,
    /// How the amount of reasoning is said.
    pub reasoning: ReasoningSwitch,
    /// How no reasoning is said where the amount is a word.
    pub reasoning_off: ReasoningOff,
    /// Where the service is asked to put its reasoning.
    pub reasoning_format: ReasoningFormat,
    /// How a form of the answer is asked for.
    pub output_form: OutputForm,
    /// What stands between results of tools and a message of the user.
    pub after_results: AfterResults,
    /// Whether results name their tool.
    pub result_names: ResultNames,
    /// How the model is told to continue an answer that is the last message.
    pub prefill: Prefill,
    /// What is offered where the conversation has calls and the request has no tools.
    pub tools_for_history: ToolsForHistory,
    /// How the service is asked to keep the beginning of requests.
    pub prompt_cache: PromptCache,
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputLimit {
    /// `max_completion_tokens`: reasoning models of OpenAI reject the older name.
    #[default]
    MaxCompletionTokens,
    /// `max_tokens`: most other services know only this one.
    MaxTokens,
}

/// The role of the system prompt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SystemRole {
    /// `system`, which OpenAI reads as `developer` where it must.
    #[default]
    System,
    /// `developer`.
    Developer,
    /// `user`, as the first message: `o1-mini` knows neither of the others.
    User,
}

/// Whether a stream is asked to report usage, as `stream_options.include_usage`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamUsage {
    /// Asked.
    #[default]
    Asked,
    /// Not asked: some services reject the field, some report unasked.
    NotAsked,
}

/// What stands for the text of an assistant message that only calls tools.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThinkTags {
    /// Text like any other.
    #[default]
    Text,
    /// The marks of reasoning, where a server does not take it out of the text. It goes back
    /// nowhere.
    Thinking,
}

/// Where the images of tool results go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolImages {
    /// In a user message after the results: OpenAI takes text alone in a result.
    #[default]
    AfterResults,
    /// In the result, where llama.cpp and some others take them.
    InResult,
}

/// Which ids of tool calls are accepted. An id that is not, or that an earlier call has, is
/// replaced in the call and in its result by one that depends on the conversation alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallIds {
    /// Up to 40 characters.
    #[default]
    #[serde(rename = "up_to_40")]
    UpTo40,
    /// Exactly nine letters or digits, as Mistral wants them.
    #[serde(rename = "alphanumeric_9")]
    Alphanumeric9,
}

/// In which header a key travels. An access token always is a bearer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyPlace {
    /// `authorization: Bearer …`.
    #[default]
    Bearer,
    /// `api-key`, for keys of Azure.
    ApiKey,
}

/// Whether images are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageInput {
    /// By the models that see.
    #[default]
    Taken,
    /// By no model: a note stands for an image. DeepSeek refuses the whole request otherwise.
    Refused,
}

/// Which headers a service wants beside the usual ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientHeaders {
    /// None.
    #[default]
    None,
    /// Those of GitHub Copilot: `copilot-integration-id`, `editor-version`, `openai-intent`, and
    /// `x-initiator`, which says whether the user or a tool spoke last.
    Copilot,
}

/// Whether a field of the options is accepted. One that is not is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptionField {
    /// It is.
    #[default]
    Taken,
    /// It is not.
    Refused,
}

/// When `temperature` and `top_p` are accepted. Otherwise they are left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// Always.
    #[default]
    Taken,
    /// While the request switches reasoning off.
    WithoutReasoning,
    /// Never.
    Refused,
}

/// How a call is forced, in `tool_choice`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForcedTools {
    /// By `required`, or by naming the tool.
    #[default]
    Required,
    /// By `any`, or by naming the tool: Mistral.
    Any,
    /// Not while the model reasons: then the choice is left to it. DeepSeek.
    WithoutReasoning,
    /// Not at all: the choice is left to the model. Moonshot, z.ai.
    Refused,
}

/// Whether calls follow the schemas of their tools.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StrictTools {
    /// As far as the model keeps to them, which are sent as they are.
    #[default]
    Hinted,
    /// Always: `strict` is asked for where a schema can be made one of the strict mode.
    Strict,
}

/// How the amount of reasoning is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasoningSwitch {
    /// By a word in `reasoning_effort`.
    #[default]
    ReasoningEffort,
    /// By `reasoning_effort`, which is `none` or `default`: Qwen at Groq.
    NoneOrDefault,
    /// Not at all.
    Unsaid,
    /// By `reasoning`, an object of a word or of tokens: OpenRouter.
    ReasoningObject,
    /// By `thinking: {"type": "enabled"}` or `disabled`: z.ai, Moonshot.
    ThinkingType,
    /// By both, `thinking` and `reasoning_effort`: DeepSeek.
    ThinkingTypeAndEffort,
    /// By `enable_thinking`, and tokens in `thinking_budget`: Alibaba.
    EnableThinking,
    /// By `chat_template_kwargs: {"enable_thinking": …}`: servers that fill templates.
    ChatTemplateKwargs,
}

/// How no reasoning is said where the amount is a word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasoningOff {
    /// `none`.
    #[default]
    None,
    /// `minimal`, the least that the first models of GPT-5 know.
    Minimal,
    /// Not at all: the model always reasons.
    Unsaid,
}

/// Where a service is asked to put its reasoning, if the request says how much there shall be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasoningFormat {
    /// Nowhere in particular.
    #[default]
    Unsaid,
    /// Into a field of its own, `reasoning_format: "parsed"`: Groq.
    Parsed,
}

/// How a form of the answer is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputForm {
    /// By `response_format`, with the schema.
    #[default]
    JsonSchema,
    /// By `response_format` with the schema, and by a tool where the request has tools.
    JsonSchemaWithoutTools,
    /// By `response_format` that says "some JSON", and by the schema in the system prompt.
    JsonObject,
    /// By a tool that the model must call.
    Tool,
}

/// What stands between results of tools and a message of the user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterResults {
    /// Nothing.
    #[default]
    Nothing,
    /// A short assistant message, for servers that refuse a user after a tool.
    Bridge,
}

/// Whether results name their tool, as `name`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResultNames {
    /// No.
    #[default]
    Omitted,
    /// Yes, as some servers that fill templates want it.
    Sent,
}

/// How the model is told to continue an answer that is the last message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prefill {
    /// Not at all.
    #[default]
    Unsaid,
    /// By `prefix: true`: Mistral, which refuses the request otherwise and repeats the beginning.
    Prefix,
}

/// What is offered where the conversation has calls and the request has no tools.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolsForHistory {
    /// Nothing.
    #[default]
    Nothing,
    /// A tool that does nothing, because gateways to Anthropic want one then.
    Placeholder,
}

/// How a service is asked to keep the beginning of requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptCache {
    /// Not at all; many keep it unasked.
    #[default]
    Unasked,
    /// By `prompt_cache_key`, the session.
    Key,
    /// By the key, `prompt_cache_options` and breakpoints after the system prompt and the last two
    /// user messages: GPT-5.6.
    Breakpoints,
    /// By `cache_control` at the same places: Claude behind OpenRouter.
    CacheControl,
}

impl PromptCache {
    /// Returns the field that marks a text, with the comma before it.
    pub(super) fn mark(self) -> Option<&'static str> {
        match self {
            Self::Unasked | Self::Key => None,
            Self::Breakpoints => Some(",\"prompt_cache_breakpoint\":{\"mode\":\"explicit\"}"),
            Self::CacheControl => Some(",\"cache_control\":{\"type\":\"ephemeral\"}"),
        }
    }
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
