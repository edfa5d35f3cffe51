//! Takes nulls out of an answer that stand for "not there".

use serde_json::{Map, Value};

/// The most schemas that are looked at for one value.
const SCHEMAS_MAX: usize = 1_000;

/// Takes out every property that is null where the schema lets it be absent and not be null: a
/// strict mode requires every property, and a model then says by null that there is none.
pub(super) fn without_nulls(mut value: Value, root: &Value) -> Value {
    prune(&mut value, &[root], root);
    value
}

fn prune(value: &mut Value, schemas: &[&Value], root: &Value) {
    let schemas = that_apply(schemas, root);
    match value {
        Value::Object(fields) => {
            fields
                .retain(|name, value| !value.is_null() || !stands_for_absent(name, &schemas, root));
            for (name, value) in fields {
                let of_field: Vec<&Value> = schemas
                    .iter()
                    .filter_map(|schema| {
                        let properties = schema.get("properties").and_then(|it| it.get(name));
                        properties.or_else(|| schema.get("additionalProperties"))
                    })
                    .collect();
                prune(value, &of_field, root);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter_mut().enumerate() {
                let of_item: Vec<&Value> = schemas
                    .iter()
                    .filter_map(|schema| {
                        let place = schema.get("prefixItems").and_then(|it| it.get(at));
                        place.or_else(|| schema.get("items"))
                    })
                    .collect();
                prune(item, &of_item, root);
            }
        }
        _ => {}
    }
}

/// Says whether a property of these objects may be absent and may not be null.
fn stands_for_absent(name: &str, schemas: &[&Map<String, Value>], root: &Value) -> bool {
    let mut optional = false;
    for schema in schemas {
        let Some(property) = schema.get("properties").and_then(|it| it.get(name)) else {
            continue;
        };
        if takes_null(property, root) {
            return false;
        }
        let required = schema.get("required").and_then(Value::as_array);
        optional |= !required.is_some_and(|names| names.iter().any(|it| it == name));
    }
    optional
}

fn takes_null(schema: &Value, root: &Value) -> bool {
    if schema == &Value::Bool(true) {
        return true;
    }
    that_apply(&[schema], root).iter().any(|schema| {
        let composed = ["$ref", "anyOf", "oneOf", "allOf"];
        match (schema.get("type"), schema.get("enum"), schema.get("const")) {
            (Some(Value::Array(types)), _, _) => types.iter().any(|it| it == "null"),
            (Some(given), _, _) => given == "null",
            (None, Some(values), _) => values
                .as_array()
                .is_some_and(|it| it.contains(&Value::Null)),
            (None, None, Some(value)) => value.is_null(),
            (None, None, None) => !composed.iter().any(|name| schema.contains_key(*name)),
        }
    })
}

/// Returns the schemas and all that they refer to or are composed of at the same place.
fn that_apply<'a>(schemas: &[&'a Value], root: &'a Value) -> Vec<&'a Map<String, Value>> {
    let mut waiting: Vec<&'a Value> = schemas.to_vec();
    let mut found: Vec<&'a Map<String, Value>> = Vec::new();
    while let Some(schema) = waiting.pop() {
        let Some(fields) = schema.as_object() else {
            continue;
        };
        let is_known = found.iter().any(|it| std::ptr::eq(*it, fields));
        if is_known || found.len() == SCHEMAS_MAX {
            continue;
        }
        found.push(fields);
        let reference = fields.get("$ref").and_then(Value::as_str);
        let pointer = reference.and_then(|it| it.strip_prefix('#'));
        waiting.extend(pointer.and_then(|pointer| root.pointer(pointer)));
        for name in ["anyOf", "oneOf", "allOf"] {
            waiting.extend(
                fields
                    .get(name)
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten(),
            );
        }
    }
    found
}
