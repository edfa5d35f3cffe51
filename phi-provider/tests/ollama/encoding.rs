//! What is sent.

use std::sync::Arc;
use std::time::SystemTime;

use phi_provider::{Delivery, EncodeError, OllamaChat, Secret, Wire};
use phi_types::{
    AssistantPart, Content, Entry, ImageSource, Options, Origin, OutputSchema, RawJson, Request,
    Thinking, ToolChoice, ToolResult, UserMessage,
};
use serde_json::{Value, json};

use crate::support::{
    answer, body, call, grows, messages, own, request, results, sent, text, thinking, user, with,
};
use crate::wire;

fn image(source: ImageSource, media_type: &str) -> Content {
    Content::Image {
        media_type: media_type.to_owned(),
        source,
    }
}

fn base64(data: &str) -> ImageSource {
    ImageSource::Base64(data.to_owned())
}

#[test]
fn a_request_is_the_same_bytes_each_time_and_messages_come_last() {
    let options = Options {
        output_tokens_max: Some(100),
        temperature: Some(0.5),
        top_p: Some(0.9),
        stop_sequences: vec!["END".to_owned()],
        thinking: Some(Thinking::Low),
        output: Some(OutputSchema {
            name: "o".to_owned(),
            schema: RawJson::parse(r#"{"z":1,"a":"\ud83d"}"#).unwrap(),
        }),
        extra: Some(
            RawJson::parse(r#"{"keep_alive":"10m","options":{"seed":7,"top_p":1}}"#).unwrap(),
        ),
        ..Options::default()
    };
    let mut request = with(options);
    request.system = "be brief".into();
    let wire = wire().with_num_ctx(8_192);
    let encoded = wire.encode(&request).unwrap().request;
    assert_eq!(encoded, wire.encode(&request).unwrap().request);
    assert_eq!(encoded.url, "http://localhost:11434/api/chat");
    insta::assert_snapshot!(sent(&wire, &request), @r##"{"model":"m","stream":true,"think":"low","format":{"z":1,"a":"\ufffd"},"options":{"num_ctx":8192,"num_predict":100,"temperature":0.5,"top_p":1,"stop":["END"],"seed":7},"tools":[{"type":"function","function":{"name":"f","description":"does it","parameters":{"type":"object","properties":{}}}},{"type":"function","function":{"name":"g","description":"does it","parameters":{"type":"object","properties":{}}}}],"keep_alive":"10m","messages":[{"role":"system","content":"be brief"},{"role":"user","content":"hi"}]}"##);
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
fn an_amount_of_thinking_is_a_word_and_none_a_switch() {
    for (thinking, expected) in [
        (Thinking::Off, json!(false)),
        (Thinking::BudgetTokens(0), json!(false)),
        (Thinking::Adaptive, Value::Null),
        (Thinking::Low, json!("low")),
        (Thinking::Medium, json!("medium")),
        (Thinking::High, json!("high")),
        (Thinking::BudgetTokens(10_000), json!("medium")),
    ] {
        let options = Options {
            thinking: Some(thinking),
            ..Options::default()
        };
        assert_eq!(
            body(&wire(), &with(options))["think"],
            expected,
            "{thinking:?}"
        );
    }
}

#[test]
fn no_tool_may_be_forced_and_none_may_be_shown() {
    let choose = |choice| Options {
        tool_choice: Some(choice),
        ..Options::default()
    };
    let auto = body(&wire(), &with(choose(ToolChoice::Auto)));
    assert_eq!(auto["tools"].as_array().unwrap().len(), 2);
    assert_eq!(auto["tool_choice"], Value::Null);
    let none = body(&wire(), &with(choose(ToolChoice::None)));
    assert_eq!(none["tools"], Value::Null);
    for choice in [ToolChoice::Required, ToolChoice::Tool("f".to_owned())] {
        let error = wire().encode(&with(choose(choice))).unwrap_err();
        assert!(matches!(
            error,
            EncodeError::Unsayable {
                option: "tool_choice",
                ..
            }
        ));
        insta::allow_duplicates! {
            insta::assert_snapshot!(error, @"ollama-chat cannot say `tool_choice` of the options: let the model choose, or ask a service that can force a call");
        }
    }
}

#[test]
fn an_answer_goes_back_with_its_thinking_its_calls_and_their_results() {
    let first = call("a", r#"{"z":1,"a":[]}"#);
    let second = call("a", "not json");
    let said = answer(
        own(&wire()),
        vec![
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
    assert_ne!(id, "a");
    assert_eq!(
        sent,
        json!([
            {"role": "user", "content": "do"},
            {"role": "assistant", "content": "so", "thinking": "hm", "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": {"z": 1, "a": []}}},
                {"id": id, "type": "function", "function":
                    {"name": "f", "arguments": {"malformed_arguments": "not json"}}},
            ]},
            {"role": "tool", "content": "1", "tool_name": "f", "tool_call_id": "a"},
            {"role": "tool", "content": "error:\ngone", "tool_name": "f", "tool_call_id": id},
        ])
    );
}

#[test]
fn thinking_of_another_model_stays_behind() {
    let other = Origin {
        model: "other".into(),
        ..own(&wire())
    };
    let said = answer(other, vec![thinking("hm", None), text("so")]);
    let sent = messages(&wire(), [user("do"), said, user("on")]);
    assert_eq!(sent[1], json!({"role": "assistant", "content": "so"}));
}

#[test]
fn a_result_without_output_says_so() {
    let asked = call("a", "{}");
    let said = answer(
        own(&wire()),
        vec![AssistantPart::ToolCall(Arc::clone(&asked))],
    );
    let nothing = results(&[(&asked, ToolResult::default())]);
    let sent = messages(&wire(), [user("do"), said, nothing]);
    assert_eq!(sent[1]["content"], "");
    assert_eq!(sent[2]["content"], "(no output)");
}

#[test]
fn images_are_a_list_of_base64_and_those_of_results_follow_them() {
    let content = vec![
        Content::text("what"),
        image(base64("AAAA"), "image/png"),
        image(
            ImageSource::Url("https://x.example/a.png".to_owned()),
            "image/png",
        ),
        image(base64("BBBB"), "image/bmp"),
        Content::text("is it"),
    ];
    let asked = call("a", "{}");
    let said = answer(
        own(&wire()),
        vec![AssistantPart::ToolCall(Arc::clone(&asked))],
    );
    let shown = ToolResult {
        content: vec![image(base64("CCCC"), "image/jpeg")],
        ..ToolResult::default()
    };
    let view = [
        Entry::User(Arc::new(UserMessage { content })),
        said,
        results(&[(&asked, shown)]),
    ];
    let encoded = wire().encode(&request(view)).unwrap();
    let sent: Value = serde_json::from_slice(&encoded.request.body_bytes()).unwrap();
    let sent = &sent["messages"];
    assert_eq!(sent[0]["images"], json!(["AAAA"]));
    assert_eq!(
        sent[0]["content"],
        "what\n[an image of type image/png was left out]\n[an image of type image/bmp was left \
         out]\nis it"
    );
    assert_eq!(
        sent[2]["content"],
        "(the next user message shows the image of this result)"
    );
    assert_eq!(sent[3]["images"], json!(["CCCC"]));
    assert_eq!(encoded.losses.len(), 3);
}

#[test]
fn a_conversation_that_grew_keeps_the_beginning_of_its_body() {
    let (one, two) = (call("a", "{}"), call("b", r#"{"x":2}"#));
    let said = vec![
        thinking("hm", None),
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
    let empty: Request = request([]);
    assert_eq!(wire().encode(&empty), Err(EncodeError::NothingToSend));
    let options = Options {
        extra: Some(RawJson::parse("[1]").unwrap()),
        ..Options::default()
    };
    assert_eq!(
        wire().encode(&with(options)),
        Err(EncodeError::ExtraNotAnObject { found: "an array" })
    );
    let mut request = with(Options::default());
    let mut tool = crate::support::tool("f");
    tool.input_schema = RawJson::parse("true").unwrap();
    request.tools = [tool].into();
    assert_eq!(
        wire().encode(&request),
        Err(EncodeError::SchemaNotAnObject {
            tool: "f".to_owned()
        })
    );
}

#[test]
fn fields_of_the_caller_win_even_over_messages() {
    let options = Options {
        extra: Some(RawJson::parse(r#"{"model":"x","messages":[7],"options":7}"#).unwrap()),
        ..Options::default()
    };
    let request = Request {
        options: options.into(),
        ..request([])
    };
    assert_eq!(
        sent(&wire(), &request),
        r#"{"model":"x","stream":true,"options":7,"messages":[7]}"#
    );
}

#[test]
fn addresses_are_taken_with_and_without_their_path() {
    for base in [
        "http://h:1",
        "http://h:1/",
        "http://h:1/api",
        "http://h:1/api/",
    ] {
        let encoded = OllamaChat::new(base)
            .encode(&request([user("hi")]))
            .unwrap();
        assert_eq!(encoded.request.url, "http://h:1/api/chat");
    }
}

#[test]
fn g14_a_key_travels_in_its_header_alone() {
    let encoded = wire().encode(&request([user("hi")])).unwrap().request;
    let secret = Secret::Key("sk-secret".into());
    let headers = wire()
        .authorize(&encoded, &secret, SystemTime::UNIX_EPOCH)
        .unwrap();
    assert_eq!(headers.len(), 1);
    assert_eq!(headers[0].name, "authorization");
    let shown = format!("{encoded:?} {headers:?} {secret:?} {:?}", wire());
    assert!(!shown.contains("sk-secret"), "{shown}");
}
