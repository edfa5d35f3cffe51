//! What services accept, as data: every word of the table, and the table itself.

use std::fmt::Write as _;
use std::sync::Arc;

use phi_provider::openai_chat::{Dialect, DialectError, Dialects, OpenAiChat, Quirks};
use phi_provider::structured::OUTPUT_TOOL;
use phi_provider::{Delivery, Wire};
use phi_types::{
    Content, Entry, ImageSource, Options, OutputSchema, RawJson, Request, StopReason, Thinking,
    ToolChoice, ToolResult, UserMessage,
};
use serde_json::{Value, json};

use crate::requests::{
    answered, assistant, body, call, request, text, user, with_options, with_tools,
};
use crate::wire;

fn quirks(words: Value) -> Quirks {
    serde_json::from_value(words).unwrap()
}

/// The body that a service with these quirks is sent.
fn sent(words: Value, request: &Request) -> Value {
    body(&wire().with_quirks(quirks(words)), request)
}

fn asked(options: Options) -> Request {
    with_tools(with_options(request([user("hi")]), options))
}

fn thinking(thinking: Thinking) -> Options {
    Options {
        thinking: Some(thinking),
        ..Options::default()
    }
}

fn choosing(choice: ToolChoice) -> Options {
    Options {
        tool_choice: Some(choice),
        ..Options::default()
    }
}

fn form(schema: &Value) -> Options {
    Options {
        output: Some(OutputSchema {
            name: "person".to_owned(),
            schema: RawJson::from_value(schema).unwrap(),
        }),
        ..Options::default()
    }
}

/// A conversation with a call, its result, and a word of the user after it.
fn tool_turn() -> Vec<Entry> {
    let said = assistant([text("so"), call("a", "{}")]);
    let mut view = vec![user("do")];
    view.extend(answered(said, &[ToolResult::text("1")]));
    view.push(user("and"));
    view
}

#[test]
fn c09_the_system_prompt_has_the_role_that_the_service_knows() {
    for word in ["system", "developer", "user"] {
        let mut request = request([user("hi")]);
        request.system = "be brief".into();
        let sent = sent(json!({ "system_role": word }), &request);
        assert_eq!(
            sent["messages"][0],
            json!({"role": word, "content": "be brief"})
        );
        let alone = request.view.len();
        assert_eq!(sent["messages"].as_array().unwrap().len(), alone + 1);
    }
}

#[test]
fn c10_the_output_limit_has_the_name_that_the_service_knows() {
    let limited = asked(Options {
        output_tokens_max: Some(7),
        ..Options::default()
    });
    for word in ["max_completion_tokens", "max_tokens"] {
        assert_eq!(sent(json!({ "output_limit": word }), &limited)[word], 7);
    }
}

#[test]
fn c11_fields_that_a_service_refuses_are_left_out() {
    let all = asked(Options {
        stop_sequences: vec!["END".to_owned()],
        parallel_tool_calls: Some(false),
        ..Options::default()
    });
    for (field, quirk) in [
        ("stop", "stop_sequences"),
        ("parallel_tool_calls", "parallel_tool_calls"),
    ] {
        assert_ne!(sent(json!({ quirk: "taken" }), &all)[field], Value::Null);
        assert_eq!(sent(json!({ quirk: "refused" }), &all)[field], Value::Null);
    }
    let streamed = |word| sent(json!({ "stream_usage": word }), &all)["stream_options"].clone();
    assert_eq!(streamed("asked"), json!({"include_usage": true}));
    assert_eq!(streamed("not_asked"), Value::Null);
    // What was never asked for is never said.
    for field in [
        "store",
        "strict",
        "reasoning_effort",
        "tool_choice",
        "prompt_cache_key",
    ] {
        assert_eq!(sent(json!({}), &all)[field], Value::Null, "{field}");
    }
}

