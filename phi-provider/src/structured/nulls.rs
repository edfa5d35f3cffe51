//! Says in a schema that a value may be null.

use serde_json::Value;

use super::node::{Fields, Node};
use super::rule::Nulls;
use super::sanitise::{has_type, merge};

fn null_schema() -> Node {
    Node::Object(Fields(vec![("type".to_owned(), Node::string("null"))]))
}

/// Says whether a schema lets null through, as far as its first level tells.
fn takes_null(node: &Node) -> bool {
    let Node::Object(fields) = node else {
        return node == &Node::Leaf(Value::Bool(true));
    };
    let any = fields.get("anyOf").or_else(|| fields.get("oneOf"));
    fields.0.is_empty()
        || has_type(fields, "null")
        || fields.get("nullable") == Some(&Node::Leaf(Value::Bool(true)))
        || any
            .and_then(Node::as_array)
            .is_some_and(|all| all.iter().any(takes_null))
}

/// Lets null through.
pub(super) fn make_nullable(node: &mut Node, nulls: Nulls) {
    if takes_null(node) {
        return;
    }
    let Node::Object(fields) = node else {
        return;
    };
    if nulls == Nulls::Nullable {
        fields.set("nullable", Node::Leaf(Value::Bool(true)));
        return;
    }
    let plain = !fields.has("const") && !fields.has("anyOf") && !fields.has("$ref");
    if let (true, Some(given)) = (plain, fields.get("type").cloned()) {
        let mut types = match given {
            Node::Array(types) => types,
            one => vec![one],
        };
        types.push(Node::string("null"));
        fields.set("type", Node::Array(types));
        if let Some((_, Node::Array(values))) = fields.0.iter_mut().find(|(name, _)| name == "enum")
        {
            values.push(Node::Leaf(Value::Null));
        }
        return;
    }
    if let Some((_, Node::Array(choices))) = fields.0.iter_mut().find(|(name, _)| name == "anyOf") {
        choices.push(null_schema());
        return;
    }
    let inner = std::mem::replace(node, Node::Leaf(Value::Null));
    let choices = Node::Array(vec![inner, null_schema()]);
    *node = Node::Object(Fields(vec![("anyOf".to_owned(), choices)]));
}

/// Writes as OpenAPI 3.0 what JSON Schema says by the type `null` and by lists of types.
pub(super) fn write_nullable(fields: &mut Fields) {
    let mut nullable = false;
    if let Some(Node::Array(types)) = fields.get("type").cloned() {
        let count = types.len();
        let mut types: Vec<Node> = types
            .into_iter()
            .filter(|it| it.as_str() != Some("null"))
            .collect();
        nullable |= types.len() < count;
        if types.len() < 2 {
            fields.remove("type");
            if let Some(only) = types.pop() {
                fields.0.insert(0, ("type".to_owned(), only));
            }
        } else if !fields.has("anyOf") {
            fields.remove("type");
            let choice = |it| Node::Object(Fields(vec![("type".to_owned(), it)]));
            let choices = types.into_iter().map(choice).collect();
            fields.set("anyOf", Node::Array(choices));
        }
    }
    let is_null = |node: &Node| match node.as_object() {
        Some(fields) => fields.get("type").and_then(Node::as_str) == Some("null"),
        None => false,
    };
    if let Some(Node::Array(mut choices)) = fields.get("anyOf").cloned() {
        let count = choices.len();
        choices.retain(|choice| !is_null(choice));
        nullable |= choices.len() < count;
        match (choices.len(), choices.pop()) {
            (1, Some(Node::Object(only))) => {
                fields.remove("anyOf");
                merge(fields, only);
            }
            (_, last) => {
                choices.extend(last);
                fields.set("anyOf", Node::Array(choices));
            }
        }
    }
    if let Some((_, Node::Array(values))) = fields.0.iter_mut().find(|(name, _)| name == "enum") {
        let count = values.len();
        values.retain(|value| !value.is_null());
        nullable |= values.len() < count;
    }
    if nullable {
        fields.set("nullable", Node::Leaf(Value::Bool(true)));
    }
}
