//! What is sent.

use std::sync::Arc;
use std::time::SystemTime;

use phi_provider::openai_chat::{
    CallIds, EmptyContent, KeyPlace, OpenAiChat, OutputLimit, Quirks, ReasoningReplay, StreamUsage,
    SystemRole, ToolImages,
};
use phi_provider::{Delivery, EncodeError, Secret, Wire};
use phi_types::{
    Arguments, AssistantMessage, AssistantPart, CallResult, Content, EffectClass, Entry, Facts,
    History, ImageSource, Options, Origin, PartFacts, RawJson, Request, SessionId, StopReason,
    TextPart, Thinking, ThinkingPart, ToolCall, ToolChoice, ToolKind, ToolResult, ToolSpec, Usage,
    UserMessage,
};
use serde_json::{Value, json};

use crate::{origin, wire};

pub(crate) fn request(entries: impl IntoIterator<Item = Entry>) -> Request {
    Request {
        session: SessionId::new("s").unwrap(),
        model: "m".into(),
        system: "".into(),
        tools: Arc::from([]),
        view: entries.into_iter().collect::<History>(),
        options: Arc::default(),
    }
}

pub(crate) fn with_tools(request: Request) -> Request {
    Request {
        tools: Arc::from([tool("x"), tool("y")]),
        ..request
    }
}

pub(crate) fn with_options(request: Request, options: Options) -> Request {
    Request {
        options: options.into(),
        ..request
    }
}

