//! A: facts about requests.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::SystemTime;

use phi_provider::{
    AnthropicMessages, CacheBreakpoints, Delivery, EncodeError, Secret, UnsignedThinking, Wire,
};
use phi_types::{
    AssistantPart, CallResult, Content, EffectClass, Entry, Facts, ImageSource, OpaquePart,
    Options, Origin, PartFacts, Request, StopReason, TextPart, ToolCall, ToolChoice, ToolKind,
    ToolResult, ToolSpec, UserMessage,
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::support::{
    MODEL, assistant, assistant_of, body, call, messages, own, plain, raw, request, results, text,
    thinking, user,
};

fn opaque(kind: &str, data: &str) -> AssistantPart {
    AssistantPart::Opaque(OpaquePart {
        kind: kind.to_owned(),
        data: raw(data),
    })
}

fn part(call: &Arc<ToolCall>) -> AssistantPart {
    AssistantPart::ToolCall(Arc::clone(call))
}

fn tool(name: &str) -> ToolSpec {
    ToolSpec {
        name: name.into(),
        description: "d".into(),
        input_schema: raw(r#"{"type":"object"}"#),
        kind: ToolKind::Other,
        effect_class: EffectClass::Pure,
    }
}

fn with_options(options: Options) -> Request {
    Request {
        options: Arc::new(options),
        tools: [tool("f")].into(),
        ..request([user("u")])
    }
}

#[test]
fn a_request_says_everything_in_a_stable_order() {
    let request = Request {
        system: "be brief".into(),
        tools: [tool("f"), tool("g")].into(),
        ..with_options(Options {
            output_tokens_max: Some(99),
            temperature: Some(0.5),
            stop_sequences: vec!["END".to_owned(), " \n".to_owned()],
            tool_choice: Some(ToolChoice::Auto),
            ..Options::default()
        })
    };
    let http = AnthropicMessages::new().encode(&request).unwrap().request;
    assert_eq!(
        (http.method, http.url.as_str()),
        ("POST", "https://api.anthropic.com/v1/messages")
    );
    assert_eq!(http.body_len(), http.body_bytes().len());
    let text = String::from_utf8(http.body_bytes()).unwrap();
    insta::assert_snapshot!(text, @r#"{"model":"claude-sonnet-4-5","max_tokens":99,"stream":true,"temperature":0.5,"stop_sequences":["END"],"tool_choice":{"type":"auto"},"tools":[{"name":"f","description":"d","input_schema":{"type":"object"}},{"name":"g","description":"d","input_schema":{"type":"object"},"cache_control":{"type":"ephemeral"}}],"system":[{"type":"text","text":"be brief","cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":[{"type":"text","text":"u","cache_control":{"type":"ephemeral"}}]}]}"#);
    assert_eq!(
        AnthropicMessages::new()
            .encode(&request)
            .unwrap()
            .request
            .body_bytes(),
        text.into_bytes()
    );
    let headers: Vec<_> = http
        .headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    assert_eq!(
        headers,
        [
            ("content-type", "application/json"),
            ("accept", "text/event-stream"),
            ("anthropic-version", "2023-06-01"),
        ]
    );
}

#[test]
fn a_whole_answer_is_asked_for_without_a_stream() {
    let wire = plain()
        .with_delivery(Delivery::Whole)
        .with_base_url("http://localhost:1/v1/")
        .with_beta("a")
        .with_beta("b");
    let http = wire.encode(&request([user("u")])).unwrap().request;
    assert_eq!(http.url, "http://localhost:1/v1/messages");
    assert!(
        http.headers
            .contains(&("accept", "application/json".to_owned()))
    );
    assert!(http.headers.contains(&("anthropic-beta", "a,b".to_owned())));
    assert_eq!(body(&wire, &request([user("u")])).get("stream"), None);
}

#[test]
fn a_key_travels_in_a_header_and_never_in_the_request() {
    let http = plain().encode(&request([user("u")])).unwrap().request;
    let key = Secret::Key("sk-ant-secret".into());
    let headers = plain().authorize(&http, &key, SystemTime::UNIX_EPOCH);
    let [header] = headers.unwrap().try_into().unwrap();
    assert_eq!(
        (&*header.name, header.value.expose_secret()),
        ("x-api-key", "sk-ant-secret")
    );
    assert!(!format!("{header:?} {key:?}").contains("sk-ant"));
}

#[test]
fn a6_opaque_parts_go_back_verbatim_and_in_place_to_their_author_alone() {
    let parts = || {
        vec![
            opaque(
                "redacted_thinking",
                r#"{"type":"redacted_thinking","data":"x"}"#,
            ),
            opaque(
                "server_tool_use",
                r#"{"type":"server_tool_use","id":"s","z":1.0}"#,
            ),
            text("t"),
        ]
    };
    let sent = |origin: Origin| {
        let turn = assistant_of(origin, StopReason::EndTurn, parts());
        let sent = messages([user("u"), turn, user("v")]);
        let blocks = sent[1]["content"].as_array().unwrap().clone();
        blocks
            .iter()
            .map(|block| block["type"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        sent(own()),
        ["redacted_thinking", "server_tool_use", "text"]
    );
    let other_model = Origin {
        model: "claude-other".into(),
        ..own()
    };
    assert_eq!(sent(other_model), ["server_tool_use", "text"]);
    let other_service = Origin {
        provider: "gateway".into(),
        ..own()
    };
    assert_eq!(sent(other_service), ["text"]);
    let bytes = plain()
        .encode(&request([user("u"), assistant(parts()), user("v")]))
        .unwrap()
        .request
        .body_bytes();
    let text = String::from_utf8(bytes).unwrap();
    assert!(
        text.contains(r#"{"type":"server_tool_use","id":"s","z":1.0}"#),
        "{text}"
    );
}

#[test]
fn a7_signed_thinking_goes_back_to_its_author_and_any_other_is_dropped_or_text() {
    let signed = thinking("hm", Some("sig"));
    let sent = |wire: &AnthropicMessages, origin: Origin, part: AssistantPart| {
        let turn = assistant_of(origin, StopReason::EndTurn, vec![part, text("t")]);
        let sent = body(wire, &request([user("u"), turn, user("v")]));
        sent["messages"][1]["content"].clone()
    };
    let foreign = Origin {
        protocol: "openai-chat".into(),
        provider: "openai".into(),
        model: MODEL.into(),
        ..Origin::default()
    };
    let t = json!({"type": "text", "text": "t"});
    let as_text = plain().with_unsigned_thinking(UnsignedThinking::Text);
    let keep = plain().with_unsigned_thinking(UnsignedThinking::Keep);
    for wire in [&plain(), &as_text, &keep] {
        assert_eq!(
            sent(wire, own(), signed.clone()),
            json!([{"type": "thinking", "thinking": "hm", "signature": "sig"}, t])
        );
    }
    for unsigned in [None, Some("")] {
        let unsigned = thinking("hm", unsigned);
        assert_eq!(sent(&plain(), own(), unsigned.clone()), json!([t]));
        let hm = json!({"type": "text", "text": "hm"});
        assert_eq!(sent(&as_text, own(), unsigned.clone()), json!([hm, t]));
        assert_eq!(
            sent(&keep, own(), unsigned.clone()),
            json!([{"type": "thinking", "thinking": "hm", "signature": ""}, t])
        );
        assert_eq!(sent(&keep, foreign.clone(), unsigned), json!([t]));
    }
    assert_eq!(sent(&plain(), foreign.clone(), signed.clone()), json!([t]));
    assert_eq!(sent(&as_text, foreign, signed)[0]["text"], "hm");
}

#[test]
fn a8_thinking_stays_before_the_calls_that_it_led_to() {
    let one = call("a", "{}");
    let sent = messages([
        user("u"),
        assistant(vec![thinking("hm", Some("sig")), text("t"), part(&one)]),
        results(&[(&one, "r")]),
    ]);
    let kinds: Vec<_> = sent[1]["content"]
        .as_array()
        .unwrap()
        .iter()
        .map(|block| block["type"].clone())
        .collect();
    assert_eq!(kinds, ["thinking", "text", "tool_use"]);
}

/// Returns the ids of the calls and of the results that are sent, in order.
fn ids(entries: Vec<Entry>) -> (Vec<String>, Vec<String>) {
    let sent = messages(entries);
    let of = |kind: &str, name: &str| -> Vec<String> {
        let messages = sent.as_array().unwrap().iter();
        messages
            .flat_map(|message| message["content"].as_array().unwrap())
            .filter(|block| block["type"] == kind)
            .map(|block| block[name].as_str().unwrap().to_owned())
            .collect()
    };
    (of("tool_use", "id"), of("tool_result", "tool_use_id"))
}

#[test]
fn a9_ids_are_made_to_fit_and_stay_distinct_and_calls_match_their_results() {
    let long = "x".repeat(450);
    let mut entries = vec![user("u")];
    let mut count = 0;
    for turn in 0..3 {
        let calls: Vec<_> = ["call|1", "call+1", "call_1", "", &long, "call_1"]
            .iter()
            .map(|id| call(id, &format!("{{\"turn\":{turn}}}")))
            .collect();
        count += calls.len();
        entries.push(assistant(calls.iter().map(part).collect()));
        let all: Vec<_> = calls.iter().map(|call| (call, "r")).collect();
        entries.push(results(&all));
    }
    let (calls, answers) = ids(entries.clone());
    assert_eq!(calls.len(), count);
    assert_eq!(calls, answers);
    assert_eq!(calls.iter().collect::<HashSet<_>>().len(), count);
    for id in &calls {
        assert!((1..=64).contains(&id.len()), "{id}");
        assert!(
            id.chars()
                .all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)),
            "{id}"
        );
    }
    assert_eq!(calls[2], "call_1");
    // A conversation that grew keeps the ids that it had.
    entries.truncate(3);
    assert_eq!(ids(entries).0[..], calls[..6]);
}

#[test]
fn a10_results_come_first_in_the_next_user_message_and_all_in_one() {
    let (one, two) = (call("a", "{}"), call("b", "{}"));
    let turn = || assistant(vec![part(&one), part(&two)]);
    let sent = messages([
        user("u"),
        turn(),
        results(&[(&two, "2"), (&one, "1")]),
        user("and now?"),
    ]);
    let expected = json!([
        {"role": "user", "content": [{"type": "text", "text": "u"}]},
        {"role": "assistant", "content": [
            {"type": "tool_use", "id": "a", "name": "f", "input": {}},
            {"type": "tool_use", "id": "b", "name": "f", "input": {}},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "1"}]},
            {"type": "tool_result", "tool_use_id": "b", "content": [{"type": "text", "text": "2"}]},
            {"type": "text", "text": "and now?"},
        ]},
    ]);
    assert_eq!(sent, expected);
    // Also where something was said between the call and its result.
    let sent = messages([
        user("u"),
        turn(),
        user("and now?"),
        results(&[(&one, "1"), (&two, "2")]),
    ]);
    assert_eq!(sent, expected);
}

#[test]
fn a10_every_call_is_answered_also_where_no_result_was_recorded() {
    let (one, two) = (call("a", "{}"), call("b", "{}"));
    let turn = assistant(vec![part(&one), part(&two)]);
    let sent = messages([user("u"), turn.clone(), results(&[(&two, "2")])]);
    let answers = sent[2]["content"].as_array().unwrap();
    assert_eq!(answers[0]["tool_use_id"], "a");
    assert_eq!(answers[0]["is_error"], true);
    assert_eq!(answers[1]["content"][0]["text"], "2");
    let sent = messages([user("u"), turn]);
    assert_eq!(sent[2]["content"].as_array().unwrap().len(), 2);
}

#[test]
fn a10_a_result_without_its_call_is_told_as_text() {
    let gone = call("gone", "{}");
    let told = json!([
        {"type": "text", "text": "[result of an earlier call of `f`]"},
        {"type": "text", "text": "42"},
    ]);
    let sent = messages([
        results(&[(&gone, "42")]),
        assistant(vec![text("t")]),
        user("u"),
    ]);
    assert_eq!(sent[0]["content"], told);
    let sent = messages([
        user("u"),
        assistant(vec![text("t")]),
        results(&[(&gone, "42")]),
    ]);
    assert_eq!(sent[2]["content"], told);
}

#[test]
fn a14_a_paused_turn_goes_back_unchanged_with_the_id_of_its_container() {
    let paused = assistant_of(
        own(),
        StopReason::PauseTurn,
        vec![
            text("let me see "),
            opaque("server_tool_use", r#"{"type":"server_tool_use","id":"s"}"#),
            text("so far "),
            opaque(
                "container",
                r#"{"id":"c1","expires_at":"2030-01-01T00:00:00Z"}"#,
            ),
        ],
    );
    let sent = body(&plain(), &request([user("u"), paused.clone()]));
    assert_eq!(sent["container"], "c1");
    let content = sent["messages"][1]["content"].clone();
    assert_eq!(
        content,
        json!([
            {"type": "text", "text": "let me see "},
            {"type": "server_tool_use", "id": "s"},
            {"type": "text", "text": "so far "},
        ])
    );
    // What continues it joins the same message.
    let sent = body(
        &plain(),
        &request([user("u"), paused, assistant(vec![text("done")]), user("v")]),
    );
    assert_eq!(sent["messages"].as_array().unwrap().len(), 3);
    assert_eq!(sent["messages"][1]["content"][3]["text"], "done");
}

/// Counts `cache_control` in a value.
fn breakpoints(value: &Value) -> usize {
    match value {
        Value::Object(fields) => {
            let inside: usize = fields.values().map(breakpoints).sum();
            inside + usize::from(fields.contains_key("cache_control"))
        }
        Value::Array(items) => items.iter().map(breakpoints).sum(),
        _ => 0,
    }
}

#[test]
fn a17_at_most_four_breakpoints_after_tools_system_and_the_last_two_user_messages() {
    let wide: Vec<_> = (0..40).map(|n| call(&format!("c{n}"), "{}")).collect();
    let all: Vec<_> = wide.iter().map(|call| (call, "r")).collect();
    let mut turn = vec![thinking("hm", Some("sig"))];
    turn.extend(wide.iter().map(part));
    let request = Request {
        system: "s".into(),
        tools: [tool("f"), tool("g")].into(),
        ..request([user("u"), user(" "), assistant(turn), results(&all)])
    };
    let sent = body(&AnthropicMessages::new(), &request);
    assert_eq!(breakpoints(&sent), 4);
    let mark = json!({"type": "ephemeral"});
    assert_eq!(sent["tools"][1]["cache_control"], mark);
    assert_eq!(sent["system"][0]["cache_control"], mark);
    // The end of the message before is where the last request ended, however wide this turn was.
    assert_eq!(sent["messages"][0]["content"][0]["cache_control"], mark);
    assert_eq!(sent["messages"][2]["content"][39]["cache_control"], mark);
    let hour = AnthropicMessages::new().with_cache(CacheBreakpoints::OneHour);
    assert_eq!(
        body(&hour, &request)["system"][0]["cache_control"]["ttl"],
        "1h"
    );
    assert_eq!(breakpoints(&body(&plain(), &request)), 0);
    assert_eq!(body(&plain(), &request)["system"], "s");
}

#[test]
fn a17_a_conversation_that_grew_begins_with_the_same_bytes() {
    let one = call("a", r#"{"z":1,"a":2}"#);
    let entries = [
        user("u"),
        assistant(vec![thinking("hm", Some("sig")), text("t "), part(&one)]),
        results(&[(&one, "r")]),
        assistant(vec![text("so")]),
        user("v"),
    ];
    let bytes = |len: usize| {
        plain()
            .encode(&request(entries[..len].to_vec()))
            .unwrap()
            .request
            .body_bytes()
    };
    for len in [1, 3] {
        let short = bytes(len);
        let shared = &short[..short.len() - "]}]}".len()];
        assert!(bytes(entries.len()).starts_with(shared), "{len}");
    }
}

#[test]
fn a18_empty_text_is_dropped_and_so_is_a_message_without_any() {
    let sent = messages([
        user("u"),
        assistant(vec![text(""), text(" \n")]),
        user("  "),
        user("v"),
        assistant(vec![text(""), text("t")]),
        user("w"),
    ]);
    assert_eq!(
        sent,
        json!([
            {"role": "user", "content": [{"type": "text", "text": "u"}, {"type": "text", "text": "v"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "t"}]},
            {"role": "user", "content": [{"type": "text", "text": "w"}]},
        ])
    );
    let nothing = plain().encode(&request([user(" ")])).unwrap_err();
    assert_eq!(nothing, EncodeError::NothingToSend);
}

#[test]
fn a18_a_prefill_has_no_trailing_white_space() {
    let sent = messages([user("u"), assistant(vec![text("The answer is \n")])]);
    assert_eq!(sent[1]["content"][0]["text"], "The answer is");
    let sent = messages([user("u"), assistant(vec![text("a "), text(" ")])]);
    assert_eq!(sent[1]["content"], json!([{"type": "text", "text": "a"}]));
    let sent = messages([user("u"), assistant(vec![text("a ")]), user(" ")]);
    assert_eq!(sent[1]["content"], json!([{"type": "text", "text": "a"}]));
    let sent = messages([user("u"), assistant(vec![text("kept ")]), user("v")]);
    assert_eq!(sent[1]["content"][0]["text"], "kept ");
}

#[test]
fn a19_malformed_arguments_go_back_as_an_object_that_shows_them() {
    let half = call("a", "{\"path\":");
    let sent = messages([
        user("u"),
        assistant(vec![part(&half)]),
        results(&[(&half, "no")]),
    ]);
    assert_eq!(
        sent[1]["content"][0]["input"],
        json!({"malformed_arguments": "{\"path\":"})
    );
}

#[test]
fn a21_results_of_several_entries_share_a_message() {
    let (one, two) = (call("a", "{}"), call("b", "{}"));
    let sent = messages([
        user("u"),
        assistant(vec![part(&one), part(&two)]),
        results(&[(&one, "1")]),
        results(&[(&two, "2")]),
    ]);
    assert_eq!(sent.as_array().unwrap().len(), 3);
    assert_eq!(sent[2]["content"].as_array().unwrap().len(), 2);
}

#[test]
fn a23_messages_of_one_role_in_a_row_are_merged() {
    let sent = messages([
        user("a"),
        user("b"),
        assistant(vec![text("c")]),
        assistant(vec![text("d")]),
        user("e"),
    ]);
    let roles: Vec<_> = sent
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["role"].clone())
        .collect();
    assert_eq!(roles, ["user", "assistant", "user"]);
}

#[test]
fn citations_and_callers_go_back_to_their_service_alone() {
    let cited = |origin: Origin| {
        let facts = PartFacts::from(Facts {
            extra: Some(raw(r#"{"citations":[{"n":1.0}]}"#)),
            ..Facts::default()
        });
        let part = AssistantPart::Text(TextPart {
            text: "t".to_owned(),
            facts,
        });
        let turn = assistant_of(origin, StopReason::EndTurn, vec![part]);
        messages([user("u"), turn, user("v")])[1]["content"][0].clone()
    };
    assert_eq!(cited(own())["citations"], json!([{"n": 1.0}]));
    assert_eq!(cited(Origin::default()).get("citations"), None);
}

#[test]
fn images_are_sent_where_the_provider_takes_them() {
    let image = |media_type: &str, source: ImageSource| Content::Image {
        media_type: media_type.to_owned(),
        source,
    };
    let content = vec![
        image("image/png", ImageSource::Base64("AAAA".to_owned())),
        image("", ImageSource::Url("https://x/y.png".to_owned())),
        image("image/tiff", ImageSource::Base64("AAAA".to_owned())),
    ];
    let sent = messages([Entry::User(Arc::new(UserMessage { content }))]);
    assert_eq!(
        sent[0]["content"],
        json!([
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
            {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
            {"type": "text", "text": "[an image of type image/tiff was left out]"},
        ])
    );
    let one = call("a", "{}");
    let result = |is_error| {
        let result = ToolResult {
            content: vec![
                Content::text(""),
                image("image/png", ImageSource::Base64("AAAA".to_owned())),
            ],
            is_error,
            ..ToolResult::default()
        };
        let results = [CallResult {
            call: Arc::clone(&one),
            result: Arc::new(result),
        }];
        let entries = [
            user("u"),
            assistant(vec![part(&one)]),
            Entry::Results(results.into()),
        ];
        messages(entries)[2]["content"][0].clone()
    };
    assert_eq!(result(false)["content"][0]["type"], "image");
    assert_eq!(result(false).get("is_error"), None);
    assert_eq!(result(true)["content"][0]["type"], "text");
    assert_eq!(result(true)["is_error"], true);
}

#[test]
fn an_empty_system_prompt_and_empty_descriptions_are_left_out() {
    for system in ["", "  "] {
        let request = Request {
            system: system.into(),
            ..request([user("u")])
        };
        assert_eq!(
            body(&AnthropicMessages::new(), &request).get("system"),
            None
        );
    }
}

#[test]
fn extra_fields_join_last_and_replace_but_tools_are_added() {
    let request = with_options(Options {
        temperature: Some(0.1),
        extra: Some(raw(
            r#"{"temperature":1.0,"tools":[{"type":"web_search_20250305","name":"web_search"}],"metadata":{"user_id":"u"}}"#,
        )),
        ..Options::default()
    });
    let sent = body(&plain(), &request);
    assert_eq!(sent["temperature"], 1.0);
    assert_eq!(sent["metadata"], json!({"user_id": "u"}));
    assert_eq!(sent["tools"][0]["name"], "f");
    assert_eq!(sent["tools"][1]["name"], "web_search");
    for (extra, found) in [
        ("[1]", "an array"),
        ("null", "null"),
        ("7", "a number"),
        ("\"x\"", "a string"),
        ("true", "a boolean"),
    ] {
        let request = with_options(Options {
            extra: Some(raw(extra)),
            ..Options::default()
        });
        let error = plain().encode(&request).unwrap_err();
        assert_eq!(error, EncodeError::ExtraNotAnObject { found });
    }
}

#[test]
fn a_schema_states_its_type_and_is_an_object() {
    let with_schema = |schema: &str| {
        let tool = ToolSpec {
            input_schema: raw(schema),
            ..tool("f")
        };
        plain().encode(&Request {
            tools: [tool].into(),
            ..request([user("u")])
        })
    };
    let text =
        |schema| String::from_utf8(with_schema(schema).unwrap().request.body_bytes()).unwrap();
    assert!(text("{}").contains(r#""input_schema":{"type":"object"}"#));
    let kept = r#"{"z":1.0,"type":"object","a":[]}"#;
    assert!(text(kept).contains(kept));
    let error = with_schema("true").unwrap_err();
    assert_eq!(
        error,
        EncodeError::SchemaNotAnObject {
            tool: "f".to_owned()
        }
    );
}
