//! Reads files of models.

use std::collections::BTreeMap;

use phi_types::Price;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Abilities, Model, ThinkingKind};

/// The version of the form of a file.
const VERSION: u32 = 1;

/// Says what is wrong with a file of models.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelsError {
    /// The file cannot be read.
    #[error("cannot read `{path}`: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system says.
        reason: String,
    },
    /// The file as a whole is not what it should be.
    #[error("line {line}: {reason}")]
    File {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// What the file says of one model is not what it should be.
    #[error("line {line}, {model}: {reason}")]
    Model {
        /// The line, from 1.
        line: usize,
        /// The model as `provider:model` in backticks, or its number.
        model: String,
        /// What is wrong, with the field.
        reason: String,
    },
    /// The form of the file is of a version that is not known.
    #[error("the file has version {found}: only version 1 is known")]
    Version {
        /// The version.
        found: u32,
    },
}

/// A file, as far as it is right.
pub(super) struct File {
    pub(super) families: BTreeMap<String, Vec<String>>,
    pub(super) models: Vec<(Place, Stated)>,
}

/// Where a file says something of a model.
pub(super) struct Place {
    line: usize,
    model: String,
}

impl Place {
    pub(super) fn wrong(self, reason: String) -> ModelsError {
        ModelsError::Model {
            line: self.line,
            model: self.model,
            reason,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw<'a> {
    #[serde(default)]
    version: Option<u32>,
    /// Where the facts come from, for people.
    #[serde(default, rename = "about")]
    _about: Option<String>,
    #[serde(default)]
    families: BTreeMap<String, Vec<String>>,
    #[serde(default, borrow)]
    models: Vec<&'a RawValue>,
}

/// What a file says of one model.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stated {
    pub(super) provider: String,
    pub(super) model: String,
    #[serde(default)]
    aliases: Option<Vec<String>>,
    #[serde(default)]
    window_tokens: Option<u64>,
    #[serde(default)]
    output_tokens_max: Option<u64>,
    #[serde(default)]
    price: Option<StatedPrice>,
    #[serde(default)]
    abilities: Option<StatedAbilities>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StatedPrice {
    #[serde(default)]
    input_usd: Option<f64>,
    #[serde(default)]
    output_usd: Option<f64>,
    #[serde(default)]
    cache_read_usd: Option<f64>,
    #[serde(default)]
    cache_write_usd: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StatedAbilities {
    #[serde(default)]
    images: Option<bool>,
    #[serde(default)]
    tools: Option<bool>,
    #[serde(default)]
    thinking: Option<ThinkingKind>,
    #[serde(default)]
    structured_output: Option<bool>,
    #[serde(default)]
    temperature: Option<bool>,
}

/// Reads a file. Every field that is not known is an error.
pub(super) fn read(json: &str) -> Result<File, ModelsError> {
    let raw: Raw<'_> = serde_json::from_str(json).map_err(|error| ModelsError::File {
        line: error.line(),
        reason: reason(&error),
    })?;
    if let Some(found) = raw.version.filter(|version| *version != VERSION) {
        return Err(ModelsError::Version { found });
    }
    let mut models = Vec::with_capacity(raw.models.len());
    for (number, raw) in raw.models.into_iter().enumerate() {
        let offset = (raw.get().as_ptr() as usize).saturating_sub(json.as_ptr() as usize);
        let before = json.get(..offset).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let stated = serde_json::from_str::<Stated>(raw.get());
        let place = |line| Place {
            line,
            model: name_of(raw, number),
        };
        match stated {
            Ok(stated) => models.push((place(line), stated)),
            Err(error) => {
                let line = line + error.line().saturating_sub(1);
                return Err(place(line).wrong(reason(&error)));
            }
        }
    }
    Ok(File {
        families: raw.families,
        models,
    })
}

/// Returns the text of an error without its line, which is stated apart.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}

fn name_of(raw: &RawValue, number: usize) -> String {
    #[derive(Deserialize)]
    struct Name {
        provider: String,
        model: String,
    }
    match serde_json::from_str::<Name>(raw.get()) {
        Ok(Name { provider, model }) => format!("`{provider}:{model}`"),
        Err(_) => format!("model {}", number + 1),
    }
}

/// Makes a model that is new, like one that it is a version of.
pub(super) fn new_model(stated: &Stated, like: Option<&Model>) -> Model {
    Model {
        provider: stated.provider.clone(),
        model: stated.model.clone(),
        aliases: Vec::new(),
        window_tokens: like.and_then(|like| like.window_tokens),
        output_tokens_max: like.and_then(|like| like.output_tokens_max),
        price: like.and_then(|like| like.price),
        abilities: like.map_or(Abilities::default(), |like| like.abilities),
    }
}

/// Takes over what is stated of a model.
pub(super) fn merge(model: &mut Model, stated: Stated) -> Result<(), String> {
    if let Some(aliases) = stated.aliases {
        model.aliases = aliases;
    }
    model.window_tokens = stated.window_tokens.or(model.window_tokens);
    model.output_tokens_max = stated.output_tokens_max.or(model.output_tokens_max);
    if let Some(price) = stated.price {
        model.price = Some(merged(model.price, &price)?);
    }
    if let Some(stated) = stated.abilities {
        let known = model.abilities;
        model.abilities = Abilities {
            images: stated.images.or(known.images),
            tools: stated.tools.or(known.tools),
            thinking: stated.thinking.or(known.thinking),
            structured_output: stated.structured_output.or(known.structured_output),
            temperature: stated.temperature.or(known.temperature),
        };
    }
    Ok(())
}

/// Where nothing is said of the cache, reading and writing it costs what input costs.
fn merged(known: Option<Price>, stated: &StatedPrice) -> Result<Price, String> {
    let all = [
        stated.input_usd,
        stated.output_usd,
        stated.cache_read_usd,
        stated.cache_write_usd,
    ];
    if all
        .iter()
        .flatten()
        .any(|usd| !usd.is_finite() || *usd < 0.0)
    {
        return Err("a price is a number of US dollars that is not negative".to_owned());
    }
    let missing = |field: &str| format!("its price lacks `{field}`");
    let input_usd = stated.input_usd.or(known.map(|it| it.input_usd));
    let input_usd = input_usd.ok_or_else(|| missing("input_usd"))?;
    let output_usd = stated.output_usd.or(known.map(|it| it.output_usd));
    let cache_read_usd = stated.cache_read_usd.or(known.map(|it| it.cache_read_usd));
    let cache_write_usd = stated
        .cache_write_usd
        .or(known.map(|it| it.cache_write_usd));
    Ok(Price {
        input_usd,
        output_usd: output_usd.ok_or_else(|| missing("output_usd"))?,
        cache_read_usd: cache_read_usd.unwrap_or(input_usd),
        cache_write_usd: cache_write_usd.unwrap_or(input_usd),
    })
}
