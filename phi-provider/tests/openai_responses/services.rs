//! How services differ.

use std::sync::Arc;

use phi_provider::openai_responses::{OpenAiResponses, Quirks, Storage};
use phi_provider::structured::OUTPUT_TOOL;
use phi_provider::{ResponseHead, Wire};
use phi_types::{
    Content, Entry, ImageSource, Options, OutputSchema, RawJson, Request, StopReason, Thinking,
    ToolResult, UserMessage,
};
use serde_json::{Value, json};

use crate::requests::{
    answer, answered, body, request, sent_after, user, with_options, with_tools,
};
use crate::{call, reasoning, said, whole, wire};

fn quirky(quirks: Quirks) -> OpenAiResponses {
    wire().with_quirks(quirks)
}

#[test]
fn r15_xai_reads_the_system_prompt_in_the_input() {
    let mut request = request([user("hi")]);
    request.system = "be brief".into();
    let body = body(&quirky(Quirks::xai()), &request);
    assert_eq!(body.get("instructions"), None);
    let expected = json!([{"role": "system", "content": "be brief"},
        {"role": "user", "content": "hi"}]);
    assert_eq!(body["input"], expected);
}

#[test]
fn r15_xai_is_asked_for_a_form_beside_tools_by_one_more_tool() {
    let wire = quirky(Quirks::xai());
    let options = Options {
        output: Some(OutputSchema {
            name: "person".to_owned(),
            schema: RawJson::parse(r#"{"type":"object"}"#).unwrap(),
        }),
        ..Options::default()
    };
    let asked = with_options(request([user("hi")]), options);
    let alone = body(&wire, &asked);
    assert_eq!(alone["text"]["format"]["type"], "json_schema");
    let beside = body(&wire, &with_tools(asked));
    assert_eq!(beside.get("text"), None);
    assert_eq!(beside["tools"][1]["name"], OUTPUT_TOOL);
    assert_eq!(beside["tool_choice"], "required");
    let mut output = call("a", "{\"age\":7}");
    output["name"] = OUTPUT_TOOL.into();
    let mut decoder = wire.decoder(&ResponseHead::new(200));
    let mut deltas = Vec::new();
    decoder
        .push(whole(json!([output])).as_bytes(), &mut deltas)
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
fn r16_vllm_wants_calls_to_have_a_status() {
    let output = json!([call("a", "{}")]);
    let sent = sent_after(&quirky(Quirks::vllm()), answer(output.clone()));
    assert_eq!(sent[0].get("status"), Some(&Value::Null));
    assert_eq!(sent_after(&wire(), answer(output))[0].get("status"), None);
}

#[test]
fn r17_nothing_stands_between_two_calls_for_deepseek() {
    let open = json!({"type": "reasoning", "id": "r", "summary": [],
        "content": [{"type": "reasoning_text", "text": "hm"}]});
    let output = json!([call("a", "{}"), open, said("m", "now"), call("b", "{}")]);
    let sent = sent_after(&quirky(Quirks::deepseek()), answer(output));
    let kinds: Vec<&str> = sent
        .iter()
        .map(|item| item["type"].as_str().unwrap_or("said"))
        .collect();
    let calls = ["function_call", "function_call"];
    let results = ["function_call_output", "function_call_output"];
    assert_eq!(
        kinds,
        [&["reasoning", "said"][..], &calls, &results].concat()
    );
}

#[test]
fn reasoning_in_the_open_goes_back_where_the_service_kept_it_or_takes_it() {
    let open = json!({"type": "reasoning", "id": "rs_1", "status": "completed",
        "summary": [{"type": "summary_text", "text": "hm"}]});
    let output = json!([open, said("msg_1", "so")]);
    let stored = Quirks {
        storage: Storage::Stored,
        ..Quirks::default()
    };
    for quirks in [Quirks::compatible(), Quirks::xai(), stored] {
        let sent = sent_after(&quirky(quirks), answer(output.clone()));
        assert_eq!(sent, [open.clone(), said("msg_1", "so")]);
    }
    let sent = sent_after(&wire(), answer(output));
    assert_eq!(sent, [json!({"role": "assistant", "content": "so"})]);
}

#[test]
fn services_are_asked_for_what_they_know() {
    let options = Options {
        output_tokens_max: Some(7),
        thinking: Some(Thinking::High),
        ..Options::default()
    };
    let asked: Request = with_options(request([user("hi")]), options);
    let compatible = body(&quirky(Quirks::compatible()), &asked);
    assert_eq!(compatible.get("include"), None);
    assert_eq!(compatible["reasoning"], json!({"effort": "high"}));
    assert_eq!(compatible["max_output_tokens"], 7);
    let chatgpt = body(&quirky(Quirks::chatgpt()), &asked);
    assert_eq!(chatgpt.get("max_output_tokens"), None);
    let unsaid = Quirks {
        storage: Storage::Unsaid,
        ..Quirks::default()
    };
    assert_eq!(body(&quirky(unsaid), &asked).get("store"), None);
}

#[test]
fn images_of_results_follow_them_where_a_result_is_text() {
    let image = Content::Image {
        media_type: "image/png".to_owned(),
        source: ImageSource::Base64("aGk=".to_owned()),
    };
    let result = ToolResult {
        content: vec![image],
        ..ToolResult::default()
    };
    let mut entries = vec![Entry::User(Arc::new(UserMessage::text("do it")))];
    entries.extend(answered(answer(json!([call("a", "{}")])), &result));
    let input = body(&quirky(Quirks::compatible()), &request(entries))["input"].clone();
    assert!(input[2]["output"].is_string());
    assert_eq!(input[3]["content"][1]["type"], "input_image");
}

#[test]
fn an_answer_of_another_protocol_is_read_as_plain_text() {
    let mut message = answer(json!([
        reasoning("rs_1"),
        said("msg_1", "so"),
        call("a", "{}")
    ]));
    message.origin.protocol = "anthropic-messages".into();
    let sent = sent_after(&wire(), message);
    assert_eq!(sent[0], json!({"role": "assistant", "content": "so"}));
    assert_eq!(sent.len(), 3);
}
