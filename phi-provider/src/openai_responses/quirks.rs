//! How services differ in what they accept, as data.

/// What a service accepts where services differ. The default is OpenAI itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quirks {
    // Wide: a field for each difference between services.
    /// Where the system prompt stands.
    pub system_prompt: SystemPrompt,
    /// Whether the service shall keep the response.
    pub storage: Storage,
    /// Whether reasoning is asked for in the form that goes back.
    pub encrypted_reasoning: EncryptedReasoning,
    /// What becomes of reasoning of the same model that is not encrypted.
    pub plain_reasoning: PlainReasoning,
    /// Whether a summary of the reasoning is asked for.
    pub summaries: Summaries,
    /// Whether the session names what its requests share in the cache.
    pub cache_key: CacheKey,
    /// Whether the output limit is said.
    pub output_limit: OutputLimit,
    /// How a form of the answer is asked for beside tools.
    pub structured_output: StructuredOutput,
    /// Whether calls state a status.
    pub call_status: CallStatus,
    /// Where the calls of an answer stand.
    pub call_order: CallOrder,
    /// Where the images of tool results go.
    pub tool_images: ToolImages,
    /// In which header a key travels.
    pub key_place: KeyPlace,
}

impl Quirks {
    /// Returns what most services accept that follow OpenAI without being OpenAI: they reason in the
    /// open, and know nothing of encrypted reasoning, summaries and cache keys.
    #[must_use]
    pub fn compatible() -> Self {
        Self {
            encrypted_reasoning: EncryptedReasoning::NotAsked,
            plain_reasoning: PlainReasoning::Sent,
            summaries: Summaries::NotAsked,
            cache_key: CacheKey::Unsaid,
            tool_images: ToolImages::AfterResults,
            ..Self::default()
        }
    }

    /// Returns what xAI accepts: no `instructions`, and no form of the answer beside tools.
    #[must_use]
    pub fn xai() -> Self {
        Self {
            system_prompt: SystemPrompt::System,
            encrypted_reasoning: EncryptedReasoning::Asked,
            plain_reasoning: PlainReasoning::Sent,
            summaries: Summaries::NotAsked,
            cache_key: CacheKey::Unsaid,
            structured_output: StructuredOutput::ToolBesideTools,
            ..Self::default()
        }
    }

    /// Returns what vLLM accepts: calls have a status, though it may be `null`.
    #[must_use]
    pub fn vllm() -> Self {
        Self {
            call_status: CallStatus::Null,
            ..Self::compatible()
        }
    }

    /// Returns what DeepSeek accepts: nothing stands between two calls.
    #[must_use]
    pub fn deepseek() -> Self {
        Self {
            call_order: CallOrder::Adjacent,
            ..Self::compatible()
        }
    }

    /// Returns what the back end of ChatGPT and Codex accepts: no output limit.
    #[must_use]
    pub fn chatgpt() -> Self {
        Self {
            output_limit: OutputLimit::Unsaid,
            ..Self::default()
        }
    }
}

/// Where the system prompt stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SystemPrompt {
    /// In `instructions`, which counts for one request alone.
    #[default]
    Instructions,
    /// In the input, as a message of role `system`.
    System,
    /// In the input, as a message of role `developer`.
    Developer,
}

/// Whether the service shall keep the response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Storage {
    /// `store: false`: the request holds all that the model needs.
    #[default]
    Stateless,
    /// No field: some services reject it.
    Unsaid,
    /// `store: true`. Reasoning then goes back by its id where it is not encrypted.
    Stored,
}

/// Whether reasoning is asked for in the form that goes back, as `reasoning.encrypted_content`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EncryptedReasoning {
    /// Unless the name is one of a model that is known not to reason: those reject it.
    #[default]
    ByModel,
    /// Always.
    Asked,
    /// Never.
    NotAsked,
}

/// What becomes of reasoning of the same model that is not encrypted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PlainReasoning {
    /// It is left out: OpenAI does not find its id, since it kept nothing.
    #[default]
    Dropped,
    /// It goes back as it came.
    Sent,
}

/// Whether a summary of the reasoning is asked for where the options ask for thinking.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Summaries {
    /// `reasoning.summary: "auto"`: OpenAI shows no reasoning otherwise.
    #[default]
    Auto,
    /// Not asked.
    NotAsked,
}

/// Whether the session names what its requests share in the cache, as `prompt_cache_key`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CacheKey {
    /// It does: requests with one key reach the machine that has their beginning in its cache.
    #[default]
    Session,
    /// Not said.
    Unsaid,
}

/// Whether the output limit is said, as `max_output_tokens`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OutputLimit {
    /// Said.
    #[default]
    Said,
    /// Not said: the service rejects it.
    Unsaid,
}

/// How a form of the answer is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StructuredOutput {
    /// As `text.format`.
    #[default]
    Native,
    /// As `text.format`, and beside tools as one more tool that stands for the answer.
    ToolBesideTools,
}

/// Whether calls that go back state a status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CallStatus {
    /// No field.
    #[default]
    Omitted,
    /// `status: null`: some versions of vLLM want the field.
    Null,
}

/// Where the calls of an answer stand when it goes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CallOrder {
    /// Where the model made them.
    #[default]
    AsMade,
    /// One after the other behind everything else of the answer: DeepSeek takes what stands between
    /// them for the end of a message, and misses their results.
    Adjacent,
}

/// Where the images of tool results go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ToolImages {
    /// In the result.
    #[default]
    InResult,
    /// In a user message after the results.
    AfterResults,
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
