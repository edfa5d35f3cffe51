//! A schema becomes one that a service takes.

use phi_provider::structured::{Keywords, Objects, References, SchemaRule, sanitise};
use phi_types::RawJson;
use serde_json::{Value, json};

fn sanitised(schema: &Value, rule: &SchemaRule) -> (Value, bool) {
    let schema = RawJson::from_value(schema).expect("JSON");
    let sanitised = sanitise(&schema, rule);
    (sanitised.schema.read().expect("JSON"), sanitised.is_strict)
}

#[track_caller]
fn becomes(rule: &SchemaRule, schema: &Value, wanted: Value) {
    assert_eq!(sanitised(schema, rule), (wanted, true), "{schema}");
}

#[test]
fn strict_objects_are_closed_and_what_was_optional_is_nullable() {
    let schema = json!({
        "type": "object",
        "properties": {
            "kept": {"type": "string"},
            "text": {"type": "string"},
            "either": {"type": ["string", "integer"]},
            "free": {"type": ["string", "null"]},
            "word": {"type": "string", "enum": ["a", "b"]},
            "one": {"const": "x"},
            "some": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
            "named": {"$ref": "#/$defs/Inner"},
        },
        "required": ["kept"],
        "$defs": {"Inner": {"properties": {"a": {"type": "integer"}}, "required": ["a"]}},
    });
    let inner = json!({
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "additionalProperties": false,
    });
    let wanted = json!({
        "type": "object",
        "properties": {
            "kept": {"type": "string"},
            "text": {"type": ["string", "null"]},
            "either": {"type": ["string", "integer", "null"]},
            "free": {"type": ["string", "null"]},
            "word": {"type": ["string", "null"], "enum": ["a", "b", null]},
            "one": {"anyOf": [{"type": "string", "const": "x"}, {"type": "null"}]},
            "some": {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]},
            "named": {"anyOf": [{"$ref": "#/$defs/Inner"}, {"type": "null"}]},
        },
        "required": ["either", "free", "kept", "named", "one", "some", "text", "word"],
        "additionalProperties": false,
        "$defs": {"Inner": inner},
    });
    becomes(&SchemaRule::STRICT, &schema, wanted);
}

#[test]
fn fields_keep_their_order_and_required_follows_it() {
    let schema = r#"{"properties":{"z":{"type":"string"},"a":{"type":"null"}},"title":"T"}"#;
    let sanitised = sanitise(&RawJson::parse(schema).unwrap(), &SchemaRule::STRICT);
    assert_eq!(
        sanitised.schema.as_str(),
        r#"{"type":"object","properties":{"z":{"type":["string","null"]},"a":{"type":"null"}},"required":["z","a"],"additionalProperties":false}"#
    );
}

#[test]
fn a_property_may_be_called_like_a_keyword() {
    let schema = json!({
        "type": "object",
        "properties": {"title": {"type": "string"}, "$ref": {"type": "string"}, "allOf": {"type": "string"}},
        "required": ["$ref", "allOf", "title"],
        "additionalProperties": false,
    });
    becomes(&SchemaRule::STRICT, &schema, schema.clone());
    becomes(&SchemaRule::CLOSED, &schema, schema.clone());
}

#[test]
fn bounds_that_go_are_told_in_the_description() {
    let schema = json!({"type": "object", "required": ["n", "s"], "properties": {
        "n": {"type": "integer", "minimum": 1, "maximum": 9, "description": "How many."},
        "s": {"type": "string", "format": "regex", "pattern": "^a", "examples": ["a"]},
    }});
    let wanted = json!({"type": "object", "required": ["n", "s"], "additionalProperties": false, "properties": {
        "n": {"type": "integer", "description": "How many. (maximum: 9, minimum: 1)"},
        "s": {"type": "string", "description": "format: regex, pattern: ^a"},
    }});
    becomes(&SchemaRule::CLOSED, &schema, wanted);
}

#[test]
fn compositions_become_their_relatives() {
    let schema = json!({"type": "object", "required": ["a", "b", "c"], "properties": {
        "a": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
        "b": {
            "allOf": [{"$ref": "#/$defs/Base"}, {"properties": {"y": {"type": "string"}}, "required": ["y"]}],
            "description": "Both.",
        },
        "c": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}, {"type": "string"}]},
    }, "$defs": {"Base": {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]}}});
    let (found, is_strict) = sanitised(&schema, &SchemaRule::STRICT);
    assert!(is_strict);
    let wanted = json!({
        "a": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        "b": {
            "type": "object",
            "description": "Both.",
            "properties": {"x": {"type": "string"}, "y": {"type": "string"}},
            "required": ["x", "y"],
            "additionalProperties": false,
        },
        "c": {"type": "array", "items": {"anyOf": [{"type": "integer"}, {"type": "string"}]}},
    });
    let mut found = found["properties"].clone();
    // The kinds of a tuple have no order.
    let kinds = found["c"]["items"]["anyOf"].as_array_mut().unwrap();
    kinds.sort_by_key(ToString::to_string);
    assert_eq!(found, wanted);
}

