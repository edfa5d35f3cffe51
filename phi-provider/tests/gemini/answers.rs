//! Whole answers, usage, and what stands beside the text.

use phi_types::{Delta, Usage};
use serde_json::{Value, json};

use crate::{decode, last, message, parts, shown, stream, text};

fn usage_of(metadata: Value) -> Usage {
    let mut chunk = last(json!([text("x")]), "STOP");
    chunk["usageMetadata"] = metadata;
    message(&stream(&[chunk])).unwrap().usage
}

#[test]
fn g10_thoughts_are_output_and_cached_tokens_are_part_of_the_prompt() {
    let usage = usage_of(
        json!({"promptTokenCount": 100, "cachedContentTokenCount": 60,
        "toolUsePromptTokenCount": 7, "candidatesTokenCount": 5, "thoughtsTokenCount": 11,
        "totalTokenCount": 123}),
    );
    let expected = Usage {
        input_tokens: Some(47),
        cache_read_tokens: Some(60),
        cache_write_tokens: None,
        output_tokens: Some(16),
        reasoning_tokens: Some(11),
    };
    assert_eq!(usage, expected);
    assert_eq!(usage.total_tokens(), 123);
}

#[test]
fn t15_what_is_not_reported_is_not_zero() {
    for nothing in [
        json!(null),
        json!({}),
        json!({"promptTokenCount": null}),
        json!(7),
    ] {
        assert_eq!(usage_of(nothing), Usage::default());
    }
    let odd = json!({"promptTokenCount": "12", "candidatesTokenCount": -1,
        "thoughtsTokenCount": 3.0, "cachedContentTokenCount": []});
    let usage = usage_of(odd);
    assert_eq!(usage.input_tokens, Some(12));
    assert_eq!(usage.output_tokens, Some(3));
    assert_eq!(usage.cache_read_tokens, None);
}

#[test]
fn g10_a_later_report_replaces_only_what_it_states() {
    let with = |chunk: Value, metadata: Value| {
        let mut chunk = chunk;
        chunk["usageMetadata"] = metadata;
        chunk
    };
    let body = stream(&[
        with(
            parts(json!([text("a")])),
            json!({"promptTokenCount": 9, "cachedContentTokenCount": 4, "thoughtsTokenCount": 2}),
        ),
        with(
            parts(json!([text("b")])),
            json!({"trafficType": "ON_DEMAND"}),
        ),
        with(
            last(json!([text("c")]), "STOP"),
            json!({"promptTokenCount": 9, "candidatesTokenCount": 3}),
        ),
    ]);
    let (deltas, _) = decode([body.as_bytes()]);
    let reports = deltas.iter().filter(|it| matches!(it, Delta::Usage(_)));
    assert_eq!(reports.count(), 2, "a report that says nothing new is none");
    let usage = message(&body).unwrap().usage;
    assert_eq!(usage.input_tokens, Some(5));
    assert_eq!(usage.cache_read_tokens, Some(4));
    assert_eq!(usage.output_tokens, Some(5));
}

#[test]
fn a_whole_answer_is_a_stream_of_one_chunk() {
    let mut answer = last(
        json!([{"text": "hm", "thought": true}, text("a"),
            {"functionCall": {"name": "f", "args": {"z": 1.0, "a": ["\n \\\" :", 1]}}}]),
        "STOP",
    );
    answer["modelVersion"] = "gemini-x".into();
    let pretty = format!("\u{feff}\n{answer:#}\n");
    let whole = message(&pretty).unwrap();
    assert_eq!(whole.origin.response_id.as_deref(), Some("r"));
    assert_eq!(whole.origin.response_model.as_deref(), Some("gemini-x"));
    assert_eq!(whole.parts.len(), 3);
    assert_eq!(shown(&whole), shown(&message(&stream(&[answer])).unwrap()));
}

#[test]
fn parts_of_the_services_own_tools_are_kept_as_they_came() {
    let search =
        json!({"thoughtSignature": "s", "toolCall": {"toolType": "FILE_SEARCH", "id": "t"}});
    let code = json!({"executableCode": {"language": "PYTHON", "code": "print(1)\n"}});
    let image = json!({"inlineData": {"mimeType": "image/png", "data": "aGk="}, "thought": true});
    let new = json!({"aNewKind": {"x": [1]}});
    let body = stream(&[last(json!([search, code, image, new, text("so")]), "STOP")]);
    let message = message(&body).unwrap();
    let kinds: Vec<String> = shown(&message);
    assert_eq!(
        kinds,
        [
            r#"toolCall {"toolCall":{"id":"t","toolType":"FILE_SEARCH"},"thoughtSignature":"s"}"#,
            r#"executableCode {"executableCode":{"code":"print(1)\n","language":"PYTHON"}}"#,
            r#"inlineData {"inlineData":{"data":"aGk=","mimeType":"image/png"},"thought":true}"#,
            r#"aNewKind {"aNewKind":{"x":[1]}}"#,
            "text so",
        ]
    );
}

#[test]
fn what_stands_beside_an_answer_is_kept_behind_its_parts() {
    let mut first = parts(json!([text("a")]));
    first["candidates"][0]["groundingMetadata"] = json!({});
    first["candidates"][0]["urlContextMetadata"] = json!({"urlMetadata": [1]});
    let mut end = last(json!([text("b")]), "STOP");
    end["candidates"][0]["groundingMetadata"] = json!({"webSearchQueries": ["q"]});
    end["candidates"][0]["citationMetadata"] = json!({"citationSources": []});
    assert_eq!(
        shown(&message(&stream(&[first, end])).unwrap()),
        [
            "text ab",
            r#"citationMetadata {"citationSources":[]}"#,
            r#"groundingMetadata {"webSearchQueries":["q"]}"#,
            r#"urlContextMetadata {"urlMetadata":[1]}"#,
        ]
    );
}

#[test]
fn what_stands_beside_a_text_goes_with_it() {
    let odd = json!({"text": "a", "partMetadata": {"k": 1}});
    let body = stream(&[parts(json!([odd])), last(json!([text("b")]), "STOP")]);
    let message = message(&body).unwrap();
    let phi_types::AssistantPart::Text(part) = &message.parts[0] else {
        unreachable!("the first part is a text");
    };
    let extra = part.facts.extra.as_ref().unwrap();
    assert_eq!(extra.as_str(), r#"{"partMetadata":{"k":1}}"#);
    assert_eq!(message.parts.len(), 2);
}
