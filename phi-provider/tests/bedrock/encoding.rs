//! Requests: what each family of models is sent.

use std::sync::Arc;

use phi_provider::translate::LossKind;
use phi_provider::{
    BedrockConverse, CachePoints, Delivery, EncodeError, ModelFamily, StructuredOutput, Wire,
};
use phi_types::{
    AssistantPart, Content, Entry, Facts, OpaquePart, Options, OutputSchema, PartFacts, TextPart,
    Thinking, ToolChoice,
};
use serde_json::{Value, json};

use crate::support::{
    CLAUDE, NOVA, OLD, assistant, body, call, image, messages, raw, request, results, shown, text,
    thinking, tool, user, wire,
};

fn losses(model: &str, view: Vec<Entry>) -> Vec<LossKind> {
    let encoded = wire()
        .encode(&request(model, view, Options::default()))
        .unwrap();
    encoded.losses.into_iter().map(|loss| loss.kind).collect()
}

fn of_options(model: &str, options: Options) -> Value {
    let wire = wire().with_cache(CachePoints::Off);
    body(&wire, &request(model, vec![user("q")], options))
}

#[test]
fn a_request_says_what_rarely_changes_first_and_the_messages_last() {
    let found = call("t1", "f", r#"{"x":1}"#);
    let view = vec![
        user("look"),
        assistant(
            CLAUDE,
            vec![text("I do."), AssistantPart::ToolCall(Arc::clone(&found))],
        ),
        results(vec![(
            &found,
            vec![Content::text("here"), image("image/png")],
            false,
        )]),
        user("and?"),
    ];
    let options = Options {
        output_tokens_max: Some(100),
        temperature: Some(0.5),
        stop_sequences: vec!["END".to_owned(), String::new()],
        tool_choice: Some(ToolChoice::Required),
        ..Options::default()
    };
    let encoded = wire().encode(&request(CLAUDE, view, options)).unwrap();
    assert_eq!(encoded.losses, []);
    let request = encoded.request;
    assert_eq!(request.method, "POST");
    insta::assert_snapshot!(request.url, @"https://bedrock-runtime.us-east-1.amazonaws.com/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse-stream");
    let accept = "application/vnd.amazon.eventstream".to_owned();
    let json = "application/json".to_owned();
    assert_eq!(
        request.headers,
        [("content-type", json), ("accept", accept)]
    );
    insta::assert_snapshot!(String::from_utf8(request.body_bytes()).unwrap(), @r#"{"inferenceConfig":{"maxTokens":100,"temperature":0.5,"stopSequences":["END"]},"toolConfig":{"tools":[{"toolSpec":{"name":"f","description":"does it","inputSchema":{"json":{"properties":{"x":{"type":"integer"}},"type":"object"}}}},{"cachePoint":{"type":"default"}}],"toolChoice":{"any":{}}},"system":[{"text":"be brief"},{"cachePoint":{"type":"default"}}],"messages":[{"role":"user","content":[{"text":"look"},{"cachePoint":{"type":"default"}}]},{"role":"assistant","content":[{"text":"I do."},{"toolUse":{"toolUseId":"t1","name":"f","input":{"x":1}}}]},{"role":"user","content":[{"toolResult":{"toolUseId":"t1","content":[{"text":"here"},{"image":{"format":"png","source":{"bytes":"AAAA"}}}]}},{"text":"and?"},{"cachePoint":{"type":"default"}}]}]}"#);
}

#[test]
fn a_whole_answer_is_asked_for_at_its_own_path() {
    let wire = wire()
        .with_delivery(Delivery::Whole)
        .with_base_url("https://proxy.example/bedrock/");
    let request = request("m", vec![user("q")], Options::default());
    let encoded = wire.encode(&request).unwrap().request;
    assert_eq!(
        encoded.url,
        "https://proxy.example/bedrock/model/m/converse"
    );
    assert!(
        encoded
            .headers
            .contains(&("accept", "application/json".to_owned()))
    );
}

#[test]
fn a_conversation_that_only_grew_keeps_its_beginning() {
    let found = call("t1", "f", "{}");
    let view = [
        user("one"),
        assistant(
            CLAUDE,
            vec![text("a \n"), AssistantPart::ToolCall(Arc::clone(&found))],
        ),
        results(vec![(&found, vec![Content::text("r")], false)]),
        user("two"),
        assistant(CLAUDE, vec![thinking("hm", Some("s")), text("b \n")]),
        user("three"),
        shown(vec![image("application/pdf")]),
    ];
    let growing = wire().with_cache(CachePoints::Off);
    let with_points = wire();
    let mut before = String::new();
    // Between a call and its result a conversation may change.
    for len in [1, 3, 4, 5, 6, 7] {
        let request = request(CLAUDE, view[..len].to_vec(), Options::default());
        let encoded = growing.encode(&request).unwrap();
        let fresh = wire()
            .with_cache(CachePoints::Off)
            .encode(&request)
            .unwrap();
        assert_eq!(
            encoded.request.body_bytes(),
            fresh.request.body_bytes(),
            "{len}"
        );
        let body = String::from_utf8(encoded.request.body_bytes()).unwrap();
        let open = before.trim_end_matches(|c| "\"]}".contains(c));
        assert!(body.starts_with(open), "{len}: {open}\n{body}");
        before = body;
        let cached = with_points.encode(&request).unwrap().request.body_bytes();
        let fresh = wire().encode(&request).unwrap().request.body_bytes();
        assert_eq!(cached, fresh, "{len}");
        serde_json::from_slice::<Value>(&cached).unwrap();
    }
}

#[test]
fn b05_roles_take_turns_and_begin_with_the_user() {
    let (one, two) = (call("t1", "f", "{}"), call("t2", "f", "{}"));
    let calls = [&one, &two].map(|call| AssistantPart::ToolCall(Arc::clone(call)));
    let view = vec![
        assistant(CLAUDE, vec![text("a")]),
        assistant(CLAUDE, calls.into()),
        results(vec![(&two, vec![Content::text("2")], false)]),
        results(vec![(&one, vec![], true)]),
        user("b"),
        user("c"),
    ];
    insta::assert_snapshot!(messages(CLAUDE, view), @r#"[{"content":[{"text":"(the beginning of the conversation is not shown)"}],"role":"user"},{"content":[{"text":"a"},{"toolUse":{"input":{},"name":"f","toolUseId":"t1"}},{"toolUse":{"input":{},"name":"f","toolUseId":"t2"}}],"role":"assistant"},{"content":[{"toolResult":{"content":[{"text":"(no output)"}],"status":"error","toolUseId":"t1"}},{"toolResult":{"content":[{"text":"2"}],"toolUseId":"t2"}},{"text":"b"},{"text":"c"}],"role":"user"}]"#);
}

#[test]
fn b05_nothing_blank_is_sent_and_the_last_text_ends_without_white_space() {
    let view = |last: Vec<AssistantPart>| {
        messages(
            CLAUDE,
            vec![user("q"), user(" \n"), assistant(CLAUDE, last)],
        )
    };
    let two = view(vec![text("a \n"), text(" \t"), text("b \n")]);
    assert_eq!(two[0]["content"], json!([{"text": "q"}]));
    assert_eq!(two[1]["content"], json!([{"text": "a \n"}, {"text": "b"}]));
    let blank = view(vec![text("\n")]);
    assert_eq!(blank, json!([{"role": "user", "content": [{"text": "q"}]}]));
    let nothing = request(CLAUDE, vec![user(" ")], Options::default());
    let error = wire().encode(&nothing).unwrap_err();
    assert_eq!(error, EncodeError::NothingToSend);
}

#[test]
fn b06_arguments_that_are_no_object_are_wrapped() {
    let bad = call("t1", "f", "[1]");
    let view = vec![
        user("q"),
        assistant(CLAUDE, vec![AssistantPart::ToolCall(Arc::clone(&bad))]),
        results(vec![(&bad, vec![Content::text("r")], true)]),
    ];
    let written = messages(CLAUDE, view);
    let input = &written[1]["content"][0]["toolUse"]["input"];
    assert_eq!(*input, json!({"malformed_arguments": "[1]"}));
}

#[test]
fn b07_only_signed_reasoning_goes_back_and_only_to_its_author() {
    let parts = || {
        vec![
            thinking("open", None),
            thinking("empty", Some("")),
            thinking("signed", Some("sig")),
            AssistantPart::Opaque(OpaquePart {
                kind: "redactedContent".to_owned(),
                data: raw(r#"{"reasoningContent":{"redactedContent":"RXU4"}}"#),
            }),
            text("x"),
        ]
    };
    let view = |author: &str| vec![user("q"), assistant(author, parts()), user("r")];
    let own = messages(CLAUDE, view(CLAUDE));
    insta::assert_snapshot!(own[1]["content"], @r#"[{"reasoningContent":{"reasoningText":{"signature":"sig","text":"signed"}}},{"reasoningContent":{"redactedContent":"RXU4"}},{"text":"x"}]"#);
    for (reader, author) in [(CLAUDE, NOVA), (NOVA, CLAUDE)] {
        let foreign = messages(reader, view(author));
        assert_eq!(foreign[1]["content"], json!([{"text": "x"}]));
        let lost = losses(reader, view(author));
        let dropped = lost.iter().filter(|it| **it == LossKind::ThinkingDropped);
        assert_eq!(dropped.count(), 3);
    }
}

#[test]
fn b08_cache_points_stand_after_tools_system_and_the_last_two_user_messages() {
    let view = || {
        let texts = ["a", "b", "c"];
        texts
            .into_iter()
            .flat_map(|it| [user(it), assistant(CLAUDE, vec![text(it)])])
            .chain([user("d")])
            .collect::<Vec<_>>()
    };
    let points = |wire: &BedrockConverse, model: &str| {
        let written = body(wire, &request(model, view(), Options::default()));
        let last = |list: &Value| list.as_array().unwrap().last().unwrap()["cachePoint"].clone();
        let tools = last(&written["toolConfig"]["tools"]);
        let system = last(&written["system"]);
        let users = written["messages"].as_array().unwrap().iter();
        let users = users.filter(|it| it["role"] == "user");
        let users: Vec<Value> = users.map(|it| last(&it["content"])).collect();
        (tools, system, users)
    };
    let point = || json!({"type": "default"});
    let none = Value::Null;
    let two = |point: &Value| vec![none.clone(), none.clone(), point.clone(), point.clone()];
    assert_eq!(points(&wire(), CLAUDE), (point(), point(), two(&point())));
    assert_eq!(
        points(&wire(), NOVA),
        (none.clone(), point(), two(&point()))
    );
    assert_eq!(
        points(&wire(), OLD),
        (none.clone(), none.clone(), two(&none))
    );
    let off = wire().with_cache(CachePoints::Off);
    assert_eq!(
        points(&off, CLAUDE),
        (none.clone(), none.clone(), two(&none))
    );
    let long = wire().with_cache(CachePoints::OneHour);
    let hour = json!({"type": "default", "ttl": "1h"});
    assert_eq!(
        points(&long, CLAUDE),
        (hour.clone(), hour.clone(), two(&hour))
    );
    assert_eq!(points(&long, NOVA), (none.clone(), point(), two(&point())));
    let hidden = wire().with_family(ModelFamily::Claude);
    let arn = "arn:aws:bedrock:us-east-1:1:application-inference-profile/x";
    assert_eq!(points(&hidden, arn), (point(), point(), two(&point())));
}

#[test]
fn b08_no_cache_point_follows_a_document() {
    let view = vec![shown(vec![Content::text("read"), image("application/pdf")])];
    let written = body(&wire(), &request(CLAUDE, view, Options::default()));
    let content = written["messages"][0]["content"].as_array().unwrap();
    assert_eq!(content.len(), 2);
    assert!(content[1]["document"].is_object());
}

#[test]
fn b09_mistral_gets_ids_of_nine_characters() {
    let one = call("call_with_a_long_id", "f", "{}");
    let view = vec![
        user("q"),
        assistant(CLAUDE, vec![AssistantPart::ToolCall(Arc::clone(&one))]),
        results(vec![(&one, vec![Content::text("r")], false)]),
        user("more"),
    ];
    let written = messages("mistral.mistral-large-2402-v1:0", view);
    let id = written[1]["content"][0]["toolUse"]["toolUseId"]
        .as_str()
        .unwrap();
    assert!(
        id.len() == 9 && id.chars().all(|c| c.is_ascii_alphanumeric()),
        "{id}"
    );
    assert_eq!(written[2]["content"][0]["toolResult"]["toolUseId"], id);
    // It takes nothing beside the results of tools.
    assert_eq!(
        written[3],
        json!({"role": "assistant", "content": [{"text": "."}]})
    );
    assert_eq!(written[4]["content"], json!([{"text": "more"}]));
}

#[test]
fn b10_each_family_is_asked_to_reason_in_its_own_words() {
    let asked = |model: &str, thinking: Thinking| {
        let options = Options {
            thinking: Some(thinking),
            ..Options::default()
        };
        of_options(model, options)["additionalModelRequestFields"].to_string()
    };
    let gpt = "openai.gpt-oss-120b-1:0";
    let qwen = "qwen.qwen3-32b-v1:0";
    let lines: Vec<String> = [
        (CLAUDE, Thinking::Off),
        (CLAUDE, Thinking::Low),
        (CLAUDE, Thinking::BudgetTokens(5_000)),
        ("us.anthropic.claude-sonnet-4-6", Thinking::High),
        ("us.anthropic.claude-sonnet-4-6", Thinking::Adaptive),
        ("anthropic.claude-3-haiku-20240307-v1:0", Thinking::High),
        (NOVA, Thinking::Off),
        (NOVA, Thinking::Low),
        (NOVA, Thinking::High),
        ("amazon.nova-lite-v1:0", Thinking::High),
        (gpt, Thinking::Off),
        (gpt, Thinking::High),
        (qwen, Thinking::Off),
        (qwen, Thinking::Low),
        (qwen, Thinking::Medium),
        (OLD, Thinking::High),
    ]
    .into_iter()
    .map(|(model, thinking)| format!("{model} {thinking:?}: {}", asked(model, thinking)))
    .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    us.anthropic.claude-sonnet-4-5-20250929-v1:0 Off: {"thinking":{"type":"disabled"}}
    us.anthropic.claude-sonnet-4-5-20250929-v1:0 Low: {"thinking":{"budget_tokens":2048,"type":"enabled"}}
    us.anthropic.claude-sonnet-4-5-20250929-v1:0 BudgetTokens(5000): {"thinking":{"budget_tokens":5000,"type":"enabled"}}
    us.anthropic.claude-sonnet-4-6 High: {"output_config":{"effort":"high"},"thinking":{"type":"adaptive"}}
    us.anthropic.claude-sonnet-4-6 Adaptive: {"thinking":{"type":"adaptive"}}
    anthropic.claude-3-haiku-20240307-v1:0 High: null
    amazon.nova-2-lite-v1:0 Off: {"reasoningConfig":{"type":"disabled"}}
    amazon.nova-2-lite-v1:0 Low: {"reasoningConfig":{"maxReasoningEffort":"low","type":"enabled"}}
    amazon.nova-2-lite-v1:0 High: {"reasoningConfig":{"maxReasoningEffort":"high","type":"enabled"}}
    amazon.nova-lite-v1:0 High: null
    openai.gpt-oss-120b-1:0 Off: {"reasoning_effort":"low"}
    openai.gpt-oss-120b-1:0 High: {"reasoning_effort":"high"}
    qwen.qwen3-32b-v1:0 Off: {"reasoning_config":"none"}
    qwen.qwen3-32b-v1:0 Low: {"reasoning_config":"low"}
    qwen.qwen3-32b-v1:0 Medium: {"reasoning_config":"high"}
    meta.llama3-1-70b-instruct-v1:0 High: null
    "#);
}

#[test]
fn b10_reasoning_excludes_what_the_model_refuses_beside_it() {
    let full = |thinking| Options {
        thinking: Some(thinking),
        temperature: Some(0.5),
        top_p: Some(0.9),
        output_tokens_max: Some(3_000),
        ..Options::default()
    };
    let config = |model, thinking| of_options(model, full(thinking))["inferenceConfig"].clone();
    assert_eq!(config(NOVA, Thinking::High), Value::Null);
    let all = json!({"maxTokens": 3_000, "temperature": 0.5, "topP": 0.9});
    assert_eq!(config(NOVA, Thinking::Low), all);
    assert_eq!(config(CLAUDE, Thinking::High), json!({"maxTokens": 3_000}));
    let thinking = |options| of_options(CLAUDE, options)["additionalModelRequestFields"].clone();
    let budget = json!({"thinking": {"type": "enabled", "budget_tokens": 2_999}});
    assert_eq!(thinking(full(Thinking::High)), budget);
    let small = Options {
        output_tokens_max: Some(1_000),
        ..full(Thinking::High)
    };
    assert_eq!(thinking(small), json!({"thinking": {"type": "disabled"}}));
    let forced = Options {
        tool_choice: Some(ToolChoice::Tool("f".to_owned())),
        ..full(Thinking::High)
    };
    assert_eq!(thinking(forced), Value::Null);
}

#[test]
fn b11_documents_have_names_that_differ_and_a_text_beside_them() {
    let view = vec![
        shown(vec![image("application/pdf"), image("text/csv")]),
        assistant(CLAUDE, vec![text("a")]),
        shown(vec![
            Content::text("and"),
            image("text/plain"),
            image("image/tiff"),
        ]),
    ];
    insta::assert_snapshot!(messages(CLAUDE, view), @r#"[{"content":[{"document":{"format":"pdf","name":"Document 1","source":{"bytes":"AAAA"}}},{"document":{"format":"csv","name":"Document 2","source":{"bytes":"AAAA"}}},{"text":"."}],"role":"user"},{"content":[{"text":"a"}],"role":"assistant"},{"content":[{"text":"and"},{"document":{"format":"txt","name":"Document 3","source":{"bytes":"AAAA"}}},{"text":"[an image of type image/tiff was left out]"}],"role":"user"}]"#);
}

#[test]
fn b12_ids_and_names_hold_only_what_the_service_allows() {
    let odd = call("functions.f:0|x", "fs.read/é", "{}");
    let view = vec![
        user("q"),
        assistant(OLD, vec![AssistantPart::ToolCall(Arc::clone(&odd))]),
        results(vec![(&odd, vec![Content::text("r")], false)]),
    ];
    let written = messages(CLAUDE, view);
    let call = &written[1]["content"][0]["toolUse"];
    assert_eq!(call["name"], "fs_read__");
    let id = call["toolUseId"].as_str().unwrap();
    assert!(
        id.chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)),
        "{id}"
    );
    assert_eq!(written[2]["content"][0]["toolResult"]["toolUseId"], id);
}

#[test]
fn images_of_results_stand_where_the_family_takes_them() {
    let one = call("t1", "f", "{}");
    let view = |is_error| {
        vec![
            user("q"),
            assistant(CLAUDE, vec![AssistantPart::ToolCall(Arc::clone(&one))]),
            results(vec![(&one, vec![image("image/png")], is_error)]),
        ]
    };
    let inside = &messages(CLAUDE, view(false))[2]["content"][0]["toolResult"]["content"];
    assert_eq!(inside[0]["image"]["format"], "png");
    let failed = &messages(CLAUDE, view(true))[2]["content"][0]["toolResult"];
    assert_eq!(failed["status"], "error");
    assert!(failed["content"][0]["text"].is_string());
    let after = messages("deepseek.v3-v1:0", view(false));
    assert_eq!(after[2]["content"].as_array().unwrap().len(), 3);
    assert_eq!(after[2]["content"][2]["image"]["format"], "png");
}

#[test]
fn citations_go_back_with_their_text_to_their_author() {
    let cited = AssistantPart::Text(TextPart {
        text: "said".to_owned(),
        facts: PartFacts::from(Facts {
            extra: Some(raw(r#"{"citations":[{"title":"t"}]}"#)),
            ..Facts::default()
        }),
    });
    let view = vec![user("q"), assistant(CLAUDE, vec![cited]), user("r")];
    let own = messages(CLAUDE, view.clone());
    let block = json!({"citationsContent": {
        "content": [{"text": "said"}], "citations": [{"title": "t"}]
    }});
    assert_eq!(own[1]["content"], json!([block]));
    let foreign = messages(NOVA, view);
    assert_eq!(foreign[1]["content"], json!([{"text": "said"}]));
}

#[test]
fn no_tool_is_said_in_the_words_that_each_family_has() {
    let config = |model: &str, with_calls: bool, tools: bool| {
        let one = call("t1", "f", "{}");
        let mut view = vec![user("q")];
        if with_calls {
            view.push(assistant(
                model,
                vec![AssistantPart::ToolCall(Arc::clone(&one))],
            ));
            view.push(results(vec![(&one, vec![Content::text("r")], false)]));
        }
        let options = Options {
            tool_choice: Some(ToolChoice::None),
            ..Options::default()
        };
        let mut request = request(model, view, options);
        if !tools {
            request.tools = [].into();
        }
        let body = body(&wire().with_cache(CachePoints::Off), &request);
        let names = body["toolConfig"]["tools"].as_array().cloned();
        let names = names.unwrap_or_default().into_iter();
        let names = names.map(|tool| tool["toolSpec"]["name"].as_str().unwrap().to_owned());
        (
            names.collect::<Vec<_>>(),
            body["additionalModelRequestFields"].clone(),
        )
    };
    let none = json!({"tool_choice": {"type": "none"}});
    let nothing = (vec![], Value::Null);
    assert_eq!(config(CLAUDE, false, true), nothing);
    assert_eq!(config(NOVA, false, true), nothing);
    // The service insists on tools where the conversation holds calls.
    assert_eq!(config(CLAUDE, true, true), (vec!["f".to_owned()], none));
    let placeholder = (vec!["no_tool".to_owned()], Value::Null);
    assert_eq!(config(NOVA, true, true), placeholder);
    assert_eq!(config(CLAUDE, true, false), placeholder);
}

#[test]
fn tools_of_the_service_need_no_placeholder_beside_them() {
    let ran = OpaquePart {
        kind: "server_tool_use".to_owned(),
        data: raw(
            r#"{"toolUse":{"toolUseId":"t","name":"n","input":{},"type":"server_tool_use"}}"#,
        ),
    };
    let view = vec![
        user("q"),
        assistant(NOVA, vec![AssistantPart::Opaque(ran)]),
        user("r"),
    ];
    let tools = |extra: Option<&str>| {
        let options = Options {
            extra: extra.map(raw),
            ..Options::default()
        };
        let mut request = request(NOVA, view.clone(), options);
        request.tools = [].into();
        body(&wire(), &request)["toolConfig"]["tools"].clone()
    };
    let own = json!([{"systemTool": {"name": "n"}}]);
    let extra = json!({"toolConfig": {"tools": own}}).to_string();
    assert_eq!(tools(Some(&extra)), own);
    assert_eq!(tools(None)[0]["toolSpec"]["name"], "no_tool");
}

#[test]
fn an_answer_in_a_form_is_asked_for_by_a_tool_or_by_the_field() {
    let schema =
        raw(r#"{"type":"object","properties":{"age":{"type":"integer"}},"required":["age"]}"#);
    let options = || Options {
        output: Some(OutputSchema {
            name: "person".to_owned(),
            schema: schema.clone(),
        }),
        ..Options::default()
    };
    let mut alone = request(NOVA, vec![user("q")], options());
    alone.tools = [].into();
    let plain = wire().with_cache(CachePoints::Off);
    insta::assert_snapshot!(body(&plain, &alone)["toolConfig"], @r#"{"toolChoice":{"tool":{"name":"phi_structured_output"}},"tools":[{"toolSpec":{"description":"Gives the answer. Call it once, with the whole answer, and write no text beside it.","inputSchema":{"json":{"properties":{"age":{"type":"integer"}},"required":["age"],"type":"object"}},"name":"phi_structured_output"}}]}"#);
    let beside = body(&plain, &request(NOVA, vec![user("q")], options()));
    assert_eq!(beside["toolConfig"]["toolChoice"], json!({"any": {}}));
    assert_eq!(beside["toolConfig"]["tools"].as_array().unwrap().len(), 2);
    let native = plain.with_structured_output(StructuredOutput::Native);
    let native = body(&native, &alone);
    assert_eq!(native["toolConfig"], Value::Null);
    insta::assert_snapshot!(native["outputConfig"], @r#"{"textFormat":{"structure":{"jsonSchema":{"name":"person","schema":"{\"type\":\"object\",\"properties\":{\"age\":{\"type\":\"integer\"}},\"required\":[\"age\"],\"additionalProperties\":false}"}},"type":"json_schema"}}"#);
}

#[test]
fn extra_fields_join_the_body_last() {
    let options = Options {
        temperature: Some(0.5),
        thinking: Some(Thinking::Low),
        extra: Some(raw(
            r#"{"inferenceConfig":{"topP":0.1},"additionalModelRequestFields":{"top_k":5},
                "toolConfig":{"tools":[{"systemTool":{"name":"nova_grounding"}}]},
                "system":[{"text":"other"}],"serviceTier":{"type":"flex"}}"#,
        )),
        ..Options::default()
    };
    let written = of_options(NOVA, options);
    assert_eq!(
        written["inferenceConfig"],
        json!({"temperature": 0.5, "topP": 0.1})
    );
    let additional = &written["additionalModelRequestFields"];
    assert_eq!(additional["top_k"], 5);
    assert_eq!(additional["reasoningConfig"]["type"], "enabled");
    let tools = written["toolConfig"]["tools"].as_array().unwrap();
    assert_eq!(tools.len(), 2);
    assert_eq!(tools[1]["systemTool"]["name"], "nova_grounding");
    assert_eq!(written["system"], json!([{"text": "other"}]));
    assert_eq!(written["serviceTier"]["type"], "flex");
    let given = Options {
        extra: Some(raw(r#"{"messages":[]}"#)),
        ..Options::default()
    };
    assert_eq!(of_options(NOVA, given)["messages"], json!([]));
    let array = Options {
        extra: Some(raw("[]")),
        ..Options::default()
    };
    let error = wire()
        .encode(&request(NOVA, vec![user("q")], array))
        .unwrap_err();
    assert_eq!(error, EncodeError::ExtraNotAnObject { found: "an array" });
}

#[test]
fn a_tool_whose_schema_is_no_object_is_named() {
    let mut bad = request(NOVA, vec![user("q")], Options::default());
    let mut odd = tool("odd");
    odd.input_schema = raw("true");
    bad.tools = vec![odd].into();
    let error = wire().encode(&bad).unwrap_err();
    let tool = "odd".to_owned();
    assert_eq!(error, EncodeError::SchemaNotAnObject { tool });
}
