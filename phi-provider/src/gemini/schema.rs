//! Writes a JSON Schema in the subset of OpenAPI that `parameters` and `responseSchema` take.

use serde_json::{Map, Value, json};

/// Fields of a schema that the subset has and whose value stays.
const KEPT: &[&str] = &[
    "title",
    "description",
    "nullable",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "pattern",
    "example",
    "default",
    "propertyOrdering",
];

/// The deepest schema: a definition that holds itself ends there.
const DEPTH_MAX: usize = 24;

/// The most schemas that one schema may become: definitions are written where they are used.
const SCHEMAS_MAX: usize = 10_000;

/// Writes a schema without what the subset does not have: references are replaced by what they
/// name, `const` by `enum`, `oneOf` by `anyOf`, and a list of types by `nullable` or `anyOf`.
pub(super) fn openapi_subset(schema: &Value) -> Value {
    let mut writer = Writer {
        root: schema,
        open: Vec::new(),
        schemas: 0,
    };
    writer.schema(schema, 0)
}

struct Writer<'s> {
    root: &'s Value,
    /// The references that led here.
    open: Vec<String>,
    schemas: usize,
}

impl Writer<'_> {
    fn schema(&mut self, schema: &Value, depth: usize) -> Value {
        self.schemas += 1;
        let Some(fields) = schema.as_object() else {
            return json!({});
        };
        if depth > DEPTH_MAX || self.schemas > SCHEMAS_MAX {
            return json!({});
        }
        let open = self.open.len();
        let merged = self.resolved(fields);
        let out = self.fields(&merged, depth);
        self.open.truncate(open);
        Value::Object(out)
    }

    fn fields(&mut self, merged: &Map<String, Value>, depth: usize) -> Map<String, Value> {
        let mut out = Map::new();
        for name in KEPT {
            if let Some(value) = merged.get(*name) {
                out.insert((*name).to_owned(), value.clone());
            }
        }
        self.push_type(merged, &mut out, depth);
        self.push_alternatives(merged, &mut out, depth);
        push_enum(merged, &mut out);
        if let Some(Value::Object(properties)) = merged.get("properties") {
            let written = properties
                .iter()
                .map(|(name, schema)| (name.clone(), self.schema(schema, depth + 1)))
                .collect::<Map<_, _>>();
            push_required(merged, &written, &mut out);
            if !written.is_empty() {
                out.insert("properties".to_owned(), Value::Object(written));
            }
        }
        let items = merged.get("items").or_else(|| {
            let first = merged.get("prefixItems")?;
            first.get(0)
        });
        if let Some(items) = items {
            out.insert("items".to_owned(), self.schema(items, depth + 1));
        }
        out
    }

    /// Replaces a reference, and joins what all of several schemas say. Of a definition that holds
    /// itself only the type is said again.
    fn resolved(&mut self, fields: &Map<String, Value>) -> Map<String, Value> {
        let mut out = Map::new();
        let mut left = vec![fields.clone()];
        let mut seen = 0;
        while let Some(mut fields) = left.pop() {
            seen += 1;
            if seen > DEPTH_MAX {
                break;
            }
            let reference = fields.remove("$ref");
            if let Some(Value::String(name)) = reference
                && let Some(Value::Object(named)) = self.find(&name)
            {
                let mut named = named.clone();
                if self.open.contains(&name) {
                    named.retain(|name, _| name == "type");
                }
                left.push(named);
                self.open.push(name);
            }
            if let Some(Value::Array(all)) = fields.remove("allOf") {
                left.extend(all.iter().filter_map(Value::as_object).cloned());
            }
            for (name, value) in fields {
                match (out.get_mut(&name), value) {
                    (Some(Value::Object(so_far)), Value::Object(value)) if name == "properties" => {
                        so_far.extend(value);
                    }
                    (Some(Value::Array(so_far)), Value::Array(value)) if name == "required" => {
                        so_far.extend(value);
                    }
                    // What stands beside a reference is more exact than what it names.
                    (Some(_), _) => {}
                    (None, value) => {
                        out.insert(name, value);
                    }
                }
            }
        }
        out
    }

    fn find(&self, reference: &str) -> Option<&Value> {
        let pointer = reference.strip_prefix('#')?;
        self.root.pointer(pointer)
    }

    fn push_type(
        &mut self,
        fields: &Map<String, Value>,
        out: &mut Map<String, Value>,
        depth: usize,
    ) {
        let mut types: Vec<&str> = match fields.get("type") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
            _ if fields.contains_key("properties") => vec!["object"],
            _ if fields.contains_key("items") => vec!["array"],
            _ => return,
        };
        let before = types.len();
        types.retain(|name| *name != "null");
        if types.len() < before {
            out.insert("nullable".to_owned(), true.into());
        }
        match types.as_slice() {
            [] => {}
            [one] => {
                out.insert("type".to_owned(), one.to_ascii_uppercase().into());
                push_format(one, fields, out);
            }
            several => {
                let alternatives = several.iter().map(|name| {
                    let mut one = fields.clone();
                    one.insert("type".to_owned(), (*name).into());
                    self.schema(&Value::Object(one), depth + 1)
                });
                let alternatives: Vec<Value> = alternatives.collect();
                out.insert("anyOf".to_owned(), alternatives.into());
            }
        }
    }

    fn push_alternatives(
        &mut self,
        fields: &Map<String, Value>,
        out: &mut Map<String, Value>,
        depth: usize,
    ) {
        let given = ["anyOf", "oneOf"].iter().find_map(|name| fields.get(*name));
        let Some(Value::Array(given)) = given else {
            return;
        };
        let is_null = |schema: &&Value| schema.get("type").is_some_and(|it| it == "null");
        let (nulls, others): (Vec<&Value>, Vec<&Value>) = given.iter().partition(is_null);
        if !nulls.is_empty() {
            out.insert("nullable".to_owned(), true.into());
        }
        let mut written: Vec<Value> = others
            .into_iter()
            .map(|schema| self.schema(schema, depth + 1))
            .collect();
        if written.len() > 1 {
            out.insert("anyOf".to_owned(), written.into());
        } else if let Some(Value::Object(only)) = written.pop() {
            for (name, value) in only {
                out.entry(name).or_insert(value);
            }
        }
    }
}

