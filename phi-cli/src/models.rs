//! `phi models`: what is known of models.

use phi::provider::models::{Model, Models};

use crate::arguments::ModelsArguments;
use crate::failure::{Exit, Failure, print};

/// Prints what is known of models.
pub(crate) fn models(arguments: &ModelsArguments) -> Result<Exit, Failure> {
    let mut models = Models::builtin();
    for file in &arguments.files {
        let overridden = models.overridden_by_file(file);
        models = overridden.map_err(|error| {
            Failure::refused(format!("cannot use `{}`: {error}", file.display()))
        })?;
    }
    let text = if arguments.json {
        lines(&models)?
    } else {
        table(&models)
    };
    print(&text)?;
    Ok(Exit::Completed)
}

fn lines(models: &Models) -> Result<String, Failure> {
    let mut text = String::new();
    for model in models.iter() {
        let line = serde_json::to_string(model).map_err(|error| Failure::unwritable(&error))?;
        text.push_str(&line);
        text.push('\n');
    }
    Ok(text)
}

/// The heads of the columns; all but the first and the last hold numbers.
const HEADS: [&str; 8] = [
    "MODEL",
    "WINDOW",
    "OUTPUT",
    "$ IN",
    "$ OUT",
    "$ READ",
    "$ WRITE",
    "ABILITIES",
];

fn table(models: &Models) -> String {
    let mut rows = vec![HEADS.map(str::to_owned)];
    rows.extend(models.iter().map(row));
    let mut widths = [0; HEADS.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (at, (cell, width)) in row.iter().zip(widths).enumerate() {
            match at {
                0 => line.push_str(&format!("{cell:width$}")),
                _ if at + 1 == HEADS.len() => line.push_str(&format!("  {cell}")),
                _ => line.push_str(&format!("  {cell:>width$}")),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn row(model: &Model) -> [String; HEADS.len()] {
    let tokens = |tokens: Option<u64>| tokens.map_or("-".to_owned(), |it| it.to_string());
    let usd = |usd: Option<f64>| usd.map_or("-".to_owned(), |it| it.to_string());
    let price = model.price;
    [
        format!("{}:{}", model.provider, model.model),
        tokens(model.window_tokens),
        tokens(model.output_tokens_max),
        usd(price.map(|it| it.input_usd)),
        usd(price.map(|it| it.output_usd)),
        usd(price.map(|it| it.cache_read_usd)),
        usd(price.map(|it| it.cache_write_usd)),
        abilities(model),
    ]
}

fn abilities(model: &Model) -> String {
    let abilities = model.abilities;
    let flags = [
        (abilities.images, "images"),
        (abilities.tools, "tools"),
        (abilities.structured_output, "structured output"),
        (abilities.temperature, "temperature"),
    ];
    let has = |(flag, name): (Option<bool>, &str)| (flag == Some(true)).then(|| name.to_owned());
    let mut words: Vec<String> = flags.into_iter().filter_map(has).collect();
    if let Some(kind) = abilities
        .thinking
        .map(|kind| kind.as_str())
        .filter(|it| *it != "none")
    {
        words.push(format!("thinking by {kind}"));
    }
    words.join(", ")
}
