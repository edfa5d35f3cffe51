//! What goes back to the model that wrote it, and what to others.

use phi_provider::Wire;
use phi_provider::gemini::{Generation, ThoughtReplay};
use phi_types::{
    AssistantMessage, AssistantPart, Content, Entry, Facts, OpaquePart, Origin, PartFacts, RawJson,
    Request, TextPart, ThinkingPart,
};
use serde_json::{Value, json};

use crate::requests::{answered, asked, assistant, body, contents, request, user, with_tools};
use crate::{NEW, OLD, message, parts, stream, wire};

fn signed(signature: &str) -> PartFacts {
    PartFacts::from(Facts {
        signature: Some(signature.to_owned()),
        ..Facts::default()
    })
}

/// What a model answers that thinks, speaks and calls two tools.
fn turn(model: &str) -> AssistantMessage {
    let mut first = signed("s2");
    first.item_id = Some("own".to_owned());
    assistant(
        model,
        [
            AssistantPart::Thinking(ThinkingPart {
                text: "hm".to_owned(),
                ..ThinkingPart::default()
            }),
            AssistantPart::Text(TextPart {
                text: "so".to_owned(),
                facts: signed("s1"),
            }),
            AssistantPart::ToolCall(asked("own", first)),
            AssistantPart::ToolCall(asked("made_1", PartFacts::default())),
            AssistantPart::Opaque(OpaquePart {
                kind: "executableCode".to_owned(),
                data: RawJson::parse(r#"{"executableCode":{"code":"1"},"thoughtSignature":"s3"}"#)
                    .unwrap(),
            }),
            AssistantPart::Text(TextPart {
                text: String::new(),
                facts: signed("s4"),
            }),
        ],
    )
}

fn view(message: AssistantMessage) -> Vec<Entry> {
    let calls: Vec<_> = message.tool_calls().cloned().collect();
    let results = calls
        .iter()
        .map(|call| answered(call, vec![Content::text("ok")], false));
    let results = Entry::Results(results.collect());
    vec![user("hi"), Entry::Assistant(message.into()), results]
}

#[test]
fn g02_g03_ids_and_signatures_of_the_service_go_back_where_they_stood() {
    let contents = contents(&request(NEW, view(turn(NEW))));
    let call = json!({"name": "x", "args": {"k": 1}});
    let own = json!({"id": "own", "name": "x", "args": {"k": 1}});
    let expected = json!([
        {"text": "hm", "thought": true},
        {"text": "so", "thoughtSignature": "s1"},
        {"functionCall": own, "thoughtSignature": "s2"},
        {"functionCall": call},
        {"executableCode": {"code": "1"}, "thoughtSignature": "s3"},
        {"text": "", "thoughtSignature": "s4"}
    ]);
    assert_eq!(contents[1]["parts"], expected);
    let ids = |at: usize| &contents[2]["parts"][at]["functionResponse"]["id"];
    assert_eq!((ids(0), ids(1)), (&json!("own"), &Value::Null));
}

#[test]
fn g04_others_get_neither_ids_nor_signatures_but_a_stand_in_on_the_first_call() {
    let foreign = |change: fn(&mut Origin)| {
        let mut message = turn(NEW);
        change(&mut message.origin);
        contents(&request(NEW, view(message)))
    };
    for contents in [
        foreign(|origin| origin.model = OLD.into()),
        foreign(|origin| origin.provider = "vertex".into()),
        foreign(|origin| origin.protocol = "openai-chat".into()),
    ] {
        let call = json!({"name": "x", "args": {"k": 1}});
        let stand_in = "skip_thought_signature_validator";
        let expected = json!([
            {"text": "so"},
            {"functionCall": call, "thoughtSignature": stand_in},
            {"functionCall": call}
        ]);
        assert_eq!(contents[1]["parts"], expected);
        assert_eq!(contents[2]["parts"][0]["functionResponse"].get("id"), None);
    }
}

#[test]
fn g04_models_that_need_no_signature_get_no_stand_in() {
    let mut message = turn(OLD);
    message.origin.provider = "other".into();
    let request = request(OLD, view(message));
    let sent = |wire| body(&wire, &request).to_string();
    assert!(!sent(wire()).contains("skip_thought"));
    let told = wire().with_generation(Generation::Levels);
    assert!(sent(told).contains("skip_thought"));
}

#[test]
fn g04_old_thoughts_and_signatures_may_stay_away() {
    let mut entries = view(turn(NEW));
    entries.push(user("again"));
    entries.extend(view(turn(NEW)).into_iter().skip(1));
    let request = request(NEW, entries);
    let all = body(&wire(), &request);
    let turns = wire().with_thought_replay(ThoughtReplay::CurrentTurn);
    let current = body(&turns, &request);
    let stand_in = "skip_thought_signature_validator";
    let old = &current["contents"][1]["parts"];
    assert_eq!(old[0], json!({"text": "so"}));
    assert_eq!(old[1]["functionCall"]["id"], "own");
    assert_eq!(old[1]["thoughtSignature"], stand_in);
    assert_eq!(current["contents"][4], all["contents"][4]);
    assert_eq!(all["contents"][4]["parts"][2]["thoughtSignature"], "s2");
    assert!(current.to_string().len() < all.to_string().len());
}

#[test]
fn g03_what_was_decoded_goes_back_as_it_came() {
    let said = json!([
        {"text": "hm", "thought": true},
        {"text": "a"},
        {"functionCall": {"name": "f", "args": {"z": 1, "a": "é"}, "id": "c1"},
            "thoughtSignature": "s1"},
        {"functionCall": {"name": "f", "args": {}}},
        {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
        {"text": "", "thoughtSignature": "s2"}
    ]);
    let mut end = parts(said.clone());
    end["candidates"][0]["finishReason"] = "STOP".into();
    end["candidates"][0]["groundingMetadata"] = json!({"webSearchQueries": []});
    let message = message(&stream(&[end])).unwrap();
    let contents = contents(&request(
        NEW,
        [user("hi"), Entry::Assistant(message.into())],
    ));
    assert_eq!(contents[1]["parts"], said);
}

#[test]
fn a_conversation_that_grew_keeps_its_beginning() {
    let wire = wire();
    let sent = |request: &Request| wire.encode(request).unwrap().request.body_bytes();
    let mut request = with_tools(request(NEW, [user("hi")]));
    let mut before = sent(&request);
    for round in 0..4 {
        let entries = view(turn(NEW)).into_iter().skip(1);
        for entry in entries.chain([user(&format!("more {round}"))]) {
            // A call waits for its results, so that only whole turns are asked for.
            let is_answer = matches!(entry, Entry::Assistant(_));
            request.view.push(entry);
            if is_answer {
                continue;
            }
            let after = sent(&request);
            let kept = before.len() - "]}".len();
            assert!(after.starts_with(&before[..kept]), "round {round}");
            let fresh = crate::wire().encode(&request).unwrap();
            assert_eq!(after, fresh.request.body_bytes());
            before = after;
        }
    }
    let other = Request {
        model: OLD.into(),
        ..request.clone()
    };
    let fresh = crate::wire().encode(&other).unwrap();
    assert_eq!(wire.encode(&other).unwrap(), fresh);
    assert!(!fresh.losses.is_empty(), "another model reads less");
}

#[test]
fn ids_stay_apart_though_the_service_repeats_them() {
    let mut entries = view(turn(NEW));
    entries.extend(view(turn(NEW)));
    let contents = contents(&request(NEW, entries));
    let call = |at: usize| contents[at]["parts"][2]["functionCall"]["id"].clone();
    let result = |at: usize| contents[at]["parts"][0]["functionResponse"]["id"].clone();
    assert_eq!((call(1), call(4)), (result(2), result(5)));
    assert_ne!(call(1), call(4));
}
