//! How the schemas of tools are written.

use std::sync::Arc;

use phi_provider::gemini::{Gemini, SchemaForm};
use phi_provider::{EncodeError, Wire};
use phi_types::{RawJson, Request, ToolSpec};
use serde_json::{Value, json};

use crate::requests::{body, request, tool, user};
use crate::{OLD, wire};

fn with_schema(schema: &Value) -> Request {
    let spec = ToolSpec {
        input_schema: RawJson::from_value(schema).unwrap(),
        ..tool("x")
    };
    Request {
        tools: Arc::from([spec]),
        ..request(OLD, [user("hi")])
    }
}

fn declared(wire: &Gemini, schema: &Value) -> Value {
    body(wire, &with_schema(schema))["tools"][0]["functionDeclarations"][0].take()
}

#[test]
fn g09_schemas_are_json_schema_by_default() {
    let schema = json!({"type": "object", "$defs": {"A": {"const": 1}},
        "properties": {"a": {"$ref": "#/$defs/A"}}, "additionalProperties": false});
    let expected = json!({"name": "x", "description": "does it", "parametersJsonSchema": schema});
    assert_eq!(declared(&wire(), &schema), expected);
}

#[test]
fn g09_schemas_may_be_of_the_subset_of_openapi() {
    let legacy = wire().with_schema_form(SchemaForm::OpenApiSubset);
    let schema = json!({"type": "object", "$defs": {"A": {"const": "on"}},
        "properties": {"a": {"$ref": "#/$defs/A"}, "b": {"oneOf": [{"type": "integer"},
            {"type": "string", "format": "uuid"}]}},
        "required": ["a"], "additionalProperties": false});
    let expected = json!({"name": "x", "description": "does it", "parameters": {
        "type": "object",
        "properties": {"a": {"type": "string", "enum": ["on"]},
            "b": {"anyOf": [{"type": "integer"},
                {"type": "string", "description": "format: uuid"}]}},
        "required": ["a"]}});
    assert_eq!(declared(&legacy, &schema), expected);
}

#[test]
fn g09_a_function_without_parameters_has_none_in_the_subset() {
    let legacy = wire().with_schema_form(SchemaForm::OpenApiSubset);
    for empty in [
        json!({"type": "object"}),
        json!({"type": "object", "properties": {}}),
        json!({}),
    ] {
        let expected = json!({"name": "x", "description": "does it"});
        assert_eq!(declared(&legacy, &empty), expected);
    }
}

#[test]
fn a_schema_that_is_no_object_is_refused() {
    for form in [SchemaForm::JsonSchema, SchemaForm::OpenApiSubset] {
        let wire = wire().with_schema_form(form);
        let error = wire.encode(&with_schema(&json!(true))).unwrap_err();
        let tool = "x".to_owned();
        assert_eq!(error, EncodeError::SchemaNotAnObject { tool });
    }
}