#[test]
fn c11_a_forced_call_is_said_as_the_service_knows_it() {
    let named = json!({"type": "function", "function": {"name": "y"}});
    let reasoning = |choice| Options {
        thinking: Some(Thinking::High),
        ..choosing(choice)
    };
    for (word, required, tool, while_reasoning) in [
        (
            "required",
            json!("required"),
            named.clone(),
            json!("required"),
        ),
        ("any", json!("any"), named.clone(), json!("any")),
        ("without_reasoning", json!("required"), named, Value::Null),
        ("refused", Value::Null, Value::Null, Value::Null),
    ] {
        let choice =
            |options| sent(json!({ "forced_tools": word }), &asked(options))["tool_choice"].clone();
        assert_eq!(choice(choosing(ToolChoice::Required)), required, "{word}");
        assert_eq!(
            choice(choosing(ToolChoice::Tool("y".to_owned()))),
            tool,
            "{word}"
        );
        assert_eq!(
            choice(reasoning(ToolChoice::Required)),
            while_reasoning,
            "{word}"
        );
        assert_eq!(choice(choosing(ToolChoice::None)), "none", "{word}");
        assert_eq!(choice(reasoning(ToolChoice::Auto)), "auto", "{word}");
    }
}

#[test]
fn c12_sampling_is_said_where_the_model_takes_it() {
    let sampled = |thinking| Options {
        temperature: Some(0.5),
        top_p: Some(0.9),
        thinking,
        ..Options::default()
    };
    for (word, unsaid, off, on) in [
        ("taken", true, true, true),
        ("without_reasoning", false, true, false),
        ("refused", false, false, false),
    ] {
        for (thinking, expected) in [
            (None, unsaid),
            (Some(Thinking::Off), off),
            (Some(Thinking::BudgetTokens(0)), off),
            (Some(Thinking::Low), on),
        ] {
            let sent = sent(json!({ "sampling": word }), &asked(sampled(thinking)));
            let both = [&sent["temperature"], &sent["top_p"]];
            let is_said = both.iter().all(|it| it.is_number());
            assert_eq!(is_said, expected, "{word} {thinking:?}");
            assert_eq!(both.iter().all(|it| it.is_null()), !expected);
        }
    }
}

#[test]
fn c12_models_of_openai_differ_by_their_names() {
    let table = Dialects::builtin();
    let wire = OpenAiChat::dialect(table.get("openai").unwrap());
    let sampled = Options {
        temperature: Some(0.5),
        ..thinking(Thinking::Off)
    };
    for (model, temperature, effort) in [
        ("gpt-4.1", true, Value::Null),
        ("gpt-5-chat-latest", true, Value::Null),
        ("gpt-5-mini", false, json!("minimal")),
        ("gpt-5.2", true, json!("none")),
        ("o3-mini", false, Value::Null),
        ("o1-preview", false, Value::Null),
    ] {
        let request = Request {
            model: model.into(),
            ..asked(sampled.clone())
        };
        let sent = body(&wire, &request);
        assert_eq!(sent["temperature"].is_number(), temperature, "{model}");
        assert_eq!(sent["reasoning_effort"], effort, "{model}");
    }
}

#[test]
fn c13_ids_are_those_that_the_service_takes() {
    let long = "x".repeat(60);
    let view = || {
        let said = assistant([call(&long, "{}"), call("call_2", "{}")]);
        let results = [ToolResult::text("1"), ToolResult::text("2")];
        [user("do")].into_iter().chain(answered(said, &results))
    };
    for (word, fits) in [
        ("up_to_40", (|id| id.len() <= 40) as fn(&str) -> bool),
        ("alphanumeric_9", |id| {
            id.len() == 9 && id.chars().all(|c| c.is_ascii_alphanumeric())
        }),
    ] {
        let sent = sent(json!({ "call_ids": word }), &request(view()));
        for nth in 0..2 {
            let id = &sent["messages"][1]["tool_calls"][nth]["id"];
            assert!(fits(id.as_str().unwrap()), "{word} {id}");
            assert_eq!(sent["messages"][2 + nth]["tool_call_id"], *id);
        }
    }
}

