//! Whatever bytes come, a decoder answers with deltas or an error: no panic, no endless memory.
#![cfg(any(
    feature = "anthropic",
    feature = "bedrock",
    feature = "cohere",
    feature = "gemini",
    feature = "ollama",
    feature = "openai-chat",
    feature = "openai-responses"
))]
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail where the tests do"
)]

use phi_provider::{ResponseHead, Wire};
use phi_types::{Assembler, Delta, Origin, ProviderError};
use proptest::prelude::*;

fn wires() -> Vec<Box<dyn Wire>> {
    vec![
        #[cfg(feature = "anthropic")]
        Box::new(phi_provider::AnthropicMessages::new()),
        #[cfg(feature = "bedrock")]
        Box::new(phi_provider::BedrockConverse::new("us-east-1")),
        #[cfg(feature = "cohere")]
        Box::new(phi_provider::CohereChat::new()),
        #[cfg(feature = "ollama")]
        Box::new(phi_provider::OllamaChat::default()),
        #[cfg(feature = "gemini")]
        Box::new(phi_provider::Gemini::new()),
        #[cfg(feature = "openai-chat")]
        Box::new(phi_provider::openai_chat::OpenAiChat::new(
            "http://localhost",
        )),
        #[cfg(feature = "openai-responses")]
        Box::new(phi_provider::openai_responses::OpenAiResponses::new(
            "http://localhost",
        )),
    ]
}

type Decoded = (Vec<Delta>, Option<ProviderError>);

