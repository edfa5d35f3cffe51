//! Token counts, wherever they stand and however they count.

use phi_types::Usage;
use serde_json::{Value, json};

use crate::{delta, finish, message, stream, whole};

fn usage_of(chunks: &[Value]) -> Usage {
    message(&stream(chunks)).unwrap().usage
}

fn reported(usage: Value) -> Usage {
    let mut body: Value = serde_json::from_str(&whole(json!({"content": "hi"}), "stop")).unwrap();
    body["usage"] = usage;
    message(&body.to_string()).unwrap().usage
}

fn plain(input: u64, output: u64) -> Usage {
    Usage {
        input_tokens: Some(input),
        output_tokens: Some(output),
        ..Usage::default()
    }
}

#[test]
fn c04_usage_is_found_wherever_it_sits() {
    let counts = json!({"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7});
    let text = delta(json!({"content": "hi"}));
    let beside = |mut chunk: Value| {
        chunk["usage"] = counts.clone();
        chunk
    };
    for chunks in [
        // The last chunk, without a choice.
        vec![
            text.clone(),
            finish("stop"),
            json!({"choices": [], "usage": counts}),
        ],
        // Every chunk.
        vec![beside(text.clone()), beside(finish("stop"))],
        // With the finish.
        vec![text.clone(), beside(finish("stop"))],
        // Inside the choice.
        vec![
            text.clone(),
            json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop",
                "usage": counts}]}),
        ],
        // In an extension.
        vec![
            text.clone(),
            json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
                "x_groq": {"id": "x", "usage": counts}}),
        ],
        // Before the finish.
        vec![
            json!({"choices": [], "usage": counts}),
            text,
            finish("stop"),
        ],
        // And null elsewhere.
        vec![
            json!({"choices": [{"index": 0, "delta": {"content": "hi"}}], "usage": null}),
            finish("stop"),
            json!({"choices": [], "usage": counts}),
            json!({"choices": [], "usage": null}),
        ],
    ] {
        assert_eq!(usage_of(&chunks), plain(5, 2), "{chunks:?}");
    }
}

#[test]
fn c04_usage_that_never_comes_is_unknown() {
    assert_eq!(
        usage_of(&[delta(json!({"content": "hi"})), finish("stop")]),
        Usage::default()
    );
}

#[test]
fn c04_counts_that_grow_are_not_added() {
    let report =
        |n: u64| json!({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": n}});
    let chunks = [
        report(1),
        delta(json!({"content": "hi"})),
        report(2),
        finish("stop"),
        report(3),
    ];
    assert_eq!(usage_of(&chunks), plain(5, 3));
}

#[test]
fn t15_null_is_not_zero() {
    let usage = reported(json!({"prompt_tokens": 5, "completion_tokens": null,
        "prompt_tokens_details": {"cached_tokens": null}, "completion_tokens_details": null}));
    assert_eq!(
        usage,
        Usage {
            input_tokens: Some(5),
            ..Usage::default()
        }
    );
    let usage = reported(json!({"prompt_tokens": 5, "completion_tokens": 0,
        "prompt_tokens_details": {"cached_tokens": 0}}));
    assert_eq!(
        (usage.output_tokens, usage.cache_read_tokens),
        (Some(0), Some(0))
    );
}

#[test]
fn c18_input_excludes_cache_reads_and_writes() {
    for (cache, read, write) in [
        (
            json!({"prompt_tokens_details": {"cached_tokens": 60}}),
            Some(60),
            None,
        ),
        (
            json!({"prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30}}),
            Some(60),
            Some(30),
        ),
        (
            json!({"prompt_cache_hit_tokens": 60, "prompt_cache_miss_tokens": 40}),
            Some(60),
            None,
        ),
        (json!({"cached_tokens": 60}), Some(60), None),
        (
            json!({"cache_read_input_tokens": 60, "cache_creation_input_tokens": 30,
                "prompt_tokens_details": {"cached_tokens": 60}}),
            Some(60),
            Some(30),
        ),
    ] {
        let mut counts = json!({"prompt_tokens": 100, "completion_tokens": 7});
        for (name, value) in cache.as_object().unwrap() {
            counts[name] = value.clone();
        }
        let usage = reported(counts);
        assert_eq!(
            (usage.cache_read_tokens, usage.cache_write_tokens),
            (read, write),
            "{cache}"
        );
        assert_eq!(usage.prompt_tokens(), 100, "{cache}");
    }
}

#[test]
fn c18_cache_that_is_counted_beside_the_prompt_is_not_taken_from_it() {
    let usage = reported(
        json!({"prompt_tokens": 24, "completion_tokens": 16, "total_tokens": 40,
        "prompt_tokens_details": {"cached_tokens": 161}}),
    );
    assert_eq!(
        (usage.input_tokens, usage.cache_read_tokens),
        (Some(24), Some(161))
    );
}

#[test]
fn c18_output_includes_reasoning_wherever_it_is_counted() {
    let inside = json!({"prompt_tokens": 10, "completion_tokens": 30, "total_tokens": 40,
        "completion_tokens_details": {"reasoning_tokens": 20}});
    let beside = json!({"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 40,
        "completion_tokens_details": {"reasoning_tokens": 20}});
    let elsewhere = json!({"prompt_tokens": 10, "completion_tokens": 30, "total_tokens": 40,
        "reasoning_tokens": 20});
    for counts in [inside, beside, elsewhere] {
        let usage = reported(counts.clone());
        assert_eq!(
            (usage.output_tokens, usage.reasoning_tokens),
            (Some(30), Some(20)),
            "{counts}"
        );
    }
}

#[test]
fn counts_that_are_absurd_do_not_overflow() {
    let usage = reported(
        json!({"prompt_tokens": u64::MAX, "completion_tokens": u64::MAX,
        "total_tokens": u64::MAX, "completion_tokens_details": {"reasoning_tokens": u64::MAX},
        "prompt_tokens_details": {"cached_tokens": -3}}),
    );
    assert_eq!(usage.input_tokens, Some(u64::MAX));
    assert_eq!(usage.cache_read_tokens, None);
}
