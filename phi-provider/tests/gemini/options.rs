//! How options are asked for: limits, thinking, and the form of the answer.

use phi_provider::gemini::{Generation, SchemaForm};
use phi_provider::structured::OUTPUT_TOOL;
use phi_types::{Options, OutputSchema, RawJson, StopReason, Thinking};
use serde_json::{Value, json};

use crate::requests::{body, request, user, with_options, with_tools};
use crate::{NEW, OLD, call, last, message, shown, stream, wire};

fn config(model: &str, options: Options) -> Value {
    let request = with_options(request(model, [user("hi")]), options);
    body(&wire(), &request)["generationConfig"].take()
}

fn thinking(model: &str, thinking: Thinking) -> Value {
    let options = Options {
        thinking: Some(thinking),
        ..Options::default()
    };
    config(model, options)["thinkingConfig"].take()
}

#[test]
fn options_are_fields_of_the_configuration() {
    let options = Options {
        output_tokens_max: Some(100),
        temperature: Some(0.5),
        top_p: Some(0.9),
        stop_sequences: vec!["END".to_owned()],
        parallel_tool_calls: Some(false),
        ..Options::default()
    };
    let expected = json!({"maxOutputTokens": 100, "temperature": 0.5, "topP": 0.9,
        "stopSequences": ["END"]});
    assert_eq!(config(OLD, options), expected);
    assert_eq!(config(OLD, Options::default()), Value::Null);
}

#[test]
fn g11_new_models_think_by_levels() {
    for (model, asked, expected) in [
        (
            NEW,
            Thinking::Off,
            json!({"thinkingLevel": "low", "includeThoughts": false}),
        ),
        (
            NEW,
            Thinking::Low,
            json!({"thinkingLevel": "low", "includeThoughts": true}),
        ),
        (
            NEW,
            Thinking::Medium,
            json!({"thinkingLevel": "high", "includeThoughts": true}),
        ),
        (NEW, Thinking::Adaptive, json!({"includeThoughts": true})),
        (
            NEW,
            Thinking::BudgetTokens(512),
            json!({"thinkingBudget": 512, "includeThoughts": true}),
        ),
        (
            "gemini-3-flash-preview",
            Thinking::Off,
            json!({"thinkingLevel": "minimal", "includeThoughts": false}),
        ),
        (
            "gemini-3.1-pro-preview",
            Thinking::Medium,
            json!({"thinkingLevel": "medium", "includeThoughts": true}),
        ),
        (
            "gemini-flash-latest",
            Thinking::High,
            json!({"thinkingLevel": "high", "includeThoughts": true}),
        ),
    ] {
        assert_eq!(thinking(model, asked), expected, "{model} {asked:?}");
    }
}

#[test]
fn g11_models_before_them_think_by_budgets() {
    for (model, asked, expected) in [
        (
            OLD,
            Thinking::Off,
            json!({"thinkingBudget": 0, "includeThoughts": false}),
        ),
        (
            OLD,
            Thinking::Adaptive,
            json!({"thinkingBudget": -1, "includeThoughts": true}),
        ),
        (
            OLD,
            Thinking::Low,
            json!({"thinkingBudget": 1_024, "includeThoughts": true}),
        ),
        (
            OLD,
            Thinking::High,
            json!({"thinkingBudget": 24_576, "includeThoughts": true}),
        ),
        (
            OLD,
            Thinking::BudgetTokens(512),
            json!({"thinkingBudget": 512, "includeThoughts": true}),
        ),
        (
            "gemini-2.5-pro",
            Thinking::Off,
            json!({"thinkingBudget": 128, "includeThoughts": false}),
        ),
    ] {
        assert_eq!(thinking(model, asked), expected, "{model} {asked:?}");
    }
}

#[test]
fn g11_models_that_do_not_think_are_not_asked_to() {
    for model in ["gemini-2.0-flash", "gemini-1.5-pro", "gemma-3-27b-it"] {
        assert_eq!(thinking(model, Thinking::High), Value::Null, "{model}");
    }
}

#[test]
fn g11_the_generation_may_be_told() {
    let options = Options {
        thinking: Some(Thinking::High),
        ..Options::default()
    };
    let request = with_options(request("my-alias", [user("hi")]), options);
    let told = |generation| {
        let wire = wire().with_generation(generation);
        body(&wire, &request)["generationConfig"]["thinkingConfig"].take()
    };
    assert_eq!(told(Generation::ByName), Value::Null);
    assert_eq!(told(Generation::Levels)["thinkingLevel"], "high");
    assert_eq!(told(Generation::Budgets)["thinkingBudget"], 24_576);
}

#[test]
fn g09_an_answer_with_a_form_is_asked_for_by_its_schema() {
    let schema = json!({"type": "object", "properties": {"k": {"type": ["string", "null"]}},
        "additionalProperties": false});
    let options = || Options {
        output: Some(OutputSchema {
            name: "answer".to_owned(),
            schema: RawJson::from_value(&schema).unwrap(),
        }),
        ..Options::default()
    };
    let expected = json!({"responseMimeType": "application/json", "responseJsonSchema": schema});
    assert_eq!(config(OLD, options()), expected);
    let legacy = wire().with_schema_form(SchemaForm::OpenApiSubset);
    let request = with_options(request(OLD, [user("hi")]), options());
    let expected = json!({"responseMimeType": "application/json", "responseSchema": {
        "type": "object", "properties": {"k": {"type": "string", "nullable": true}}}});
    assert_eq!(body(&legacy, &request)["generationConfig"], expected);
}

fn in_a_form() -> Options {
    Options {
        output: Some(OutputSchema {
            name: "answer".to_owned(),
            schema: RawJson::parse(r#"{"type":"object","properties":{"k":{}}}"#).unwrap(),
        }),
        ..Options::default()
    }
}

#[test]
fn a_form_beside_functions_is_one_more_function_for_models_that_take_no_schema_there() {
    let asked = |model| with_options(with_tools(request(model, [user("hi")])), in_a_form());
    let old = body(&wire(), &asked(OLD));
    let functions = &old["tools"][0]["functionDeclarations"];
    assert_eq!(functions[2]["name"], OUTPUT_TOOL);
    assert_eq!(functions[2]["parametersJsonSchema"]["type"], "object");
    let config = json!({"functionCallingConfig": {"mode": "ANY"}});
    assert_eq!(old["toolConfig"], config);
    assert_eq!(old.get("generationConfig"), None);
    let new = body(&wire(), &asked(NEW));
    assert_eq!(
        new["tools"][0]["functionDeclarations"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        new["generationConfig"]["responseMimeType"],
        "application/json"
    );
}

#[test]
fn the_call_of_that_function_is_the_text_of_the_answer() {
    let body = stream(&[last(json!([call(OUTPUT_TOOL, json!({"k": 1}))]), "STOP")]);
    let message = message(&body).unwrap();
    assert_eq!(shown(&message), [r#"text {"k":1}"#]);
    assert_eq!(message.stop_reason, StopReason::EndTurn);
}