#[test]
fn open_api_has_no_type_null_no_references_and_no_constants() {
    let schema = json!({
        "type": "object",
        "properties": {
            "a": {"type": ["string", "null"], "const": "x"},
            "b": {"type": ["string", "integer"]},
            "c": {"anyOf": [{"$ref": "#/$defs/C"}, {"type": "null"}]},
            "d": {"type": "integer", "enum": [1, 2]},
        },
        "additionalProperties": false,
        "$defs": {"C": {"type": "string", "enum": ["p", "q"]}},
    });
    let wanted = json!({
        "type": "object",
        "properties": {
            "a": {"type": "string", "enum": ["x"], "nullable": true},
            "b": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
            "c": {"type": "string", "enum": ["p", "q"], "nullable": true},
            "d": {"type": "integer", "description": "enum: [1,2]"},
        },
    });
    becomes(&SchemaRule::OPEN_API, &schema, wanted);
}

#[test]
fn references_are_replaced_where_something_stands_beside_them() {
    let schema = json!({
        "$ref": "#/$defs/a~1b%20c",
        "$defs": {"a/b c": {"type": "object", "properties": {
            "next": {"$ref": "#/$defs/a~1b%20c"},
        }}},
    });
    let (found, is_strict) = sanitised(&schema, &SchemaRule::STRICT);
    assert!(is_strict);
    assert_eq!(found["type"], "object");
    let next = json!({"anyOf": [{"$ref": "#/$defs/a~1b%20c"}, {"type": "null"}]});
    assert_eq!(found["properties"]["next"], next);
    assert_eq!(found["$defs"]["a/b c"]["properties"]["next"], next);
}

#[test]
fn a_schema_that_contains_itself_ends() {
    let tree = json!({"type": "object", "properties": {
        "left": {"$ref": "#"}, "right": {"$ref": "#"}, "word": {"type": "string"},
    }});
    for (schema, rule) in [
        (tree.clone(), SchemaRule::CLOSED),
        (tree, SchemaRule::OPEN_API),
        (json!({"$ref": "#"}), SchemaRule::OPEN_API),
        (json!({"$ref": "#", "title": "x"}), SchemaRule::CLOSED),
        (
            json!({"allOf": [{"$ref": "#"}, {"$ref": "#"}]}),
            SchemaRule::CLOSED,
        ),
        (
            json!({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}}}),
            SchemaRule::CLOSED,
        ),
    ] {
        let (found, is_strict) = sanitised(&schema, &rule);
        let text = found.to_string();
        assert!(!text.contains("$ref") && text.len() < 5_000, "{text}");
        assert!(!is_strict);
    }
    let beside = json!({"type": "object", "properties": {
        "next": {"$ref": "#", "description": "The next."},
    }});
    let (found, is_strict) = sanitised(&beside, &SchemaRule::STRICT);
    assert!(is_strict && found.to_string().len() < 5_000, "{found}");
}

#[test]
fn definitions_that_multiply_end_too() {
    let mut definitions = serde_json::Map::new();
    for level in 0..40 {
        let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
        let schema = json!({"type": "object", "properties": {"a": next, "b": next, "c": next}});
        definitions.insert(format!("d{level}"), schema);
    }
    definitions.insert("d40".to_owned(), json!({"type": "string"}));
    let schema = json!({"$ref": "#/$defs/d0", "$defs": definitions});
    let (found, is_strict) = sanitised(&schema, &SchemaRule::CLOSED);
    assert!(!is_strict);
    let length = found.to_string().len();
    assert!(length < 3_000_000, "{length} bytes");
}

#[test]
fn what_leaves_an_object_or_a_value_open_is_not_strict() {
    for open in [
        json!({"type": "object"}),
        json!({"type": "object", "additionalProperties": {"type": "string"}}),
        json!({"type": "object", "properties": {}, "additionalProperties": true}),
        json!({"type": "array", "items": {}}),
        json!({"type": "array", "items": true}),
        json!({"$ref": "https://example.org/schema", "title": "x"}),
    ] {
        let schema = json!({"type": "object", "properties": {"a": open}, "required": ["a"]});
        let (found, is_strict) = sanitised(&schema, &SchemaRule::STRICT);
        let is_elsewhere = open.get("$ref").is_some();
        assert_eq!(is_strict, is_elsewhere, "{found}");
        assert_eq!(found["additionalProperties"], false, "{found}");
        assert_ne!(
            found["properties"]["a"]["additionalProperties"], false,
            "{found}"
        );
    }
}

#[test]
fn a_rule_of_ones_own_is_data() {
    let rule = SchemaRule {
        keywords: Keywords::AllBut(&["minItems"]),
        objects: Objects::Closed,
        references: References::Inlined,
        ..SchemaRule::ANY
    };
    let schema = json!({"type": "object", "properties": {
        "a": {"type": "array", "minItems": 2, "uniqueItems": true, "items": {"type": "string"}},
    }});
    let wanted = json!({"type": "object", "additionalProperties": false, "properties": {
        "a": {"type": "array", "uniqueItems": true, "items": {"type": "string"}, "description": "minItems: 2"},
    }});
    becomes(&rule, &schema, wanted);
}

#[test]
fn what_is_taken_as_it_is_keeps_its_bytes() {
    for (text, rule) in [
        (r##"{ "oneOf":[ {"$ref":"#","x":1e2} ] }"##, SchemaRule::ANY),
        ("[1, 2]", SchemaRule::STRICT),
        ("true", SchemaRule::OPEN_API),
    ] {
        let schema = RawJson::parse(text).unwrap();
        assert_eq!(sanitise(&schema, &rule).schema.as_str(), text);
    }
}
