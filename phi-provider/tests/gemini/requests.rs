//! What is sent.

use std::sync::Arc;
use std::time::SystemTime;

use phi_provider::gemini::Gemini;
use phi_provider::{Delivery, EncodeError, Secret, Wire};
use phi_types::{
    Arguments, AssistantMessage, AssistantPart, CallResult, Content, EffectClass, Entry, History,
    ImageSource, Options, PartFacts, RawJson, Request, SessionId, StopReason, TextPart, ToolCall,
    ToolChoice, ToolKind, ToolResult, ToolSpec, Usage, UserMessage,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::{NEW, OLD, origin, wire};

pub(crate) fn request(model: &str, entries: impl IntoIterator<Item = Entry>) -> Request {
    Request {
        session: SessionId::new("s").unwrap(),
        model: model.into(),
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

pub(crate) fn with_extra(request: Request, extra: Value) -> Request {
    let options = Options {
        extra: Some(RawJson::from_value(&extra).unwrap()),
        ..Options::clone(&request.options)
    };
    with_options(request, options)
}

pub(crate) fn tool(name: &str) -> ToolSpec {
    ToolSpec {
        name: name.into(),
        description: "does it".into(),
        input_schema: RawJson::parse(
            r#"{"type":"object","properties":{"k":{"type":"integer"}},"additionalProperties":false}"#,
        )
        .unwrap(),
        kind: ToolKind::Other,
        effect_class: EffectClass::Pure,
    }
}

pub(crate) fn user(text: &str) -> Entry {
    Entry::User(Arc::new(UserMessage::text(text)))
}

pub(crate) fn said(text: &str) -> AssistantPart {
    AssistantPart::Text(TextPart::new(text))
}

pub(crate) fn asked(id: &str, facts: PartFacts) -> Arc<ToolCall> {
    Arc::new(ToolCall {
        id: id.into(),
        name: "x".into(),
        arguments: Arguments::parse("{\"k\":1}"),
        facts,
    })
}

pub(crate) fn assistant(
    model: &str,
    parts: impl IntoIterator<Item = AssistantPart>,
) -> AssistantMessage {
    AssistantMessage {
        parts: parts.into_iter().collect(),
        stop_reason: StopReason::EndTurn,
        stop_reason_raw: None,
        usage: Usage::default(),
        origin: origin(model),
    }
}

pub(crate) fn answered(call: &Arc<ToolCall>, content: Vec<Content>, is_error: bool) -> CallResult {
    CallResult {
        call: Arc::clone(call),
        result: Arc::new(ToolResult {
            content,
            is_error,
            ..ToolResult::default()
        }),
    }
}

pub(crate) fn body(wire: &Gemini, request: &Request) -> Value {
    let sent = wire.encode(request).unwrap().request;
    serde_json::from_slice(&sent.body_bytes()).unwrap()
}

pub(crate) fn contents(request: &Request) -> Value {
    body(&wire(), request)["contents"].take()
}

#[test]
fn a_request_is_an_address_headers_and_a_body() {
    let request = Request {
        system: "be brief".into(),
        ..with_tools(request(OLD, [user("hi")]))
    };
    let sent = wire().encode(&request).unwrap().request;
    assert_eq!(sent.method, "POST");
    assert_eq!(
        sent.url,
        "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash\
         :streamGenerateContent?alt=sse"
    );
    insta::assert_snapshot!(String::from_utf8(sent.body_bytes()).unwrap(), @r#"{"systemInstruction":{"parts":[{"text":"be brief"}]},"tools":[{"functionDeclarations":[{"name":"x","description":"does it","parametersJsonSchema":{"type":"object","properties":{"k":{"type":"integer"}},"additionalProperties":false}},{"name":"y","description":"does it","parametersJsonSchema":{"type":"object","properties":{"k":{"type":"integer"}},"additionalProperties":false}}]}],"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#);
    let whole = wire().with_delivery(Delivery::Whole).encode(&request);
    assert!(whole.unwrap().request.url.ends_with(":generateContent"));
}

#[test]
fn the_version_path_and_the_address_may_be_set() {
    let url = |wire: Gemini| {
        let wire = wire.with_delivery(Delivery::Whole);
        wire.encode(&request("m", [user("hi")]))
            .unwrap()
            .request
            .url
    };
    let end = "/models/m:generateContent";
    assert_eq!(
        url(wire().with_version("v1")),
        format!("https://generativelanguage.googleapis.com/v1{end}")
    );
    for base in [
        "http://localhost:8080",
        "http://localhost:8080/",
        "http://localhost:8080/v1beta",
    ] {
        let expected = format!("http://localhost:8080/v1beta{end}");
        assert_eq!(url(wire().with_base_url(base)), expected);
    }
    let bare = wire().with_base_url("http://x/y").with_version("");
    assert_eq!(url(bare), format!("http://x/y{end}"));
}

#[test]
fn g14_a_key_stands_in_a_header_and_never_in_the_address() {
    let secret = || SecretString::from("the-secret");
    let request = wire().encode(&request(OLD, [user("hi")])).unwrap().request;
    for (secret, name, value) in [
        (Secret::Key(secret()), "x-goog-api-key", "the-secret"),
        (
            Secret::Token(secret()),
            "authorization",
            "Bearer the-secret",
        ),
    ] {
        let headers = wire()
            .authorize(&request, &secret, SystemTime::UNIX_EPOCH)
            .unwrap();
        assert_eq!(headers[0].name, name);
        assert_eq!(headers[0].value.expose_secret(), value);
        assert!(!format!("{headers:?}{request:?}{:?}", wire()).contains("the-secret"));
    }
    let keys = Secret::Aws(phi_provider::AwsKeys {
        access_key_id: "a".to_owned(),
        secret_access_key: secret(),
        session_token: None,
    });
    let refused = wire().authorize(&request, &keys, SystemTime::UNIX_EPOCH);
    assert!(!refused.unwrap_err().to_string().contains("the-secret"));
}

#[test]
fn g08_results_of_a_turn_share_a_content_in_call_order_and_no_text_stands_among_them() {
    let (a, b) = (
        asked("a", PartFacts::default()),
        asked("b", PartFacts::default()),
    );
    let parts = [&a, &b].map(|call| AssistantPart::ToolCall(Arc::clone(call)));
    let results = [
        answered(&b, vec![Content::text("2"), Content::text("3")], false),
        answered(&a, vec![Content::text("no")], true),
    ];
    let request = request(
        OLD,
        [
            user("hi"),
            Entry::Assistant(assistant(OLD, parts).into()),
            Entry::Results(results.into()),
            user("go on"),
        ],
    );
    let call = json!({"functionCall": {"name": "x", "args": {"k": 1}}});
    let expected = json!([
        {"role": "user", "parts": [{"text": "hi"}]},
        {"role": "model", "parts": [call, call]},
        {"role": "user", "parts": [
            {"functionResponse": {"name": "x", "response": {"error": "no"}}},
            {"functionResponse": {"name": "x", "response": {"output": "2\n3"}}}]},
        {"role": "user", "parts": [{"text": "go on"}]}
    ]);
    assert_eq!(contents(&request), expected);
}

#[test]
fn g08_a_conversation_begins_with_the_user_and_answers_in_a_row_are_one() {
    let answer = |text| Entry::Assistant(assistant(OLD, [said(text)]).into());
    let contents = contents(&request(OLD, [answer("a"), answer("b"), user("c")]));
    assert_eq!(contents[0]["role"], "user");
    assert!(!contents[0]["parts"][0]["text"].as_str().unwrap().is_empty());
    let expected = json!({"role": "model", "parts": [{"text": "a"}, {"text": "b"}]});
    assert_eq!(contents[1], expected);
    assert_eq!(contents[2]["role"], "user");
    assert_eq!(contents.as_array().unwrap().len(), 3);
}

#[test]
fn g07_no_content_is_sent_without_parts() {
    let foreign = AssistantMessage {
        origin: phi_types::Origin {
            provider: "other".into(),
            ..origin(OLD)
        },
        ..assistant(
            OLD,
            [AssistantPart::Thinking(phi_types::ThinkingPart {
                text: "hm".to_owned(),
                ..phi_types::ThinkingPart::default()
            })],
        )
    };
    let aside = AssistantPart::Opaque(phi_types::OpaquePart {
        kind: "groundingMetadata".to_owned(),
        data: RawJson::empty_object(),
    });
    let view = [
        user("hi"),
        Entry::Assistant(foreign.into()),
        user(""),
        Entry::Assistant(assistant(OLD, [aside]).into()),
        Entry::Assistant(assistant(OLD, []).into()),
        Entry::User(Arc::new(UserMessage { content: vec![] })),
    ];
    let expected = json!([{"role": "user", "parts": [{"text": "hi"}]}]);
    assert_eq!(contents(&request(OLD, view)), expected);
    let nothing = wire().encode(&request(OLD, [user("")]));
    assert_eq!(nothing.unwrap_err(), EncodeError::NothingToSend);
}

#[test]
fn images_travel_with_the_message_or_by_address() {
    let image = |media_type: &str, source| Content::Image {
        media_type: media_type.to_owned(),
        source,
    };
    let content = vec![
        image("image/png", ImageSource::Base64("aGk=".to_owned())),
        image("image/png", ImageSource::Url("https://x/a.png".to_owned())),
        image("image/tiff", ImageSource::Base64("aGk=".to_owned())),
    ];
    let view = [Entry::User(Arc::new(UserMessage { content }))];
    let parts = contents(&request(OLD, view))[0]["parts"].take();
    let expected = json!([
        {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
        {"fileData": {"mimeType": "image/png", "fileUri": "https://x/a.png"}},
        {"text": "[an image of type image/tiff was left out]"}
    ]);
    assert_eq!(parts, expected);
}

#[test]
fn images_of_results_stay_in_them_where_the_model_takes_that() {
    let call = asked("a", PartFacts::default());
    let image = Content::Image {
        media_type: "image/png".to_owned(),
        source: ImageSource::Base64("aGk=".to_owned()),
    };
    let view = |model: &str| {
        let part = AssistantPart::ToolCall(Arc::clone(&call));
        let result = answered(&call, vec![Content::text("see"), image.clone()], false);
        request(
            model,
            [
                user("hi"),
                Entry::Assistant(assistant(model, [part]).into()),
                Entry::Results([result].into()),
            ],
        )
    };
    let new = contents(&view(NEW));
    let data = json!({"inlineData": {"mimeType": "image/png", "data": "aGk="}});
    let response = &new[2]["parts"][0]["functionResponse"];
    assert_eq!(response["response"], json!({"output": "see"}));
    assert_eq!(response["parts"], json!([data]));
    let old = contents(&view(OLD));
    assert_eq!(old[2]["parts"][0]["functionResponse"].get("parts"), None);
    assert_eq!(old[3]["parts"][1], data);
}

#[test]
fn g13_how_functions_are_called_is_said_only_where_there_are_some() {
    let choices = [
        (ToolChoice::Auto, json!({"mode": "AUTO"})),
        (ToolChoice::None, json!({"mode": "NONE"})),
        (ToolChoice::Required, json!({"mode": "ANY"})),
        (
            ToolChoice::Tool("x".to_owned()),
            json!({"mode": "ANY", "allowedFunctionNames": ["x"]}),
        ),
    ];
    for (choice, expected) in choices {
        let options = || Options {
            tool_choice: Some(choice.clone()),
            ..Options::default()
        };
        let with = with_options(with_tools(request(OLD, [user("hi")])), options());
        let config = json!({"functionCallingConfig": expected});
        assert_eq!(body(&wire(), &with)["toolConfig"], config);
        let without = with_options(request(OLD, [user("hi")]), options());
        assert_eq!(body(&wire(), &without).get("toolConfig"), None);
    }
}

#[test]
fn g12_functions_beside_tools_of_the_service_are_declared_where_that_is_known() {
    let extra = json!({"tools": [{"googleSearch": {}}]});
    let mixed = |model: &str| with_extra(with_tools(request(model, [user("hi")])), extra.clone());
    let sent = body(&wire(), &mixed(NEW));
    assert_eq!(
        sent["toolConfig"],
        json!({"includeServerSideToolInvocations": true})
    );
    assert_eq!(sent["tools"][1], json!({"googleSearch": {}}));
    assert_eq!(sent["tools"][0]["functionDeclarations"][1]["name"], "y");
    assert_eq!(body(&wire(), &mixed(OLD)).get("toolConfig"), None);
    let alone = with_extra(request(NEW, [user("hi")]), extra.clone());
    let sent = body(&wire(), &alone);
    assert_eq!(sent["tools"], json!([{"googleSearch": {}}]));
    assert_eq!(sent.get("toolConfig"), None);
    let empty = json!({"tools": [{"functionDeclarations": []}, {"googleSearch": null}]});
    let sent = body(&wire(), &with_extra(mixed(NEW), empty));
    assert_eq!(sent.get("toolConfig"), None);
}

#[test]
fn g17_with_cached_content_neither_system_prompt_nor_tools_are_sent() {
    let cached = |name: Value| {
        let request = Request {
            system: "be brief".into(),
            ..with_tools(request(OLD, [user("hi")]))
        };
        let options = Options {
            tool_choice: Some(ToolChoice::Required),
            ..Options::default()
        };
        with_extra(
            with_options(request, options),
            json!({"cachedContent": name}),
        )
    };
    let sent = body(&wire(), &cached("cachedContents/1".into()));
    let names: Vec<&String> = sent.as_object().unwrap().keys().collect();
    assert_eq!(names, ["cachedContent", "contents"]);
    let sent = body(&wire(), &cached(Value::Null));
    assert!(sent["tools"].is_array() && sent["systemInstruction"].is_object());
}

#[test]
fn fields_of_the_service_join_the_body_last() {
    let options = Options {
        temperature: Some(0.5),
        top_p: Some(0.9),
        ..Options::default()
    };
    let request = with_extra(
        with_options(request(OLD, [user("hi")]), options),
        json!({"safetySettings": [{"threshold": "OFF"}], "generationConfig": {"temperature": 1,
            "responseModalities": ["TEXT"]}}),
    );
    let sent = body(&wire(), &request);
    let config = json!({"temperature": 1, "topP": 0.9, "responseModalities": ["TEXT"]});
    assert_eq!(sent["generationConfig"], config);
    assert_eq!(sent["safetySettings"], json!([{"threshold": "OFF"}]));
    let refused = with_extra(request, json!([1]));
    let error = wire().encode(&refused).unwrap_err();
    assert_eq!(error, EncodeError::ExtraNotAnObject { found: "an array" });
}

#[test]
fn t14_half_a_character_is_not_sent() {
    let schema = RawJson::parse(r#"{"type":"object","description":"\ud83d"}"#).unwrap();
    let spec = ToolSpec {
        input_schema: schema,
        ..tool("x")
    };
    let call = Arc::new(ToolCall {
        arguments: Arguments::parse(r#"{"k":"\ude00"}"#),
        ..ToolCall::clone(&asked("a", PartFacts::default()))
    });
    let view = [
        user("hi"),
        Entry::Assistant(assistant(OLD, [AssistantPart::ToolCall(call)]).into()),
    ];
    let extra = RawJson::parse(r#"{"labels":{"k":"\ud83d"}}"#).unwrap();
    let request = Request {
        tools: Arc::from([spec]),
        options: Arc::new(Options {
            extra: Some(extra),
            ..Options::default()
        }),
        ..request(OLD, view)
    };
    let sent = body(&wire(), &request);
    assert_eq!(sent["labels"]["k"], "\u{fffd}");
    let call = &sent["contents"][1]["parts"][0]["functionCall"];
    assert_eq!(call["args"]["k"], "\u{fffd}");
    let declared = &sent["tools"][0]["functionDeclarations"][0];
    assert_eq!(declared["parametersJsonSchema"]["description"], "\u{fffd}");
}
