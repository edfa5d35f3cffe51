//! Makes of any JSON Schema one that a service takes.

use phi_types::RawJson;
use serde_json::Value;

use super::node::{Fields, Node};
use super::nulls::{make_nullable, write_nullable};
use super::rule::{Nulls, Objects, References, SchemaRule};

/// The most schemas within a schema: what would be more becomes a schema for anything.
const SCHEMAS_MAX: usize = 10_000;
/// The most levels of schemas within schemas.
const LEVELS_MAX: usize = 60;
/// How often a definition may stand within itself.
const RECURSION_MAX: usize = 3;
/// The longest value of a keyword that is told in a description, in bytes.
const TOLD_BYTES_MAX: usize = 200;

/// Keywords that bound a value. Where they go, the description tells them.
const BOUNDS: &[&str] = &[
    "const",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "pattern",
    "uniqueItems",
];

/// A schema as a service takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sanitised {
    /// The schema.
    pub schema: RawJson,
    /// Whether every object of it is what the rule wants: it is not if the schema leaves open which
    /// properties an object has, or what a value is. A service with a flag for strictness is told
    /// this.
    pub is_strict: bool,
}

/// Makes of a JSON Schema one that a service takes.
///
/// The fields keep their order. What cannot be said goes, so that the answer may break the schema
/// that was given: check it, as `read_output` does. A schema that contains itself ends. What is no
/// object stays as it is.
///
/// ```
/// use phi_provider::structured::{SchemaRule, sanitise};
/// use phi_types::RawJson;
///
/// let schema = RawJson::parse(r#"{"type":"object","properties":{"age":{"type":"integer"}}}"#)?;
/// let sanitised = sanitise(&schema, &SchemaRule::STRICT);
/// assert_eq!(
///     sanitised.schema.as_str(),
///     r#"{"type":"object","properties":{"age":{"type":["integer","null"]}},"required":["age"],"additionalProperties":false}"#
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
#[must_use]
pub fn sanitise(schema: &RawJson, rule: &SchemaRule) -> Sanitised {
    let unchanged = |is_strict| Sanitised {
        schema: schema.clone(),
        is_strict,
    };
    if *rule == SchemaRule::ANY {
        return unchanged(true);
    }
    let Ok(root @ Node::Object(_)) = serde_json::from_str::<Node>(schema.as_str()) else {
        return unchanged(false);
    };
    let mut sanitiser = Sanitiser {
        root: &root,
        rule,
        inside: Vec::new(),
        levels: 0,
        left: SCHEMAS_MAX,
        is_strict: true,
    };
    let node = sanitiser.schema(&root);
    let is_strict = sanitiser.is_strict;
    match RawJson::from_value(&node) {
        Ok(schema) => Sanitised { schema, is_strict },
        Err(_) => unchanged(false),
    }
}

struct Sanitiser<'a> {
    root: &'a Node,
    rule: &'a SchemaRule,
    /// The references that what is written stands in.
    inside: Vec<String>,
    levels: usize,
    left: usize,
    is_strict: bool,
}