fn tool(name: &str) -> ToolSpec {
    ToolSpec {
        name: name.into(),
        description: "does it".into(),
        input_schema: RawJson::parse(r#"{"type":"object","properties":{}}"#).unwrap(),
        kind: ToolKind::Other,
        effect_class: EffectClass::Pure,
    }
}

pub(crate) fn user(text: &str) -> Entry {
    Entry::User(Arc::new(UserMessage::text(text)))
}

pub(crate) fn text(text: &str) -> AssistantPart {
    AssistantPart::Text(TextPart::new(text))
}

pub(crate) fn call(id: &str, arguments: &str) -> AssistantPart {
    AssistantPart::ToolCall(Arc::new(ToolCall {
        id: id.into(),
        name: "x".into(),
        arguments: Arguments::parse(arguments),
        facts: PartFacts::default(),
    }))
}

pub(crate) fn assistant(parts: impl IntoIterator<Item = AssistantPart>) -> AssistantMessage {
    AssistantMessage {
        parts: parts.into_iter().collect(),
        stop_reason: StopReason::EndTurn,
        stop_reason_raw: None,
        usage: Usage::default(),
        origin: origin(),
    }
}

/// The message and a result for each of its calls.
pub(crate) fn answered(message: AssistantMessage, results: &[ToolResult]) -> [Entry; 2] {
    let answers: Vec<CallResult> = message
        .tool_calls()
        .zip(results)
        .map(|(call, result)| CallResult {
            call: Arc::clone(call),
            result: Arc::new(result.clone()),
        })
        .collect();
    [
        Entry::Assistant(Arc::new(message)),
        Entry::Results(answers.into()),
    ]
}

pub(crate) fn body(wire: &OpenAiChat, request: &Request) -> Value {
    serde_json::from_slice(&wire.encode(request).unwrap().request.body_bytes()).unwrap()
}

fn messages(wire: &OpenAiChat, entries: impl IntoIterator<Item = Entry>) -> Value {
    body(wire, &request(entries))["messages"].clone()
}

fn quirky(quirks: Quirks) -> OpenAiChat {
    wire().with_quirks(quirks)
}

/// The body of the request that follows a question, an answer and the results of its calls.
pub(crate) fn sent_after(
    wire: &OpenAiChat,
    answer: AssistantMessage,
    change: impl Fn(Request) -> Request,
) -> Value {
    let results = vec![ToolResult::text("done"); answer.tool_calls().count()];
    let entries = [user("do it")]
        .into_iter()
        .chain(answered(answer, &results));
    body(wire, &change(request(entries)))
}

#[test]
fn a_request_is_the_same_bytes_each_time_and_messages_come_last() {
    let options = Options {
        output_tokens_max: Some(100),
        temperature: Some(0.5),
        top_p: Some(0.9),
        stop_sequences: vec!["END".to_owned()],
        tool_choice: Some(ToolChoice::Tool("x".to_owned())),
        parallel_tool_calls: Some(false),
        thinking: Some(Thinking::Low),
        output: None,
        extra: Some(RawJson::parse(r#"{"seed":7,"top_p":1,"user":"u"}"#).unwrap()),
    };
    let mut request = with_options(with_tools(request([user("hi")])), options);
    request.system = "be brief".into();
    let encoded = wire().encode(&request).unwrap().request;
    assert_eq!(encoded, wire().encode(&request).unwrap().request);
    assert_eq!(encoded.method, "POST");
    assert_eq!(encoded.url, "https://api.example.com/v1/chat/completions");
    insta::assert_snapshot!(String::from_utf8(encoded.body_bytes()).unwrap(), @r#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"max_completion_tokens":100,"temperature":0.5,"top_p":1,"stop":["END"],"reasoning_effort":"low","tool_choice":{"type":"function","function":{"name":"x"}},"parallel_tool_calls":false,"tools":[{"type":"function","function":{"name":"x","description":"does it","parameters":{"type":"object","properties":{}}}},{"type":"function","function":{"name":"y","description":"does it","parameters":{"type":"object","properties":{}}}}],"seed":7,"user":"u","messages":[{"role":"system","content":"be brief"},{"role":"user","content":"hi"}]}"#);
}

#[test]
fn a_conversation_that_grew_keeps_the_beginning_of_its_body() {
    let [called, results] = answered(
        assistant([text("so"), call("a", "{}"), call("a", "{}")]),
        &[ToolResult::text("1"), ToolResult::text("2")],
    );
    let entries = [user("one"), called, results, user("two"), user("three")];
    let bodies: Vec<Vec<u8>> = [1, 3, 4, 5]
        .iter()
        .map(|len| {
            let request = with_tools(request(entries[..*len].to_vec()));
            wire().encode(&request).unwrap().request.body_bytes()
        })
        .collect();
    for pair in bodies.windows(2) {
        // Without the two brackets that close the body.
        let end = pair[0].len() - 2;
        assert_eq!(pair[0][..end], pair[1][..end]);
    }
}

#[test]
fn a_whole_answer_is_asked_for_without_stream_options() {
    let body = body(
        &wire().with_delivery(Delivery::Whole),
        &request([user("hi")]),
    );
    assert_eq!(
        body,
        json!({"model": "m", "stream": false, "messages": [{"role": "user", "content": "hi"}]})
    );
}

#[test]
fn the_address_keeps_its_query() {
    let base = "https://x.example.com/openai/deployments/gpt/?api-version=2024-10-21";
    let encoded = OpenAiChat::new(base)
        .encode(&request([user("hi")]))
        .unwrap()
        .request;
    assert_eq!(
        encoded.url,
        "https://x.example.com/openai/deployments/gpt/chat/completions?api-version=2024-10-21"
    );
}

#[test]
fn the_credential_travels_in_a_header() {
    use secrecy::ExposeSecret;
    let header_of = |wire: &OpenAiChat, secret: Secret| {
        let encoded = wire.encode(&request([user("hi")])).unwrap().request;
        let headers = wire.authorize(&encoded, &secret, SystemTime::UNIX_EPOCH);
        let [header] = headers.unwrap().try_into().unwrap();
        (
            header.name.to_string(),
            header.value.expose_secret().to_owned(),
        )
    };
    let bearer = ("authorization".to_owned(), "Bearer k-1".to_owned());
    let azure = quirky(Quirks {
        key_place: KeyPlace::ApiKey,
        ..Quirks::default()
    });
    let key = || Secret::Key("k-1".into());
    assert_eq!(header_of(&wire(), key()), bearer);
    assert_eq!(
        header_of(&azure, key()),
        ("api-key".to_owned(), "k-1".to_owned())
    );
    assert_eq!(header_of(&azure, Secret::Token("k-1".into())), bearer);
}

#[test]
fn c03_the_content_beside_calls_is_spelled_as_the_service_wants_it() {
    for (empty_content, expected) in [
        (EmptyContent::Null, Some(json!(null))),
        (EmptyContent::Empty, Some(json!(""))),
        (EmptyContent::Omitted, None),
    ] {
        let wire = quirky(Quirks {
            empty_content,
            ..Quirks::default()
        });
        let body = sent_after(&wire, assistant([call("a", "{}")]), with_tools);
        assert_eq!(body["messages"][1].get("content"), expected.as_ref());
    }
}

#[test]
fn c09_the_system_prompt_may_be_from_the_developer() {
    let wire = quirky(Quirks {
        system_role: SystemRole::Developer,
        ..Quirks::default()
    });
    let mut request = request([user("hi")]);
    request.system = "be brief".into();
    assert_eq!(
        body(&wire, &request)["messages"][0],
        json!({"role": "developer", "content": "be brief"})
    );
}

#[test]
fn c10_the_output_limit_has_two_names() {
    let options = Options {
        output_tokens_max: Some(5),
        ..Options::default()
    };
    for (output_limit, name) in [
        (OutputLimit::MaxCompletionTokens, "max_completion_tokens"),
        (OutputLimit::MaxTokens, "max_tokens"),
    ] {
        let wire = quirky(Quirks {
            output_limit,
            ..Quirks::default()
        });
        let request = with_options(request([user("hi")]), options.clone());
        assert_eq!(body(&wire, &request)[name], 5);
    }
    assert_eq!(Quirks::compatible().output_limit, OutputLimit::MaxTokens);
}

#[test]
fn c11_usage_of_a_stream_is_not_asked_where_it_is_rejected() {
    let wire = quirky(Quirks {
        stream_usage: StreamUsage::NotAsked,
        ..Quirks::default()
    });
    assert_eq!(
        body(&wire, &request([user("hi")])).get("stream_options"),
        None
    );
}

#[test]
fn options_of_tools_are_not_sent_without_tools() {
    let options = Options {
        tool_choice: Some(ToolChoice::Auto),
        parallel_tool_calls: Some(true),
        ..Options::default()
    };
    let body = body(&wire(), &with_options(request([user("hi")]), options));
    assert_eq!(body.get("tool_choice"), None);
    assert_eq!(body.get("parallel_tool_calls"), None);
    assert_eq!(body.get("tools"), None);
}

#[test]
fn the_amount_of_reasoning_is_a_word() {
    for (thinking, expected) in [
        (Thinking::Off, json!("none")),
        (Thinking::Adaptive, Value::Null),
        (Thinking::Medium, json!("medium")),
        (Thinking::BudgetTokens(1_024), json!("low")),
        (Thinking::BudgetTokens(100_000), json!("high")),
    ] {
        let options = Options {
            thinking: Some(thinking),
            ..Options::default()
        };
        let body = body(&wire(), &with_options(request([user("hi")]), options));
        assert_eq!(body["reasoning_effort"], expected);
    }
}

#[test]
fn extra_that_is_no_object_and_a_schema_that_is_none_are_refused() {
    let options = Options {
        extra: Some(RawJson::parse("[1]").unwrap()),
        ..Options::default()
    };
    let error = wire().encode(&with_options(request([user("hi")]), options));
    assert!(matches!(error, Err(EncodeError::ExtraNotAnObject { .. })));
    let mut request = with_tools(request([user("hi")]));
    request.tools = Arc::from([ToolSpec {
        input_schema: RawJson::parse("true").unwrap(),
        ..tool("x")
    }]);
    let error = wire().encode(&request).unwrap_err();
    assert!(error.to_string().contains("`x`"), "{error}");
}

#[test]
fn a_conversation_without_messages_is_refused() {
    let mut request = request([]);
    request.system = "be brief".into();
    assert_eq!(
        wire().encode(&request).unwrap_err(),
        EncodeError::NothingToSend
    );
}

#[test]
fn c13_ids_of_calls_fit_and_stay_distinct_and_their_results_follow_them() {
    let long = "x".repeat(450);
    let other = format!("{long}|y");
    let parts = [
        call(&long, "{}"),
        call(&other, "{}"),
        call("", "{}"),
        call("a", "{}"),
    ];
    let results = ["1", "2", "3", "4"].map(ToolResult::text);
    let first = answered(assistant(parts.clone()), &results);
    let second = answered(assistant(parts), &results);
    let entries = [user("do it")].into_iter().chain(first).chain(second);
    let messages = messages(&wire(), entries);
    let mut ids = Vec::new();
    for at in [1, 6] {
        for (nth, call) in messages[at]["tool_calls"]
            .as_array()
            .unwrap()
            .iter()
            .enumerate()
        {
            let result = &messages[at + 1 + nth];
            assert_eq!(result["tool_call_id"], call["id"]);
            assert_eq!(result["content"], (nth + 1).to_string());
            ids.push(call["id"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(ids[3], "a");
    assert!(ids.iter().all(|id| (1..=40).contains(&id.len())), "{ids:?}");
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 8);
}

#[test]
fn ids_of_calls_for_mistral_have_nine_letters_or_digits() {
    let wire = quirky(Quirks {
        call_ids: CallIds::Alphanumeric9,
        ..Quirks::default()
    });
    let body = sent_after(&wire, assistant([call("toolu_01", "{}")]), with_tools);
    let id = body["messages"][1]["tool_calls"][0]["id"].as_str().unwrap();
    assert!(
        id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()),
        "{id}"
    );
    assert_eq!(body["messages"][2]["tool_call_id"], id);
}

#[test]
fn c14_every_call_has_its_result_right_after_it_in_call_order() {
    let message = assistant([call("a", "{}"), call("b", "{}"), call("c", "{}")]);
    let [called, Entry::Results(results)] = answered(
        message,
        &[
            ToolResult::text("1"),
            ToolResult::text("2"),
            ToolResult::text("3"),
        ],
    ) else {
        panic!("results")
    };
    // In another order, and one is missing.
    let results = Entry::Results(Arc::from([results[2].clone(), results[0].clone()]));
    let messages = messages(&wire(), [user("do it"), called, results, user("go on")]);
    let tail: Vec<(&str, &str)> = messages.as_array().unwrap()[2..]
        .iter()
        .map(|one| {
            (
                one["tool_call_id"].as_str().unwrap_or_default(),
                one["content"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        tail,
        [
            ("a", "1"),
            ("b", "error:\nno result was recorded"),
            ("c", "3"),
            ("", "go on")
        ]
    );
}

#[test]
fn a_call_that_nobody_answered_is_answered() {
    let entries = [
        user("do it"),
        Entry::Assistant(Arc::new(assistant([call("a", "{}")]))),
        user("go on"),
    ];
    let messages = messages(&wire(), entries);
    assert_eq!(messages[2]["role"], "tool");
    assert_eq!(messages[3]["content"], "go on");
}

fn image() -> Content {
    Content::Image {
        media_type: "image/png".to_owned(),
        source: ImageSource::Base64("AAAA".to_owned()),
    }
}

#[test]
fn c15_images_of_results_follow_them_in_a_user_message() {
    let shown = ToolResult {
        content: vec![Content::text("a cat"), image()],
        ..ToolResult::default()
    };
    let message = assistant([call("a", "{}"), call("b", "{}")]);
    let [called, results] = answered(message, &[shown, ToolResult::text("2")]);
    let entries = [user("do it"), called, results];
    let image_url =
        json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}});
    let moved = messages(&wire(), entries.clone());
    assert_eq!(
        moved.as_array().unwrap()[2..],
        [
            json!({"role": "tool", "tool_call_id": "a",
                "content": "a cat\n(the next user message shows the image of this result)"}),
            json!({"role": "tool", "tool_call_id": "b", "content": "2"}),
            json!({"role": "user", "content": [
                {"type": "text", "text": "the image of the result of tool `x`:"},
                image_url,
            ]}),
        ]
    );
    let wire = quirky(Quirks {
        tool_images: ToolImages::InResult,
        ..Quirks::default()
    });
    let kept = messages(&wire, entries);
    assert_eq!(
        kept[2]["content"],
        json!([{"type": "text", "text": "a cat"}, image_url])
    );
    assert_eq!(kept.as_array().unwrap().len(), 4);
}

#[test]
fn c16_the_content_of_an_answer_is_a_plain_string() {
    let entries = [
        user("hi"),
        Entry::Assistant(Arc::new(assistant([text("a"), text("b")]))),
    ];
    assert_eq!(
        messages(&wire(), entries)[1],
        json!({"role": "assistant", "content": "ab"})
    );
}

#[test]
fn what_a_user_shows_is_blocks_only_where_it_must_be() {
    let message = UserMessage {
        content: vec![
            Content::text("what is it?"),
            Content::text(""),
            Content::Image {
                media_type: "image/png".to_owned(),
                source: ImageSource::Url("https://e.com/x.png".to_owned()),
            },
        ],
    };
    let messages = messages(&wire(), [user("hi"), Entry::User(Arc::new(message))]);
    assert_eq!(messages[0]["content"], "hi");
    assert_eq!(
        messages[1]["content"],
        json!([
            {"type": "text", "text": "what is it?"},
            {"type": "image_url", "image_url": {"url": "https://e.com/x.png"}},
        ])
    );
}

#[test]
fn empty_messages_are_not_sent() {
    let empty = [
        Entry::User(Arc::new(UserMessage::default())),
        Entry::User(Arc::new(UserMessage::text(""))),
        Entry::Assistant(Arc::new(assistant([text("")]))),
        Entry::Assistant(Arc::new(assistant([]))),
    ];
    let entries = empty.into_iter().chain([user("hi")]);
    assert_eq!(
        messages(&wire(), entries),
        json!([{"role": "user", "content": "hi"}])
    );
}

#[test]
fn a_result_is_told_to_be_an_error_and_never_empty() {
    let results = [ToolResult::error("no such file"), ToolResult::text("")];
    let message = assistant([call("a", "{}"), call("b", "{}")]);
    let [called, results] = answered(message, &results);
    let messages = messages(&wire(), [user("do it"), called, results]);
    assert_eq!(messages[2]["content"], "error:\nno such file");
    assert_eq!(messages[3]["content"], "(no output)");
}

#[test]
fn t14_halves_of_surrogate_pairs_are_not_sent() {
    let mut request = with_tools(request([user("hi")]));
    request.tools = Arc::from([ToolSpec {
        input_schema: RawJson::parse(r#"{"type":"object","title":"\ud83d"}"#).unwrap(),
        ..tool("x")
    }]);
    request.options = Arc::new(Options {
        extra: Some(RawJson::parse(r#"{"user":"\udc00"}"#).unwrap()),
        ..Options::default()
    });
    let message = assistant([call("a", r#"{"k":"\ud83d"}"#)]);
    let results = [ToolResult::text("done")];
    for entry in answered(message, &results) {
        request.view.push(entry);
    }
    let body = body(&wire(), &request);
    assert_eq!(
        body["tools"][0]["function"]["parameters"]["title"],
        "\u{fffd}"
    );
    assert_eq!(body["user"], "\u{fffd}");
    let arguments = &body["messages"][1]["tool_calls"][0]["function"]["arguments"];
    assert_eq!(arguments, r#"{"k":"\ufffd"}"#);
}

#[test]
fn malformed_arguments_go_back_as_an_object_that_holds_them() {
    let body = sent_after(&wire(), assistant([call("a", "{\"k\":")]), with_tools);
    let arguments = &body["messages"][1]["tool_calls"][0]["function"]["arguments"];
    assert_eq!(arguments, r#"{"malformed_arguments":"{\"k\":"}"#);
}

fn reasoned(origin: Origin) -> AssistantMessage {
    let facts = PartFacts::from(Facts {
        extra: Some(RawJson::parse(r#"{"field":"reasoning_content"}"#).unwrap()),
        ..Facts::default()
    });
    let thinking = ThinkingPart {
        text: "hm".to_owned(),
        facts,
    };
    AssistantMessage {
        origin,
        ..assistant([AssistantPart::Thinking(thinking), text("so")])
    }
}

#[test]
fn reasoning_goes_back_to_the_model_that_wrote_it_and_nowhere_else() {
    let own = sent_after(&wire(), reasoned(origin()), with_tools);
    assert_eq!(own["messages"][1]["reasoning_content"], "hm");
    for origin in [
        Origin {
            model: "other".into(),
            ..origin()
        },
        Origin {
            provider: "other".into(),
            ..origin()
        },
        Origin {
            protocol: "other".into(),
            ..origin()
        },
    ] {
        let body = sent_after(&wire(), reasoned(origin), with_tools);
        assert_eq!(
            body["messages"][1],
            json!({"role": "assistant", "content": "so"})
        );
    }
}

#[test]
fn reasoning_goes_back_when_the_service_wants_it() {
    use ReasoningReplay::{Always, Never, WithTools, WithToolsOrEmpty};
    let as_is = |request: Request| request;
    let plain = || assistant([text("so")]);
    for (replay, with, without, none) in [
        (Never, Value::Null, Value::Null, Value::Null),
        (WithTools, json!("hm"), Value::Null, Value::Null),
        (WithToolsOrEmpty, json!("hm"), Value::Null, json!("")),
        (Always, json!("hm"), json!("hm"), Value::Null),
    ] {
        let wire = quirky(Quirks {
            reasoning_replay: replay,
            ..Quirks::default()
        });
        let field = |body: Value| body["messages"][1]["reasoning_content"].clone();
        assert_eq!(
            field(sent_after(&wire, reasoned(origin()), with_tools)),
            with,
            "{replay:?}"
        );
        assert_eq!(
            field(sent_after(&wire, reasoned(origin()), as_is)),
            without,
            "{replay:?}"
        );
        assert_eq!(
            field(sent_after(&wire, plain(), with_tools)),
            none,
            "{replay:?}"
        );
    }
}
