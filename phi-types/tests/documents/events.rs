//! `docs/events.md`: the kinds of events and of live increments with their fields, as they are in the
//! code.

use std::collections::BTreeMap;
use std::fs;

use crate::sources::{body, code, root, rows};

/// Kinds with the names of their fields; one that may be left out of a line ends in `?`.
type Kinds = BTreeMap<String, Vec<String>>;

fn source(file: &str) -> String {
    fs::read_to_string(root().join("phi-types/src").join(file)).unwrap()
}

/// All sources of the crate, joined.
fn sources() -> String {
    let mut text = String::new();
    for entry in fs::read_dir(root().join("phi-types/src")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
    text
}

/// The fields of a struct, or of all variants of an enum with its tag.
fn fields(text: &str, name: &str) -> Vec<String> {
    if let Some(body) = body(text, &format!("pub struct {name} {{")) {
        return named(&body, "    pub ");
    }
    if text.contains(&format!("pub struct {name} {{}}")) {
        return Vec::new();
    }
    let head = format!("pub enum {name} {{");
    let body = body(text, &head).unwrap_or_else(|| panic!("there is no type {name}"));
    let (before, _) = text.split_once(&head).unwrap();
    let tag = before.rsplit_once("#[serde(tag = \"").unwrap().1;
    let mut fields = vec![tag.split('"').next().unwrap().to_owned()];
    fields.extend(named(&body, "        "));
    fields
}

/// The names before the colons of lines with this indentation.
fn named(body: &[String], indentation: &str) -> Vec<String> {
    let (mut fields, mut optional) = (Vec::new(), false);
    for line in body {
        optional |= line.contains("#[serde(default");
        let field = line
            .strip_prefix(indentation)
            .and_then(|it| it.split_once(": "));
        let is_name = |name: &str| name.chars().all(|it| it.is_ascii_lowercase() || it == '_');
        if let Some((name, _)) = field.filter(|(name, _)| is_name(name)) {
            fields.push(if optional {
                format!("{name}?")
            } else {
                name.to_owned()
            });
            optional = false;
        }
    }
    fields
}

/// The kinds of a tagged enum, by the list that reads them.
fn kinds(file: &str, name: &str) -> Kinds {
    let (text, all) = (source(file), sources());
    let list = body(&text, &format!("deserialize_tagged!({name}, \"type\" {{"));
    let list = list.or_else(|| listed(&text, name)).unwrap();
    let variants = body(&text, &format!("pub enum {name} {{")).unwrap();
    let kinds = list.iter().filter_map(|line| {
        let (kind, variant) = line.trim().trim_end_matches(',').split_once(" => ")?;
        let held = variants.iter().find_map(|line| {
            let held = line.trim().strip_prefix(variant)?.strip_prefix('(')?;
            Some(held.trim_end_matches("),").to_owned())
        });
        let held = held.unwrap_or_else(|| panic!("{variant} is no variant of {name}"));
        let held = held.trim_start_matches("Arc<").trim_start_matches("Box<");
        let fields = fields(&all, held.trim_end_matches('>'));
        Some((kind.trim_matches('"').to_owned(), fields))
    });
    kinds.collect()
}

/// The list of an enum that keeps unknown kinds ends in another line.
fn listed(text: &str, name: &str) -> Option<Vec<String>> {
    let (_, rest) = text.split_once(&format!("deserialize_tagged!({name}, \"type\" {{"))?;
    let (list, _) = rest.split_once('}')?;
    Some(list.lines().map(str::to_owned).collect())
}

/// The rows whose first cell is one of these, or none of them.
fn documented() -> Kinds {
    let rows = rows("docs/events.md", 4).into_iter().map(|row| {
        let fields = code(&row[2]).into_iter().map(str::to_owned).collect();
        (code(&row[0])[0].to_owned(), fields)
    });
    let rows: Vec<(String, Vec<String>)> = rows.collect();
    let kinds: Kinds = rows.iter().cloned().collect();
    assert_eq!(kinds.len(), rows.len(), "a kind is listed twice");
    kinds
}

#[test]
fn the_table_has_every_kind_and_every_field_and_no_other() {
    let mut expected = kinds("event.rs", "EventKind");
    let increments = kinds("delta.rs", "Delta");
    assert!(expected.len() >= 25 && increments.len() >= 10);
    assert_eq!(expected["turn_started"], ["index", "trigger"]);
    assert_eq!(expected["message"], ["message", "turn", "queued?"]);
    expected.extend(increments);
    let progress = fields(&sources(), "ToolProgress");
    expected.insert("tool_progress".to_owned(), progress);
    let documented = documented();
    for (kind, fields) in &expected {
        let row = documented.get(kind);
        assert_eq!(row, Some(fields), "docs/events.md: the row of `{kind}`");
    }
    let extra: Vec<&String> = documented
        .keys()
        .filter(|it| !expected.contains_key(*it))
        .collect();
    assert!(extra.is_empty(), "docs/events.md: no such kind: {extra:?}");
}
