//! The tools `prune_context` and `revert_context`: a model changes what it reads.

use phi_types::{
    ContextChange, EffectClass, InvalidTag, Prune, Revert, RevertCategory, Tag, ToolKind,
    ToolResult,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::function::FunctionTool;
use crate::schema::InvalidTool;
use crate::workspace::Workspace;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PruneArguments {
    /// The tags of the results, as n12, or n12.1 for one of several in n12.
    #[schemars(length(min = 1, max = 1000))]
    tags: Vec<String>,
    /// What you still need to know of them. You will read it in their place.
    memo: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevertArguments {
    /// The tag of the newest entry that stays, as n12.
    tag: String,
    /// Why what follows goes.
    category: Category,
    /// Why, in a few words, where the category is other.
    reason: Option<String>,
    /// What you learnt since then and still need. You will read it in the place of what goes.
    #[schemars(length(min = 1))]
    summary: String,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum Category {
    DeadEnd,
    Superseded,
    Done,
    Other,
}

pub(crate) fn prune(_workspace: &Workspace) -> Result<FunctionTool<PruneArguments>, InvalidTool> {
    let description = "Takes tool results that you no longer need out of what you read, for good; \
        your calls stay. Results and messages begin with their tags, as [n12]. Say in the memo \
        what you still need of them.";
    let tool = FunctionTool::new(
        "prune_context",
        description,
        |arguments: PruneArguments, _| async move { pruned(arguments) },
    )?;
    Ok(tool
        .with_kind(ToolKind::Think)
        .with_effect_class(EffectClass::Pure)
        .with_check(|arguments: &PruneArguments| tags(arguments).map(drop)))
}

pub(crate) fn revert(_workspace: &Workspace) -> Result<FunctionTool<RevertArguments>, InvalidTool> {
    let description = "Takes everything after an entry out of what you read, for good: a dead end, \
        or work that is done. Your summary stands in its place, so put into it what you still \
        need. Messages of the user stay: name the newest of them or an entry after it. Results \
        and messages begin with their tags, as [n12]. Nothing else is undone: files stay as they \
        are.";
    let tool = FunctionTool::new(
        "revert_context",
        description,
        |arguments: RevertArguments, _| async move { reverted(arguments) },
    )?;
    Ok(tool
        .with_kind(ToolKind::Think)
        .with_effect_class(EffectClass::Pure)
        .with_check(|arguments: &RevertArguments| arguments.tag.parse::<Tag>().map(drop)))
}

fn tags(arguments: &PruneArguments) -> Result<Vec<Tag>, InvalidTag> {
    arguments.tags.iter().map(|tag| tag.parse()).collect()
}

fn pruned(arguments: PruneArguments) -> Result<ToolResult, InvalidTag> {
    let tags = tags(&arguments)?;
    let text = "You will not read these results again.";
    let memo = arguments.memo.filter(|memo| !memo.trim().is_empty());
    Ok(ToolResult::text(text).with_change(ContextChange::Prune(Prune { tags, memo })))
}

fn reverted(arguments: RevertArguments) -> Result<ToolResult, InvalidTag> {
    let to: Tag = arguments.tag.parse()?;
    let reason = arguments.reason.filter(|reason| !reason.trim().is_empty());
    let category = match arguments.category {
        Category::DeadEnd => RevertCategory::DeadEnd,
        Category::Superseded => RevertCategory::Superseded,
        Category::Done => RevertCategory::Done,
        Category::Other => RevertCategory::Other(reason.unwrap_or_else(|| "other".to_owned())),
    };
    let text = format!("You will not read again what followed {to}, but your summary of it.");
    Ok(
        ToolResult::text(text).with_change(ContextChange::Revert(Revert {
            to,
            category,
            summary: arguments.summary,
        })),
    )
}
