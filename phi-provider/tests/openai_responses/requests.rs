//! What is sent.

use std::sync::Arc;
use std::time::SystemTime;

use phi_provider::openai_responses::{CacheKey, OpenAiResponses};
use phi_provider::translate::{Loss, LossKind};
use phi_provider::{Delivery, EncodeError, Secret, Wire};
use phi_types::{
    AssistantMessage, CallResult, Content, EffectClass, Entry, History, ImageSource, Options,
    OutputSchema, RawJson, Request, SessionId, Thinking, ToolChoice, ToolKind, ToolResult,
    ToolSpec, UserMessage,
};
use serde_json::{Value, json};

use crate::{call, message, reasoning, said, whole, wire};

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

pub(crate) fn with_options(request: Request, options: Options) -> Request {
    Request {
        options: options.into(),
        ..request
    }
}

pub(crate) fn with_tools(request: Request) -> Request {
    let tool = ToolSpec {
        name: "x".into(),
        description: "does it".into(),
        input_schema: RawJson::parse(r#"{"type":"object","properties":{}}"#).unwrap(),
        kind: ToolKind::Other,
        effect_class: EffectClass::Pure,
    };
    Request {
        tools: Arc::from([tool]),
        ..request
    }
}

pub(crate) fn user(text: &str) -> Entry {
    Entry::User(Arc::new(UserMessage::text(text)))
}

/// The message of an output.
pub(crate) fn answer(output: Value) -> AssistantMessage {
    message(&whole(output)).unwrap()
}

/// The message and a result for each of its calls.
pub(crate) fn answered(message: AssistantMessage, result: &ToolResult) -> Vec<Entry> {
    let results: Vec<CallResult> = message
        .tool_calls()
        .map(|call| CallResult {
            call: Arc::clone(call),
            result: Arc::new(result.clone()),
        })
        .collect();
    let mut entries = vec![Entry::Assistant(Arc::new(message))];
    if !results.is_empty() {
        entries.push(Entry::Results(results.into()));
    }
    entries
}

pub(crate) fn body(wire: &OpenAiResponses, request: &Request) -> Value {
    serde_json::from_slice(&wire.encode(request).unwrap().request.body_bytes()).unwrap()
}

/// The input that follows a question, an answer and the results of its calls.
pub(crate) fn sent_after(wire: &OpenAiResponses, message: AssistantMessage) -> Vec<Value> {
    let entries = answered(message, &ToolResult::text("done"));
    let entries = [user("do it")].into_iter().chain(entries);
    let input = body(wire, &request(entries))["input"].clone();
    input.as_array().unwrap()[1..].to_vec()
}

fn losses(message: AssistantMessage) -> Vec<LossKind> {
    let entries = [
        user("do it"),
        Entry::Assistant(Arc::new(message)),
        user("and"),
    ];
    let losses = wire().encode(&request(entries)).unwrap().losses;
    losses.into_iter().map(|Loss { kind, .. }| kind).collect()
}

#[test]
fn a_request_is_the_same_bytes_each_time_and_the_input_comes_last() {
    let options = Options {
        output_tokens_max: Some(100),
        temperature: Some(0.5),
        top_p: Some(0.9),
        tool_choice: Some(ToolChoice::Tool("x".to_owned())),
        parallel_tool_calls: Some(false),
        thinking: Some(Thinking::Low),
        extra: Some(
            RawJson::parse(
                r#"{"top_p":1,"include":["web_search_call.results"],"tools":[{"type":"web_search"}],"reasoning":{"effort":"xhigh"},"user":"u"}"#,
            )
            .unwrap(),
        ),
        ..Options::default()
    };
    let mut request = with_options(with_tools(request([user("hi")])), options);
    request.system = "be brief".into();
    let encoded = wire().encode(&request).unwrap().request;
    assert_eq!(encoded, wire().encode(&request).unwrap().request);
    assert_eq!(encoded.method, "POST");
    assert_eq!(encoded.url, "https://api.example.com/v1/responses");
    insta::assert_snapshot!(String::from_utf8(encoded.body_bytes()).unwrap(), @r#"{"model":"m","stream":true,"store":false,"prompt_cache_key":"s","max_output_tokens":100,"temperature":0.5,"top_p":1,"reasoning":{"effort":"xhigh","summary":"auto"},"include":["reasoning.encrypted_content","web_search_call.results"],"tools":[{"type":"function","name":"x","description":"does it","parameters":{"type":"object","properties":{}},"strict":false},{"type":"web_search"}],"tool_choice":{"name":"x","type":"function"},"parallel_tool_calls":false,"instructions":"be brief","user":"u","input":[{"role":"user","content":"hi"}]}"#);
}

#[test]
fn a_conversation_that_grew_keeps_the_beginning_of_its_body() {
    let first = answer(json!([
        reasoning("rs_1"),
        said("msg_1", "so"),
        call("a", "{}")
    ]));
    let mut entries = vec![user("one")];
    entries.extend(answered(first, &ToolResult::text("1")));
    entries.extend([user("two"), user("three")]);
    let wire = wire();
    let mut bodies: Vec<Vec<u8>> = Vec::new();
    for len in [1, 3, 4, 5] {
        let request = with_tools(request(entries[..len].to_vec()));
        let body = wire.encode(&request).unwrap().request.body_bytes();
        let fresh = crate::wire().encode(&request).unwrap().request.body_bytes();
        assert_eq!(body, fresh);
        bodies.push(body);
    }
    for pair in bodies.windows(2) {
        // Without the two brackets that close the body.
        let end = pair[0].len() - 2;
        assert_eq!(pair[0][..end], pair[1][..end]);
    }
}

#[test]
fn r03_nothing_is_stored_and_encrypted_reasoning_is_asked_for() {
    let body = body(&wire(), &request([user("hi")]));
    assert_eq!(body["store"], false);
    assert_eq!(body["include"], json!(["reasoning.encrypted_content"]));
    let whole = crate::requests::body(
        &wire().with_delivery(Delivery::Whole),
        &request([user("hi")]),
    );
    assert_eq!(whole["stream"], false);
}

#[test]
fn r03_reasoning_goes_back_as_it_came_before_what_it_led_to() {
    let plain = reasoning("rs_1");
    let mut summed = reasoning("rs_2");
    summed["summary"] = json!([{"type": "summary_text", "text": "because"}]);
    let mut open = reasoning("rs_3");
    open["content"] = json!([{"type": "reasoning_text", "text": "a"},
        {"type": "reasoning_text", "text": "b"}]);
    open["format"] = "new".into();
    for item in [plain, summed, open] {
        let output = json!([item, said("msg_1", "so"), call("a", "{}")]);
        let sent = sent_after(&wire(), answer(output.clone()));
        let result = json!({"type": "function_call_output", "call_id": "a", "output": "done"});
        let mut expected = output.as_array().unwrap().clone();
        expected.push(result);
        assert_eq!(sent, expected);
    }
}

#[test]
fn r03_ids_of_items_go_only_with_all_the_reasoning_of_their_answer() {
    let unsealed = json!({"type": "reasoning", "id": "rs_1", "summary": []});
    let output = json!([unsealed, said("msg_1", "so"), call("a", "{}")]);
    let sent = sent_after(&wire(), answer(output));
    assert_eq!(sent[0], json!({"role": "assistant", "content": "so"}));
    assert_eq!(
        sent[1],
        json!({"type": "function_call", "call_id": "a", "name": "x", "arguments": "{}"})
    );
    assert_eq!(sent.len(), 3);
}

#[test]
fn r03_reasoning_that_nothing_follows_is_left_out() {
    let sent = sent_after(
        &wire(),
        answer(json!([said("msg_1", "so"), reasoning("rs_1")])),
    );
    assert_eq!(sent, [said("msg_1", "so")]);
}

#[test]
fn r04_reasoning_of_another_model_or_service_stays_behind_and_that_is_reported() {
    let output = json!([reasoning("rs_1"), said("msg_1", "so"), call("a", "{}")]);
    let mut service = answer(output);
    let mut model = service.clone();
    model.origin.model = "other".into();
    service.origin.provider = "azure".into();
    for message in [model, service] {
        let sent = sent_after(&wire(), message.clone());
        assert_eq!(sent[0], json!({"role": "assistant", "content": "so"}));
        assert_eq!(sent[1].get("id"), None);
        assert!(losses(message).contains(&LossKind::ThinkingDropped));
    }
}

#[test]
fn r05_models_that_do_not_reason_are_not_asked_for_reasoning() {
    let options = Options {
        thinking: Some(Thinking::Off),
        ..Options::default()
    };
    let mut request = with_options(request([user("hi")]), options);
    request.model = "gpt-4o".into();
    let body = body(&wire(), &request);
    assert_eq!(body.get("include"), None);
    assert_eq!(body.get("reasoning"), None);
}

#[test]
fn r07_a_refusal_goes_back_as_one() {
    let item = json!({"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
        "content": [{"type": "refusal", "refusal": "no"}]});
    assert_eq!(sent_after(&wire(), answer(json!([item]))), [item]);
}

#[test]
fn r09_the_phase_of_a_message_goes_back() {
    let mut first = said("msg_1", "looking");
    first["phase"] = "commentary".into();
    let mut last = said("msg_2", "found");
    last["phase"] = "final_answer".into();
    let message = answer(json!([first, last]));
    assert_eq!(sent_after(&wire(), message.clone()), [first, last]);
    let mut other = message;
    other.origin.model = "other".into();
    assert_eq!(
        sent_after(&wire(), other),
        [
            json!({"role": "assistant", "content": "looking", "phase": "commentary"}),
            json!({"role": "assistant", "content": "found", "phase": "final_answer"}),
        ]
    );
}

#[test]
fn r10_ids_that_the_service_would_refuse_are_left_out() {
    let long = format!("msg_{}", "x".repeat(61));
    for id in [&long, "msg_x_", "item_1", "msg_a|b", "msg_é"] {
        let sent = sent_after(&wire(), answer(json!([said(id, "so")])));
        assert_eq!(
            sent,
            [json!({"role": "assistant", "content": "so"})],
            "{id}"
        );
    }
    let fits = format!("msg_{}", "x".repeat(60));
    let sent = sent_after(&wire(), answer(json!([said(&fits, "so")])));
    assert_eq!(sent[0]["id"], fits.as_str());
}

#[test]
fn r11_a_call_of_a_custom_tool_goes_back_as_the_text_that_it_was() {
    let item = json!({"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_1", "name": "x",
        "input": "say \"hi\"\n"});
    let sent = sent_after(&wire(), answer(json!([item])));
    let result = json!({"type": "custom_tool_call_output", "call_id": "call_1", "output": "done"});
    assert_eq!(sent, [item.clone(), result]);
    let mut foreign = answer(json!([item]));
    foreign.origin.provider = "other".into();
    let sent = sent_after(&wire(), foreign);
    assert_eq!(sent[0]["type"], "function_call");
    assert_eq!(sent[0]["arguments"], "{\"input\":\"say \\\"hi\\\"\\n\"}");
    assert_eq!(sent[1]["type"], "function_call_output");
}

#[test]
fn r12_items_of_the_service_go_back_to_it_alone() {
    let compaction = json!({"type": "compaction", "id": "cmp_1", "encrypted_content": "sealed"});
    let search = json!({"type": "web_search_call", "id": "ws_1", "status": "completed"});
    let message = answer(json!([compaction, search, said("msg_1", "so")]));
    let sent = sent_after(&wire(), message.clone());
    assert_eq!(sent, [compaction.clone(), search, said("msg_1", "so")]);
    let plain = json!({"role": "assistant", "content": "so"});
    let mut model = message.clone();
    model.origin.model = "other".into();
    assert_eq!(sent_after(&wire(), model), [compaction, plain.clone()]);
    let mut service = message;
    service.origin.provider = "other".into();
    assert_eq!(sent_after(&wire(), service), [plain]);
}

#[test]
fn r13_the_instructions_are_said_with_every_request() {
    let mut request = request([user("hi")]);
    request.system = "be brief".into();
    let options = Options {
        extra: Some(RawJson::parse(r#"{"previous_response_id":"resp_1"}"#).unwrap()),
        ..Options::default()
    };
    let body = body(&wire(), &with_options(request, options));
    assert_eq!(body["instructions"], "be brief");
    assert_eq!(body["previous_response_id"], "resp_1");
}

#[test]
fn r18_ids_of_calls_that_are_unique_in_their_answer_alone_are_told_apart() {
    let mut entries = vec![user("do it")];
    for _ in 0..2 {
        entries.extend(answered(
            answer(json!([call("call_0", "{}")])),
            &ToolResult::text("done"),
        ));
    }
    let input = body(&wire(), &request(entries))["input"].clone();
    let id = |at: usize| input[at]["call_id"].as_str().unwrap().to_owned();
    assert_eq!((id(1), id(2)), ("call_0".to_owned(), "call_0".to_owned()));
    assert_eq!(id(3), id(4));
    assert_ne!(id(1), id(3));
}

#[test]
fn what_a_program_of_the_service_called_is_answered_to_it() {
    let caller = json!({"type": "program", "caller_id": "cm_1"});
    let mut item = call("a", "{}");
    item["caller"] = caller.clone();
    item["namespace"] = "tools".into();
    let message = answer(json!([item]));
    let sent = sent_after(&wire(), message.clone());
    assert_eq!(sent[0], item);
    assert_eq!(sent[1]["caller"], caller);
    let mut other = message;
    other.origin.model = "other".into();
    let sent = sent_after(&wire(), other);
    assert_eq!((sent[0].get("caller"), sent[1].get("caller")), (None, None));
}

#[test]
fn c19_the_session_names_what_its_requests_share_in_the_cache() {
    let asked = request([user("hi")]);
    assert_eq!(body(&wire(), &asked)["prompt_cache_key"], "s");
    let silent = wire().with_cache_key(CacheKey::Unsaid);
    assert_eq!(body(&silent, &asked).get("prompt_cache_key"), None);
    let other = OpenAiResponses::compatible("http://localhost:1234/v1", "lmstudio");
    assert_eq!(body(&other, &asked).get("prompt_cache_key"), None);
}

#[test]
fn the_amount_of_reasoning_is_a_word_and_its_summary_is_asked_for() {
    for (thinking, expected) in [
        (Thinking::Off, json!({"effort": "none"})),
        (Thinking::Adaptive, json!({"summary": "auto"})),
        (
            Thinking::Medium,
            json!({"effort": "medium", "summary": "auto"}),
        ),
        (
            Thinking::BudgetTokens(1_024),
            json!({"effort": "low", "summary": "auto"}),
        ),
        (
            Thinking::BudgetTokens(99_999),
            json!({"effort": "high", "summary": "auto"}),
        ),
    ] {
        let options = Options {
            thinking: Some(thinking),
            ..Options::default()
        };
        let body = body(&wire(), &with_options(request([user("hi")]), options));
        assert_eq!(body["reasoning"], expected);
    }
    assert_eq!(body(&wire(), &request([user("hi")])).get("reasoning"), None);
}

#[test]
fn a_form_of_the_answer_is_asked_for_by_its_schema_beside_other_words_of_text() {
    let ask = |schema: &str| {
        let options = Options {
            output: Some(OutputSchema {
                name: "person".to_owned(),
                schema: RawJson::parse(schema).unwrap(),
            }),
            extra: Some(RawJson::parse(r#"{"text":{"verbosity":"low"}}"#).unwrap()),
            ..Options::default()
        };
        body(&wire(), &with_options(request([user("hi")]), options))["text"].clone()
    };
    let closed = r#"{"type":"object","properties":{"age":{"type":"integer"}},"required":["age"],"additionalProperties":false}"#;
    let schema: Value = serde_json::from_str(closed).unwrap();
    assert_eq!(
        ask(closed),
        json!({"format": {"type": "json_schema", "name": "person", "schema": schema, "strict": true},
            "verbosity": "low"})
    );
    let open = r#"{"type":"object","additionalProperties":{"type":"integer"}}"#;
    let asked = ask(open);
    assert_eq!(asked["format"]["strict"], false);
    assert_eq!(
        asked["format"]["schema"],
        serde_json::from_str::<Value>(open).unwrap()
    );
}

#[test]
fn images_stand_in_messages_and_in_results() {
    let image = |source| Content::Image {
        media_type: "image/png".to_owned(),
        source,
    };
    let shown = image(ImageSource::Base64("aGk=".to_owned()));
    let linked = image(ImageSource::Url("https://x/y.png".to_owned()));
    let message = UserMessage {
        content: vec![Content::text("see"), shown.clone(), linked],
    };
    let mut entries = vec![Entry::User(Arc::new(message))];
    let result = ToolResult {
        content: vec![shown],
        ..ToolResult::default()
    };
    entries.extend(answered(answer(json!([call("a", "{}")])), &result));
    let input = body(&wire(), &request(entries))["input"].clone();
    let url = "data:image/png;base64,aGk=";
    assert_eq!(
        input[0]["content"],
        json!([{"type": "input_text", "text": "see"},
            {"type": "input_image", "image_url": url},
            {"type": "input_image", "image_url": "https://x/y.png"}])
    );
    assert_eq!(
        input[2]["output"],
        json!([{"type": "input_image", "image_url": url}])
    );
}

#[test]
fn the_failure_of_a_tool_stands_in_its_output() {
    let result = ToolResult {
        is_error: true,
        ..ToolResult::text("gone")
    };
    let mut entries = vec![user("do it")];
    entries.extend(answered(answer(json!([call("a", "{}")])), &result));
    let input = body(&wire(), &request(entries))["input"].clone();
    assert_eq!(input[2]["output"], "error:\ngone");
}

#[test]
fn what_the_protocol_cannot_say_is_refused() {
    let options = Options {
        stop_sequences: vec!["END".to_owned()],
        ..Options::default()
    };
    let error = wire().encode(&with_options(request([user("hi")]), options));
    assert!(error.unwrap_err().to_string().contains("`stop_sequences`"));
    let options = Options {
        extra: Some(RawJson::parse("[1]").unwrap()),
        ..Options::default()
    };
    let error = wire().encode(&with_options(request([user("hi")]), options));
    assert!(matches!(error, Err(EncodeError::ExtraNotAnObject { .. })));
    let error = wire().encode(&request([]));
    assert_eq!(error.unwrap_err(), EncodeError::NothingToSend);
}

#[test]
fn the_credential_travels_in_a_header_and_nowhere_else() {
    use secrecy::ExposeSecret;
    let encoded = wire().encode(&request([user("hi")])).unwrap().request;
    for secret in [Secret::Key("k-1".into()), Secret::Token("k-1".into())] {
        let headers = wire().authorize(&encoded, &secret, SystemTime::UNIX_EPOCH);
        let [header] = headers.unwrap().try_into().unwrap();
        assert_eq!(header.name, "authorization");
        assert_eq!(header.value.expose_secret(), "Bearer k-1");
        assert!(!format!("{header:?}{secret:?}{encoded:?}").contains("k-1"));
    }
}