#[test]
fn c14_a_bridge_stands_between_results_and_the_user_where_it_must() {
    let roles = |word| {
        let sent = sent(json!({ "after_results": word }), &request(tool_turn()));
        let all = sent["messages"].as_array().unwrap().iter();
        all.map(|it| it["role"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(roles("nothing"), ["user", "assistant", "tool", "user"]);
    assert_eq!(
        roles("bridge"),
        ["user", "assistant", "tool", "assistant", "user"]
    );
}

#[test]
fn c14_results_name_their_tool_where_they_must() {
    for (word, name) in [("omitted", Value::Null), ("sent", json!("x"))] {
        let sent = sent(json!({ "result_names": word }), &request(tool_turn()));
        assert_eq!(sent["messages"][2]["name"], name, "{word}");
    }
}

#[test]
fn an_answer_to_be_continued_is_marked_where_it_must() {
    let last = Entry::Assistant(Arc::new(assistant([text("It is")])));
    for (word, mark) in [("unsaid", Value::Null), ("prefix", json!(true))] {
        let words = json!({ "prefill": word });
        let open = sent(words.clone(), &request([user("do"), last.clone()]));
        assert_eq!(open["messages"][1]["prefix"], mark, "{word}");
        let closed = sent(
            words.clone(),
            &request([user("do"), last.clone(), user("on")]),
        );
        assert!(!closed.to_string().contains("prefix"));
        let calls = Entry::Assistant(Arc::new(assistant([call("a", "{}")])));
        let nothing = Entry::Assistant(Arc::new(assistant([])));
        for unfinished in [calls, nothing] {
            let closed = sent(words.clone(), &request([user("do"), unfinished]));
            assert!(!closed.to_string().contains("prefix"), "{closed}");
        }
    }
}

fn image() -> Content {
    Content::Image {
        media_type: "image/png".to_owned(),
        source: ImageSource::Base64("AAAA".to_owned()),
    }
}

#[test]
fn c15_images_go_where_the_service_takes_them() {
    let shown = ToolResult {
        content: vec![image()],
        ..ToolResult::default()
    };
    let view = [user("do")]
        .into_iter()
        .chain(answered(assistant([call("a", "{}")]), &[shown]));
    let request = request(view);
    for (word, place) in [("after_results", 3), ("in_result", 2)] {
        let sent = sent(json!({ "tool_images": word }), &request);
        let content = sent["messages"][place]["content"].to_string();
        assert!(content.contains("data:image/png;base64,AAAA"), "{word}");
    }
    let with_image = crate::requests::request([Entry::User(Arc::new(UserMessage {
        content: vec![Content::text("what"), image()],
    }))]);
    let taken = sent(json!({"images": "taken"}), &with_image);
    assert_eq!(taken["messages"][0]["content"][1]["type"], "image_url");
    let wire = wire().with_quirks(quirks(json!({"images": "refused"})));
    assert_eq!(wire.encode(&with_image).unwrap().losses.len(), 1);
    let refused = body(&wire, &with_image).to_string();
    assert!(
        refused.contains("[an image of type image/png was left out]"),
        "{refused}"
    );
}

#[test]
fn c19_a_session_may_be_the_key_of_the_cache() {
    let request = request([user("hi")]);
    for (word, key, options) in [
        ("unasked", Value::Null, Value::Null),
        ("key", json!("s"), Value::Null),
        (
            "breakpoints",
            json!("s"),
            json!({"mode": "explicit", "ttl": "30m"}),
        ),
        ("cache_control", Value::Null, Value::Null),
    ] {
        let sent = sent(json!({ "prompt_cache": word }), &request);
        assert_eq!(sent["prompt_cache_key"], key, "{word}");
        assert_eq!(sent["prompt_cache_options"], options, "{word}");
    }
}

#[test]
fn c19_breakpoints_stand_after_the_system_prompt_and_the_last_two_user_messages() {
    let mut request = request([
        user("one"),
        Entry::Assistant(Arc::new(assistant([text("a")]))),
        user("two"),
        Entry::Assistant(Arc::new(assistant([text("b")]))),
        user("three"),
        Entry::Assistant(Arc::new(assistant([text("c")]))),
    ]);
    request.system = "be brief".into();
    for (word, mark, value) in [
        (
            "cache_control",
            "cache_control",
            json!({"type": "ephemeral"}),
        ),
        (
            "breakpoints",
            "prompt_cache_breakpoint",
            json!({"mode": "explicit"}),
        ),
    ] {
        let words = json!({ "prompt_cache": word });
        let wire = wire().with_quirks(quirks(words.clone()));
        let sent = body(&wire, &request);
        let marked: Vec<String> = sent["messages"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|message| message["content"][0][mark] == value)
            .map(|message| message["content"][0]["text"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(marked, ["be brief", "two", "three"]);
        assert_eq!(sent, body(&wire, &request), "what is kept does not show");
        assert_eq!(sent.to_string().matches(mark).count(), 3);
        let mut grown = request.clone();
        grown.view.push(user("four"));
        assert_eq!(body(&wire, &grown), self::sent(words, &grown));
    }
}

#[test]
fn c20_a_placeholder_stands_for_the_tools_that_a_history_had() {
    let request = request(tool_turn());
    assert_eq!(
        sent(json!({"tools_for_history": "nothing"}), &request)["tools"],
        Value::Null
    );
    let placeholder = json!({"tools_for_history": "placeholder"});
    let asked = sent(placeholder.clone(), &request);
    assert_eq!(asked["tools"][0]["function"]["name"], "unavailable");
    assert_eq!(asked["tools"].as_array().unwrap().len(), 1);
    let without = sent(placeholder.clone(), &crate::requests::request([user("hi")]));
    assert_eq!(without["tools"], Value::Null);
    let own = sent(placeholder, &with_tools(request));
    assert_eq!(own["tools"].as_array().unwrap().len(), 2);
}

#[test]
fn c21_schemas_become_strict_where_they_can_say_all_of_it() {
    let mut request = asked(Options::default());
    let mut open = request.tools[1].clone();
    open.input_schema =
        RawJson::parse(r#"{"type":"object","additionalProperties":{"type":"string"}}"#).unwrap();
    let mut closed = request.tools[0].clone();
    closed.input_schema =
        RawJson::parse(r#"{"type":"object","properties":{"n":{"type":"integer"}}}"#).unwrap();
    request.tools = [closed, open].into();
    let hinted = sent(json!({"tool_schemas": "hinted"}), &request);
    assert_eq!(hinted["tools"][0]["function"]["strict"], Value::Null);
    let strict = sent(json!({"tool_schemas": "strict"}), &request);
    let function = &strict["tools"][0]["function"];
    assert_eq!(function["strict"], true);
    assert_eq!(function["parameters"]["required"], json!(["n"]));
    assert_eq!(function["parameters"]["additionalProperties"], false);
    let function = &strict["tools"][1]["function"];
    assert_eq!(function["strict"], Value::Null);
    assert_eq!(
        function["parameters"],
        hinted["tools"][1]["function"]["parameters"]
    );
}

#[test]
fn the_amount_of_reasoning_is_said_as_the_service_knows_it() {
    let kind = |word: &str| json!({"thinking": {"type": word}});
    let template = |on: bool| json!({"chat_template_kwargs": {"enable_thinking": on}});
    let effort = |word: &str| json!({ "reasoning_effort": word });
    let object = |object: Value| json!({ "reasoning": object });
    let both = json!({"thinking": {"type": "enabled"}, "reasoning_effort": "high"});
    let budget = json!({"enable_thinking": true, "thinking_budget": 7});
    for (word, off, adaptive, high, tokens) in [
        (
            "reasoning_effort",
            effort("none"),
            json!({}),
            effort("high"),
            effort("low"),
        ),
        ("unsaid", json!({}), json!({}), json!({}), json!({})),
        (
            "none_or_default",
            effort("none"),
            effort("default"),
            effort("default"),
            effort("default"),
        ),
        (
            "reasoning_object",
            object(json!({"effort": "none"})),
            object(json!({"enabled": true})),
            object(json!({"effort": "high"})),
            object(json!({"max_tokens": 7})),
        ),
        (
            "thinking_type",
            kind("disabled"),
            kind("enabled"),
            kind("enabled"),
            kind("enabled"),
        ),
        (
            "thinking_type_and_effort",
            kind("disabled"),
            kind("enabled"),
            both,
            json!({"thinking": {"type": "enabled"}, "reasoning_effort": "low"}),
        ),
        (
            "enable_thinking",
            json!({"enable_thinking": false}),
            json!({"enable_thinking": true}),
            json!({"enable_thinking": true}),
            budget,
        ),
        (
            "chat_template_kwargs",
            template(false),
            template(true),
            template(true),
            template(true),
        ),
    ] {
        for (level, expected) in [
            (Thinking::Off, off),
            (Thinking::Adaptive, adaptive),
            (Thinking::High, high),
            (Thinking::BudgetTokens(7), tokens),
        ] {
            let options = thinking(level);
            let mut sent = sent(json!({ "reasoning": word }), &asked(options));
            let fields = sent.as_object_mut().unwrap();
            for usual in ["model", "stream", "stream_options", "tools", "messages"] {
                fields.remove(usual);
            }
            assert_eq!(sent, expected, "{word} {level:?}");
        }
    }
}

#[test]
fn no_reasoning_is_said_as_the_service_knows_it() {
    let off = asked(thinking(Thinking::Off));
    for (word, expected) in [
        ("none", json!("none")),
        ("minimal", json!("minimal")),
        ("unsaid", Value::Null),
    ] {
        let sent = sent(json!({ "reasoning_off": word }), &off);
        assert_eq!(sent["reasoning_effort"], expected);
    }
}

#[test]
fn groq_puts_reasoning_into_a_field_where_asked() {
    for (word, level, expected) in [
        ("unsaid", Thinking::High, Value::Null),
        ("parsed", Thinking::High, json!("parsed")),
        ("parsed", Thinking::Off, Value::Null),
    ] {
        let sent = sent(json!({ "reasoning_format": word }), &asked(thinking(level)));
        assert_eq!(sent["reasoning_format"], expected, "{word} {level:?}");
    }
}

#[test]
fn a_form_of_the_answer_is_asked_for_as_the_service_knows_it() {
    let schema = json!({"type": "object", "properties": {"age": {"type": "integer"}},
        "required": ["age"], "additionalProperties": false});
    let alone = |words| sent(words, &with_options(request([user("hi")]), form(&schema)));
    let beside = |words| sent(words, &asked(form(&schema)));
    let strict = json!({"type": "json_schema", "json_schema":
        {"name": "person", "schema": schema, "strict": true}});
    for words in [json!({}), json!({"output_form": "json_schema"})] {
        assert_eq!(alone(words.clone())["response_format"], strict);
        assert_eq!(beside(words.clone())["response_format"], strict);
        assert_eq!(alone(words)["tools"], Value::Null);
    }
    let words = json!({"output_form": "json_schema_without_tools"});
    assert_eq!(alone(words.clone())["response_format"], strict);
    let tools = beside(words);
    assert_eq!(tools["response_format"], Value::Null);
    assert_eq!(tools["tools"][2]["function"]["name"], OUTPUT_TOOL);
    assert_eq!(tools["tool_choice"], "required");
    let tool = alone(json!({"output_form": "tool"}));
    assert_eq!(tool["tools"][0]["function"]["parameters"], schema);
    assert_eq!(tool["tool_choice"]["function"]["name"], OUTPUT_TOOL);
    let object = alone(json!({"output_form": "json_object"}));
    assert_eq!(object["response_format"], json!({"type": "json_object"}));
    let system = object["messages"][0]["content"].as_str().unwrap();
    assert!(
        system.contains("JSON") && system.ends_with(&schema.to_string()),
        "{system}"
    );
    let open = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let lax = sent(json!({}), &asked(form(&open)));
    assert_eq!(lax["response_format"]["json_schema"]["strict"], false);
    assert_eq!(lax["response_format"]["json_schema"]["schema"], open);
}

#[test]
fn the_call_that_stands_for_a_form_is_text() {
    let called = json!({"choices": [{"finish_reason": "tool_calls", "message": {"tool_calls":
        [{"id": "a", "function": {"name": OUTPUT_TOOL, "arguments": "{\"age\":7}"}}]}}]});
    let wire = wire().with_quirks(quirks(json!({"output_form": "tool"})));
    let mut decoder = wire.decoder(&phi_provider::ResponseHead::new(200));
    let mut deltas = Vec::new();
    decoder
        .push(called.to_string().as_bytes(), &mut deltas)
        .unwrap();
    decoder.end(&mut deltas).unwrap();
    let mut assembler = phi_types::Assembler::new();
    for delta in &deltas {
        assembler.push(delta).unwrap();
    }
    let message = assembler.into_message(crate::origin()).unwrap();
    assert_eq!(message.text(), "{\"age\":7}");
    assert_eq!(message.stop_reason, StopReason::EndTurn);
}

#[test]
fn copilot_is_told_who_asks_and_why() {
    let headers = |words: Value, request: &Request| {
        let encoded = wire().with_quirks(quirks(words)).encode(request).unwrap();
        let all = encoded.request.headers.into_iter();
        all.collect::<std::collections::BTreeMap<_, _>>()
    };
    let by_user = headers(json!({"client_headers": "copilot"}), &request([user("hi")]));
    assert_eq!(by_user["x-initiator"], "user");
    assert_eq!(by_user["copilot-integration-id"], "vscode-chat");
    assert!(by_user.contains_key("editor-version") && by_user.contains_key("openai-intent"));
    assert!(!by_user.contains_key("copilot-vision-request"));
    let mut turn = tool_turn();
    turn.pop();
    turn.insert(
        0,
        Entry::User(Arc::new(UserMessage {
            content: vec![image()],
        })),
    );
    let by_tool = headers(json!({"client_headers": "copilot"}), &request(turn));
    assert_eq!(by_tool["x-initiator"], "agent");
    assert_eq!(by_tool["copilot-vision-request"], "true");
    let none = headers(json!({"client_headers": "none"}), &request([user("hi")]));
    assert_eq!(none.len(), 2);
}

/// The words that other files test: `requests.rs` and `reasoning.rs`.
#[test]
fn every_word_is_read_and_written_as_it_is_spelled() {
    for (field, words) in [
        ("empty_content", &["null", "empty", "omitted"][..]),
        (
            "reasoning_replay",
            &["never", "with_tools", "with_tools_or_empty", "always"],
        ),
        ("think_tags", &["text", "thinking"]),
        ("key_place", &["bearer", "api_key"]),
    ] {
        for word in words {
            let written = serde_json::to_value(quirks(json!({ field: word }))).unwrap();
            assert_eq!(written[field], *word);
        }
    }
    assert_eq!(quirks(json!({})), Quirks::default());
}

#[test]
fn vllm_reports_an_error_as_an_object_in_the_stream() {
    let body = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n\
        data: {\"object\":\"error\",\"message\":\"the model died\",\"code\":500}\n\n";
    let dialect = Dialects::builtin();
    let wire = OpenAiChat::dialect(dialect.get("vllm").unwrap());
    let mut decoder = wire.decoder(&phi_provider::ResponseHead::new(200));
    let error = decoder.push(body.as_bytes(), &mut Vec::new()).unwrap_err();
    assert_eq!(error.kind, phi_types::ProviderErrorKind::Server);
    assert_eq!(error.message, "the model died");
}

/// The status says that the request is at fault, and the same request may well fail again: it is
/// not sent again unchanged.
#[test]
fn groq_says_that_the_model_called_a_tool_wrongly_by_a_status_of_the_request() {
    let body = r#"{"error":{"message":"Failed to call a function.","type":"invalid_request_error","code":"tool_use_failed","failed_generation":"<function=x>"}}"#;
    let dialect = Dialects::builtin();
    let wire = OpenAiChat::dialect(dialect.get("groq").unwrap());
    let mut decoder = wire.decoder(&phi_provider::ResponseHead::new(400));
    let pushed = decoder.push(body.as_bytes(), &mut Vec::new());
    let error = pushed
        .and_then(|()| decoder.end(&mut Vec::new()))
        .unwrap_err();
    assert_eq!(error.kind, phi_types::ProviderErrorKind::InvalidRequest);
    assert!(
        error.message.contains("Failed to call a function."),
        "{error}"
    );
}

#[test]
fn every_dialect_of_the_table_writes_a_request() {
    let mut count = 0;
    for dialect in Dialects::builtin().iter() {
        let wire = OpenAiChat::dialect(dialect).with_delivery(Delivery::Whole);
        assert_eq!(wire.identity().provider, dialect.name);
        let first = dialect.models.iter().flat_map(|rule| &rule.models);
        let models = first.map(|pattern| pattern.replace('*', "x"));
        for model in models.chain(["any".to_owned()]) {
            let request = Request {
                model: model.as_str().into(),
                ..asked(thinking(Thinking::High))
            };
            let encoded = wire.encode(&request).unwrap().request;
            assert_eq!(
                encoded.url,
                format!("{}/chat/completions", dialect.base_url)
            );
            let _: Value = serde_json::from_slice(&encoded.body_bytes()).unwrap();
            count += 1;
        }
    }
    assert!(count > 30, "{count}");
}

#[test]
fn every_rule_for_models_can_fit() {
    for dialect in Dialects::builtin().iter() {
        for (nth, rule) in dialect.models.iter().enumerate() {
            for pattern in &rule.models {
                let model = pattern.replace('*', "-x");
                let earlier = Dialect {
                    quirks: Quirks::default(),
                    models: dialect.models[..nth].to_vec(),
                    ..dialect.clone()
                };
                assert_eq!(
                    earlier.quirks_of(&model),
                    Quirks::default(),
                    "{model} is taken before"
                );
                assert_eq!(dialect.quirks_of(&model), rule.quirks);
            }
        }
    }
}

#[test]
fn a_user_adds_a_dialect_and_replaces_one() {
    let mine = r#"{"version":1,"dialects":[
        {"name":"mine","base_url":"http://h/v1"},
        {"name":"groq","base_url":"http://g/v1","key_variable":"MY_KEY",
         "quirks":{"images":"refused"},
         "models":[{"models":["a*"],"quirks":{"sampling":"refused"}}]}]}"#;
    let table = Dialects::builtin().with_json(mine).unwrap();
    assert_eq!(table.get("mine").unwrap().quirks, Quirks::default());
    let groq = table.get("groq").unwrap();
    assert_eq!(groq.key_variable.as_deref(), Some("MY_KEY"));
    let of_model = quirks(json!({"images": "refused", "sampling": "refused"}));
    assert_eq!(groq.quirks_of("ab"), of_model);
    assert_eq!(groq.quirks_of("b"), quirks(json!({"images": "refused"})));
    let count = table.iter().count();
    assert_eq!(count, Dialects::builtin().iter().count() + 1);
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("dialects.json");
    std::fs::write(&path, mine).unwrap();
    assert_eq!(Dialects::builtin().with_file(&path).unwrap(), table);
}

#[test]
fn a_table_that_is_wrong_says_what_is_wrong() {
    let error = |json: &str| Dialects::from_json(json).unwrap_err();
    assert!(matches!(
        error(r#"{"version":2,"dialects":{}}"#),
        DialectError::Version { found: 2 }
    ));
    insta::assert_snapshot!(error(r#"{"version":2,"dialects":[]}"#), @"the dialects have version 2: this version of phi reads version 1");
    insta::assert_snapshot!(error(r#"{"version":1,"dialects":[{"name":"a","base_url":"b","quirks":{"images":"maybe"}}]}"#), @"the quirks of dialect `a` are not what they should be: unknown variant `maybe`, expected `taken` or `refused`");
    for json in [
        "",
        "[]",
        r#"{"version":1}"#,
        r#"{"version":1,"dialects":[{"name":"a"}]}"#,
        r#"{"version":1,"dialects":[{"name":"a","base_url":"b","quirk":{}}]}"#,
    ] {
        assert!(matches!(error(json), DialectError::Malformed(_)), "{json}");
    }
    let unknown =
        r#"{"version":1,"dialects":[{"name":"a","base_url":"b","quirks":{"size":"big"}}]}"#;
    assert!(matches!(error(unknown), DialectError::Quirks { .. }));
    let missing = Dialects::builtin().with_file("/nowhere/d.json".as_ref());
    assert!(matches!(missing, Err(DialectError::Unreadable { .. })));
}

/// Returns the words that differ from the default, as `field: word`.
fn words(quirks: Quirks, base: Quirks) -> String {
    let fields = |quirks| match serde_json::to_value(quirks) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let base = fields(base);
    let differing = fields(quirks)
        .into_iter()
        .filter(|(name, word)| base[name] != *word);
    let all: Vec<String> = differing
        .map(|(name, word)| format!("`{name}: {}`", word.as_str().unwrap()))
        .collect();
    if all.is_empty() {
        "as OpenAI".to_owned()
    } else {
        all.join(", ")
    }
}

#[test]
fn the_document_lists_the_table() {
    let mut table = String::from("| name | address | key in | accepts |\n|---|---|---|---|\n");
    for dialect in Dialects::builtin().iter() {
        let key = dialect.key_variable.as_deref();
        let key = key.map_or("no variable".to_owned(), |key| format!("`{key}`"));
        let quirks = words(dialect.quirks, Quirks::default());
        let (name, base_url) = (&dialect.name, &dialect.base_url);
        writeln!(table, "| {name} | <{base_url}> | {key} | {quirks} |").unwrap();
        for rule in &dialect.models {
            let models: Vec<String> = rule.models.iter().map(|it| format!("`{it}`")).collect();
            let quirks = words(rule.quirks, dialect.quirks);
            writeln!(table, "| | models {} | | {quirks} |", models.join(", ")).unwrap();
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/dialects.md");
    let document = std::fs::read_to_string(path).unwrap();
    assert!(
        document.contains(&table),
        "docs/dialects.md does not hold the table of the data, which is:\n{table}"
    );
}
