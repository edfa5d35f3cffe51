//! A typed function as a tool.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use phi_types::{
    EffectClass, InvalidArguments, RawJson, Tool, ToolContext, ToolKind, ToolResult, ToolSpec,
};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::schema::{InvalidTool, Schema, whole_numbers};

type Run<A> =
    Box<dyn Fn(A, ToolContext) -> Pin<Box<dyn Future<Output = ToolResult> + Send>> + Send + Sync>;
type Check<A> = Box<dyn Fn(&A) -> Result<(), String> + Send + Sync>;

/// What a function may return to become a tool.
pub trait IntoToolResult {
    /// Turns the value into what the model reads.
    fn into_tool_result(self) -> ToolResult;
}

impl IntoToolResult for ToolResult {
    fn into_tool_result(self) -> ToolResult {
        self
    }
}

impl IntoToolResult for String {
    fn into_tool_result(self) -> ToolResult {
        ToolResult::text(self)
    }
}

impl IntoToolResult for &str {
    fn into_tool_result(self) -> ToolResult {
        ToolResult::text(self)
    }
}

/// An error is a failed result of its text.
impl<T: IntoToolResult, E: fmt::Display> IntoToolResult for Result<T, E> {
    fn into_tool_result(self) -> ToolResult {
        match self {
            Ok(value) => value.into_tool_result(),
            Err(error) => ToolResult::error(error.to_string()),
        }
    }
}

/// A tool made of an async function and the type of its arguments.
///
/// The schema comes from the type, with its doc comments as descriptions. Put
/// `#[serde(deny_unknown_fields)]` on the type to refuse arguments that it does not have. Unless
/// told otherwise the tool is of kind [`ToolKind::Other`] and runs [`EffectClass::AtMostOnce`].
pub struct FunctionTool<A> {
    spec: ToolSpec,
    schema: Schema,
    check: Option<Check<A>>,
    run: Run<A>,
}

impl<A: DeserializeOwned + JsonSchema + Send + 'static> FunctionTool<A> {
    /// Makes a tool of a function.
    ///
    /// # Errors
    /// [`InvalidTool`] where the name is not one that providers accept, or `A` is not a struct
    /// with named fields.
    pub fn new<F, Fut>(name: &str, description: &str, function: F) -> Result<Self, InvalidTool>
    where
        F: Fn(A, ToolContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoToolResult> + Send + 'static,
    {
        let schema = Schema::of::<A>(name)?;
        Ok(Self {
            spec: ToolSpec {
                name: Arc::from(name),
                description: Arc::from(description),
                input_schema: schema.json().clone(),
                kind: ToolKind::Other,
                effect_class: EffectClass::AtMostOnce,
            },
            schema,
            check: None,
            run: Box::new(move |arguments, context| {
                let result = function(arguments, context);
                Box::pin(async move { result.await.into_tool_result() })
            }),
        })
    }

    /// Says what the tool does, for a user interface.
    #[must_use]
    pub fn with_kind(mut self, kind: ToolKind) -> Self {
        self.spec.kind = kind;
        self
    }

    /// Says what running it twice means.
    #[must_use]
    pub fn with_effect_class(mut self, effect_class: EffectClass) -> Self {
        self.spec.effect_class = effect_class;
        self
    }

    /// Adds a check of what a schema cannot say; its error is what would be right.
    #[must_use]
    pub fn with_check<E: fmt::Display>(
        mut self,
        check: impl Fn(&A) -> Result<(), E> + Send + Sync + 'static,
    ) -> Self {
        self.check = Some(Box::new(move |arguments| {
            check(arguments).map_err(|error| error.to_string())
        }));
        self
    }

    fn read(&self, arguments: &RawJson) -> Result<A, InvalidArguments> {
        let typed = arguments
            .read()
            .or_else(|error| read_whole_numbers(arguments).ok_or(error))
            .map_err(|error| self.schema.refuse(&error))?;
        if let Some(check) = &self.check {
            check(&typed).map_err(InvalidArguments)?;
        }
        Ok(typed)
    }
}

/// Reads arguments whose integers are written as `2.0`.
fn read_whole_numbers<A: DeserializeOwned>(arguments: &RawJson) -> Option<A> {
    let mut value = arguments.read().ok()?;
    whole_numbers(&mut value);
    serde_json::from_value(value).ok()
}

#[async_trait]
impl<A: DeserializeOwned + JsonSchema + Send + 'static> Tool for FunctionTool<A> {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn validate(&self, arguments: &RawJson) -> Result<(), InvalidArguments> {
        self.schema.check(arguments)?;
        self.read(arguments).map(drop)
    }

    async fn call(&self, arguments: RawJson, context: ToolContext) -> ToolResult {
        let typed = match self.read(&arguments) {
            Ok(typed) => typed,
            Err(error) => return ToolResult::error(error.to_string()),
        };
        (self.run)(typed, context).await
    }
}

impl<A> fmt::Debug for FunctionTool<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunctionTool")
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}