impl Sanitiser<'_> {
    fn schema(&mut self, node: &Node) -> Node {
        let Node::Object(fields) = node else {
            self.is_strict &= matches!(node, Node::Leaf(Value::Bool(false)));
            return match node {
                Node::Leaf(Value::Bool(true)) => Node::Object(Fields::default()),
                other => other.clone(),
            };
        };
        if self.levels == LEVELS_MAX || self.left == 0 {
            self.is_strict = false;
            return stub(fields);
        }
        self.left -= 1;
        self.levels += 1;
        let inside = self.inside.len();
        let mut fields = fields.clone();
        self.resolve(&mut fields);
        self.compose(&mut fields);
        let mut fields = self.keep(fields);
        self.state_type(&mut fields);
        if self.rule.nulls == Nulls::Nullable {
            write_nullable(&mut fields);
        }
        self.shape(&mut fields);
        self.inside.truncate(inside);
        self.levels -= 1;
        Node::Object(fields)
    }

    /// Replaces a reference by what it names, where it does not stay.
    fn resolve(&mut self, fields: &mut Fields) {
        // A definition that is nothing but a reference may name another one.
        for _ in 0..LEVELS_MAX {
            let Some(name) = fields.get("$ref").and_then(Node::as_str) else {
                return;
            };
            let keeps = self.rule.references == References::Kept;
            let stays = |name: &str| name != "$ref" && self.rule.keywords.keeps(name);
            if keeps && !fields.0.iter().any(|(given, _)| stays(given)) {
                return;
            }
            let name = name.to_owned();
            let target = self.target(&name).and_then(Node::as_object);
            let times = self.inside.iter().filter(|it| **it == name).count();
            match target {
                Some(target) if times < RECURSION_MAX => {
                    let target = target.clone();
                    fields.remove("$ref");
                    merge(fields, target);
                    self.inside.push(name);
                }
                _ if keeps => return fields.0.retain(|(given, _)| given == "$ref"),
                target => {
                    let stub = target.map(stub);
                    fields.remove("$ref");
                    if let Some(Node::Object(stub)) = stub {
                        merge(fields, stub);
                    }
                    self.is_strict = false;
                    return;
                }
            }
        }
    }

    fn target(&self, reference: &str) -> Option<&Node> {
        let pointer = percent_decoded(reference.strip_prefix('#')?);
        self.root.pointer(&pointer)
    }

    /// Turns compositions into near relatives that the service knows.
    fn compose(&mut self, fields: &mut Fields) {
        let keeps = |name| self.rule.keywords.keeps(name);
        let (all_of, any_of) = (keeps("allOf"), keeps("anyOf"));
        let (one_of, constant) = (keeps("oneOf"), keeps("const"));
        let (listed, tuples) = (keeps("enum"), keeps("prefixItems"));
        for _ in 0..LEVELS_MAX {
            if all_of {
                break;
            }
            let Some(Node::Array(parts)) = fields.remove("allOf") else {
                break;
            };
            for part in parts {
                if let Node::Object(mut part) = part {
                    self.resolve_wholly(&mut part);
                    merge(fields, part);
                }
            }
        }
        if !one_of && any_of && !fields.has("anyOf") {
            for (name, _) in &mut fields.0 {
                if name == "oneOf" {
                    "anyOf".clone_into(name);
                }
            }
        }
        if !constant && listed && !fields.has("enum") {
            for (name, value) in &mut fields.0 {
                if name == "const" {
                    "enum".clone_into(name);
                    *value = Node::Array(vec![value.clone()]);
                }
            }
        }
        if !tuples && let Some(Node::Array(places)) = fields.remove("prefixItems") {
            let mut kinds: Vec<Node> = Vec::new();
            for place in places {
                if !kinds.contains(&place) {
                    kinds.push(place);
                }
            }
            let items = match (kinds.len(), kinds.pop()) {
                (1, Some(only)) => only,
                (_, last) => {
                    kinds.extend(last);
                    Node::Object(Fields(vec![("anyOf".to_owned(), Node::Array(kinds))]))
                }
            };
            fields.set("items", items);
        }
    }

    /// Replaces a reference also where references stay: its target joins another schema.
    fn resolve_wholly(&mut self, fields: &mut Fields) {
        if self.rule.references == References::Kept && fields.has("$ref") {
            // Beside another keyword it does not stay.
            fields.set(
                "description",
                fields
                    .get("description")
                    .cloned()
                    .unwrap_or(Node::string("")),
            );
            self.resolve(fields);
            if fields.get("description").and_then(Node::as_str) == Some("") {
                fields.remove("description");
            }
        } else {
            self.resolve(fields);
        }
    }

    /// Keeps the keywords that stay, and tells of the bounds that go.
    fn keep(&mut self, fields: Fields) -> Fields {
        let mut kept = Fields::default();
        let mut told = String::new();
        for (name, value) in fields.0 {
            let is_listed = match &value {
                Node::Array(values) => values
                    .iter()
                    .all(|it| it.as_str().is_some() || it.is_null()),
                Node::Object(_) | Node::Leaf(_) => false,
            };
            let stays = self.rule.keywords.keeps(&name)
                && match (&*name, value.as_str()) {
                    ("format", Some(format)) => self.rule.formats.keeps(format),
                    // OpenAPI of Gemini lists texts alone.
                    ("enum", _) => self.rule.nulls == Nulls::Typed || is_listed,
                    _ => true,
                };
            if stays {
                let value = self.keyword(&name, value);
                kept.set(&name, value);
            } else if BOUNDS.contains(&&*name)
                && let Ok(value) = serde_json::to_string(&value)
                && value.len() <= TOLD_BYTES_MAX
            {
                let separator = if told.is_empty() { "" } else { ", " };
                told.push_str(&format!("{separator}{name}: {}", value.trim_matches('"')));
            }
        }
        if !told.is_empty() && self.rule.keywords.keeps("description") {
            let text = match kept.get("description").and_then(Node::as_str) {
                Some(text) if !text.is_empty() => format!("{text} ({told})"),
                _ => told,
            };
            kept.set("description", Node::string(text));
        }
        kept
    }

    /// Goes into the schemas that a keyword holds.
    fn keyword(&mut self, name: &str, value: Node) -> Node {
        match (name, value) {
            (
                "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas",
                Node::Object(fields),
            ) => {
                let fields = fields.0.into_iter();
                let fields = fields.map(|(name, schema)| (name, self.schema(&schema)));
                Node::Object(Fields(fields.collect()))
            }
            ("anyOf" | "oneOf" | "allOf" | "prefixItems" | "items", Node::Array(schemas)) => {
                Node::Array(schemas.iter().map(|schema| self.schema(schema)).collect())
            }
            (
                "items"
                | "additionalProperties"
                | "contains"
                | "not"
                | "if"
                | "then"
                | "else"
                | "propertyNames"
                | "unevaluatedItems"
                | "unevaluatedProperties",
                schema @ Node::Object(_),
            ) => self.schema(&schema),
            ("items", schema @ Node::Leaf(Value::Bool(true))) => self.schema(&schema),
            (_, value) => value,
        }
    }

    /// States the type that other keywords imply, which some services insist on.
    fn state_type(&self, fields: &mut Fields) {
        if fields.has("type") || !self.rule.keywords.keeps("type") {
            return;
        }
        let is_text = |node: &Node| node.as_str().is_some();
        let listed = fields.get("enum").and_then(Node::as_array);
        let of_texts = listed.is_some_and(|values| values.iter().all(is_text))
            || fields.get("const").is_some_and(is_text);
        let implied = if fields.has("properties") {
            "object"
        } else if of_texts {
            "string"
        } else {
            return;
        };
        fields
            .0
            .insert(0, ("type".to_owned(), Node::string(implied)));
    }

    /// Closes an object and makes what is optional nullable, as the rule says.
    fn shape(&mut self, fields: &mut Fields) {
        if self.rule.objects == Objects::AsGiven {
            return;
        }
        let says_what = ["type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"];
        self.is_strict &= says_what.iter().any(|name| fields.has(name));
        if !has_type(fields, "object") {
            return;
        }
        let names: Vec<String> = match fields.get("properties") {
            Some(Node::Object(properties)) => {
                properties.0.iter().map(|(name, _)| name.clone()).collect()
            }
            _ => Vec::new(),
        };
        let is_shut = Some(&Node::Leaf(Value::Bool(false)));
        let open = match fields.get("additionalProperties") {
            None => !fields.has("properties"),
            given => given != is_shut,
        };
        if open {
            self.is_strict = false;
            return;
        }
        if self.rule.objects == Objects::Strict {
            let required = fields.remove("required");
            let required = required.as_ref().and_then(Node::as_array);
            let required = required.unwrap_or_default();
            if let Some((_, Node::Object(properties))) =
                fields.0.iter_mut().find(|(name, _)| name == "properties")
            {
                for (name, property) in &mut properties.0 {
                    if !required.iter().any(|it| it.as_str() == Some(name)) {
                        make_nullable(property, self.rule.nulls);
                    }
                }
            }
            let names = names.into_iter().map(Node::string).collect();
            fields.set("required", Node::Array(names));
        }
        fields.set("additionalProperties", Node::Leaf(Value::Bool(false)));
    }
}

