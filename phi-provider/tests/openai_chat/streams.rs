//! How streams are framed and what else stands in them.

use phi_types::StopReason;
use serde_json::json;

use crate::{delta, finish, message, open_stream, stream};

fn assert_says_hi(body: &str) {
    let message = message(body).unwrap();
    assert_eq!(message.text(), "hi", "{body:?}");
    assert_eq!(message.stop_reason, StopReason::EndTurn);
}

fn hi() -> String {
    stream(&[
        delta(json!({"content": "h"})),
        delta(json!({"content": "i"})),
        finish("stop"),
    ])
}

#[test]
fn t01_every_line_end_will_do() {
    for end in ["\r\n", "\r", "\n"] {
        assert_says_hi(&hi().replace('\n', end));
    }
}

#[test]
fn t02_a_character_may_be_cut() {
    let body = stream(&[delta(json!({"content": "é😀"})), finish("stop")]);
    let mut decoder =
        phi_provider::Wire::decoder(&crate::wire(), &phi_provider::ResponseHead::new(200));
    let mut deltas = Vec::new();
    for byte in body.as_bytes() {
        decoder.push(&[*byte], &mut deltas).unwrap();
    }
    decoder.end(&mut deltas).unwrap();
    assert!(deltas.contains(&phi_types::Delta::text(0, "é😀")));
}

#[test]
fn t03_comments_are_skipped() {
    let noisy = format!(": OPENROUTER PROCESSING\n\n:\n{}", hi());
    assert_says_hi(&noisy.replace("\n\n", "\n\n: OPENROUTER PROCESSING\n\n"));
}

#[test]
fn t04_data_of_several_lines_and_a_byte_order_mark() {
    let body = open_stream(&[delta(json!({"content": "h"}))]);
    let split = "data: {\"choices\": [{\"delta\":\ndata:{\"content\": \"i\"},\ndata: \
                 \"finish_reason\": \"stop\"}]}\n\n";
    assert_says_hi(&format!("\u{feff}{body}{split}data:[DONE]\n\n"));
}

#[test]
fn t06_nothing_after_done_counts() {
    assert_says_hi(&format!(
        "{}{}",
        hi(),
        open_stream(&[delta(json!({"content": "!"}))])
    ));
}

#[test]
fn c05_a_chunk_without_choices_is_skipped() {
    for odd in [
        json!({"id": "x"}),
        json!({"choices": null}),
        json!({"choices": []}),
        json!({"choices": [null]}),
        json!({"type": "ping"}),
        json!({"choices": [{"index": 0, "delta": null}]}),
        json!({"choices": [{"index": 0}]}),
        json!({"error": null, "choices": []}),
    ] {
        let chunks = [
            odd.clone(),
            delta(json!({"content": "h"})),
            odd.clone(),
            delta(json!({"content": "i"})),
            odd.clone(),
            finish("stop"),
            odd,
        ];
        assert_says_hi(&stream(&chunks));
    }
}

#[test]
fn other_choices_are_not_read() {
    let other = |text: &str| {
        json!({"choices": [{"index": 1, "delta": {"content": text},
        "finish_reason": "length"}]})
    };
    let chunks = [
        other("x"),
        delta(json!({"content": "h"})),
        other("y"),
        delta(json!({"content": "i"})),
        finish("stop"),
        other("z"),
    ];
    assert_says_hi(&stream(&chunks));
}

#[test]
fn the_answer_so_far_beside_a_delta_is_not_read() {
    let chunk = |piece: &str, so_far: &str, word: Option<&str>| {
        json!({"choices": [{"index": 0, "delta": {"content": piece},
            "message": {"content": so_far}, "finish_reason": word}]})
    };
    assert_says_hi(&stream(&[
        chunk("h", "h", None),
        chunk("i", "hi", None),
        chunk("", "hi", Some("stop")),
    ]));
}

#[test]
fn a_stream_that_comes_as_one_whole_message_is_read() {
    let chunk = json!({"choices": [{"index": 0, "message": {"content": "hi"},
        "finish_reason": "stop"}]});
    assert_says_hi(&stream(&[chunk]));
}

#[test]
fn half_a_surrogate_pair_is_a_replacement_character() {
    let body = "data: {\"choices\":[{\"delta\":{\"content\":\"a\\ud83d\"}}]}\n\n\
                data: {\"choices\":[{\"delta\":{\"content\":\"b\"},\"finish_reason\":\"stop\"}]}\n\n";
    assert_eq!(message(body).unwrap().text(), "a\u{fffd}b");
}

#[test]
fn of_a_field_that_comes_twice_the_last_one_counts() {
    let body = "data: {\"usage\":null,\"choices\":[{\"delta\":{\"content\":\"hi\"},\
                \"finish_reason\":null,\"finish_reason\":\"stop\"}],\"usage\":{}}\n\n";
    assert_says_hi(body);
}

#[test]
fn z01_the_first_chunk_of_azure_has_no_choice_and_the_last_no_delta() {
    let filter = json!({"hate": {"filtered": false, "severity": "safe"}});
    let body = stream(&[
        json!({"id": "", "model": "", "object": "", "choices": [],
            "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": filter}]}),
        json!({"id": "r1", "model": "gpt", "choices": [{"index": 0, "delta": {"content": "hi"}}]}),
        finish("stop"),
        json!({"id": "", "choices": [{"index": 0, "finish_reason": null,
            "content_filter_offsets": {"check_offset": 44, "start_offset": 44, "end_offset": 198},
            "content_filter_results": filter}]}),
    ]);
    assert_says_hi(&body);
    let message = message(&body).unwrap();
    assert_eq!(message.origin.response_id.as_deref(), Some("r1"));
    assert_eq!(message.origin.response_model.as_deref(), Some("gpt"));
}
