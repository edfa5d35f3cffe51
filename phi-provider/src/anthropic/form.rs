//! Asks for an answer in a form.

use std::borrow::Cow;
use std::sync::Arc;

use phi_types::{
    EffectClass, Options, OutputSchema, RawJson, Request, ToolChoice, ToolKind, ToolSpec,
};

use crate::claude::version;
use crate::structured::{OUTPUT_TOOL, OUTPUT_TOOL_DESCRIPTION, SchemaRule, sanitise};

/// How an answer is asked for that shall have a form.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AnswerForm {
    /// As `output_config.format` for models of Claude from 4.1 on, by a forced tool for the others.
    #[default]
    ByModel,
    /// As `output_config.format`.
    Format,
    /// By a tool that the model must call; its call becomes the text of the answer. It excludes
    /// thinking.
    Tool,
}

/// What asks for the form.
pub(super) enum Form {
    /// The schema of `output_config.format`.
    Native(RawJson),
    /// One more tool, which must be called.
    Tool(ToolSpec),
}

impl AnswerForm {
    /// Returns the options that go with the form that a request asks for, and what asks for it.
    pub(super) fn apply<'r>(
        self,
        options: &'r Options,
        request: &Request,
    ) -> (Cow<'r, Options>, Option<Form>) {
        let Some(output) = &options.output else {
            return (Cow::Borrowed(options), None);
        };
        let is_native = match self {
            Self::ByModel => version(&request.model).is_some_and(|version| version >= (4, 1)),
            Self::Format => true,
            Self::Tool => false,
        };
        if is_native {
            let schema = sanitise(&output.schema, &SchemaRule::CLOSED).schema;
            return (Cow::Borrowed(options), Some(Form::Native(schema)));
        }
        let tool_choice = Some(if request.tools.is_empty() {
            ToolChoice::Tool(OUTPUT_TOOL.to_owned())
        } else {
            ToolChoice::Required
        });
        let options = Options {
            tool_choice,
            ..options.clone()
        };
        (Cow::Owned(options), Some(Form::Tool(tool(output))))
    }
}

fn tool(output: &OutputSchema) -> ToolSpec {
    ToolSpec {
        name: Arc::from(OUTPUT_TOOL),
        description: Arc::from(OUTPUT_TOOL_DESCRIPTION),
        input_schema: output.schema.clone(),
        kind: ToolKind::Other,
        effect_class: EffectClass::Pure,
    }
}