/// The subset knows few formats and refuses the others.
fn push_format(kind: &str, fields: &Map<String, Value>, out: &mut Map<String, Value>) {
    let known: &[&str] = match kind {
        "string" => &["enum", "date-time"],
        "integer" => &["int32", "int64"],
        "number" => &["float", "double"],
        _ => &[],
    };
    let format = fields.get("format").and_then(Value::as_str);
    if let Some(format) = format.filter(|format| known.contains(format)) {
        out.insert("format".to_owned(), format.into());
    }
}

/// The values of an `enum` are texts, and its type is.
fn push_enum(fields: &Map<String, Value>, out: &mut Map<String, Value>) {
    let values = match (fields.get("enum"), fields.get("const")) {
        (Some(Value::Array(values)), _) => values.clone(),
        (_, Some(value)) => vec![value.clone()],
        _ => return,
    };
    let texts: Vec<Value> = values.iter().filter(|it| it.is_string()).cloned().collect();
    let others = values.iter().filter(|it| !it.is_null()).count();
    if values.iter().any(Value::is_null) {
        out.insert("nullable".to_owned(), true.into());
    }
    if !texts.is_empty() && texts.len() == others {
        out.insert("type".to_owned(), "STRING".into());
        out.insert("enum".to_owned(), texts.into());
    }
}

/// A field that is required must be there.
fn push_required(
    fields: &Map<String, Value>,
    properties: &Map<String, Value>,
    out: &mut Map<String, Value>,
) {
    let Some(Value::Array(required)) = fields.get("required") else {
        return;
    };
    let mut known: Vec<Value> = Vec::new();
    for name in required {
        let is_there = name.as_str().is_some_and(|it| properties.contains_key(it));
        if is_there && !known.contains(name) {
            known.push(name.clone());
        }
    }
    if !known.is_empty() {
        out.insert("required".to_owned(), known.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_subset_does_not_have_is_said_in_its_words() {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "kind": {"const": "a"},
                "count": {"type": ["integer", "null"], "format": "uint8"},
                "either": {"type": ["string", "number"]},
                "place": {"$ref": "#/$defs/Place", "description": "where"},
                "pick": {"oneOf": [{"type": "string", "format": "uri"}, {"type": "null"}]},
                "pair": {"type": "array", "prefixItems": [{"type": "string"}]},
                "any": true
            },
            "required": ["kind", "ghost"],
            "$defs": {"Place": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Leaf"}}},
                "Leaf": {"type": "boolean"}}
        });
        let expected = json!({
            "type": "OBJECT",
            "properties": {
                "kind": {"type": "STRING", "enum": ["a"]},
                "count": {"type": "INTEGER", "nullable": true},
                "either": {"anyOf": [{"type": "STRING"}, {"type": "NUMBER"}]},
                "place": {"type": "OBJECT", "description": "where",
                    "properties": {"next": {"type": "BOOLEAN"}}},
                "pick": {"type": "STRING", "nullable": true},
                "pair": {"type": "ARRAY", "items": {"type": "STRING"}},
                "any": {}
            },
            "required": ["kind"]
        });
        assert_eq!(openapi_subset(&schema), expected);
    }

    #[test]
    fn a_definition_that_holds_itself_ends() {
        let schema = json!({"$ref": "#/$defs/Tree", "$defs": {"Tree": {"type": "object",
            "properties": {"left": {"$ref": "#/$defs/Tree"}, "right": {"$ref": "#/$defs/Tree"}}},
            "Loop": {"$ref": "#/$defs/Loop"}}});
        let written = openapi_subset(&schema);
        let again = json!({"type": "OBJECT"});
        let expected = json!({"type": "OBJECT", "properties": {"left": again, "right": again}});
        assert_eq!(written, expected);
        let endless = json!({"$ref": "#/$defs/Loop", "$defs": {"Loop": {"$ref": "#/$defs/Loop"}}});
        assert_eq!(openapi_subset(&endless), json!({}));
    }
}