fn decode(wire: &dyn Wire, head: &ResponseHead, body: &[u8], cuts: &[usize]) -> Decoded {
    let mut decoder = wire.decoder(head);
    let mut deltas = Vec::new();
    let mut rest = body;
    let mut pieces = Vec::new();
    for cut in cuts {
        let (piece, after) = rest.split_at(*cut.min(&rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    let pushed = pieces
        .into_iter()
        .try_for_each(|piece| decoder.push(piece, &mut deltas));
    let error = pushed.and_then(|()| decoder.end(&mut deltas)).err();
    (deltas, error)
}

/// Decodes whole and cut, and folds what comes out.
fn check(head: &ResponseHead, body: &[u8], cuts: &[usize]) -> Result<(), TestCaseError> {
    for wire in wires() {
        let whole = decode(&*wire, head, body, &[]);
        let cut = decode(&*wire, head, body, cuts);
        prop_assert_eq!(&cut, &whole);
        let mut assembler = Assembler::new();
        for delta in &whole.0 {
            // A decoder gives every part one nature.
            prop_assert_eq!(assembler.push(delta), Ok(()));
        }
        let finished = assembler.into_message(Origin::default()).is_some();
        prop_assert!(finished || whole.1.is_some(), "neither finish nor error");
    }
    Ok(())
}

const CONTENT_TYPES: &[&str] = &["text/event-stream", "application/json", "text/html", ""];

fn heads() -> impl Strategy<Value = ResponseHead> {
    let statuses = prop_oneof![3 => Just(200_u16), 1 => any::<u16>()];
    (statuses, proptest::sample::select(CONTENT_TYPES))
        .prop_map(|(status, kind)| ResponseHead::new(status).with_header("content-type", kind))
}

/// Pieces of the protocols, so that random joins reach deep into the decoders.
const FRAGMENTS: &[&str] = &[
    "data: ",
    "event: error\n",
    "\n",
    "\n\n",
    "\r",
    ":",
    "[DONE]",
    "{",
    "}",
    "[",
    "]",
    ",",
    "null",
    "\"type\":\"message_start\"",
    "\"type\":\"content_block_start\"",
    "\"index\":0",
    "\"content_block\":{\"type\":\"text\",\"text\":\"x\"}",
    "\"delta\":{\"stop_reason\":\"end_turn\",\"content\":\"hi\"}",
    "\"choices\":[",
    "\"finish_reason\":\"stop\"",
    "\"error\":{\"code\":429}",
    "\"usage\":{\"input_tokens\":-1,\"prompt_tokens\":1e99}",
    "data: {\"type\":\"message_start\",\"message\":{\"content\":[{\"type\":\"odd\"}],\"stop_reason\":\"end_turn\"}}\n\n",
    "data: {\"type\":\"message_stop\"}\n\n",
    "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\"}}\n\n",
    "data: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"thinking\"}}\n\n",
    "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"odd\",\"content\":1}}\n\n",
    "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"f\",\"input\":{}}}\n\n",
    "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\"}}\n\n",
    "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"\\ud83d\"}}\n\n",
    "data: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"signature_delta\",\"signature\":\"s\"}}\n\n",
    "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"citations_delta\",\"citation\":{}}}\n\n",
    "data: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
    "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\",\"container\":{}}}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"hi\",\"reasoning\":\"hm\"}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}]}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"b\",\"function\":{\"arguments\":\"}\"}}]}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    "data: {\"type\":\"response.output_item.added\",\"output_index\":0,\"item\":{\"type\":\"message\",\"id\":\"msg_1\"}}\n\n",
    "data: {\"type\":\"response.output_text.delta\",\"output_index\":0,\"content_index\":1,\"delta\":\"hi\"}\n\n",
    "data: {\"type\":\"response.refusal.delta\",\"item_id\":\"msg_1\",\"delta\":\"no\"}\n\n",
    "data: {\"type\":\"response.reasoning_summary_text.delta\",\"output_index\":1,\"delta\":\"hm\"}\n\n",
    "data: {\"type\":\"response.function_call_arguments.delta\",\"output_index\":2,\"delta\":\"{\"}\n\n",
    "data: {\"type\":\"response.custom_tool_call_input.delta\",\"delta\":\"a\\\"b\"}\n\n",
    "data: {\"type\":\"response.output_item.done\",\"output_index\":2,\"item\":{\"type\":\"function_call\"}}\n\n",
    "data: {\"type\":\"response.output_item.done\",\"item\":{\"type\":\"custom_tool_call\",\"id\":\"c\",\"status\":\"incomplete\"}}\n\n",
    "data: {\"type\":\"response.output_item.done\",\"output_index\":0,\"item\":{\"type\":\"message\",\"id\":\"msg_2\",\"content\":[{\"type\":\"refusal\"},{\"text\":\"x\"}]}}\n\n",
    "data: {\"type\":\"response.incomplete\",\"response\":{\"status\":\"incomplete\",\"output\":[{\"type\":\"odd\"},{\"type\":\"reasoning\",\"id\":\"r\"}]}}\n\n",
    "data: {\"type\":\"response.completed\",\"response\":{\"reasoning\":\"so\",\"output\":[{\"type\":\"function_call\",\"arguments\":{}}]}}\n\n",
    "\"candidates\":[",
    "\"parts\":[{\"functionCall\":{\"partialArgs\":[{\"jsonPath\":\"$.a[1]\"}]}}]",
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"x\",\"thoughtSignature\":\"s\"},{\"thought\":true}]}}]}\n\n",
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"f\",\"willContinue\":true}},{\"odd\":1}]}}]}\n\n",
    "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"x\"}]},\"finishReason\":\"STOP\"}]}",
    "data: {\"type\":\"content-start\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"text\":\"\"}}}}\n\n",
    "data: {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"text\":\"a\"}}}}\n\n",
    "data: {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"thinking\":\"b\"}}}}\n\n",
    "data: {\"type\":\"content-end\",\"index\":0}\n\n",
    "data: {\"type\":\"tool-plan-delta\",\"delta\":{\"message\":{\"tool_plan\":\"p\"}}}\n\n",
    "data: {\"type\":\"tool-call-start\",\"index\":0,\"delta\":{\"message\":{\"tool_calls\":{\"id\":\"a\"}}}}\n\n",
    "data: {\"type\":\"tool-call-delta\",\"index\":0,\"delta\":{\"message\":{\"tool_calls\":{\"function\":{\"arguments\":\"nu\"}}}}}\n\n",
    "data: {\"type\":\"tool-call-end\",\"index\":0}\n\n",
    "data: {\"type\":\"citation-start\",\"index\":0,\"delta\":{\"message\":{\"citations\":{\"start\":0}}}}\n\n",
    "data: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"COMPLETE\",\"usage\":{\"tokens\":{}}}}\n\n",
    "{\"message\":{\"content\":\"a\",\"thinking\":\"b\"},\"done\":false}\n",
    "{\"message\":{\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{}}}]}}\n",
    "{\"done\":true,\"done_reason\":\"stop\",\"eval_count\":1}\n",
];

fn fragments() -> impl Strategy<Value = String> {
    let fragment = proptest::sample::select(FRAGMENTS);
    proptest::collection::vec(fragment, 0..40).prop_map(|pieces| pieces.concat())
}

/// Some recorded bodies of the protocols, the small ones.
fn recordings() -> &'static [Vec<u8>] {
    static BODIES: std::sync::OnceLock<Vec<Vec<u8>>> = std::sync::OnceLock::new();
    BODIES.get_or_init(|| {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/wire");
        let mut paths = Vec::new();
        for dir in [
            "anthropic",
            "bedrock",
            "cohere",
            "google",
            "mistral",
            "ollama",
            "openai",
            "openrouter",
        ] {
            for file in std::fs::read_dir(format!("{root}/{dir}")).unwrap() {
                let path = file.unwrap().path();
                let name = path.to_string_lossy().into_owned();
                let ends = [".sse", ".ndjson", ".0.json", ".eventstream.bin"];
                if ends.iter().any(|end| name.ends_with(end)) {
                    paths.push(path);
                }
            }
        }
        paths.sort();
        let bodies = paths.iter().map(|path| std::fs::read(path).unwrap());
        let bodies: Vec<_> = bodies
            .filter(|body| (1..20_000).contains(&body.len()))
            .collect();
        assert!(bodies.len() > 100);
        bodies
    })
}

fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(256)
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn bytes_of_any_kind(
        head in heads(),
        body in proptest::collection::vec(any::<u8>(), 0..400),
        cuts in proptest::collection::vec(0..50_usize, 0..8),
    ) {
        check(&head, &body, &cuts)?;
    }

    #[test]
    fn pieces_of_the_protocols_in_any_order(
        head in heads(),
        body in fragments(),
        cuts in proptest::collection::vec(0..50_usize, 0..8),
    ) {
        check(&head, body.as_bytes(), &cuts)?;
    }

    #[test]
    fn recordings_with_bytes_changed(
        pick in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cuts in proptest::collection::vec(0..500_usize, 0..8),
    ) {
        let mut body = pick.get(recordings()).clone();
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        check(&ResponseHead::new(200), &body, &cuts)?;
    }
}
