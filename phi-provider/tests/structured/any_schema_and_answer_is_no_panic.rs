//! Whatever a schema and an answer are, nothing panics and nothing grows without end.

use phi_provider::structured::{SchemaRule, read_output, sanitise};
use phi_types::{
    AssistantMessage, AssistantPart, Origin, OutputSchema, RawJson, StopReason, TextPart, Usage,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const WORDS: &[&str] = &[
    "type",
    "properties",
    "required",
    "items",
    "anyOf",
    "oneOf",
    "allOf",
    "$ref",
    "$defs",
    "enum",
    "const",
    "description",
    "additionalProperties",
    "prefixItems",
    "format",
    "minimum",
    "nullable",
    "a",
    "b",
];

const TEXTS: &[&str] = &[
    "object",
    "string",
    "null",
    "array",
    "integer",
    "#",
    "#/$defs/a",
    "#/properties/b",
    "#/anyOf/0",
    "#/%zz",
    "date-time",
    "a",
    "",
];

/// JSON that is often a schema, or nearly one.
fn schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        proptest::sample::select(TEXTS).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(6, 64, 5, |inner| {
        let field = (proptest::sample::select(WORDS), inner.clone());
        prop_oneof![
            3 => proptest::collection::vec(field, 0..5).prop_map(|fields| {
                let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
                Value::Object(fields.collect::<Map<_, _>>())
            }),
            1 => proptest::collection::vec(inner, 0..4).prop_map(Value::Array),
        ]
    })
}

fn reply(text: String) -> AssistantMessage {
    AssistantMessage {
        parts: vec![AssistantPart::Text(TextPart::new(text))],
        stop_reason: StopReason::EndTurn,
        stop_reason_raw: None,
        usage: Usage::default(),
        origin: Origin::default(),
    }
}

proptest! {
    #[test]
    fn a_sanitised_schema_is_json_of_a_bounded_size(schema in schema()) {
        let given = RawJson::from_value(&schema).unwrap();
        for rule in [SchemaRule::STRICT, SchemaRule::CLOSED, SchemaRule::OPEN_API, SchemaRule::ANY] {
            let once = sanitise(&given, &rule);
            prop_assert!(once.schema.as_str().len() < 4_000_000);
            prop_assert!(once.schema.read::<Value>().is_ok());
        }
    }

    #[test]
    fn an_answer_is_read_or_refused(schema in schema(), answer in schema(), fence in any::<bool>()) {
        let form = OutputSchema { name: "x".to_owned(), schema: RawJson::from_value(&schema).unwrap() };
        let text = if fence { format!("```json\n{answer}\n```") } else { answer.to_string() };
        match read_output(&reply(text), &form) {
            Ok(value) => {
                let validator = jsonschema::validator_for(&schema).unwrap();
                prop_assert!(validator.is_valid(&value));
            }
            Err(error) => prop_assert!(error.to_string().len() < 4_000),
        }
    }

    #[test]
    fn what_a_closed_schema_takes_its_original_takes_too(
        age in any::<i16>(), name in proptest::option::of("[a-z]{1,8}"), tag in 0..3_usize,
    ) {
        let original = json!({
            "type": "object",
            "properties": {
                "age": {"type": "integer"},
                "name": {"type": "string"},
                "tag": {"enum": ["x", "y", "z"]},
            },
            "required": ["age"],
        });
        let form = OutputSchema { name: "x".to_owned(), schema: RawJson::from_value(&original).unwrap() };
        let strict = sanitise(&form.schema, &SchemaRule::STRICT);
        let tag = ["x", "y", "z"][tag];
        let answer = json!({"age": age, "name": name, "tag": tag});
        let validator = jsonschema::validator_for(&strict.schema.read().unwrap()).unwrap();
        prop_assert!(validator.is_valid(&answer), "{answer}");
        let value = read_output(&reply(answer.to_string()), &form).unwrap();
        prop_assert_eq!(value.get("name").is_some(), name.is_some());
    }
}