/// What is left of a schema where no more of it fits.
fn stub(fields: &Fields) -> Node {
    let stays = |(name, value): &&(String, Node)| {
        name == "description" || (name == "type" && value.as_str().is_some())
    };
    Node::Object(Fields(fields.0.iter().filter(stays).cloned().collect()))
}

/// Adds the keywords of another schema that must hold too; where both state one, the first counts.
pub(super) fn merge(into: &mut Fields, from: Fields) {
    for (name, value) in from.0 {
        let mine = into.0.iter_mut().find(|(given, _)| *given == name);
        match (&*name, mine.map(|(_, value)| value), value) {
            (_, None, value) => into.0.push((name, value)),
            (
                "properties" | "$defs" | "definitions",
                Some(Node::Object(mine)),
                Node::Object(from),
            ) => {
                merge(mine, from);
            }
            ("required", Some(Node::Array(mine)), Node::Array(from)) => {
                for name in from {
                    if !mine.contains(&name) {
                        mine.push(name);
                    }
                }
            }
            _ => {}
        }
    }
}

pub(super) fn has_type(fields: &Fields, wanted: &str) -> bool {
    match fields.get("type") {
        Some(Node::Array(types)) => types.iter().any(|it| it.as_str() == Some(wanted)),
        Some(given) => given.as_str() == Some(wanted),
        None => false,
    }
}

/// Reads `%3C` and the like in the fragment of an address.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = (*first == b'%').then(|| after.get(..2)).flatten();
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
