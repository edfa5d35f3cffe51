//! What is sent.

use std::sync::Arc;
use std::time::SystemTime;

use phi_provider::structured::OUTPUT_TOOL;
use phi_provider::{CohereChat, Delivery, EncodeError, Secret, ToolSchemas, Wire};
use phi_types::{
    AssistantPart, Content, Entry, ImageSource, Options, Origin, OutputSchema, RawJson, Request,
    StopReason, Thinking, ToolChoice, ToolResult, UserMessage,
};
use serde_json::{Value, json};

use crate::support::{
    answer, body, call, grows, message, messages, own, request, results, sent, text, thinking,
    user, with,
};
use crate::wire;

const PLAN: &str = r#"{"tool_plan":true}"#;

fn form() -> Option<OutputSchema> {
    Some(OutputSchema {
        name: "o".to_owned(),
        schema: RawJson::parse(r#"{"type":"object","z":1,"a":"\ud83d"}"#).unwrap(),
    })
}

#[test]
fn a_request_is_the_same_bytes_each_time_and_messages_come_last() {
    let options = Options {
        output_tokens_max: Some(100),
        temperature: Some(0.5),
        top_p: Some(0.9),
        stop_sequences: vec!["END".to_owned()],
        tool_choice: Some(ToolChoice::Required),
        thinking: Some(Thinking::BudgetTokens(500)),
        extra: Some(RawJson::parse(r#"{"seed":7,"p":1}"#).unwrap()),
        ..Options::default()
    };
    let mut request = with(options);
    request.system = "be brief".into();
    let wire = wire().with_tool_schemas(ToolSchemas::Forced);
    let encoded = wire.encode(&request).unwrap().request;
    assert_eq!(encoded, wire.encode(&request).unwrap().request);
    assert_eq!(encoded.url, "https://api.cohere.com/v2/chat");
    insta::assert_snapshot!(sent(&wire, &request), @r##"{"model":"m","stream":true,"max_tokens":100,"temperature":0.5,"p":1,"stop_sequences":["END"],"thinking":{"token_budget":500,"type":"enabled"},"tool_choice":"REQUIRED","strict_tools":true,"tools":[{"type":"function","function":{"name":"f","description":"does it","parameters":{"type":"object","properties":{}}}},{"type":"function","function":{"name":"g","description":"does it","parameters":{"type":"object","properties":{}}}}],"seed":7,"messages":[{"role":"system","content":"be brief"},{"role":"user","content":"hi"}]}"##);
}

#[test]
fn without_options_nothing_is_said_of_them() {
    let whole = wire().with_delivery(Delivery::Whole);
    assert_eq!(
        sent(&whole, &request([user("hi")])),
        r#"{"model":"m","stream":false,"messages":[{"role":"user","content":"hi"}]}"#
    );
}

#[test]
fn thinking_has_a_switch_and_a_budget() {
    for (thinking, expected) in [
        (Thinking::Off, json!({"type": "disabled"})),
        (Thinking::BudgetTokens(0), json!({"type": "disabled"})),
        (Thinking::Adaptive, Value::Null),
        (
            Thinking::Low,
            json!({"type": "enabled", "token_budget": 2_048}),
        ),
        (
            Thinking::BudgetTokens(7),
            json!({"type": "enabled", "token_budget": 7}),
        ),
    ] {
        let options = Options {
            thinking: Some(thinking),
            ..Options::default()
        };
        assert_eq!(
            body(&wire(), &with(options))["thinking"],
            expected,
            "{thinking:?}"
        );
    }
}

#[test]
fn a_choice_of_tools_is_a_word_and_one_tool_is_offered_alone() {
    let chosen = |choice| {
        let options = Options {
            tool_choice: Some(choice),
            ..Options::default()
        };
        let body = body(&wire(), &with(options));
        (
            body["tool_choice"].clone(),
            body["tools"].as_array().unwrap().len(),
        )
    };
    assert_eq!(chosen(ToolChoice::Auto), (Value::Null, 2));
    assert_eq!(chosen(ToolChoice::None), (json!("NONE"), 2));
    assert_eq!(chosen(ToolChoice::Required), (json!("REQUIRED"), 2));
    assert_eq!(
        chosen(ToolChoice::Tool("g".to_owned())),
        (json!("REQUIRED"), 1)
    );
    let options = Options {
        tool_choice: Some(ToolChoice::Tool("x".to_owned())),
        ..Options::default()
    };
    let error = wire().encode(&with(options)).unwrap_err();
    insta::assert_snapshot!(error, @"cohere-v2 cannot say `tool_choice` of the options: name a tool of the request");
}

#[test]
fn a_form_is_a_field_without_tools_and_a_tool_beside_others() {
    let alone = Request {
        options: Options {
            output: form(),
            ..Options::default()
        }
        .into(),
        ..request([user("hi")])
    };
    let plain = sent(&wire(), &alone);
    assert!(
        plain.contains(r#""response_format":{"type":"json_object","json_schema":{"type":"object","z":1,"a":"\ufffd"}}"#),
        "{plain}"
    );
    let beside = body(&wire(), &with((*alone.options).clone()));
    assert_eq!(beside["response_format"], Value::Null);
    assert_eq!(beside["tool_choice"], "REQUIRED");
    assert_eq!(beside["tools"][2]["function"]["name"], OUTPUT_TOOL);
    assert_eq!(beside["tools"][2]["function"]["parameters"]["z"], 1);
    let answered = json!({"message": {"tool_calls":
        [{"id": "a", "function": {"name": OUTPUT_TOOL, "arguments": "{\"age\":7}"}}]},
        "finish_reason": "TOOL_CALL"});
    let answer = message(&wire(), &answered.to_string());
    assert_eq!(
        (answer.text().as_str(), answer.stop_reason),
        ("{\"age\":7}", StopReason::EndTurn)
    );
}

#[test]
fn an_answer_goes_back_with_its_plan_its_thinking_its_calls_and_their_results() {
    let first = call("a", r#"{"z":1,"a":[]}"#);
    let second = call("a|b", "not json");
    let said = answer(
        own(&wire()),
        vec![
            thinking("I will", Some(PLAN)),
            thinking("hm", None),
            text("so"),
            AssistantPart::ToolCall(Arc::clone(&first)),
            AssistantPart::ToolCall(Arc::clone(&second)),
        ],
    );
    let done = [
        (&first, ToolResult::text("1")),
        (&second, ToolResult::error("gone")),
    ];
    let sent = messages(&wire(), [user("do"), said, results(&done)]);
    let id = sent[1]["tool_calls"][1]["id"].clone();
    assert!(id.as_str().unwrap().starts_with("ab"));
    assert_eq!(
        sent,
        json!([
            {"role": "user", "content": "do"},
            {"role": "assistant",
             "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "so"}],
             "tool_plan": "I will",
             "tool_calls": [
                {"id": "a", "type": "function", "function":
                    {"name": "f", "arguments": "{\"z\":1,\"a\":[]}"}},
                {"id": id, "type": "function", "function":
                    {"name": "f", "arguments": "{\"malformed_arguments\":\"not json\"}"}},
            ]},
            {"role": "tool", "tool_call_id": "a", "content": "1"},
            {"role": "tool", "tool_call_id": id, "content": "error:\ngone"},
        ])
    );
}

#[test]
fn what_the_service_would_refuse_is_not_sent() {
    let other = Origin {
        model: "other".into(),
        ..own(&wire())
    };
    let asked = call("a", "{}");
    let view = [
        user("do"),
        answer(
            own(&wire()),
            vec![thinking("I will", Some(PLAN)), text("no")],
        ),
        user("on"),
        answer(own(&wire()), vec![thinking("all of it", None)]),
        user("so"),
        answer(
            other,
            vec![
                thinking("hm", None),
                AssistantPart::ToolCall(Arc::clone(&asked)),
            ],
        ),
        results(&[(&asked, ToolResult::default())]),
        user(" "),
    ];
    assert_eq!(
        messages(&wire(), view),
        json!([
            {"role": "user", "content": "do"},
            {"role": "assistant", "content": "no"},
            {"role": "user", "content": "on"},
            {"role": "user", "content": "so"},
            {"role": "assistant", "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "a", "content": "(no output)"},
        ])
    );
}

#[test]
fn images_are_blocks_and_those_of_results_follow_them() {
    let image = |source| Content::Image {
        media_type: "image/png".to_owned(),
        source,
    };
    let content = vec![
        Content::text("what"),
        image(ImageSource::Base64("AAAA".to_owned())),
        image(ImageSource::Url("https://x.example/a.png".to_owned())),
    ];
    let asked = call("a", "{}");
    let said = answer(
        own(&wire()),
        vec![AssistantPart::ToolCall(Arc::clone(&asked))],
    );
    let shown = ToolResult {
        content: vec![image(ImageSource::Base64("CCCC".to_owned()))],
        ..ToolResult::default()
    };
    let view = [
        Entry::User(Arc::new(UserMessage { content })),
        said,
        results(&[(&asked, shown)]),
    ];
    let sent = messages(&wire(), view);
    assert_eq!(
        sent[0]["content"],
        json!([
            {"type": "text", "text": "what"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}},
        ])
    );
    assert_eq!(
        sent[3]["content"][1]["image_url"]["url"],
        "data:image/png;base64,CCCC"
    );
}

#[test]
fn a_conversation_that_grew_keeps_the_beginning_of_its_body() {
    let (one, two) = (call("a", "{}"), call("b", r#"{"x":2}"#));
    let said = vec![
        thinking("I will", Some(PLAN)),
        AssistantPart::ToolCall(Arc::clone(&one)),
        AssistantPart::ToolCall(Arc::clone(&two)),
    ];
    let entries = [
        user("do"),
        answer(own(&wire()), said),
        results(&[(&one, ToolResult::text("1")), (&two, ToolResult::text("2"))]),
        answer(own(&wire()), vec![text("done")]),
        user("more"),
        answer(own(&wire()), vec![text("again")]),
    ];
    grows(&wire(), &|| Box::new(wire()), &entries);
}

#[test]
fn what_cannot_be_written_is_an_error() {
    assert_eq!(wire().encode(&request([])), Err(EncodeError::NothingToSend));
    let options = Options {
        extra: Some(RawJson::parse("null").unwrap()),
        ..Options::default()
    };
    assert_eq!(
        wire().encode(&with(options)),
        Err(EncodeError::ExtraNotAnObject { found: "null" })
    );
}

#[test]
fn addresses_are_taken_with_and_without_their_path() {
    for base in [
        "http://h:1",
        "http://h:1/",
        "http://h:1/v2",
        "http://h:1/v2/",
    ] {
        let wire = CohereChat::new().with_base_url(base);
        let encoded = wire.encode(&request([user("hi")])).unwrap();
        assert_eq!(encoded.request.url, "http://h:1/v2/chat");
    }
}

#[test]
fn g14_a_key_travels_in_its_header_alone() {
    let encoded = wire().encode(&request([user("hi")])).unwrap().request;
    let secret = Secret::Key("co-secret".into());
    let headers = wire()
        .authorize(&encoded, &secret, SystemTime::UNIX_EPOCH)
        .unwrap();
    assert_eq!((headers.len(), &*headers[0].name), (1, "authorization"));
    let shown = format!("{encoded:?} {headers:?} {secret:?} {:?}", wire());
    assert!(!shown.contains("co-secret"), "{shown}");
}
